//go:build cgo && unix

package image

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// Ensure that a new file is private, whatever the umask, and that a file keeps
// its mode and owner.
func TestWrite_modeAndOwner(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "x.db")
	id := save(t, path, image(t, 1), sqlitefile.ID{})
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())

	for _, perm := range []os.FileMode{0o644, 0o660, 0o400, 0o666} {
		require.NoError(t, os.Chmod(path, perm))
		syscall.Umask(0o077)
		id = save(t, path, image(t, 2), id)
		info, err = os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, perm, info.Mode().Perm())
	}
	if os.Getuid() == 0 {
		require.NoError(t, os.Chown(path, 1234, 5678))
		save(t, path, image(t, 3), id)
		info, err = os.Stat(path)
		require.NoError(t, err)
		st := info.Sys().(*syscall.Stat_t)
		require.EqualValues(t, []uint32{1234, 5678}, []uint32{st.Uid, st.Gid})
		require.EqualValues(t, 0o666, info.Mode().Perm())
	}
}

// Ensure that a save works where the file system refuses to change permissions, if the new
// file lets nobody do more than the old one. Otherwise the save is an error, and the old file
// stays in its place. The change is not tried when there is nothing to change.
func TestWrite_chmodRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		old, made os.FileMode // of the old file, and of new ones
		works     bool
	}{
		"private":       {0o600, 0o600, true},
		"public before": {0o644, 0o600, true},
		"all are alike": {0o777, 0o777, true},
		"wider":         {0o600, 0o644, false},
		"other bits":    {0o640, 0o604, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			before := image(t, 1)
			id := save(t, path, before, sqlitefile.ID{})
			require.NoError(t, os.Chmod(path, tt.old))
			res, err := writer{noChmod{osfile.OS{}, tt.made}}.write(bg, path, image(t, 2), id, writeOptions{})
			requireNoTemp(t, path)
			if !tt.works {
				require.ErrorIs(t, err, syscall.EPERM)
				require.Equal(t, before.b, testfile.Read(t, path))
				return
			}
			require.NoError(t, err)
			require.False(t, res.ID.IsZero())
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, tt.made, info.Mode().Perm())
		})
	}
}

// noChmod is a file system that gives all files one mode.
type noChmod struct {
	osfile.OS
	mode os.FileMode
}

func (n noChmod) Create(name string, perm os.FileMode) (osfile.File, error) {
	f, err := n.OS.Create(name, perm)
	if err == nil {
		err = f.Chmod(n.mode)
	}
	return noChmodFile{f}, err
}

type noChmodFile struct{ osfile.File }

func (noChmodFile) Chmod(os.FileMode) error { return syscall.EPERM }
