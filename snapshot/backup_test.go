//go:build cgo

package snapshot

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that a backup is the image, whole, in a file of its owner's alone, and that
// nothing else is left in the directory.
func TestBackup(t *testing.T) {
	for name, img := range map[string]*memImage{"some": image(t, 5000), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			err := Backup(bg, path, img)
			require.NoError(t, err)
			require.Equal(t, map[string]string{"x.db": string(img.b)}, dirContents(t, filepath.Dir(path)))
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode())
		})
	}
}

// Ensure that a backup replaces nothing, and gets no neighbour that would be taken for
// a part of it: one that is there before, nor one that comes while it is written.
func TestBackup_exists(t *testing.T) {
	img := image(t, 5)
	for _, suffix := range []string{"", "-journal", "-wal", "-memwal", "-memwal-new"} {
		for _, late := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "x.db")
			img := *img
			if late {
				img.read = func() { writeFile(t, path+suffix, []byte("theirs")) }
			} else {
				writeFile(t, path+suffix, []byte("theirs"))
			}
			err := Backup(bg, path, &img)
			require.ErrorIs(t, err, fs.ErrExist)
			require.ErrorContains(t, err, path+suffix)
			require.Equal(t, map[string]string{"x.db" + suffix: "theirs"}, dirContents(t, filepath.Dir(path)))
		}
	}
}

// Ensure that the end of the context ends a backup and leaves nothing.
func TestBackup_cancel(t *testing.T) {
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	img := image(t, 5)
	img.read = cancel
	path := filepath.Join(t.TempDir(), "x.db")
	err := Backup(ctx, path, img)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, dirContents(t, filepath.Dir(path)))
}

// Ensure that whichever file operation of a backup fails, there is no file, or a whole
// one that the error tells of; that the error tells the cause; that nothing else is
// left; and that the next backup works.
func TestBackup_faults(t *testing.T) {
	img := image(t, 40000)
	require.Greater(t, len(img.b), 2*saveRun)
	for name, from := range map[string]content{
		"image": ofImage(bg, img),
		"file":  ofFile(func(name string) error { return os.WriteFile(name, img.b, 0o600) }),
	} {
		t.Run(name, func(t *testing.T) {
			sweep(t, func(t *testing.T, ffs *faultFS) {
				path := filepath.Join(t.TempDir(), "x.db")
				err := writer{ffs}.backup(bg, path, from)
				got := dirContents(t, filepath.Dir(path))
				if len(ffs.fault) == 0 {
					require.NoError(t, err)
					require.True(t, ffs.did("sync") && ffs.did("syncDir"), ffs)
				} else {
					require.ErrorIs(t, err, ffs.err, ffs)
					var e *Error
					require.ErrorAs(t, err, &e)
					require.Equal(t, path, e.Path)
				}
				if b, ok := got["x.db"]; ok {
					require.Equal(t, string(img.b), b)
					if err != nil {
						require.ErrorContains(t, err, "in place")
					}
					delete(got, "x.db")
					require.NoError(t, os.Remove(path))
				} else {
					require.Error(t, err)
				}
				for name := range got {
					require.True(t, ffs.failed("remove"), name)
					require.ErrorContains(t, err, name)
					require.NoError(t, os.Remove(filepath.Join(filepath.Dir(path), name)))
				}
				require.NoError(t, writer{osFS{}}.backup(bg, path, from))
				require.Equal(t, map[string]string{"x.db": string(img.b)}, dirContents(t, filepath.Dir(path)))
			})
		})
	}
}
