//go:build cgo

package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// fault is a way to fail.
type fault struct {
	err   error
	short bool // a write writes half of it first
}

var faults = []fault{
	{err: syscall.EIO}, {err: syscall.ENOSPC, short: true}, {err: syscall.EMFILE},
	{err: syscall.EROFS}, {err: syscall.EACCES}, {err: syscall.ENOSPC},
}

// sweep runs f with operation 1 failing, then 2, and so on, until a run has no fault.
// Operations fail once or for good, and a write may write half before. The errors take
// turns; with -long, each operation fails with each.
func sweep(t *testing.T, f func(t *testing.T, ffs *osfiletest.FaultFS)) {
	turns := 1
	if *long > 0 {
		turns = len(faults)
	}
	for _, forever := range []bool{false, true} {
		for turn := range turns {
			t.Run(fmt.Sprintf("forever=%v/turn=%d", forever, turn), func(t *testing.T) {
				for n := 1; ; n++ {
					with := faults[(n+turn)%len(faults)]
					ffs := &osfiletest.FaultFS{FS: osfile.OS{}, FailAt: n, Err: with.err, Short: with.short, Forever: forever}
					f(t, ffs)
					if len(ffs.Failures) == 0 {
						require.Greater(t, n, 10)
						return
					}
					if ffs.FailedFirst("write") && !with.short {
						f(t, &osfiletest.FaultFS{FS: osfile.OS{}, FailAt: n, Err: syscall.ENOSPC, Short: true, Forever: forever})
					}
				}
			})
		}
	}
}

// Ensure that whichever file operation of a save fails, the file is the old or the new one,
// whole. Nothing is left beside it, the error names the cause, and the next save works.
func TestWrite_faults(t *testing.T) {
	oldImg, newImg, nextImg := image(t, 5), image(t, 40000), image(t, 7)
	require.Greater(t, len(newImg.b), 2*saveRun)
	for _, before := range []*memImage{nil, oldImg} {
		t.Run(fmt.Sprintf("existing=%v", before != nil), func(t *testing.T) {
			sweep(t, func(t *testing.T, ffs *osfiletest.FaultFS) { faultySave(t, ffs, ffs, before, newImg, nextImg) })
		})
	}
}

// faultySave saves newImg over oldImg, which may be nil, through f, below which ffs fails.
// Then it saves nextImg without a fault.
func faultySave(t testing.TB, ffs *osfiletest.FaultFS, f osfile.FS, oldImg, newImg, nextImg *memImage) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	var prev sqlitefile.ID
	before := map[string]string{}
	if oldImg != nil {
		prev = save(t, path, oldImg, prev)
		before["x.db"] = string(oldImg.b)
	}
	after := map[string]string{"x.db": string(newImg.b)}

	res, err := writer{f}.write(bg, path, newImg, prev, writeOptions{})
	got := testfile.Contents(t, filepath.Dir(path))
	switch {
	case len(ffs.Failures) == 0 || (ffs.HasFailed("chown") || ffs.HasFailed("chmod")) && !ffs.Forever:
		require.NoError(t, err)
		require.Equal(t, after, got)
		return
	case ffs.HasFailed("syncDir") && ffs.Did("rename"):
		require.Equal(t, after, got, ffs)
		require.False(t, res.ID.IsZero())
		require.ErrorContains(t, err, "in place")
		prev = res.ID
	case ffs.HasFailed("remove"):
		// Only then may a file stay, and the error names it.
		require.Zero(t, res)
		for n, b := range got {
			if n == "x.db" {
				require.Equal(t, before[n], b, ffs)
				continue
			}
			require.True(t, isTempName(n, tempPrefix(path)), n)
			require.ErrorContains(t, err, n)
		}
		removed, rerr := RemoveLeftovers(path)
		require.NoError(t, rerr)
		require.Len(t, removed, 1)
		require.Equal(t, before, testfile.Contents(t, filepath.Dir(path)))
	default:
		require.Zero(t, res)
		require.Equal(t, before, got, ffs)
	}
	require.ErrorIs(t, err, ffs.Err)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "save", e.Op)

	save(t, path, nextImg, prev)
	require.Equal(t, map[string]string{"x.db": string(nextImg.b)}, testfile.Contents(t, filepath.Dir(path)))
}

