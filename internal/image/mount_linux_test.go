//go:build cgo && mounts

package image

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// The tests here mount, which needs root. TestOpen_mountPoint and TestFile_copyUp test the same
// everywhere, with file systems that only say so.

// mount mounts something until the end of the test.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	require.NoError(t, syscall.Mount(source, target, kind, flags, data))
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(target, syscall.MNT_DETACH)) })
}

// Ensure that Open refuses a file that is a mount point. It accepts a file in a directory
// that is one.
func TestMount_bind(t *testing.T) {
	from, states := logged(t, 2)
	at := filepath.Join(t.TempDir(), "a file.db")
	testfile.Write(t, at, nil)
	mount(t, from, at, "", syscall.MS_BIND, "")
	_, err := NewFile(at, new(history), true).Open(bg, new(memSink))
	require.ErrorIs(t, err, osfile.ErrMountPoint)

	shared := filepath.Join(t.TempDir(), "shared")
	require.NoError(t, os.Mkdir(shared, 0o700))
	mount(t, filepath.Dir(from), shared, "", syscall.MS_BIND, "")
	got, _, err := reload(filepath.Join(shared, filepath.Base(from)))
	require.NoError(t, err)
	requireState(t, states[2], got)
}

// Ensure that a file on overlayfs, which copies it at the first write, is served as any other.
func TestMount_overlay(t *testing.T) {
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "")
	for _, d := range []string{"upper", "work", "all"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o700))
	}
	lower := t.TempDir() // of another file system, so that inode numbers change
	want := logStates(t, 5)
	for _, name := range []string{"x.db", "y.db"} {
		testfile.Write(t, filepath.Join(lower, name), want[0].b)
	}
	all := filepath.Join(dir, "all")
	mount(t, "overlay", all, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, dir, dir))
	servedAfterCopyUp(t, osfile.OS{}, all, want)
}
