//go:build cgo

package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
)

func diskFile(t *testing.T) string {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return filepath.Join(dir, "disk.db")
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

func lockCode(err error) (sqlite3.ErrNo, sqlite3.ErrNoExtended) {
	var e sqlite3.Error
	errors.As(err, &e)
	return e.Code, e.ExtendedCode
}

// Ensure that the writers of a file share one process lock while any of them writes. An
// attached file gets no lock file, but a tool beside it makes one.
func TestLockDisk_shares(t *testing.T) {
	path := diskFile(t)
	owner := func() error {
		// A server that comes waits while tools have a share; it does not here.
		l, err := proclock.Acquire(canceled(), path, proclock.Server)
		if err == nil {
			require.NoError(t, l.Release())
		}
		return err
	}
	require.NoError(t, disk.LockDisk(path, false))
	require.NoFileExists(t, path+".lock")
	require.NoError(t, disk.LockDisk(path, true))
	require.FileExists(t, path+".lock")
	require.Error(t, owner())
	require.NoError(t, disk.LockDisk(path, false))
	disk.UnlockDisk(path)
	disk.UnlockDisk(path)
	require.Error(t, owner(), "one is left")
	disk.UnlockDisk(path)
	require.NoError(t, owner())
	require.Empty(t, disk.held)

	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				if err := disk.LockDisk(path, (g+i)%2 == 0); err != nil {
					t.Error(err)
					continue
				}
				disk.UnlockDisk(path)
			}
		})
	}
	wg.Wait()
	require.Empty(t, disk.held)
	require.NoError(t, owner())
}

// Ensure that a file is not written beside a server, also of this process, nor beside the
// log of a crashed one. A recovery, and a store that is being loaded or closed, are
// SQLITE_BUSY. The error has the reason.
func TestLockDisk_refused(t *testing.T) {
	opts := options(t)
	refused := func(code sqlite3.ErrNo, ext sqlite3.ErrNoExtended) error {
		t.Helper()
		var last error
		for _, create := range []bool{true, false} {
			last = disk.LockDisk(opts.Path, create)
			gotCode, gotExt := lockCode(last)
			want := ext
			if ext == sqlite3.ErrReadonlyCantLock && !create {
				want = 0 // only a tool looks again whether the server has gone
			}
			require.Equal(t, code, gotCode, "%v", last)
			require.Equal(t, want, gotExt, "%v", last)
			require.Empty(t, disk.held)
		}
		return last
	}
	s := mustOpen(t, opts)
	err := refused(sqlite3.ErrReadonly, sqlite3.ErrReadonlyCantLock)
	var owned *proclock.OwnedError
	require.ErrorAs(t, err, &owned)
	require.Equal(t, os.Getpid(), owned.PID)
	s.entry.closing = true
	refused(sqlite3.ErrBusy, 0)
	s.entry.closing = false
	require.NoError(t, s.Release())

	for _, role := range []proclock.Role{proclock.Recovery, proclock.Server} {
		l, err := proclock.Acquire(ctx, opts.Path, role)
		require.NoError(t, err)
		refused(sqlite3.ErrBusy, 0) // it is this process's, which serves nothing
		require.NoError(t, l.Release())
	}

	require.NoError(t, os.WriteFile(opts.Path+"-memwal", []byte("what a server has left, whatever it is"), 0o600))
	err = refused(sqlite3.ErrReadonly, sqlite3.ErrReadonlyDbMoved)
	require.ErrorIs(t, err, errLogBeside)
	require.ErrorContains(t, err, opts.Path)
	require.NoError(t, os.Remove(opts.Path+"-memwal"))

	require.NoError(t, os.Remove(opts.Path+".lock"))
	require.NoError(t, os.Mkdir(opts.Path+".lock", 0o700))
	refused(sqlite3.ErrIoErr, sqlite3.ErrIoErrLock)
	require.NoError(t, os.Remove(opts.Path+".lock"))
	require.NoError(t, disk.LockDisk(opts.Path, true))
	disk.UnlockDisk(opts.Path)
}

