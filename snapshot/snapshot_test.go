//go:build cgo

package snapshot_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// crashed returns a database with two rows that only its log has. A server has left that log.
func crashed(t *testing.T) string {
	t.Helper()
	path := testfile.New(t)
	db := testdb.Open(t, path+"?sqlite_sync_interval=1h&sqlite_wal=commit")
	_, err := db.Exec("CREATE TABLE late(a)")
	require.NoError(t, err)
	_, err = db.Exec("INSERT INTO late VALUES(1), (2)")
	require.NoError(t, err)
	return testdb.CrashCopy(t, path)
}

// Ensure that Recover writes a log into the file, as InspectLog has announced. Ensure that it
// releases the process lock.
func TestRecover(t *testing.T) {
	path := crashed(t)
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(path, link))
	info, err := snapshot.InspectLog(context.Background(), link)
	require.NoError(t, err)
	require.Equal(t, 2, info.Transactions)
	require.True(t, info.Fits)

	rec, err := snapshot.Recover(context.Background(), link)
	require.NoError(t, err)
	require.Equal(t, snapshot.Recovery{Transactions: 2}, rec)
	info, err = snapshot.InspectLog(context.Background(), path)
	require.NoError(t, err)
	require.Nil(t, info)
	require.Equal(t, 2, rows(t, path))

	ended, cancel := context.WithCancel(context.Background())
	cancel() // it does not wait for the end of a recovery
	lock, err := proclock.Acquire(ended, path, proclock.Server)
	require.NoError(t, err)
	require.NoError(t, lock.Release())
}

// rows is the number of rows that SQLite alone finds in the table late.
func rows(t *testing.T, path string) (n int) {
	t.Helper()
	db := testfile.OpenSQL(t, path)
	require.NoError(t, db.QueryRow("SELECT count(*) FROM late").Scan(&n))
	require.NoError(t, db.Close())
	return n
}

// Ensure that Recover touches nothing while another process serves the database.
func TestRecover_owned(t *testing.T) {
	path := crashed(t)
	lock, err := proclock.Acquire(context.Background(), path, proclock.Server)
	require.NoError(t, err)
	before := testfile.Contents(t, filepath.Dir(path))
	_, err = snapshot.Recover(context.Background(), path)
	require.ErrorAs(t, err, new(*proclock.OwnedError))
	require.Equal(t, before, testfile.Contents(t, filepath.Dir(path)))
	require.NoError(t, lock.Release())
}

// Ensure that a backup by VACUUM INTO is whole and replaces nothing. A backup that fails
// leaves no file.
func TestBackupFrom(t *testing.T) {
	db := testfile.OpenSQL(t, testfile.New(t))
	to := filepath.Join(t.TempDir(), "backup.db")
	vacuum := func(name string) error {
		_, err := db.Exec("VACUUM INTO ?", name)
		return err
	}
	require.NoError(t, snapshot.BackupFrom(context.Background(), to, vacuum))
	backup := testfile.OpenSQL(t, to)
	var result string
	require.NoError(t, backup.QueryRow("PRAGMA integrity_check").Scan(&result))
	require.Equal(t, "ok", result)
	var n int
	require.NoError(t, backup.QueryRow("SELECT count(*) FROM t").Scan(&n))
	require.Equal(t, 500, n)
	require.NoError(t, backup.Close())

	before := testfile.Contents(t, filepath.Dir(to))
	require.ErrorIs(t, snapshot.BackupFrom(context.Background(), to, vacuum), fs.ErrExist)
	broken := errors.New("broken")
	other := filepath.Join(filepath.Dir(to), "other.db")
	require.ErrorIs(t, snapshot.BackupFrom(context.Background(), other, func(string) error { return broken }), broken)
	require.Equal(t, before, testfile.Contents(t, filepath.Dir(to)))
}

// Ensure that Check finds damage, and that its error can be told from others.
func TestCheck(t *testing.T) {
	path := testfile.New(t)
	check := func() (err error) {
		testfile.WithConn(t, path, func(c *sqlite3.SQLiteConn) { err = snapshot.Check(c) })
		return err
	}
	require.NoError(t, check())
	b := testfile.Read(t, path)
	clear(b[4*4096 : 5*4096])
	testfile.Write(t, path, b)
	err := check()
	require.ErrorIs(t, err, snapshot.ErrCorrupt)
	var e *snapshot.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "check", e.Op)
}

// Ensure that the driver's errors of a file are those of this package.
func TestErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	testfile.Write(t, path, []byte("not a database"))
	db, err := sql.Open("sqlite-mem", path)
	require.NoError(t, err)
	err = db.Ping()
	require.ErrorIs(t, err, snapshot.ErrNotADatabase)
	require.ErrorAs(t, err, new(*snapshot.Error))
	require.NoError(t, db.Close())
}
