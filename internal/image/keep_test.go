//go:build cgo

package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// keptImages returns n images that differ.
func keptImages(t *testing.T, n int) (images []*memImage) {
	for i := range n {
		images = append(images, small(i)(t))
	}
	return images
}

// requireKept makes sure that the directory of path has images. The file comes first, then
// the earlier states. nil stands for an empty place.
func requireKept(t testing.TB, path string, images ...*memImage) {
	t.Helper()
	want := map[string]string{}
	for i, img := range images {
		if name := path; img != nil {
			if i > 0 {
				name = keptName(path, i)
			}
			want[filepath.Base(name)] = string(img.b)
		}
	}
	require.Equal(t, want, testfile.Contents(t, filepath.Dir(path)))
}

// Ensure that as many earlier states are kept as Keep asks for, the last one first. Ensure it
// on a file system with hard links and on one without.
func TestKeep(t *testing.T) {
	for name, w := range map[string]writer{"links": {osfile.OS{}}, "copies": {withoutLinks(osfile.OS{})}} {
		t.Run(name, func(t *testing.T) {
			img := keptImages(t, 9)
			path := filepath.Join(t.TempDir(), "x.db")
			var id sqlitefile.ID
			save := func(i, keep int) {
				t.Helper()
				res, err := w.write(bg, path, img[i], id, writeOptions{keep: keep})
				require.NoError(t, err)
				require.NoError(t, res.notKept)
				id = res.ID
			}
			save(0, 2)
			requireKept(t, path, img[0])
			save(1, 2)
			requireKept(t, path, img[1], img[0])
			save(2, 2)
			requireKept(t, path, img[2], img[1], img[0])
			save(3, 2)
			requireKept(t, path, img[3], img[2], img[1])
			save(4, 1)
			requireKept(t, path, img[4], img[3], img[1])
			save(5, 0)
			requireKept(t, path, img[5], img[3], img[1])
			save(6, 3)
			requireKept(t, path, img[6], img[5], img[3], img[1])
			require.NoError(t, os.Remove(keptName(path, 2)))
			save(7, 3) // moves no more than it must
			requireKept(t, path, img[7], img[6], img[5], img[1])

			// The file as it was, with its times and all, not another of the same bytes.
			info, err := os.Stat(path)
			require.NoError(t, err)
			save(8, 3)
			kept, err := os.Stat(keptName(path, 1))
			require.NoError(t, err)
			if name == "links" {
				require.True(t, os.SameFile(info, kept))
			}
			require.Equal(t, os.FileMode(0o600), kept.Mode().Perm())
		})
	}
}

// withoutLinks is a file system that has no hard links, as FAT.
func withoutLinks(f osfile.FS) osfile.FS {
	return &osfiletest.PlantedFS{FS: f, OnLink: func(name, also string) error {
		return &os.LinkError{Op: "link", Old: name, New: also, Err: syscall.EPERM}
	}}
}

// Ensure that failed saves push out none of the states that are kept, however often they are
// tried. They leave nothing. The same holds for saves of a state that is in place already.
func TestKeep_failingSave(t *testing.T) {
	for name, below := range map[string]osfile.FS{"links": osfile.OS{}, "copies": withoutLinks(osfile.OS{})} {
		for _, fails := range []string{"rename", "syncDir"} {
			t.Run(name+"/"+fails, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.db")
				broken, failing := errors.New("broken"), false
				h := &history{}
				f := NewFile(path, h, false)
				f.Keep = 2
				f.fs = &osfiletest.PlantedFS{FS: below,
					OnRename: func(from, to string) error {
						if failing && fails == "rename" && to == path {
							return broken
						}
						return below.Rename(from, to)
					},
					OnSyncDir: func(string) error {
						if failing && fails == "syncDir" && string(testfile.Read(t, path)) == string(h.last().b) {
							return broken // the second of the two
						}
						return nil
					},
				}
				_, err := f.Open(bg, new(memSink))
				require.NoError(t, err)
				defer func() { require.NoError(t, f.Close(false)) }()
				img := keptImages(t, 5)
				save := func(i int) error {
					for len(h.states) <= i {
						h.commit(img[len(h.states)].b)
					}
					saved, err := f.Save(bg, Pace{})
					require.NoError(t, saved.NotKept)
					return err
				}
				for i := range 3 {
					require.NoError(t, save(i))
				}
				failing = true
				for range 3 {
					require.ErrorIs(t, save(3), broken)
					if fails == "rename" {
						requireKept(t, path, img[2], img[1], img[0])
					} else {
						require.Equal(t, []int{3, 2, 1, 0}, keptStates(t, path, img))
					}
				}
				failing = false
				require.NoError(t, save(3))
				require.Equal(t, []int{3, 2, 1}, keptStates(t, path, img)[:3])
				require.NoError(t, save(4))
				requireKept(t, path, img[4], img[3], img[2])
			})
		}
	}
}

