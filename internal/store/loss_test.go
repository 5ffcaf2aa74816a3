//go:build cgo

package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that the loss window begins with the first commit that is not durable, and ends
// with the save or flush that covers it.
func TestLossWindow(t *testing.T) {
	for name, wal := range map[string]time.Duration{"save": WALOff, "flush": time.Hour} {
		t.Run(name, func(t *testing.T) {
			opts := options(t)
			opts.WAL = wal
			s := mustOpen(t, opts)
			commit := func() {
				exec(t, s, "CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(1)")
				require.NoError(t, s.Committed(s.Engine.Epoch()))
			}
			cover := func() {
				var err error
				if wal == WALOff {
					_, err = s.Sync(t.Context())
				} else {
					err = s.flusher.Load().Wait()
				}
				require.NoError(t, err)
				require.Zero(t, s.LossWindow())
			}
			cover() // so that the log is not flushed again for an hour

			before := time.Now()
			commit()
			after := time.Now()
			commit() // which the age is not of
			least := time.Since(after)
			window := s.LossWindow()
			require.GreaterOrEqual(t, window, least)
			require.LessOrEqual(t, window, time.Since(before))
			cover()
			require.NoError(t, s.Release())
		})
	}
}

// Ensure that a commit that a save does not cover counts from the start of that save at the
// latest.
func TestLossWindow_meanwhile(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	require.NoError(t, s.Committed(s.Engine.Epoch()))
	start := time.Now()
	exec(t, s, "INSERT INTO t VALUES(1)") // no call of Committed: it comes after the pin of a save
	s.covered(start)
	least := time.Since(start)
	window := s.LossWindow()
	require.GreaterOrEqual(t, window, least)
	require.LessOrEqual(t, window, time.Since(start))
	require.NoError(t, s.Committed(s.Engine.Epoch()))
	require.GreaterOrEqual(t, s.LossWindow(), window, "a later commit is not the oldest")

	s.exposed.Store(int64(time.Since(epoch))) // of a commit between the two steps of covered
	s.covered(start)
	require.GreaterOrEqual(t, s.LossWindow(), window)
	_, err := s.Sync(t.Context())
	require.NoError(t, err)
	s.expose(s.Engine.Epoch()) // of a commit that this save has covered
	require.Zero(t, s.exposed.Load())
	require.NoError(t, s.Release())
}
