//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"
	"io"
	"reflect"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
)

// maxBatch is the most rows that are fetched at once. The engine ends a batch
// earlier when it has copied much, or has run for long: see internal/memvfs/stmt.h.
const maxBatch = 64

// rows are the rows of a query. They are fetched in batches, which grow the more is read.
// The first batch of a statement is as large as the number of rows that its last reader
// took.
type rows struct {
	c *conn
	s *statement // nil: SQLite is done with it
	*columns

	// ctx is the context of the query if it can be cancelled.
	ctx context.Context

	batch *batch        // nil before open, and after Close
	row   *memvfs.Value // the next row
	left  int           // number of rows of the batch from it on
	taken int           // number of rows handed out
	err   error         // the error behind the batch; nil: more rows, or the end

	// drained are rows of a statement that writes, fetched by drain: see conn.query.
	drained [][]driver.Value

	current // of Go 1.27: see rows_go127.go

	prev, next *rows // in statements.rows
}

// batch is the memory of a batch of rows. The connection keeps it for its next query.
type batch struct {
	memvfs.Rows
	boxes
}

var (
	_ driver.Rows                           = (*rows)(nil)
	_ driver.RowsColumnTypeDatabaseTypeName = (*rows)(nil)
	_ driver.RowsColumnTypeNullable         = (*rows)(nil)
	_ driver.RowsColumnTypeScanType         = (*rows)(nil)
)

// newRows makes rows for a query.
func newRows(ctx context.Context) *rows {
	r := &rows{columns: &noColumns}
	if ctx.Done() != nil {
		r.ctx = ctx
	}
	return r
}

// result returns the rows, or the error of do.
func (r *rows) result(err error) (driver.Rows, error) {
	if err != nil {
		_ = r.Close() // its error would be err again
		return nil, err
	}
	return r, nil
}

// query runs a statement, whose arguments are set, up to its first rows.
//
// A statement that writes and returns rows (INSERT … RETURNING) has done its work in its
// first step, and SQLite has stored its rows. Outside of a transaction its own transaction
// lasts until the last row is fetched. Other writers must not wait for that, so all rows
// are fetched here.
func (c *conn) query(s *statement, r *rows) error {
	err := c.claim(s)
	if err == nil {
		err = r.open(c, s)
	}
	if err != nil {
		c.release(s)
		return err
	}
	writes := !s.ReadOnly()
	code := s.Query(r.batch.Rows, c.ahead(s, s.hint))
	s.busy = true
	r.take(code)
	err = c.ran(s)
	r.columns = s.columns
	r.ended(code)
	switch {
	case err != nil:
		return err
	case writes && !c.link.InTransaction():
		return r.drain()
	case r.left == 0:
		return r.err
	}
	return nil
}

// ahead returns the number of rows to fetch when want would be best. It is one if code of
// the user, or another statement, may run between two rows and change the second.
func (c *conn) ahead(s *statement, want int) int {
	if c.userCode || s.facts()&memvfs.Effect != 0 || c.tx != txReadOnly && c.link.InTransaction() {
		return 1
	}
	return want
}

// open gives the rows their memory.
func (r *rows) open(c *conn, s *statement) error {
	if n := len(c.batches); n > 0 {
		r.batch = c.batches[n-1]
		c.batches = c.batches[:n-1]
	} else {
		inner, ok := memvfs.NewRows()
		if !ok {
			return connerr.NoMemory
		}
		r.batch = &batch{Rows: inner}
	}
	r.c, r.s = c, s
	r.next = c.rows
	if r.next != nil {
		r.next.prev = r
	}
	c.rows = r
	return nil
}

// take keeps the rows that a call has fetched, and the error of its code.
func (r *rows) take(code int) {
	r.row, r.left = r.batch.First()
	if r.c.attaching != nil {
		r.c.endAttaching()
	}
	if code != memvfs.Row && code != memvfs.Done {
		r.err = r.c.link.Err(code)
	}
}

// ended gives the statement back if the call that returned code has reset it.
func (r *rows) ended(code int) {
	if code != memvfs.Row {
		r.giveBack(max(r.taken+r.left+1, 2)) // one for the end
	}
}

