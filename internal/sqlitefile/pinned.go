package sqlitefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// pins: a file of this process stays open. On Windows a file that is open cannot be
// replaced.
const pins = runtime.GOOS != "windows"

// Pinned is a file as this process has read or written it last. The zero value: no
// File.
//
// Where pins says so, it is open. This keeps its inode, whose number some file systems
// give out anew as soon as the kernel has forgotten it, so what is found under the
// File's name can be compared with it at any time. And it need not be opened and closed
// for that, which would drop the POSIX locks that a SQLite of this process has on it.
type Pinned struct {
	ID   ID
	File osfile.File // nil: not open
}

// Pin takes file, which is open and has that identity.
func Pin(file osfile.File, id ID) (Pinned, error) {
	if pins {
		return Pinned{id, file}, nil
	}
	return Pinned{ID: id}, file.Close()
}

// Unpin closes the file.
func (p *Pinned) Unpin() error {
	f := p.File
	p.File = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// Changed says in words how what is called name differs from p, "" if it does not. It
// does not open the file if that is pinned.
func (p Pinned) Changed(fsx osfile.FS, name string) (string, error) {
	info, err := fsx.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p.ID.Difference(ID{}), nil
	case err != nil:
		return "", err
	case info.Mode().Type() == fs.ModeSymlink:
		// name was resolved, so it was none before.
		return "another program has put a symbolic link in its place", nil
	case !info.Mode().IsRegular():
		return fmt.Sprintf("another program has put something else in its place (%s)", info.Mode().Type()), nil
	}
	if p.ID.IsZero() {
		return p.ID.Difference(ID{Info: info}), nil
	}
	if p.File == nil {
		now, err := Identify(fsx, name)
		if err != nil {
			return "", err
		}
		return p.ID.Difference(now), nil
	}
	now, err := IdentifyOpen(p.File)
	switch {
	case errors.Is(err, syscall.ESTALE): // removed by another machine
		return differentFile, nil
	case err != nil:
		return "", err
	case !os.SameFile(now.Info, info):
		return differentFile, nil
	}
	return p.ID.contentDifference(now), nil
}

// Like is what a new file in the place of p is to have the owner and permissions of; nil:
// there is no such file.
func (p Pinned) Like(fsx osfile.FS, name string) (os.FileInfo, error) {
	if p.File != nil {
		return p.File.Stat()
	}
	return likeOf(fsx, name)
}

// likeOf is pinned.like for a file that is not open.
func likeOf(fsx osfile.FS, name string) (os.FileInfo, error) {
	info, err := fsx.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, nil
	}
	return info, err
}
