//go:build cgo

package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// losses are the changes that somebody may make to the log of a server.
var losses = map[string]func(t testing.TB, log string){
	"removed":    func(t testing.TB, log string) { require.NoError(t, os.Remove(log)) },
	"moved away": func(t testing.TB, log string) { require.NoError(t, os.Rename(log, log+".old")) },
	"emptied":    func(t testing.TB, log string) { require.NoError(t, os.Truncate(log, 0)) },
	"cut": func(t testing.TB, log string) {
		require.NoError(t, os.Truncate(log, int64(len(testfile.Read(t, log))-pagelog.Ahead-100)))
	},
	"replaced by a copy": func(t testing.TB, log string) {
		b := testfile.Read(t, log)
		require.NoError(t, os.Remove(log))
		testfile.Write(t, log, b)
	},
	"replaced by another's": func(t testing.TB, log string) {
		other, _ := logged(t, 2)
		require.NoError(t, os.Rename(pagelog.Name(other), log))
	},
	"replaced by a link": func(t testing.TB, log string) {
		require.NoError(t, os.Rename(log, log+".old"))
		symlink(t, log+".old", log)
	},
}

// Ensure that the next flush, and Check, write a log anew that was removed or replaced. It
// does not matter whether something was committed since. Then all that was called durable is
// durable.
func TestLog_gone(t *testing.T) {
	want := logStates(t, 6)
	for name, lose := range losses {
		for _, by := range []string{"flush", "check", "commit and flush"} {
			t.Run(name+"/"+by, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.db")
				f, h := served(t, osfile.OS{}, path, true, want)
				for i := range 2 {
					h.commit(want[1+2*i].b)
					require.NoError(t, f.Flush())
					lose(t, pagelog.Name(path))
					switch by {
					case "flush":
						require.NoError(t, f.Flush())
					case "check":
						require.NoError(t, f.Check())
					case "commit and flush":
						h.commit(want[2+2*i].b)
						require.NoError(t, f.Flush())
					}
					require.Equal(t, h.last().version, f.Durable())
					got, _, err := reload(testfile.CopySet(t, path))
					require.NoError(t, err)
					requireState(t, h.last(), got)
					require.Less(t, len(testfile.Read(t, pagelog.Name(path))), 2*len(want[5].b), "more than once in the log")
				}
			})
		}
	}
}

// Ensure that nothing is called durable while a log that is gone cannot be written anew. When
// it can be written, commits become durable again.
func TestLog_goneAndFull(t *testing.T) {
	want := logStates(t, 3)
	path := filepath.Join(t.TempDir(), "x.db")
	full, broken := false, errors.New("broken")
	f, h := served(t, &osfiletest.PlantedFS{FS: osfile.OS{}, OnCreate: func(name string, perm os.FileMode) (osfile.File, error) {
		if full {
			return nil, broken
		}
		return osfile.OS{}.Create(name, perm)
	}}, path, true, want)
	h.commit(want[1].b)
	require.NoError(t, f.Flush())
	require.NoError(t, os.Remove(pagelog.Name(path)))
	full = true
	require.ErrorIs(t, f.Check(), broken)
	h.commit(want[2].b)
	for range 2 {
		require.ErrorIs(t, f.Flush(), broken)
	}
	require.Less(t, f.Durable(), h.last().version)
	full = false
	require.NoError(t, f.Flush())
	require.Equal(t, h.last().version, f.Durable())
	got, _, err := reload(testfile.CopySet(t, path))
	require.NoError(t, err)
	requireState(t, h.last(), got)
}

// Ensure that a log that Open has read is written anew if it is removed before the first
// write. Without a log a save writes the transactions that were in it.
func TestLog_leftIsGone(t *testing.T) {
	for _, log := range []bool{false, true} {
		t.Run(fmt.Sprintf("log=%v", log), func(t *testing.T) {
			path, states := logged(t, 3)
			last := states[len(states)-1]
			h := new(history)
			h.commit(last.b)
			f := NewFile(path, h, log)
			_, err := f.Open(bg, new(memSink))
			require.NoError(t, err)
			f.Start(1)
			require.NoError(t, f.Check())
			require.NoError(t, os.Remove(pagelog.Name(path)))
			if log {
				require.NoError(t, f.Check())
			} else {
				require.ErrorIs(t, f.Check(), ErrNeedsSave)
				_, err := f.Save(bg, Pace{})
				require.NoError(t, err)
				require.NoError(t, f.Check())
			}
			got, _, err := reload(testfile.CopySet(t, path))
			require.NoError(t, err)
			requireState(t, last, got)
			require.NoError(t, f.Close(false))
		})
	}
}

