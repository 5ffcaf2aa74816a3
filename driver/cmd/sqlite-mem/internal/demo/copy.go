//go:build cgo

package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// anyDatabase is a copy of somebody's database, whatever its schema. Reading
// is from its own tables; writing to a table that is added, so that no
// constraint or trigger is touched.
type anyDatabase struct {
	original *facts  // what was in it
	table    string  // the one that is added
	reads    []fetch // of rows that are there
	db       *sql.DB
	workers  []*anyWorker
}

// fetch is a query for one row.
type fetch struct {
	query string
	args  []any
}

const (
	addedTable = "demo_counters" // names that begin with sqlite_ are SQLite's
	counters   = 1000            // its rows; and row 0, which counts the transactions
	samples    = 1000            // keys of each table
)

func (a *anyDatabase) transactions() string { return "transactions" }

// sideFiles are what SQLite keeps beside a database and needs to open it.
var sideFiles = []string{"-wal", "-journal"}

// copyFile copies the user's database and looks at what is in it.
func (d *demonstration) copyFile(ctx context.Context) error {
	source, err := osfile.Resolve(d.File)
	if err != nil {
		return fmt.Errorf("%s: %w", d.File, err)
	}
	d.path = filepath.Join(d.dir, filepath.Base(source))
	start := time.Now()
	sides, err := copyDatabase(ctx, source, d.path)
	if err != nil {
		return err
	}
	info, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	if free := available(); free > 0 && info.Size() > free {
		return fmt.Errorf("%s has %s, and %s of memory are free", d.File, show.Size(info.Size()), show.Size(free))
	}
	beside := ""
	if len(sides) > 0 {
		beside = ", and its " + strings.Join(sides, " and ")
	}
	d.Line("%-9s %s,", "copy", d.File)
	d.Line("%-9s %s%s, in %s; the copy is used from here on", "", show.Size(info.Size()), beside, show.Duration(time.Since(start)))
	d.report.what = "a copy of " + filepath.Base(d.File)

	// SQLite may have to recover the file before it can read it. So it reads another copy.
	look, params := d.path, "mode=ro&immutable=1"
	if len(sides) > 0 {
		dir, err := os.MkdirTemp(d.dir, "look-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }() // what is left goes with d.dir
		look, params = filepath.Join(dir, filepath.Base(source)), "mode=rw"
		if _, err := copyDatabase(ctx, source, look); err != nil {
			return err
		}
	}
	file, err := openPlain(look, params)
	if err != nil {
		return err
	}
	a := &anyDatabase{}
	a.original, err = gather(ctx, file, samples)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("%s: %w", d.File, err)
	}
	d.workload = a
	a.plan()
	tables, rows := a.original.readable()
	d.Line("%-9s %s in the schema, %s in %s", "look", show.Plural(len(a.original.schema), "object"),
		show.Plural(rows, "row"), show.Plural(tables, "table"))
	for _, t := range a.original.tables {
		if t.unreadable != nil {
			d.Line("%-9s left out: %s (%v)", "", t.name, t.unreadable)
		}
	}
	return nil
}

