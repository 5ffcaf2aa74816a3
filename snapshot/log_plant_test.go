//go:build cgo

package snapshot

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The tests here do for the log what those in plant_test.go do for saves. What
// they plant is not found by the same sweeps without it, as TestPowerLoss,
// TestPowerLoss_logAfterFault, TestLog_torn, TestLog_goesOn and TestLogCrash show.

// onNewLog sets functions of each new log.
func onNewLog(f fsys, set func(x *plantedFile)) fsys {
	return &plantedFS{fsys: f, onFile: func(name string, x *plantedFile) {
		if name == newLogName(strings.TrimSuffix(name, newLogName(""))) {
			set(x)
		}
	}}
}

// unsyncedLog never syncs what is appended to a log.
func unsyncedLog(f fsys) fsys {
	return onNewLog(f, func(x *plantedFile) { x.onSyncData = nothing })
}

// skipSyncDir leaves out the syncs of the directory that come right after the
// rename to a name that ends with after; "": those that come after none.
func skipSyncDir(f fsys, after string) fsys {
	renamed := ""
	return &plantedFS{fsys: f,
		onRename: func(from, to string) error { renamed = to; return f.rename(from, to) },
		onSyncDir: func(name string) error {
			skip := renamed == "" && after == "" || after != "" && strings.HasSuffix(renamed, after)
			if renamed = ""; skip {
				return nil
			}
			return f.syncDir(name)
		}}
}

// logBeforeBase has a save rename the new log over the old one before the new
// file has its name.
func logBeforeBase(f fsys) fsys {
	early := false
	return &plantedFS{fsys: f, onRename: func(from, to string) error {
		if early && from == newLogName(strings.TrimSuffix(to, logName(""))) {
			early = false // it has been
			return nil
		}
		if isTempName(filepath.Base(from), tempPrefix(to)) {
			err := f.rename(newLogName(to), logName(to))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			early = err == nil
		}
		return f.rename(from, to)
	}, onLstat: func(name string) (os.FileInfo, error) {
		if path, is := strings.CutSuffix(name, newLogName("")); is && early {
			name = logName(path)
		}
		return f.lstat(name)
	}}
}

// Ensure that the states of a power failure show each fault of the order in which
// a log is written, synced and changed.
func TestPlanted_logPower(t *testing.T) {
	for name, plant := range map[string]func(f fsys) fsys{
		"the log is never synced": unsyncedLog,
		"a new log is not synced before it is placed": func(f fsys) fsys {
			return onNewLog(f, func(x *plantedFile) { x.onSync = nothing })
		},
		"the directory is not synced before the rename of the base": func(f fsys) fsys { return skipSyncDir(f, "") },
		"the directory is not synced between the renames of base and log": func(f fsys) fsys {
			return skipSyncDir(f, ".db")
		},
		"the directory is not synced after the rename of the log":           func(f fsys) fsys { return skipSyncDir(f, "-memwal") },
		"the new log replaces the old one before the new base has its name": logBeforeBase,
	} {
		t.Run(name, func(t *testing.T) {
			run := logRun
			run.opts = fewStates
			errs, states := run.bad(t, plant)
			require.NotEmpty(t, errs, "not found in %d states", states)
			require.Less(t, len(errs), states, "found in every state: that is another fault")
			t.Logf("found in the last of %d states: %v", states, errs[0])
		})
	}
}

// ignoring is a sync of x that reports no failure, and has none be tried after it.
func (x *plantedFile) ignoring(sync func() error) func() error {
	return func() error {
		if sync() != nil {
			x.onSync, x.onSyncData = nothing, nothing
		}
		return nil
	}
}

