//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that a backup has every commit, saved or not, and that any program can open it.
// The database, its file and its log do not change.
func TestBackup(t *testing.T) {
	for _, dsn := range []string{":memory:", "PATH?sqlite_sync_interval=0", "PATH?sqlite_wal=commit&sqlite_sync_interval=1h"} {
		t.Run(dsn, func(t *testing.T) {
			path := testdb.Path(t)
			db := testdb.Open(t, strings.Replace(dsn, "PATH", path, 1))
			testdb.Exec(t, db, schema)
			before, stats := files(t, path), backupStats(t, db)
			to := filepath.Join(t.TempDir(), "backup.db")
			require.NoError(t, driver.Backup(ctx, db, to))
			copied := testdb.Plain(t, to)
			require.Equal(t, dump(t, db), dump(t, copied))
			require.Equal(t, "ok", testdb.Text(t, copied, "PRAGMA integrity_check"))
			require.Equal(t, []string{"backup.db"}, files(t, to))
			require.Equal(t, before, files(t, path))
			require.Equal(t, stats, backupStats(t, db))
			testdb.Exec(t, db, "INSERT INTO plain(x) VALUES('later')")
			testdb.Close(t, db)
			require.Equal(t, "0", testdb.Text(t, copied, "SELECT count(*) FROM plain WHERE x='later'"))
		})
	}
}

// backupStats returns the counters that a backup must not change.
func backupStats(t *testing.T, db *sql.DB) driver.Stats {
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	// Not the counters of saves and flushes: those of the last commit may come after it.
	return driver.Stats{Unsaved: st.Unsaved, Unlogged: st.Unlogged, LogBytes: st.LogBytes, Commits: st.Commits}
}

// Ensure that a tool backs up the last save of a running server. Without a server it
// backs up the file. The database need not have been used before.
func TestBackup_tool(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path)
	testdb.Exec(t, server, "CREATE TABLE t(x INTEGER PRIMARY KEY); INSERT INTO t VALUES(1)")
	require.NoError(t, driver.Sync(ctx, server))
	testdb.Exec(t, server, "INSERT INTO t VALUES(2)")
	for _, want := range []string{"1", "2"} {
		tool := testdb.Open(t, path+"?sqlite_role=tool&sqlite_live=no")
		to := filepath.Join(t.TempDir(), "backup.db")
		require.NoError(t, driver.Backup(ctx, tool, to))
		require.Equal(t, want, testdb.Text(t, testdb.Plain(t, to), "SELECT count(*) FROM t"))
		require.Equal(t, []string{"backup.db"}, files(t, to))
		require.ErrorIs(t, driver.Backup(ctx, tool, to), fs.ErrExist)
		testdb.Close(t, tool)
		if want == "1" {
			testdb.Close(t, server)
		}
	}
}

// Ensure that a tool's backup that is broken off, at whatever moment, leaves nothing.
func TestBackup_toolCancelled(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path)
	testdb.Exec(t, server, `CREATE TABLE t(x); CREATE INDEX i ON t(x);
		WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<20000) INSERT INTO t SELECT randomblob(300) FROM c`)
	testdb.Close(t, server)
	tool := testdb.Open(t, path+"?sqlite_role=tool")
	broken := 0
	for wait := 100 * time.Microsecond; ; wait += wait / 2 {
		limited, cancel := context.WithTimeout(ctx, wait)
		to := filepath.Join(t.TempDir(), "backup.db")
		err := driver.Backup(limited, tool, to)
		cancel()
		if err == nil {
			require.Equal(t, "20000", testdb.Text(t, testdb.Plain(t, to), "SELECT count(*) FROM t"))
			break
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Empty(t, files(t, to))
		broken++
	}
	require.NotZero(t, broken)
}

