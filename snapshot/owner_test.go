//go:build cgo && unix

package snapshot

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that a new file is private, whatever the umask, and that a file keeps
// its mode and owner.
func TestWrite_modeAndOwner(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "x.db")
	id := save(t, path, image(t, 1), FileID{})
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

// Ensure that where the group cannot be kept, another group gets no rights
// that were meant for it.
func TestWrite_groupNotKept(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs a file of another group")
	}
	path := filepath.Join(t.TempDir(), "x.db")
	id := save(t, path, image(t, 1), FileID{})
	require.NoError(t, os.Chown(path, -1, 5678))
	require.NoError(t, os.Chmod(path, 0o664))
	_, err := writer{noChown{osFS{}}}.write(bg, path, image(t, 2), id, writeOptions{})
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o644, info.Mode().Perm())
}

type noChown struct{ osFS }

func (n noChown) create(name string, perm os.FileMode) (file, error) {
	f, err := n.osFS.create(name, perm)
	return noChownFile{f}, err
}

type noChownFile struct{ file }

func (noChownFile) Chown(int, int) error { return syscall.EPERM }