// Ensure that whichever file operation fails while the state is kept beside a foreign file,
// that file is untouched. If the error reports a saved state, that state is there. An earlier
// copy is whole, and the next attempt works.
func TestWrite_faultsAside(t *testing.T) {
	img, img2 := image(t, 5), image(t, 6)
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("again=%v", again), func(t *testing.T) {
			sweep(t, func(t *testing.T, ffs *osfiletest.FaultFS) {
				path := filepath.Join(t.TempDir(), "x.db")
				testfile.Write(t, path, []byte("theirs"))
				var side ownCopy
				if again {
					_, err := Write(bg, path, img, sqlitefile.ID{}, writeOptions{})
					var fe *ForeignChangeError
					require.ErrorAs(t, err, &fe)
					side = fe.copy
				}
				res, err := writer{ffs}.write(bg, path, img2, sqlitefile.ID{}, writeOptions{side: side})
				require.Error(t, err)
				require.Zero(t, res)
				// If the earlier copy cannot be looked at, it is not
				// overwritten, and a new one is made.
				fellBack := again && len(ffs.Failures) == 1 && strings.Contains(ffs.Failures[0], " "+filepath.Base(side.path))
				if len(ffs.Failures) > 0 && !fellBack {
					require.ErrorIs(t, err, ffs.Err, ffs)
				}
				got := testfile.Contents(t, filepath.Dir(path))
				require.Equal(t, "theirs", got["x.db"])
				delete(got, "x.db")
				copies := 0
				for n, b := range got {
					switch {
					case ffs.HasFailed("remove") && (isTempName(n, tempPrefix(path)) || b == ""):
						require.Contains(t, err.Error(), n)
						os.Remove(filepath.Join(filepath.Dir(path), n))
					case b == string(img.b) && n == filepath.Base(side.path), b == string(img2.b):
						copies++
					default:
						t.Fatalf("%s of %d bytes: %v", n, len(b), ffs)
					}
				}
				var fe *ForeignChangeError
				if errors.As(err, &fe) {
					if fe.SavedAs != "" {
						require.Equal(t, string(img2.b), got[filepath.Base(fe.SavedAs)])
						require.Equal(t, fe.SavedAs, fe.copy.path)
					}
					side = fe.copy
				}
				next := &osfiletest.FaultFS{FS: osfile.OS{}}
				_, err = writer{next}.write(bg, path, img2, sqlitefile.ID{}, writeOptions{side: side})
				if ffs.HasFailed("syncDir") && ffs.Did("rename") {
					require.Contains(t, strings.Join(next.Ops, "\n"), "syncDir ", "it has to be made durable now")
				}
				require.ErrorAs(t, err, &fe)
				require.NoError(t, fe.Err)
				require.Equal(t, img2.b, testfile.Read(t, fe.SavedAs))
				require.LessOrEqual(t, copies, 2)
			})
		})
	}
}

// Ensure that whichever file operation of a load fails, the error names the cause, nothing
// is left beside the file, and the next load works.
func TestLoad_faults(t *testing.T) {
	journal, before := testfile.HotJournal(t)
	// Damaged as well, so that the copy comes into play.
	b := testfile.Read(t, journal)
	clear(b[:100])
	testfile.Write(t, journal, b)
	wal, _ := testfile.HotWAL(t)
	recovered, _ := load(t, testfile.CopySet(t, wal))
	garbage := testfile.New(t, "PRAGMA journal_mode=WAL")
	sound, _ := load(t, testfile.CopySet(t, garbage))
	testfile.Write(t, garbage+"-journal", []byte("garbage"))
	for name, tt := range map[string]struct {
		from string
		want []byte
	}{
		"hot journal and a lost header": {journal, before},
		"hot wal":                       {wal, recovered},
		"garbage for a journal":         {garbage, sound},
	} {
		t.Run(name, func(t *testing.T) {
			sweep(t, func(t *testing.T, ffs *osfiletest.FaultFS) {
				path := testfile.CopySet(t, tt.from)
				s := new(memSink)
				_, err := loader{fs: ffs, wait: loadWait, poll: time.Millisecond}.loadID(bg, path, s)
				if len(ffs.Failures) == 0 {
					require.NoError(t, err)
					require.Equal(t, tt.want, s.bytes())
				} else {
					require.ErrorIs(t, err, ffs.Err, ffs)
				}
				if !ffs.HasFailed("remove") {
					requireNoTemp(t, path)
				}
				got, _ := load(t, path)
				require.Equal(t, tt.want, got)
			})
		})
	}
}

// Ensure that whichever file operation fails while leftovers are removed, the error names
// the cause, and only leftovers are touched. The files that are reported are gone, and the
// next call removes the rest.
func TestRemoveLeftovers_faults(t *testing.T) {
	for _, forever := range []bool{false, true} {
		for _, with := range faults {
			for n := 1; ; n++ {
				path := filepath.Join(t.TempDir(), "x.db")
				testfile.Write(t, path, []byte("database"))
				for _, suffix := range leftoverSuffixes {
					testfile.Write(t, tempName(path)+suffix, []byte("x"))
				}
				ffs := &osfiletest.FaultFS{FS: osfile.OS{}, FailAt: n, Err: with.err, Forever: forever}
				removed, err := writer{ffs}.removeLeftovers(path)
				got := testfile.Contents(t, filepath.Dir(path))
				require.Equal(t, "database", got["x.db"])
				require.Len(t, got, 1+len(leftoverSuffixes)-len(removed), ffs)
				for _, name := range removed {
					require.NotContains(t, got, filepath.Base(name))
				}
				if len(ffs.Failures) == 0 {
					require.NoError(t, err)
					require.Equal(t, 1+len(leftoverSuffixes), n-1, "operations")
					break
				}
				require.ErrorIs(t, err, with.err)
				_, err = RemoveLeftovers(path)
				require.NoError(t, err)
				require.Equal(t, map[string]string{"x.db": "database"}, testfile.Contents(t, filepath.Dir(path)))
			}
		}
	}
}
