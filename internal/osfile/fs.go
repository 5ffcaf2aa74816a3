package osfile

import (
	"io"
	"os"
)

// FS is the seam: every change of the files of a database goes through it, but those by SQLite
// itself and of the process lock.
// Programs use [OS]. Tests kill, fail, count and record operations here.
//
// Errors are those of package os. After an error nothing has changed.
type FS interface {
	// Create makes a file that must not exist yet, and opens it for reading and writing.
	Create(name string, perm os.FileMode) (File, error)

	// Open opens a file for reading.
	Open(name string) (File, error)

	// OpenWrite opens a file that exists, for reading and writing.
	OpenWrite(name string) (File, error)

	// Stat follows symbolic links.
	Stat(name string) (os.FileInfo, error)

	// Lstat does not.
	Lstat(name string) (os.FileInfo, error)

	// ReadDir lists a directory. Only names and types are used.
	ReadDir(name string) ([]os.DirEntry, error)

	// Rename replaces a file that is called to.
	Rename(from, to string) error

	// RenameNew fails if there is a file called to. errors.ErrUnsupported: the system or
	// the file system has no such call.
	RenameNew(from, to string) error

	// Link gives a file a second name, also, which must not exist yet.
	Link(name, also string) error

	// Remove removes a file.
	Remove(name string) error

	// SyncDir makes the creates, links, renames and removes in a directory durable.
	SyncDir(name string) error

	// IsMountPoint reports whether something is mounted on name, which is resolved. Where
	// that cannot be found out it returns false.
	IsMountPoint(name string) (bool, error)
}

// File is a file that an [FS] has opened.
type File interface {
	io.ReaderAt
	io.Writer
	io.WriterAt

	// StartFlush tells the kernel to begin to write n bytes at off to the disk. It waits
	// until the bytes before off are written, so that the final Sync has little to do.
	// It makes nothing durable. Where there is no such call it does nothing. An error is
	// as fatal as one of Sync, because the kernel reports a failed write only once.
	StartFlush(off, n int64) error

	// SyncData is Sync but for what reading does not need, above all the time of the last
	// change.
	SyncData() error

	Sync() error
	Close() error
	Stat() (os.FileInfo, error)
	Truncate(size int64) error
	Chmod(os.FileMode) error
	Chown(uid, gid int) error
}

// OS is the file system of the operating system.
//
// On Windows, an operation on a file fails while another program has the file open and does
// not share it. Scanners and tools do that for a moment. So the operations that Windows may
// refuse for such a reason are tried again, for 1.3 s: see [persist].
type OS struct{}

// osFile is a file of OS.
type osFile struct{ *os.File }

// Create opens with O_EXCL.
func (OS) Create(name string, perm os.FileMode) (File, error) {
	return open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
}

// Open is os.Open.
func (OS) Open(name string) (File, error) { return open(name, os.O_RDONLY, 0) }

// OpenWrite does not create.
func (OS) OpenWrite(name string) (File, error) { return open(name, os.O_RDWR, 0) }

func open(name string, flag int, perm os.FileMode) (f File, err error) {
	err = persist(refusedOpen, func() error {
		file, err := openShared(name, flag, perm)
		f = osFile{file}
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Stat is os.Stat.
func (OS) Stat(name string) (os.FileInfo, error) { return os.Stat(name) }

// Lstat is os.Lstat.
func (OS) Lstat(name string) (os.FileInfo, error) { return os.Lstat(name) }

// ReadDir is os.ReadDir.
func (OS) ReadDir(name string) ([]os.DirEntry, error) { return os.ReadDir(name) }

// Rename is os.Rename. On Windows it asks the system to return when the move is on the disk.
func (OS) Rename(from, to string) error {
	return persist(refusedChange, func() error { return rename(from, to) })
}

// RenameNew works on Linux and Windows.
func (OS) RenameNew(from, to string) error {
	return persist(refusedChange, func() error { return renameNew(from, to) })
}

// Link is os.Link.
func (OS) Link(name, also string) error {
	return persist(refusedChange, func() error { return os.Link(name, also) })
}

// Remove is os.Remove.
func (OS) Remove(name string) error {
	return persist(refusedChange, func() error { return os.Remove(name) })
}

// SyncDir asks for what the system has. Windows has no documented call for it: see syncDir
// there.
func (OS) SyncDir(name string) error { return syncDir(name) }

// IsMountPoint works on Linux. On other systems nothing is mounted on single files.
func (OS) IsMountPoint(name string) (bool, error) { return isMountPoint(name) }
