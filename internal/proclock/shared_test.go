package proclock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mustShare shares path until the end of the test.
func mustShare(t *testing.T, path string) *Lock {
	t.Helper()
	l, err := AcquireShared(path, true)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Release()) })
	return l
}

// within is a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, d)
	t.Cleanup(cancel)
	return ctx
}

// requireBusy fails the test unless err says that the wait for by has ended with cause.
func requireBusy(t *testing.T, err error, path string, by Owner, cause error) {
	t.Helper()
	busy, ok := errors.AsType[*BusyError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, path, busy.Path)
	require.Equal(t, by, busy.By)
	require.ErrorIs(t, err, cause)
	require.NotErrorIs(t, err, ErrUnavailable)
}

// roleOf is the role of the owner that err names.
func roleOf(t *testing.T, err error) Role {
	t.Helper()
	owned, ok := errors.AsType[*OwnedError](err)
	require.True(t, ok, "%v", err)
	return owned.Role
}

// Ensure that tools share the lock, within a process and between processes, are no
// owners, and leave the record alone.
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

// Ensure that a tool is refused at once beside a server, and told that it is one.
func TestAcquireShared_besideServer(t *testing.T) {
	path := newPath(t)
	mustAcquire(t, path)
	_, err := AcquireShared(path, true)
	requireOwned(t, err, path, os.Getpid())
	require.Equal(t, Server, roleOf(t, err))
}

// Ensure that a server waits for the tools that write to the file, and has it as
// soon as the last of them is done.
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

// Ensure that a context that has ended does not keep anybody from a free database,
// nor somebody who only asks who owns it.
func TestAcquire_endedContext(t *testing.T) {
	path := newPath(t)
	ended, cancel := context.WithCancel(bg)
	cancel()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_, _, err := OwnerOf(path)
				assert.NoError(t, err)
			}
		}
	}()
	defer func() { close(stop); <-done }()
	for range 200 {
		l, err := Acquire(ended, path, Server)
		require.NoError(t, err)
		require.NoError(t, l.Release())
	}
}

// Ensure that a recovery is waited for by a server, refuses a tool by its role, and
// is refused by a server.
func TestAcquire_recovery(t *testing.T) {
	path := newPath(t)
	other := start(t, "recover", path)
	require.Equal(t, "recovering <nil>", other.read())
	owner, owned, err := OwnerOf(path)
	require.NoError(t, err)
	require.True(t, owned)
	require.Equal(t, Owner{other.pid(), owner.Since, Recovery}, owner)

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

// Ensure that the mark of a server that ended uncleanly lasts until the next server
// has served: through recoveries that end or are killed, through tools, and through
// a server that cannot load the file.
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

// Ensure that a recovery leaves no mark where there was none, even killed.
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

// Ensure that the record of a dead server is not taken for that of the process that has
// locked the file after it and is about to write its own.
func TestOwnerOf_deadRecord(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the dead are not told from the living there")
	}
	path := newPath(t)
	dead := start(t, "hold", path)
	require.Equal(t, "owned", dead.read())
	dead.kill()
	old := content(t, path)

	coming := flock.New(lockName(path), flock.SetFlag(os.O_RDWR))
	ok, err := coming.TryLock()
	require.True(t, ok, "%v", err)
	synctest.Test(t, func(t *testing.T) { // the waiting costs no time
		time.AfterFunc(settle/2, func() { putRecord(t, path, fmt.Sprint(record{owner: newOwner(Recovery)})) })
		owner, owned, err := OwnerOf(path)
		require.NoError(t, err)
		require.True(t, owned)
		require.Equal(t, Recovery, owner.Role)
		require.Equal(t, os.Getpid(), owner.PID)

		// One that stays is told: its process may live in another container.
		putRecord(t, path, old)
		owner, _, err = OwnerOf(path)
		require.NoError(t, err)
		require.Equal(t, dead.pid(), owner.PID)
	})
	require.NoError(t, coming.Unlock())
}

// Ensure that of the reasons why nothing can be locked those that last are told from
// those that may pass.
func TestReadOnly(t *testing.T) {
	for _, lasts := range []error{syscall.EACCES, syscall.EPERM, syscall.EROFS} {
		require.True(t, ReadOnly(unavailable("app.db.lock", &fs.PathError{Op: "open", Path: "app.db.lock", Err: lasts})), lasts)
	}
	for _, passes := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.ENOMEM, syscall.EIO, syscall.EINTR, syscall.ENOENT} {
		require.False(t, ReadOnly(unavailable("app.db.lock", &fs.PathError{Op: "open", Path: "app.db.lock", Err: passes})), passes)
	}
	require.False(t, ReadOnly(nil))
}

