//go:build cgo

package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
)

var queryCommand = command{
	name:     "query",
	operands: "FILE SQL [ARG...]",
	summary:  "run SQL on a database file",
	details: `
It works on the file itself, in the role of a tool. Beside a server it reads
what the server has saved last, and may not write. With no server it may write.
Each transaction that writes shares the lock on FILE.lock, which stays as an
empty file. A server that starts meanwhile waits for the transaction to end.

Several statements may be given, and the rows of each are shown. The ARGs are
the values of ?, in order; those that are written like numbers are numbers.
Rows are shown in columns, with control characters escaped, NULL as NULL and
blobs as x'0102'. In CSV, NULL is empty; in JSON, one object to a line, a blob
is a string of hexadecimal digits.
`,
	setUp: func(flags *flag.FlagSet) func(context.Context, []string, io.Writer) error {
		csv := flags.Bool("csv", false, "write the rows as CSV, with a line of names")
		json := flags.Bool("json", false, "write each row as a JSON object, on a line of its own")
		readOnly := flags.Bool("readonly", false, "refuse to write, and leave no FILE.lock")
		return func(ctx context.Context, operands []string, stdout io.Writer) error {
			switch {
			case len(operands) == 0:
				return usageError("FILE is missing")
			case len(operands) == 1:
				return usageError("SQL is missing")
			case *csv && *json:
				return usageError("-csv and -json exclude each other")
			}
			format := newColumns
			switch {
			case *csv:
				format = newCSV
			case *json:
				format = newJSON
			}
			return queryFile(ctx, operands[0], operands[1], operands[2:], *readOnly, format, stdout)
		}
	},
}

// openTool opens a file that exists in the role of a tool, whatever the role of
// the process.
func openTool(path string, params map[string]string) (*sql.DB, error) {
	// The driver would not make one either, but say so in other words when a
	// server owns a file that it has not saved yet.
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	connector, err := driver.NewConnector(&driver.Config{
		Path:   path,
		Direct: true,
		Params: params,
	})
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// rowWriter writes the rows of one statement after the other.
type rowWriter interface {
	begin(columns []string) error
	row(values []any) error
	end() error
}

func queryFile(ctx context.Context, path, text string, args []string, readOnly bool, format func(io.Writer) rowWriter, stdout io.Writer) (err error) {
	mode := "rw"
	if readOnly {
		mode = "ro"
	}
	db, err := openTool(path, map[string]string{"mode": mode})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx) // one, so that BEGIN and COMMIT work
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()

	out := bufio.NewWriter(stdout)
	defer func() { err = errors.Join(err, out.Flush()) }() // what there was before an error, too
	w := format(out)
	var values []any
	for _, arg := range args {
		values = append(values, value(arg))
	}
	for _, statement := range statements(text) {
		n, err := parameters(conn, statement)
		if err != nil {
			return err
		}
		if n > len(values) {
			return fmt.Errorf("%s for %d of ? and %s left: %s", show.Plural(n, "value"), n, show.Plural(len(values), "argument"), statement)
		}
		if err := runStatement(ctx, conn, statement, values[:n], w); err != nil {
			return err
		}
		values = values[n:]
	}
	if len(values) > 0 {
		return fmt.Errorf("%s without a ? in the SQL", show.Plural(len(values), "argument"))
	}
	return nil
}

// value is the value of an argument: a number if it is written as SQLite writes
// numbers, so that nothing is lost where it is text after all.
func value(arg string) any {
	if n, err := strconv.ParseInt(arg, 10, 64); err == nil && strconv.FormatInt(n, 10) == arg {
		return n
	}
	if f, err := strconv.ParseFloat(arg, 64); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == arg && strings.Contains(arg, ".") {
		return f
	}
	return arg
}

// parameters is the number of values that a statement wants.
func parameters(conn *sql.Conn, statement string) (n int, err error) {
	err = conn.Raw(func(c any) error {
		s, err := c.(driver.RawConn).Raw().Prepare(statement)
		if err != nil {
			return err
		}
		n = s.NumInput()
		return s.Close()
	})
	return n, err
}

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

// converted reports whether go-sqlite3 makes times or booleans of some column,
// by what it is declared as, instead of returning what is stored: a text that
// it does not take for a time would become the year 1.
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
