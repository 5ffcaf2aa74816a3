//go:build cgo

package fileconn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// conn is a connection to the file. It is go-sqlite3's own, with three additions: the
// pool's questions, read-only transactions, and errors that name the owner of the file.
type conn struct {
	*sqlite3.SQLiteConn
	db *Database
	fileState

	// stale is true when the connection has to give way to a new one, because the file
	// was replaced or its server has gone.
	stale bool

	// reused is true after the connection came from the pool. Only then may it ask for
	// a new connection by driver.ErrBadConn. If new connections asked too, database/sql
	// would return that error in the end.
	reused bool

	pinged func(context.Context) // called by Ping: see OnPing
}

var (
	_ driver.Conn               = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.Pinger             = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil)
)

// connected is the ConnectHook.
func (c *conn) connected(inner *sqlite3.SQLiteConn) error {
	err := errors.Join(
		inner.RegisterFunc("sqlite_mem_sync", func() int64 { return 0 }, false), // see Database.Sync
		inner.RegisterFunc("sqlite_mem_stats", c.db.opts.StatsJSON, false),
	)
	if err == nil {
		_, err = inner.ExecContext(context.Background(), sqlitefile.FullSync, nil)
	}
	if err == nil && !c.readOnly {
		err = leaveWAL(inner)
	}
	if err == nil && !c.readOnly {
		for _, query := range c.db.opts.Pragmas {
			if _, err := inner.ExecContext(context.Background(), query, nil); err != nil {
				return fmt.Errorf("%s: %w", query, err)
			}
		}
	}
	if err == nil && c.db.opts.ConnectHook != nil {
		err = c.db.opts.ConnectHook(inner)
	}
	return err
}

// leaveWAL takes the file out of WAL mode, in which an idle connection would keep a server
// from loading it. That cannot be done while another program has the file open. The
// connection then works in WAL mode too.
func leaveWAL(inner *sqlite3.SQLiteConn) error {
	mode, err := pragma(inner, "PRAGMA main.journal_mode")
	if err != nil || mode != "wal" {
		return err
	}
	_, err = pragma(inner, "PRAGMA main.journal_mode=DELETE")
	var e sqlite3.Error
	if errors.As(err, &e) && (e.Code == sqlite3.ErrBusy || e.Code == sqlite3.ErrLocked || e.Code == sqlite3.ErrReadonly) {
		return nil
	}
	return err
}

// pragma returns the first value of the first row as text.
func pragma(c *sqlite3.SQLiteConn, query string) (string, error) {
	rows, err := c.QueryContext(context.Background(), query, nil)
	if err != nil {
		return "", err
	}
	row := make([]driver.Value, len(rows.Columns()))
	err = rows.Next(row)
	if err := connerr.Join(err, rows.Close()); err != nil {
		return "", err
	}
	return fmt.Sprint(row[0]), nil
}

// OnPing has every Ping of the connection call f with its context.
func (c *conn) OnPing(f func(context.Context)) { c.pinged = f }

// Ping reports whether the connection can be used.
func (c *conn) Ping(ctx context.Context) error {
	if c.pinged != nil {
		c.pinged(ctx)
	}
	return c.SQLiteConn.Ping(ctx)
}

// Raw returns the connection of go-sqlite3: see driver.RawConn.
func (c *conn) Raw() *sqlite3.SQLiteConn { return c.SQLiteConn }

func (c *conn) backup(ctx context.Context, path string) error {
	return image.BackupFrom(ctx, path, func(name string) error {
		_, err := c.SQLiteConn.ExecContext(ctx, "VACUUM INTO ?", []driver.NamedValue{{Ordinal: 1, Value: name}})
		return err
	})
}

// explain adds the reason to SQLite's refusal to write. If a save has replaced the file, and
// there is no transaction, it returns driver.ErrBadConn. Nothing was done, so database/sql
// tries again on a new connection.
func (c *conn) explain(err error) error {
	e, ok := err.(sqlite3.Error)
	if !ok || e.Code != sqlite3.ErrReadonly {
		return connerr.Attach(err)
	}
	if e.ExtendedCode == sqlite3.ErrReadonlyDbMoved {
		c.stale = true
		if c.AutoCommit() {
			return driver.ErrBadConn
		}
		return fmt.Errorf("sqlite-mem: %s: a server has replaced the file since the transaction began; begin it again: %w", c.db.opts.Path, e)
	}
	refused := e.ExtendedCode == sqlite3.ErrReadonlyCantLock // a server had the file when SQLite came to write
	if refused {
		e.ExtendedCode = sqlite3.ErrNoExtended(sqlite3.ErrReadonly)
	}
	owner := c.owner
	if by, owned, oerr := proclock.OwnerOf(c.db.opts.Path); oerr == nil {
		owner = nil
		if owned {
			owner = by.Owned(c.db.opts.Path)
		}
	}
	switch {
	case owner != nil:
		return connerr.NewOwned(owner, e)
	case c.owner == nil && !refused:
		return err
	}
	// The server has gone, so a new connection may write.
	c.stale = true
	switch {
	case !c.AutoCommit():
		return fmt.Errorf("sqlite-mem: %s: a server had the file, and has gone; begin the transaction again: %w", c.db.opts.Path, e)
	case !c.reused:
		return fmt.Errorf("sqlite-mem: %s: a server had the file, and has gone; try again: %w", c.db.opts.Path, connerr.Busy)
	}
	return driver.ErrBadConn
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	res, err := c.SQLiteConn.ExecContext(ctx, query, c.db.written(args))
	return res, c.explain(err)
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.SQLiteConn.QueryContext(ctx, query, c.db.written(args))
	return c.db.read(rows), c.explain(err)
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.SQLiteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, c.explain(err)
	}
	return &stmt{SQLiteStmt: s.(*sqlite3.SQLiteStmt), c: c}, nil
}

