//go:build cgo

package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"runtime"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/internal/writelock"
)

// background is given to go-sqlite3 in place of the caller's context, for which
// it would start a goroutine or register a callback. Cancellation goes by the
// engine: see conn.Cancelled.
var background = context.Background()

// RawConn is what Conn.Raw of database/sql gives: the connection of go-sqlite3
// below, for functions, collations, hooks and backups.
//
//	err := sqlConn.Raw(func(c any) error {
//		return c.(driver.RawConn).Raw().RegisterFunc("twice", twice, true)
//	})
//
// Writing through it takes the write lock like any other writing; when the lock
// is not to be had in time, the error is SQLITE_LOCKED there. It must not be
// closed, and not be used after the function has returned.
type RawConn interface {
	Raw() *sqlite3.SQLiteConn
}

// conn is a connection to a store.
//
// database/sql uses a connection from one goroutine at a time, with its own
// lock between one and the next; so its fields need no lock. What the engine
// calls (memvfs.Hooks) it calls inside of a call of SQLite's, on the goroutine
// that made it.
type conn struct {
	inner  *sqlite3.SQLiteConn
	link   *memvfs.Conn
	store  *store.Store
	parent *memory
	cfg    *Config

	// locked: this connection holds store.Writer. It does from before a
	// statement that writes, or a transaction that may, until SQLite has given
	// up its RESERVED lock: unlockEnded compares the two.
	locked bool

	// owner has the write locks, of store and of what is attached.
	owner store.Owner

	// attached are the stores that ATTACH has added.
	attached []*attachment

	// detachErr is why a commit to a store that was detached by the running
	// statement is not durable.
	detachErr error

	// tx tells of the transaction that BeginTx began.
	tx txState

	// controlled: a statement may have opened a transaction by words, which
	// is to be rolled back when the connection goes back to the pool.
	controlled bool

	// attaches: a statement may have attached a file of the disk, of which the
	// engine knows nothing.
	attaches bool

	// running: a call of go-sqlite3 is under way; still set when it has ended
	// in a panic.
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

	// words are those of the strings that came last.
	words wordsCache

	// rows are not handed out yet: newRows makes some at a time.
	rows []rows

	// control are the statements that begin and end transactions.
	control [controlStmts]*sqlite3.SQLiteStmt

	// stmts are the prepared statements that are open. database/sql loses one
	// when a connection expires just as its Stmt is closed; what SQLite has
	// open when its connection is closed keeps that alive, and the store with
	// it.
	stmts map[*stmt]struct{}
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
	_ RawConn                   = (*conn)(nil)
	_ backuper                  = (*conn)(nil)
	_ memvfs.Hooks              = (*conn)(nil)
)

// Raw returns the connection of go-sqlite3.
func (c *conn) Raw() *sqlite3.SQLiteConn {
	c.controlled, c.attaches = true, true // who knows what it is used for
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

func (c *conn) backup(ctx context.Context, path string) error { return c.store.Backup(ctx, path) }

// ExecContext runs all statements of query.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	w := c.words.of(query)
	if err := c.enter(ctx, w.write, query); err != nil {
		return nil, err
	}
	defer c.unwind()
	c.note(w.control)
	if w.returning {
		rows, err := c.inner.QueryContext(background, query, args)
		return c.leaveExec(rows, err)
	}
	res, err := c.inner.ExecContext(background, query, args)
	return res, c.leave(err)
}

// leaveExec ends an Exec whose statement may return rows, which nobody wants.
// go-sqlite3's own Exec reads the number of changes before such a statement is
// over, which is when SQLite counts them, and leaves a prepared one as it is
// after its first row: with its lock, and its old state, until its next use.
func (c *conn) leaveExec(rows driver.Rows, err error) (driver.Result, error) {
	if err == nil {
		err = rows.Close()
	}
	if err = c.leave(err); err != nil {
		return nil, err
	}
	return result{c.link.LastInsertRowID(), c.link.Changes()}, nil
}

// result is what a statement run by leaveExec has done.
type result struct{ id, changes int64 }

func (r result) LastInsertId() (int64, error) { return r.id, nil }
func (r result) RowsAffected() (int64, error) { return r.changes, nil }

// QueryContext runs all statements of query and returns the rows of the last.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	w := c.words.of(query)
	if err := c.enter(ctx, w.write, query); err != nil {
		return nil, err
	}
	defer c.unwind()
	c.note(w.control)
	inner, err := c.inner.QueryContext(background, query, args)
	if err != nil {
		return nil, c.leave(err)
	}
	return c.newRows(ctx, inner)
}

// PrepareContext prepares the first statement of query, as go-sqlite3 does,
// but for empty ones, which crash it when they are queried.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := c.enter(ctx, false, query); err != nil {
		return nil, err
	}
	defer c.unwind()
	if query = skipBlank(query); query == "" {
		query = "SELECT 1 WHERE 0"
	}
	s, err := c.inner.PrepareContext(background, query)
	if err = c.leave(err); err != nil {
		return nil, err
	}
	return newStmt(c, s.(*sqlite3.SQLiteStmt), query), nil
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
	if !c.broken && (c.controlled || c.tx != txNone || c.locked || c.reading()) {
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
	if !c.link.Autocommit() {
		if err := c.runControl(stmtRollback); err != nil {
			c.broken = true
			return
		}
	}
	c.endTx()
	c.controlled = false
	c.unlockEnded()
	// A statement is still running, one that Raw has left open; or the database
	// of the connection is another by now.
	if c.reading() || !c.link.HasFile() {
		c.broken = true
	}
}

