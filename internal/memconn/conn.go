//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/sqltime"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// conn is a connection to a store.
//
// database/sql uses a connection from one goroutine at a time, with its own lock between
// one and the next. So the fields need no lock. The engine calls the methods of
// memvfs.Hooks inside of a call of SQLite's, on the goroutine that made it.
//
// Every call of SQLite is made inside of do.
type conn struct {
	inner *sqlite3.SQLiteConn
	link  *memvfs.Conn
	store *store.Store
	db    *Database
	opts  *Options        // of db
	loc   *time.Location  // of db
	times *sqltime.Format // of db

	// locked is true while this connection holds store.Writer. It takes that before a
	// statement that writes, or a transaction that may. It gives it back when SQLite has
	// given up its RESERVED lock: see unlockEnded.
	locked bool

	// owner holds the write locks, of store and of attached stores.
	owner store.Owner

	// attached are the stores that ATTACH has added.
	attached []*attachment

	// attaching are the stores that the running ATTACH has found: see attachMemory.
	attaching []*store.Store

	// detachErr is the error of a commit that could not be made durable. The running
	// statement has detached the store of that commit.
	detachErr error

	// tx is the state of the transaction that BeginTx began.
	tx txState

	// wroteDisk is true after a statement of a read-only transaction that may have written
	// to a file on the disk. The engine cannot refuse that.
	wroteDisk bool

	// raw is true after Raw, until the connection is known to be clean. Until then
	// SQLite's transaction may be in any state.
	raw bool

	// userCode is true if code of the user may run between two rows, because a
	// ConnectHook, an extension or Raw has had the connection. It stays true.
	userCode bool

	// authorizerLost is true if the user may have replaced the engine's authorizer. The
	// first statement that the engine is told of shows that the user has not.
	authorizerLost bool

	// now is the statement that do runs, or has run last; nil outside of do.
	now *statement

	// slow watches how long the connection writes and reads; nil: nobody wants to know.
	slow *slowConn

	// running is true while do makes calls of SQLite. It stays true after a panic.
	running bool

	// broken is true when the connection cannot be used any more.
	broken bool

	// opened is when SQLite opened the connection.
	opened time.Time

	// pinged, if not nil, is called by Ping: see OnPing.
	pinged func(context.Context)

	// renewable is true if the database may keep the connection after its Close.
	renewable bool

	// durable is the last commit of this connection that was waited for
	// (sqlite_wal=commit).
	durable uint64

	// retiredAt is store.Retired as of before the open: see retire.go.
	retiredAt uint64

	// done is true after the call that runs has run a statement to its end.
	done bool

	// ctx is the context of the running statement, nil if it cannot be cancelled.
	ctx context.Context

	// lockErr is the error of a write lock that the running statement came to need on the
	// way. SQLite is told SQLITE_LOCKED. At SQLITE_BUSY it would try again by itself,
	// deaf to the context, for as long again.
	lockErr error

	statements
}

type txState uint8

const (
	txNone     txState = iota
	txOpen             // begun by BeginTx
	txReadOnly         // begun by BeginTx, may not write
	txOver             // begun by BeginTx, rolled back or ended behind its back
)

var (
	_ driver.Conn               = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.Pinger             = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil)
	_ driver.NamedValueChecker  = (*conn)(nil)
	_ memvfs.Hooks              = (*conn)(nil)
)

// InTransaction reports whether a transaction was open after the last call.
func (c *conn) InTransaction() bool {
	return !c.broken && (c.tx != txNone || c.link.InTransaction())
}

// Close closes the connection. An open transaction is rolled back. The database may keep
// the connection for a moment: see kept.
func (c *conn) Close() error {
	if c.link == nil {
		return nil
	}
	if c.keep() {
		return nil
	}
	return c.shut()
}

// shut closes the connection in SQLite.
func (c *conn) shut() error {
	if c.inner != nil && c.raw && c.stuck() {
		c.abandon()
	}
	var err error
	if c.inner != nil {
		if !c.broken && !c.link.HasFile() {
			c.adopt()
		}
		c.finalizeAll()
		err = c.inner.Close()
		c.inner = nil
		c.unlink()
	}
	c.link = nil
	c.broken = true
	if c.locked {
		c.unlock()
	}
	c.slow.close()
	return connerr.Join(err, c.db.Release())
}

// unlink ends the links of a connection that go-sqlite3 has closed. SQLite keeps it if a
// statement of the user's (Raw, ConnectHook) is not closed. The stores do not wait for that.
func (c *conn) unlink() {
	if c.link.HasFile() {
		c.link.Abandon()
	} else {
		c.link.Close()
	}
	c.endAttached()
}

// stuck reports whether a statement made through Raw is still running. If its rows are
// open, SQLite cannot close the connection. If a panic has left SQLite in the middle of
// it, SQLite must not be called at all.
func (c *conn) stuck() bool {
	if c.link.Entered() {
		return true
	}
	c.finalizeAll()
	return c.link.Busy()
}

// Raw returns the connection of go-sqlite3: see driver.RawConn. It is nil if this connection
// is closed.
func (c *conn) Raw() *sqlite3.SQLiteConn {
	if c.link == nil {
		return nil
	}
	// The user may do anything with it.
	c.raw, c.userCode, c.authorizerLost = true, true, true
	if !c.broken {
		c.link.UserCode()
	}
	c.cacheStale = true
	c.link.TellUnlock()
	return c.inner
}

// OnPing has every Ping of the connection call f with its context.
func (c *conn) OnPing(f func(context.Context)) { c.pinged = f }

// Ping reports whether the connection can be used.
func (c *conn) Ping(ctx context.Context) error {
	if c.pinged != nil {
		c.pinged(ctx)
	}
	if c.broken {
		return driver.ErrBadConn
	}
	return ctx.Err()
}

// ExecContext runs all statements of query, each to its end.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	res := &result{}
	err := c.start(ctx, func() error {
		for text, first := query, 0; ; {
			s, tail, err := c.statement(text)
			if s == nil {
				return err
			}
			if err = s.bindPart(args, first); err == nil {
				err = c.exec(s, res)
			}
			first += s.Params()
			c.release(s)
			if err != nil || tail == "" {
				return err
			}
			text = tail
			c.unlockEnded()
		}
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// QueryContext runs all statements of query and returns the rows of the last.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	r := newRows(ctx)
	err := c.start(ctx, func() error {
		for text, first := query, 0; ; {
			s, tail, err := c.statement(text)
			if s == nil {
				return err
			}
			err = s.bindPart(args, first)
			first += s.Params()
			if err == nil && tail == "" {
				return c.query(s, r)
			}
			if err == nil {
				err = c.exec(s, nil)
			}
			c.release(s)
			if err != nil {
				return err
			}
			text = tail
			c.unlockEnded()
		}
	})
	return r.result(err)
}

// PrepareContext prepares the first statement of query, as go-sqlite3 does. A query without
// a statement becomes one that does nothing.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s := &stmt{c: c}
	err := c.start(ctx, func() (err error) {
		if c.tx == txOver {
			return connerr.ErrTxOver
		}
		if s.s, _, err = c.prepare(query); s.s != nil {
			s.n = s.s.Params()
			if s.s.facts()&memvfs.Pragma != 0 {
				c.cacheStale = true // SQLite has set it, and makes statements anew when it is run
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	c.stmts++
	return s, nil
}

// Prepare is PrepareContext without a context.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(background, query)
}

// Begin is BeginTx by default.
func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(background, driver.TxOptions{})
}
