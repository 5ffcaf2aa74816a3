//go:build cgo

package fileconn

import (
	"database/sql/driver"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"
)

// This file has times as a server reads and writes them (internal/memconn/value.go): as
// another driver keeps them if the parameters say so, and else as go-sqlite3 does. That would
// read a text of modernc.org/sqlite as year 1.

// written returns args with the times among them as the file is to have them.
func (d *Database) written(args []driver.NamedValue) []driver.NamedValue {
	cloned := false
	for i := range args {
		t, ok := args[i].Value.(time.Time)
		if !ok {
			continue
		}
		if !cloned { // they are the caller's
			args, cloned = slices.Clone(args), true
		}
		args[i].Value = d.times.Write(t, sqlite3.SQLiteTimestampFormats[0])
	}
	return args
}

// read returns rows that read times as the file has them.
func (d *Database) read(r driver.Rows) driver.Rows {
	if plain, ok := r.(*sqlite3.SQLiteRows); ok {
		return newTimedRows(plain, d)
	}
	return r
}

// timedRows are rows whose times go-sqlite3 does not convert.
type timedRows struct {
	*sqlite3.SQLiteRows
	db    *Database
	times []bool // by column: it is declared as one of times
	guess []bool // by column: a text may be a time
}

var (
	_ driver.Rows                           = (*timedRows)(nil)
	_ driver.RowsColumnTypeDatabaseTypeName = (*timedRows)(nil)
	_ driver.RowsColumnTypeNullable         = (*timedRows)(nil)
	_ driver.RowsColumnTypeScanType         = (*timedRows)(nil)
)

// hidden ends the declared type of a column of times. go-sqlite3 does not know the type then,
// and returns the value as it is. DeclTypes is its own slice, which it keeps with the statement.
const hidden = "\x00"

func newTimedRows(plain *sqlite3.SQLiteRows, d *Database) *timedRows {
	declared := plain.DeclTypes()
	r := &timedRows{SQLiteRows: plain, db: d, times: make([]bool, len(declared)), guess: make([]bool, len(declared))}
	for i, typ := range declared {
		switch strings.TrimSuffix(typ, hidden) {
		case "timestamp", "datetime", "date":
			r.times[i] = true
			declared[i] = strings.TrimSuffix(typ, hidden) + hidden
		case "boolean":
		default:
			r.guess[i] = d.times.Guesses(typ)
		}
	}
	return r
}

// Next reads the next row.
func (r *timedRows) Next(dest []driver.Value) error {
	if err := r.SQLiteRows.Next(dest); err != nil {
		return err
	}
	for i := range min(len(dest), len(r.times)) {
		if t, ok := r.time(i, dest[i]); ok {
			if loc := r.db.loc; loc != nil {
				t = t.In(loc)
			}
			dest[i] = t
		}
	}
	return nil
}

// time returns the time that a value of the i-th column is, or false.
func (r *timedRows) time(i int, v driver.Value) (time.Time, bool) {
	f := r.db.times
	switch v := v.(type) {
	case int64:
		if r.times[i] {
			return f.Integer(v)
		}
	case float64:
		if r.times[i] {
			return f.Float(v)
		}
	case string:
		switch {
		case r.times[i]:
			return f.Text(v, sqlite3.SQLiteTimestampFormats), true
		case r.guess[i]:
			return f.Guess(v, sqlite3.SQLiteTimestampFormats)
		}
	}
	return time.Time{}, false
}
