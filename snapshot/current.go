package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// pins: a file of this process stays open. On Windows a file that is open cannot be
// replaced.
const pins = runtime.GOOS != "windows"

// pinned is a file as this process has read or written it last. The zero value: no
// file.
//
// Where pins says so, it is open. This keeps its inode, whose number some file systems
// give out anew as soon as the kernel has forgotten it, so what is found under the
// file's name can be compared with it at any time. And it need not be opened and closed
// for that, which would drop the POSIX locks that a SQLite of this process has on it.
type pinned struct {
	id   FileID
	file file // nil: not open
}

// pin takes file, which is open and has that identity.
func pin(file file, id FileID) (pinned, error) {
	if pins {
		return pinned{id, file}, nil
	}
	return pinned{id: id}, file.Close()
}

// unpin closes the file.
func (p *pinned) unpin() error {
	f := p.file
	p.file = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// changed says in words how what is called name differs from p, "" if it does not. It
// does not open the file if that is pinned.
func (p pinned) changed(fsx fsys, name string) (string, error) {
	info, err := fsx.lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p.id.difference(FileID{}), nil
	case err != nil:
		return "", err
	case info.Mode().Type() == fs.ModeSymlink:
		// name was resolved, so it was none before.
		return "another program has put a symbolic link in its place", nil
	case !info.Mode().IsRegular():
		return fmt.Sprintf("another program has put something else in its place (%s)", info.Mode().Type()), nil
	}
	if p.id.IsZero() {
		return p.id.difference(FileID{info: info}), nil
	}
	if p.file == nil {
		now, err := identify(fsx, name)
		if err != nil {
			return "", err
		}
		return p.id.difference(now), nil
	}
	now, err := identifyOpen(p.file)
	switch {
	case errors.Is(err, syscall.ESTALE): // removed by another machine
		return differentFile, nil
	case err != nil:
		return "", err
	case !os.SameFile(now.info, info):
		return differentFile, nil
	}
	return p.id.contentDifference(now), nil
}

// like is what a new file in the place of p is to have the owner and permissions of; nil:
// there is no such file.
func (p pinned) like(fsx fsys, name string) (os.FileInfo, error) {
	if p.file != nil {
		return p.file.Stat()
	}
	return likeOf(fsx, name)
}

// likeOf is pinned.like for a file that is not open.
func likeOf(fsx fsys, name string) (os.FileInfo, error) {
	info, err := fsx.lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, nil
	}
	return info, err
}

// notMounted returns an error if the file itself is a mount point.
func notMounted(path string) error {
	if mounted, err := isMountPoint(path); err != nil || !mounted {
		return err
	}
	return ErrMountPoint
}
