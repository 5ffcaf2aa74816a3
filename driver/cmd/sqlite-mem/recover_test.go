//go:build cgo

package main

import (
	"database/sql"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// crashed is a database as a crash leaves it: three rows in the file, two more
// in the log.
func crashed(t *testing.T) string {
	t.Helper()
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=commit")
	testdb.Exec(t, db, "CREATE TABLE t(a)")
	testdb.Exec(t, db, "INSERT INTO t VALUES(1), (2), (3)")
	require.NoError(t, driver.Sync(t.Context(), db))
	testdb.Exec(t, db, "INSERT INTO t VALUES(4)")
	testdb.Exec(t, db, "INSERT INTO t VALUES(5)")
	return testdb.CrashCopy(t, path)
}

func rowsOf(t *testing.T, path string) (n int) {
	t.Helper()
	db := testdb.Plain(t, "file:"+path+"?mode=ro")
	require.NoError(t, db.QueryRow("SELECT count(*) FROM t").Scan(&n))
	require.NoError(t, db.Close())
	return n
}

// Ensure that recover folds a log into the file, says so, and has nothing to do
// after that. Before, the status command reports the log.
func TestRecover(t *testing.T) {
	path := crashed(t)
	require.Contains(t, succeed(t, "status", path), "log       2 transactions beyond the file")
	require.Equal(t, 3, rowsOf(t, path))
	require.Equal(t, "2 transactions of the log are in "+path+" now.\n", succeed(t, "recover", path))
	require.Equal(t, 5, rowsOf(t, path))
	require.NoFileExists(t, path+"-memwal")
	require.Equal(t, "There is nothing to recover beside "+path+".\n", succeed(t, "recover", path))
	require.NotContains(t, succeed(t, "status", path), "memwal")
}

// Ensure that recover moves a log of another file aside. Of a damaged log it
// writes the commits before the damage to the file, then moves the log aside.
// The status command reports both logs.
func TestRecover_problems(t *testing.T) {
	path := crashed(t)
	plain := testdb.Plain(t, path)
	testdb.Exec(t, plain, "DELETE FROM t")
	require.NoError(t, plain.Close())
	require.Contains(t, succeed(t, "status", path), "do not belong to the file")
	out := succeed(t, "recover", path)
	require.Contains(t, out, path+" was left as it is.")
	require.Contains(t, out, "kept aside: "+path+"-memwal.aside-")
	require.Zero(t, rowsOf(t, path))
	require.Contains(t, succeed(t, "status", path), "kept by sqlite-mem recover")

	path = crashed(t)
	log, err := os.ReadFile(path + "-memwal")
	require.NoError(t, err)
	log[100] ^= 1
	require.NoError(t, os.WriteFile(path+"-memwal", log, 0o600))
	require.Contains(t, succeed(t, "status", path), "damaged")
	out = succeed(t, "recover", path)
	require.Contains(t, out, "damaged")
	require.Equal(t, 3, rowsOf(t, path))
}

// Ensure that recover is refused while a server has the file.
func TestRecover_owned(t *testing.T) {
	path := testdb.Path(t)
	db, err := sql.Open(driver.Name, path)
	require.NoError(t, err)
	testdb.Exec(t, db, "CREATE TABLE t(a)")
	code, _, stderr := program(t, "recover", path)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "owned by process")
	require.NoError(t, db.Close())
	code, _, _ = program(t, "recover")
	require.Equal(t, exitUsage, code)
}
