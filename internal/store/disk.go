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

// disk holds this process's shares of process locks. They are for the files on the disk
// that its connections are writing to, as a tool or attached to a store.
var disk = diskLocks{held: make(map[string]*diskLock)}

type diskLocks struct {
	mu   sync.Mutex           // held across AcquireShared: system calls, and up to 50 ms if the owner is not known
	held map[string]*diskLock // by path; guarded by mu
}

// diskLock is this process's share of the process lock of one file. Guarded by diskLocks.mu.
type diskLock struct {
	lock  *proclock.Lock // holds nothing if there was no lock file and no tool has asked
	count int            // write transactions and creations under way
}

// The errors that SQLite gets for a write to a file on the disk.
var (
	errDiskBusy     = sqlite3.Error{Code: sqlite3.ErrBusy}                                                // the file is being recovered, loaded or closed: try again
	errDiskReadOnly = sqlite3.Error{Code: sqlite3.ErrReadonly}                                            // nothing can be written here, or a server has the attached file
	errDiskOwned    = sqlite3.Error{Code: sqlite3.ErrReadonly, ExtendedCode: sqlite3.ErrReadonlyCantLock} // a server has the file; a tool then looks again
	errDiskMoved    = sqlite3.Error{Code: sqlite3.ErrReadonly, ExtendedCode: sqlite3.ErrReadonlyDbMoved}  // the file is not the database any more
	errDiskLock     = sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrLock}           // the process lock cannot be taken, for a reason that may pass
)

// errLogBeside is the reason of errDiskMoved.
var errLogBeside = errors.New("a server that crashed has left its log beside the file, which is not all of the database without it; open the database, or run sqlite-mem recover")

// diskError is the reason why a file cannot be written, with the error that SQLite gets.
type diskError struct {
	error
	code sqlite3.Error
}

func (e *diskError) Unwrap() []error { return []error{e.error, e.code} }

// CreateDisk implements memvfs.DiskHooks. A server that has not saved yet would take the new
// file for a foreign change at its first save. So it would a file in the place of its log
// or its journal.
//
// One moment is not covered. If the file is to be attached and has no lock file, a server
// of another process may start between the question and the creation. Its first save then
// keeps its state beside the file.
func (d *diskLocks) CreateDisk(path string, tool bool) error {
	if _, beside := image.DatabaseOf(path); beside {
		if err := Served(path); err != nil {
			return &diskError{err, errDiskReadOnly}
		}
	}
	return d.LockDisk(path, tool)
}

// Served returns an error if the database at path has an owner, this process included. It
// also does if path is the name of a file beside such a database. The given path is resolved.
// The file need not exist. The error is a *proclock.OwnedError, or the reason why the owner cannot be known.
func Served(path string) error {
	names := []string{path}
	if db, is := image.DatabaseOf(path); is {
		names = append(names, db)
	}
	for _, name := range names {
		owner, owned, err := proclock.OwnerOf(name)
		switch {
		case errors.Is(err, proclock.ErrNotALock): // so there is no owner
		case err != nil:
			return err
		case owned:
			return owner.Owned(name)
		}
	}
	return nil
}

// NotCreated returns the reason why the file at path may not be created on the disk now, or
// nil. path is resolved.
func NotCreated(path string) error {
	err := disk.CreateDisk(path, false)
	if err == nil {
		disk.UnlockDisk(path)
	}
	return err
}

// LockDisk implements memvfs.DiskHooks. Its errors wrap a sqlite3.Error, and a
// *proclock.OwnedError if the file has an owner.
func (d *diskLocks) LockDisk(path string, tool bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.held[path]
	if l != nil && l.lock.Holds() {
		l.count++ // no server can have come since it was taken
		return nil
	}
	lock, err := share(path, tool)
	if err != nil {
		return err
	}
	if l == nil {
		l = &diskLock{}
		d.held[path] = l
	}
	l.lock = lock // the one before holds nothing
	l.count++
	return nil
}

// share takes a share of the process lock, and makes sure that no log has commits that
// the file lacks.
func share(path string, tool bool) (*proclock.Lock, error) {
	lock, err := proclock.AcquireShared(path, tool)
	if owned, ok := errors.AsType[*proclock.OwnedError](err); ok {
		switch {
		case owned.Role != proclock.Server, owned.PID == os.Getpid() && !serves(path):
			return nil, &diskError{owned, errDiskBusy}
		case tool:
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
	// A server may have come and crashed since the file was opened, and have left a log. A
	// write would separate the file from its log.
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

// serves reports whether this process has the file in a store that is neither being loaded
// nor being closed. A store in either state keeps the process lock for a moment only.
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
		_ = l.lock.Release() // of a shared lock: nothing is written
	}
}

// closePoll is how often closeWhenFree looks again.
const closePoll = 50 * time.Millisecond

// closeWhenFree closes a descriptor of the database file at path. The close would drop the
// POSIX locks that a tool of this process has on the file. So the descriptor is closed when
// there is none; closeWhenFree does not wait for that.
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