// Ensure that a power failure after an operation has failed shows a log that
// takes the failure for a success, or goes on behind what it has left.
func TestPlanted_logFaults(t *testing.T) {
	const name = "x.db-memwal-new" // that under which a log is made
	for what, tt := range map[string]struct {
		op    string // what fails
		first int    // the first of them after which there is a log to show it
		plant func(f fsys) fsys
		hook  func(f *File) // unless nil
	}{
		"a failed sync of the log is ignored": {op: "sync " + name, first: 2, plant: func(f fsys) fsys {
			return onNewLog(f, func(x *plantedFile) { x.onSyncData = x.ignoring(x.file.syncData) })
		}},
		"a failed sync of a new log is ignored": {op: "sync " + name, first: 1, plant: func(f fsys) fsys {
			return onNewLog(f, func(x *plantedFile) { x.onSync = x.ignoring(x.file.Sync) })
		}},
		"the directory is not synced anew before the rename of the log": {op: "syncDir ", first: 3, plant: func(f fsys) fsys {
			failed := false
			return &plantedFS{fsys: f, onSyncDir: func(name string) error {
				if failed {
					failed = false
					return nil
				}
				err := f.syncDir(name)
				failed = err != nil
				return err
			}}
		}},
		"a log is appended to behind a failed write": {op: "write " + name, first: 3, plant: asIs, hook: func(f *File) {
			if f.writing != nil {
				f.writing.broken = false
			}
		}},
	} {
		t.Run(what, func(t *testing.T) {
			if tt.hook == nil {
				tt.hook = func(*File) {}
			}
			path := filepath.Join(t.TempDir(), "x.db")
			sound := logFaultAt(0, false)
			run := logFaultRun(sound, asIs, func(*File) {})
			run.run(t, path, record(t, filepath.Dir(path)).fs(osFS{}), run.start(t, path), func() {})
			met := 0
			for i, op := range sound.ops {
				if !strings.HasPrefix(op, tt.op) {
					continue
				}
				if met++; met < tt.first {
					continue
				}
				ffs := logFaultAt(i+1, false)
				if errs, _ := logFaultRun(ffs, tt.plant, tt.hook).bad(t, asIs); len(errs) > 0 {
					t.Logf("found when operation %d fails, %s: %v", i+1, op, errs[0])
					return
				}
				require.NotEmpty(t, ffs.fault)
			}
			t.Fatal("not found")
		})
	}
}

// appendBehind has f go on with the log that Open has found, behind all that is in
// it, as it would be right if no crash could tear a transaction.
func appendBehind(t testing.TB, f *File) {
	t.Helper()
	name := logName(f.target)
	log, err := readLog(f.fs, name)
	require.NoError(t, err)
	x, err := os.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	l := &logFile{fs: f.fs, path: f.target, f: osFile{x}, head: log.head, size: log.size, room: log.size, renamed: true, placed: true}
	if log.commits > 0 {
		b := make([]byte, frameSize)
		_, err := x.ReadAt(b, log.end-int64(frameSize+log.head.pageSize))
		require.NoError(t, err)
		l.head.sum = parseFrame(b).sum
	}
	f.writing = l
}

// Ensure that a log which is appended to behind a torn transaction is found to
// lose what comes after it, and one whose last transaction is whole is not: the
// fault is that the tail is not cut.
func TestPlanted_logTail(t *testing.T) {
	path, states := logged(t, 4)
	after := func(f *File) { appendBehind(t, f) }
	ends := logEnds(t, readFile(t, logName(path)))
	goesOn(t, path, states, ends[2], after)
	require.True(t, finds(t, func(t testing.TB) { goesOn(t, path, states, ends[2]+frameSize+200, after) }))
	require.True(t, finds(t, func(t testing.TB) { goesOn(t, path, states, ends[2]+2*(frameSize+512), after) }))
}

// wrongSums has a log read as by who does not look at the checksums of its
// frames: they are right whatever is in it.
func wrongSums(f fsys) fsys {
	return &plantedFS{fsys: f, onOpen: func(name string) (file, error) {
		x, err := f.open(name)
		if err != nil || name != logName(strings.TrimSuffix(name, logName(""))) {
			return x, err
		}
		b, err := io.ReadAll(io.NewSectionReader(x, 0, 1<<30))
		if err != nil {
			return nil, errors.Join(err, x.Close())
		}
		if head, ok := parseWALHeader(b); ok {
			sum, n := head.sum, frameSize+head.pageSize
			for off := walHeaderSize; off+n <= len(b); off += n {
				if h := parseFrame(b[off:]); h.pgno != 0 {
					sum = putFrame(b[off:off+n], h.pgno, h.size, h.base, sum)
				}
			}
		}
		return &plantedFile{file: x, onReadAt: func(p []byte, off int64) (int, error) {
			if off > int64(len(b)) {
				return 0, io.EOF
			}
			n := copy(p, b[off:])
			if n < len(p) {
				return n, io.EOF
			}
			return n, nil
		}}, nil
	}}
}

// Ensure that frames which are taken with a wrong checksum are found to give
// states that never were.
func TestPlanted_logSums(t *testing.T) {
	path, states := logged(t, 4)
	require.True(t, finds(t, func(t testing.TB) { tornSectors(t, wrongSums(osFS{}), path, states) }))
}
