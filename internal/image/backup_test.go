//go:build cgo

package image

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// Ensure that a backup is the whole image, that only its owner can read it, and that
// nothing else is left in the directory.
func TestBackup(t *testing.T) {
	for name, img := range map[string]*memImage{"some": image(t, 5000), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			err := Backup(bg, path, img)
			require.NoError(t, err)
			require.Equal(t, map[string]string{"x.db": string(img.b)}, testfile.Contents(t, filepath.Dir(path)))
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode())
		})
	}
}

// Ensure that a backup replaces nothing. It is not made beside a file that would be taken for
// a part of it. That file may be there before, or come while the backup is written.
func TestBackup_exists(t *testing.T) {
	img := image(t, 5)
	for _, suffix := range []string{"", "-journal", "-wal", "-memwal", "-memwal-new"} {
		for _, late := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "x.db")
			img := *img
			if late {
				img.read = func() { testfile.Write(t, path+suffix, []byte("theirs")) }
			} else {
				testfile.Write(t, path+suffix, []byte("theirs"))
			}
			err := Backup(bg, path, &img)
			require.ErrorIs(t, err, fs.ErrExist)
			require.ErrorContains(t, err, path+suffix)
			require.Equal(t, map[string]string{"x.db" + suffix: "theirs"}, testfile.Contents(t, filepath.Dir(path)))
		}
	}
}

// waysToPlace returns file systems with a rename that replaces nothing, with hard links
// only, and with neither.
func waysToPlace(f osfile.FS) map[string]osfile.FS {
	unsupported := func(string, string) error { return errors.ErrUnsupported }
	links := &osfiletest.PlantedFS{FS: f, OnRenameNew: unsupported}
	copies := withoutLinks(f).(*osfiletest.PlantedFS)
	copies.OnRenameNew = unsupported
	return map[string]osfile.FS{"rename": f, "links": links, "neither": copies}
}

// Ensure that of several backups to one name at once one is made, and the others fail with
// fs.ErrExist. This holds for each way in which a file gets a new name.
func TestBackup_atOnce(t *testing.T) {
	img := []*memImage{image(t, 1), image(t, 2), image(t, 3), image(t, 4)}
	for name, f := range waysToPlace(osfile.OS{}) {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				path := filepath.Join(t.TempDir(), "x.db")
				errs := make([]error, len(img))
				var wg sync.WaitGroup
				for i, img := range img {
					wg.Go(func() { errs[i] = writer{f}.backup(bg, path, ofImage(bg, img)) })
				}
				wg.Wait()
				made := -1
				for i, err := range errs {
					if err == nil {
						require.Less(t, made, 0, "two were made")
						made = i
						continue
					}
					require.ErrorIs(t, err, fs.ErrExist)
				}
				require.GreaterOrEqual(t, made, 0, "none was made: %v", errs)
				require.Equal(t, map[string]string{"x.db": string(img[made].b)}, testfile.Contents(t, filepath.Dir(path)))
			}
		})
	}
}

// Ensure that a backup does not get the name of a part of a database that is there. If there
// is no such database, it gets that name.
func TestBackup_nameOfAPart(t *testing.T) {
	img := image(t, 5)
	for _, part := range []string{
		"x.db-journal", "x.db-wal", "x.db-shm", "x.db-memwal", "x.db-memwal-new", "x.db.lock", "x.db.sock",
		"x.db.kept-new", "x.db.kept-1", "x.db.kept-12", "x.db-WAL", filepath.Base(tempName("x.db")), filepath.Base(tempName("x.db")) + "-wal",
	} {
		path := filepath.Join(t.TempDir(), "x.db")
		to := filepath.Join(filepath.Dir(path), part)
		db, is := DatabaseOf(to)
		require.True(t, is, part)
		require.Equal(t, path, db)
		testfile.Write(t, path, img.b)
		err := Backup(bg, to, img)
		require.ErrorIs(t, err, fs.ErrExist, part)
		require.ErrorContains(t, err, path)
		require.Equal(t, map[string]string{"x.db": string(img.b)}, testfile.Contents(t, filepath.Dir(path)))
		require.NoError(t, os.Remove(path))
		require.NoError(t, Backup(bg, to, img), part)
	}
	for _, name := range []string{"x.db", "x-journal.db", "-wal", ".lock", "x.db.kept-", "x.db.kept-1a", "x.db.sqlite-mem-20261126T110147Z"} {
		_, is := DatabaseOf(filepath.Join("dir", name))
		require.False(t, is, name)
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
	require.Empty(t, testfile.Contents(t, filepath.Dir(path)))
}

// Ensure that whichever file operation of a backup fails, there is no file, or a whole one
// that the error reports. The error names the cause, nothing else is left, and the next
// backup works.
func TestBackup_faults(t *testing.T) {
	img := image(t, 40000)
	require.Greater(t, len(img.b), 2*saveRun)
	small := image(t, 5)
	type way struct {
		img  *memImage
		from content
		fs   osfile.FS
	}
	ways := map[string]way{"file": {img, ofFile(func(name string) error { return os.WriteFile(name, img.b, 0o600) }), osfile.OS{}}}
	for name, f := range waysToPlace(osfile.OS{}) {
		ways["image, "+name] = way{small, ofImage(bg, small), f}
	}
	ways["image, rename"] = way{img, ofImage(bg, img), osfile.OS{}}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			img, from := way.img, way.from
			sweep(t, func(t *testing.T, ffs *osfiletest.FaultFS) {
				ffs.FS = way.fs
				path := filepath.Join(t.TempDir(), "x.db")
				err := writer{ffs}.backup(bg, path, from)
				got := testfile.Contents(t, filepath.Dir(path))
				switch {
				case len(ffs.Failures) == 0:
					require.NoError(t, err)
					require.True(t, ffs.Did("sync") && ffs.Did("syncDir"), ffs)
				case err == nil: // there are other ways to give it a name
					require.True(t, ffs.FailedFirst("link") && !ffs.Forever, ffs)
				default:
					require.ErrorIs(t, err, ffs.Err, ffs)
					var e *Error
					require.ErrorAs(t, err, &e)
					require.Equal(t, path, e.Path)
				}
				if b, ok := got["x.db"]; ok && b == "" && ffs.HasFailed("remove") {
					require.ErrorContains(t, err, path+" could not be removed")
					require.NoError(t, os.Remove(path))
					delete(got, "x.db")
				} else if ok {
					require.Equal(t, string(img.b), b)
					if err != nil {
						require.ErrorContains(t, err, "in place")
						require.True(t, ffs.Did("syncDir") || strings.Contains(err.Error(), "a power failure may"), ffs)
					}
					delete(got, "x.db")
					require.NoError(t, os.Remove(path))
				} else {
					require.Error(t, err)
				}
				for name := range got {
					require.True(t, ffs.HasFailed("remove"), name)
					require.ErrorContains(t, err, name)
					require.NoError(t, os.Remove(filepath.Join(filepath.Dir(path), name)))
				}
				require.NoError(t, writer{osfile.OS{}}.backup(bg, path, from))
				require.Equal(t, map[string]string{"x.db": string(img.b)}, testfile.Contents(t, filepath.Dir(path)))
			})
		})
	}
}
