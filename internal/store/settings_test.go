//go:build cgo

package store

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that an option that a later open leaves out is no conflict. One that it adds is in
// effect when the open returns, or is refused by name. So is a second value.
func TestAdopt(t *testing.T) {
	const second, minute = time.Second, time.Minute
	for _, c := range []struct {
		name         string
		first, later Options // SyncInterval is an hour and WAL a second if they are not set
		want         string  // of the error
		after        Options
	}{
		{name: "nothing", after: Options{SyncInterval: time.Hour, WAL: second}},
		{name: "left out", first: Options{Set: SetWAL | SetKeep, WAL: WALCommit, Keep: 2},
			after: Options{SyncInterval: time.Hour, WAL: WALCommit, Keep: 2}},
		{name: "the same", first: Options{Set: SetWAL, WAL: WALCommit}, later: Options{Set: SetWAL, WAL: WALCommit},
			after: Options{SyncInterval: time.Hour, WAL: WALCommit}},
		{name: "the default", later: Options{Set: SetWAL, WAL: second}, after: Options{SyncInterval: time.Hour, WAL: second}},
		{name: "commit added", later: Options{Set: SetWAL, WAL: WALCommit}, after: Options{SyncInterval: time.Hour, WAL: WALCommit}},
		{name: "shorter log added", later: Options{Set: SetWAL, WAL: second / 10}, after: Options{SyncInterval: time.Hour, WAL: second / 10}},
		{name: "interval added", later: Options{Set: SetSyncInterval, SyncInterval: minute}, after: Options{SyncInterval: minute, WAL: second}},
		{name: "longer interval beside a log", later: Options{Set: SetSyncInterval, SyncInterval: 2 * time.Hour},
			after: Options{SyncInterval: 2 * time.Hour, WAL: second}},
		{name: "keep added", later: Options{Set: SetKeep, Keep: 3}, after: Options{SyncInterval: time.Hour, WAL: second, Keep: 3}},
		{name: "shorter interval without a log", first: Options{Set: SetWAL, WAL: WALOff}, later: Options{Set: SetSyncInterval, SyncInterval: minute},
			after: Options{SyncInterval: minute}},

		{name: "two logs", first: Options{Set: SetWAL, WAL: second}, later: Options{Set: SetWAL, WAL: WALCommit}, want: "sqlite_wal is 1s, not commit"},
		{name: "two intervals", first: Options{Set: SetSyncInterval, SyncInterval: minute}, later: Options{Set: SetSyncInterval, SyncInterval: second},
			want: "sqlite_sync_interval is 1m0s, not 1s"},
		{name: "longer log", later: Options{Set: SetWAL, WAL: minute}, want: "a crash would cost more with sqlite_wal=1m0s"},
		{name: "no log", later: Options{Set: SetWAL, WAL: WALOff}, want: "sqlite_wal is 1s since the first open, and cannot become off"},
		{name: "a log", first: Options{Set: SetWAL, WAL: WALOff}, later: Options{Set: SetWAL, WAL: WALCommit}, want: "sqlite_wal is off, not commit"},
		{name: "a log, beside no log by default", first: Options{Set: SetSyncInterval, SyncInterval: second}, later: Options{Set: SetWAL, WAL: WALCommit},
			want: "sqlite_wal is off since the first open, and cannot become commit"},
		{name: "never", later: Options{Set: SetSyncInterval}, want: "sqlite_sync_interval=never cannot apply with a log"},
		{name: "never without a log", first: Options{Set: SetWAL, WAL: WALOff}, later: Options{Set: SetSyncInterval}, want: "a crash would cost more"},
		{name: "a cap", later: Options{Set: SetMaxMemory, MaxMemory: 1 << 20}, want: "sqlite_max_memory is 0 since the first open"},
		{name: "a limit", later: Options{Set: SetLiveLimit, LiveLimit: 3}, want: "sqlite_live_limit is 0 since the first open"},
	} {
		t.Run(c.name, func(t *testing.T) {
			complete := func(o Options) Options {
				base := options(t)
				o.Path, o.Logger = base.Path, base.Logger
				if o.Set&SetSyncInterval == 0 {
					o.SyncInterval = time.Hour
				}
				if o.Set&SetWAL == 0 && o.SyncInterval > second {
					o.WAL = second
				}
				return o
			}
			first := complete(c.first)
			s := mustOpen(t, first)
			before := s.options()
			later := complete(c.later)
			later.Path = first.Path
			again, err := Open(ctx, later)
			if c.want != "" {
				require.ErrorIs(t, err, ErrOptions)
				require.ErrorContains(t, err, c.want)
				require.ErrorContains(t, err, "driver.SetDefaults")
				c.after = before
			} else {
				require.NoError(t, err)
				require.NoError(t, again.Release())
			}
			now := s.options()
			require.Equal(t, c.after.SyncInterval, now.SyncInterval)
			require.Equal(t, c.after.WAL, now.WAL)
			require.Equal(t, c.after.Keep, now.Keep)

			// What was added is there for good, and for everybody.
			if c.want == "" && c.later.Set&SetWAL != 0 {
				later.WAL = second / 100
				_, err := Open(ctx, later)
				require.ErrorIs(t, err, ErrOptions)
			}
			require.NoError(t, s.Release())
		})
	}
}

