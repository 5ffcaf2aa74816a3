//go:build unix

package proclock

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"
)

func ownerOfFile(t *testing.T, name string) (uid, gid uint32) {
	t.Helper()
	info, err := os.Lstat(name)
	require.NoError(t, err)
	st := info.Sys().(*syscall.Stat_t)
	return st.Uid, st.Gid
}

func modeOfFile(t *testing.T, name string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(name)
	require.NoError(t, err)
	return info.Mode()
}

// Ensure that the lock file has the write permissions of the database, whatever the umask.
func TestLock_mode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	for perm, want := range map[os.FileMode]os.FileMode{
		0o600: 0o600, 0o400: 0o600, 0o640: 0o640, 0o660: 0o660, 0o666: 0o666, 0o755: 0o644, 0o777: 0o666,
	} {
		path := newPath(t)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Chmod(path, perm))
		mustAcquire(t, path)
		require.Equal(t, want, modeOfFile(t, lockName(path)), "database %v", perm)
	}
}

// lockers are the two ways to make a lock file.
var lockers = map[string]func(t *testing.T, path string) *Lock{
	"exclusive": mustAcquire,
	"shared":    mustShare,
}

// another returns a user and a group that this process may give a file to. For root they
// are not its own. Another user has only itself and the groups of the process.
func another(t *testing.T) (uid, gid int) {
	t.Helper()
	if os.Geteuid() == 0 {
		return 1234, 5678
	}
	uid, gid = os.Geteuid(), os.Getegid()
	groups, err := os.Getgroups()
	require.NoError(t, err)
	for _, g := range groups {
		if g != os.Getegid() {
			gid = g
		}
	}
	return uid, gid
}

// Ensure that the lock file gets the owner and the group of the database.
func TestLock_owner(t *testing.T) {
	uid, gid := another(t)
	for name, lock := range lockers {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			require.NoError(t, os.Chown(path, uid, gid))
			require.NoError(t, os.Chmod(path, 0o660))
			require.NoError(t, lock(t, path).Release())
			gotUID, gotGID := ownerOfFile(t, lockName(path))
			require.EqualValues(t, []int{uid, gid}, []int{int(gotUID), int(gotGID)})
			require.Equal(t, os.FileMode(0o660), modeOfFile(t, lockName(path)))
		})
		t.Run(name+", no database", func(t *testing.T) {
			path := newPath(t)
			require.NoError(t, os.Chown(filepath.Dir(path), uid, gid))
			lock(t, path)
			gotUID, gotGID := ownerOfFile(t, lockName(path))
			require.EqualValues(t, uid, gotUID)
			if os.Geteuid() == 0 { // for others the system says whose group it is
				require.EqualValues(t, gid, gotGID)
			}
			require.Equal(t, os.FileMode(0o600), modeOfFile(t, lockName(path)))
		})
	}
}

// Ensure that OwnerOf changes nothing, also where Acquire would adopt the lock file.
func TestOwnerOf_changesNothing(t *testing.T) {
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, nil, 0o666))
	uid, gid := another(t)
	require.NoError(t, os.Chown(path, uid, gid))
	putRecord(t, path, someRecord)
	before, err := os.Stat(lockName(path))
	require.NoError(t, err)
	requireOwner(t, path, 0)
	after, err := os.Stat(lockName(path))
	require.NoError(t, err)
	uidOf := func(info os.FileInfo) any { st := info.Sys().(*syscall.Stat_t); return [2]uint32{st.Uid, st.Gid} }
	require.Equal(t, uidOf(before), uidOf(after))
	require.Equal(t, before.Mode(), after.Mode())
	require.Equal(t, before.ModTime(), after.ModTime())
	require.Equal(t, someRecord, content(t, path))
}

// Ensure that a FIFO in the place of the lock file is refused without a wait.
func TestAcquire_fifo(t *testing.T) {
	path := newPath(t)
	require.NoError(t, syscall.Mkfifo(lockName(path), 0o600))
	_, err := Acquire(bg, path, Server)
	require.ErrorIs(t, err, ErrNotALock)
	_, err = AcquireShared(path, true)
	require.ErrorIs(t, err, ErrNotALock)
	_, _, err = OwnerOf(path)
	require.ErrorIs(t, err, ErrNotALock)
}

// Ensure that the record of a dead server is not taken for that of the next owner. That
// owner has locked the file and is about to write its own record.
func TestOwnerOf_deadRecord(t *testing.T) {
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
