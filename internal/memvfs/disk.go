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

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// DiskName is the name of the VFS for connections to a database file on the disk. Register
// registers it. It is the default VFS, except that it asks DiskHooks before a file is
// created or written. It also has the files on the disk that a connection to a store
// attaches.
const DiskName = C.MEMVFS_DISK_NAME

// DiskParam is a URI parameter. The value 1 marks the main database of a tool, whose
// connection checks itself whether the file is still the database.
const DiskParam = C.MEMVFS_DISK_PARAM

// DiskHooks are the calls of the VFS for files on the disk. The goroutine that runs a
// statement makes them, from inside of the statement, without a lock of the engine.
type DiskHooks interface {
	// CreateDisk is called before a connection creates the database file at path. SQLite
	// creates a file that does not exist when it opens it. After an error SQLite gets
	// SQLITE_BUSY or SQLITE_CANTOPEN, with the syscall.Errno that the error wraps.
	CreateDisk(path string, tool bool) error

	// LockDisk is called before a connection writes to the database file at path, once for
	// each write transaction. If the error wraps a sqlite3.Error, SQLite gets that. tool is
	// true for the main database of a tool, which may have a lock file.
	LockDisk(path string, tool bool) error

	// UnlockDisk is called after a LockDisk or CreateDisk without an error, when the
	// transaction is over or the file is created.
	UnlockDisk(path string)
}

var diskHooks atomic.Pointer[DiskHooks]

// SetDiskHooks sets the hooks. It is called before the first connection.
func SetDiskHooks(h DiskHooks) { diskHooks.Store(&h) }

// Register makes both VFSs known to SQLite, if they are not. NewStore does it as well.
func Register() error { return register() }

// ErrDiskInUse is wrapped by a [DiskInUseError].
var ErrDiskInUse = errors.New("this process works on the file on the disk")

// DiskInUseError is the error of a BeginLoad that has waited in vain.
type DiskInUseError struct {
	Path     string // of the file
	Attached int    // number of connections of this process that have it attached from the disk
	Locked   int    // number of connections of this process with a transaction on it
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

// BeginLoad waits in intervals of loadWait. In one interval no other connection may attach
// the file or begin a transaction, so running transactions end. In the next interval all
// may, and so on. So connections without a gap between them do not keep a load from
// beginning, and one long transaction does not stop the others.
const (
	loadPause = time.Millisecond
	loadWait  = 50 * time.Millisecond
)

// BeginLoad is called before the file at path is loaded into a store. It waits until no
// connection of this process has the file attached from the disk or has a lock on it. From
// then until end is called, such connections get SQLITE_BUSY. The caller calls end when the
// store can be opened, or the load has failed.
//
// At the end of ctx the error is a [*DiskInUseError]. BeginLoad tries at least once.
func BeginLoad(ctx context.Context, path string) (end func(), err error) {
	full, name, err := nameOf(path)
	if err != nil {
		return nil, err
	}
	end = sync.OnceFunc(func() {
		C.memvfs_disk_load_end(name)
		C.free(unsafe.Pointer(name))
	})
	turn := time.Now() // time of the last change of wait
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
func memvfsGoDiskLock(path *C.char, tool C.int, db *C.sqlite3) C.int {
	h := diskHooks.Load()
	if h == nil {
		return C.SQLITE_OK
	}
	err := (*h).LockDisk(C.GoString(path), tool != 0)
	if err == nil {
		return C.SQLITE_OK
	}
	if conn := C.memvfs_conn_handle(db); conn != 0 {
		cgo.Handle(conn).Value().(Hooks).DiskRefused(err)
	}
	return diskCode(err)
}

//export memvfsGoDiskCreate
func memvfsGoDiskCreate(path *C.char, tool C.int, systemError *C.int) C.int {
	h := diskHooks.Load()
	if h == nil {
		return C.SQLITE_OK
	}
	err := (*h).CreateDisk(C.GoString(path), tool != 0)
	if err == nil {
		return C.SQLITE_OK
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		*systemError = C.int(errno)
	}
	return diskCode(err)
}

//export memvfsGoSpell
func memvfsGoSpell(path *C.char, n C.int) {
	is := C.GoString(path)
	want := osfile.Spelled(is)
	if want == is || len(want) >= int(n) {
		return
	}
	buf := unsafe.Slice((*byte)(unsafe.Pointer(path)), n)
	buf[copy(buf, want)] = 0
}

// diskCode is the code that SQLite gets for an error of DiskHooks.
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
