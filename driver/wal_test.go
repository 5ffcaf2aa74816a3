//go:build cgo

package driver_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// count is the number of rows in t.
func count(t testing.TB, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow("SELECT count(*) FROM t").Scan(&n))
	return n
}

// Ensure that with sqlite_wal=commit every commit is durable when it returns,
// whatever way it is made. A server with a log or without, a tool, and SQLite
// alone find it. Nothing of the log is left when all is saved.
func TestWAL_commit(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=commit")
	n := 0
	check := func(how string) {
		t.Helper()
		n++
		for _, params := range []string{"", "?sqlite_wal=1s", "?sqlite_in_memory=no", "?sqlite_role=tool"} {
			to := testdb.CrashCopy(t, path)
			after, err := sql.Open(driver.Name, to+params)
			require.NoError(t, err)
			require.Equal(t, n, count(t, after), how+params)
			require.Equal(t, "ok", testdb.Text(t, after, "PRAGMA integrity_check"))
			require.NoError(t, after.Close())
			pending, err := image.LogPending(to)
			require.NoError(t, err)
			require.False(t, pending, how+params)
			plain, err := sql.Open("sqlite3", to)
			require.NoError(t, err)
			require.Equal(t, n, count(t, plain), how+params)
			require.NoError(t, plain.Close())
		}
		to := testdb.CrashCopy(t, path)
		if _, err := os.Stat(to + "-memwal"); err == nil {
			require.NoError(t, os.Rename(to+"-memwal", to+"-wal"))
		}
		plain, err := sql.Open("sqlite3", to)
		require.NoError(t, err)
		require.Equal(t, n, count(t, plain), how)
		require.Equal(t, "ok", testdb.Text(t, plain, "PRAGMA integrity_check"))
		require.NoError(t, plain.Close())
	}
	testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, x)")
	testdb.Exec(t, db, "INSERT INTO t(x) VALUES(randomblob(1000))")
	check("exec")

	tx, err := db.Begin()
	require.NoError(t, err)
	_, err = tx.Exec("INSERT INTO t(x) VALUES(randomblob(100000))")
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	check("transaction")

	var id int
	require.NoError(t, db.QueryRow("INSERT INTO t(x) VALUES(1) RETURNING id").Scan(&id))
	check("returning")

	stmt, err := db.Prepare("INSERT INTO t(x) VALUES(?)")
	require.NoError(t, err)
	_, err = stmt.Exec("x")
	require.NoError(t, err)
	require.NoError(t, stmt.Close())
	check("prepared")

	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	for _, q := range []string{"BEGIN", "SAVEPOINT a", "INSERT INTO t(x) VALUES(2)", "RELEASE a", "END"} {
		_, err = conn.ExecContext(ctx, q)
		require.NoError(t, err)
	}
	check("words")
	require.NoError(t, conn.Raw(func(c any) error {
		_, err := c.(driver.RawConn).Raw().Exec("INSERT INTO t(x) VALUES(3)", nil)
		return err
	}))
	check("raw")
	require.NoError(t, conn.Raw(func(c any) error {
		raw := c.(driver.RawConn).Raw()
		_, err := raw.Exec("BEGIN IMMEDIATE; INSERT INTO t(x) VALUES(4); COMMIT", nil)
		return err
	}))
	check("raw transaction")
	require.NoError(t, conn.Close())

	// A save in between begins the log anew.
	require.NoError(t, driver.Sync(ctx, db))
	testdb.Exec(t, db, "INSERT INTO t(x) VALUES(5)")
	check("after a save")
	// The page size: the log cannot tell it.
	testdb.Exec(t, db, "PRAGMA page_size=1024; VACUUM; INSERT INTO t(x) VALUES(6)")
	check("page size")
	testdb.Exec(t, db, "INSERT INTO t(x) VALUES(7)")
	check("after a page size")
}

