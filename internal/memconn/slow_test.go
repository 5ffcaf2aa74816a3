//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that a connection is watched as a reader exactly while it keeps a state, and as a
// writer exactly while it holds the lock, whatever ends that.
func TestSlow_watched(t *testing.T) {
	ctx := context.Background()
	db := openDatabase(t, func(o *Options) { o.SlowReader, o.SlowWriter, o.BusyTimeout = time.Hour, time.Hour, time.Minute })
	db.Acquire()
	c := get(t, db)
	is := func(reader, writer bool) {
		t.Helper()
		require.Equal(t, reader, c.slow.reader.Lasts(), "reader")
		require.Equal(t, writer, c.slow.writer.Lasts(), "writer")
	}
	is(false, false)
	execute(t, c, "CREATE TABLE t(x); INSERT INTO t VALUES(1), (2), (3)")
	is(false, false)
	one(t, c, "SELECT x FROM t")
	is(false, false)
	_, err := c.ExecContext(ctx, "INSERT INTO nowhere VALUES(1)", nil)
	require.Error(t, err)
	is(false, false)

	rows, err := c.QueryContext(ctx, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i FROM n, t", nil)
	require.NoError(t, err)
	is(true, false)
	one(t, c, "SELECT x FROM t")
	is(true, false)
	execute(t, c, "INSERT INTO t VALUES(4)")
	is(true, false)
	require.NoError(t, rows.Close())
	is(false, false)

	tx, err := c.BeginTx(ctx, driver.TxOptions{ReadOnly: true})
	require.NoError(t, err)
	is(true, false)
	one(t, c, "SELECT 1") // reads no table
	is(true, false)
	one(t, c, "SELECT x FROM t")
	is(true, false)
	require.NoError(t, tx.Rollback())
	is(false, false)

	for _, end := range []func(driver.Tx) error{driver.Tx.Commit, driver.Tx.Rollback} {
		tx, err = c.Begin()
		require.NoError(t, err)
		is(true, true)
		execute(t, c, "DELETE FROM t")
		is(true, true)
		require.NoError(t, end(tx))
		is(false, false)
	}

	execute(t, c, "BEGIN")
	is(false, false)
	one(t, c, "SELECT count(*) FROM t")
	is(true, false)
	execute(t, c, "INSERT INTO t VALUES(5)")
	is(true, true)
	execute(t, c, "ROLLBACK")
	is(false, false)

	inner := c.Raw()
	_, err = inner.Exec("BEGIN; INSERT INTO t VALUES(6)", nil)
	require.NoError(t, err)
	is(false, true)
	_, err = inner.Exec("COMMIT", nil)
	require.NoError(t, err)
	is(false, false)

	// A writer that waits for the lock keeps no state.
	other := get(t, db)
	_, err = other.Begin()
	require.NoError(t, err)
	waits := make(chan error)
	go func() {
		_, err := c.ExecContext(ctx, "INSERT INTO t VALUES(7)", nil)
		waits <- err
	}()
	require.Eventually(t, func() bool { return c.store.Writer.Stats().Waiting == 1 }, time.Minute, time.Millisecond)
	require.False(t, c.slow.reader.Lasts())
	require.NoError(t, other.Close())
	require.NoError(t, <-waits)
	is(false, false)

	_, err = c.Begin()
	require.NoError(t, err)
	require.NoError(t, c.shut())
	is(false, false)
	require.NoError(t, db.Release())
	require.NoError(t, db.Close())
}
