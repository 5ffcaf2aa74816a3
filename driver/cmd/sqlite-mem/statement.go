//go:build cgo

package main

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
)

// runStatement runs a statement and writes its rows.
func runStatement(ctx context.Context, conn *sql.Conn, statement string, args []any, w rowWriter) (err error) {
	rows, err := conn.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	if converted(types) && readsOnly(statement) {
		if err := rows.Close(); err != nil {
			return err
		}
		again, err := conn.QueryContext(ctx, unconverted(statement, len(columns)), args...)
		if err != nil {
			return err
		}
		rows = again // what is closed in the end
	}
	return writeRows(rows, columns, w)
}

// writeRows writes rows under the names of their columns.
func writeRows(rows *sql.Rows, columns []string, w rowWriter) error {
	if len(columns) > 0 {
		if err := w.begin(columns); err != nil {
			return err
		}
	}
	row, pointers := make([]any, len(columns)), make([]any, len(columns))
	for i := range row {
		pointers[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(pointers...); err != nil {
			return err
		}
		if err := w.row(row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil || len(columns) == 0 {
		return err
	}
	return w.end()
}

// converted reports whether go-sqlite3 converts a column to times or booleans,
// because of the column's declared type. A text that it does not take for a
// time would become the year 1.
func converted(types []*sql.ColumnType) bool {
	for _, t := range types {
		switch strings.ToLower(t.DatabaseTypeName()) {
		case "timestamp", "datetime", "date", "boolean":
			return true
		}
	}
	return false
}

// unconverted makes expressions of the columns of a query: these are not
// declared as anything.
func unconverted(statement string, columns int) string {
	var names, values []string
	for i := range columns {
		names = append(names, "c"+strconv.Itoa(i))
		values = append(values, "+c"+strconv.Itoa(i))
	}
	// The line's end, because the statement may end in a comment.
	return "WITH sqlite_mem_rows(" + strings.Join(names, ", ") + ") AS (" + statement + "\n) SELECT " +
		strings.Join(values, ", ") + " FROM sqlite_mem_rows"
}
