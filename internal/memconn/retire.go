//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"

	"github.com/mattn/go-sqlite3"
)

// A connection of SQLite is bound to the text encoding of the database that it has read first.
// After a restore of a database with another encoding, it can read nothing any more. So it is
// retired: as soon as it is in no transaction, its calls return driver.ErrBadConn, and
// database/sql makes them on a new connection.

// retired reports whether the connection is useless, or that of an attached store.
func (c *conn) retired() bool {
	if c.store.Retired() != c.retiredAt {
		return true
	}
	for _, a := range c.attached {
		if a.store.Retired() != a.retiredAt {
			return true
		}
	}
	return false
}

// retiredByNow is retired behind what the connection has read. A restore may have come since the
// look of start, and may not have said yet that it has.
func (c *conn) retiredByNow() bool {
	c.store.Replaced()
	for _, a := range c.attached {
		a.store.Replaced()
	}
	return c.retired()
}

// outdated reports whether the connection is retired, and not in the middle of something. Open
// rows and a transaction go on with the state that they have pinned.
func (c *conn) outdated() bool {
	return c.retired() && c.tx == txNone && !c.link.InTransaction() && !c.reading()
}

// start is do for a call that begins something. If the connection is retired, it is
// driver.ErrBadConn, at which database/sql tries again. So nothing may have been done.
func (c *conn) start(ctx context.Context, f func() error) error {
	if c.broken || c.outdated() {
		return driver.ErrBadConn
	}
	c.done = false
	err := c.do(ctx, f)
	if e, ok := err.(sqlite3.Error); ok && e.Code == sqlite3.ErrError && !c.broken && c.retiredByNow() {
		return c.refused(err)
	}
	return err
}

// refused returns the error for a statement that has failed on a retired connection. A restore
// may have come after the look of start.
func (c *conn) refused(err error) error {
	switch {
	case c.reading(), c.tx == txReadOnly:
		return err // it has pinned the old state, so that is not the reason
	case c.tx == txNone && !c.link.InTransaction():
		if !c.done {
			return driver.ErrBadConn // it has failed, and with it all that it has done
		}
		return err
	}
	// The transaction has read nothing yet. As a new one it has another connection.
	return sqlite3.Error{Code: sqlite3.ErrBusy, ExtendedCode: sqlite3.ErrBusySnapshot}
}

// lockFirst takes the write lock before a transaction, or before a statement outside of one. A
// restore may have had it meanwhile.
func (c *conn) lockFirst(what string) error {
	if c.slow != nil {
		c.slow.leave() // a writer that waits is no reader
	}
	if err := c.lock(c.statementContext(), what); err != nil {
		return err
	}
	if c.slow != nil {
		c.slow.enter()
	}
	if !c.done && c.outdated() {
		return driver.ErrBadConn // do gives the lock back
	}
	return nil
}

// lockedInStatement is called when a statement has the write lock that it has come to need on
// its way. SQLite begins it anew if it had to wait. It returns an error if a restore was before
// it.
func (c *conn) lockedInStatement() error {
	if c.retired() && !c.done && c.tx == txNone && !c.link.InTransaction() {
		return driver.ErrBadConn // do gives the lock back
	}
	return nil
}
