//go:build cgo

package memvfs

/*
#include <stdlib.h>
#include "memvfs.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"runtime/cgo"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/mattn/go-sqlite3"
)

// DiskName is the name of the VFS for connections to a database file on the disk
// (Register makes it known). It is the default VFS, but that it asks DiskHooks before a
// file is written. Files that a connection to a store attaches, and that are no store,
// go through it as well.
const DiskName = C.MEMVFS_DISK_NAME

// DiskParam is a URI parameter. With the value 1 it marks the main database of a tool,
// whose connection looks by itself whether the file is still the database.
const DiskParam = C.MEMVFS_DISK_PARAM

// DiskHooks is what the VFS for files on the disk asks. All are called from inside of a
// statement, by whatever goroutine runs it, without a lock of the engine.
type DiskHooks interface {
	// CreateDisk is called before a connection creates the database file at path, which
	// SQLite does when it opens one that is not there. As LockDisk otherwise; but SQLite
	// gets SQLITE_BUSY or SQLITE_CANTOPEN, with the syscall.Errno that is in the error.
	CreateDisk(path string, create bool) error

	// LockDisk is called before a connection writes to the database file at path, once
	// for each write transaction. An error that has a sqlite3.Error in it is what SQLite
	// gets.
	// create: the file is the main database of a tool, and so may have a lock file.
	LockDisk(path string, create bool) error

	// UnlockDisk is called when that transaction is over, or the file created.
	UnlockDisk(path string)
}

var diskHooks atomic.Pointer[DiskHooks]

// SetDiskHooks sets who is asked. It is called before the first connection.
func SetDiskHooks(h DiskHooks) { diskHooks.Store(&h) }

// Register makes both VFSs known to SQLite, if they are not. NewStore does it as well.
func Register() error { return register() }

// ErrDiskInUse is wrapped by a [DiskInUseError].
var ErrDiskInUse = errors.New("this process works on the file on the disk")

// DiskInUseError is the error of a BeginLoad that has waited in vain.
type DiskInUseError struct {
	Path     string // of the file
	Attached int    // connections of this process that have it attached from the disk
	Locked   int    // connections of this process that have a transaction of it open
	Err      error  // of the context
}

func (e *DiskInUseError) Error() string {
	switch {
	case e.Attached > 0:
		return fmt.Sprintf("%s: %d connections of this process have it attached from the disk (ATTACH); detach it before it is opened in memory: %v", e.Path, e.Attached, e.Err)
	case e.Locked > 0:
		return fmt.Sprintf("%s: %d connections of this process work on the file on the disk; end their transactions before it is opened in memory: %v", e.Path, e.Locked, e.Err)
	}
	return fmt.Sprintf("%s: it is being loaded already: %v", e.Path, e.Err)
}

// Unwrap returns ErrDiskInUse, SQLITE_BUSY and Err.
func (e *DiskInUseError) Unwrap() []error {
	return []error{ErrDiskInUse, sqlite3.Error{Code: sqlite3.ErrBusy}, e.Err}
}

// How BeginLoad waits. For loadWait it keeps others from attaching the file, or from
// beginning a transaction, so that those under way come to an end; then it lets them
// for as long. Connections that follow each other without a gap must not keep a load
// from beginning, nor one that stays for long keep the others from going on.
const (
	loadPause = time.Millisecond
	loadWait  = 50 * time.Millisecond
)

// BeginLoad is called before the file at path is read into a store. It waits
// until no connection of this process has the file attached from the disk, or
// has a lock of it. From then on such connections get SQLITE_BUSY, and no new one
// attaches it, until end is called: when the store can be opened, or has failed
// to.
//
// At the end of ctx the error is a [*DiskInUseError]. BeginLoad tries at least
// once.
func BeginLoad(ctx context.Context, path string) (end func(), err error) {
	full, name, err := nameOf(path)
	if err != nil {
		return nil, err
	}
	end = sync.OnceFunc(func() {
		C.memvfs_disk_load_end(name)
		C.free(unsafe.Pointer(name))
	})
	turn := time.Now() // of which the wait was last changed
	for wait := false; ; {
		var attached, locked C.int
		rc := C.memvfs_disk_load_begin(name, cbool(wait), &attached, &locked)
		switch rc {
		case C.SQLITE_OK:
			return end, nil
		case C.SQLITE_BUSY, C.SQLITE_MISUSE:
		default:
			C.free(unsafe.Pointer(name))
			return nil, fmt.Errorf("memvfs: load %s: %w", full, sqlite3.ErrNo(rc))
		}
		select {
		case <-time.After(loadPause):
		case <-ctx.Done():
			if rc == C.SQLITE_BUSY {
				C.memvfs_disk_load_end(name)
			}
			C.free(unsafe.Pointer(name))
			return nil, &DiskInUseError{Path: full, Attached: int(attached), Locked: int(locked), Err: ctx.Err()}
		}
		if time.Since(turn) >= loadWait {
			wait, turn = !wait, time.Now()
		}
	}
}

//export memvfsGoDiskLock
func memvfsGoDiskLock(path *C.char, create C.int, db *C.sqlite3) C.int {
	h := diskHooks.Load()
	if h == nil {
		return C.SQLITE_OK
	}
	err := (*h).LockDisk(C.GoString(path), create != 0)
	if err == nil {
		return C.SQLITE_OK
	}
	if conn := C.memvfs_conn_handle(db); conn != 0 {
		cgo.Handle(conn).Value().(Hooks).DiskRefused(err)
	}
	return diskCode(err)
}

//export memvfsGoDiskCreate
func memvfsGoDiskCreate(path *C.char, create C.int, systemError *C.int) C.int {
	h := diskHooks.Load()
	if h == nil {
		return C.SQLITE_OK
	}
	err := (*h).CreateDisk(C.GoString(path), create != 0)
	if err == nil {
		return C.SQLITE_OK
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		*systemError = C.int(errno)
	}
	return diskCode(err)
}

// diskCode is what SQLite gets for an error of DiskHooks.
func diskCode(err error) C.int {
	var e sqlite3.Error
	switch {
	case !errors.As(err, &e):
		return C.SQLITE_IOERR_LOCK
	case e.ExtendedCode != 0:
		return C.int(e.ExtendedCode)
	}
	return C.int(e.Code)
}

//export memvfsGoDiskUnlock
func memvfsGoDiskUnlock(path *C.char) {
	if h := diskHooks.Load(); h != nil {
		(*h).UnlockDisk(C.GoString(path))
	}
}
