//go:build cgo

package memvfs

/*
#include "memvfs.h"
*/
import "C"

import (
	"fmt"
	"runtime/cgo"
	"sync/atomic"

	"github.com/mattn/go-sqlite3"
)

// Hooks are the calls of the engine to the owner of a connection. The goroutine that runs
// the statement makes them, from inside of the statement.
type Hooks interface {
	// LockWrite takes the write lock for a statement that is about to write.
	LockWrite() error
	// UnlockWrite is called when the transaction of a LockWrite is over; after
	// TellUnlock when any write transaction is.
	UnlockWrite()
	// Cancelled reports whether the running statement must stop. It is called only
	// between SetCancellable(true) and SetCancellable(false).
	Cancelled() bool
	// Attach is called when the connection attaches the store of owner. It returns the
	// hooks of the attached store, or nil to refuse. They have link until Detached, Close
	// or Abandon.
	Attach(owner any, link *Conn) Hooks
	// Detached is called on the hooks of an attached store after it was detached. Its
	// link is freed.
	Detached()
	// DiskRefused is called on the hooks of a main database if the running statement may
	// not write to an attached file on the disk. err is that of [DiskHooks.LockDisk].
	DiskRefused(err error)
}

// Conn is the link between Go and one store of a SQLite connection: its main database, or
// an attached one. Like the connection it is used by one goroutine at a time.
type Conn struct {
	// c is C memory. The engine writes it only inside of calls of SQLite for this
	// connection. So Go reads and writes its fields without a call and without atomics.
	c      *C.memvfs_conn
	handle cgo.Handle

	// inner is the connection of go-sqlite3; nil for an attached store.
	inner *sqlite3.SQLiteConn
}

var lastToken atomic.Int32

// Link connects hooks with an open connection whose main database is this store.
func (s *Store) Link(c *sqlite3.SQLiteConn, hooks Hooks) (*Conn, error) {
	token := lastToken.Add(1)
	if token == 0 { // the numbers have wrapped around; 0 is a file without a number
		token = lastToken.Add(1)
	}
	if err := c.SetFileControlInt("main", C.MEMVFS_FCNTL_TOKEN, int(token)); err != nil {
		return nil, fmt.Errorf("memvfs: link a connection to %s: %w", s.path, err)
	}
	h := cgo.NewHandle(hooks)
	p := C.memvfs_conn_new(s.c, C.int(token), C.uintptr_t(h))
	if p == nil {
		h.Delete()
		return nil, fmt.Errorf("memvfs: link a connection to %s: %w", s.path, sqlite3.ErrNomem)
	}
	return &Conn{c: p, handle: h, inner: c}, nil
}

// Close ends the link. It is called after SQLite has closed the connection.
func (c *Conn) Close() {
	C.memvfs_conn_free(c.c)
	c.handle.Delete()
	c.c = nil
}

// Abandon ends the transaction of a connection that a panic left in the middle of a
// statement. Such a connection cannot even be closed. What was not committed is dropped. c
// must not be used afterwards, and the memory of the connection is not freed.
func (c *Conn) Abandon() { C.memvfs_conn_abandon(c.c) }

// Writing reports whether the connection has a write transaction open.
func (c *Conn) Writing() bool { return c.c.eLock >= C.SQLITE_LOCK_RESERVED }

// WritingAny reports whether the connection has a write transaction open on any of its
// databases, including those on the disk and the temporary one.
func (c *Conn) WritingAny() bool {
	return C.sqlite3_txn_state(c.c.db, nil) == C.SQLITE_TXN_WRITE
}

// HasFile reports whether the file is still open. sqlite3_deserialize closes the file of a
// connection.
func (c *Conn) HasFile() bool { return c.c.pFile != nil }

// Reading reports whether the connection has an open transaction that has read.
func (c *Conn) Reading() bool { return c.c.eLock >= C.SQLITE_LOCK_SHARED }