// Ensure that a save finishes what a crash has left of the save before. The crash may come
// before the file was replaced, after that, or between the renames that follow.
func TestKeep_afterCrash(t *testing.T) {
	img := keptImages(t, 6)
	for name, tt := range map[string]struct{ file, pending, first, second *memImage }{
		"before the file was replaced": {img[3], img[3], img[2], img[1]},
		"after it":                     {img[3], img[2], img[1], img[0]},
		"with a place free":            {img[3], img[2], nil, img[1]},
		"with the last name left":      {img[3], img[2], img[2], img[1]},
	} {
		for kind, below := range map[string]osfile.FS{"links": osfile.OS{}, "copies": withoutLinks(osfile.OS{})} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.db")
				for name, img := range map[string]*memImage{path: tt.file, keptName(path, 0): tt.pending, keptName(path, 1): tt.first, keptName(path, 2): tt.second} {
					if img != nil {
						testfile.Write(t, name, img.b)
					}
				}
				if kind == "links" && tt.pending == tt.file {
					require.NoError(t, os.Remove(keptName(path, 0)))
					require.NoError(t, os.Link(path, keptName(path, 0)))
				}
				id, err := sqlitefile.Identify(osfile.OS{}, path)
				require.NoError(t, err)
				res, err := writer{below}.write(bg, path, img[5], id, writeOptions{keep: 3})
				require.NoError(t, err)
				require.NoError(t, res.notKept)
				requireKept(t, path, img[5], img[3], img[2], img[1])
			})
		}
	}
}

// Ensure that the new state is saved even if the old one cannot be kept, and that notKept
// tells why. A state does not get the journal of another.
func TestKeep_inTheWay(t *testing.T) {
	img := keptImages(t, 3)
	hot, _ := testfile.HotJournal(t)
	inWAL, _ := testfile.HotWAL(t)
	for name, block := range map[string]func(t *testing.T, path string){
		"a directory": func(t *testing.T, path string) { require.NoError(t, os.MkdirAll(filepath.Join(path, "full"), 0o700)) },
		"a journal":   func(t *testing.T, path string) { testfile.Write(t, path+"-journal", testfile.Read(t, hot+"-journal")) },
		"a wal":       func(t *testing.T, path string) { testfile.Write(t, path+"-wal", testfile.Read(t, inWAL+"-wal")) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			id := save(t, path, img[0], sqlitefile.ID{})
			block(t, keptName(path, 1))
			for _, img := range img[1:] {
				res, err := Write(bg, path, img, id, writeOptions{keep: 2})
				require.NoError(t, err)
				require.ErrorContains(t, res.notKept, keptName(path, 1))
				id = res.ID
				require.Equal(t, img.b, testfile.Read(t, path))
			}
			// The first of them still waits for its place.
			require.Equal(t, img[0].b, testfile.Read(t, keptName(path, 0)))
			for _, suffix := range []string{"", "-journal", "-wal"} {
				require.NoError(t, os.RemoveAll(keptName(path, 1)+suffix))
			}
			res, err := Write(bg, path, img[0], id, writeOptions{keep: 2})
			require.NoError(t, err)
			require.NoError(t, res.notKept)
			requireKept(t, path, img[0], img[2], img[0])
		})
	}
}

