//go:build !windows

package proclock

// The tests of a lock file that is removed or replaced. Windows removes no open file.

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/crash"
)

// Ensure that Check makes a removed or replaced lock file again and locks it, and that
// other processes are refused afterwards.
func TestLock_check(t *testing.T) {
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
				requireRefused(t, path)
			}
			require.NoError(t, l.Release())
			require.Empty(t, content(t, path))
			require.ErrorContains(t, l.Check(), "is released")
		})
	}
}

// Ensure that Acquire does not end with a lock on a file that was removed or replaced just
// before it was locked.
func TestAcquire_replacedMeanwhile(t *testing.T) {
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
			requireRefused(t, path)
		})
	}
}

// Ensure that Check reports a lost lock while another process has the new file. Check
// takes the lock again when that process has released it, but not if that process was
// killed.
func TestLock_checkLost(t *testing.T) {
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

// Ensure that something else in the place of the lock file is ErrNotALock and not a lost
// lock.
func TestLock_checkNotALock(t *testing.T) {
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

func init() {
	// Loses its lock file and makes it again.
	crash.Register("check", func(c *crash.Child) error {
		step = c.Point
		path := filepath.Join(c.Dir, "app.db")
		l, err := Acquire(bg, path, Server)
		if err != nil {
			return err
		}
		if err := os.Remove(lockName(path)); err != nil {
			return err
		}
		if err := l.Check(); err != nil {
			return err
		}
		return l.Release()
	})
}

// Ensure that the next process acquires at once after a kill between any two steps of a
// Check that makes the lock file again.
func TestCrash_check(t *testing.T) {
	kills := crash.Sweep(t, crash.Run{Program: "check"}, t.TempDir, func(dir string, res crash.Result) {
		free(t, filepath.Join(dir, "app.db"))
	})
	require.Equal(t, 10, kills)
}