// Ensure that an interval flushes by itself. Commits that are not flushed yet are
// counted. A close removes the log.
func TestWAL_interval(t *testing.T) {
	path := testdb.Path(t)
	db, err := sql.Open(driver.Name, path+"?sqlite_wal=50ms")
	require.NoError(t, err)
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	testdb.Exec(t, db, "INSERT INTO t VALUES(1)")
	waitLogged(t, db)
	testdb.Exec(t, db, "INSERT INTO t VALUES(2)")
	s, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, "50ms", s.WAL)
	waitLogged(t, db)
	to := testdb.CrashCopy(t, path)
	require.FileExists(t, to+"-memwal")
	after := testdb.Open(t, to)
	require.Equal(t, 2, count(t, after))
	require.NoError(t, db.Close())
	require.NoFileExists(t, path+"-memwal")
}

// waitLogged waits until every commit is in the log.
func waitLogged(t testing.TB, db *sql.DB) {
	t.Helper()
	eventually(t, func() bool {
		s, err := driver.ReadStats(db)
		require.NoError(t, err)
		return s.Unlogged == 0
	})
}

// Ensure that commits of many writers are each on the disk when they return, and
// that one flush serves several.
func TestWAL_groups(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=commit")
	testdb.Exec(t, db, "CREATE TABLE t(writer, n)")
	const writers, each = 16, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := db.Exec("INSERT INTO t VALUES(?, ?)", w, i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	after := testdb.Open(t, testdb.CrashCopy(t, path))
	require.Equal(t, writers*each, count(t, after))
	s, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Less(t, int(s.LogFlushes.Count), writers*each)
	require.Positive(t, s.LogBytes)
}

// Ensure that a commit which cannot be written to the log says so. From then on
// writing is refused while reading goes on. All is written and accepted again
// when the disk is back.
func TestWAL_fails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "app.db")
	db := testdb.Open(t, path+"?sqlite_wal=commit")
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	testdb.Exec(t, db, "INSERT INTO t VALUES(1)")
	require.NoError(t, driver.Sync(ctx, db))
	require.NoError(t, os.Rename(dir, dir+"-away"))
	testdb.Exec(t, db, "PRAGMA user_version") // reading goes on

	// The log that is open has lost its name.
	_, err := db.Exec("INSERT INTO t VALUES(2)")
	var e *driver.NotDurableError
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, driver.ErrNotDurable)
	require.True(t, e.Committed)
	require.Error(t, driver.Sync(ctx, db))
	for _, q := range []string{"INSERT INTO t VALUES(3)", "SELECT 1; INSERT INTO t VALUES(3)", "PRAGMA user_version=3"} {
		_, err = db.Exec(q)
		require.ErrorAs(t, err, &e, q)
		require.False(t, e.Committed)
		require.ErrorContains(t, err, path)
	}
	_, err = db.Begin()
	require.ErrorIs(t, err, driver.ErrNotDurable)
	require.Equal(t, 2, count(t, db))
	s, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Positive(t, s.LogFailures)
	require.NotEmpty(t, s.LogLastError)
	require.Positive(t, s.Unlogged)

	require.NoError(t, os.Rename(dir+"-away", dir))
	eventually(t, func() bool {
		_, err := db.Exec("INSERT INTO t VALUES(4)")
		return err == nil
	})
	after := testdb.Open(t, testdb.CrashCopy(t, path))
	require.Equal(t, 3, count(t, after))
}