// unflushed opens a store with a log that is flushed once an hour, and commits what neither
// the log nor the file has.
func unflushed(t *testing.T) (Options, *Store) {
	t.Helper()
	opts := options(t)
	opts.WAL, opts.Set = time.Hour, 0
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	_, err := s.Sync(ctx)
	require.NoError(t, err)
	exec(t, s, "INSERT INTO t VALUES(1)")
	return opts, s
}

// Ensure that when an open that adds sqlite_wal=commit has returned, earlier commits are
// durable, and each later one is when it returns, whichever handle makes it.
func TestAdopt_commit(t *testing.T) {
	opts, s := unflushed(t)
	require.NoError(t, s.Committed(s.Engine.Epoch()))

	opts.WAL, opts.Set = WALCommit, SetWAL
	other := mustOpen(t, opts)
	require.Zero(t, s.Unlogged())
	exec(t, s, "INSERT INTO t VALUES(2)")
	require.NotZero(t, s.Unlogged())
	require.NoError(t, s.Committed(s.Engine.Epoch()))
	require.Zero(t, s.Unlogged())

	// It stays when the handle that has asked for it has gone.
	require.NoError(t, other.Release())
	exec(t, s, "INSERT INTO t VALUES(3)")
	require.NoError(t, s.Committed(s.Engine.Epoch()))
	require.Zero(t, s.Unlogged())
	require.NoError(t, s.Release())
}

// Ensure that a shorter interval of the log, or of saves, takes effect for commits that are
// made already and for those that come.
func TestAdopt_interval(t *testing.T) {
	opts := options(t)
	opts.WAL, opts.Set = time.Hour, 0
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	_, err := s.Sync(ctx)
	require.NoError(t, err)
	commit := func() {
		exec(t, s, "INSERT INTO t VALUES(1)")
		require.NoError(t, s.Committed(s.Engine.Epoch()))
	}
	commit() // flushed at once
	require.Eventually(t, func() bool { return s.Unlogged() == 0 }, 10*time.Second, time.Millisecond)
	commit()
	opts.WAL, opts.Set = 20*time.Millisecond, SetWAL
	other := mustOpen(t, opts)
	require.Zero(t, s.Unlogged())
	for range 3 {
		commit()
		require.Eventually(t, func() bool { return s.Unlogged() == 0 }, 10*time.Second, time.Millisecond)
	}
	require.NoError(t, other.Release())

	opts.SyncInterval, opts.Set = 20*time.Millisecond, SetSyncInterval
	other = mustOpen(t, opts)
	for range 3 {
		commit()
		require.Eventually(t, func() bool { return s.Unsaved() == 0 }, 10*time.Second, time.Millisecond)
	}
	require.NoError(t, other.Release())
	require.NoError(t, s.Release())
}

// Ensure that an open whose option cannot take effect, as the disk fails or its context
// ends, is an error and changes nothing. No handle then waits for what nobody was promised.
func TestAdopt_fails(t *testing.T) {
	opts, s := unflushed(t)
	dir := filepath.Dir(opts.Path)
	require.NoError(t, os.Rename(dir, dir+"-away"))
	other := opts
	other.WAL, other.Set = WALCommit, SetWAL
	_, err := Open(ctx, other)
	require.ErrorContains(t, err, "sqlite_wal=commit does not take effect")
	require.NotErrorIs(t, err, ErrOptions)
	require.Equal(t, time.Hour, s.WAL())
	require.NoError(t, s.MayWrite())
	exec(t, s, "INSERT INTO t VALUES(2)")
	require.NoError(t, s.Committed(s.Engine.Epoch()))

	require.NoError(t, os.Rename(dir+"-away", dir))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err = Open(ended, other)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, time.Hour, s.WAL())

	o := mustOpen(t, other)
	require.Zero(t, s.Unlogged())
	require.NoError(t, o.Release())
	require.NoError(t, s.Release())
	unused(t, opts) // the cancelled Open may release last
}

// Ensure that an added sqlite_keep keeps the state before the next save.
func TestAdopt_keep(t *testing.T) {
	opts := options(t)
	opts.Set = 0
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	_, err := s.Sync(ctx)
	require.NoError(t, err)
	opts.Keep, opts.Set = 1, SetKeep
	other := mustOpen(t, opts)
	exec(t, s, "INSERT INTO t VALUES(1)")
	_, err = s.Sync(ctx)
	require.NoError(t, err)
	require.FileExists(t, opts.Path+".kept-1")
	require.NoError(t, other.Release())
	require.NoError(t, s.Release())
}
