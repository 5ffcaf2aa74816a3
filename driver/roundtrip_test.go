//go:build cgo

package driver_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// Ensure that load, change and save lose nothing. The dumps before and after
// differ only in the change, whatever the schema, page size and encoding.
func TestRoundTrip(t *testing.T) {
	for _, pragma := range []string{"", "PRAGMA page_size=512", "PRAGMA page_size=65536", "PRAGMA encoding='UTF-16le'", "PRAGMA auto_vacuum=FULL", "PRAGMA journal_mode=WAL"} {
		t.Run(pragma, func(t *testing.T) {
			path := testdb.Path(t)
			plain, err := sql.Open("sqlite3", path)
			require.NoError(t, err)
			plain.SetMaxOpenConns(1)
			testdb.Exec(t, plain, pragma+";"+schema)
			before := dump(t, plain)
			require.NoError(t, plain.Close())

			db := testdb.Open(t, path+"?_foreign_keys=0") // a deleted row takes no others with it
			require.Equal(t, before, dump(t, db))
			testdb.Exec(t, db, "INSERT INTO plain(rowid, x) VALUES(77, 'the change')")
			testdb.Exec(t, db, "DELETE FROM users WHERE name='ALICE'")
			require.Equal(t, "1", testdb.Text(t, db, "SELECT count(*) FROM text_index WHERE body MATCH 'fox'"))
			after := dump(t, db)
			testdb.Close(t, db)

			saved := testdb.Plain(t, path)
			require.Equal(t, after, dump(t, saved))
			require.Equal(t, "ok", testdb.Text(t, saved, "PRAGMA integrity_check"))
			require.Equal(t, "delete", testdb.Text(t, saved, "PRAGMA journal_mode"))
			testdb.Exec(t, saved, "DELETE FROM plain WHERE rowid=77; INSERT INTO users(id, name, quota) VALUES(1, 'alice', 500)")
			for _, line := range strings.Split(before, "\n") {
				require.Contains(t, dump(t, saved), line)
			}
			require.Equal(t, []string{"app.db", "app.db.lock"}, files(t, path))
		})
	}
}

func files(t testing.TB, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Ensure that a file with any name is found by its plain path and by its URI. A
// database that does not exist is made by the first save, not before, for its
// owner alone.
func TestNames(t *testing.T) {
	for _, name := range []string{"plain.db", "with space.db", "quote'\".db", "hash#.db", "percent%20.db", "plus+.db", "émile-數據.db", "semi;colon&and=.db", "file:x.db"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			db := testdb.Open(t, path)
			require.NoError(t, db.Ping())
			require.NoFileExists(t, path)
			testdb.Exec(t, db, "CREATE TABLE t(x); INSERT INTO t VALUES(1)")
			testdb.Close(t, db)
			fi, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), fi.Mode().Perm())

			uri := (&driver.Config{Path: path}).FormatDSN()
			if !strings.HasPrefix(uri, "file:") {
				uri = "file:" + strings.NewReplacer("%", "%25", "#", "%23", "?", "%3f").Replace(path)
			}
			db = testdb.Open(t, uri)
			require.Equal(t, "1", testdb.Text(t, db, "SELECT x FROM t"))
			require.Equal(t, path, testdb.Text(t, db, "SELECT file FROM pragma_database_list WHERE name='main'"))
		})
	}
	path := filepath.Join(t.TempDir(), "question?mark.db")
	db := testdb.Open(t, "file:"+strings.Replace(path, "?", "%3F", 1))
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	testdb.Close(t, db)
	require.FileExists(t, path)
}

// Ensure that a symbolic link is followed and stays one.
func TestSymlink(t *testing.T) {
	dir := t.TempDir()
	link, file := filepath.Join(dir, "link.db"), filepath.Join(dir, "real.db")
	require.NoError(t, os.Symlink(file, link))
	db := testdb.Open(t, link)
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	// By its other name it is the same database.
	other := testdb.Open(t, file)
	testdb.Exec(t, other, "INSERT INTO t VALUES(5)")
	require.Equal(t, "5", testdb.Text(t, db, "SELECT x FROM t"))
	testdb.Close(t, other)
	testdb.Close(t, db)
	fi, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, fi.Mode()&os.ModeSymlink)
	require.Equal(t, "5", testdb.Text(t, testdb.Plain(t, file), "SELECT x FROM t"))
}