func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// BeginTx begins a transaction; one that is ReadOnly refuses to write.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if !opts.ReadOnly {
		t, err := c.SQLiteConn.BeginTx(ctx, opts)
		if err != nil {
			return nil, c.explain(err)
		}
		return &tx{Tx: t, c: c}, nil
	}
	_, err := c.SQLiteConn.ExecContext(ctx, "PRAGMA query_only=1; BEGIN; SELECT 1 FROM sqlite_schema", nil)
	t := &tx{c: c, readOnly: true}
	if err != nil {
		return nil, connerr.Join(err, t.end("ROLLBACK"))
	}
	return t, nil
}

// idles is whether connections stay open in the pool. On Windows an open file cannot be
// replaced, so an idle tool would keep a server from saving. It is a variable for tests.
var idles = runtime.GOOS != "windows"

// IsValid is called when the connection goes back to the pool. It rolls back an open
// transaction.
func (c *conn) IsValid() bool {
	if c.stale || !idles {
		return false
	}
	if c.AutoCommit() {
		return true
	}
	_, err := c.SQLiteConn.ExecContext(context.Background(), "ROLLBACK", nil)
	return err == nil
}

// ResetSession is called before the connection is used again. The connection gives way to
// a new one if this process has become the server or may do so now. It also does if a save
// has replaced the file, or a server has come or gone.
func (c *conn) ResetSession(context.Context) error {
	c.reused = true
	mayServe := !c.retry.IsZero() && time.Now().After(c.retry)
	if c.stale || mayServe || c.db.closed.Load() || c.changed() {
		return driver.ErrBadConn
	}
	return nil
}

// changed reports whether the state of the file has changed.
func (c *conn) changed() bool {
	now, err := os.Stat(c.db.opts.Path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return true // the new connection returns the error
	case (err == nil) != (c.file != nil):
		// A connection that may write creates the file with its first write.
		if c.file != nil || c.readOnly {
			return true
		}
		c.file = now
	case err == nil && !os.SameFile(now, c.file):
		return true
	}
	by, owned, err := proclock.OwnerOf(c.db.opts.Path)
	owned = owned && by.Role != proclock.Recovery
	switch {
	case err != nil:
		return false // nothing is known to have changed
	case owned != (c.owner != nil):
		return true
	case owned:
		return false
	}
	// A server may have come and gone, and have left a log.
	pending, err := image.LogPending(c.db.opts.Path)
	return err != nil || pending && !c.readOnly
}

// tx is a transaction on the file.
type tx struct {
	driver.Tx // nil when read-only
	c         *conn
	readOnly  bool
}

func (t *tx) Commit() error {
	if t.readOnly {
		return t.end("COMMIT")
	}
	return t.c.explain(t.Tx.Commit())
}

func (t *tx) Rollback() error {
	if t.readOnly {
		return t.end("ROLLBACK")
	}
	return t.Tx.Rollback()
}

// end ends a read-only transaction, and the refusal to write with it.
func (t *tx) end(how string) error {
	var err error
	if !t.c.AutoCommit() {
		_, err = t.c.SQLiteConn.ExecContext(context.Background(), how, nil)
	}
	if t.c.db.opts.QueryOnly {
		return err
	}
	_, err2 := t.c.SQLiteConn.ExecContext(context.Background(), "PRAGMA query_only=0", nil)
	return connerr.Join(err, err2)
}

// stmt is a prepared statement on the file.
type stmt struct {
	*sqlite3.SQLiteStmt
	c *conn
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	res, err := s.SQLiteStmt.ExecContext(ctx, s.c.db.written(args))
	return res, s.c.explain(err)
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.SQLiteStmt.QueryContext(ctx, s.c.db.written(args))
	return s.c.db.read(rows), s.c.explain(err)
}
