//go:build cgo

package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// served returns a File that has saved its first state, want[0].
func served(t testing.TB, fs osfile.FS, path string, log bool, want []*memImage) (f *File, h *history) {
	t.Helper()
	h = new(history)
	f = NewFile(path, h, log)
	f.fs = fs
	_, err := f.Open(bg, new(memSink))
	require.NoError(t, err)
	h.commit(want[0].b)
	f.Start(0)
	_, err = f.Save(bg, Pace{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close(false)) })
	return f, h
}

// requireForeign fails the test unless err is a *ForeignChangeError whose copy, at
// path and .sqlite-mem-…, is img.
func requireForeign(t testing.TB, err error, path string, img *memImage) *ForeignChangeError {
	t.Helper()
	var fe *ForeignChangeError
	require.ErrorAs(t, err, &fe)
	require.Equal(t, path, fe.Path)
	require.NoError(t, fe.Err)
	require.True(t, strings.HasPrefix(fe.SavedAs, path+".sqlite-mem-"), fe.SavedAs)
	require.Equal(t, string(img.b), string(testfile.Read(t, fe.SavedAs)))
	return fe
}

// places are the things that may be in the place of a served file that was moved away.
var places = map[string]struct {
	put    func(t *testing.T, path, moved string)
	reason string
}{
	"nothing":              {func(*testing.T, string, string) {}, "moved or removed"},
	"a link to it":         {func(t *testing.T, path, moved string) { symlink(t, moved, path) }, "symbolic link"},
	"a link to nothing":    {func(t *testing.T, path, moved string) { symlink(t, moved+"-not", path) }, "symbolic link"},
	"a directory":          {func(t *testing.T, path, moved string) { require.NoError(t, os.Mkdir(path, 0o700)) }, "something else"},
	"a copy with its time": {func(t *testing.T, path, moved string) { copyWithTime(t, moved, path) }, "a different file"},
}

// symlink makes a symbolic link.
func symlink(t testing.TB, to, name string) {
	t.Helper()
	require.NoError(t, os.Symlink(to, name))
}

func copyWithTime(t testing.TB, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	require.NoError(t, err)
	testfile.Write(t, to, testfile.Read(t, from))
	require.NoError(t, os.Chtimes(to, info.ModTime(), info.ModTime()))
}

// Ensure that a save, a flush and Check notice that the file was moved, whatever is in its
// place. Nothing is written through a link, nothing is called durable, and the state in
// memory is kept beside the file. All goes on when the file is back.
func TestFile_moved(t *testing.T) {
	want := logStates(t, 5)
	for name, place := range places {
		for _, log := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/log=%v", name, log), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.db")
				moved := filepath.Join(t.TempDir(), "moved.db")
				f, h := served(t, osfile.OS{}, path, log, want)
				require.NoError(t, f.Check())
				require.NoError(t, os.Rename(path, moved))
				place.put(t, path, moved)
				there, _ := os.Lstat(path)

				err := f.Check()
				require.ErrorIs(t, err, ErrChanged)
				require.ErrorContains(t, err, place.reason)
				h.commit(want[1].b)
				if log {
					require.ErrorIs(t, f.Flush(), ErrNeedsSave)
				}
				for range 2 { // a second time, nothing is written
					_, err = f.Save(bg, Pace{})
					fe := requireForeign(t, err, path, want[1])
					require.Contains(t, fe.Reason, place.reason)
				}
				require.Less(t, f.Durable(), h.last().version)
				if log {
					require.ErrorAs(t, f.Flush(), new(*ForeignChangeError))
				}
				now, _ := os.Lstat(path)
				require.True(t, there == nil && now == nil || os.SameFile(there, now), "what was put there is there no more")
				require.Equal(t, string(want[0].b), string(testfile.Read(t, moved)))
				require.NoFileExists(t, pagelog.Name(moved))

				require.NoError(t, os.RemoveAll(path))
				require.NoError(t, os.Rename(moved, path))
				require.NoError(t, f.Check())
				if log { // without a save
					require.NoError(t, f.Flush())
					require.Equal(t, h.last().version, f.Durable())
				}
				h.commit(want[2].b)
				_, err = f.Save(bg, Pace{})
				require.NoError(t, err)
				h.commit(want[3].b)
				if log {
					require.NoError(t, f.Flush())
					require.Equal(t, h.last().version, f.Durable())
				}
				got, _, err := reload(testfile.CopySet(t, path))
				require.NoError(t, err)
				requireState(t, want[map[bool]int{false: 2, true: 3}[log]], got)
			})
		}
	}
}

