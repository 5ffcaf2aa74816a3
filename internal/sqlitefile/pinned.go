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

// Pins is whether a Pinned keeps its file open. On Windows it does not, as an open file cannot
// be replaced there. It is a variable for tests, which set it before they use any file.
var Pins = runtime.GOOS != "windows"

// Pinned is a file as this process has read or written it last. The zero value means that
// there is no file.
//
// The file stays open, but not on Windows. This has two reasons. Its inode lasts, while some
// file systems give out the number of an inode again as soon as the kernel has forgotten it.
// So the file can be compared at any time with what is found under its name. And it need not
// be opened and closed for that, which would drop the POSIX locks that SQLite has on it in
// this process.
type Pinned struct {
	ID   ID
	File osfile.File // nil: not open
}

// Pin returns the Pinned of an open file with that identity. It owns file from then on, also
// after an error.
func Pin(file osfile.File, id ID) (Pinned, error) {
	if Pins {
		return Pinned{id, file}, nil
	}
	return Pinned{ID: id}, file.Close()
}

// Unpin closes the file, if it is open.
func (p *Pinned) Unpin() error {
	f := p.File
	p.File = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// Changed says in words how the file called name differs from p; "" if it does not. If p is
// open, it opens nothing.
func (p Pinned) Changed(fsx osfile.FS, name string) (string, error) {
	info, err := fsx.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p.ID.Difference(ID{}), nil
	case err != nil:
		return "", err
	case info.Mode().Type() == fs.ModeSymlink:
		// name was resolved, so it was no link before.
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

// Like returns the file whose owner and permissions a new file in the place of p is to have;
// nil if there is none.
func (p Pinned) Like(fsx osfile.FS, name string) (os.FileInfo, error) {
	if p.File != nil {
		return p.File.Stat()
	}
	return likeOf(fsx, name)
}

// likeOf is Like for a file that is not open.
func likeOf(fsx osfile.FS, name string) (os.FileInfo, error) {
	info, err := fsx.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, nil
	}
	return info, err
}
