//go:build cgo

package driver_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// source makes a database file with plain SQLite, and returns its name.
func source(t testing.TB, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source.db")
	db := testdb.Plain(t, path)
	for _, q := range statements {
		testdb.Exec(t, db, q)
	}
	require.NoError(t, db.Close())
	return path
}

// Ensure that a restore replaces the whole database, for every connection, and that it is
// durable on return. A transaction and rows that have begun before finish on the old database.
func TestRestore(t *testing.T) {
	for _, params := range []string{":memory:", "PATH?sqlite_wal=off", "PATH?sqlite_sync_interval=1h", "PATH?sqlite_wal=commit&sqlite_sync_interval=1h"} {
		for _, stream := range []bool{false, true} {
			if stream && strings.Contains(params, "_wal") {
				continue
			}
			t.Run(fmt.Sprintf("%s/stream=%v", params, stream), func(t *testing.T) {
				path := testdb.Path(t)
				db := testdb.Open(t, strings.Replace(params, "PATH", path, 1))
				testdb.Exec(t, db, "CREATE TABLE plain(x); CREATE TABLE gone(x); INSERT INTO gone VALUES(1), (2); INSERT INTO plain VALUES('old')")
				from := source(t, schema)
				read, err := os.ReadFile(from)
				require.NoError(t, err)

				stmt, err := db.Prepare("SELECT count(*) FROM plain")
				require.NoError(t, err)
				defer stmt.Close()
				tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
				require.NoError(t, err)
				rows, err := db.Query("SELECT x FROM gone")
				require.NoError(t, err)
				require.True(t, rows.Next())
				conn, err := db.Conn(ctx)
				require.NoError(t, err)
				version := testdb.Text(t, oneConn{conn}, "PRAGMA data_version")
				changes := testdb.Text(t, oneConn{conn}, "SELECT total_changes()")

				if stream {
					err = driver.RestoreFrom(ctx, db, iotest.HalfReader(bytes.NewReader(read)), nil)
				} else {
					err = driver.Restore(ctx, db, from, nil)
				}
				require.NoError(t, err)

				require.Equal(t, "1", testdb.Text(t, tx, "SELECT count(*) FROM plain"))
				require.Equal(t, "2", testdb.Text(t, tx, "SELECT count(*) FROM gone"))
				require.NoError(t, tx.Rollback())
				require.True(t, rows.Next())
				require.False(t, rows.Next())
				require.NoError(t, rows.Err())
				require.NoError(t, rows.Close())
				require.NotEqual(t, version, testdb.Text(t, oneConn{conn}, "PRAGMA data_version"))
				require.Equal(t, changes, testdb.Text(t, oneConn{conn}, "SELECT total_changes()"))
				require.NoError(t, conn.Close())
				require.Equal(t, dump(t, testdb.Plain(t, from)), dump(t, db))
				var n int
				require.NoError(t, stmt.QueryRow().Scan(&n))
				require.Equal(t, 2, n)
				_, err = db.Exec("SELECT * FROM gone")
				require.ErrorContains(t, err, "no such table: gone")
				st, err := driver.ReadStats(db)
				require.NoError(t, err)
				require.Equal(t, uint64(1), st.Restores)
				require.Zero(t, st.Unlogged)
				now, err := os.ReadFile(from)
				require.NoError(t, err)
				require.True(t, bytes.Equal(read, now), "the source does not change")
				if params == ":memory:" {
					return
				}
				require.Zero(t, st.Unsaved)
				copied := testdb.Plain(t, testdb.CrashCopy(t, path))
				require.Equal(t, dump(t, db), dump(t, copied))
				testdb.Exec(t, db, "INSERT INTO plain VALUES('later')")
				testdb.Close(t, db)
				require.Equal(t, "1", testdb.Text(t, testdb.Open(t, path), "SELECT count(*) FROM plain WHERE x='later'"))
			})
		}
	}
}

// oneConn is a connection as testdb.Text wants it.
type oneConn struct{ *sql.Conn }

func (c oneConn) QueryRow(query string, args ...any) *sql.Row {
	return c.QueryRowContext(context.Background(), query, args...)
}

