//go:build cgo

package image

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// The tests here plant known faults behind the seam, and require that the sweeps find them. A
// sweep that finds nothing in a sound product proves nothing by itself.

// inPlace is a file system that writes a file anew instead of renaming another to it.
func inPlace(f osfile.FS) osfile.FS {
	return &osfiletest.PlantedFS{FS: f, OnRename: func(from, to string) error {
		b, err := os.ReadFile(from)
		if err == nil {
			err = f.Remove(to)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		x, err := f.Create(to, 0o600)
		if err != nil {
			return err
		}
		_, err = x.Write(b)
		return errors.Join(err, x.Sync(), x.Close(), f.Remove(from))
	}}
}

// Ensure that power failures show each fault in the order of operations, in the expected run.
func TestPlanted_power(t *testing.T) {
	tests := map[string]struct {
		plant func(f osfile.FS) osfile.FS
		run   string // of powerRuns
	}{
		"the file is never synced": {func(f osfile.FS) osfile.FS {
			return &osfiletest.PlantedFS{FS: f, OnFile: func(_ string, x *osfiletest.PlantedFile) { x.OnSync = osfiletest.Nothing }}
		}, "save over a save"},

		"the file is synced after the rename": {func(f osfile.FS) osfile.FS {
			return &osfiletest.PlantedFS{FS: f,
				OnFile: func(_ string, x *osfiletest.PlantedFile) { x.OnSync = osfiletest.Nothing },
				OnRename: func(from, to string) error {
					if err := f.Rename(from, to); err != nil {
						return err
					}
					x, err := f.Open(to)
					if err != nil {
						return err
					}
					return errors.Join(x.Sync(), x.Close())
				}}
		}, "save over a save"},

		"the directory is never synced": {func(f osfile.FS) osfile.FS {
			return &osfiletest.PlantedFS{FS: f, OnSyncDir: func(string) error { return nil }}
		}, "save over a save"},

		"the directory is not synced after the rename": {func(f osfile.FS) osfile.FS {
			renamed := false
			return &osfiletest.PlantedFS{FS: f,
				OnRename: func(from, to string) error { renamed = true; return f.Rename(from, to) },
				OnSyncDir: func(name string) error {
					if renamed {
						return nil
					}
					return f.SyncDir(name)
				}}
		}, "first save"},

		"the directory is not synced before the rename": {func(f osfile.FS) osfile.FS {
			renamed := false
			return &osfiletest.PlantedFS{FS: f,
				OnRename: func(from, to string) error { renamed = true; return f.Rename(from, to) },
				OnSyncDir: func(name string) error {
					if !renamed {
						return nil
					}
					renamed = false
					return f.SyncDir(name)
				}}
		}, "after a hot journal"},

		"the file is written in place": {inPlace, "save over a save"},

		"the copy beside a foreign change is not synced": {func(f osfile.FS) osfile.FS {
			return &osfiletest.PlantedFS{FS: f, OnFile: func(_ string, x *osfiletest.PlantedFile) { x.OnSync = osfiletest.Nothing }}
		}, "beside a foreign change"},

		"nor its directory": {func(f osfile.FS) osfile.FS {
			return &osfiletest.PlantedFS{FS: f, OnSyncDir: func(string) error { return nil }}
		}, "beside a foreign change"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			errs, states := powerRuns[tt.run].bad(t, tt.plant)
			require.NotEmpty(t, errs, "not found in %d states", states)
			require.Less(t, len(errs), states, "found in every state: that is another fault")
		})
	}
}

// Ensure that the sweep of faults shows a save that takes a failure for a success, or
// leaves files behind.
func TestPlanted_faults(t *testing.T) {
	tests := map[string]func(f osfile.FS) osfile.FS{
		// The rest of the file is missing: the save may not go on.
		"a short write is ignored": func(f osfile.FS) osfile.FS {
			return &osfiletest.PlantedFS{FS: f, OnFile: func(_ string, x *osfiletest.PlantedFile) {
				x.OnWrite = func(p []byte) (int, error) { _, _ = x.File.Write(p); return len(p), nil }
			}}
		},
		"a failed sync is ignored": func(f osfile.FS) osfile.FS {
			return &osfiletest.PlantedFS{FS: f, OnFile: func(_ string, x *osfiletest.PlantedFile) {
				x.OnSync = func() error { _ = x.File.Sync(); return nil }
			}}
		},
		"a failed sync of the directory is ignored": func(f osfile.FS) osfile.FS {
			return &osfiletest.PlantedFS{FS: f, OnSyncDir: func(name string) error { _ = f.SyncDir(name); return nil }}
		},
		"a failed rename is ignored": func(f osfile.FS) osfile.FS {
			return &osfiletest.PlantedFS{FS: f, OnRename: func(from, to string) error { _ = f.Rename(from, to); return nil }}
		},
		"a failed rename leaves the old file gone": func(f osfile.FS) osfile.FS {
			return &osfiletest.PlantedFS{FS: f, OnRename: func(from, to string) error {
				return errors.Join(os.RemoveAll(to), f.Rename(from, to))
			}}
		},
	}
	oldImg, newImg, nextImg := image(t, 5), image(t, 40), image(t, 7)
	for name, plant := range tests {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				ffs := &osfiletest.FaultFS{FS: osfile.OS{}, FailAt: n, Err: syscall.ENOSPC, Short: true}
				if osfiletest.Finds(t, func(t testing.TB) { faultySave(t, ffs, plant(ffs), oldImg, newImg, nextImg) }) {
					return
				}
				require.NotEmpty(t, ffs.Failures, "not found")
			}
		})
	}
}

// Ensure that the tests see a file that is not made exclusively, and so overwrites another.
func TestPlanted_notExclusive(t *testing.T) {
	overwrites := func(f osfile.FS) bool {
		path := filepath.Join(t.TempDir(), "x.db")
		testfile.Write(t, path, nil)
		// A file of the user's under each name that a copy could get.
		begin := time.Now().UTC()
		for i := range 120 {
			testfile.Write(t, path+".sqlite-mem-"+begin.Add(time.Duration(i)*time.Second).Format("20060102T150405Z"), []byte("mine"))
		}
		_, err := writer{f}.write(bg, path, image(t, 5), sqlitefile.ID{}, writeOptions{})
		var fe *ForeignChangeError
		require.ErrorAs(t, err, &fe)
		require.NoError(t, fe.Err)
		mine := 0
		for _, b := range testfile.Contents(t, filepath.Dir(path)) {
			if b == "mine" {
				mine++
			}
		}
		return mine < 120
	}
	require.False(t, overwrites(osfile.OS{}))
	require.True(t, overwrites(&osfiletest.PlantedFS{FS: osfile.OS{}, OnCreate: func(name string, perm os.FileMode) (osfile.File, error) {
		if err := os.WriteFile(name, nil, perm); err != nil {
			return nil, err
		}
		return osfile.OS{}.OpenWrite(name)
	}}))
}
