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

// rows are the rows of a query. They are fetched in batches, which grow with
// what is read: the first of a statement is as large as its last reader took.
type rows struct {
	c *conn
	s *statement // nil: SQLite is done with it
	*columns

	// ctx is the context of the query if it can be cancelled.
	ctx context.Context

	buf   memvfs.Rows
	has   bool          // buf is
	row   *memvfs.Value // the next
	left  int           // rows of the batch from it on
	taken int           // rows handed out
	err   error         // what is behind the batch; nil: more rows, or the end

	// ahead are the rows of a statement that writes: see conn.query.
	ahead [][]driver.Value

	boxes
	current // of Go 1.27: see rows_go127.go

	prev, next *rows // in statements.rows
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

// result is what the query returns, with the error of do.
func (r *rows) result(err error) (driver.Rows, error) {
	if err != nil {
		_ = r.Close() // its error would be that of the statement once more
		return nil, err
	}
	return r, nil
}

// query runs a statement, whose arguments are set, up to its first rows.
//
// A statement that writes and returns rows (INSERT … RETURNING) has done its
// work in its first step, but its transaction, if it is its own, lasts until the
// last row is fetched. Others must not wait for that: the rows, which SQLite
// has already put aside, are all fetched here, and the lock is free.
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
	code := s.Query(r.buf, c.batch(s, s.hint))
	s.busy = true
	r.take(code)
	err = c.ran(s)
	r.columns = s.columns
	r.ended(code)
	switch {
	case err != nil:
		return err
	case writes && !c.link.InTransaction():
		return r.readAhead()
	case r.left == 0:
		return r.err
	}
	return nil
}

// batch is how many rows to fetch when want would be best. It is one when code
// of the user, or another statement, may change between two rows what the second
// would be.
func (c *conn) batch(s *statement, want int) int {
	if c.hooked || s.facts()&memvfs.Effect != 0 || c.tx != txReadOnly && c.link.InTransaction() {
		return 1
	}
	return want
}

// open gives the rows their memory.
func (r *rows) open(c *conn, s *statement) error {
	if n := len(c.buffers); n > 0 {
		r.buf = c.buffers[n-1]
		c.buffers = c.buffers[:n-1]
	} else {
		var ok bool
		if r.buf, ok = memvfs.NewRows(); !ok {
			return connerr.NoMemory
		}
	}
	r.c, r.s, r.has = c, s, true
	r.next = c.rows
	if r.next != nil {
		r.next.prev = r
	}
	c.rows = r
	return nil
}

// take notes what a call has fetched, and the error of its code.
func (r *rows) take(code int) {
	r.row, r.left = r.buf.First()
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

// giveBack gives the statement back, which has been reset. hint is for its next
// reader.
func (r *rows) giveBack(hint int) {
	s := r.s
	r.s = nil
	s.hint = min(hint, maxBatch)
	r.c.release(s)
}

// readAhead fetches all rows that are left. The last batch stays where it is.
func (r *rows) readAhead() error {
	for r.s != nil {
		for r.left > 0 {
			dest := make([]driver.Value, r.buf.Columns())
			r.read(dest)
			r.ahead = append(r.ahead, dest)
		}
		code := r.s.More(r.buf, maxBatch)
		r.take(code)
		r.ended(code)
	}
	return r.err
}

// Next fetches the next row.
func (r *rows) Next(dest []driver.Value) error {
	if r.left == 0 || r.ctx != nil || r.ahead != nil {
		if row, err := r.ready(); row != nil || err != nil {
			copy(dest, row)
			return err
		}
	}
	r.read(dest)
	return nil
}

// ready sees to it that there is a row to be read. It returns the row if that
// was put aside.
func (r *rows) ready() (row []driver.Value, err error) {
	if r.ctx != nil {
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
	}
	if len(r.ahead) > 0 {
		row = r.ahead[0]
		r.ahead = r.ahead[1:]
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
		code := r.s.More(r.buf, c.batch(r.s, min(max(16, 4*r.taken), maxBatch)))
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
	if r.has && !c.broken {
		if len(c.buffers) < 4 && !r.buf.Large() {
			c.buffers = append(c.buffers, r.buf)
		} else {
			r.buf.Free()
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
	// Values that were handed out may point into r, and must not keep the
	// connection.
	r.c, r.s, r.ctx, r.row, r.prev, r.next, r.ahead = nil, nil, nil, nil, nil, nil, nil
	r.left, r.err, r.current = 0, io.EOF, current{}
	return err
}

// orphan takes the memory of rows whose connection is being closed.
func (r *rows) orphan() {
	if r.has {
		r.buf.Free()
	}
	r.has, r.s, r.row, r.left = false, nil, nil, 0
	r.err = driver.ErrBadConn
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