// Ensure that commits become durable even if a save could not place a new log, and somebody
// then removes that log.
func TestLog_newIsGone(t *testing.T) {
	want := logStates(t, 5)
	broken := errors.New("broken")
	for _, fails := range []string{"rename", "sync before", "sync after"} {
		for _, lose := range []string{"removed", "replaced", "left"} {
			t.Run(fails+"/"+lose, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.db")
				failing, renamed := false, ""
				fs := &osfiletest.PlantedFS{FS: osfile.OS{}}
				fs.OnRename = func(from, to string) error {
					if failing && fails == "rename" && to == pagelog.Name(path) {
						return broken
					}
					renamed = to
					return osfile.OS{}.Rename(from, to)
				}
				fs.OnSyncDir = func(name string) error {
					if failing && (fails == "sync before" && renamed == path || fails == "sync after" && renamed == pagelog.Name(path)) {
						return broken
					}
					return osfile.OS{}.SyncDir(name)
				}
				ops := &osfiletest.FaultFS{FS: fs}
				f, h := served(t, ops, path, true, want)
				h.commit(want[1].b)
				require.NoError(t, f.Flush())
				h.commit(want[2].b)
				failing, renamed = true, ""
				_, err := f.Save(bg, Pace{})
				require.ErrorIs(t, err, broken)
				failing = false

				name := pagelog.NewName(path)
				if fails == "sync after" {
					name = pagelog.Name(path)
				}
				require.FileExists(t, name)
				if lose != "left" {
					require.NoError(t, os.Remove(name))
				}
				if lose == "replaced" {
					testfile.Write(t, name, []byte("something else"))
				}
				ops.Ops = nil
				require.NoError(t, f.Check())
				if fails == "sync before" {
					// The new file must have its name for good before its log has.
					order := strings.Join(ops.Ops, "\n")
					require.Less(t, strings.Index(order, "syncDir "), strings.Index(order, "rename x.db-memwal"), order)
					require.Contains(t, order, "syncDir ")
				}
				h.commit(want[3].b)
				require.NoError(t, f.Flush())
				require.Equal(t, h.last().version, f.Durable())
				got, _, err := reload(testfile.CopySet(t, path))
				require.NoError(t, err)
				requireState(t, h.last(), got)
				h.commit(want[4].b)
				_, err = f.Save(bg, Pace{})
				require.NoError(t, err)
				require.Equal(t, string(want[4].b), string(testfile.Read(t, path)))
			})
		}
	}
}

// logGoneRun is the life of a log that is removed after step n. It loses commits then
// through no fault of the product, so only the states after the Check count.
func logGoneRun(n int) powerRun {
	run := logRun
	run.opts = osfiletest.PowerOptions{Samples: 6, States: 64, Contents: 32}
	run.run = func(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func()) {
		defer SetLogAhead(smallAhead)()
		l := newLogLife(t, path, fs, want, tell)
		for i, step := range l.steps() {
			require.NoError(t, step())
			if i == n {
				require.NoError(t, os.Remove(pagelog.Name(path)))
				require.NoError(t, l.f.Check())
				if planted, is := fs.(*osfiletest.PlantedFS); is {
					fs = planted.FS
				}
				fs.(osfiletest.PowerFS).Rec.Pass()
			}
		}
		require.Equal(t, len(want)-1, l.told)
		require.NoError(t, l.f.Close(false))
	}
	return run
}

// Ensure that a power failure loses no durable commit after a log that was removed is
// written anew.
func TestLogPowerLoss_gone(t *testing.T) {
	all := 0
	for n := range 5 {
		errs, states := logGoneRun(n).bad(t, asIs)
		require.Empty(t, errs)
		all += states
	}
	require.Greater(t, all, 100)

	// The sweep would find a log that is not put in its place for good.
	errs, _ := logGoneRun(3).bad(t, func(f osfile.FS) osfile.FS { return skipSyncDir(f, "-memwal") })
	require.NotEmpty(t, errs)
}

// Ensure that whichever operation fails while a log that is gone is written anew, all commits
// that are called durable are durable. A later flush makes up for the failure.
func TestLog_goneFaults(t *testing.T) {
	defer SetLogAhead(smallAhead)()
	want := logStates(t, 4)
	sweep(t, func(t *testing.T, ffs *osfiletest.FaultFS) {
		path := filepath.Join(t.TempDir(), "x.db")
		failAt := ffs.FailAt
		ffs.FailAt = 0
		f, h := served(t, ffs, path, true, want)
		h.commit(want[1].b)
		require.NoError(t, f.Flush())
		require.NoError(t, os.Remove(pagelog.Name(path)))
		ffs.Ops, ffs.FailAt = nil, failAt
		err := f.Check()
		h.commit(want[2].b)
		ferr := f.Flush()
		if err == nil && ferr == nil && len(ffs.Failures) > 0 {
			for _, op := range ffs.Failures {
				zeros := strings.HasPrefix(op, "write ") && osfile.NoRoom(ffs.Err)
				require.True(t, zeros || strings.HasPrefix(op, "chown ") || strings.HasPrefix(op, "chmod "), op)
			}
		}
		for i, d := 0, f.Durable(); i < 1 && ferr == nil; i++ {
			require.Equal(t, h.last().version, d)
			got, _, err := reloadOn(osfile.OS{}, testfile.CopySet(t, path))
			require.NoError(t, err)
			requireState(t, h.last(), got)
		}
		if len(ffs.Failures) == 0 {
			require.Greater(t, len(ffs.Ops), 10)
		}
		ffs.Cease()
		h.commit(want[3].b)
		require.NoError(t, f.Flush())
		got, _, err := reloadOn(osfile.OS{}, testfile.CopySet(t, path))
		require.NoError(t, err)
		requireState(t, h.last(), got)
	})
}
