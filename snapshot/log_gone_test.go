//go:build cgo

package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// losses are what may happen to the log of a server behind its back.
var losses = map[string]func(t testing.TB, log string){
	"removed":    func(t testing.TB, log string) { require.NoError(t, os.Remove(log)) },
	"moved away": func(t testing.TB, log string) { require.NoError(t, os.Rename(log, log+".old")) },
	"emptied":    func(t testing.TB, log string) { require.NoError(t, os.Truncate(log, 0)) },
	"cut": func(t testing.TB, log string) {
		require.NoError(t, os.Truncate(log, int64(len(readFile(t, log))-len(zeros)-100)))
	},
	"replaced by a copy": func(t testing.TB, log string) {
		b := readFile(t, log)
		require.NoError(t, os.Remove(log))
		writeFile(t, log, b)
	},
	"replaced by another's": func(t testing.TB, log string) {
		other, _ := logged(t, 2)
		require.NoError(t, os.Rename(logName(other), log))
	},
	"replaced by a link": func(t testing.TB, log string) {
		require.NoError(t, os.Rename(log, log+".old"))
		symlink(t, log+".old", log)
	},
}

// Ensure that a log which was removed or replaced is written anew by the next flush,
// whether something was committed since or not, and by Check: all that was called
// durable is.
func TestLog_gone(t *testing.T) {
	want := logStates(t, 6)
	for name, lose := range losses {
		for _, by := range []string{"flush", "check", "commit and flush"} {
			t.Run(name+"/"+by, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.db")
				f, h := served(t, osFS{}, path, true, want)
				for i := range 2 {
					h.commit(want[1+2*i].b)
					require.NoError(t, f.Flush())
					lose(t, logName(path))
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
					got, _, err := reload(copySet(t, path))
					require.NoError(t, err)
					requireState(t, h.last(), got)
					require.Less(t, len(readFile(t, logName(path))), 2*len(want[5].b), "more than once in the log")
				}
			})
		}
	}
}

// Ensure that nothing is called durable while a log that is gone cannot be written
// anew, and that it is when it can.
func TestLog_goneAndFull(t *testing.T) {
	want := logStates(t, 3)
	path := filepath.Join(t.TempDir(), "x.db")
	full, broken := false, errors.New("broken")
	f, h := served(t, &plantedFS{fsys: osFS{}, onCreate: func(name string, perm os.FileMode) (file, error) {
		if full {
			return nil, broken
		}
		return osFS{}.create(name, perm)
	}}, path, true, want)
	h.commit(want[1].b)
	require.NoError(t, f.Flush())
	require.NoError(t, os.Remove(logName(path)))
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
	got, _, err := reload(copySet(t, path))
	require.NoError(t, err)
	requireState(t, h.last(), got)
}

// Ensure that a log that was read after a crash, and is removed before anything is
// written to it, is written anew, or has a save made that writes what was in it.
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
			require.NoError(t, os.Remove(logName(path)))
			if log {
				require.NoError(t, f.Check())
			} else {
				require.ErrorIs(t, f.Check(), ErrNeedsSave)
				_, err := f.Save(bg, Pace{})
				require.NoError(t, err)
				require.NoError(t, f.Check())
			}
			got, _, err := reload(copySet(t, path))
			require.NoError(t, err)
			requireState(t, last, got)
			require.NoError(t, f.Close(false))
		})
	}
}

