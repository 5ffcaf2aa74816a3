package osfiletest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// FaultFS passes operations on, counts and records them. Operation number FailAt fails (the
// first is 1; 0: none); with Forever set, all later ones too.
//
// Neither it nor its files embed what they pass on to, so that no operation is forgotten.
type FaultFS struct {
	FS      osfile.FS
	FailAt  int
	Forever bool
	Err     error
	Short   bool            // a failing write writes half of it first
	Before  func(op string) // called before each operation, with the name of its file, unless nil

	mu       sync.Mutex
	Ops      []string // operations done, in order
	Failures []string // operations that have failed
}

func (f *FaultFS) hit(op, name string) error {
	op += " " + filepath.Base(name)
	if f.Before != nil {
		f.Before(op)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Ops = append(f.Ops, op)
	if n := len(f.Ops); n == f.FailAt || f.Forever && f.FailAt > 0 && n > f.FailAt {
		f.Failures = append(f.Failures, op)
		return &os.PathError{Op: op, Path: name, Err: f.Err}
	}
	return nil
}

// Failed returns the operations that have failed by now.
func (f *FaultFS) Failed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Failures)
}

// Cease ends the failing.
func (f *FaultFS) Cease() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.FailAt = 0
}

// HasFailed reports whether an operation of that kind has failed.
func (f *FaultFS) HasFailed(op string) bool {
	return slices.ContainsFunc(f.Failures, func(s string) bool { return strings.HasPrefix(s, op+" ") })
}

// FailedFirst reports whether the first operation that failed is of that kind.
func (f *FaultFS) FailedFirst(op string) bool {
	return len(f.Failures) > 0 && strings.HasPrefix(f.Failures[0], op+" ")
}

// Did reports whether an operation of that kind was tried, and none has failed.
func (f *FaultFS) Did(op string) bool {
	return !f.HasFailed(op) && slices.ContainsFunc(f.Ops, func(s string) bool { return strings.HasPrefix(s, op+" ") })
}

func (f *FaultFS) Create(name string, perm os.FileMode) (osfile.File, error) {
	if err := f.hit("create", name); err != nil {
		return nil, err
	}
	x, err := f.FS.Create(name, perm)
	return f.wrap(name, x, err)
}

func (f *FaultFS) Open(name string) (osfile.File, error) {
	if err := f.hit("open", name); err != nil {
		return nil, err
	}
	x, err := f.FS.Open(name)
	return f.wrap(name, x, err)
}

func (f *FaultFS) OpenWrite(name string) (osfile.File, error) {
	if err := f.hit("open", name); err != nil {
		return nil, err
	}
	x, err := f.FS.OpenWrite(name)
	return f.wrap(name, x, err)
}

func (f *FaultFS) wrap(name string, x osfile.File, err error) (osfile.File, error) {
	if err != nil {
		return nil, err
	}
	return &FaultFile{x, f, name, false}, nil
}

func (f *FaultFS) Stat(name string) (os.FileInfo, error) {
	if err := f.hit("stat", name); err != nil {
		return nil, err
	}
	return f.FS.Stat(name)
}

func (f *FaultFS) Lstat(name string) (os.FileInfo, error) {
	if err := f.hit("stat", name); err != nil {
		return nil, err
	}
	return f.FS.Lstat(name)
}

func (f *FaultFS) ReadDir(name string) ([]os.DirEntry, error) {
	if err := f.hit("readDir", name); err != nil {
		return nil, err
	}
	return f.FS.ReadDir(name)
}

func (f *FaultFS) Rename(from, to string) error {
	if err := f.hit("rename", to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *FaultFS) RenameNew(from, to string) error {
	if err := f.hit("rename", to); err != nil {
		return err
	}
	return f.FS.RenameNew(from, to)
}

func (f *FaultFS) Link(name, also string) error {
	if err := f.hit("link", also); err != nil {
		return err
	}
	return f.FS.Link(name, also)
}

func (f *FaultFS) Remove(name string) error {
	if err := f.hit("remove", name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

func (f *FaultFS) SyncDir(name string) error {
	if err := f.hit("syncDir", name); err != nil {
		return err
	}
	return f.FS.SyncDir(name)
}

func (f *FaultFS) IsMountPoint(name string) (bool, error) {
	if err := f.hit("isMountPoint", name); err != nil {
		return false, err
	}
	return f.FS.IsMountPoint(name)
}

type FaultFile struct {
	File       osfile.File
	fs         *FaultFS
	name       string
	syncFailed bool
}

func (f *FaultFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.hit("read", f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *FaultFile) Write(p []byte) (int, error) { return f.write(p, f.File.Write) }

func (f *FaultFile) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, func(p []byte) (int, error) { return f.File.WriteAt(p, off) })
}

func (f *FaultFile) write(p []byte, write func([]byte) (int, error)) (int, error) {
	if err := f.fs.hit("write", f.name); err != nil {
		n := 0
		if f.fs.Short {
			n, _ = write(p[:len(p)/2])
		}
		return n, err
	}
	return write(p)
}

func (f *FaultFile) StartFlush(off, n int64) error {
	if err := f.fs.hit("flush", f.name); err != nil {
		f.syncFailed = true
		return err
	}
	return f.File.StartFlush(off, n)
}

func (f *FaultFile) Sync() error { return f.sync(f.File.Sync) }

func (f *FaultFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *FaultFile) sync(sync func() error) error {
	if f.syncFailed {
		panic("synced again after a failed sync")
	}
	if err := f.fs.hit("sync", f.name); err != nil {
		f.syncFailed = true
		return err
	}
	return sync()
}

func (f *FaultFile) Close() error {
	// A failed close closes: the descriptor must not leak.
	err := f.File.Close()
	if ferr := f.fs.hit("close", f.name); ferr != nil {
		return ferr
	}
	return err
}

func (f *FaultFile) Stat() (os.FileInfo, error) {
	if err := f.fs.hit("fstat", f.name); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

func (f *FaultFile) Truncate(size int64) error {
	if err := f.fs.hit("truncate", f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *FaultFile) Chmod(m os.FileMode) error {
	if err := f.fs.hit("chmod", f.name); err != nil {
		return err
	}
	return f.File.Chmod(m)
}

func (f *FaultFile) Chown(uid, gid int) error {
	if err := f.fs.hit("chown", f.name); err != nil {
		return err
	}
	return f.File.Chown(uid, gid)
}

func (f *FaultFS) String() string { return fmt.Sprintf("failing %v of %v", f.Failures, f.Ops) }