// Ensure that a statement that was prepared before never returns the rows of another table,
// however the schema cookies and the root pages of old and new database agree. The plain file
// has the cookie that the old database has, and its tables in each other's pages.
func TestRestore_cookie(t *testing.T) {
	const a, b = "CREATE TABLE a(x); INSERT INTO a VALUES('a')", "CREATE TABLE b(x); INSERT INTO b VALUES('b')"
	db := testdb.Open(t, ":memory:")
	db.SetMaxOpenConns(1)
	testdb.Exec(t, db, a)
	testdb.Exec(t, db, b)
	stmt, err := db.Prepare("SELECT x FROM a")
	require.NoError(t, err)
	defer stmt.Close()
	for i := range 6 {
		from := source(t, b, a)
		if i%2 > 0 {
			from = source(t, a, b)
		}
		testdb.Exec(t, testdb.Plain(t, from), "PRAGMA schema_version="+testdb.Text(t, db, "PRAGMA schema_version"))
		if i >= 3 {
			testdb.Exec(t, db, fmt.Sprintf("PRAGMA schema_version=%d", i))
		}
		require.NoError(t, driver.Restore(ctx, db, from, nil))
		var x string
		require.NoError(t, stmt.QueryRow().Scan(&x))
		require.Equal(t, "a", x)
		require.Equal(t, "b", testdb.Text(t, db, "SELECT x FROM b"))
	}
}

