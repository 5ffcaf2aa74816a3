//go:build cgo

package demo

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
)

// facts describe the contents of a database, to tell whether another has the
// same.
type facts struct {
	settings string   // user_version and its like
	schema   []string // one entry for each object, sorted
	tables   []tableFacts
}

// tableFacts describe the contents of a table. A virtual table is left out, as
// its module may be missing. Its shadow tables are included.
type tableFacts struct {
	name string
	rows int64
	sum  [sha256.Size]byte // of all values of all rows, in the table's order

	// unreadable is why the table cannot be read: a collation or function of
	// the program that made it.
	unreadable error

	// where finds a row by its key: "rowid = ?". keys are those of some rows.
	where string
	keys  [][]any
}

// gather reads all of a database. It keeps keys of up to sample rows of each table.
func gather(ctx context.Context, db *sql.DB, sample int) (*facts, error) {
	f := new(facts)
	for _, pragma := range []string{"application_id", "user_version", "encoding", "page_size", "auto_vacuum"} {
		var value string
		if err := db.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&value); err != nil {
			return nil, err
		}
		f.settings += pragma + "=" + value + " "
	}
	objects, err := query(ctx, db, "SELECT type || ' ' || name || ' on ' || tbl_name || ': ' || coalesce(sql, '') FROM sqlite_schema")
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		f.schema = append(f.schema, object[0].(string))
	}
	slices.Sort(f.schema)

	tables, err := query(ctx, db, `SELECT name, wr FROM pragma_table_list
		WHERE schema = 'main' AND type IN ('table', 'shadow') AND name <> 'sqlite_schema' ORDER BY name`)
	if err != nil {
		return nil, err
	}
	for _, row := range tables {
		t := tableFacts{name: row[0].(string)}
		err := t.read(ctx, db, row[1] == int64(1), sample)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		t.unreadable = err
		f.tables = append(f.tables, t)
	}
	return f, nil
}

// read reads the table. It asks for its values as expressions (+"name"), which
// go-sqlite3 returns as they are stored, whatever the column is declared as.
func (t *tableFacts) read(ctx context.Context, db *sql.DB, withoutRowid bool, sample int) (err error) {
	columns, err := query(ctx, db, "SELECT name, pk FROM pragma_table_xinfo(?) WHERE hidden <> 1", t.name)
	if err != nil {
		return err
	}
	var key, values, names []string
	for _, column := range columns {
		names = append(names, strings.ToLower(column[0].(string)))
		values = append(values, "+"+quote(column[0].(string)))
	}
	if withoutRowid {
		primary := slices.DeleteFunc(columns, func(c []any) bool { return c[1] == int64(0) })
		slices.SortFunc(primary, func(a, b []any) int { return int(a[1].(int64) - b[1].(int64)) })
		for _, column := range primary {
			key = append(key, quote(column[0].(string)))
		}
	} else {
		// A column may have taken one of the names, or all three.
		for _, name := range []string{"rowid", "_rowid_", "oid"} {
			if !slices.Contains(names, name) {
				key = []string{name}
				break
			}
		}
	}
	for i, k := range key {
		values = append(values, "+"+k)
		key[i] = k + " = ?"
	}
	t.where = strings.Join(key, " AND ")

	rows, err := db.QueryContext(ctx, "SELECT "+strings.Join(values, ", ")+" FROM main."+quote(t.name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row, pointers := make([]any, len(values)), make([]any, len(values))
	for i := range row {
		pointers[i] = &row[i]
	}
	sum := sha256.New()
	random := rand.New(rand.NewPCG(1, 2))
	for rows.Next() {
		if err := rows.Scan(pointers...); err != nil {
			return err
		}
		for _, v := range row {
			hashValue(sum, v)
		}
		// A fair sample of rows whose number is not known yet.
		t.rows++
		if len(key) == 0 {
			continue
		}
		if len(t.keys) < sample {
			t.keys = append(t.keys, slices.Clone(row[len(row)-len(key):]))
		} else if i := random.Int64N(t.rows); i < int64(sample) {
			t.keys[i] = slices.Clone(row[len(row)-len(key):])
		}
	}
	sum.Sum(t.sum[:0])
	return rows.Err()
}

// hashValue adds a value so that no two rows that differ look the same.
func hashValue(h hash.Hash, v any) {
	number := func(kind byte, n uint64) {
		h.Write(binary.BigEndian.AppendUint64([]byte{kind}, n))
	}
	switch v := v.(type) {
	case nil:
		number('n', 0)
	case int64:
		number('i', uint64(v))
	case float64:
		number('f', math.Float64bits(v))
	case string:
		number('t', uint64(len(v)))
		_, _ = io.WriteString(h, v) // a hash returns no error
	case []byte:
		number('b', uint64(len(v)))
		h.Write(v)
	default:
		panic(fmt.Sprintf("a value of type %T", v)) // go-sqlite3 has no other for an expression
	}
}

// readable are the tables that could be read, and their rows.
func (f *facts) readable() (tables int, rows int64) {
	for _, t := range f.tables {
		if t.unreadable == nil {
			tables++
			rows += t.rows
		}
	}
	return tables, rows
}

// differences tells in words how another database differs.
func (f *facts) differences(o *facts) (list []string) {
	if f.settings != o.settings {
		list = append(list, "settings were "+f.settings+"and are "+o.settings)
	}
	for _, object := range f.schema {
		if !slices.Contains(o.schema, object) {
			list = append(list, "gone from the schema: "+object)
		}
	}
	for _, object := range o.schema {
		if !slices.Contains(f.schema, object) {
			list = append(list, "new in the schema: "+object)
		}
	}
	others := make(map[string]*tableFacts)
	for i := range o.tables {
		others[o.tables[i].name] = &o.tables[i]
	}
	for _, t := range f.tables {
		switch other := others[t.name]; {
		case other == nil:
			list = append(list, "table "+t.name+" is gone")
		case (t.unreadable == nil) != (other.unreadable == nil):
			list = append(list, fmt.Sprintf("table %s: %v", t.name, errors.Join(t.unreadable, other.unreadable)))
		case t.unreadable != nil:
		case t.rows != other.rows:
			list = append(list, fmt.Sprintf("table %s had %s and has %s", t.name, show.Plural(t.rows, "row"), show.Plural(other.rows, "row")))
		case t.sum != other.sum:
			list = append(list, "table "+t.name+" has other values")
		}
		delete(others, t.name)
	}
	for name := range others {
		list = append(list, "table "+name+" is new")
	}
	return list
}

// query returns all rows of a small result.
func query(ctx context.Context, db *sql.DB, text string, args ...any) (result [][]any, err error) {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		row, pointers := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			pointers[i] = &row[i]
		}
		if err := rows.Scan(pointers...); err != nil {
			return nil, err
		}
		result = append(result, row)
	}
	return result, rows.Err()
}