// Ensure that a file that is no sound database is refused and not touched. The
// error names it.
func TestRefused(t *testing.T) {
	good := testdb.Path(t)
	plain, err := sql.Open("sqlite3", good)
	require.NoError(t, err)
	testdb.Exec(t, plain, schema)
	require.NoError(t, plain.Close())
	content, err := os.ReadFile(good)
	require.NoError(t, err)
	damaged := bytes.Clone(content)
	copy(damaged[4096:], bytes.Repeat([]byte{0xff}, 4096))

	for name, c := range map[string]struct {
		content []byte
		is      error
	}{
		"text":      {[]byte(strings.Repeat("this is not a database\n", 100)), snapshot.ErrNotADatabase},
		"truncated": {content[:len(content)-4096], snapshot.ErrTruncated},
		"torn":      {content[:len(content)-100], snapshot.ErrTruncated},
		"corrupt":   {damaged, snapshot.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			path := testdb.Path(t)
			require.NoError(t, os.WriteFile(path, c.content, 0o640))
			db, err := sql.Open(driver.Name, path)
			require.NoError(t, err)
			for range 2 {
				err = db.Ping()
				require.ErrorIs(t, err, c.is)
				require.ErrorContains(t, err, path)
			}
			require.NoError(t, db.Close())
			now, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(c.content, now))
		})
	}
	_, err = driver.NewConnector(&driver.Config{Path: filepath.Join(good, "below-a-file.db")})
	require.NoError(t, err)
	db, err := sql.Open(driver.Name, filepath.Join(t.TempDir(), "no", "such", "folder.db"))
	require.NoError(t, err)
	require.ErrorContains(t, db.Ping(), "folder.db")
	require.NoError(t, db.Close())
}

// Ensure that a file that somebody else has changed is left alone. The state in
// memory is saved beside it, as a side copy that the error names.
func TestForeignChange(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path)
	testdb.Exec(t, db, "CREATE TABLE t(x); INSERT INTO t VALUES('ours')")
	require.NoError(t, driver.Sync(ctx, db))
	other := testdb.Plain(t, path)
	testdb.Exec(t, other, "INSERT INTO t VALUES('theirs')")

	testdb.Exec(t, db, "INSERT INTO t VALUES('ours too')")
	err := driver.Sync(ctx, db)
	var foreign *driver.ForeignChangeError
	require.ErrorAs(t, err, &foreign)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, foreign.SavedAs)
	require.Equal(t, []string{"string:ours", "string:theirs"}, all(t, other, "SELECT x FROM t"))
	require.Equal(t, []string{"string:ours", "string:ours too"}, all(t, testdb.Plain(t, foreign.SavedAs), "SELECT x FROM t"))

	// The admin decides for what is in memory; the next save is an ordinary one.
	require.NoError(t, other.Close())
	require.NoError(t, os.Rename(foreign.SavedAs, path))
	testdb.Exec(t, db, "INSERT INTO t VALUES('after')")
	require.NoError(t, driver.Sync(ctx, db))
	require.Equal(t, "3", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
}

// Ensure that the last Close saves what has changed, and tells if it could not.
// Then nothing is lost to the process: the next open of the file finds it and
// saves it.
func TestClose_saveFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "app.db")
	db := testdb.Open(t, path)
	testdb.Exec(t, db, "CREATE TABLE t(x); INSERT INTO t VALUES('kept')")
	require.NoError(t, os.Rename(dir, dir+"-away"))
	require.Error(t, db.Close())
	require.NoError(t, os.Rename(dir+"-away", dir))

	again := testdb.Open(t, path)
	require.Equal(t, "kept", testdb.Text(t, again, "SELECT x FROM t"))
	testdb.Close(t, again)
	require.Equal(t, "kept", testdb.Text(t, testdb.Plain(t, path), "SELECT x FROM t"))
}

// Ensure that an interval of 0 never writes the file, not on Close either, but
// that a Sync does.
func TestSyncInterval_zero(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_sync_interval=0")
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	require.NoError(t, driver.Sync(ctx, db))
	testdb.Exec(t, db, "INSERT INTO t VALUES(1)")
	testdb.Close(t, db)
	require.Equal(t, "0", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
}

// Ensure that changes are saved by themselves after the interval. OnSync gets
// an event for each attempt. Nothing is written when nothing has changed.
func TestSyncInterval(t *testing.T) {
	path := testdb.Path(t)
	events := make(chan driver.SyncEvent, 100)
	conn, err := driver.NewConnector(&driver.Config{Path: path, SyncInterval: 20 * time.Millisecond, OnSync: func(e driver.SyncEvent) { events <- e }})
	require.NoError(t, err)
	db := sql.OpenDB(conn)
	defer testdb.Close(t, db)
	for i := range 3 {
		testdb.Exec(t, db, fmt.Sprintf("CREATE TABLE t%d(x)", i))
		e := <-events
		require.NoError(t, e.Err)
		require.Positive(t, e.Bytes)
		require.Zero(t, e.Failures)
		fi, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, e.Bytes, fi.Size())
		require.NoError(t, driver.Sync(ctx, db)) // whatever that save missed
		for len(events) > 0 {
			<-events
		}
		before, err := os.Stat(path)
		require.NoError(t, err)
		require.NoError(t, driver.Sync(ctx, db))
		after, err := os.Stat(path)
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after), "a save without a change wrote the file anew")
	}
}

