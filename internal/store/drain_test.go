//go:build cgo

package store

import (
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
)

// Ensure that what a long reader has held is freed after its end although nobody writes, and
// that a quiet store then wakes nobody.
func TestDrain_quiet(t *testing.T) {
	for _, file := range []bool{true, false} {
		opts := options(t)
		if !file {
			opts.Path, opts.Name = "", "quiet"
		}
		s := mustOpen(t, opts)
		exec(t, s, "CREATE TABLE t(b); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<1000) INSERT INTO t SELECT zeroblob(3000) FROM c")
		dc, err := (&sqlite3.SQLiteDriver{}).Open(s.URI(nil))
		require.NoError(t, err)
		r := dc.(*sqlite3.SQLiteConn)
		run := func(query string) {
			_, err := r.Exec(query, nil)
			require.NoError(t, err)
		}
		run("BEGIN; SELECT count(*) FROM t")
		exec(t, s, "UPDATE t SET b=zeroblob(2999)")
		require.NoError(t, s.Committed(s.Engine.Epoch()))
		require.True(t, s.drain.set.Load())
		time.Sleep(2 * drainAfter)
		require.Greater(t, s.Engine.Stats().Held, int64(900*4096), "the reader needs them")
		run("COMMIT")
		require.Eventually(t, func() bool { return s.Engine.Stats().Held == 0 && !s.drain.set.Load() }, 10*time.Second, time.Millisecond)
		require.NoError(t, r.Close())
		require.NoError(t, s.Release())
	}
}

// Ensure that a store can be closed at any moment of a drain.
func TestDrain_close(t *testing.T) {
	for i := range 20 {
		s := mustOpen(t, options(t))
		exec(t, s, "CREATE TABLE t(b)")
		require.NoError(t, s.Committed(s.Engine.Epoch()))
		s.drain.mu.Lock()
		s.drain.timer.Reset(time.Duration(i) * 200 * time.Microsecond)
		s.drain.mu.Unlock()
		require.NoError(t, s.Release())
		require.NoError(t, s.Committed(2), "of a connection that ends late")
	}
}
