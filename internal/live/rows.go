package live

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
)

// rows are the rows of a query. They have the batch that was fetched, and what
// comes after it.
type rows struct {
	c       *Conn
	id      uint64
	columns []column
	outcome outcome         // of a fetch or a Close whose answer is lost
	ctx     context.Context // of the query if it can be cancelled

	values []byte // of the rows that are left of the batch
	left   int
	done   bool  // there are no more in the server, which has closed the rows
	err    error // behind the last row; nil: their end
	close  error // of closing them in the server
	closed bool
}

var (
	_ driver.Rows                           = (*rows)(nil)
	_ driver.RowsColumnTypeDatabaseTypeName = (*rows)(nil)
	_ driver.RowsColumnTypeNullable         = (*rows)(nil)
	_ driver.RowsColumnTypeScanType         = (*rows)(nil)
)

// take takes a batch. Its values are part of the message from now on.
func (r *rows) take(ans *answer, values []byte) {
	if !isBatch(ans, len(r.columns), len(values)) {
		r.fail(fmt.Errorf("%w: a batch of %d rows of %d columns in %d bytes", errProtocol, ans.Rows, len(r.columns), len(values)))
		return
	}
	r.c.wire.take()
	r.values, r.left = values, ans.Rows
	if ans.Done {
		r.end(r.decode(ans.RowsErr))
		r.close = r.decode(ans.CloseErr)
	}
}

// decode is an error of the rows, or nil.
func (r *rows) decode(e *wireError) error {
	switch {
	case e == nil:
		return nil
	case e.Kind == errClosing:
		return r.c.interrupted(e, r.outcome)
	case e.Kind == errCanceled && r.ctx != nil && r.ctx.Err() != nil:
		return e.wrap(r.ctx.Err())
	}
	return e.decode(r.c.dialer.DecodeError)
}

// isBatch reports whether a server may send such a batch. A batch without rows is the
// last one, and a value takes at least one byte. Otherwise Next could return rows that
// were never sent, or an early end.
func isBatch(ans *answer, columns, size int) bool {
	if ans.Rows == 0 {
		return ans.Done && size == 0
	}
	return ans.Rows > 0 && ans.Rows <= batchRows && columns > 0 && ans.Rows*columns <= size
}

// end notes that the server has no more of the rows.
func (r *rows) end(err error) {
	if !r.done {
		r.done = true
		r.c.open--
	}
	r.err = err
}

// fail ends the rows and their connection because of bytes that no server sends.
func (r *rows) fail(why error) {
	r.c.fail(why)
	r.left = 0
	r.end(r.c.lost(r.outcome))
}

// Next sets dest to the next row.
func (r *rows) Next(dest []driver.Value) error {
	if r.closed {
		return io.EOF
	}
	if r.ctx != nil {
		if err := r.ctx.Err(); err != nil {
			return err
		}
	}
	if r.left == 0 && !r.done {
		if err := r.fetch(); err != nil {
			return err
		}
	}
	if r.left == 0 {
		if r.err != nil {
			return r.err
		}
		return io.EOF
	}
	r.left--
	for i := range r.columns {
		v, rest, err := readValue(r.values)
		if err != nil {
			r.fail(err)
			return r.err
		}
		r.values = rest
		if i < len(dest) {
			dest[i] = v
		}
	}
	if r.left == 0 && len(r.values) > 0 {
		r.fail(fmt.Errorf("%w: %d bytes behind the last row of a batch", errProtocol, len(r.values)))
		return r.err
	}
	if loc := r.c.dialer.Location; loc != nil {
		for i, v := range dest {
			if t, ok := v.(time.Time); ok {
				dest[i] = t.In(loc)
			}
		}
	}
	return nil
}

// fetch asks for the next batch.
func (r *rows) fetch() error {
	ctx := r.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	ans, values, err := r.c.call(ctx, &request{Op: opFetch, ID: r.id}, r.outcome, nil)
	if err != nil {
		if r.c.broken != nil {
			r.end(err)
		}
		return err
	}
	r.take(ans, values)
	return nil
}

// Close ends the query.
func (r *rows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.values = nil
	if r.done || r.c.broken != nil {
		r.end(nil)
		return r.close
	}
	r.end(nil)
	return r.c.tidy(&request{Op: opRowsClose, ID: r.id}, r.outcome)
}

// Columns returns the names of the columns.
func (r *rows) Columns() []string {
	names := make([]string, len(r.columns))
	for i := range r.columns {
		names[i] = r.columns[i].Name
	}
	return names
}

// DeclTypes returns the declared types of the columns in lower case, as go-sqlite3
// has it.
func (r *rows) DeclTypes() []string {
	types := make([]string, len(r.columns))
	for i := range r.columns {
		types[i] = strings.ToLower(r.columns[i].Type)
	}
	return types
}

// ColumnTypeDatabaseTypeName returns the declared type of a column.
func (r *rows) ColumnTypeDatabaseTypeName(i int) string { return r.columns[i].Type }

// ColumnTypeNullable reports whether a column may be NULL, as far as that is known.
func (r *rows) ColumnTypeNullable(i int) (nullable, ok bool) {
	return r.columns[i].Nullable, r.columns[i].NullableOK
}

// ColumnTypeScanType returns a Go type for values of the column.
func (r *rows) ColumnTypeScanType(i int) reflect.Type { return r.columns[i].Scan.goType() }
