//go:build cgo

package driver_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that BackupTo writes the bytes of Backup, in every role.
func TestBackupTo(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path+"?sqlite_wal=off")
	testdb.Exec(t, server, schema)
	memory := testdb.Open(t, ":memory:")
	testdb.Exec(t, memory, schema)
	plain := testdb.Path(t)
	testdb.Exec(t, testdb.Plain(t, plain), "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(3000000))")
	for name, db := range map[string]*sql.DB{
		"server": server,
		"memory": memory,
		"empty":  testdb.Open(t, ":memory:"),
		"live":   testdb.Open(t, path+"?sqlite_role=tool"),
		"file":   testdb.Open(t, plain+"?sqlite_role=tool"),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "live" && runtime.GOOS == "windows" {
				t.Skip("no live connections here")
			}
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			to := filepath.Join(t.TempDir(), "backup.db")
			require.NoError(t, driver.Backup(ctx, db, to))
			want, err := os.ReadFile(to)
			require.NoError(t, err)
			var got bytes.Buffer
			require.NoError(t, driver.BackupTo(ctx, db, &got))
			require.True(t, bytes.Equal(want, got.Bytes()), "%d bytes, not %d", got.Len(), len(want))
			left, err := os.ReadDir(temp)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// writerFunc is an io.Writer.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Ensure that BackupTo holds no more than a piece of the database in memory of its own.
func TestBackupTo_memory(t *testing.T) {
	const size = 48 << 20
	db := testdb.Open(t, ":memory:")
	testdb.Exec(t, db, "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(?))", size)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	require.NoError(t, driver.BackupTo(ctx, db, writerFunc(func(p []byte) (int, error) {
		n += len(p)
		return len(p), nil
	})))
	runtime.ReadMemStats(&after)
	require.Greater(t, n, size)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(size/8))
}

// Ensure that a receiver that stalls holds old page versions until writers are refused, and
// that the end of the context frees them although the Write never returned.
func TestBackupTo_stalled(t *testing.T) {
	db := testdb.Open(t, ":memory:?sqlite_max_memory=4MiB")
	testdb.Exec(t, db, "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(3000000))")
	ctx, cancel := context.WithCancel(ctx)
	stuck, free, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- driver.BackupTo(ctx, db, writerFunc(func(p []byte) (int, error) {
			close(stuck)
			<-free
			return len(p), nil
		}))
	}()
	<-stuck
	rewrite := func() error {
		_, err := db.Exec("UPDATE t SET x=randomblob(3000000)")
		return err
	}
	require.NoError(t, rewrite())
	err := rewrite()
	for range 3 {
		if err == nil {
			err = rewrite()
		}
	}
	require.Equal(t, sqlite3.ErrFull, code(err))
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Greater(t, st.HeldBytes, int64(2<<20))

	cancel()
	eventually(t, func() bool { return rewrite() == nil })
	st, err = driver.ReadStats(db)
	require.NoError(t, err)
	require.Zero(t, st.OldestReader)
	require.Less(t, st.HeldBytes, int64(2<<20))

	close(free)
	require.ErrorIs(t, <-done, context.Canceled)
}

// Ensure that an error of the receiver is returned as it is, and that nothing is written to it
// after that. This also holds for an error at which database/sql, or the driver, tries again.
func TestBackupTo_fails(t *testing.T) {
	db := testdb.Open(t, ":memory:")
	testdb.Exec(t, db, "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(3000000))")
	for _, failure := range []error{io.ErrClosedPipe, errors.New("no")} {
		calls := 0
		err := driver.BackupTo(ctx, db, writerFunc(func(p []byte) (int, error) {
			if calls++; calls > 1 {
				return 0, failure
			}
			return len(p), nil
		}))
		require.True(t, err == failure, "%v", err)
		require.Equal(t, 2, calls)
	}
	require.Equal(t, io.ErrShortWrite, driver.BackupTo(ctx, db, writerFunc(func(p []byte) (int, error) { return 1, nil })))

	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, driver.BackupTo(ended, db, io.Discard), context.Canceled)
	other, err := sql.Open("sqlite3", ":memory:")
	require.NoError(t, err)
	require.ErrorIs(t, driver.BackupTo(ctx, other, io.Discard), driver.ErrNotOurs)
	require.NoError(t, other.Close())
	testdb.Close(t, db)
	require.ErrorIs(t, driver.BackupTo(ctx, db, io.Discard), driver.ErrClosed)
}
