//go:build cgo

package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// tool is the target of a connector that works on the file itself.
type tool struct {
	cfg   *Config
	path  string
	uri   string // by which go-sqlite3 opens it
	users users

	lock  *proclock.Lock       // held by a tool that may write, else nil
	owner *proclock.OwnedError // who has it instead; nil: not known
}

// openTool opens the file in the role of a tool: to write, if nobody serves it.
func openTool(ctx context.Context, cfg *Config, path string) (target, error) {
	if cfg.cannotWrite() {
		return newTool(cfg, path, nil, nil), nil
	}
	lock, err := proclock.Acquire(ctx, path, proclock.Server)
	var owned *proclock.OwnedError
	switch {
	case err == nil:
		_, err := snapshot.RemoveLeftovers(path)
		if err == nil {
			err = foldLog(ctx, cfg, path)
		}
		if err != nil {
			return nil, openErr(cfg.Path, also(err, lock.Release()))
		}
		return newTool(cfg, path, lock, nil), nil
	case errors.As(err, &owned):
		return newTool(cfg, path, nil, owned), nil
	case errors.Is(err, ErrLockFile):
		return newTool(cfg, path, nil, nil), nil
	}
	return nil, openErr(cfg.Path, err)
}

// foldLog writes what a crashed server has left in its log into the file.
func foldLog(ctx context.Context, cfg *Config, path string) error {
	rec, err := snapshot.FoldLog(ctx, path, cfg.Keep)
	if rec.Transactions > 0 {
		cfg.logger().Info("sqlite-mem: wrote what a crash had left in the log into the file", "path", path,
			"transactions", rec.Transactions, "torn", rec.Torn)
	}
	if rec.NotKept != nil {
		cfg.logger().Error("sqlite-mem: the state that the file had before is not kept (sqlite_keep)", "path", path, "error", rec.NotKept)
	}
	return err
}

func newTool(cfg *Config, path string, lock *proclock.Lock, owner *proclock.OwnedError) *tool {
	q := url.Values{}
	for k, v := range cfg.Params {
		q.Set(k, v)
	}
	txLock := cfg.txLock()
	if lock == nil {
		q.Set("mode", "ro")
		txLock = TxDeferred // the others begin by writing
	}
	q.Set("_txlock", string(txLock))
	q.Set("_busy_timeout", strconv.FormatInt(cfg.busyTimeout().Milliseconds(), 10))
	q.Set("_stmt_cache_size", strconv.Itoa(cfg.stmtCacheSize()))
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	if u.Path[0] != '/' {
		u.Path = "/" + u.Path
	}
	t := &tool{cfg: cfg, path: path, uri: u.String(), lock: lock, owner: owner}
	t.users.release = func() error {
		if lock == nil {
			return nil
		}
		return lock.Release()
	}
	t.users.flush = func() error { return nil }
	t.users.logger = func(err error) {
		cfg.logger().Error("sqlite-mem: close", "path", path, "error", err)
	}
	return t
}

func (t *tool) connect(context.Context) (driver.Conn, error) {
	// Before the open: a save in between is noticed by the first use.
	file, err := os.Stat(t.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, openErr(t.cfg.Path, err)
	}
	if err != nil && t.lock == nil {
		return nil, openErr(t.cfg.Path, notThere(t.path, err))
	}
	d := &sqlite3.SQLiteDriver{Extensions: t.cfg.Extensions, ConnectHook: t.cfg.ConnectHook}
	inner, err := d.Open(t.uri)
	if err != nil {
		return nil, openErr(t.cfg.Path, err)
	}
	t.users.add()
	return &fileConn{SQLiteConn: inner.(*sqlite3.SQLiteConn), tool: t, file: file}, nil
}

// sync has nothing to do: what a tool commits is in the file.
func (t *tool) sync(context.Context) (int64, error) { return 0, nil }

func (t *tool) stats() Stats {
	s := Stats{Role: RoleTool, Path: t.path}
	if fi, err := os.Stat(t.path); err == nil {
		s.DataBytes = fi.Size()
	}
	return s
}

func (t *tool) close() error { return t.users.close() }

// fileConn is a connection to the file. It is go-sqlite3's own but for the
// pool's questions, read-only transactions, and errors that say who owns the
// file.
type fileConn struct {
	*sqlite3.SQLiteConn
	tool *tool
	file fs.FileInfo // the file that was opened; nil: it was not there
}

