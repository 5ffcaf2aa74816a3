package proclock

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that a process becomes the owner although its record cannot be written,
// because the disk is full: others are refused, without a name.
func TestAcquire_recordNotWritable(t *testing.T) {
	path := fullDisk(t)
	l, err := Acquire(bg, path, Server)
	require.NoError(t, err)
	owner, owned, err := OwnerOf(path)
	require.NoError(t, err)
	require.True(t, owned)
	require.Zero(t, owner)
	require.NoError(t, l.Release())
	requireOwner(t, path, 0)
}

// fullDisk returns the path of a database, whose lock file is there, on a disk
// that is full.
func fullDisk(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs a file system of its own")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount: %s", out)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	path := filepath.Join(dir, "app.db")
	require.NoError(t, os.WriteFile(lockName(path), nil, 0o600))
	file, err := os.Create(filepath.Join(dir, "filler"))
	require.NoError(t, err)
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, file.Close())
	return path
}