// Ensure that a log changes nothing about the states that are kept. FoldLog keeps the state
// that it replaces, and a failure to keep one is told even if the save fails.
func TestKeep_log(t *testing.T) {
	img := keptImages(t, 4)
	path := filepath.Join(t.TempDir(), "x.db")
	h := &history{}
	f := NewFile(path, h, true)
	f.Keep = 2
	_, err := f.Open(bg, new(memSink))
	require.NoError(t, err)
	h.commit(img[0].b)
	f.Start(1)
	for i := range 2 {
		if i > 0 {
			h.commit(img[i].b)
		}
		saved, err := f.Save(bg, Pace{})
		require.NoError(t, errors.Join(err, saved.NotKept))
	}
	h.commit(img[2].b)
	require.NoError(t, f.Flush())
	require.NoError(t, f.Close(false))
	require.FileExists(t, pagelog.Name(path))

	crashed := testfile.CopySet(t, path)
	require.NoError(t, os.Mkdir(keptName(crashed, 0), 0o700))
	rec, err := recoverer{loader: loader{fs: brokenOnce(t, crashed, img[2])}, keep: 2}.run(bg, crashed)
	require.ErrorContains(t, err, "in place")
	require.ErrorContains(t, rec.NotKept, keptName(crashed, 0))

	rec, err = FoldLog(bg, path, 2)
	require.NoError(t, errors.Join(err, rec.NotKept))
	require.Equal(t, 1, rec.Transactions)
	require.Equal(t, []int{2, 1, 0}, keptStates(t, path, img))

	require.NoError(t, os.Mkdir(keptName(path, 0), 0o700))
	f = NewFile(path, h, false)
	f.Keep = 2
	f.fs = brokenOnce(t, path, img[3])
	_, err = f.Open(bg, new(memSink))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close(false)) }()
	h.commit(img[3].b)
	saved, err := f.Save(bg, Pace{})
	require.ErrorContains(t, err, "in place")
	require.ErrorContains(t, saved.NotKept, keptName(path, 0))
}

// brokenOnce is a file system that cannot sync a directory once the file at path is img.
func brokenOnce(t *testing.T, path string, img *memImage) osfile.FS {
	return &osfiletest.PlantedFS{FS: osfile.OS{}, OnSyncDir: func(string) error {
		if string(testfile.Read(t, path)) == string(img.b) {
			return errors.New("broken")
		}
		return nil
	}}
}

// Ensure that nothing is kept of a file that somebody else has changed. The file stays where
// it is.
func TestKeep_foreign(t *testing.T) {
	img := keptImages(t, 3)
	path := filepath.Join(t.TempDir(), "x.db")
	id := save(t, path, img[0], sqlitefile.ID{})
	testfile.Write(t, path, img[1].b)
	// Size and change counter are the same. The clock of a file system may not have moved on.
	require.NoError(t, os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)))
	_, err := Write(bg, path, img[2], id, writeOptions{keep: 2})
	var fe *ForeignChangeError
	require.ErrorAs(t, err, &fe)
	require.Equal(t, map[string]string{"x.db": string(img[1].b), filepath.Base(fe.SavedAs): string(img[2].b)}, testfile.Contents(t, filepath.Dir(path)))
}