// copyDatabase copies a database and its side files. It fails if somebody
// writes to them meanwhile, or if there is something in the way.
func copyDatabase(ctx context.Context, source, target string) (sides []string, err error) {
	const attempts = 3
	for range attempts {
		before, err := fingerprint(source)
		if err != nil {
			return nil, err
		}
		sides = nil
		for _, suffix := range append([]string{""}, sideFiles...) {
			err := copyOne(ctx, source+suffix, target+suffix)
			switch {
			case err == nil && suffix != "":
				sides = append(sides, suffix)
			case errors.Is(err, fs.ErrNotExist) && suffix != "":
			case err != nil:
				return nil, err
			}
		}
		after, err := fingerprint(source)
		if err != nil {
			return nil, err
		}
		if before == after {
			return sides, nil
		}
		for _, suffix := range append([]string{""}, sideFiles...) {
			if err := os.Remove(target + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return nil, fmt.Errorf("%s is being written to, so that no copy of it is whole; stop the program that does", source)
}

// fingerprint changes when somebody writes to a database.
func fingerprint(path string) (string, error) {
	print := ""
	for _, suffix := range append([]string{""}, sideFiles...) {
		info, err := os.Stat(path + suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist) && suffix != "":
			print += "-;"
		case err != nil:
			return "", err
		case !info.Mode().IsRegular():
			return "", fmt.Errorf("%s is not a file", path+suffix)
		default:
			print += fmt.Sprintf("%d %s;", info.Size(), info.ModTime().Format(time.RFC3339Nano))
		}
	}
	return print, nil
}

func copyOne(ctx context.Context, source, target string) (err error) {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for ctx.Err() == nil {
		if _, err := io.CopyN(out, in, 64<<20); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
	return ctx.Err()
}

// plan makes the queries for rows of its tables.
func (a *anyDatabase) plan() {
	for _, t := range a.original.tables {
		if t.unreadable != nil {
			continue
		}
		for _, key := range t.keys {
			a.reads = append(a.reads, fetch{"SELECT * FROM main." + quote(t.name) + " WHERE " + t.where, key})
		}
	}
	if len(a.reads) == 0 { // a database without rows, or without tables
		a.reads = []fetch{{"SELECT count(*) FROM sqlite_schema", nil}}
	}
	// A name that is free.
	a.table = addedTable
	for i := 2; a.taken(a.table); i++ {
		a.table = fmt.Sprintf("%s_%d", addedTable, i)
	}
}

func (a *anyDatabase) taken(name string) bool {
	for _, object := range a.original.schema {
		_, rest, _ := strings.Cut(object, " ")
		if strings.HasPrefix(strings.ToLower(rest), name+" on ") {
			return true
		}
	}
	return false
}

func (a *anyDatabase) prepare(ctx context.Context, db *sql.DB, n int) error {
	a.db = db
	_, err := db.ExecContext(ctx, `BEGIN;
		CREATE TABLE main.`+a.table+` (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
		WITH RECURSIVE ids(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM ids WHERE id < ?)
		INSERT INTO main.`+a.table+` SELECT id, 0 FROM ids;
		COMMIT`, counters)
	if err != nil {
		return err
	}
	for i := range n {
		a.workers = append(a.workers, &anyWorker{
			anyDatabase: a,
			random:      newRandom(1000 + i),
			add:         "UPDATE main." + a.table + " SET n = n + 1 WHERE id = ?",
		})
	}
	return nil
}

func (a *anyDatabase) worker(i int) worker { return a.workers[i] }

type anyWorker struct {
	*anyDatabase
	random *rand.Rand
	add    string // SQL

	// Counts of what is committed.
	writes, transacted int64
}

// read fetches a row, with all of its columns.
func (w *anyWorker) read(ctx context.Context) error { return w.fetch(ctx, w.db) }

type querier interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}

func (w *anyWorker) fetch(ctx context.Context, q querier) (err error) {
	f := w.reads[w.random.IntN(len(w.reads))]
	rows, err := q.QueryContext(ctx, f.query, f.args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	n := 0
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("%s with %v: %s, not 1", f.query, f.args, show.Plural(n, "row"))
	}
	return nil
}

func (w *anyWorker) write(ctx context.Context) error {
	_, err := w.db.ExecContext(ctx, w.add, 1+w.random.IntN(counters))
	if err == nil {
		w.writes++
	}
	return err
}

// transaction reads three rows and adds to two counters.
func (w *anyWorker) transaction(ctx context.Context) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	for range 3 {
		if err := w.fetch(ctx, tx); err != nil {
			return err
		}
	}
	for _, id := range []int{0, 1 + w.random.IntN(counters)} {
		if _, err := tx.ExecContext(ctx, w.add, id); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	w.transacted++
	return nil
}

func (a *anyDatabase) verify(ctx context.Context, file *sql.DB, progress func(string)) ([]finding, error) {
	var writes, transacted, inFile, transactedInFile int64
	for _, w := range a.workers {
		writes += w.writes
		transacted += w.transacted
	}
	err := file.QueryRowContext(ctx, "SELECT coalesce(sum(n) FILTER (WHERE id > 0), 0), coalesce(sum(n) FILTER (WHERE id = 0), 0) FROM main."+a.table).
		Scan(&inFile, &transactedInFile)
	if err != nil {
		return nil, err
	}
	findings := []finding{{
		writes+transacted == inFile && transacted == transactedInFile,
		fmt.Sprintf("%s and %s by the workers' count,\n%s and %s in the file",
			show.Plural(writes, "write"), show.Plural(transacted, "transaction"), show.Count(inFile-transactedInFile), show.Count(transactedInFile)),
	}}
	progress("comparing every row with the original")
	if _, err := file.ExecContext(ctx, "DROP TABLE main."+a.table); err != nil {
		return nil, err
	}
	now, err := gather(ctx, file, 0)
	if err != nil {
		return nil, err
	}
	differences := a.original.differences(now)
	tables, rows := now.readable()
	text := fmt.Sprintf("schema, settings and all %s of %s are\nas in the original", show.Plural(rows, "row"), show.Plural(tables, "table"))
	if len(differences) > 0 {
		text = "not as in the original: " + strings.Join(differences, "\n")
	}
	return append(findings, finding{len(differences) == 0, text}), nil
}
