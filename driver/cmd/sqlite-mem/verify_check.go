//go:build cgo

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
)

// querier is a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// check checks the main database of q. To show how far it is, it goes table by table.
//
// PRAGMA integrity_check of a table checks its rows, its indexes, and that they agree. What
// that leaves out is about the whole file: the free pages, and that each page is used
// once. PRAGMA quick_check of the whole database has these two. Both together are
// integrity_check of the whole database
// (SQLite 3.54.1, sqlite3-binding.c, case PragTyp_INTEGRITY_CHECK and bPartial).
func (v *verifier) check(ctx context.Context, q querier, where string) error {
	before := len(v.report.Findings)
	c := checked{Where: where}
	var tables []string
	err := eachRow(ctx, q, "SELECT name FROM main.sqlite_schema WHERE type = 'table' ORDER BY name", func(row []string) {
		tables = append(tables, row[0])
	})
	if err == nil {
		err = q.QueryRowContext(ctx, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").Scan(&c.Bytes)
	}
	if err != nil {
		err = v.failed(where, "the schema cannot be read", err)
	}
	c.Tables = len(tables)
	seen := make(map[string]bool)
	for i, table := range append(tables, "sqlite_schema") {
		if err == nil {
			v.progress("%s: integrity of table %s of %s: %s", where, show.Count(i+1), show.Count(len(tables)+1), table)
			err = v.integrity(ctx, q, where, "PRAGMA main.integrity_check("+quote(table)+")", "table "+table, seen)
		}
	}
	if err == nil {
		v.progress("%s: pages of the whole database, %s", where, show.Size(c.Bytes))
		err = v.integrity(ctx, q, where, "PRAGMA main.quick_check", "the whole database", seen)
	}
	for i, table := range tables {
		if err == nil {
			v.progress("%s: foreign keys of table %s of %s: %s", where, show.Count(i+1), show.Count(len(tables)), table)
			err = v.foreignKeys(ctx, q, where, table)
		}
	}
	c.Wrong = len(v.report.Findings) - before
	v.report.Checked = append(v.report.Checked, c)
	return err
}

// integrity runs an integrity check. seen has the rows that are findings already.
func (v *verifier) integrity(ctx context.Context, q querier, where, pragma, what string, seen map[string]bool) error {
	err := eachRow(ctx, q, pragma, func(row []string) {
		for line := range strings.Lines(row[0]) {
			line = strings.TrimSpace(line)
			if line == "ok" || line == "*** in database main ***" || seen[line] {
				continue
			}
			seen[line] = true
			v.wrong(where, "%s", line)
		}
	})
	if err != nil {
		return v.failed(where, what, err)
	}
	return nil
}

// foreignKeys finds the rows of a table that refer to rows which are not there. The rows of
// one foreign key are one finding.
func (v *verifier) foreignKeys(ctx context.Context, q querier, where, table string) error {
	type key struct{ parent, id string }
	counts, first := make(map[key]int), make(map[key][]string)
	var order []key
	err := eachRow(ctx, q, "PRAGMA main.foreign_key_check("+quote(table)+")", func(row []string) {
		k := key{row[2], row[3]}
		if counts[k] == 0 {
			order = append(order, k)
		}
		counts[k]++
		if len(first[k]) < 3 && row[1] != "" { // a table WITHOUT ROWID has none
			first[k] = append(first[k], row[1])
		}
	})
	for _, k := range order {
		rows := ""
		if len(first[k]) > 0 {
			rows = ", first at rowid " + strings.Join(first[k], ", ")
		}
		v.wrong(where, "table %s: %s without the row of %s that foreign key %s names%s", table, show.Plural(counts[k], "row"), k.parent, k.id, rows)
	}
	if err != nil {
		return v.failed(where, "foreign keys of table "+table, err)
	}
	return nil
}

// failed judges the error of a check. One that shows damage is a finding. If this program
// lacks a function, a collation or a module of the database, it is a note. Any other error
// is returned.
func (v *verifier) failed(where, what string, err error) error {
	e, ok := errors.AsType[sqlite3.Error](err)
	if !ok {
		return err
	}
	switch e.Code {
	case sqlite3.ErrCorrupt, sqlite3.ErrNotADB, sqlite3.ErrFormat, sqlite3.ErrIoErr:
		v.wrong(where, "%s: %v", what, err)
	case sqlite3.ErrError:
		if strings.HasPrefix(e.Error(), "foreign key mismatch") || strings.HasPrefix(e.Error(), "malformed") {
			v.wrong(where, "%s: %v", what, err)
		} else {
			v.note("%s: %s was not checked: %v", where, what, err)
		}
	default:
		return fmt.Errorf("%s: %s: %w", where, what, err)
	}
	return nil
}

// eachRow calls f with each row of a query, as texts; NULL is "".
func eachRow(ctx context.Context, q querier, query string, f func(row []string)) (err error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	values, dest, row := make([]sql.NullString, len(names)), make([]any, len(names)), make([]string, len(names))
	for i := range values {
		dest[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		for i, value := range values {
			row[i] = value.String
		}
		f(row)
	}
	return rows.Err()
}
