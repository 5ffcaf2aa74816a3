//go:build cgo

package driver

import (
	"context"
	"database/sql/driver"

	"github.com/mattn/go-sqlite3"
)

// stmt is a prepared statement.
type stmt struct {
	c     *conn
	inner *sqlite3.SQLiteStmt
	query string

	writing  bool // needs the write lock before it runs
	controls bool // may open or close a transaction, or attach a database
	rows     bool // may return rows, also from Exec
}

var (
	_ driver.Stmt             = (*stmt)(nil)
	_ driver.StmtExecContext  = (*stmt)(nil)
	_ driver.StmtQueryContext = (*stmt)(nil)
)

func newStmt(c *conn, inner *sqlite3.SQLiteStmt, query string) *stmt {
	word, _ := firstWord(query)
	w, readonly := wordsOf(query), inner.Readonly()
	s := &stmt{
		c:        c,
		inner:    inner,
		query:    query,
		writing:  !readonly || w.write,
		controls: w.control,
		rows:     readonly || equal(word, "pragma") || w.returning,
	}
	if c.stmts == nil {
		c.stmts = make(map[*stmt]struct{})
	}
	c.stmts[s] = struct{}{}
	return s
}

// ExecContext runs the statement.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	c := s.c
	if err := c.enter(ctx, s.writing, s.query); err != nil {
		return nil, err
	}
	defer c.unwind()
	c.note(s.controls)
	if s.rows {
		rows, err := s.inner.QueryContext(background, args)
		return c.leaveExec(rows, err)
	}
	res, err := s.inner.ExecContext(background, args)
	return res, c.leave(err)
}

// QueryContext runs the statement and returns its rows.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	c := s.c
	if err := c.enter(ctx, s.writing, s.query); err != nil {
		return nil, err
	}
	defer c.unwind()
	c.note(s.controls)
	inner, err := s.inner.QueryContext(background, args)
	if err != nil {
		return nil, c.leave(err)
	}
	return c.newRows(ctx, inner)
}

// Exec is ExecContext without a context.
func (s *stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(background, named(args))
}

// Query is QueryContext without a context.
func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(background, named(args))
}

// NumInput is the number of parameters.
func (s *stmt) NumInput() int { return s.inner.NumInput() }

// Close frees the statement, if its connection has not done so.
func (s *stmt) Close() error {
	c := s.c
	if c.inner == nil {
		return nil // closed, or abandoned
	}
	delete(c.stmts, s)
	err := s.inner.Close()
	return also(err, c.settle())
}

func named(args []driver.Value) []driver.NamedValue {
	list := make([]driver.NamedValue, len(args))
	for i, v := range args {
		list[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return list
}