// Ensure that a new log which is removed before it has its place, since the save could
// not give it that, does not keep everything from being durable for ever.
func TestLog_newIsGone(t *testing.T) {
	want := logStates(t, 5)
	broken := errors.New("broken")
	for _, fails := range []string{"rename", "sync before", "sync after"} {
		for _, lose := range []string{"removed", "replaced", "left"} {
			t.Run(fails+"/"+lose, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.db")
				failing, renamed := false, ""
				fs := &plantedFS{fsys: osFS{}}
				fs.onRename = func(from, to string) error {
					if failing && fails == "rename" && to == logName(path) {
						return broken
					}
					renamed = to
					return osFS{}.rename(from, to)
				}
				fs.onSyncDir = func(name string) error {
					if failing && (fails == "sync before" && renamed == path || fails == "sync after" && renamed == logName(path)) {
						return broken
					}
					return osFS{}.syncDir(name)
				}
				ops := &faultFS{fsys: fs}
				f, h := served(t, ops, path, true, want)
				h.commit(want[1].b)
				require.NoError(t, f.Flush())
				h.commit(want[2].b)
				failing, renamed = true, ""
				_, err := f.Save(bg, Pace{})
				require.ErrorIs(t, err, broken)
				failing = false

				name := newLogName(path)
				if fails == "sync after" {
					name = logName(path)
				}
				require.FileExists(t, name)
				if lose != "left" {
					require.NoError(t, os.Remove(name))
				}
				if lose == "replaced" {
					writeFile(t, name, []byte("something else"))
				}
				ops.ops = nil
				require.NoError(t, f.Check())
				if fails == "sync before" {
					// The new file must have its name for good before its log has.
					order := strings.Join(ops.ops, "\n")
					require.Less(t, strings.Index(order, "syncDir "), strings.Index(order, "rename x.db-memwal"), order)
					require.Contains(t, order, "syncDir ")
				}
				h.commit(want[3].b)
				require.NoError(t, f.Flush())
				require.Equal(t, h.last().version, f.Durable())
				got, _, err := reload(copySet(t, path))
				require.NoError(t, err)
				requireState(t, h.last(), got)
				h.commit(want[4].b)
				_, err = f.Save(bg, Pace{})
				require.NoError(t, err)
				require.Equal(t, string(want[4].b), string(readFile(t, path)))
			})
		}
	}
}

// logGoneRun is the life of a log that is removed after step n. What it loses then is no
// fault of the product, so only the states from the Check on count.
func logGoneRun(n int) powerRun {
	run := logRun
	run.opts = powerOptions{samples: 6, states: 64, contents: 32}
	run.run = func(t *testing.T, path string, fs fsys, want []*memImage, tell func()) {
		defer SetLogAhead(smallAhead)()
		l := newLogLife(t, path, fs, want, tell)
		for i, step := range l.steps() {
			require.NoError(t, step())
			if i == n {
				require.NoError(t, os.Remove(logName(path)))
				require.NoError(t, l.f.Check())
				if planted, is := fs.(*plantedFS); is {
					fs = planted.fsys
				}
				fs.(powerFS).rec.pass()
			}
		}
		require.Equal(t, len(want)-1, l.told)
		require.NoError(t, l.f.Close(false))
	}
	return run
}

// Ensure that whenever the power fails after a log that was removed is written anew,
// everything is left that was called durable.
func TestLogPowerLoss_gone(t *testing.T) {
	all := 0
	for n := range 5 {
		errs, states := logGoneRun(n).bad(t, asIs)
		require.Empty(t, errs)
		all += states
	}
	require.Greater(t, all, 100)

	// The sweep would find a log that is not put in its place for good.
	errs, _ := logGoneRun(3).bad(t, func(f fsys) fsys { return skipSyncDir(f, "-memwal") })
	require.NotEmpty(t, errs)
}

// Ensure that whichever operation fails while a log that is gone is written anew, what is
// called durable is, and a later flush makes up for it.
func TestLog_goneFaults(t *testing.T) {
	defer SetLogAhead(smallAhead)()
	want := logStates(t, 4)
	sweep(t, func(t *testing.T, ffs *faultFS) {
		path := filepath.Join(t.TempDir(), "x.db")
		failAt := ffs.failAt
		ffs.failAt = 0
		f, h := served(t, ffs, path, true, want)
		h.commit(want[1].b)
		require.NoError(t, f.Flush())
		require.NoError(t, os.Remove(logName(path)))
		ffs.ops, ffs.failAt = nil, failAt
		err := f.Check()
		h.commit(want[2].b)
		ferr := f.Flush()
		if err == nil && ferr == nil && len(ffs.fault) > 0 {
			for _, op := range ffs.fault {
				zeros := strings.HasPrefix(op, "write ") && noRoom(ffs.err)
				require.True(t, zeros || strings.HasPrefix(op, "chown ") || strings.HasPrefix(op, "chmod "), op)
			}
		}
		for i, d := 0, f.Durable(); i < 1 && ferr == nil; i++ {
			require.Equal(t, h.last().version, d)
			got, _, err := reloadOn(osFS{}, copySet(t, path))
			require.NoError(t, err)
			requireState(t, h.last(), got)
		}
		if len(ffs.fault) == 0 {
			require.Greater(t, len(ffs.ops), 10)
		}
		ffs.cease()
		h.commit(want[3].b)
		require.NoError(t, f.Flush())
		got, _, err := reloadOn(osFS{}, copySet(t, path))
		require.NoError(t, err)
		requireState(t, h.last(), got)
	})
}
