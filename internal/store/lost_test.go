//go:build cgo && !windows

package store

// The tests of a lock file that is removed. Windows removes no open file.

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
)

// Ensure that a server makes a removed lock file again. If it has lost the lock to another,
// it saves beside the file, and the error says so.
func TestSave_lockLost(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	_, err := s.Sync(ctx)
	require.NoError(t, err)

	require.NoError(t, os.Remove(opts.Path+".lock"))
	exec(t, s, "INSERT INTO t VALUES(1)")
	_, err = s.Sync(ctx)
	require.NoError(t, err)
	require.FileExists(t, opts.Path+".lock")

	require.NoError(t, os.Remove(opts.Path+".lock"))
	other, err := proclock.Acquire(ctx, opts.Path, proclock.Server)
	require.NoError(t, err)
	before, err := os.ReadFile(opts.Path)
	require.NoError(t, err)
	exec(t, s, "INSERT INTO t VALUES(2)")
	_, err = s.Sync(ctx)
	var foreign *image.ForeignChangeError
	require.ErrorAs(t, err, &foreign)
	require.Contains(t, foreign.Reason, "another process owns the database")
	require.FileExists(t, foreign.SavedAs)
	after, err := os.ReadFile(opts.Path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))

	require.NoError(t, other.Release())
	require.NoError(t, s.Release())
}

// Ensure that a removed lock file is made again. While another process has it, writers are
// refused and the file is not saved over. Everything works again when it is free.
func TestOwned_lost(t *testing.T) {
	opts := options(t)
	opts.SyncInterval = 20 * time.Millisecond
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	_, err := s.Sync(ctx)
	require.NoError(t, err)
	require.NoError(t, os.Remove(opts.Path+".lock"))
	require.Eventually(t, func() bool { _, err := os.Stat(opts.Path + ".lock"); return err == nil }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.MayWrite())

	require.NoError(t, s.Release())

	opts.SyncInterval = time.Hour
	s = mustOpen(t, opts)
	require.NoError(t, os.Remove(opts.Path+".lock"))
	lock, err := proclock.Acquire(ctx, opts.Path, proclock.Recovery)
	require.NoError(t, err)
	before, err := os.Stat(opts.Path)
	require.NoError(t, err)
	require.NoError(t, s.MayWrite(), "not noticed yet")
	exec(t, s, "CREATE TABLE u(x)")
	_, err = s.Sync(ctx)
	var foreign *image.ForeignChangeError
	require.ErrorAs(t, err, &foreign)
	require.ErrorContains(t, err, "the process lock is lost")
	require.ErrorIs(t, s.MayWrite(), proclock.ErrLost)
	exec(t, s, "INSERT INTO t VALUES(1)") // without the driver, which asks MayWrite
	_, err = s.Sync(ctx)
	require.ErrorAs(t, err, &foreign)
	now, err := os.Stat(opts.Path)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, now), "the file was saved over")

	require.NoError(t, lock.Release())
	require.NoError(t, s.MayWrite())
	require.NoError(t, s.Release())
}
