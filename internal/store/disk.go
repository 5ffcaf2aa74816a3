//go:build cgo

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
)

func init() { memvfs.SetDiskHooks(&disk) }

// disk has this process's shares of process locks: of the files that its connections
// are writing to on the disk, in the role of a tool or attached to a store.
var disk = diskLocks{held: make(map[string]*diskLock)}

type diskLocks struct {
	mu   sync.Mutex           // held for some system calls; of other locks only registry.mu is taken under it
	held map[string]*diskLock // by path; guarded by mu
}

// diskLock is this process's share of the lock of one file. Guarded by diskLocks.mu.
type diskLock struct {
	locks  []*proclock.Lock // one; a second if the first was taken without a lock file
	create bool             // the lock file has been made
	count  int              // write transactions that need it
}

// Errors for SQLite of a write to a file on the disk.
var (
	errDiskBusy     = sqlite3.Error{Code: sqlite3.ErrBusy}                                                // it is being recovered, loaded or given up: try again
	errDiskReadOnly = sqlite3.Error{Code: sqlite3.ErrReadonly}                                            // nothing can be written here, or a server has what is attached
	errDiskOwned    = sqlite3.Error{Code: sqlite3.ErrReadonly, ExtendedCode: sqlite3.ErrReadonlyCantLock} // a server has it: a tool looks again whether it has gone
	errDiskMoved    = sqlite3.Error{Code: sqlite3.ErrReadonly, ExtendedCode: sqlite3.ErrReadonlyDbMoved}  // it is not the database any more
	errDiskLock     = sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrLock}           // the lock cannot be had, for a reason that may pass
)

// errLogBeside is the reason of errDiskMoved.
var errLogBeside = errors.New("a server that crashed has left its log beside the file, which is not all of the database without it; open the database, or run sqlite-mem recover")

// diskError is the reason why a file cannot be written, and what SQLite is told.
type diskError struct {
	error
	code sqlite3.Error
}

func (e *diskError) Unwrap() []error { return []error{e.error, e.code} }

// CreateDisk implements memvfs.DiskHooks. A server that has not saved yet would find the
// new file in its place at its first save, and keep what it has beside it. A file in the
// place of its log or its journal is as bad.
//
// Of a file that is attached, and has no lock file yet, a server of another process that
// starts at this very moment is not seen. Its state is then kept beside the file.
func (d *diskLocks) CreateDisk(path string, create bool) error {
	if _, beside := image.DatabaseOf(path); beside {
		if err := Served(path); err != nil {
			return &diskError{err, errDiskReadOnly}
		}
	}
	return d.LockDisk(path, create)
}

// Served returns an error if path, which is resolved, is the file of a database that has
// an owner, this process included, or the name of a file beside one: a
// *proclock.OwnedError, or why that cannot be known. The file need not be there yet.
func Served(path string) error {
	names := []string{path}
	if db, is := image.DatabaseOf(path); is {
		names = append(names, db)
	}
	for _, name := range names {
		owner, owned, err := proclock.OwnerOf(name)
		switch {
		case errors.Is(err, proclock.ErrNotALock): // so nobody has it
		case err != nil:
			return err
		case owned:
			return &proclock.OwnedError{Path: name, PID: owner.PID, Since: owner.Since, Role: owner.Role}
		}
	}
	return nil
}

// NotCreated returns why the file at path, which is resolved, may not be created on the
// disk now; nil: it may.
func NotCreated(path string) error {
	err := disk.CreateDisk(path, false)
	if err == nil {
		disk.UnlockDisk(path)
	}
	return err
}

// LockDisk implements memvfs.DiskHooks. Its errors wrap a sqlite3.Error, and an
// *proclock.OwnedError if that is the reason.
func (d *diskLocks) LockDisk(path string, create bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.held[path]
	if l != nil && (l.create || !create) {
		l.count++ // no server can have come meanwhile
		return nil
	}
	lock, err := share(path, create)
	if err != nil {
		return err
	}
	if l == nil {
		l = &diskLock{}
		d.held[path] = l
	}
	l.locks = append(l.locks, lock)
	l.create = create
	l.count++
	return nil
}

// share takes a share of the process lock, and makes sure that the file is all of the
// database.
func share(path string, create bool) (*proclock.Lock, error) {
	lock, err := proclock.AcquireShared(path, create)
	if owned, ok := errors.AsType[*proclock.OwnedError](err); ok {
		switch {
		case owned.Role != proclock.Server, owned.PID == os.Getpid() && !serves(path):
			return nil, &diskError{owned, errDiskBusy}
		case create:
			return nil, &diskError{owned, errDiskOwned}
		}
		return nil, &diskError{owned, errDiskReadOnly}
	}
	if err != nil {
		if proclock.ReadOnly(err) {
			return nil, &diskError{err, errDiskReadOnly}
		}
		return nil, &diskError{err, errDiskLock}
	}
	// A server that came and crashed since the file was opened may have left a log. What
	// is written now would part the two.
	pending, err := image.LogPending(path)
	if err == nil && !pending {
		return lock, nil
	}
	_ = lock.Release() // of a shared lock: nothing is written
	if err != nil {
		return nil, &diskError{err, errDiskLock}
	}
	return nil, &diskError{fmt.Errorf("%s: %w", path, errLogBeside), errDiskMoved}
}

// serves reports whether this process has the file in a store, and does not just load it
// or give it up: then it has the process lock for a moment only.
func serves(path string) bool {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	e := registry.entries[Options{Path: path}.key()]
	if e == nil {
		return false
	}
	select {
	case <-e.ready:
		return !e.closing
	default:
		return false
	}
}

// UnlockDisk implements memvfs.DiskHooks.
func (d *diskLocks) UnlockDisk(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.held[path]
	if l.count--; l.count == 0 {
		delete(d.held, path)
		for _, lock := range l.locks {
			_ = lock.Release() // of a shared lock: nothing is written
		}
	}
}

// closePoll is how often closeWhenFree looks again.
const closePoll = 50 * time.Millisecond

// closeWhenFree closes a descriptor of the database file at path. Should a tool of this
// process have a lock on the file, which that would drop, it is closed when the lock has
// gone; closeWhenFree does not wait for that.
func closeWhenFree(path string, file io.Closer) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	try := func() bool {
		end, err := memvfs.BeginLoad(now, path)
		if errors.Is(err, memvfs.ErrDiskInUse) {
			return false
		}
		_ = file.Close() // it was only read
		if err == nil {
			end()
		}
		return true
	}
	if try() {
		return
	}
	go func() {
		for !try() {
			time.Sleep(closePoll)
		}
	}()
}