// Ensure that a lock file that was removed, or replaced by a copy, is made again and
// locked, and that nobody else gets in afterwards.
func TestLock_check(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open cannot be removed there")
	}
	for name, do := range map[string]func(t *testing.T, path string){
		"untouched": func(*testing.T, string) {},
		"removed": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(lockName(path)))
		},
		"replaced by an empty file": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(lockName(path)))
			putRecord(t, path, "")
		},
		"replaced by a copy": func(t *testing.T, path string) {
			b, err := os.ReadFile(lockName(path))
			require.NoError(t, err)
			require.NoError(t, os.Remove(lockName(path)))
			require.NoError(t, os.WriteFile(lockName(path), b, 0o600))
		},
		"a recovery was there meanwhile": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(lockName(path)))
			l, err := Acquire(bg, path, Recovery)
			require.NoError(t, err)
			require.NoError(t, l.Release())
		},
		"a server has come and gone": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(lockName(path)))
			l, err := Acquire(bg, path, Server)
			require.NoError(t, err)
			require.NoError(t, l.Release())
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			l := mustAcquire(t, path)
			for range 3 {
				do(t, path)
				require.NoError(t, l.Check())
				requireOwner(t, path, os.Getpid())
				_, err := Acquire(bg, path, Server)
				requireOwned(t, err, path, os.Getpid())
				other := start(t, "hold", path)
				require.Contains(t, other.read(), "is owned by process")
			}
			require.NoError(t, l.Release())
			require.Empty(t, content(t, path))
			require.ErrorContains(t, l.Check(), "is released")
		})
	}
}

// Ensure that a lock file that is removed or replaced just before it is locked is not
// the one that is locked in the end.
func TestAcquire_replacedMeanwhile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open cannot be removed there")
	}
	for name, again := range map[string]bool{"removed": false, "replaced": true} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			defer func(old func(string)) { step = old }(step)
			times := 0
			step = func(name string) {
				if name != "opened" || times == 3 {
					return
				}
				times++
				require.NoError(t, os.Remove(lockName(path)))
				if again {
					putRecord(t, path, "")
				}
			}
			mustAcquire(t, path)
			require.Equal(t, 3, times)
			other := start(t, "hold", path)
			require.Contains(t, other.read(), "is owned by process")
		})
	}
}

// Ensure that a lock is called lost when another process has the new file, and had
// again when that has gone; but not if it has left the mark of a crash.
func TestLock_checkLost(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open cannot be removed there")
	}
	for _, role := range []string{"hold", "recover", "share"} {
		t.Run(role, func(t *testing.T) {
			path := newPath(t)
			l := mustAcquire(t, path)
			require.NoError(t, os.Remove(lockName(path)))
			other := start(t, role, path)
			require.NotEmpty(t, other.read())
			for range 2 {
				err := l.Check()
				require.ErrorIs(t, err, ErrLost)
				require.ErrorContains(t, err, lockName(path)+" was removed or replaced")
				owned, is := errors.AsType[*OwnedError](err)
				require.Equal(t, role != "share", is)
				if is {
					require.Equal(t, other.pid(), owned.PID)
				}
			}
			other.tell("release")
			require.Equal(t, "released <nil>", other.read())
			require.NoError(t, l.Check())
			requireOwner(t, path, os.Getpid())
		})
	}
	t.Run("killed", func(t *testing.T) {
		path := newPath(t)
		l := mustAcquire(t, path)
		require.NoError(t, os.Remove(lockName(path)))
		other := start(t, "hold", path)
		require.Equal(t, "owned", other.read())
		other.kill()
		require.ErrorIs(t, l.Check(), ErrLost)
		requireOwner(t, path, 0)
		next, err := Acquire(bg, path, Server)
		require.NoError(t, err)
		before, _ := next.Previous()
		require.Equal(t, other.pid(), before.PID, "Check has wiped the mark")
		require.NoError(t, next.Release())
		require.NoError(t, l.Check())
	})
}

// Ensure that a lock file whose place was taken by something else is an error that
// says so, and no loss to a process that does not exist.
func TestLock_checkNotALock(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open cannot be removed there")
	}
	path := newPath(t)
	l := mustAcquire(t, path)
	require.NoError(t, os.Remove(lockName(path)))
	require.NoError(t, os.Symlink("elsewhere", lockName(path)))
	err := l.Check()
	require.ErrorIs(t, err, ErrNotALock)
	require.NotErrorIs(t, err, ErrLost)
	require.NoError(t, os.Remove(lockName(path)))
	require.NoError(t, l.Check())
}

// Ensure that a shared lock is taken again, too, and is lost to an owner.
func TestLock_checkShared(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open cannot be removed there")
	}
	path := newPath(t)
	l := mustShare(t, path)
	require.NoError(t, os.Remove(lockName(path)))
	require.NoError(t, l.Check())
	_, err := Acquire(within(t, time.Millisecond), path, Server)
	requireBusy(t, err, path, Owner{}, context.DeadlineExceeded)
	require.NoError(t, os.Remove(lockName(path)))
	mustAcquire(t, path)
	require.ErrorIs(t, l.Check(), ErrLost)
}

// Ensure that a shared lock that is not to make the lock file makes none, holds nothing
// where there is none, and is as any other where there is one.
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
