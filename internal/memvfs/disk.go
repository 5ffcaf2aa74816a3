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
	"sync/atomic"
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

// DiskHooks is what the VFS for files on the disk asks. Both are called from inside of a
// statement, by whatever goroutine runs it, without a lock of the engine.
type DiskHooks interface {
	// LockDisk is called before a connection writes to the database file at path, once
	// for each write transaction. An error that is a sqlite3.Error is what SQLite gets.
	// create: the file is the main database of a tool, and so may have a lock file.
	LockDisk(path string, create bool) error

	// UnlockDisk is called when that transaction is over.
	UnlockDisk(path string)
}

var diskHooks atomic.Pointer[DiskHooks]

// SetDiskHooks sets who is asked. It is called before the first connection.
func SetDiskHooks(h DiskHooks) { diskHooks.Store(&h) }

// Register makes both VFSs known to SQLite, if they are not. NewStore does it as well.
func Register() error { return register() }

// ErrDiskInUse is the error of BeginLoad when its context ends.
var ErrDiskInUse = errors.New("a connection of this process has the file attached, or reads or writes it in a transaction")

// loadPoll is how often BeginLoad looks again.
const loadPoll = time.Millisecond

// BeginLoad waits until no connection of this process has the file at path attached, or
// has a lock on it: the descriptors that Go opens and closes would drop these locks.
// Until end is called, no connection gets a lock on the file (SQLITE_BUSY, at which
// SQLite waits). The error wraps ErrDiskInUse and that of ctx, at whose end it looks
// for the last time.
func BeginLoad(ctx context.Context, path string) (end func(), err error) {
	if err := register(); err != nil {
		return nil, err
	}
	full, err := fullPathname(path)
	if err != nil {
		return nil, err
	}
	name := C.CString(full)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		ended := ctx.Err()
		switch rc := C.memvfs_disk_load(name, 1); {
		case rc == C.SQLITE_OK:
			return func() {
				C.memvfs_disk_load(name, 0)
				C.free(unsafe.Pointer(name))
			}, nil
		case rc != C.SQLITE_BUSY:
			err = fmt.Errorf("memvfs: load %s: %w", full, sqlite3.ErrNo(rc))
		case ended != nil:
			err = fmt.Errorf("%s: %w: %w", path, ErrDiskInUse, ended)
		}
		if err != nil {
			C.free(unsafe.Pointer(name))
			return nil, err
		}
		timer.Reset(loadPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

//export memvfsGoDiskLock
func memvfsGoDiskLock(path *C.char, create C.int) C.int {
	h := diskHooks.Load()
	if h == nil {
		return C.SQLITE_OK
	}
	err := (*h).LockDisk(C.GoString(path), create != 0)
	if err == nil {
		return C.SQLITE_OK
	}
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
