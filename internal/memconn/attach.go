//go:build cgo

package memconn

import (
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// attachment is a store that is attached to a connection (ATTACH). It keeps the store
// open, but not for a guest: see conn.Attach. Writing to it takes the write lock of that
// store, as its own connections do.
type attachment struct {
	c      *conn
	store  *store.Store
	link   *memvfs.Conn
	locked bool // as conn.locked, for this store

	detach    func() error // of store.Attach
	committed uint64       // last commit, as of the last UnlockWrite
	durable   uint64       // as conn.durable, for this store
	retiredAt uint64       // as conn.retiredAt, for this store
}

var _ memvfs.Hooks = (*attachment)(nil)

// Attach implements memvfs.Hooks.
func (c *conn) Attach(owner any, link *memvfs.Conn) memvfs.Hooks {
	s, ok := owner.(*store.Store)
	if !ok {
		return nil
	}
	// A guest keeps no file open, neither that of the store that serves it nor another. The
	// program decides when a file is saved for the last time. A database without a file
	// lives as long as it is attached, for a guest as well.
	var end func()
	if c.opts.Guest != 0 && s.Path() != "" {
		end = func() { c.opts.End("the server is closing " + s.Path()) }
	}
	ctx := c.statementContext()
	detach, ok := s.Attach(ctx, end)
	if !ok {
		if c.running {
			c.lockErr = ctx.Err() // of a wait for the last save of s
		}
		return nil
	}
	a := &attachment{c: c, store: s, link: link, detach: detach, retiredAt: s.Retired()}
	c.attached = append(c.attached, a)
	return a
}

// Attach implements memvfs.Hooks. Only a main database is told.
func (a *attachment) Attach(any, *memvfs.Conn) memvfs.Hooks { return nil }

// Detached implements memvfs.Hooks: SQLite has closed the store's file.
func (a *attachment) Detached() { a.end() }

// LockWrite implements memvfs.Hooks: a statement writes the attached store.
func (a *attachment) LockWrite() error {
	c := a.c
	if c.tx == txReadOnly {
		return connerr.ReadOnly
	}
	if a.locked {
		return nil
	}
	// The lock of the main database may have been taken for nothing. SQLite begins to
	// write the main database before the attached ones, so that is known now.
	c.unlockEnded()
	return c.inStatement(c.lockStore(c.statementContext(), a.store, a.link, &a.locked, c.what()))
}

// UnlockWrite implements memvfs.Hooks.
func (a *attachment) UnlockWrite() {
	a.committed = a.link.Committed()
	a.c.UnlockWrite()
}

// Cancelled implements memvfs.Hooks. Only a main database is asked.
func (a *attachment) Cancelled() bool { return false }

// DiskRefused implements memvfs.Hooks. Only a main database is told.
func (a *attachment) DiskRefused(error) {}

// DiskRefused implements memvfs.Hooks: the running statement may not write to an attached
// file on the disk. SQLite's own error has only a code, and gives way to the reason.
// Through Raw nobody can translate it.
func (c *conn) DiskRefused(err error) {
	e, ok := errors.AsType[sqlite3.Error](err)
	if !c.running || !ok || e.Code != sqlite3.ErrReadonly {
		return // it may pass: SQLite's busy handler tries again
	}
	c.lockErr = fmt.Errorf("sqlite-mem: an attached file: %w", err)
	if owned, ok := errors.AsType[*proclock.OwnedError](err); ok {
		c.lockErr = connerr.NewOwned(owned, e)
	}
}

// unlockEnded gives the write lock back when SQLite's transaction is over.
func (a *attachment) unlockEnded() {
	if a.locked && !a.link.Writing() {
		a.unlock()
	}
}

func (a *attachment) unlock() {
	a.locked = false
	if a.link != nil {
		a.link.SetMayWrite(false)
	}
	a.c.unlockStore(a.store)
}

// end releases the store, whose link is gone or abandoned.
func (a *attachment) end() {
	c := a.c
	a.link = nil
	if a.locked {
		a.unlock()
	}
	for i, other := range c.attached {
		if other == a {
			c.attached = append(c.attached[:i:i], c.attached[i+1:]...)
			break
		}
	}
	// One string of SQL may commit and detach.
	if err := awaitCommit(a.store, a.committed, &a.durable); err != nil {
		c.detachErr = connerr.Join(c.detachErr, err)
	}
	if err := a.detach(); err != nil {
		// SQLite cannot be told any more.
		c.store.Logger().Error("sqlite-mem: close", "path", a.store.Path(), "error", err)
	}
}

// reading reports whether the connection has a transaction open that has read.
func (c *conn) reading() bool {
	for _, a := range c.attached {
		if a.link.Reading() {
			return true
		}
	}
	return c.link.Reading()
}