// Ensure that whichever file operation of a save fails, the file is the old or the new one.
// The last two states before it are kept, whole and in order, or the failure is told. The
// next save keeps the state that it replaces.
func TestKeep_faults(t *testing.T) {
	img := keptImages(t, 5)
	for name, fs := range map[string]osfile.FS{"links": osfile.OS{}, "copies": withoutLinks(osfile.OS{})} {
		t.Run(name, func(t *testing.T) {
			sweep(t, func(t *testing.T, ffs *osfiletest.FaultFS) {
				ffs.FS = fs
				path := filepath.Join(t.TempDir(), "x.db")
				var id sqlitefile.ID
				for _, i := range img[:3] {
					res, err := Write(bg, path, i, id, writeOptions{keep: 2})
					require.NoError(t, err)
					id = res.ID
				}
				res, err := writer{ffs}.write(bg, path, img[3], id, writeOptions{keep: 2})
				now := 2
				if !res.ID.IsZero() {
					now, id = 3, res.ID
				}
				for failure := range slices.Values(ffs.Failures) {
					if err == nil && res.notKept == nil && !ffs.HasFailed("chown") && !ffs.HasFailed("link") {
						t.Fatalf("%s failed, and nobody was told", failure)
					}
				}
				kept := keptStates(t, path, img)
				require.Equal(t, now, kept[0], ffs)
				require.True(t, slices.IsSortedFunc(kept, func(a, b int) int { return b - a }), kept)
				if now == 3 && res.notKept == nil {
					require.Equal(t, []int{3, 2, 1}, kept[:3], ffs)
				}
				_, rerr := RemoveLeftovers(path)
				require.NoError(t, rerr)

				res, err = Write(bg, path, img[4], id, writeOptions{keep: 2})
				require.NoError(t, err)
				require.NoError(t, res.notKept)
				require.Equal(t, []int{4, now}, keptStates(t, path, img)[:2])
			})
		})
	}
}

// keptStates returns which of images the file and the earlier states are.
func keptStates(t testing.TB, path string, images []*memImage) (states []int) {
	t.Helper()
	states, err := readKept(path, images)
	require.NoError(t, err)
	return states
}

func readKept(path string, images []*memImage) (states []int, err error) {
	for _, name := range []string{path, keptName(path, 0), keptName(path, 1), keptName(path, 2)} {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(images, func(img *memImage) bool { return img != nil && string(img.b) == string(b) })
		if i < 0 {
			return nil, fmt.Errorf("%s is none of the states", name)
		}
		states = append(states, i)
	}
	return states, nil
}

// keepRun saves several states and keeps two.
var keepRun = powerRun{
	start: starting(none, small(1), small(2), small(3), small(4)),
	run: func(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func()) {
		prev, err := sqlitefile.Identify(osfile.OS{}, path)
		require.NoError(t, err)
		for _, img := range want[1:] {
			res, err := writer{fs}.write(bg, path, img, prev, writeOptions{keep: 2})
			require.NoError(t, err)
			require.NoError(t, res.notKept)
			prev = res.ID
			tell()
		}
	},
	// Whenever the power fails, the state that was saved last and the one before it are
	// there. The one before that is there too, unless it is being replaced.
	also: func(path string, s osfiletest.PowerState, want []*memImage) error {
		states, err := readKept(path, want)
		if err != nil {
			return err
		}
		if !slices.IsSortedFunc(states, func(a, b int) int { return b - a }) {
			return fmt.Errorf("not in order: %v", states)
		}
		// The next save finishes what was begun.
		id, err := sqlitefile.Identify(osfile.OS{}, path)
		if err != nil {
			return err
		}
		res, err := Write(bg, path, want[0], id, writeOptions{keep: 2})
		if err = errors.Join(err, res.notKept); err != nil {
			return err
		}
		left := slices.Compact(states)
		after, err := readKept(path, want)
		if err == nil && !slices.Equal(after[1:], left[:min(len(left), 2)]) {
			err = fmt.Errorf("%v became %v", left, after)
		}
		if err != nil {
			return err
		}
		for i := s.Told; i > 0 && i > s.Told-3; i-- {
			if !slices.Contains(states, i) && (i > s.Told-2 || s.Told == len(want)-1) {
				return fmt.Errorf("state %d is not kept: %v", i, states)
			}
		}
		return nil
	},
}
