package osfile

import (
	"io"
	"os"
)

// FS is every file operation of this package but SQLite's own. Production
// uses osFS; tests kill, fail, count and record operations here. Nothing else in the
// package may change the disk.
type FS interface {
	// Create makes a file that must not exist yet and opens it for reading
	// and writing.
	Create(name string, perm os.FileMode) (File, error)
	Open(name string) (File, error)             // for reading
	OpenWrite(name string) (File, error)        // for reading and writing; the file must exist
	Stat(name string) (os.FileInfo, error)      // follows symbolic links
	Lstat(name string) (os.FileInfo, error)     // does not
	ReadDir(name string) ([]os.DirEntry, error) // names only
	Rename(from, to string) error               // replaces to
	RenameNew(from, to string) error            // fails if to exists; errors.ErrUnsupported: try something else
	Link(name, also string) error               // a second name, also, which must not exist yet
	Remove(name string) error
	SyncDir(name string) error // makes creates, links, renames and removes in it durable
}

type File interface {
	io.ReaderAt
	io.Writer
	io.WriterAt

	// StartFlush has the kernel begin to write n bytes at off to the disk and
	// waits until the bytes before off are there, so that the final sync has
	// little left to do. It promises nothing about durability, and does
	// nothing where there is no such call. Its error is as fatal as that of
	// sync: the kernel reports a failed write only once.
	StartFlush(off, n int64) error

	// SyncData is Sync without what is not needed to read the data back: the
	// time of the last change, above all.
	SyncData() error

	Sync() error
	Close() error
	Stat() (os.FileInfo, error)
	Truncate(size int64) error
	Chmod(os.FileMode) error
	Chown(uid, gid int) error
}

type OS struct{}

type osFile struct{ *os.File }

func (OS) Create(name string, perm os.FileMode) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (OS) Open(name string) (File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (OS) OpenWrite(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (OS) Stat(name string) (os.FileInfo, error) { return os.Stat(name) }

func (OS) Lstat(name string) (os.FileInfo, error) { return os.Lstat(name) }

func (OS) ReadDir(name string) ([]os.DirEntry, error) { return os.ReadDir(name) }

func (OS) Rename(from, to string) error { return rename(from, to) }

func (OS) RenameNew(from, to string) error { return renameNew(from, to) }

func (OS) Link(name, also string) error { return os.Link(name, also) }

func (OS) Remove(name string) error { return os.Remove(name) }

func (OS) SyncDir(name string) error { return syncDir(name) }
