//go:build cgo

package driver

import (
	"context"
	"database/sql/driver"
	"io"
	"reflect"

	"github.com/mattn/go-sqlite3"
)

// rows are the rows of a query. go-sqlite3 has taken the first step before it
// returns them.
type rows struct {
	c     *conn
	inner *sqlite3.SQLiteRows

	// ctx is the context of the query if it can be cancelled.
	ctx context.Context

	// ahead are the rows that were read ahead, all of them, or nil.
	ahead *ahead
}

// ahead are rows that are no longer SQLite's.
type ahead struct{ rows [][]driver.Value }

var (
	_ driver.Rows                           = (*rows)(nil)
	_ driver.RowsColumnTypeDatabaseTypeName = (*rows)(nil)
	_ driver.RowsColumnTypeNullable         = (*rows)(nil)
	_ driver.RowsColumnTypeScanType         = (*rows)(nil)
)

// newRows wraps the rows of a query that has just taken its first step, and
// ends that call.
//
// A statement that writes and returns rows (INSERT … RETURNING) has done its
// work in that step, but its transaction, if it is its own, lasts until the
// last row is fetched. Others must not wait for that: the rows, which SQLite
// has already put aside, are fetched here, and the lock is free.
func (c *conn) newRows(ctx context.Context, inner driver.Rows) (driver.Rows, error) {
	if len(c.rows) == 0 {
		c.rows = make([]rows, 8)
	}
	r := &c.rows[0]
	c.rows = c.rows[1:]
	r.c, r.inner = c, inner.(*sqlite3.SQLiteRows)
	if ctx.Done() != nil {
		r.ctx = ctx
	}
	if c.quiet() {
		c.running = false
		return r, nil
	}
	var err error
	if c.writing() && c.tx == txNone && c.link.Autocommit() {
		r.ahead, err = readAhead(r.inner)
	}
	if err = c.leave(err); err != nil {
		return nil, joinClose(err, inner)
	}
	return r, nil
}

// joinClose closes the rows of a query that failed. The error of closing is
// that of the statement once more.
func joinClose(err error, inner driver.Rows) error {
	_ = inner.Close()
	return err
}

func readAhead(inner *sqlite3.SQLiteRows) (*ahead, error) {
	a := &ahead{}
	n := len(inner.Columns())
	for {
		dest := make([]driver.Value, n)
		switch err := inner.Next(dest); err {
		case nil:
			a.rows = append(a.rows, dest)
		case io.EOF:
			return a, nil
		default:
			return nil, err
		}
	}
}

// next gives the next row.
func (a *ahead) next(dest []driver.Value) error {
	if len(a.rows) == 0 {
		return io.EOF
	}
	copy(dest, a.rows[0])
	a.rows = a.rows[1:]
	return nil
}

// Next fetches the next row.
func (r *rows) Next(dest []driver.Value) error {
	if r.ahead != nil {
		return r.ahead.next(dest)
	}
	c := r.c
	if c.broken {
		return driver.ErrBadConn
	}
	if r.ctx != nil {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		c.arm(r.ctx)
	}
	c.running = true
	defer c.unwind()
	err := r.inner.Next(dest)
	if err != nil {
		return c.leave(err)
	}
	// The statement is not over, nor a transaction or a lock with it.
	c.running = false
	if r.ctx != nil {
		return c.disarm(nil)
	}
	return nil
}

// Close ends the query.
func (r *rows) Close() error {
	r.ahead, r.ctx = nil, nil
	c := r.c
	if c.inner == nil {
		return nil // closed, or abandoned
	}
	err := r.inner.Close()
	if c.quiet() {
		return err
	}
	return also(err, c.settle())
}

// Columns returns the names of the columns.
func (r *rows) Columns() []string { return r.inner.Columns() }

// DeclTypes returns the declared types of the columns in lower case, as
// go-sqlite3 has it.
func (r *rows) DeclTypes() []string { return r.inner.DeclTypes() }

// ColumnTypeDatabaseTypeName returns the declared type of a column.
func (r *rows) ColumnTypeDatabaseTypeName(i int) string {
	return r.inner.ColumnTypeDatabaseTypeName(i)
}

// ColumnTypeNullable reports, as go-sqlite3 does, that every column may be NULL.
func (r *rows) ColumnTypeNullable(i int) (nullable, ok bool) {
	return r.inner.ColumnTypeNullable(i)
}

// ColumnTypeScanType returns a Go type for values of the column.
func (r *rows) ColumnTypeScanType(i int) reflect.Type {
	return r.inner.ColumnTypeScanType(i)
}
