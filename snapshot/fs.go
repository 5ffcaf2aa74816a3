package snapshot

import (
	"io"
	"os"
)

// fsys is every file operation of this package but SQLite's own. Production
// uses osFS; tests kill, fail, count and record operations here. Nothing else in the
// package may change the disk.
type fsys interface {
	// create makes a file that must not exist yet and opens it for reading
	// and writing.
	create(name string, perm os.FileMode) (file, error)
	open(name string) (file, error)             // for reading
	openWrite(name string) (file, error)        // for reading and writing; the file must exist
	stat(name string) (os.FileInfo, error)      // follows symbolic links
	lstat(name string) (os.FileInfo, error)     // does not
	readDir(name string) ([]os.DirEntry, error) // names only
	rename(from, to string) error               // replaces to
	renameNew(from, to string) error            // fails if to exists; errors.ErrUnsupported: try something else
	link(name, also string) error               // a second name, also, which must not exist yet
	remove(name string) error
	syncDir(name string) error // makes creates, links, renames and removes in it durable
}

type file interface {
	io.ReaderAt
	io.Writer
	io.WriterAt

	// startFlush has the kernel begin to write n bytes at off to the disk and
	// waits until the bytes before off are there, so that the final sync has
	// little left to do. It promises nothing about durability, and does
	// nothing where there is no such call. Its error is as fatal as that of
	// sync: the kernel reports a failed write only once.
	startFlush(off, n int64) error

	// syncData is Sync without what is not needed to read the data back: the
	// time of the last change, above all.
	syncData() error

	Sync() error
	Close() error
	Stat() (os.FileInfo, error)
	Truncate(size int64) error
	Chmod(os.FileMode) error
	Chown(uid, gid int) error
}

// system is what File, Recover and RemoveLeftovers use. Tests of the process as a
// whole put something else there.
var system fsys = osFS{}

type osFS struct{}

type osFile struct{ *os.File }

func (osFS) create(name string, perm os.FileMode) (file, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) open(name string) (file, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) openWrite(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) stat(name string) (os.FileInfo, error)      { return os.Stat(name) }
func (osFS) lstat(name string) (os.FileInfo, error)     { return os.Lstat(name) }
func (osFS) readDir(name string) ([]os.DirEntry, error) { return os.ReadDir(name) }
func (osFS) rename(from, to string) error               { return rename(from, to) }
func (osFS) renameNew(from, to string) error            { return renameNew(from, to) }
func (osFS) link(name, also string) error               { return os.Link(name, also) }
func (osFS) remove(name string) error                   { return os.Remove(name) }
func (osFS) syncDir(name string) error                  { return syncDir(name) }
