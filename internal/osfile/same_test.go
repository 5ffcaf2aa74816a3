package osfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// statFS is OS to all but Same.
type statFS struct{ OS }

// Ensure that Same tells an open file from another one of its name, from a link to it, and
// from none, and knows its size. It does so with the system's own call and without.
func TestSame(t *testing.T) {
	for _, fsx := range []FS{OS{}, statFS{}} {
		dir := t.TempDir()
		name, other := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		f, err := fsx.Create(name, 0o600)
		require.NoError(t, err)
		_, err = f.Write([]byte("12345"))
		require.NoError(t, err)
		check := func(name string, want bool) {
			t.Helper()
			same, size, err := Same(fsx, name, f)
			require.NoError(t, err)
			require.Equal(t, want, same)
			require.EqualValues(t, 5, size)
		}
		check(name, true)
		require.NoError(t, os.WriteFile(other, []byte("12345"), 0o600))
		check(other, false)
		if err := os.Symlink(name, filepath.Join(dir, "link")); err == nil {
			check(filepath.Join(dir, "link"), false)
		}
		_, _, err = Same(fsx, filepath.Join(dir, "none"), f)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, f.Close())
		_, _, err = Same(fsx, name, f)
		require.Error(t, err, "the file is closed")
	}
}