var (
	_ driver.Conn               = (*fileConn)(nil)
	_ driver.ConnPrepareContext = (*fileConn)(nil)
	_ driver.ExecerContext      = (*fileConn)(nil)
	_ driver.QueryerContext     = (*fileConn)(nil)
	_ driver.ConnBeginTx        = (*fileConn)(nil)
	_ driver.Pinger             = (*fileConn)(nil)
	_ driver.SessionResetter    = (*fileConn)(nil)
	_ driver.Validator          = (*fileConn)(nil)
	_ RawConn                   = (*fileConn)(nil)
	_ backuper                  = (*fileConn)(nil)
)

// Raw returns the connection of go-sqlite3.
func (c *fileConn) Raw() *sqlite3.SQLiteConn { return c.SQLiteConn }

func (c *fileConn) backup(ctx context.Context, path string) error {
	return snapshot.BackupFrom(ctx, path, func(name string) error {
		_, err := c.SQLiteConn.ExecContext(ctx, "VACUUM INTO ?", []driver.NamedValue{{Ordinal: 1, Value: name}})
		return err
	})
}

// explain makes of SQLite's refusal to write an error that says why.
func (c *fileConn) explain(err error) error {
	e, ok := err.(sqlite3.Error)
	if ok && e.Code == sqlite3.ErrReadonly && c.tool.owner != nil {
		return &OwnedError{Path: c.tool.path, PID: c.tool.owner.PID, Since: c.tool.owner.Since, Err: e}
	}
	return err
}

func (c *fileConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	res, err := c.SQLiteConn.ExecContext(ctx, query, args)
	return res, c.explain(err)
}

func (c *fileConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.SQLiteConn.QueryContext(ctx, query, args)
	return rows, c.explain(err)
}

func (c *fileConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.SQLiteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, c.explain(err)
	}
	return &fileStmt{SQLiteStmt: s.(*sqlite3.SQLiteStmt), c: c}, nil
}

func (c *fileConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// BeginTx begins a transaction; one that is ReadOnly refuses to write.
func (c *fileConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if !opts.ReadOnly {
		t, err := c.SQLiteConn.BeginTx(ctx, opts)
		if err != nil {
			return nil, c.explain(err)
		}
		return &fileTx{Tx: t, c: c}, nil
	}
	_, err := c.SQLiteConn.ExecContext(ctx, "PRAGMA query_only=1; BEGIN; SELECT 1 FROM sqlite_schema", nil)
	t := &fileTx{c: c, readOnly: true}
	if err != nil {
		return nil, also(err, t.end("ROLLBACK"))
	}
	return t, nil
}

// IsValid is asked when the connection goes back to the pool.
func (c *fileConn) IsValid() bool {
	if c.AutoCommit() {
		return true
	}
	_, err := c.SQLiteConn.ExecContext(context.Background(), "ROLLBACK", nil)
	return err == nil
}

// ResetSession is called before the connection is used again. A connection to
// a file that a save has replaced meanwhile gives way to a new one, which reads
// the new file.
func (c *fileConn) ResetSession(context.Context) error {
	now, err := os.Stat(c.tool.path)
	same := err == nil && (c.file == nil && c.tool.lock != nil || c.file != nil && os.SameFile(now, c.file))
	if !same && !(errors.Is(err, fs.ErrNotExist) && c.file == nil) {
		return driver.ErrBadConn
	}
	return nil
}

func (c *fileConn) Close() error {
	return also(c.SQLiteConn.Close(), c.tool.users.remove())
}

// fileTx is a transaction on the file.
type fileTx struct {
	driver.Tx // nil when read-only
	c         *fileConn
	readOnly  bool
}

func (t *fileTx) Commit() error {
	if t.readOnly {
		return t.end("COMMIT")
	}
	return t.c.explain(t.Tx.Commit())
}

func (t *fileTx) Rollback() error {
	if t.readOnly {
		return t.end("ROLLBACK")
	}
	return t.Tx.Rollback()
}

// end ends a read-only transaction, and the refusal to write with it.
func (t *fileTx) end(how string) error {
	var err error
	if !t.c.AutoCommit() {
		_, err = t.c.SQLiteConn.ExecContext(context.Background(), how, nil)
	}
	on, _ := parseBool(t.c.tool.cfg.Params["_query_only"])
	if on {
		return err
	}
	_, err2 := t.c.SQLiteConn.ExecContext(context.Background(), "PRAGMA query_only=0", nil)
	return also(err, err2)
}

// fileStmt is a prepared statement on the file.
type fileStmt struct {
	*sqlite3.SQLiteStmt
	c *fileConn
}

func (s *fileStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	res, err := s.SQLiteStmt.ExecContext(ctx, args)
	return res, s.c.explain(err)
}

func (s *fileStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.SQLiteStmt.QueryContext(ctx, args)
	return rows, s.c.explain(err)
}
