package osfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that Resolve gives every path of a file the same name.
func TestResolve(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need a privilege")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	require.NoError(t, os.Symlink(filepath.Join(dir, "a", "b"), filepath.Join(dir, "b")))
	require.NoError(t, os.Symlink("../real.db", filepath.Join(dir, "a", "b", "up.db")))
	require.NoError(t, os.Symlink("b/up.db", filepath.Join(dir, "twice.db")))
	require.NoError(t, os.Symlink("loop.db", filepath.Join(dir, "loop.db")))
	t.Chdir(dir)

	want := filepath.Join(dir, "a", "real.db")
	paths := []string{want, "a/real.db", "b/../real.db", "b/up.db", "twice.db", filepath.Join(dir, "twice.db"), "./a/../a/b/up.db"}
	for range 2 { // first dangling, then with the file there
		for _, p := range paths {
			got, err := Resolve(p)
			require.NoError(t, err, p)
			require.Equal(t, want, got, p)
		}
		require.NoError(t, os.WriteFile(want, nil, 0o600))
	}
	for _, p := range []string{"loop.db", "none/x.db", "none/", "a/none/"} {
		_, err := Resolve(p)
		require.Error(t, err, p)
	}
}

// failingFS is the system, whose files cannot be opened for writing.
type failingFS struct {
	OS
	err error
}

func (f failingFS) OpenWrite(name string) (File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: f.err}
}

// Ensure that only a lasting refusal makes a file read-only. A full disk, or a lack of descriptors,
// may pass: a server that took the file for read-only then would serve it without saving it.
func TestOpenForWriting(t *testing.T) {
	for err, readOnly := range map[error]bool{
		fs.ErrPermission: true, syscall.EACCES: true, syscall.EROFS: true,
		syscall.ENOSPC: false, syscall.EMFILE: false, syscall.EIO: false,
	} {
		_, got := OpenForWriting(failingFS{err: err}, "app.db")
		require.ErrorIs(t, got, err)
		require.Equal(t, readOnly, errors.Is(got, ErrReadOnly), "%v", err)
	}
}