// Ensure that nothing fails in a pool at work while databases of other encodings, page sizes and
// vacuum modes are restored: not a read, not a write, not a transaction, not a prepared
// statement, and no statement runs twice.
func TestRestore_underLoad(t *testing.T) {
	const insert = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<300) INSERT INTO t SELECT i, 'é'||i FROM c; INSERT INTO sum VALUES(300)"
	const create = "CREATE TABLE t(i INTEGER PRIMARY KEY, x TEXT COLLATE NOCASE); CREATE INDEX tx ON t(x); CREATE TABLE sum(n);" + insert
	var sources []string
	for i, pragmas := range []string{
		"PRAGMA encoding='UTF-16le'; PRAGMA page_size=1024", "PRAGMA encoding='UTF-8'; PRAGMA page_size=8192; PRAGMA auto_vacuum=FULL",
		"PRAGMA encoding='UTF-16be'", "PRAGMA encoding='UTF-16be'; PRAGMA page_size=65536; PRAGMA auto_vacuum=INCREMENTAL", "PRAGMA page_size=512",
	} {
		sources = append(sources, source(t, pragmas+";"+create+fmt.Sprintf("; CREATE TABLE number%d(x)", i)))
	}
	path := testdb.Path(t)
	db := testdb.Open(t, path)
	testdb.Exec(t, db, create)
	stmt, err := db.Prepare("SELECT count(*), (SELECT n FROM sum) FROM t WHERE x>=''")
	require.NoError(t, err)
	defer stmt.Close()

	var stop atomic.Bool
	var wg sync.WaitGroup
	same := func(row *sql.Row) error {
		var n, sum int
		err := row.Scan(&n, &sum)
		if err == nil && n != sum {
			err = fmt.Errorf("%d rows, not %d", n, sum)
		}
		return err
	}
	work := []func() error{
		func() error { return same(stmt.QueryRow()) },
		func() error { return same(db.QueryRow("SELECT count(*), (SELECT n FROM sum) FROM t")) },
		func() error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			for _, q := range []string{"INSERT INTO t VALUES(NULL, 'more')", "UPDATE sum SET n=n+1"} {
				if _, err := tx.Exec(q); err != nil {
					return errors.Join(err, tx.Rollback())
				}
			}
			if err := same(tx.QueryRow("SELECT count(*), (SELECT n FROM sum) FROM t")); err != nil {
				return errors.Join(err, tx.Rollback())
			}
			return tx.Commit()
		},
		func() error {
			_, err := db.Exec("BEGIN IMMEDIATE; INSERT INTO t VALUES(NULL, 'é'); UPDATE sum SET n=n+1; COMMIT")
			return err
		},
		func() error {
			_, err := db.Exec("UPDATE t SET x='ü'||i WHERE i%7=0")
			return err
		},
		func() error {
			tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
			if err != nil {
				return err
			}
			for range 3 {
				if err := same(tx.QueryRow("SELECT count(*), (SELECT n FROM sum) FROM t")); err != nil {
					return errors.Join(err, tx.Rollback())
				}
			}
			return tx.Commit()
		},
	}
	for _, f := range work {
		wg.Go(func() {
			for !stop.Load() {
				if err := f(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 12 {
		require.NoError(t, driver.Restore(ctx, db, sources[i%len(sources)], nil))
		require.Equal(t, "0", testdb.Text(t, db, fmt.Sprintf("SELECT count(*) FROM number%d", i%len(sources))))
		require.Equal(t, "ok", testdb.Text(t, db, "PRAGMA integrity_check"))
	}
	stop.Store(true)
	wg.Wait()
}

// Ensure that a connection that is kept for the next user is not given out after a restore with
// another encoding, and that one in a transaction finishes that first.
func TestRestore_retires(t *testing.T) {
	utf16 := source(t, "PRAGMA encoding='UTF-16le'; CREATE TABLE t(x); INSERT INTO t VALUES('new')")
	db := testdb.Open(t, ":memory:")
	db.SetMaxIdleConns(0)
	testdb.Exec(t, db, "CREATE TABLE t(x); INSERT INTO t VALUES('old')")
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Positive(t, st.Kept)
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	_, err = conn.ExecContext(ctx, "BEGIN")
	require.NoError(t, err)
	require.Equal(t, "old", testdb.Text(t, oneConn{conn}, "SELECT x FROM t"))

	require.NoError(t, driver.Restore(ctx, db, utf16, nil))
	require.Equal(t, "new", testdb.Text(t, db, "SELECT x FROM t"))
	require.Equal(t, "UTF-16le", testdb.Text(t, db, "PRAGMA encoding"))
	require.Equal(t, "old", testdb.Text(t, oneConn{conn}, "SELECT x FROM t"))
	_, err = conn.ExecContext(ctx, "COMMIT")
	require.NoError(t, err)
	require.NoError(t, conn.Raw(func(c any) error {
		raw := c.(driver.RawConn).Raw()
		if _, err := raw.ExecContext(ctx, "BEGIN IMMEDIATE", nil); err == nil {
			_, err = raw.ExecContext(ctx, "ROLLBACK", nil)
			require.NoError(t, err)
		}
		return nil
	}))
	testdb.Exec(t, db, "INSERT INTO t VALUES('written')") // nobody has the write lock
	_, err = conn.ExecContext(ctx, "SELECT x FROM t")
	require.ErrorContains(t, err, "bad connection")
	_ = conn.Close()
	require.NoError(t, driver.Restore(ctx, db, utf16, nil))
	require.Equal(t, "new", testdb.Text(t, db, "SELECT x FROM t"))
}

// Ensure that a restore with another encoding that fails in its last step leaves every connection
// usable, also one that has the database attached. The limit of the memory is reached while the
// restore waits for the write lock.
func TestRestore_failedKeepsConnections(t *testing.T) {
	const row = "INSERT INTO t VALUES(randomblob(700000))"
	utf16 := source(t, "PRAGMA encoding='UTF-16le'; CREATE TABLE t(x); INSERT INTO t VALUES(randomblob(900000))")
	db, other := testdb.Open(t, testdb.Path(t)+"?sqlite_max_memory=1MiB&sqlite_sync_interval=never"), testdb.Open(t, testdb.Path(t))
	testdb.Exec(t, db, "CREATE TABLE t(x); "+row)
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	conns := map[string]*sql.Conn{}
	for name, from := range map[string]*sql.DB{"idle": db, "reader": db, "writer": db, "attached": other} {
		conns[name], err = from.Conn(ctx)
		require.NoError(t, err)
		defer conns[name].Close()
	}
	run := func(name, query string) {
		t.Helper()
		_, err := conns[name].ExecContext(ctx, query)
		require.NoError(t, err, name)
	}
	const count = "SELECT count(*) FROM t"
	run("attached", "ATTACH '"+st.Path+"' AS a")
	run("reader", "BEGIN")
	require.Equal(t, "1", testdb.Text(t, oneConn{conns["reader"]}, count))
	run("writer", "BEGIN IMMEDIATE")
	done := make(chan error)
	go func() { done <- driver.Restore(ctx, db, utf16, nil) }()
	eventually(t, func() bool {
		st, err := driver.ReadStats(db)
		return err == nil && st.WriterQueue == 1
	})
	run("writer", "DELETE FROM t; "+row)
	run("writer", "COMMIT")
	require.Equal(t, sqlite3.ErrFull, code(<-done))
	run("reader", "COMMIT")
	for name, c := range conns {
		require.Equal(t, "1", testdb.Text(t, oneConn{c}, count), name)
		run(name, "INSERT INTO t VALUES('more'); DELETE FROM t WHERE x='more'")
	}
	require.NoError(t, driver.Restore(ctx, db, utf16, nil))
	for name, c := range conns {
		_, err := c.ExecContext(ctx, count)
		require.ErrorContains(t, err, "bad connection", name)
	}
}

// Ensure that a database that is attached to a connection can be restored like any other.
func TestRestore_attached(t *testing.T) {
	utf16 := source(t, "PRAGMA encoding='UTF-16le'; CREATE TABLE t(x); INSERT INTO t VALUES('utf16')")
	utf8 := source(t, "PRAGMA page_size=512; CREATE TABLE t(x); INSERT INTO t VALUES('utf8')")
	a, b := testdb.Open(t, testdb.Path(t)), testdb.Open(t, testdb.Path(t))
	a.SetMaxOpenConns(1)
	testdb.Exec(t, b, "CREATE TABLE t(x); INSERT INTO t VALUES('old')")
	st, err := driver.ReadStats(b)
	require.NoError(t, err)
	attach := func() { testdb.Exec(t, a, "ATTACH '"+st.Path+"' AS b") }
	attach()
	require.Equal(t, "old", testdb.Text(t, a, "SELECT x FROM b.t"))
	require.NoError(t, driver.Restore(ctx, b, utf8, nil))
	require.Equal(t, "utf8", testdb.Text(t, a, "SELECT x FROM b.t"))
	testdb.Exec(t, a, "BEGIN; CREATE TABLE main.n(x); INSERT INTO b.t VALUES(1); COMMIT")
	require.NoError(t, driver.Restore(ctx, b, utf16, nil))
	_, err = a.Exec("SELECT x FROM b.t")
	require.ErrorContains(t, err, "no such table: b.t", "another connection, without the attachment")
	require.Equal(t, "0", testdb.Text(t, a, "SELECT count(*) FROM n"))
	require.NoError(t, driver.Restore(ctx, b, utf8, nil))
	attach()
	require.Equal(t, "utf8", testdb.Text(t, a, "SELECT x FROM b.t"))
}

// Ensure that the state that a restore replaces is kept with all its commits, saved or not: by
// sqlite_keep, and under a name that was asked for.
func TestRestore_keeps(t *testing.T) {
	from := source(t, "CREATE TABLE new(x)")
	for _, wal := range []string{"off", "commit"} {
		path := testdb.Path(t)
		db := testdb.Open(t, path+"?sqlite_keep=2&sqlite_sync_interval=1h&sqlite_wal="+wal)
		testdb.Exec(t, db, "CREATE TABLE t(x); INSERT INTO t VALUES(1)")
		require.NoError(t, driver.Sync(ctx, db))
		testdb.Exec(t, db, "INSERT INTO t VALUES(2)")
		old := dump(t, db)
		keep := filepath.Join(t.TempDir(), "before.db")
		require.NoError(t, driver.Restore(ctx, db, from, &driver.RestoreOptions{Keep: keep}))
		for _, name := range []string{keep, path + ".kept-1"} {
			require.Equal(t, old, dump(t, testdb.Plain(t, testdb.CrashCopy(t, name))))
		}
		// Back again, from the kept state itself.
		require.NoError(t, driver.Restore(ctx, db, path+".kept-1", nil))
		require.Equal(t, old, dump(t, db))
		require.Equal(t, dump(t, testdb.Plain(t, from)), dump(t, testdb.Plain(t, testdb.CrashCopy(t, path+".kept-1"))))

		err := driver.Restore(ctx, db, from, &driver.RestoreOptions{Keep: keep})
		require.ErrorIs(t, err, os.ErrExist)
		require.Equal(t, old, dump(t, db), "nothing is restored")
	}
}

// Ensure that what cannot be restored is refused by name, and changes nothing: neither the
// database nor what was to be restored.
func TestRestore_refused(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=off&sqlite_max_memory=1MiB")
	testdb.Exec(t, db, "CREATE TABLE t(x); INSERT INTO t VALUES('old')")
	require.NoError(t, driver.Sync(ctx, db))
	good := source(t, "CREATE TABLE t(x); INSERT INTO t VALUES('new')", "INSERT INTO t VALUES(zeroblob(20000))")
	content, err := os.ReadFile(good)
	require.NoError(t, err)
	write := func(b []byte, beside ...string) string {
		path := filepath.Join(t.TempDir(), "source.db")
		require.NoError(t, os.WriteFile(path, b, 0o600))
		for i := 0; i < len(beside); i += 2 {
			require.NoError(t, os.WriteFile(path+beside[i], []byte(beside[i+1]), 0o600))
		}
		return path
	}
	corrupt := bytes.Clone(content)
	for i := 4096; i < 4200; i++ {
		corrupt[i] = 0xff
	}
	served := testdb.Path(t)
	testdb.Exec(t, testdb.Open(t, served), "CREATE TABLE t(x)")
	logged := testdb.Path(t)
	logs := testdb.Open(t, logged+"?sqlite_wal=commit")
	testdb.Exec(t, logs, "CREATE TABLE t(x)")
	require.NoError(t, driver.Sync(ctx, logs))
	testdb.Exec(t, logs, "INSERT INTO t VALUES(1)")
	for name, tt := range map[string]struct {
		path string
		is   error
		text string
	}{
		"missing":        {path: filepath.Join(t.TempDir(), "missing.db"), is: os.ErrNotExist, text: "missing.db"},
		"a directory":    {path: t.TempDir(), is: snapshot.ErrNotAFile},
		"no database":    {path: write([]byte(strings.Repeat("hello ", 1000))), is: snapshot.ErrNotADatabase, text: "source.db"},
		"short":          {path: write(content[:50]), is: snapshot.ErrTruncated},
		"cut":            {path: write(content[:len(content)-4096]), is: snapshot.ErrTruncated},
		"corrupt":        {path: write(corrupt), is: snapshot.ErrCorrupt, text: "source.db"},
		"hot journal":    {path: write(content, "-journal", "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"+strings.Repeat("x", 600)), is: snapshot.ErrSideFile, text: "-journal"},
		"a wal":          {path: write(content, "-wal", strings.Repeat("x", 100)), is: snapshot.ErrSideFile, text: "-wal"},
		"a log":          {path: testdb.CrashCopy(t, logged), is: snapshot.ErrSideFile, text: "sqlite-mem recover"},
		"served":         {path: served, text: "process"},
		"the file":       {path: path, text: "process"},
		"too large":      {path: source(t, "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(2000000))"), text: "sqlite_max_memory"},
		"a later format": {path: write(append(append(bytes.Clone(content[:18]), 3, 3), content[20:]...)), is: snapshot.ErrNotADatabase},
	} {
		t.Run(name, func(t *testing.T) {
			alone := filepath.Base(tt.path) == "source.db"
			before := map[string]string{}
			if alone {
				before = dirContents(t, filepath.Dir(tt.path))
			}
			err := driver.Restore(ctx, db, tt.path, nil)
			require.Error(t, err)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			require.ErrorContains(t, err, tt.text)
			if alone {
				require.Equal(t, before, dirContents(t, filepath.Dir(tt.path)))
			}
			require.Equal(t, "old", testdb.Text(t, db, "SELECT x FROM t"))
		})
	}
	for name, r := range map[string]io.Reader{
		"short":            bytes.NewReader(content[:50]),
		"cut":              bytes.NewReader(content[:len(content)-1]),
		"text":             strings.NewReader(strings.Repeat("hello ", 1000)),
		"corrupt":          bytes.NewReader(corrupt),
		"wrong at its end": io.MultiReader(bytes.NewReader(content), iotest.ErrReader(errors.New("wrong checksum"))),
		"failing":          io.MultiReader(bytes.NewReader(content[:9000]), iotest.ErrReader(errors.New("the line is cut"))),
	} {
		t.Run("stream "+name, func(t *testing.T) {
			err := driver.RestoreFrom(ctx, db, r, nil)
			require.Error(t, err)
			if name == "failing" {
				require.ErrorContains(t, err, "the line is cut")
			}
			require.Equal(t, "old", testdb.Text(t, db, "SELECT x FROM t"))
		})
	}
	require.Equal(t, sqlite3.ErrFull, code(driver.Restore(ctx, db, source(t, "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(2000000))"), nil)))
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Zero(t, st.Restores)
	require.Zero(t, st.Unsaved)

	other, err := sql.Open("sqlite3", ":memory:")
	require.NoError(t, err)
	require.ErrorIs(t, driver.Restore(ctx, other, good, nil), driver.ErrNotOurs)
	require.NoError(t, other.Close())
	testdb.Close(t, db)
	require.ErrorIs(t, driver.Restore(ctx, db, good, nil), driver.ErrClosed)
}

// Ensure that a restore waits for the write lock like any writer, and ends with its context
// wherever it is: before it begins, in a stream, in the check, in the queue of the writers.
func TestRestore_context(t *testing.T) {
	good := source(t, "CREATE TABLE t(x); INSERT INTO t VALUES('new')")
	db := testdb.Open(t, ":memory:")
	testdb.Exec(t, db, "CREATE TABLE t(x); INSERT INTO t VALUES('old')")
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, driver.Restore(ended, db, good, nil), context.Canceled)

	content, err := os.ReadFile(good)
	require.NoError(t, err)
	ended, cancel = context.WithCancel(ctx)
	read := 0
	err = driver.RestoreFrom(ended, db, readerFunc(func(p []byte) (int, error) {
		if read > 4000 {
			cancel()
		}
		n := copy(p[:min(len(p), 1000)], content[read:])
		read += n
		return n, nil
	}), nil)
	require.ErrorIs(t, err, context.Canceled)

	tx, err := db.Begin()
	require.NoError(t, err)
	_, err = tx.Exec("INSERT INTO t VALUES('more')")
	require.NoError(t, err)
	ended, cancel = context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- driver.Restore(ended, db, good, nil) }()
	eventually(t, func() bool {
		st, err := driver.ReadStats(db)
		return err == nil && st.WriterQueue == 1
	})
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.NoError(t, tx.Commit())
	require.Equal(t, "2", testdb.Text(t, db, "SELECT count(*) FROM t"))
}

// readerFunc is an io.Reader.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Ensure that an empty file restores an empty database, in which old statements find nothing,
// now and later.
func TestRestore_empty(t *testing.T) {
	db := testdb.Open(t, testdb.Path(t))
	testdb.Exec(t, db, "CREATE TABLE a(x); INSERT INTO a VALUES('a')")
	stmt, err := db.Prepare("SELECT x FROM a")
	require.NoError(t, err)
	defer stmt.Close()
	empty := filepath.Join(t.TempDir(), "empty.db")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	require.ErrorIs(t, driver.RestoreFrom(ctx, db, strings.NewReader(""), nil), snapshot.ErrTruncated, "a stream of nothing is what a program that fails writes")
	require.Equal(t, "a", testdb.Text(t, db, "SELECT x FROM a"))
	for range 3 {
		require.NoError(t, driver.Restore(ctx, db, empty, nil))
		require.Equal(t, "0", testdb.Text(t, db, "SELECT count(*) FROM sqlite_schema"))
		_, err = stmt.Query()
		require.ErrorContains(t, err, "no such table: a")
		testdb.Exec(t, db, "CREATE TABLE b(x)")
		testdb.Exec(t, db, "INSERT INTO b VALUES('b')")
		_, err = stmt.Query()
		require.ErrorContains(t, err, "no such table: a")
		require.Equal(t, "ok", testdb.Text(t, db, "PRAGMA integrity_check"))
	}
}

// Ensure that a tool without a server replaces the file, whatever it holds, and keeps the old one.
// Connections of the tool that are open see the new one.
func TestRestore_file(t *testing.T) {
	from := source(t, schema)
	content, err := os.ReadFile(from)
	require.NoError(t, err)
	for name, old := range map[string]func(path string){
		"a database": func(path string) { testdb.Exec(t, testdb.Plain(t, path), "CREATE TABLE t(x)") },
		"nothing":    func(string) {},
		"not yet":    func(string) {}, // the tool's connection creates it
		"no bytes":   func(path string) { require.NoError(t, os.WriteFile(path, nil, 0o600)) },
		"damage":     func(path string) { require.NoError(t, os.WriteFile(path, []byte("not a database at all"), 0o600)) },
		"WAL mode": func(path string) {
			db := testdb.Plain(t, path)
			testdb.Exec(t, db, "PRAGMA journal_mode=WAL; CREATE TABLE t(x)")
			require.NoError(t, db.Close())
		},
		"a log": func(path string) {
			served := testdb.Path(t)
			db := testdb.Open(t, served+"?sqlite_wal=commit")
			testdb.Exec(t, db, "CREATE TABLE t(x)")
			require.NoError(t, driver.Sync(ctx, db))
			testdb.Exec(t, db, "INSERT INTO t VALUES('logged')")
			crashed := testdb.CrashCopy(t, served)
			for _, suffix := range []string{"", "-memwal"} {
				require.NoError(t, os.Rename(crashed+suffix, path+suffix))
			}
		},
	} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/stream=%v", name, stream), func(t *testing.T) {
				path := testdb.Path(t)
				old(path)
				var before []byte
				tool := testdb.Open(t, path+"?sqlite_role=tool&sqlite_keep=1")
				if name != "nothing" {
					var n int
					_ = tool.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&n) // a connection is open, unless the file is damaged
					before, err = os.ReadFile(path)                                  // the tool has folded the log, and ended WAL mode
					require.NoError(t, err)
				}
				if name == "a log" {
					require.Equal(t, "logged", testdb.Text(t, tool, "SELECT x FROM t"))
				}
				keep := filepath.Join(t.TempDir(), "before.db")
				opts := &driver.RestoreOptions{Keep: keep}
				var err error
				if stream {
					err = driver.RestoreFrom(ctx, tool, bytes.NewReader(content), opts)
				} else {
					err = driver.Restore(ctx, tool, from, opts)
				}
				require.NoError(t, err)
				require.Equal(t, dump(t, testdb.Plain(t, from)), dump(t, tool))
				require.NoFileExists(t, path+"-memwal")
				if name == "nothing" {
					require.NoFileExists(t, keep)
					require.NoFileExists(t, path+".kept-1")
				} else {
					for _, name := range []string{keep, path + ".kept-1"} {
						now, err := os.ReadFile(name)
						require.NoError(t, err)
						require.True(t, bytes.Equal(before, now), name)
					}
				}
				testdb.Exec(t, tool, "INSERT INTO plain VALUES('later')")
				testdb.Close(t, tool)
				left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
				require.NoError(t, err)
				require.Empty(t, left)
				require.Equal(t, "1", testdb.Text(t, testdb.Open(t, path), "SELECT count(*) FROM plain WHERE x='later'"))
			})
		}
	}
}

