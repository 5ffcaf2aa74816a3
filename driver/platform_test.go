//go:build cgo

package driver_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that what an operator relies on works on this system and file system: commits to the
// log, saves, kept states, a crash, a tool, a backup, a close. .ci/run runs it under Wine, and
// .ci/platforms on other processors and file systems.
func TestPlatform(t *testing.T) {
	path := testdb.Path(t)
	dsn := path + "?sqlite_wal=commit&sqlite_keep=2&sqlite_role=server"
	rows := 0
	for round := range 2 {
		db := testdb.Open(t, dsn)
		testdb.Exec(t, db, "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, a TEXT, b REAL, c BLOB)")
		for range 3 {
			tx, err := db.Begin()
			require.NoError(t, err)
			for range 100 {
				rows++
				_, err := tx.Exec("INSERT INTO t(a,b,c) VALUES(?,?,randomblob(200))", fmt.Sprint("row ", rows), float64(rows)+0.5)
				require.NoError(t, err)
			}
			require.NoError(t, tx.Commit())
			require.NoError(t, driver.Sync(ctx, db))
		}
		rows++
		testdb.Exec(t, db, "INSERT INTO t(a) VALUES('in the log alone')")
		want := fmt.Sprint(rows)

		stats, err := driver.ReadStats(db)
		require.NoError(t, err)
		require.Zero(t, stats.SaveFailures, stats.LastError)
		require.Positive(t, stats.LogBytes)

		// A crash, found by a server and by a tool. The log has come from elsewhere.
		for _, role := range []string{"server", "tool"} {
			crashed := testdb.CrashCopy(t, path)
			other := testdb.Open(t, crashed+"?sqlite_role="+role)
			require.Equal(t, want, testdb.Text(t, other, "SELECT count(*) FROM t"), role)
			require.NoError(t, other.Close())
			require.NoFileExists(t, crashed+"-memwal", role)
		}

		// Idle tools are not in the way of a save.
		tool := testdb.Open(t, path+"?sqlite_in_memory=no")
		require.Equal(t, fmt.Sprint(rows-1), testdb.Text(t, tool, "SELECT count(*) FROM t"))
		require.NoError(t, driver.Sync(ctx, db))
		require.Equal(t, want, testdb.Text(t, tool, "SELECT count(*) FROM t"))
		require.NoError(t, tool.Close())

		backup := filepath.Join(t.TempDir(), "backup.db")
		require.NoError(t, driver.Backup(ctx, db, backup))
		for _, name := range []string{backup, path + ".kept-1", path + ".kept-2"} {
			file := testdb.Open(t, name+"?sqlite_in_memory=no&mode=ro")
			require.Equal(t, "ok", testdb.Text(t, file, "PRAGMA integrity_check"), name)
			require.NoError(t, file.Close())
		}
		require.Equal(t, "ok", testdb.Text(t, db, "PRAGMA integrity_check"), "round %d", round)
		require.NoError(t, db.Close())
		require.NoFileExists(t, path+"-memwal")
	}
}

// Ensure that a save waits for a program that holds the file for a moment. If it holds the file
// for longer, the save fails, and a later one works. Only Windows refuses to replace open files.
func TestPlatform_held(t *testing.T) {
	if runtime.GOOS != "windows" {
		t.Skip("an open file is in nobody's way")
	}
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_role=server&sqlite_wal=commit")
	testdb.Exec(t, db, "CREATE TABLE t(a)")
	require.NoError(t, driver.Sync(ctx, db))

	// A scanner.
	f, err := os.Open(path)
	require.NoError(t, err)
	time.AfterFunc(200*time.Millisecond, func() { _ = f.Close() })
	testdb.Exec(t, db, "INSERT INTO t VALUES(1)")
	require.NoError(t, driver.Sync(ctx, db))

	// A tool that reads.
	tool := testdb.Open(t, path+"?sqlite_in_memory=no")
	rows, err := tool.Query("SELECT a FROM t UNION ALL SELECT 2")
	require.NoError(t, err)
	require.True(t, rows.Next())
	testdb.Exec(t, db, "INSERT INTO t VALUES(3)")
	require.Error(t, driver.Sync(ctx, db))
	require.NoError(t, rows.Close())
	require.NoError(t, driver.Sync(ctx, db))
	require.Equal(t, "2", testdb.Text(t, tool, "SELECT count(*) FROM t"))
	require.NoError(t, tool.Close())
	require.NoError(t, db.Close())
}

// Ensure that two spellings of a file are one store and one process lock, also for ATTACH. The
// file system of the tests must ignore case, as on Windows and macOS.
func TestSpelling(t *testing.T) {
	path := testdb.Path(t)
	other := filepath.Join(filepath.Dir(path), "APP.DB")
	db := testdb.Open(t, path+"?sqlite_role=server")
	testdb.Exec(t, db, "CREATE TABLE t(a)")
	require.NoError(t, driver.Sync(ctx, db))
	if _, err := os.Stat(other); err != nil {
		t.Skip("names tell case apart here")
	}
	again := testdb.Open(t, other+"?sqlite_role=server")
	testdb.Exec(t, again, "INSERT INTO t VALUES(1)")
	require.Equal(t, "1", testdb.Text(t, db, "SELECT count(*) FROM t"))

	mem := testdb.Open(t, ":memory:")
	conn, err := mem.Conn(ctx)
	require.NoError(t, err)
	testdb.Exec(t, conn, "ATTACH ? AS o", other)
	testdb.Exec(t, conn, "INSERT INTO o.t VALUES(2)")
	require.Equal(t, "2", testdb.Text(t, db, "SELECT count(*) FROM t"))
	testdb.Exec(t, conn, "DETACH o")
	require.NoError(t, conn.Close())

	require.NoError(t, again.Close())
	require.NoError(t, db.Close())
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	require.NoError(t, err)
	require.Len(t, names, 2, names) // the database and its lock file
}