// Close closes the connection. An open transaction is rolled back.
func (c *conn) Close() error {
	if c.link == nil {
		return nil
	}
	if c.running {
		c.abandon()
	}
	var err error
	if c.inner != nil {
		for i, s := range c.control {
			if s != nil {
				err = also(err, s.Close())
				c.control[i] = nil
			}
		}
		for s := range c.stmts {
			err = also(err, s.inner.Close())
		}
		c.stmts = nil
		err = also(err, c.inner.Close())
		c.inner = nil
		// SQLite has closed all files, unless a statement is open that is not
		// known here.
		for len(c.attached) > 0 {
			a := c.attached[0]
			a.link.Close()
			a.end()
		}
		c.link.Close()
	}
	c.link = nil
	c.broken = true
	if c.locked {
		c.unlock()
	}
	return also(err, c.parent.leave())
}

// enter is called before every call of go-sqlite3 that runs SQL, and leave
// after it. It takes the write lock if writing is set.
func (c *conn) enter(ctx context.Context, writing bool, what string) error {
	if c.broken {
		return driver.ErrBadConn
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.tx == txOver {
		return ErrTxOver
	}
	if writing && !c.locked {
		if c.tx == txReadOnly {
			return errReadOnly
		}
		if err := c.lock(ctx, what); err != nil {
			return err
		}
	}
	c.arm(ctx)
	c.running = true
	return nil
}

// arm lets the engine ask for the end of ctx while a statement runs.
func (c *conn) arm(ctx context.Context) {
	if ctx.Done() != nil {
		c.ctx = ctx
		c.link.SetCancellable(true)
	}
}

// disarm ends that, and gives the error of a statement that was stopped by its
// context the name that database/sql's users expect.
func (c *conn) disarm(err error) error {
	if c.ctx == nil {
		return err
	}
	c.link.SetCancellable(false)
	ctx := c.ctx
	c.ctx = nil
	if err != nil && isInterrupt(err) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// leave is called after every call of go-sqlite3, with its error, and returns
// the one for the caller.
func (c *conn) leave(err error) error {
	c.running = false
	if c.quiet() {
		return err
	}
	return c.finish(err)
}

// finish is what leave does when there is something to do.
func (c *conn) finish(err error) error {
	if c.lockErr != nil {
		if err != nil {
			err = c.lockErr
		}
		c.lockErr = nil
	}
	err = c.disarm(err)
	if serr := c.settle(); err == nil {
		err = serr
	}
	if c.tx == txReadOnly && c.attaches && c.link.WritingAny() {
		// It has written to a file of the disk: that must not last.
		err = also(errReadOnly, c.execControl(stmtRollback))
	}
	if c.tx == txOpen || c.tx == txReadOnly {
		// While the transaction has its lock it is open. Without, it is one
		// that has not begun to read or write, or it is over.
		if !c.link.Writing() && c.link.Autocommit() {
			c.endTx()
			c.tx = txOver
		}
	}
	return err
}

// note remembers of a statement that is about to run whether it controls.
func (c *conn) note(controls bool) {
	if controls {
		c.controlled, c.attaches = true, true
	}
}

// unwind is deferred around calls of go-sqlite3. When a function of the user's
// panics inside of a statement, the panic passes through SQLite without
// unwinding it. Such a connection is never touched again.
func (c *conn) unwind() {
	if c.running {
		c.abandon()
	}
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
	for len(c.attached) > 0 {
		a := c.attached[0]
		a.link.Abandon()
		a.end()
	}
	if c.locked {
		c.unlock()
	}
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
		link.SetMayWrite(true)
		return nil
	}
	if timeout, ok := errors.AsType[*writelock.TimeoutError](err); ok {
		s.Logger().Warn("sqlite-mem: a writer did not get its turn",
			"path", s.Path(), "waited", timeout.Waited, "statement", shorten(what),
			"holder", shorten(timeout.Holder), "held", timeout.HeldFor)
		return errBusy
	}
	if errors.Is(err, store.ErrDeadlock) {
		// Not a warning: whoever tries again at once can be refused very often.
		s.Logger().Debug("sqlite-mem: writers that attach each other's databases would wait for ever; one of them is refused",
			"path", s.Path(), "statement", shorten(what))
		return errBusy
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
	return errLocked
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

// quiet reports whether the last call of go-sqlite3 has left nothing to do:
// that is how most reads end, and to ask takes less time than to run finish for
// nothing.
func (c *conn) quiet() bool {
	return !c.locked && c.tx == txNone && c.ctx == nil && c.lockErr == nil &&
		c.link.Committed() == c.durable && len(c.attached) == 0 && c.detachErr == nil
}

// settle ends what the last call of go-sqlite3 has ended of SQLite's
// transactions: it gives the write locks back and waits until what was
// committed is on the disk, if that is promised.
func (c *conn) settle() error {
	c.unlockEnded()
	return c.awaitDurable()
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
	err := also(c.detachErr, durably(c.store, c.link.Committed(), &c.durable))
	c.detachErr = nil
	for _, a := range c.attached {
		err = also(err, durably(a.store, a.link.Committed(), &a.durable))
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
	if ms := c.link.BusyTimeout(); ms >= 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return c.cfg.busyTimeout()
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
// lock is kept to its end, where leave settles it; only what runs through Raw
// is settled here.
func (c *conn) UnlockWrite() {
	if c.running {
		return
	}
	if err := c.settle(); err != nil {
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