// SetMayWrite tells the engine whether Go holds the write lock for the connection. While
// it does, the engine does not call Hooks.LockWrite.
func (c *Conn) SetMayWrite(on bool) { c.c.mayWrite = cbool(on) }

// RefuseFiles makes ATTACH, VACUUM INTO and the pragmas for the whole process (directories,
// heap limits) fail with SQLITE_AUTH.
func (c *Conn) RefuseFiles() { c.c.noFiles = 1 }

// SetReadOnly makes every attempt to write fail with SQLITE_READONLY.
func (c *Conn) SetReadOnly(on bool) { c.c.readOnly = cbool(on) }

// SetCancellable makes the engine call Hooks.Cancelled at intervals.
func (c *Conn) SetCancellable(on bool) { c.c.cancellable = cbool(on) }

// TellUnlock makes the engine call Hooks.UnlockWrite after every write transaction.
func (c *Conn) TellUnlock() { c.c.tell = 1 }

// Committed is the Epoch of the last commit of this connection that changed something, or
// 0.
func (c *Conn) Committed() uint64 { return uint64(c.c.commit) }

// SetBusyTimeout tells the engine the busy timeout, in milliseconds, with which the
// connection was opened.
func (c *Conn) SetBusyTimeout(ms int) { c.c.busyTimeout = C.int(ms) }

// BusyTimeout is the value of the last PRAGMA busy_timeout or SetBusyTimeout in
// milliseconds; -1 if there was neither.
func (c *Conn) BusyTimeout() int { return int(c.c.busyTimeout) }

// Autocommit reports whether no transaction is open (sqlite3_get_autocommit).
func (c *Conn) Autocommit() bool { return C.sqlite3_get_autocommit(c.c.db) != 0 }

// Entered reports whether another thread is inside of a call for the connection. It needs
// a connection with a mutex (_mutex=full), and is false otherwise.
func (c *Conn) Entered() bool { return C.memvfs_conn_entered(c.c) != 0 }

// Busy reports whether any statement of the connection is running, also one of go-sqlite3.
func (c *Conn) Busy() bool { return C.memvfs_conn_busy(c.c) != 0 }

// Pin makes the next transaction read the last commit as of now, until Unpin. The
// connection must not write.
func (c *Conn) Pin() { C.memvfs_conn_pin(c.c) }

// Unpin ends Pin.
func (c *Conn) Unpin() { C.memvfs_conn_unpin(c.c) }

func cbool(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

//export memvfsGoLock
func memvfsGoLock(h C.uintptr_t) C.int {
	switch err := cgo.Handle(h).Value().(Hooks).LockWrite().(type) {
	case nil:
		return C.SQLITE_OK
	case sqlite3.Error:
		return C.int(err.Code)
	default:
		return C.SQLITE_LOCKED // at SQLITE_BUSY SQLite would try again
	}
}

//export memvfsGoUnlock
func memvfsGoUnlock(h C.uintptr_t) {
	cgo.Handle(h).Value().(Hooks).UnlockWrite()
}

//export memvfsGoCancelled
func memvfsGoCancelled(h C.uintptr_t) C.int {
	return cbool(cgo.Handle(h).Value().(Hooks).Cancelled())
}

//export memvfsGoAttach
func memvfsGoAttach(h, owner C.uintptr_t, p *C.memvfs_conn) C.uintptr_t {
	var of any
	if owner != 0 {
		of = cgo.Handle(owner).Value()
	}
	link := &Conn{c: p}
	hooks := cgo.Handle(h).Value().(Hooks).Attach(of, link)
	if hooks == nil {
		return 0
	}
	link.handle = cgo.NewHandle(hooks)
	return C.uintptr_t(link.handle)
}

//export memvfsGoDetached
func memvfsGoDetached(h C.uintptr_t) {
	hooks := cgo.Handle(h).Value().(Hooks)
	cgo.Handle(h).Delete()
	hooks.Detached()
}