// Ensure that a share without a lock file does not stand for one. A server that makes the
// lock file meanwhile refuses the next writer, whatever the writers before it.
func TestLockDisk_serverMeanwhile(t *testing.T) {
	path := diskFile(t)
	require.NoError(t, disk.LockDisk(path, false))
	l, err := proclock.Acquire(ctx, path, proclock.Recovery)
	require.NoError(t, err)
	for _, tool := range []bool{false, true} {
		_, ok := errors.AsType[*proclock.OwnedError](disk.LockDisk(path, tool))
		require.True(t, ok)
	}
	require.NoError(t, l.Release())
	require.NoError(t, disk.LockDisk(path, false))
	_, err = proclock.Acquire(canceled(), path, proclock.Server)
	require.Error(t, err, "there is a lock file now, and a share of it")
	disk.UnlockDisk(path)
	disk.UnlockDisk(path)
	require.Empty(t, disk.held)
}

// openFile opens the file at path through the VFS for files on the disk.
func openFile(path, params string) (*sqlite3.SQLiteConn, error) {
	c, err := (&sqlite3.SQLiteDriver{}).Open("file:" + filepath.ToSlash(path) + "?vfs=" + memvfs.DiskName + params)
	if err != nil {
		return nil, err
	}
	return c.(*sqlite3.SQLiteConn), nil
}

// A server has a database that it has not saved yet. Ensure that neither a tool nor an
// ATTACH of its process creates a file in that place or beside it. The first save then
// works, and the file can be opened.
func TestCreateDisk_served(t *testing.T) {
	for _, params := range []string{"", "&" + memvfs.DiskParam + "=1"} {
		opts := options(t)
		s := mustOpen(t, opts)
		exec(t, s, "CREATE TABLE t(x)")
		for _, suffix := range []string{"", "-journal", "-wal", "-memwal", "-memwal-new", ".kept-1"} {
			_, err := openFile(opts.Path+suffix, params)
			code, _ := lockCode(err)
			require.Equal(t, sqlite3.ErrCantOpen, code, "%s: %v", suffix, err)
			require.NoFileExists(t, opts.Path+suffix)
			err = NotCreated(opts.Path + suffix)
			owned, ok := errors.AsType[*proclock.OwnedError](err)
			require.True(t, ok, "%s: %v", suffix, err)
			require.Equal(t, opts.Path, owned.Path)
			require.Equal(t, os.Getpid(), owned.PID)
			require.Empty(t, disk.held)
		}
		_, err := s.Sync(ctx)
		require.NoError(t, err)
		c, err := openFile(opts.Path, params)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, s.Release())
	}
}

// Ensure that a file is not created beside the log of a crashed server, nor beside a
// recovery, and is created after them. Only a tool makes a lock file.
func TestCreateDisk_refused(t *testing.T) {
	path := diskFile(t)
	require.NoError(t, os.WriteFile(path+"-memwal", []byte("what a server has left, whatever it is"), 0o600))
	for _, params := range []string{"", "&" + memvfs.DiskParam + "=1"} {
		_, err := openFile(path, params)
		code, _ := lockCode(err)
		require.Equal(t, sqlite3.ErrCantOpen, code, "%v", err)
		require.NoFileExists(t, path)
	}
	require.ErrorIs(t, NotCreated(path), errLogBeside)
	require.NoError(t, os.Remove(path+"-memwal"))
	require.NoError(t, os.Remove(path+".lock"))

	l, err := proclock.Acquire(ctx, path, proclock.Recovery)
	require.NoError(t, err)
	_, err = openFile(path, "")
	code, _ := lockCode(err)
	require.Equal(t, sqlite3.ErrBusy, code, "%v", err)
	require.NoFileExists(t, path)
	require.NoError(t, l.Release())
	require.NoError(t, os.Remove(path+".lock"))

	require.NoError(t, NotCreated(path))
	for _, params := range []string{"", "&" + memvfs.DiskParam + "=1"} {
		c, err := openFile(path, params)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.FileExists(t, path)
		_, err = os.Stat(path + ".lock")
		require.Equal(t, params == "", errors.Is(err, os.ErrNotExist))
		require.NoError(t, os.Remove(path))
	}
}