// Ensure that a file that somebody has changed, and a log that is damaged, are
// refused. The error names both and the command that resolves it, and nothing
// is changed.
func TestWAL_refused(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=commit")
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	for range 5 {
		testdb.Exec(t, db, "INSERT INTO t VALUES(1)")
	}
	for name, change := range map[string]func(path string) error{
		"the file is edited": func(path string) error {
			plain, err := sql.Open("sqlite3", path)
			require.NoError(t, err)
			testdb.Exec(t, plain, "CREATE TABLE edited(x)")
			return plain.Close()
		},
		"the file is gone":         os.Remove,
		"the file is empty":        func(path string) error { return os.Truncate(path, 0) },
		"the log is damaged":       func(path string) error { return flip(path+"-memwal", 5000) },
		"its header is damaged":    func(path string) error { return flip(path+"-memwal", 20) },
		"the log is cut to little": func(path string) error { return os.Truncate(path+"-memwal", 10) },
	} {
		t.Run(name, func(t *testing.T) {
			to := testdb.CrashCopy(t, path)
			require.NoError(t, change(to))
			before := dirContents(t, filepath.Dir(to))
			for _, params := range []string{"", "?sqlite_wal=commit", "?sqlite_role=tool"} {
				after, err := sql.Open(driver.Name, to+params)
				require.NoError(t, err)
				err = after.Ping()
				require.ErrorContains(t, err, to+"-memwal")
				require.ErrorContains(t, err, "sqlite-mem recover "+to)
				require.NoError(t, after.Close())
				require.Equal(t, before, dirContents(t, filepath.Dir(to)))
			}
		})
	}
}

func flip(path string, off int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		return err
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b[:], off); err != nil {
		return err
	}
	return f.Close()
}

// dirContents is every file of a directory but the lock files.
func dirContents(t testing.TB, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	m := map[string]string{}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".lock" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		m[e.Name()] = string(b)
	}
	return m
}

// Ensure that opens of one file that differ in sqlite_wal are told so.
func TestWAL_options(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=1s")
	require.NoError(t, db.Ping())
	other, err := sql.Open(driver.Name, path+"?sqlite_wal=commit")
	require.NoError(t, err)
	err = other.Ping()
	require.ErrorIs(t, err, driver.ErrOptions)
	require.ErrorContains(t, err, "sqlite_wal is 1s, not commit")
	require.NoError(t, other.Close())
}

// Ensure that spilled transactions, savepoints, vacuums and a database that
// shrinks are logged right: after every step a crash leaves the state of then.
func TestWAL_everything(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=commit&_auto_vacuum=incremental")
	testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, x); CREATE INDEX i ON t(x)")
	db.SetMaxOpenConns(1)
	for i, query := range []string{
		"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<500) INSERT INTO t SELECT i, randomblob(1000) FROM c",
		"PRAGMA cache_size=5; UPDATE t SET x=randomblob(1200)",
		"BEGIN; SAVEPOINT a; DELETE FROM t WHERE id%2; ROLLBACK TO a; DELETE FROM t WHERE id%3=0; RELEASE a; COMMIT",
		"DELETE FROM t WHERE id>50; PRAGMA incremental_vacuum",
		"INSERT INTO t SELECT id+1000, randomblob(3000) FROM t",
		"VACUUM",
		"PRAGMA auto_vacuum=FULL; VACUUM; DELETE FROM t WHERE id%5",
		"PRAGMA page_size=512; VACUUM",
		"CREATE TABLE u AS SELECT * FROM t; DROP TABLE t; CREATE TABLE t AS SELECT * FROM u",
		"BEGIN; DELETE FROM t; ROLLBACK",
		"DROP TABLE u; DROP TABLE t; VACUUM; CREATE TABLE t(id, x)",
	} {
		testdb.Exec(t, db, query)
		if i%4 == 3 {
			require.NoError(t, driver.Sync(ctx, db))
		}
		want := dump(t, db)
		after := testdb.Open(t, testdb.CrashCopy(t, path))
		require.Equal(t, want, dump(t, after), query)
	}
}

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 20*time.Second, 5*time.Millisecond)
}

