//go:build unix

package proclock

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

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

// Ensure that whoever may write to the database may lock it, whatever the umask of
// who came first, and nobody else.
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

// Ensure that a lock file which root makes is the database's owner's, or that of the
// directory while there is no database; that one which root made before is mended; and
// that a file with another name elsewhere is not given away.
func TestLock_owner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	lock := map[string]func(t *testing.T, path string) *Lock{
		"exclusive": mustAcquire,
		"shared":    mustShare,
	}
	for name, lock := range lock {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			require.NoError(t, os.Chown(path, 1234, 5678))
			require.NoError(t, lock(t, path).Release())
			uid, gid := ownerOfFile(t, lockName(path))
			require.EqualValues(t, []uint32{1234, 5678}, []uint32{uid, gid})

			require.NoError(t, os.Chown(lockName(path), 0, 0))
			require.NoError(t, os.Chmod(path, 0o660))
			require.NoError(t, lock(t, path).Release())
			uid, gid = ownerOfFile(t, lockName(path))
			require.EqualValues(t, []uint32{1234, 5678}, []uint32{uid, gid})
			require.Equal(t, os.FileMode(0o660), modeOfFile(t, lockName(path)))

			require.NoError(t, os.Chown(lockName(path), 0, 0))
			require.NoError(t, os.Link(lockName(path), filepath.Join(filepath.Dir(path), "elsewhere")))
			require.NoError(t, lock(t, path).Release())
			uid, _ = ownerOfFile(t, lockName(path))
			require.Zero(t, uid)
		})
		t.Run(name+", no database", func(t *testing.T) {
			path := newPath(t)
			require.NoError(t, os.Chown(filepath.Dir(path), 1234, 5678))
			lock(t, path)
			uid, gid := ownerOfFile(t, lockName(path))
			require.EqualValues(t, []uint32{1234, 5678}, []uint32{uid, gid})
			require.Equal(t, os.FileMode(0o600), modeOfFile(t, lockName(path)))
		})
	}
}

// Ensure that asking changes nothing and makes nothing.
func TestOwnerOf_changesNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Chown(path, 1234, 5678))
	putRecord(t, path, someRecord)
	requireOwner(t, path, 0)
	uid, _ := ownerOfFile(t, lockName(path))
	require.Zero(t, uid)
	require.Equal(t, someRecord, content(t, path))
}

// Ensure that a FIFO in the place of the lock file is refused, and not waited for.
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