// Ensure that each backup made while many write is one committed state, whole, and that
// what was committed before it began is in it.
func TestBackup_underLoad(t *testing.T) {
	db := testdb.Open(t, testdb.Path(t))
	testdb.Exec(t, db, `CREATE TABLE account(id INTEGER PRIMARY KEY, n INT, filler BLOB DEFAULT (randomblob(3000)));
		WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<500) INSERT INTO account(id, n) SELECT i, 100 FROM c;
		CREATE TABLE done(n INT); INSERT INTO done VALUES(0)`)
	var wg sync.WaitGroup
	var stop atomic.Bool
	var done atomic.Int64
	for g := range 4 {
		wg.Go(func() {
			for i := g; !stop.Load(); i += 7 {
				tx, err := db.Begin()
				if err != nil {
					t.Error(err)
					return
				}
				for _, q := range []string{"UPDATE account SET n=n-1 WHERE id=?", "UPDATE account SET n=n+1 WHERE id=501-?"} {
					if _, err := tx.Exec(q, i%500+1); err != nil {
						t.Error(err)
					}
				}
				if _, err := tx.Exec("UPDATE done SET n=n+1"); err != nil {
					t.Error(err)
				}
				if err := tx.Commit(); err != nil {
					t.Error(err)
				}
				done.Add(1)
			}
		})
	}
	dir := t.TempDir()
	for i := range 5 {
		to := filepath.Join(dir, string(rune('a'+i))+".db")
		least := done.Load()
		require.NoError(t, driver.Backup(ctx, db, to))
		copied := testdb.Plain(t, to)
		require.Equal(t, "ok", testdb.Text(t, copied, "PRAGMA integrity_check"))
		require.Equal(t, "50000", testdb.Text(t, copied, "SELECT sum(n) FROM account"))
		var n int64
		require.NoError(t, copied.QueryRow("SELECT n FROM done").Scan(&n))
		require.GreaterOrEqual(t, n, least)
	}
	stop.Store(true)
	wg.Wait()
}

// Ensure that a backup that cannot be made tells why, leaves nothing, and harms
// nothing.
func TestBackup_refused(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=off") // so that it is not saved yet
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	dir := t.TempDir()
	to := filepath.Join(dir, "backup.db")

	require.ErrorIs(t, driver.Backup(ctx, db, path), fs.ErrExist, "its own file, which is not there yet")
	require.NoFileExists(t, path)
	served := testdb.Path(t)
	testdb.Exec(t, testdb.Open(t, served+"?sqlite_wal=off"), "CREATE TABLE t(x)")
	err := driver.Backup(ctx, db, served)
	require.ErrorIs(t, err, fs.ErrExist, "that of another, which is not there yet")
	require.ErrorContains(t, err, "process")
	require.NoFileExists(t, served)
	for _, suffix := range []string{"-journal", "-memwal", ".lock", ".sock", ".kept-1"} {
		err = driver.Backup(ctx, db, served+suffix)
		require.ErrorIs(t, err, fs.ErrExist, "a name beside it: "+suffix)
		require.ErrorContains(t, err, served)
	}
	err = driver.Backup(ctx, db, filepath.Join(dir, "missing", "backup.db"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "missing")

	require.NoError(t, os.WriteFile(to, []byte("precious"), 0o600))
	err = driver.Backup(ctx, db, to)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, to)
	b, err := os.ReadFile(to)
	require.NoError(t, err)
	require.Equal(t, "precious", string(b))
	require.NoError(t, os.Remove(to))

	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, driver.Backup(ended, db, to), context.Canceled)

	other, err := sql.Open("sqlite3", ":memory:")
	require.NoError(t, err)
	require.ErrorIs(t, driver.Backup(ctx, other, to), driver.ErrNotOurs)
	require.NoError(t, other.Close())

	testdb.Close(t, db)
	require.ErrorIs(t, driver.Backup(ctx, db, to), driver.ErrClosed)
	require.Empty(t, files(t, to))
	require.FileExists(t, path)
}

// Ensure that of several backups to one name at once one is made, and the others are told
// that the name is taken.
func TestBackup_atOnce(t *testing.T) {
	var dbs []*sql.DB
	for i := range 4 {
		db := testdb.Open(t, ":memory:")
		testdb.Exec(t, db, fmt.Sprintf("CREATE TABLE who(a); INSERT INTO who VALUES(%d)", i))
		dbs = append(dbs, db)
	}
	for range 25 {
		to := filepath.Join(t.TempDir(), "backup.db")
		errs := make([]error, len(dbs))
		var wg sync.WaitGroup
		for i, db := range dbs {
			wg.Go(func() { errs[i] = driver.Backup(ctx, db, to) })
		}
		wg.Wait()
		made := slices.IndexFunc(errs, func(err error) bool { return err == nil })
		require.GreaterOrEqual(t, made, 0, "%v", errs)
		for i, err := range errs {
			if i != made {
				require.ErrorIs(t, err, fs.ErrExist)
			}
		}
		require.Equal(t, fmt.Sprint(made), testdb.Text(t, testdb.Open(t, to+"?sqlite_role=tool"), "SELECT a FROM who"))
	}
}