// Ensure that the link by which the file was opened may be changed to point elsewhere. Saves
// and log stay with the file that was opened, where the process lock is.
func TestFile_linkTurned(t *testing.T) {
	want := logStates(t, 3)
	for _, dirs := range []bool{false, true} {
		t.Run(fmt.Sprintf("directories=%v", dirs), func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			require.NoError(t, err)
			for _, d := range []string{"a", "b"} {
				require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o700))
			}
			testfile.Write(t, filepath.Join(dir, "b", "x.db"), want[2].b)
			link, to, path := filepath.Join(dir, "link.db"), "x.db", filepath.Join(dir, "link.db")
			if dirs {
				link, to, path = filepath.Join(dir, "link"), "", filepath.Join(dir, "link", "x.db")
			}
			symlink(t, filepath.Join("a", to), link)
			f, h := served(t, osfile.OS{}, path, true, want)
			require.NoError(t, os.Remove(link))
			symlink(t, filepath.Join("b", to), link)
			h.commit(want[1].b)
			require.NoError(t, f.Check())
			require.NoError(t, f.Flush())
			require.FileExists(t, pagelog.Name(filepath.Join(dir, "a", "x.db")))
			_, err = f.Save(bg, Pace{})
			require.NoError(t, err)
			require.Equal(t, string(want[1].b), string(testfile.Read(t, filepath.Join(dir, "a", "x.db"))))
			require.Equal(t, string(want[2].b), string(testfile.Read(t, filepath.Join(dir, "b", "x.db"))))
			require.Len(t, testfile.Contents(t, filepath.Join(dir, "b")), 1)
		})
	}
}

// Ensure that a change of the content is noticed, by the open descriptor and by the name.
func TestFile_contentChanged(t *testing.T) {
	want := logStates(t, 3)
	for name, change := range map[string]func(t *testing.T, path string){
		"commit": func(t *testing.T, path string) {
			testfile.MustExec(t, testfile.OpenSQL(t, path), "INSERT INTO t(b) VALUES('theirs')")
		},
		"time": func(t *testing.T, path string) {
			require.NoError(t, os.Chtimes(path, time.Now(), time.Now().Add(time.Hour)))
		},
		"length":  func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 512)) },
		"journal": func(t *testing.T, path string) { testfile.Write(t, path+"-journal", []byte("journal")) },
		"counter": func(t *testing.T, path string) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			b := testfile.Read(t, path)
			b[sqlitefile.OffChangeCounter+3]++
			testfile.Write(t, path, b)
			require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		},
	} {
		for _, log := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/log=%v", name, log), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.db")
				f, h := served(t, osfile.OS{}, path, log, want)
				change(t, path)
				theirs := testfile.Read(t, path)
				h.commit(want[1].b)
				if log && name != "journal" {
					require.ErrorIs(t, f.Flush(), ErrNeedsSave)
					require.ErrorIs(t, f.Check(), ErrChanged)
				}
				_, err := f.Save(bg, Pace{})
				requireForeign(t, err, path, want[1])
				require.Equal(t, string(theirs), string(testfile.Read(t, path)))

				// The copy, moved into its place, is ours.
				var fe *ForeignChangeError
				require.ErrorAs(t, err, &fe)
				require.NoError(t, os.RemoveAll(path+"-journal"))
				require.NoError(t, os.Rename(fe.SavedAs, path))
				h.commit(want[2].b)
				_, err = f.Save(bg, Pace{})
				require.NoError(t, err)
				require.Equal(t, string(want[2].b), string(testfile.Read(t, path)))
			})
		}
	}
}

// Ensure that saves, flushes and Check do not open the file, with earlier states and
// without. To close it would drop the locks of SQLite in this process.
func TestFile_opensNothing(t *testing.T) {
	want := logStates(t, 6)
	for name, below := range map[string]osfile.FS{"links": osfile.OS{}, "copies": withoutLinks(osfile.OS{})} {
		for _, log := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/log=%v", name, log), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.db")
				ffs := &osfiletest.FaultFS{FS: below}
				f, h := served(t, ffs, path, log, want)
				f.Keep = 2
				opened := func() bool { return slices.Contains(ffs.Ops, "open x.db") || slices.Contains(ffs.Ops, "close x.db") }
				ffs.Ops = nil
				for _, img := range want[1:4] {
					h.commit(img.b)
					if log {
						require.NoError(t, f.Flush())
					}
					saved, err := f.Save(bg, Pace{})
					require.NoError(t, errors.Join(err, saved.NotKept, f.Check()))
				}
				require.False(t, opened(), ffs)

				// A -wal of another program is looked into.
				testfile.Write(t, path+"-wal", nil)
				h.commit(want[4].b)
				_, err := f.Save(bg, Pace{})
				require.NoError(t, err)
				require.False(t, opened(), ffs)

				require.NoError(t, os.Chtimes(path, time.Now(), time.Now().Add(time.Hour)))
				h.commit(want[5].b)
				for range 2 {
					_, err = f.Save(bg, Pace{})
					requireForeign(t, err, path, want[5])
				}
				require.False(t, opened(), ffs)
			})
		}
	}
}

