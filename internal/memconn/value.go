//go:build cgo

package memconn

import (
	"database/sql"
	"database/sql/driver"
	"reflect"
	"strings"
	"time"
	"unsafe"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
)

// columns are the columns of a query. They are never changed; a new one replaces them.
type columns struct {
	names []string
	types []string // as declared; empty for an expression
	lower []string // the same in lower case
	kinds []kind
	plain bool // all kinds are
}

// kind says to which Go type the declared type of a column converts values.
type kind uint8

const (
	kindPlain kind = iota
	kindTime       // an integer or a text becomes a time.Time
	kindBool       // an integer becomes a bool
	kindGuess      // a text may become a time: see sqltime.Format.Guess
)

var noColumns columns

// readColumns reads the columns from SQLite.
func (s *statement) readColumns() error {
	names, types, ok := s.Columns()
	if !ok {
		return connerr.NoMemory
	}
	s.reprepared = s.Reprepared()
	if len(names) == 0 {
		s.columns = &noColumns
		return nil
	}
	cols := &columns{names: names, types: types, lower: make([]string, len(names)), kinds: make([]kind, len(names)), plain: true}
	for i, typ := range types {
		cols.lower[i] = strings.ToLower(typ)
		switch {
		case cols.lower[i] == "timestamp", cols.lower[i] == "datetime", cols.lower[i] == "date":
			cols.kinds[i], cols.plain = kindTime, false
		case cols.lower[i] == "boolean":
			cols.kinds[i], cols.plain = kindBool, false
		case s.times.Guesses(typ):
			cols.kinds[i], cols.plain = kindGuess, false
		}
	}
	s.columns = cols
	return nil
}

// read takes the next row of the batch.
func (r *rows) read(dest []driver.Value) {
	v, n := r.row, len(r.names)
	for i := range dest[:min(len(dest), n)] {
		r.value(&dest[i], i, v)
		v = v.Next(1)
	}
	r.row = r.row.Next(n)
	r.left--
	r.taken++
}

// value sets dest to v, the value of the i-th column.
func (r *rows) value(dest *driver.Value, i int, v *memvfs.Value) {
	if r.columns.plain || r.kinds[i] == kindPlain {
		r.plainValue(dest, v)
		return
	}
	*dest = r.typedValue(r.kinds[i], v)
}

// plainValue sets dest to v.
func (r *rows) plainValue(dest *driver.Value, v *memvfs.Value) {
	switch v.Type {
	case memvfs.Integer:
		r.batch.setInt(dest, v.Int(), r.left)
	case memvfs.Text:
		r.batch.setText(dest, v.Bytes(), r.left)
	case memvfs.Float:
		*dest = v.Float()
	case memvfs.Blob:
		*dest = append(make([]byte, 0, v.N), v.Bytes()...)
	default:
		*dest = nil
	}
}

// typedValue returns v converted to the type of a column of kind k.
func (r *rows) typedValue(k kind, v *memvfs.Value) driver.Value {
	switch {
	case k == kindBool && v.Type == memvfs.Integer:
		return v.Int() > 0
	case k == kindTime && v.Type == memvfs.Integer:
		if t, ok := r.c.times.Integer(v.Int()); ok {
			return r.located(t)
		}
	case k == kindTime && v.Type == memvfs.Float:
		if t, ok := r.c.times.Float(v.Float()); ok {
			return r.located(t)
		}
	case k == kindTime && v.Type == memvfs.Text:
		return r.located(r.c.times.Text(string(v.Bytes()), sqlite3.SQLiteTimestampFormats))
	case k == kindGuess && v.Type == memvfs.Text:
		if t, ok := r.c.times.Guess(string(v.Bytes()), sqlite3.SQLiteTimestampFormats); ok {
			return r.located(t)
		}
	}
	var value driver.Value
	r.plainValue(&value, v)
	return value
}

// located returns t in the location of the connection.
func (r *rows) located(t time.Time) time.Time {
	if loc := r.c.loc; loc != nil {
		return t.In(loc)
	}
	return t
}

// scanType returns the Go type that go-sqlite3 has for the values of a column.
func scanType(declared string) reflect.Type {
	t := strings.ToUpper(declared)
	switch {
	case strings.Contains(t, "INT"):
		return reflect.TypeFor[sql.NullInt64]()
	case t == "CLOB", t == "TEXT", strings.Contains(t, "CHAR"):
		return reflect.TypeFor[sql.NullString]()
	case t == "BLOB":
		return reflect.TypeFor[sql.RawBytes]()
	case t == "REAL", t == "FLOAT", strings.Contains(t, "DOUBLE"):
		return reflect.TypeFor[sql.NullFloat64]()
	case t == "DATE", t == "DATETIME", t == "TIMESTAMP":
		return reflect.TypeFor[sql.NullTime]()
	case t == "NUMERIC", strings.Contains(t, "DECIMAL"):
		return reflect.TypeFor[sql.NullFloat64]()
	case t == "BOOLEAN":
		return reflect.TypeFor[sql.NullBool]()
	}
	return reflect.TypeFor[*any]()
}

// boxes hold what the values of rows point to. An interface holds a pointer to its int64
// or string, and each would be one or two allocations. Here values share allocations, also
// those of several queries of a connection. What is handed out is never used again. A value
// that is kept keeps the others of its allocation in memory: at most maxShared values, of at
// most maxSharedText bytes each.
type boxes struct {
	ints  []int64
	texts []string
	chars []byte
}

const (
	minShared     = 16
	maxShared     = 64
	maxChars      = 2048
	maxText       = 128  // the bytes of a longer text have an allocation of their own
	maxSharedText = 1024 // a longer text shares nothing
)

// iface is how Go lays out an interface without methods: TestBoxes.
type iface struct{ typ, data unsafe.Pointer }

var (
	intType  = typeOf(int64(0))
	textType = typeOf("")
)

func typeOf(v any) unsafe.Pointer { return (*iface)(unsafe.Pointer(&v)).typ }

// setInt sets dest to i. rows is how many rows are left of the batch.
func (b *boxes) setInt(dest *driver.Value, i int64, rows int) {
	if uint64(i) < 256 {
		*dest = i // Go has those
		return
	}
	if len(b.ints) == 0 {
		b.ints = make([]int64, shared(rows))
	}
	p := &b.ints[0]
	b.ints = b.ints[1:]
	*p = i
	*(*iface)(unsafe.Pointer(dest)) = iface{intType, unsafe.Pointer(p)}
}

// setText sets dest to a copy of z. rows is how many rows are left of the batch.
func (b *boxes) setText(dest *driver.Value, z []byte, rows int) {
	if len(z) > maxSharedText {
		*dest = string(z)
		return
	}
	if len(b.texts) == 0 {
		b.texts = make([]string, shared(rows))
	}
	p := &b.texts[0]
	b.texts = b.texts[1:]
	*p = b.text(z, rows)
	*(*iface)(unsafe.Pointer(dest)) = iface{textType, unsafe.Pointer(p)}
}

// shared returns for how many values to allocate memory.
func shared(rows int) int { return max(minShared, min(2*rows, maxShared)) }

// text returns a copy of z.
func (b *boxes) text(z []byte, rows int) string {
	n := len(z)
	if n > maxText || rows <= 1 && len(b.chars) < n {
		return string(z)
	}
	if n == 0 {
		return ""
	}
	if len(b.chars) < n {
		b.chars = make([]byte, min(n*rows, maxChars))
	}
	to := b.chars[:n:n]
	b.chars = b.chars[n:]
	copy(to, z)
	return unsafe.String(&to[0], n)
}
