package osfile

import (
	"os"
	"path/filepath"
	"runtime"
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
