//go:build cgo

package memconn

import (
	"context"
	"errors"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/internal/writelock"
)

// lock takes the write lock. Its error is that of ctx, or a bare sqlite3.Error as SQLite
// would return it. The logger is told who holds it.
func (c *conn) lock(ctx context.Context, what string) error {
	return c.lockStore(ctx, c.store, c.link, &c.locked, what)
}

// lockStore is lock for the store of link, which is this connection's own or an
// attached one.
func (c *conn) lockStore(ctx context.Context, s *store.Store, link *memvfs.Conn, locked *bool, what string) error {
	if c.opts.Guest != 0 {
		what = store.Holder(max(c.opts.Guest, 0), what) // GuestUnknown is negative
	}
	err := s.LockWriter(ctx, c.busyTimeout(), what, &c.owner)
	if err == nil {
		if err = s.MayWrite(); err != nil {
			s.UnlockWriter(&c.owner)
			return err
		}
		*locked = true
		if c.slow != nil {
			c.slow.wrote(s)
		}
		if link != nil { // nil: the connection is being opened
			link.SetMayWrite(true)
		}
		return nil
	}
	return lockError(s, what, err)
}

// lockError makes an error of SQLite of a failed wait for the write lock, and tells the logger
// what else is known.
func lockError(s *store.Store, what string, err error) error {
	if timeout, ok := errors.AsType[*writelock.TimeoutError](err); ok {
		s.Logger().Warn("sqlite-mem: a writer did not get its turn",
			"path", s.Path(), "waited", timeout.Waited, "statement", store.LockText(what),
			"holder", s.HolderText(timeout.Holder), "held", timeout.HeldFor)
		return connerr.Busy
	}
	if errors.Is(err, store.ErrDeadlock) {
		// This is no warning, as a writer that tries again at once may be refused very
		// often.
		s.Logger().Debug("sqlite-mem: writers that attach each other's databases would wait for ever; one of them is refused",
			"path", s.Path(), "statement", store.LockText(what))
		return connerr.Busy
	}
	return err
}

// inStatement keeps the error of a lock that SQLite has asked for in the middle of a
// statement, and returns the error for SQLite.
func (c *conn) inStatement(err error) error {
	if err == nil {
		return nil
	}
	if c.running {
		c.lockErr = err
	}
	return connerr.Locked
}

// statementContext is the context of the running statement.
func (c *conn) statementContext() context.Context {
	if c.ctx == nil {
		return background
	}
	return c.ctx
}

func (c *conn) unlock() {
	c.locked = false
	if c.link != nil {
		c.link.SetMayWrite(false)
	}
	c.unlockStore(c.store)
}

// unlockStore gives the write lock of s back.
func (c *conn) unlockStore(s *store.Store) {
	if c.slow != nil && c.owner.Held() == 1 {
		c.slow.writer.End()
	}
	s.UnlockWriter(&c.owner)
}

// unlockEnded gives the write locks back when SQLite's transaction is over.
func (c *conn) unlockEnded() {
	if c.locked && !c.link.Writing() {
		c.unlock()
	}
	for _, a := range c.attached {
		a.unlockEnded()
	}
}

// awaitDurable waits until the commits of the connection are durable, if that is promised.
// It comes after unlockEnded, so that others commit meanwhile, and one flush serves all.
func (c *conn) awaitDurable() error {
	err := connerr.Join(c.detachErr, awaitCommit(c.store, c.link.Committed(), &c.durable))
	c.detachErr = nil
	for _, a := range c.attached {
		err = connerr.Join(err, awaitCommit(a.store, a.link.Committed(), &a.durable))
	}
	return err
}

// awaitCommit waits for a commit to s that was not waited for yet.
func awaitCommit(s *store.Store, commit uint64, durable *uint64) error {
	if commit == *durable {
		return nil
	}
	*durable = commit
	return s.Committed(commit)
}

// HoldsLock reports whether the connection has a write lock.
func (c *conn) HoldsLock() bool { return c.owner.Held() > 0 }

// KeepsWaiting reports whether the connection has a write lock that others wait for.
func (c *conn) KeepsWaiting() bool {
	if c.locked && c.store.Writer.Stats().Waiting > 0 {
		return true
	}
	for _, a := range c.attached {
		if a.locked && a.store.Writer.Stats().Waiting > 0 {
			return true
		}
	}
	return false
}

// busyTimeout returns the value of the last PRAGMA busy_timeout, or else of the options.
// SQLite itself takes a value below 1 as 0.
func (c *conn) busyTimeout() time.Duration {
	if c.link != nil { // nil: the connection is being opened
		if ms := c.link.BusyTimeout(); ms >= 0 {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return c.opts.BusyTimeout
}

// LockWrite implements memvfs.Hooks. A statement that was not known to write does. It has
// begun to read, so its state is stale if it waits and another connection writes
// meanwhile. SQLite then begins the statement anew, with the lock, unless its transaction
// has read before.
func (c *conn) LockWrite() error {
	if c.locked {
		return nil
	}
	c.unlockEnded() // locked by an earlier statement of the same string
	err := c.lock(c.statementContext(), c.what())
	if err == nil && c.running { // the statement of a Raw fails by itself, and gives the lock back
		err = c.lockedInStatement()
	}
	return c.inStatement(err)
}

// what is the text of the running statement.
func (c *conn) what() string {
	if c.now != nil {
		return c.now.text
	}
	return "a statement"
}

// UnlockWrite implements memvfs.Hooks. A statement of this package keeps the lock to its
// end, where do gives it back. Only a statement made through Raw gives it back here.
func (c *conn) UnlockWrite() {
	if c.running {
		return
	}
	c.unlockEnded()
	if err := c.awaitDurable(); err != nil {
		// The user of Raw has no call that could return it.
		c.store.Logger().Error("sqlite-mem: a commit of a raw connection", "error", err)
	}
}

// Detached implements memvfs.Hooks. Only an attached database is told.
func (c *conn) Detached() {}

// Cancelled implements memvfs.Hooks. SQLite's progress handler calls it inside of the
// statement that it stops, on the statement's goroutine. So it can reach no other
// statement, and c.ctx is the context of this one.
func (c *conn) Cancelled() bool {
	return c.ctx != nil && c.ctx.Err() != nil
}
