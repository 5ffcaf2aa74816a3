//go:build cgo

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
)

var queryCommand = command{
	name:     "query",
	operands: "FILE SQL [ARG...]",
	summary:  "run SQL on a database",
	details: `
If a server has FILE in memory, the SQL runs there: it sees every commit, and
its writes wait for their turn. If that server does not answer tools, the file
is read as it was saved last, and a write is refused. With no server the SQL
runs on the file. A line on standard error says which of the first two it was.

Several statements may be given, and the rows of each are shown. The ARGs are
the values of ?, in order; those that are written like numbers are numbers.
Rows are shown in columns, with control characters escaped, NULL as NULL and
blobs as x'0102'. In CSV, NULL is empty; in JSON, one object to a line, a blob
is a string of hexadecimal digits. SQLITE_MEM_DEFAULTS sets parameters of the
connection, such as _foreign_keys=on: see package driver.
`,
	setUp: func(flags *flag.FlagSet) func(context.Context, []string, stdio) error {
		csv := flags.Bool("csv", false, "write the rows as CSV, with a line of names")
		json := flags.Bool("json", false, "write each row as a JSON object, on a line of its own")
		readOnly := flags.Bool("readonly", false, "refuse to write, and leave no FILE.lock")
		saved := savedFlag(flags)
		return func(ctx context.Context, operands []string, std stdio) error {
			switch {
			case len(operands) == 0:
				return usageError("FILE is missing")
			case len(operands) == 1:
				return usageError("SQL is missing")
			case *csv && *json:
				return usageError("-csv and -json exclude each other")
			}
			format := "table"
			switch {
			case *csv:
				format = "csv"
			case *json:
				format = "json"
			}
			return query(ctx, operands[0], operands[1], operands[2:], access{saved: *saved, readOnly: *readOnly}, formatNamed(format), std)
		}
	},
}

func query(ctx context.Context, name, text string, args []string, how access, format format, std stdio) (err error) {
	db, err := openTarget(name, how)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	v, _, err := db.view(ctx)
	if err != nil {
		return err
	}
	if v.word() != "file" {
		if err := say(std.err, "sqlite-mem: %s: %s\n", db.path, v.sentence()); err != nil {
			return err
		}
	}
	conn, err := db.Conn(ctx) // one, so that BEGIN and COMMIT work
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()

	out := bufio.NewWriter(std.out)
	defer func() { err = errors.Join(err, out.Flush()) }() // what there was before an error, too
	w := format.to(out, isTerminal(std.out))
	var values []any
	for _, arg := range args {
		values = append(values, value(arg))
	}
	for _, statement := range statements(text) {
		n := parameters(statement)
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

// value returns the value of an argument. It is a number only if it is written
// as SQLite writes numbers. So nothing is lost if the column stores it as text.
func value(arg string) any {
	if n, err := strconv.ParseInt(arg, 10, 64); err == nil && strconv.FormatInt(n, 10) == arg {
		return n
	}
	if f, err := strconv.ParseFloat(arg, 64); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == arg && strings.Contains(arg, ".") {
		return f
	}
	return arg
}
