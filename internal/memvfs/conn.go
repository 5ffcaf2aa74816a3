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

// Hooks is what the engine asks of the owner of a connection. Each method is
// called by the goroutine that runs the statement, from inside it.
type Hooks interface {
	// LockWrite takes the write lock for a statement that turns out to write.
	LockWrite() error
	// UnlockWrite tells that the transaction for which LockWrite was called
	// is over; after TellUnlock every write transaction.
	UnlockWrite()
	// Cancelled tells whether the running statement is to be stopped. It is
	// asked only between SetCancellable(true) and SetCancellable(false).
	Cancelled() bool
	// Attach tells that the connection attaches the store of owner, and
	// returns the hooks of that one, or nil to refuse it. link is theirs until
	// Detached, or Close or Abandon.
	Attach(owner any, link *Conn) Hooks
	// Detached tells the hooks of an attached store that it is attached no
	// more. Its link is gone.
	Detached()
	// DiskRefused tells the hooks of a main database that the running statement
	// may not write to a file on the disk that is attached: the error of
	// [DiskHooks.LockDisk].
	DiskRefused(err error)
}

// Conn is the engine's view of one SQLite connection to a store: its main
// database, or one that is attached. Like the connection it is used by one
// goroutine at a time.
type Conn struct {
	// c is C memory that the engine writes only inside of SQLite's calls on
	// this connection, so Go reads and writes its fields without a call and
	// without atomics.
	c      *C.memvfs_conn
	handle cgo.Handle

	// inner is the connection of go-sqlite3, of the link of a main database.
	inner *sqlite3.SQLiteConn
}

var lastToken atomic.Int32

// Link connects an open connection, whose main database is this store, with
// its hooks.
func (s *Store) Link(c *sqlite3.SQLiteConn, hooks Hooks) (*Conn, error) {
	token := lastToken.Add(1)
	if token == 0 { // all numbers are used up: none but 0 is of a file without one
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

// Abandon ends the transaction of a connection that cannot be used any more,
// not even for closing it: one that a panic left in the middle of a statement.
// What was not committed is gone. Nothing else may be done with c then, and
// the memory of the connection is not freed.
func (c *Conn) Abandon() { C.memvfs_conn_abandon(c.c) }

// Writing reports whether the connection has a write transaction open.
func (c *Conn) Writing() bool { return c.c.eLock >= C.SQLITE_LOCK_RESERVED }

// WritingAny reports whether the connection has a write transaction open on any
// of its databases, those on the disk and the temporary one included.
func (c *Conn) WritingAny() bool {
	return C.sqlite3_txn_state(c.c.db, nil) == C.SQLITE_TXN_WRITE
}

// HasFile reports whether the file is still open. sqlite3_deserialize takes it
// away from a connection.
func (c *Conn) HasFile() bool { return c.c.pFile != nil }

// Reading reports whether the connection has a transaction open that has read.
func (c *Conn) Reading() bool { return c.c.eLock >= C.SQLITE_LOCK_SHARED }

// SetMayWrite tells the engine whether Go holds the write lock for the
// connection, so that it need not ask by Hooks.LockWrite.
func (c *Conn) SetMayWrite(on bool) { c.c.mayWrite = cbool(on) }

// SetReadOnly makes every attempt to write fail with SQLITE_READONLY.
func (c *Conn) SetReadOnly(on bool) { c.c.readOnly = cbool(on) }

// SetCancellable tells the engine to ask Hooks.Cancelled now and then.
func (c *Conn) SetCancellable(on bool) { c.c.cancellable = cbool(on) }

// TellUnlock tells the engine to call Hooks.UnlockWrite after every write
// transaction.
func (c *Conn) TellUnlock() { c.c.tell = 1 }

// Committed is the Epoch of the last commit that changed something through this
// connection, 0 if there was none.
func (c *Conn) Committed() uint64 { return uint64(c.c.commit) }

// SetBusyTimeout tells the busy timeout in milliseconds with which SQLite opened
// the connection.
func (c *Conn) SetBusyTimeout(ms int) { c.c.busyTimeout = C.int(ms) }

// BusyTimeout is the argument of the last PRAGMA busy_timeout of the
// connection in milliseconds, or of SetBusyTimeout; -1 if there was neither.
func (c *Conn) BusyTimeout() int { return int(c.c.busyTimeout) }

// Autocommit reports whether no transaction is open (sqlite3_get_autocommit).
func (c *Conn) Autocommit() bool { return C.sqlite3_get_autocommit(c.c.db) != 0 }

// Entered reports whether somebody is inside of a call of SQLite's for the
// connection, and it has a mutex to tell (_mutex=full).
func (c *Conn) Entered() bool { return C.memvfs_conn_entered(c.c) != 0 }

// Busy reports whether a statement of the connection, whoever made it, has begun
// and not ended.
func (c *Conn) Busy() bool { return C.memvfs_conn_busy(c.c) != 0 }

// Pin makes the transaction that follows read the last commit as of now, until
// Unpin. It is for a connection that does not write.
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
		return C.SQLITE_LOCKED // not SQLITE_BUSY, at which SQLite tries again
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