// Ensure that a process that has lost the database saves its state beside the file. It writes
// neither file nor log, even if it learns of the loss in the middle of a save. A failure that
// passes is only an error.
func TestFile_owned(t *testing.T) {
	want := logStates(t, 4)
	lost := fmt.Errorf("%w: by lock", ErrNotOwner)
	for _, log := range []bool{false, true} {
		t.Run(fmt.Sprintf("log=%v", log), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			f, h := served(t, osfile.OS{}, path, log, want)
			h.commit(want[1].b)
			if log {
				require.NoError(t, f.Flush())
			}
			before := testfile.Contents(t, filepath.Dir(path))
			durable := f.Durable()

			passing := errors.New("passing")
			f.Owned = func() error { return passing }
			h.commit(want[2].b)
			_, err := f.Save(bg, Pace{})
			require.ErrorIs(t, err, passing)
			require.ErrorIs(t, f.Check(), passing)
			if log {
				require.ErrorIs(t, f.Flush(), passing)
			}
			require.Equal(t, before, testfile.Contents(t, filepath.Dir(path)))

			if log { // the other has begun to log
				require.NoError(t, os.Remove(pagelog.Name(path)))
				testfile.Write(t, pagelog.Name(path), []byte("theirs"))
				testfile.Write(t, pagelog.NewName(path), []byte("theirs, too"))
				before = testfile.Contents(t, filepath.Dir(path))
			}
			asked := 0
			f.Owned = func() error {
				if asked++; asked == 1 {
					return nil
				}
				return lost
			}
			for range 2 {
				_, err = f.Save(bg, Pace{})
				fe := requireForeign(t, err, path, want[2])
				require.Contains(t, fe.Reason, "another process owns the database: by lock")
				require.ErrorIs(t, f.Check(), ErrNotOwner)
				if log {
					require.Error(t, f.Flush())
				}
			}
			require.Equal(t, durable, f.Durable())
			for name, b := range before {
				require.Equal(t, b, string(testfile.Read(t, filepath.Join(filepath.Dir(path), name))), name)
			}
			require.Len(t, testfile.Contents(t, filepath.Dir(path)), len(before)+1)

			f.Owned = nil
			_, err = f.Save(bg, Pace{})
			require.NoError(t, err)
		})
	}
}

// Ensure that Close does not remove the log when the process may have lost the database. The
// log may be that of another process.
func TestClose_notOwner(t *testing.T) {
	for _, owned := range []error{nil, ErrNotOwner, errors.New("passing")} {
		want := logStates(t, 2)
		path := filepath.Join(t.TempDir(), "x.db")
		f, h := served(t, osfile.OS{}, path, true, want)
		h.commit(want[1].b)
		require.NoError(t, f.Flush())
		_, err := f.Save(bg, Pace{})
		require.NoError(t, err)
		log := testfile.Read(t, pagelog.Name(path))
		f.Owned = func() error { return owned }
		require.NoError(t, f.Close(true))
		if owned == nil {
			require.NoFileExists(t, pagelog.Name(path))
			continue
		}
		require.Equal(t, log, testfile.Read(t, pagelog.Name(path)))
		got, _, err := reload(path) // in nobody's way
		require.NoError(t, err)
		requireState(t, want[1], got)
	}
}

// Ensure that FileInfo.Links counts the names of the file, but not that of a state that a
// crash has left beside it.
func TestFile_links(t *testing.T) {
	path := testfile.New(t)
	open := func() int {
		f := NewFile(path, new(history), false)
		info, err := f.Open(bg, new(memSink))
		require.NoError(t, err)
		require.NoError(t, f.Close(false))
		return info.Links
	}
	require.Equal(t, 1, open())
	require.NoError(t, os.Link(path, keptName(path, 0)))
	require.Equal(t, 1, open())
	require.NoError(t, os.Link(path, path+"-other"))
	require.Equal(t, 2, open())
	require.NoError(t, os.Remove(keptName(path, 0)))
	require.Equal(t, 2, open())
}