// Ensure that a tool that cannot restore leaves the file and all that is beside it alone. It is
// refused beside a server that serves no tools, and by a handle that only reads.
func TestRestore_fileRefused(t *testing.T) {
	from := source(t, "CREATE TABLE new(x)")
	content, err := os.ReadFile(from)
	require.NoError(t, err)
	path := testdb.Path(t)
	testdb.Exec(t, testdb.Plain(t, path), "CREATE TABLE t(x)")
	tool := testdb.Open(t, path+"?sqlite_role=tool&_busy_timeout=50")
	refused := func(err error, text string) {
		t.Helper()
		require.ErrorContains(t, err, text)
		require.Equal(t, "0", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
		left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
	refused(driver.RestoreFrom(ctx, tool, bytes.NewReader(content[:len(content)-1]), nil), "truncated")
	corrupt := bytes.Clone(content)
	for i := 4096; i < len(corrupt); i++ {
		corrupt[i] = 0xee
	}
	refused(driver.RestoreFrom(ctx, tool, bytes.NewReader(corrupt), nil), "corrupt")
	refused(driver.Restore(ctx, tool, from, &driver.RestoreOptions{Keep: from}), "exists")
	require.Equal(t, sqlite3.ErrReadonly, code(driver.Restore(ctx, testdb.Open(t, path+"?sqlite_role=tool&mode=ro"), from, nil)))
	tx, err := tool.Begin()
	require.NoError(t, err)
	_, err = tx.Exec("INSERT INTO t VALUES(1)")
	require.NoError(t, err)
	require.Error(t, driver.Restore(ctx, tool, from, nil), "a transaction of this process is open")
	require.NoError(t, tx.Rollback())
	refused(nilError{}, "")

	server := testdb.Open(t, path+"?sqlite_live=no")
	testdb.Exec(t, server, "INSERT INTO t VALUES(1)")
	var owned *driver.OwnedError
	require.ErrorAs(t, driver.Restore(ctx, tool, from, nil), &owned)
	require.Equal(t, "1", testdb.Text(t, server, "SELECT count(*) FROM t"))
	require.Equal(t, sqlite3.ErrReadonly, code(driver.Restore(ctx, testdb.Open(t, path+"?sqlite_live=no&mode=ro"), from, nil)))
}

// nilError is an error without a text.
type nilError struct{}

func (nilError) Error() string { return "" }