// giveBack gives the statement back, which has been reset. hint is the first batch of its
// next reader.
func (r *rows) giveBack(hint int) {
	s := r.s
	r.s = nil
	s.hint = min(hint, maxBatch)
	r.c.release(s)
}

// drain fetches all rows that are left, so that the statement ends. The last batch stays
// where it is.
func (r *rows) drain() error {
	for r.s != nil {
		for r.left > 0 {
			dest := make([]driver.Value, r.batch.Columns())
			r.read(dest)
			r.drained = append(r.drained, dest)
		}
		code := r.s.More(r.batch.Rows, maxBatch)
		r.take(code)
		r.ended(code)
	}
	return r.err
}

// Next fetches the next row.
func (r *rows) Next(dest []driver.Value) error {
	if r.left == 0 || r.ctx != nil || r.drained != nil {
		if row, err := r.ready(); row != nil || err != nil {
			copy(dest, row)
			return err
		}
	}
	r.read(dest)
	return nil
}

// ready fetches rows if there is none to be read. It returns a drained row, which need not
// be read.
func (r *rows) ready() (row []driver.Value, err error) {
	if r.ctx != nil {
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
	}
	if len(r.drained) > 0 {
		row = r.drained[0]
		r.drained = r.drained[1:]
		return row, nil
	}
	if r.left == 0 && r.s != nil {
		if err := r.more(); err != nil {
			return nil, err
		}
	}
	if r.left > 0 {
		return nil, nil
	}
	if r.err != nil {
		return nil, r.err
	}
	return nil, io.EOF
}

// more fetches the next batch.
func (r *rows) more() error {
	c, ctx := r.c, r.ctx
	if ctx == nil {
		ctx = background
	}
	return c.do(ctx, func() error {
		c.now = r.s
		code := r.s.More(r.batch.Rows, c.ahead(r.s, min(max(16, 4*r.taken), maxBatch)))
		r.take(code)
		r.ended(code)
		if r.left == 0 {
			return r.err
		}
		return nil
	})
}

// Close ends the query.
func (r *rows) Close() error {
	c := r.c
	if c == nil {
		return nil
	}
	var err error
	if r.s != nil && !c.broken {
		err = c.do(background, func() (err error) {
			if code := r.s.Reset(); code != 0 {
				err = c.link.Err(code)
			}
			r.giveBack(max(r.taken, 1))
			return err
		})
	}
	if r.batch != nil && !c.broken {
		if len(c.batches) < 4 && !r.batch.Large() {
			c.batches = append(c.batches, r.batch)
		} else {
			r.batch.Free()
		}
	}
	if r.prev != nil {
		r.prev.next = r.next
	} else if c.rows == r {
		c.rows = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	*r = rows{columns: r.columns, err: io.EOF} // keeps no connection in memory
	return err
}

// orphan frees the memory of rows whose connection is being closed.
func (r *rows) orphan() {
	if r.batch != nil {
		r.batch.Free()
	}
	r.batch, r.s, r.row, r.left, r.current = nil, nil, nil, 0, current{}
	r.err = driver.ErrBadConn
}

// ReadAhead reports whether the next row may be fetched before it is asked for. It may
// if that is done already, or the statement is over.
func (r *rows) ReadAhead() bool {
	return r.left > 0 || len(r.drained) > 0 || r.s == nil || r.c.ahead(r.s, maxBatch) > 1
}

// Columns returns the names of the columns.
func (r *rows) Columns() []string { return r.names }

// DeclTypes returns the declared types of the columns in lower case, as
// go-sqlite3 has it.
func (r *rows) DeclTypes() []string { return r.lower }

// ColumnTypeDatabaseTypeName returns the declared type of a column.
func (r *rows) ColumnTypeDatabaseTypeName(i int) string { return r.types[i] }

// ColumnTypeNullable reports, as go-sqlite3 does, that every column may be NULL.
func (r *rows) ColumnTypeNullable(int) (nullable, ok bool) { return true, true }

// ColumnTypeScanType returns a Go type for values of the column.
func (r *rows) ColumnTypeScanType(i int) reflect.Type { return scanType(r.types[i]) }
