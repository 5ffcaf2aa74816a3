//go:build cgo

package store

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

func init() { memvfs.SetDiskHooks(&disk) }

// disk has this process's shares of process locks: of the files that its connections
// are writing to on the disk, in the role of a tool or attached to a store.
var disk = diskLocks{held: make(map[string]*diskLock)}

type diskLocks struct {
	mu   sync.Mutex           // held for the length of a system call; no lock is taken under it
	held map[string]*diskLock // by path; guarded by mu
}

// diskLock is a share of the lock of one file. Guarded by diskLocks.mu.
type diskLock struct {
	lock  *proclock.Lock
	count int // write transactions that need it
}

// Errors for SQLite of a write to a file on the disk.
var (
	errDiskBusy     = sqlite3.Error{Code: sqlite3.ErrBusy}                                                // it is being recovered: try again
	errDiskReadOnly = sqlite3.Error{Code: sqlite3.ErrReadonly}                                            // nothing can be written here, or a server has what is attached
	errDiskOwned    = sqlite3.Error{Code: sqlite3.ErrReadonly, ExtendedCode: sqlite3.ErrReadonlyCantLock} // a server has it: a tool looks again whether it has gone
	errDiskMoved    = sqlite3.Error{Code: sqlite3.ErrReadonly, ExtendedCode: sqlite3.ErrReadonlyDbMoved}  // it is not the database any more
	errDiskLock     = sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrLock}           // the lock cannot be had, for a reason that may pass
)

// LockDisk implements memvfs.DiskHooks.
func (d *diskLocks) LockDisk(path string, create bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.held[path]; l != nil {
		l.count++ // no server can have come meanwhile
		return nil
	}
	lock, err := proclock.AcquireShared(path, create)
	if owned, ok := errors.AsType[*proclock.OwnedError](err); ok {
		switch {
		case owned.Role != proclock.Server:
			return errDiskBusy
		case create:
			return errDiskOwned
		}
		return errDiskReadOnly
	}
	if err != nil {
		if proclock.ReadOnly(err) {
			return errDiskReadOnly
		}
		return errDiskLock
	}
	// A server that came and crashed since the file was opened may have left a log. What
	// is written now would part the two.
	if pending, err := snapshot.LogPending(path); err != nil || pending {
		_ = lock.Release() // of a shared lock: nothing is written
		if err != nil {
			return errDiskLock
		}
		return errDiskMoved
	}
	d.held[path] = &diskLock{lock: lock, count: 1}
	return nil
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
