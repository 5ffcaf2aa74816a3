//go:build cgo

package image

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// mount mounts something until the end of the test, or skips it.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount")
	}
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		t.Skip("cannot mount:", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(target, syscall.MNT_DETACH)) })
}

// Ensure that a file which is a mount point by itself is refused by Open and FoldLog,
// with the remedy, and left as it is; and that a directory that is one is not.
func TestOpen_mountPoint(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "a file.db")
	testfile.Write(t, at, nil)
	from, states := logged(t, 2)
	mount(t, from, at, "", syscall.MS_BIND, "")
	testfile.Write(t, pagelog.Name(at), testfile.Read(t, pagelog.Name(from)))
	before := testfile.Contents(t, dir)

	_, err := NewFile(at, new(history), true).Open(bg, new(memSink))
	require.ErrorIs(t, err, osfile.ErrMountPoint)
	require.ErrorContains(t, err, at)
	require.ErrorContains(t, err, "mount the directory")
	_, err = FoldLog(bg, at, 0)
	require.ErrorIs(t, err, osfile.ErrMountPoint)
	require.Equal(t, before, testfile.Contents(t, dir))

	// Nothing to fold: nothing in the way.
	require.NoError(t, os.Remove(pagelog.Name(at)))
	_, err = FoldLog(bg, at, 0)
	require.NoError(t, err)

	shared := filepath.Join(t.TempDir(), "shared")
	require.NoError(t, os.Mkdir(shared, 0o700))
	mount(t, filepath.Dir(from), shared, "", syscall.MS_BIND, "")
	got, _, err := reload(filepath.Join(shared, filepath.Base(from)))
	require.NoError(t, err)
	requireState(t, states[2], got)
}

// Ensure that a file which a file system makes a copy of when it is written to
// (overlayfs) is loaded, saved and loaded again as any other.
func TestFile_overlay(t *testing.T) {
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "")
	for _, d := range []string{"lower", "upper", "work", "all"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o700))
	}
	want := logStates(t, 6)
	lower := filepath.Join(t.TempDir(), "lower") // of another file system, so that inode numbers change
	require.NoError(t, os.Mkdir(lower, 0o700))
	testfile.Write(t, filepath.Join(lower, "x.db"), want[0].b)
	all := filepath.Join(dir, "all")
	mount(t, "overlay", all, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, dir, dir))
	path := filepath.Join(all, "x.db")
	for i := 1; i < 5; i += 2 {
		h := new(history)
		h.commit(want[i-1].b)
		f := openLogged(t, path, h)
		f.Keep = 1
		require.NoError(t, f.Check())
		h.commit(want[i].b)
		require.NoError(t, f.Flush())
		h.commit(want[i+1].b)
		saved, err := f.Save(bg, Pace{})
		require.NoError(t, errors.Join(err, saved.NotKept))
		require.NoError(t, f.Close(true))
	}
	require.Equal(t, string(want[4].b), string(testfile.Read(t, path)))

	// A program that writes is seen, though it was the first to do so.
	testfile.Write(t, filepath.Join(lower, "y.db"), want[0].b)
	path = filepath.Join(all, "y.db")
	h := new(history)
	h.commit(want[0].b)
	f := openLogged(t, path, h)
	testfile.MustExec(t, testfile.OpenSQL(t, path), "INSERT INTO t(b) VALUES('theirs')")
	require.ErrorIs(t, f.Check(), ErrChanged)
	require.NoError(t, f.Close(false))
}

// Ensure that a file which this process may not write to is refused as read-only, whoever
// may replace it, and left as it is; as root, an immutable one stands for it.
func TestOpen_readOnly(t *testing.T) {
	for name, b := range map[string][]byte{"database": image(t, 3).b, "empty": nil} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			testfile.Write(t, path, b)
			require.NoError(t, os.Chmod(path, 0o400))
			if os.Getuid() == 0 {
				if out, err := exec.Command("chattr", "+i", path).CombinedOutput(); err != nil {
					t.Skip(strings.TrimSpace(string(out)))
				}
				defer func() { require.NoError(t, exec.Command("chattr", "-i", path).Run()) }()
			}
			_, err := NewFile(path, new(history), false).Open(bg, new(memSink))
			require.ErrorIs(t, err, osfile.ErrReadOnly)
			require.ErrorIs(t, err, os.ErrPermission)
			require.ErrorContains(t, err, path)
		})
	}
}
