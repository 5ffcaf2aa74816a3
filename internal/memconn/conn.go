//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"
	"errors"
	"runtime"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/internal/writelock"
)

// background is given to go-sqlite3 in place of the caller's context, for which
// it would start a goroutine or register a callback. Cancellation goes by the
// engine: see conn.Cancelled.
var background = context.Background()

// conn is a connection to a store.
//
// database/sql uses a connection from one goroutine at a time, with its own
// lock between one and the next; so its fields need no lock. What the engine
// calls (memvfs.Hooks) it calls inside of a call of SQLite's, on the goroutine
// that made it.
//
// Every call of SQLite is made inside of do.
type conn struct {
	inner *sqlite3.SQLiteConn
	link  *memvfs.Conn
	store *store.Store
	db    *Database
	opts  *Options       // of db
	loc   *time.Location // _loc; nil: times stay as they are

	// locked: this connection holds store.Writer. It does from before a
	// statement that writes, or a transaction that may, until SQLite has given
	// up its RESERVED lock: unlockEnded compares the two.
	locked bool

	// owner has the write locks, of store and of what is attached.
	owner store.Owner

	// attached are the stores that ATTACH has added.
	attached []*attachment

	// attaching are stores that the running ATTACH has found: see attachMemory.
	attaching []*store.Store

	// detachErr is why a commit to a store that was detached by the running
	// statement is not durable.
	detachErr error

	// tx tells of the transaction that BeginTx began.
	tx txState

	// elsewhere: a statement of a read-only transaction may have written to a
	// file on the disk, of which the engine knows nothing.
	elsewhere bool

	// raw: Raw was called since the connection was last found clean, so it may
	// be in any state.
	raw bool

	// hooked: code of the user may run between two rows, because a ConnectHook,
	// an extension or Raw has had the connection. It stays.
	hooked bool

	// replaced: an authorizer of the user may have taken the place of the
	// engine's. A statement of which SQLite tells something shows that none has.
	replaced bool

	// running: do is making calls of SQLite; still set when they have ended in
	// a panic.
	running bool

	// broken: the connection cannot be used any more.
	broken bool

	// durable: the last commit of this connection that was waited for, if
	// commits are (sqlite_wal=commit).
	durable uint64

	// ctx is the context of the running statement if it can be cancelled.
	ctx context.Context

	// lockErr is why the running statement did not get a write lock that it
	// came to need on the way. SQLite is told SQLITE_LOCKED: at SQLITE_BUSY it
	// would try again by itself, deaf to the context, for as long again.
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

// do is the one way into SQLite. It calls f, which makes calls of SQLite for
// statements that run under ctx. When do returns, and when f panics,
//
//   - the write locks are held exactly while SQLite's transaction needs them,
//   - nothing looks at ctx any more, and the error of a statement that ctx has
//     stopped, or that waited for a lock, is the one for the caller,
//   - what has been committed is durable, if that is promised,
//   - a read-only transaction has written nothing, and a transaction that SQLite
//     has ended is known to be over.
//
// After a panic the connection is given up, as the panic has passed through
// SQLite without unwinding it.
func (c *conn) do(ctx context.Context, f func() error) error {
	if c.broken {
		return driver.ErrBadConn
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if ctx.Done() != nil {
		c.ctx = ctx
		c.link.SetCancellable(true)
	}
	c.running = true
	defer c.panicked()
	err := f()
	if err != nil {
		err = connerr.Attach(err)
	}
	if c.elsewhere {
		err = c.takeBack(err)
	}
	c.running = false
	if c.quiet() {
		return err
	}
	return c.settle(err)
}

// panicked is deferred by do.
func (c *conn) panicked() {
	if c.running {
		c.abandon()
	}
}

// quiet reports whether settle would find nothing to do: that is how most reads
// end, and to ask takes less time.
func (c *conn) quiet() bool {
	return !c.locked && c.tx == txNone && c.ctx == nil && c.lockErr == nil &&
		c.link.Committed() == c.durable && len(c.attached) == 0 && c.detachErr == nil
}

// settle ends what the calls of do have ended of SQLite's transactions, and
// returns the error for the caller.
func (c *conn) settle(err error) error {
	if c.lockErr != nil {
		if err != nil {
			err = c.lockErr
		}
		c.lockErr = nil
	}
	if ctx := c.ctx; ctx != nil {
		c.ctx = nil
		c.link.SetCancellable(false)
		if err != nil && isInterrupt(err) && ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	c.unlockEnded()
	if durable := c.awaitDurable(); err == nil {
		err = durable
	}
	// While the transaction has its lock it is open. Without, it is one that has
	// not begun to write, or it is over.
	if (c.tx == txOpen || c.tx == txReadOnly) && !c.link.Writing() && !c.link.InTransaction() {
		c.endTx()
		c.tx = txOver
	}
	return err
}

// takeBack rolls back a read-only transaction that has written to a file on the
// disk.
func (c *conn) takeBack(err error) error {
	c.elsewhere = false
	if c.tx == txReadOnly && c.link.WritingAny() {
		return connerr.Join(connerr.ReadOnly, c.control(stmtRollback))
	}
	return err
}

// abandon gives up the connection without a call of SQLite: what it wrote is
// gone, the lock is free. Its memory is lost.
func (c *conn) abandon() {
	c.link.Abandon()
	// A finalizer would call SQLite in the middle of a statement.
	runtime.SetFinalizer(c.inner, nil)
	c.inner = nil
	c.broken = true
	c.running = false
	c.ctx = nil
	c.lockErr = nil
	c.lose()
	c.endAttached()
	if c.locked {
		c.unlock()
	}
}

// endAttached lets go of the attached stores without a call of SQLite.
func (c *conn) endAttached() {
	for len(c.attached) > 0 {
		a := c.attached[0]
		a.link.Abandon()
		a.end()
	}
	c.endAttaching()
}

// Close closes the connection. An open transaction is rolled back.
func (c *conn) Close() error {
	if c.link == nil {
		return nil
	}
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
		if c.link.HasFile() {
			// SQLite keeps the connection for a statement that is not closed, and
			// was made through Raw. The store does not wait for it.
			c.link.Abandon()
			c.endAttached()
		} else {
			c.link.Close()
		}
	}
	c.link = nil
	c.broken = true
	if c.locked {
		c.unlock()
	}
	return connerr.Join(err, c.db.Release())
}

// stuck reports whether a statement that Raw has made is still running: its rows
// are open, or a panic has left SQLite in the middle of it. Both keep SQLite from
// closing the connection, and the second from being called at all.
func (c *conn) stuck() bool {
	if c.link.Entered() {
		return true
	}
	c.finalizeAll()
	return c.link.Busy()
}

// Raw returns the connection of go-sqlite3: see driver.RawConn.
func (c *conn) Raw() *sqlite3.SQLiteConn {
	c.raw, c.hooked, c.replaced = true, true, true // who knows what it is used for
	c.forget = true
	c.link.TellUnlock()
	return c.inner
}

// Ping reports whether the connection can be used.
func (c *conn) Ping(ctx context.Context) error {
	if c.broken {
		return driver.ErrBadConn
	}
	return ctx.Err()
}

// ExecContext runs all statements of query, each to its end.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	res := &result{}
	err := c.do(ctx, func() error {
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
	err := c.do(ctx, func() error {
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

// PrepareContext prepares the first statement of query, as go-sqlite3 does. One
// of nothing does nothing.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s := &stmt{c: c}
	err := c.do(ctx, func() (err error) {
		if c.tx == txOver {
			return connerr.ErrTxOver
		}
		if s.s, _, err = c.prepare(query); s.s != nil {
			s.n = s.s.Params()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
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

// IsValid is asked when the connection goes back to the pool. It goes back
// clean or not at all: a transaction that was left open is rolled back here,
// so that an idle connection never holds the write lock or an old state.
func (c *conn) IsValid() bool {
	if !c.broken && (c.raw || c.tx != txNone || c.locked || c.link.InTransaction() || c.reading()) {
		c.clean()
	}
	return !c.broken
}

// ResetSession is called before the connection is used again.
func (c *conn) ResetSession(context.Context) error {
	if !c.IsValid() {
		return driver.ErrBadConn
	}
	return nil
}

// clean ends whatever transaction is open, or marks the connection as broken.
func (c *conn) clean() {
	if !c.link.HasFile() {
		c.adopt()
		c.broken = true
		return
	}
	if !c.link.Autocommit() {
		if err := c.do(background, func() error { return c.control(stmtRollback) }); err != nil {
			c.broken = true
			return
		}
	}
	c.endTx()
	c.unlockEnded()
	// A statement is still running, one that Raw has left open.
	if c.reading() || c.raw && c.link.Busy() {
		c.broken = true
		return
	}
	c.raw = false
}

// adopt makes of what sqlite3_deserialize has put in the place of this
// connection's database, through Raw, the database of all connections.
func (c *conn) adopt() {
	err := c.copyTo()
	if err != nil {
		c.store.Logger().Error("sqlite-mem: what Deserialize has put in the place of the database is lost",
			"path", c.store.Path(), "error", err)
	}
}

func (c *conn) copyTo() error {
	c.db.Acquire() // this connection is counted, so the database is there
	other, err := c.db.connect(background)
	if err != nil {
		return connerr.Join(err, c.db.Release())
	}
	b, err := other.Raw().Backup("main", c.inner, "main")
	if err == nil {
		_, err = b.Step(-1)
		err = connerr.Join(err, b.Finish())
	}
	return connerr.Join(err, other.Close())
}

// lock takes the write lock. Its errors are those of ctx and a bare
// sqlite3.Error, as SQLite would return it; what more is known goes to the log.
func (c *conn) lock(ctx context.Context, what string) error {
	return c.lockStore(ctx, c.store, c.link, &c.locked, what)
}

// lockStore is lock for the store of link, this connection's own or one that
// is attached.
func (c *conn) lockStore(ctx context.Context, s *store.Store, link *memvfs.Conn, locked *bool, what string) error {
	err := s.LockWriter(ctx, c.busyTimeout(), what, &c.owner)
	if err == nil {
		if err = s.MayWrite(); err != nil {
			s.UnlockWriter(&c.owner)
			return err
		}
		*locked = true
		if link != nil { // nil: the connection is being opened
			link.SetMayWrite(true)
		}
		return nil
	}
	if timeout, ok := errors.AsType[*writelock.TimeoutError](err); ok {
		s.Logger().Warn("sqlite-mem: a writer did not get its turn",
			"path", s.Path(), "waited", timeout.Waited, "statement", shorten(what),
			"holder", shorten(timeout.Holder), "held", timeout.HeldFor)
		return connerr.Busy
	}
	if errors.Is(err, store.ErrDeadlock) {
		// Not a warning: whoever tries again at once can be refused very often.
		s.Logger().Debug("sqlite-mem: writers that attach each other's databases would wait for ever; one of them is refused",
			"path", s.Path(), "statement", shorten(what))
		return connerr.Busy
	}
	return err
}

// inStatement is called with the error of a lock that SQLite has asked for in
// the middle of a statement, and returns the one for SQLite.
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
	c.store.UnlockWriter(&c.owner)
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

// awaitDurable waits until what the connection has committed is on the disk, if
// that is promised. The write locks have been given back, so that others commit
// meanwhile, and one flush serves all.
func (c *conn) awaitDurable() error {
	err := connerr.Join(c.detachErr, durably(c.store, c.link.Committed(), &c.durable))
	c.detachErr = nil
	for _, a := range c.attached {
		err = connerr.Join(err, durably(a.store, a.link.Committed(), &a.durable))
	}
	return err
}

// durably waits for a commit to s that was not waited for yet.
func durably(s *store.Store, commit uint64, durable *uint64) error {
	if commit == *durable {
		return nil
	}
	*durable = commit
	return s.Committed(commit)
}

// busyTimeout is what the connection was last told by PRAGMA busy_timeout, or
// its configuration. SQLite itself takes a value below 1 as 0.
func (c *conn) busyTimeout() time.Duration {
	if c.link != nil { // nil: the connection is being opened
		if ms := c.link.BusyTimeout(); ms >= 0 {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return c.opts.BusyTimeout
}

// LockWrite implements memvfs.Hooks: a statement that was not known to write
// does. It has begun to read, so if it has to wait and another writes
// meanwhile, SQLite is told that its state is stale; it then begins anew, with
// the lock, unless it is in a transaction that has read before.
func (c *conn) LockWrite() error {
	if c.locked {
		return nil
	}
	c.unlockEnded() // what an earlier statement of the same string has locked and left
	return c.inStatement(c.lock(c.statementContext(), "a statement"))
}

// Detached implements memvfs.Hooks. Only an attached database is told.
func (c *conn) Detached() {}

// UnlockWrite implements memvfs.Hooks. Within a statement of this package the
// lock is kept to its end, where do gives it back; only what runs through Raw is
// settled here.
func (c *conn) UnlockWrite() {
	if c.running {
		return
	}
	c.unlockEnded()
	if err := c.awaitDurable(); err != nil {
		// There is no way to return it to whoever uses the raw connection.
		c.store.Logger().Error("sqlite-mem: a commit of a raw connection", "error", err)
	}
}

// Cancelled implements memvfs.Hooks. It is called by SQLite's progress handler,
// inside of the statement that it stops, on its goroutine: it can reach no
// other statement, and c.ctx is the context of that very one.
func (c *conn) Cancelled() bool {
	return c.ctx != nil && c.ctx.Err() != nil
}

// shorten makes SQL fit for a line of the log.
func shorten(s string) string {
	const limit = 200
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}

// isInterrupt reports whether a statement was stopped.
func isInterrupt(err error) bool {
	e, ok := err.(sqlite3.Error)
	return ok && e.Code == sqlite3.ErrInterrupt
}
