//go:build cgo

package snapshot

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

// sweep runs f with operation 1 failing, then 2, and so on, until an f runs
// through without a fault: once and for good, and writes that are short in both
// ways. The errors take turns; with -long, each operation fails with each.
func sweep(t *testing.T, f func(t *testing.T, ffs *faultFS)) {
	turns := 1
	if *long > 0 {
		turns = len(faults)
	}
	for _, forever := range []bool{false, true} {
		for turn := range turns {
			t.Run(fmt.Sprintf("forever=%v/turn=%d", forever, turn), func(t *testing.T) {
				for n := 1; ; n++ {
					with := faults[(n+turn)%len(faults)]
					ffs := &faultFS{fsys: osFS{}, failAt: n, err: with.err, short: with.short, forever: forever}
					f(t, ffs)
					if len(ffs.fault) == 0 {
						require.Greater(t, n, 10)
						return
					}
					if ffs.failedFirst("write") && !with.short {
						f(t, &faultFS{fsys: osFS{}, failAt: n, err: syscall.ENOSPC, short: true, forever: forever})
					}
				}
			})
		}
	}
}

// Ensure that whichever file operation of a save fails, the file is the old or
// the new one, whole; that nothing is left beside it; that the error tells the
// cause; and that the next save works.
func TestWrite_faults(t *testing.T) {
	oldImg, newImg, nextImg := image(t, 5), image(t, 40000), image(t, 7)
	require.Greater(t, len(newImg.b), 2*saveRun)
	for _, before := range []*memImage{nil, oldImg} {
		t.Run(fmt.Sprintf("existing=%v", before != nil), func(t *testing.T) {
			sweep(t, func(t *testing.T, ffs *faultFS) { faultySave(t, ffs, ffs, before, newImg, nextImg) })
		})
	}
}

// faultySave saves newImg over oldImg, which may be nil, through f, in which
// ffs fails, and then nextImg without a fault.
func faultySave(t testing.TB, ffs *faultFS, f fsys, oldImg, newImg, nextImg *memImage) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	var prev FileID
	before := map[string]string{}
	if oldImg != nil {
		prev = save(t, path, oldImg, prev)
		before["x.db"] = string(oldImg.b)
	}
	after := map[string]string{"x.db": string(newImg.b)}

	res, err := writer{f}.write(bg, path, newImg, prev, writeOptions{})
	got := dirContents(t, filepath.Dir(path))
	switch {
	case len(ffs.fault) == 0 || (ffs.failed("chown") || ffs.failed("chmod")) && !ffs.forever:
		require.NoError(t, err)
		require.Equal(t, after, got)
		return
	case ffs.failed("syncDir") && ffs.did("rename"):
		require.Equal(t, after, got, ffs)
		require.False(t, res.id.IsZero())
		require.ErrorContains(t, err, "in place")
		prev = res.id
	case ffs.failed("remove"):
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
		require.Equal(t, before, dirContents(t, filepath.Dir(path)))
	default:
		require.Zero(t, res)
		require.Equal(t, before, got, ffs)
	}
	require.ErrorIs(t, err, ffs.err)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "save", e.Op)

	save(t, path, nextImg, prev)
	require.Equal(t, map[string]string{"x.db": string(nextImg.b)}, dirContents(t, filepath.Dir(path)))
}