// Ensure that Sync and the counters can be had from SQL as well.
func TestFunctions(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=off") // saves are counted
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	var n int64
	require.NoError(t, db.QueryRow("SELECT sqlite_mem_sync()").Scan(&n))
	fi, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fi.Size(), n)
	require.NoError(t, db.QueryRow("SELECT sqlite_mem_sync()").Scan(&n))
	require.Zero(t, n)
	require.Equal(t, "1", testdb.Text(t, db, "SELECT json_extract(sqlite_mem_stats(), '$.saves.count')"))

	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, path, st.Path)
	require.Equal(t, driver.RoleServer, st.Role)
	require.EqualValues(t, 1, st.Saves.Count)
	require.EqualValues(t, 1, st.Commits)
	require.Equal(t, fi.Size(), st.DataBytes)
	require.Zero(t, st.Unsaved)
	require.Zero(t, st.LossWindow)
	require.Zero(t, st.Tools)
	holds := st.WriterHolds.Count
	testdb.Exec(t, db, "INSERT INTO t VALUES(1)")
	st, err = driver.ReadStats(db)
	require.NoError(t, err)
	require.EqualValues(t, 1, st.Unsaved)
	require.Equal(t, holds+1, st.WriterHolds.Count)
	require.Positive(t, st.WriterHolds.Sum)
	require.Positive(t, st.LossWindow)
	require.Len(t, driver.HistogramBounds(), len(st.WriterHolds.Buckets))

	memory := testdb.Open(t, ":memory:")
	_, err = memory.Exec("SELECT sqlite_mem_sync()")
	require.ErrorContains(t, err, "no file")
	require.ErrorIs(t, driver.Sync(ctx, memory), driver.ErrNoFile)
	require.ErrorIs(t, driver.Sync(ctx, testdb.Plain(t, ":memory:")), driver.ErrNotOurs)
	_, err = driver.ReadStats(testdb.Plain(t, ":memory:"))
	require.ErrorIs(t, err, driver.ErrNotOurs)
}

// Ensure that a database in memory is one for all connections of an sql.DB, and
// outlives them all. It is shared between sql.DBs by its name and only so.
func TestMemory(t *testing.T) {
	for _, dsn := range []string{":memory:", "", "file::memory:", "file:x?mode=memory", "file:shared?mode=memory&cache=shared", "file::memory:?cache=shared"} {
		t.Run(dsn, func(t *testing.T) {
			a, b := testdb.Open(t, dsn), testdb.Open(t, dsn)
			a.SetMaxIdleConns(0)
			testdb.Exec(t, a, "CREATE TABLE t(x); INSERT INTO t VALUES(1)")
			require.Equal(t, "1", testdb.Text(t, a, "SELECT x FROM t"))
			_, err := b.Exec("INSERT INTO t VALUES(2)")
			if strings.Contains(dsn, "cache=shared") {
				require.NoError(t, err)
				require.Equal(t, "2", testdb.Text(t, a, "SELECT count(*) FROM t"))
			} else {
				require.ErrorContains(t, err, "no such table")
			}
		})
	}
}

