//go:build cgo && go1.27

package memconn

import (
	"database/sql"
	"database/sql/driver"
	"io"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
)

// current is the row that is scanned.
type current struct {
	value   *memvfs.Value  // its first value; nil: it is a drained row, or there is none
	drained []driver.Value // a row that drain has fetched
}

var _ driver.RowsColumnScanner = (*rows)(nil)

// NextRow goes to the next row. From Go 1.27 on database/sql calls it and ScanColumn instead
// of Next.
func (r *rows) NextRow() error {
	if r.left == 0 || r.ctx != nil || r.drained != nil {
		row, err := r.ready()
		r.current = current{drained: row}
		if row != nil || err != nil {
			return err
		}
	}
	r.current.value = r.row
	r.row = r.row.Next(len(r.names))
	r.left--
	r.taken++
	return nil
}

// ScanColumn stores a value of the row in dest. If dest has the type of the value, or is a
// sql.Null of it, no interface is made of the value.
func (r *rows) ScanColumn(ctx driver.ScanContext, i int, dest any) error {
	if r.current.value == nil {
		if i >= len(r.current.drained) {
			return io.EOF // the rows are closed
		}
		return sql.ConvertAssign(ctx, dest, r.current.drained[i])
	}
	v := r.current.value.Next(i)
	if r.columns.plain || r.kinds[i] == kindPlain {
		if r.scanPlain(v, dest) {
			return nil
		}
	} else if r.kinds[i] == kindTime && r.scanTime(v, dest) {
		return nil
	}
	if d, ok := dest.(*any); ok && d != nil {
		r.value((*driver.Value)(d), i, v)
		return nil
	}
	var value driver.Value
	r.value(&value, i, v)
	return sql.ConvertAssign(ctx, dest, value)
}

// scanPlain sets dest as database/sql would, and reports whether it has.
func (r *rows) scanPlain(v *memvfs.Value, dest any) bool {
	switch v.Type {
	case memvfs.Integer:
		switch d := dest.(type) {
		case *int64:
			return assign(d, v.Int())
		case *int:
			if int64(int(v.Int())) == v.Int() {
				return assign(d, int(v.Int()))
			}
		case *sql.NullInt64:
			return assign(d, sql.NullInt64{Int64: v.Int(), Valid: true})
		case *sql.Null[int64]:
			return assign(d, sql.Null[int64]{V: v.Int(), Valid: true})
		}
	case memvfs.Text:
		switch d := dest.(type) {
		case *string:
			return d != nil && assign(d, r.scanText(v))
		case *[]byte:
			return d != nil && assign(d, append(make([]byte, 0, v.N), v.Bytes()...))
		case *sql.NullString:
			return d != nil && assign(d, sql.NullString{String: r.scanText(v), Valid: true})
		case *sql.Null[string]:
			return d != nil && assign(d, sql.Null[string]{V: r.scanText(v), Valid: true})
		}
	case memvfs.Float:
		switch d := dest.(type) {
		case *float64:
			return assign(d, v.Float())
		case *sql.NullFloat64:
			return assign(d, sql.NullFloat64{Float64: v.Float(), Valid: true})
		case *sql.Null[float64]:
			return assign(d, sql.Null[float64]{V: v.Float(), Valid: true})
		}
	case memvfs.Blob:
		switch d := dest.(type) {
		case *[]byte:
			return d != nil && assign(d, append(make([]byte, 0, v.N), v.Bytes()...))
		case *string:
			return d != nil && assign(d, r.scanText(v))
		}
	case memvfs.Null:
		switch d := dest.(type) {
		case *[]byte:
			return assign(d, nil)
		case *sql.NullInt64:
			return assign(d, sql.NullInt64{})
		case *sql.NullString:
			return assign(d, sql.NullString{})
		case *sql.NullFloat64:
			return assign(d, sql.NullFloat64{})
		case *sql.Null[int64]:
			return assign(d, sql.Null[int64]{})
		case *sql.Null[string]:
			return assign(d, sql.Null[string]{})
		case *sql.Null[float64]:
			return assign(d, sql.Null[float64]{})
		}
	}
	return false
}

// scanTime is scanPlain for a column that is declared as a time.
func (r *rows) scanTime(v *memvfs.Value, dest any) bool {
	switch d := dest.(type) {
	case *time.Time:
		if t, ok := r.typedValue(kindTime, v).(time.Time); ok {
			return assign(d, t)
		}
	case *sql.NullTime:
		if t, ok := r.typedValue(kindTime, v).(time.Time); ok {
			return assign(d, sql.NullTime{Time: t, Valid: true})
		}
	}
	return false
}

// scanText returns a copy of a text or blob.
func (r *rows) scanText(v *memvfs.Value) string {
	rows := r.left + 1
	if r.taken == 1 && r.left == 0 {
		rows = 1
	}
	return r.batch.text(v.Bytes(), rows)
}

// assign sets *d, unless d is nil: database/sql has an error for that.
func assign[T any](d *T, v T) bool {
	if d == nil {
		return false
	}
	*d = v
	return true
}