// Ensure that whichever file operation fails while the state is kept beside a
// foreign file, that file is untouched, what the error claims to be saved is
// saved, an earlier copy is whole, and the next attempt works.
func TestWrite_faultsAside(t *testing.T) {
	img, img2 := image(t, 5), image(t, 6)
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("again=%v", again), func(t *testing.T) {
			sweep(t, func(t *testing.T, ffs *faultFS) {
				path := filepath.Join(t.TempDir(), "x.db")
				writeFile(t, path, []byte("theirs"))
				var side sideCopy
				if again {
					_, err := Write(bg, path, img, FileID{}, writeOptions{})
					var fe *ForeignChangeError
					require.ErrorAs(t, err, &fe)
					side = fe.copy
				}
				res, err := writer{ffs}.write(bg, path, img2, FileID{}, writeOptions{side: side})
				require.Error(t, err)
				require.Zero(t, res)
				// If the earlier copy cannot be looked at, it is not
				// overwritten, and a new one is made.
				fellBack := again && len(ffs.fault) == 1 && strings.Contains(ffs.fault[0], " "+filepath.Base(side.path))
				if len(ffs.fault) > 0 && !fellBack {
					require.ErrorIs(t, err, ffs.err, ffs)
				}
				got := dirContents(t, filepath.Dir(path))
				require.Equal(t, "theirs", got["x.db"])
				delete(got, "x.db")
				copies := 0
				for n, b := range got {
					switch {
					case ffs.failed("remove") && (isTempName(n, tempPrefix(path)) || b == ""):
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
				next := &faultFS{fsys: osFS{}}
				_, err = writer{next}.write(bg, path, img2, FileID{}, writeOptions{side: side})
				if ffs.failed("syncDir") && ffs.did("rename") {
					require.Contains(t, strings.Join(next.ops, "\n"), "syncDir ", "it has to be made durable now")
				}
				require.ErrorAs(t, err, &fe)
				require.NoError(t, fe.Err)
				require.Equal(t, img2.b, readFile(t, fe.SavedAs))
				require.LessOrEqual(t, copies, 2)
			})
		})
	}
}

// Ensure that whichever file operation of a load fails, the error tells the
// cause, nothing is left beside the file, and the next load works.
func TestLoad_faults(t *testing.T) {
	journal, before := hotJournal(t)
	// Damaged as well, so that the copy comes into play.
	b := readFile(t, journal)
	clear(b[:100])
	writeFile(t, journal, b)
	wal, _ := hotWAL(t)
	recovered, _ := load(t, copySet(t, wal))
	garbage := dbFile(t, "PRAGMA journal_mode=WAL")
	sound, _ := load(t, copySet(t, garbage))
	writeFile(t, garbage+"-journal", []byte("garbage"))
	for name, tt := range map[string]struct {
		from string
		want []byte
	}{
		"hot journal and a lost header": {journal, before},
		"hot wal":                       {wal, recovered},
		"garbage for a journal":         {garbage, sound},
	} {
		t.Run(name, func(t *testing.T) {
			sweep(t, func(t *testing.T, ffs *faultFS) {
				path := copySet(t, tt.from)
				s := new(memSink)
				_, err := loader{fs: ffs, wait: loadWait, poll: time.Millisecond}.loadID(bg, path, s)
				if len(ffs.fault) == 0 {
					require.NoError(t, err)
					require.Equal(t, tt.want, s.bytes())
				} else {
					require.ErrorIs(t, err, ffs.err, ffs)
				}
				if !ffs.failed("remove") {
					requireNoTemp(t, path)
				}
				got, _ := load(t, path)
				require.Equal(t, tt.want, got)
			})
		})
	}
}

// Ensure that whichever file operation fails while leftovers are removed, the
// error tells the cause, what is reported removed is, nothing else is touched,
// and the next time does the rest.
func TestRemoveLeftovers_faults(t *testing.T) {
	for _, forever := range []bool{false, true} {
		for _, with := range faults {
			for n := 1; ; n++ {
				path := filepath.Join(t.TempDir(), "x.db")
				writeFile(t, path, []byte("database"))
				for _, suffix := range leftoverSuffixes {
					writeFile(t, tempName(path)+suffix, []byte("x"))
				}
				ffs := &faultFS{fsys: osFS{}, failAt: n, err: with.err, forever: forever}
				removed, err := writer{ffs}.removeLeftovers(path)
				got := dirContents(t, filepath.Dir(path))
				require.Equal(t, "database", got["x.db"])
				require.Len(t, got, 1+len(leftoverSuffixes)-len(removed), ffs)
				for _, name := range removed {
					require.NotContains(t, got, filepath.Base(name))
				}
				if len(ffs.fault) == 0 {
					require.NoError(t, err)
					require.Equal(t, 1+len(leftoverSuffixes), n-1, "operations")
					break
				}
				require.ErrorIs(t, err, with.err)
				_, err = RemoveLeftovers(path)
				require.NoError(t, err)
				require.Equal(t, map[string]string{"x.db": "database"}, dirContents(t, filepath.Dir(path)))
			}
		}
	}
}