// Ensure that two sql.DBs of one file are one database, which the last of them
// saves. They must agree on how it is kept.
func TestTwoOpens(t *testing.T) {
	path := testdb.Path(t)
	a := testdb.Open(t, path+"?sqlite_sync_interval=1h&sqlite_wal=off")
	testdb.Exec(t, a, "CREATE TABLE t(x)")
	bad := testdb.Open(t, path+"?sqlite_sync_interval=2h&sqlite_wal=off")
	require.ErrorIs(t, bad.Ping(), driver.ErrOptions)
	require.ErrorContains(t, bad.Ping(), "sqlite_sync_interval")
	require.NoError(t, bad.Close())

	b := testdb.Open(t, path+"?sqlite_sync_interval=60m&sqlite_wal=off&_fk=1")
	testdb.Exec(t, b, "INSERT INTO t VALUES(1)")
	testdb.Close(t, a)
	testdb.Exec(t, b, "INSERT INTO t VALUES(2)")
	require.NoFileExists(t, path, "only the last one saves")
	testdb.Close(t, b)
	require.Equal(t, "2", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
}

// Ensure that connections that are still in use when the sql.DB is closed can
// finish, and that what they commit is saved.
func TestClose_connectionInUse(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path)
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	tx, err := conn.BeginTx(ctx, nil)
	require.NoError(t, err)
	testdb.Exec(t, tx, "INSERT INTO t VALUES(1)")
	require.NoError(t, db.Close())
	require.Equal(t, "0", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
	require.NoError(t, tx.Commit())
	require.NoError(t, conn.Close())
	require.Equal(t, "1", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
	require.ErrorIs(t, driver.Sync(ctx, db), driver.ErrClosed)
}

// Ensure that the pool may drop its connections as it likes.
func TestPool_dropsConnections(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path)
	db.SetMaxIdleConns(0)
	db.SetConnMaxLifetime(time.Millisecond)
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	for i := range 200 {
		tx, err := db.Begin()
		require.NoError(t, err)
		testdb.Exec(t, tx, "INSERT INTO t VALUES(?)", i)
		if i%2 == 0 {
			require.NoError(t, tx.Commit())
		} else {
			require.NoError(t, tx.Rollback())
		}
	}
	testdb.Close(t, db)
	require.Equal(t, "100", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
}

// Ensure that a connection opened without an sql.DB has the database as long as
// it lives, and saves it.
func TestDriver_Open(t *testing.T) {
	path := testdb.Path(t)
	c, err := (&driver.Driver{}).Open(path)
	require.NoError(t, err)
	s, err := c.Prepare("CREATE TABLE t(x)")
	require.NoError(t, err)
	//lint:ignore SA1019 the plain interface is what is tested
	_, err = s.Exec(nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, c.Close())
	require.Equal(t, "0", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
	_, err = (&driver.Driver{}).Open(path + "?nonsense=1")
	require.Error(t, err)
	require.False(t, errors.Is(err, driver.ErrClosed))
}

// Ensure that sqlite_keep leaves the earlier states of the file beside it. Each
// is a database that can take its place. One that cannot be kept is told to the
// log and holds up nothing.
func TestKeep(t *testing.T) {
	path := testdb.Path(t)
	plain := testdb.Plain(t, path)
	testdb.Exec(t, plain, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(0)")
	require.NoError(t, plain.Close())
	var log strings.Builder
	c, err := driver.ParseDSN(path + "?sqlite_keep=2")
	require.NoError(t, err)
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	open := func() *sql.DB {
		connector, err := driver.NewConnector(c)
		require.NoError(t, err)
		return sql.OpenDB(connector)
	}
	db := open()
	for i := range 3 {
		testdb.Exec(t, db, "UPDATE t SET x=x+1")
		require.NoError(t, driver.Sync(ctx, db))
		require.NoError(t, driver.Sync(ctx, db)) // nothing has changed: no state of its own
		for n := 1; n <= min(i+1, 2); n++ {
			require.Equal(t, strconv.Itoa(i+1-n), testdb.Text(t, testdb.Plain(t, fmt.Sprintf("%s.kept-%d", path, n)), "SELECT x FROM t"))
		}
	}
	require.NoFileExists(t, path+".kept-3")
	testdb.Close(t, db)
	require.NoError(t, os.Rename(path+".kept-1", path))
	db = open()
	require.Equal(t, "2", testdb.Text(t, db, "SELECT x FROM t"))

	require.Empty(t, log.String())
	require.NoError(t, os.MkdirAll(path+".kept-1/full", 0o700))
	testdb.Exec(t, db, "UPDATE t SET x=7")
	require.NoError(t, driver.Sync(ctx, db))
	require.Contains(t, log.String(), "sqlite_keep")
	require.Contains(t, log.String(), path+".kept-")
	require.Equal(t, "7", testdb.Text(t, testdb.Plain(t, path), "SELECT x FROM t"))
	require.NoError(t, os.RemoveAll(path+".kept-1"))
	testdb.Close(t, db)
}

// Ensure that a tool that folds a log into the file keeps the state before. The
// kept state is beside the file, not beside a link to it.
func TestKeep_tool(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=commit")
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	require.NoError(t, driver.Sync(ctx, db))
	testdb.Exec(t, db, "INSERT INTO t VALUES(1)")
	crashed := testdb.CrashCopy(t, path)
	link := testdb.Path(t)
	require.NoError(t, os.Symlink(crashed, link))
	tool := testdb.Open(t, link+"?sqlite_role=tool&sqlite_keep=1")
	require.Equal(t, 1, count(t, tool))
	require.Equal(t, 0, count(t, testdb.Plain(t, crashed+".kept-1")))
	require.NoFileExists(t, link+".kept-1")
}
