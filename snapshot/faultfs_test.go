package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// faultFS passes operations on and records them. Operation number failAt
// fails (the first is 1; 0: none), and with forever set all that follow.
//
// Neither it nor its files embed what they pass on to, so that no operation is
// forgotten.
type faultFS struct {
	fsys    fsys
	failAt  int
	forever bool
	err     error
	short   bool            // a failing write writes half of it first
	before  func(op string) // called before each operation, with the name of its file, unless nil

	mu    sync.Mutex
	ops   []string // what was done, in order
	fault []string // what has failed
}

func (f *faultFS) hit(op, name string) error {
	op += " " + filepath.Base(name)
	if f.before != nil {
		f.before(op)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops = append(f.ops, op)
	if n := len(f.ops); n == f.failAt || f.forever && f.failAt > 0 && n > f.failAt {
		f.fault = append(f.fault, op)
		return &os.PathError{Op: op, Path: name, Err: f.err}
	}
	return nil
}

// failures is what has failed by now.
func (f *faultFS) failures() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.fault)
}

// cease ends the failing.
func (f *faultFS) cease() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failAt = 0
}

// failed reports whether an operation of that kind has failed.
func (f *faultFS) failed(op string) bool {
	return slices.ContainsFunc(f.fault, func(s string) bool { return strings.HasPrefix(s, op+" ") })
}

// failedFirst reports whether the first operation that failed is of that kind.
func (f *faultFS) failedFirst(op string) bool {
	return len(f.fault) > 0 && strings.HasPrefix(f.fault[0], op+" ")
}

// did reports whether an operation of that kind was tried, and none has failed.
func (f *faultFS) did(op string) bool {
	return !f.failed(op) && slices.ContainsFunc(f.ops, func(s string) bool { return strings.HasPrefix(s, op+" ") })
}

func (f *faultFS) create(name string, perm os.FileMode) (file, error) {
	if err := f.hit("create", name); err != nil {
		return nil, err
	}
	x, err := f.fsys.create(name, perm)
	return f.wrap(name, x, err)
}

func (f *faultFS) open(name string) (file, error) {
	if err := f.hit("open", name); err != nil {
		return nil, err
	}
	x, err := f.fsys.open(name)
	return f.wrap(name, x, err)
}

func (f *faultFS) openWrite(name string) (file, error) {
	if err := f.hit("open", name); err != nil {
		return nil, err
	}
	x, err := f.fsys.openWrite(name)
	return f.wrap(name, x, err)
}

func (f *faultFS) wrap(name string, x file, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{x, f, name, false}, nil
}

func (f *faultFS) stat(name string) (os.FileInfo, error) {
	if err := f.hit("stat", name); err != nil {
		return nil, err
	}
	return f.fsys.stat(name)
}

func (f *faultFS) lstat(name string) (os.FileInfo, error) {
	if err := f.hit("stat", name); err != nil {
		return nil, err
	}
	return f.fsys.lstat(name)
}

func (f *faultFS) readDir(name string) ([]os.DirEntry, error) {
	if err := f.hit("readDir", name); err != nil {
		return nil, err
	}
	return f.fsys.readDir(name)
}

func (f *faultFS) rename(from, to string) error {
	if err := f.hit("rename", to); err != nil {
		return err
	}
	return f.fsys.rename(from, to)
}

func (f *faultFS) renameNew(from, to string) error {
	if err := f.hit("rename", to); err != nil {
		return err
	}
	return f.fsys.renameNew(from, to)
}

func (f *faultFS) link(name, also string) error {
	if err := f.hit("link", also); err != nil {
		return err
	}
	return f.fsys.link(name, also)
}

func (f *faultFS) remove(name string) error {
	if err := f.hit("remove", name); err != nil {
		return err
	}
	return f.fsys.remove(name)
}

func (f *faultFS) syncDir(name string) error {
	if err := f.hit("syncDir", name); err != nil {
		return err
	}
	return f.fsys.syncDir(name)
}

type faultFile struct {
	file       file
	fs         *faultFS
	name       string
	syncFailed bool
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.hit("read", f.name); err != nil {
		return 0, err
	}
	return f.file.ReadAt(p, off)
}

func (f *faultFile) Write(p []byte) (int, error) { return f.write(p, f.file.Write) }

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, func(p []byte) (int, error) { return f.file.WriteAt(p, off) })
}

func (f *faultFile) write(p []byte, write func([]byte) (int, error)) (int, error) {
	if err := f.fs.hit("write", f.name); err != nil {
		n := 0
		if f.fs.short {
			n, _ = write(p[:len(p)/2])
		}
		return n, err
	}
	return write(p)
}

func (f *faultFile) startFlush(off, n int64) error {
	if err := f.fs.hit("flush", f.name); err != nil {
		f.syncFailed = true
		return err
	}
	return f.file.startFlush(off, n)
}

func (f *faultFile) Sync() error     { return f.sync(f.file.Sync) }
func (f *faultFile) syncData() error { return f.sync(f.file.syncData) }

func (f *faultFile) sync(sync func() error) error {
	if f.syncFailed {
		panic("synced again after a failed sync")
	}
	if err := f.fs.hit("sync", f.name); err != nil {
		f.syncFailed = true
		return err
	}
	return sync()
}

func (f *faultFile) Close() error {
	// A failed close closes: the descriptor must not leak.
	err := f.file.Close()
	if ferr := f.fs.hit("close", f.name); ferr != nil {
		return ferr
	}
	return err
}

func (f *faultFile) Stat() (os.FileInfo, error) {
	if err := f.fs.hit("fstat", f.name); err != nil {
		return nil, err
	}
	return f.file.Stat()
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.fs.hit("truncate", f.name); err != nil {
		return err
	}
	return f.file.Truncate(size)
}

func (f *faultFile) Chmod(m os.FileMode) error {
	if err := f.fs.hit("chmod", f.name); err != nil {
		return err
	}
	return f.file.Chmod(m)
}

func (f *faultFile) Chown(uid, gid int) error {
	if err := f.fs.hit("chown", f.name); err != nil {
		return err
	}
	return f.file.Chown(uid, gid)
}

func (f *faultFS) String() string { return fmt.Sprintf("failing %v of %v", f.fault, f.ops) }