// Ensure that a commit to an attached database is durable as well when it
// returns, also if the same string detaches it.
func TestWAL_attached(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=commit")
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	main := testdb.Open(t, ":memory:")
	conn, err := main.Conn(ctx)
	require.NoError(t, err)
	attach := "ATTACH '" + path + "' AS a"
	for n, query := range []string{
		attach + "; INSERT INTO a.t VALUES(1)",
		"BEGIN; INSERT INTO a.t VALUES(2); CREATE TABLE m(x); COMMIT",
		"INSERT INTO a.t VALUES(3); DETACH a",
	} {
		testdb.Exec(t, conn, query)
		require.Equal(t, n+1, count(t, testdb.Open(t, testdb.CrashCopy(t, path))), query)
	}
	require.NoError(t, conn.Close())

	// And one to the main database by a string that detaches what it wrote later.
	mainPath := testdb.Path(t)
	logged := testdb.Open(t, mainPath+"?sqlite_wal=commit")
	testdb.Exec(t, logged, "CREATE TABLE t(x)")
	testdb.Exec(t, logged, attach+"; INSERT INTO main.t VALUES(1); INSERT INTO a.t VALUES(4); DETACH a")
	require.Equal(t, 1, count(t, testdb.Open(t, testdb.CrashCopy(t, mainPath))))
	require.Equal(t, 4, count(t, testdb.Open(t, testdb.CrashCopy(t, path))))
}

// Ensure that a string of statements returns the error of its commit that is not
// durable, though it detaches the database as well.
func TestWAL_detachFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "app.db")
	db := testdb.Open(t, path+"?sqlite_wal=commit")
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	conn, err := testdb.Open(t, ":memory:").Conn(ctx)
	require.NoError(t, err)
	testdb.Exec(t, conn, "ATTACH '"+path+"' AS a")
	// Only a save can make the change of the page size durable.
	require.NoError(t, os.Rename(dir, dir+"-away"))
	_, err = conn.ExecContext(ctx, "PRAGMA a.page_size=512; VACUUM a; DETACH a")
	require.ErrorIs(t, err, driver.ErrNotDurable)
	require.ErrorContains(t, err, path)
	require.NoError(t, os.Rename(dir+"-away", dir))
	testdb.Exec(t, conn, "CREATE TABLE m(x)") // told once
	require.NoError(t, conn.Close())
	require.NoError(t, driver.Sync(ctx, db))
}

// Ensure that a string of statements returns the error of its commit that is not
// durable, and that of its later statement.
func TestWAL_laterFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Mkdir(dir, 0o700))
	db := testdb.Open(t, filepath.Join(dir, "app.db")+"?sqlite_wal=commit")
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	require.NoError(t, driver.Sync(ctx, db))
	require.NoError(t, os.Rename(dir, dir+"-away"))
	_, err := db.Exec("INSERT INTO t VALUES(1); SELECT nonsense")
	require.ErrorIs(t, err, driver.ErrNotDurable)
	require.Equal(t, sqlite3.ErrError, code(err))
	require.NoError(t, os.Rename(dir+"-away", dir))
	require.NoError(t, driver.Sync(ctx, db))
	require.Equal(t, 1, count(t, db))
}

// Ensure that a commit in OnSync, which waits for the log, does not wait for
// itself. The save may be one that a commit had asked for.
func TestWAL_commitInOnSync(t *testing.T) {
	cfg, err := driver.ParseDSN(testdb.Path(t) + "?sqlite_wal=commit")
	require.NoError(t, err)
	var db *sql.DB
	told := make(chan error, 100)
	cfg.OnSync = func(driver.SyncEvent) {
		_, err := db.Exec("INSERT INTO saves DEFAULT VALUES")
		told <- err
	}
	connector, err := driver.NewConnector(cfg)
	require.NoError(t, err)
	db = sql.OpenDB(connector)
	testdb.Exec(t, db, "CREATE TABLE saves(id INTEGER PRIMARY KEY)") // there is no file yet: a save
	require.NoError(t, <-told)
	testdb.Exec(t, db, "PRAGMA page_size=1024; VACUUM") // no log can tell it: a save
	require.NoError(t, <-told)
	require.Equal(t, "2", testdb.Text(t, db, "SELECT count(*) FROM saves"))
	require.NoError(t, db.Close())
}
