package proclock

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that tools of one process and of several share the lock, are not owners, and
// leave the record alone.
func TestAcquireShared_together(t *testing.T) {
	path := newPath(t)
	putRecord(t, path, someRecord)
	other := start(t, "share", path)
	require.Equal(t, "shared <nil>", other.read())
	mustShare(t, path)
	mustShare(t, path)
	requireOwner(t, path, 0)
	require.Equal(t, someRecord, content(t, path))
}

// Ensure that a tool beside a server is refused at once, and that the error has the role.
func TestAcquireShared_besideServer(t *testing.T) {
	path := newPath(t)
	mustAcquire(t, path)
	_, err := AcquireShared(path, true)
	requireOwned(t, err, path, os.Getpid())
	require.Equal(t, Server, roleOf(t, err))
}

// Ensure that a server waits for the tools that write to the file, and acquires when the
// last of them releases.
func TestAcquire_waitsForTools(t *testing.T) {
	path := newPath(t)
	other := start(t, "share", path)
	require.Equal(t, "shared <nil>", other.read())
	l := mustShare(t, path)

	_, err := Acquire(within(t, 50*time.Millisecond), path, Server)
	requireBusy(t, err, path, Owner{}, context.DeadlineExceeded)
	require.EqualError(t, err, path+": another process is writing to it: context deadline exceeded")
	ended, cancel := context.WithCancel(bg)
	cancel()
	_, err = Acquire(ended, path, Server)
	requireBusy(t, err, path, Owner{}, context.Canceled)

	got := make(chan error)
	go func() {
		l, err := Acquire(bg, path, Server)
		if err == nil {
			err = l.Release()
		}
		got <- err
	}()
	time.Sleep(10 * time.Millisecond)
	other.tell("release")
	require.Equal(t, "released <nil>", other.read())
	select {
	case err := <-got:
		t.Fatal("did not wait for the other tool", err)
	case <-time.After(10 * time.Millisecond):
	}
	require.NoError(t, l.Release())
	require.NoError(t, <-got)
}

// Ensure that Acquire gets a free database although its context has ended. It also gets
// one whose shared lock is released within grace, as OwnerOf does.
func TestAcquire_endedContext(t *testing.T) {
	path := newPath(t)
	ended, cancel := context.WithCancel(bg)
	cancel()
	l, err := Acquire(ended, path, Server)
	require.NoError(t, err)
	require.NoError(t, l.Release())
	synctest.Test(t, func(t *testing.T) {
		asked := mustShare(t, path)
		time.AfterFunc(grace/2, func() { assert.NoError(t, asked.Release()) })
		l, err := Acquire(ended, path, Server)
		require.NoError(t, err)
		require.NoError(t, l.Release())
	})
	synctest.Test(t, func(t *testing.T) {
		asked := mustShare(t, path)
		time.AfterFunc(2*grace, func() { assert.NoError(t, asked.Release()) })
		begin := time.Now()
		_, err := Acquire(ended, path, Server)
		requireBusy(t, err, path, Owner{}, context.Canceled)
		require.WithinDuration(t, begin.Add(grace), time.Now(), maxPause)
		time.Sleep(2 * grace)
	})
}

// Ensure that a server waits for a recovery. A tool beside a recovery is refused with
// its role. A recovery is refused beside a server.
func TestAcquire_recovery(t *testing.T) {
	path := newPath(t)
	other := start(t, "recover", path)
	require.Equal(t, "recovering <nil>", other.read())
	owner, owned, err := OwnerOf(path)
	require.NoError(t, err)
	require.True(t, owned)
	require.Equal(t, Owner{PID: other.pid(), Since: owner.Since, Role: Recovery}, owner)

	_, err = AcquireShared(path, true)
	requireOwned(t, err, path, other.pid())
	require.Equal(t, Recovery, roleOf(t, err))
	require.ErrorContains(t, err, fmt.Sprintf("app.db is being recovered by process %d since ", other.pid()))
	for _, role := range []Role{Server, Recovery} {
		_, err = Acquire(within(t, 50*time.Millisecond), path, role)
		requireBusy(t, err, path, owner, context.DeadlineExceeded)
		require.ErrorContains(t, err, "is being recovered by process")
	}

	other.tell("release")
	mustAcquire(t, path)
	_, err = Acquire(bg, path, Recovery)
	requireOwned(t, err, path, os.Getpid())
}

// Ensure that the mark of a server that ended uncleanly lasts until the next server has
// served. Recoveries that end or are killed, tools, and a server that cannot load the file
// keep it.
func TestLock_previous(t *testing.T) {
	path := newPath(t)
	dead := start(t, "hold", path)
	require.Equal(t, "owned", dead.read())
	dead.kill()
	requireMark := func(l *Lock) {
		t.Helper()
		before, unclean := l.Previous()
		require.True(t, unclean)
		require.Equal(t, dead.pid(), before.PID)
		require.Equal(t, Server, before.Role)
		require.False(t, before.Since.IsZero())
	}
	for range 2 {
		l, err := Acquire(bg, path, Recovery)
		require.NoError(t, err)
		requireMark(l)
		require.NoError(t, l.Release())
		requireOwner(t, path, 0)

		killed := start(t, "recover", path)
		require.Equal(t, "recovering <nil>", killed.read())
		killed.kill()
		require.NoError(t, mustShare(t, path).Release())

		l, err = Acquire(bg, path, Server)
		require.NoError(t, err)
		requireMark(l)
		require.NoError(t, l.Abandon())
	}
	l := mustAcquire(t, path)
	requireMark(l)
	require.NoError(t, l.Release())
	_, unclean := mustAcquire(t, path).Previous()
	require.False(t, unclean, "a server has served and ended cleanly")
}

// Ensure that a recovery leaves no mark if there was none before, also if it is killed.
func TestLock_previousOfRecovery(t *testing.T) {
	path := newPath(t)
	killed := start(t, "recover", path)
	require.Equal(t, "recovering <nil>", killed.read())
	killed.kill()
	l, err := Acquire(bg, path, Recovery)
	require.NoError(t, err)
	require.NoError(t, l.Release())
	_, unclean := mustAcquire(t, path).Previous()
	require.False(t, unclean)
}

// Ensure that ReadOnly tells the lasting causes from those that may pass.
func TestReadOnly(t *testing.T) {
	for _, lasts := range []error{syscall.EACCES, syscall.EPERM, syscall.EROFS} {
		require.True(t, ReadOnly(unavailable("app.db.lock", &fs.PathError{Op: "open", Path: "app.db.lock", Err: lasts})), lasts)
	}
	for _, passes := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.ENOMEM, syscall.EIO, syscall.EINTR, syscall.ENOENT} {
		require.False(t, ReadOnly(unavailable("app.db.lock", &fs.PathError{Op: "open", Path: "app.db.lock", Err: passes})), passes)
	}
	require.False(t, ReadOnly(nil))
}

// Ensure that AcquireShared without create makes no lock file, holds nothing if there is
// none, and is refused as usual if there is one.
func TestAcquireShared_createsNothing(t *testing.T) {
	path := newPath(t)
	l, err := AcquireShared(path, false)
	require.NoError(t, err)
	require.NoFileExists(t, lockName(path))
	mustAcquire(t, path)
	require.NoError(t, l.Release())

	_, err = AcquireShared(path, false)
	requireOwned(t, err, path, os.Getpid())
}
