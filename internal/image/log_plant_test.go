//go:build cgo

package image

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// The tests here do for the log what those in plant_test.go do for saves. The same sweeps
// find nothing without the planted faults, as TestPowerLoss, TestPowerLoss_logAfterFault,
// TestLog_torn, TestLog_goesOn and TestLogCrash show.

// onNewLog sets functions of each new log.
func onNewLog(f osfile.FS, set func(x *osfiletest.PlantedFile)) osfile.FS {
	return &osfiletest.PlantedFS{FS: f, OnFile: func(name string, x *osfiletest.PlantedFile) {
		if name == pagelog.NewName(strings.TrimSuffix(name, pagelog.NewName(""))) {
			set(x)
		}
	}}
}

// unsyncedLog never syncs what is appended to a log.
func unsyncedLog(f osfile.FS) osfile.FS {
	return onNewLog(f, func(x *osfiletest.PlantedFile) { x.OnSyncData = osfiletest.Nothing })
}

// skipSyncDir leaves out the syncs of the directory that come right after the rename to a
// name that ends with after. If after is "", it leaves out those that come after no rename.
func skipSyncDir(f osfile.FS, after string) osfile.FS {
	renamed := ""
	return &osfiletest.PlantedFS{FS: f,
		OnRename: func(from, to string) error { renamed = to; return f.Rename(from, to) },
		OnSyncDir: func(name string) error {
			skip := renamed == "" && after == "" || after != "" && strings.HasSuffix(renamed, after)
			if renamed = ""; skip {
				return nil
			}
			return f.SyncDir(name)
		}}
}

// logBeforeBase has a save rename the new log over the old one before the new
// file has its name.
func logBeforeBase(f osfile.FS) osfile.FS {
	early := false
	return &osfiletest.PlantedFS{FS: f, OnRename: func(from, to string) error {
		if early && from == pagelog.NewName(strings.TrimSuffix(to, pagelog.Name(""))) {
			early = false // it has been
			return nil
		}
		if isTempName(filepath.Base(from), tempPrefix(to)) {
			err := f.Rename(pagelog.NewName(to), pagelog.Name(to))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			early = err == nil
		}
		return f.Rename(from, to)
	}, OnLstat: func(name string) (os.FileInfo, error) {
		if path, is := strings.CutSuffix(name, pagelog.NewName("")); is && early {
			name = pagelog.Name(path)
		}
		return f.Lstat(name)
	}}
}

// Ensure that the states of a power failure show each fault in the order of writes, syncs and
// renames of a log.
func TestPlanted_logPower(t *testing.T) {
	for name, plant := range map[string]func(f osfile.FS) osfile.FS{
		"the log is never synced": unsyncedLog,
		"a new log is not synced before it is placed": func(f osfile.FS) osfile.FS {
			return onNewLog(f, func(x *osfiletest.PlantedFile) { x.OnSync = osfiletest.Nothing })
		},
		"the directory is not synced before the rename of the base": func(f osfile.FS) osfile.FS { return skipSyncDir(f, "") },
		"the directory is not synced between the renames of base and log": func(f osfile.FS) osfile.FS {
			return skipSyncDir(f, ".db")
		},
		"the directory is not synced after the rename of the log":           func(f osfile.FS) osfile.FS { return skipSyncDir(f, "-memwal") },
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

// ignoring is a sync of x that reports no failure. After a failure, x is not synced again.
func ignoring(x *osfiletest.PlantedFile, sync func() error) func() error {
	return func() error {
		if sync() != nil {
			x.OnSync, x.OnSyncData = osfiletest.Nothing, osfiletest.Nothing
		}
		return nil
	}
}

// Ensure that a power failure after a failed operation shows two faults. In one, the log
// takes the failure for a success. In the other, it goes on behind what the failure has left.
func TestPlanted_logFaults(t *testing.T) {
	const name = "x.db-memwal-new" // that under which a log is made
	for what, tt := range map[string]struct {
		op    string // the operation that fails
		first int    // the first of them after which there is a log to show it
		plant func(f osfile.FS) osfile.FS
		hook  func(f *File) // unless nil
	}{
		"a failed sync of the log is ignored": {op: "sync " + name, first: 2, plant: func(f osfile.FS) osfile.FS {
			return onNewLog(f, func(x *osfiletest.PlantedFile) { x.OnSyncData = ignoring(x, x.File.SyncData) })
		}},
		"a failed sync of a new log is ignored": {op: "sync " + name, first: 1, plant: func(f osfile.FS) osfile.FS {
			return onNewLog(f, func(x *osfiletest.PlantedFile) { x.OnSync = ignoring(x, x.File.Sync) })
		}},
		"the directory is not synced anew before the rename of the log": {op: "syncDir ", first: 3, plant: func(f osfile.FS) osfile.FS {
			failed := false
			return &osfiletest.PlantedFS{FS: f, OnSyncDir: func(name string) error {
				if failed {
					failed = false
					return nil
				}
				err := f.SyncDir(name)
				failed = err != nil
				return err
			}}
		}},
		"a log is appended to behind a failed write": {op: "write " + name, first: 3, plant: asIs, hook: func(f *File) {
			if f.writing != nil {
				f.writing.Broken = false
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
			run.run(t, path, osfiletest.Record(t, filepath.Dir(path)).FS(osfile.OS{}), run.start(t, path), func() {})
			met := 0
			for i, op := range sound.Ops {
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
				require.NotEmpty(t, ffs.Failures)
			}
			t.Fatal("not found")
		})
	}
}

// appendBehind makes f go on with the log that Open has found, behind all that is in it.
// That would be right if no crash could tear a transaction.
func appendBehind(t testing.TB, f *File) {
	t.Helper()
	name := pagelog.Name(f.target)
	log, err := pagelog.Read(f.fs, name)
	require.NoError(t, err)
	x, err := osfile.OS{}.OpenWrite(name)
	require.NoError(t, err)
	l := &pagelog.Writer{FS: f.fs, Path: f.target, File: x, Head: log.Head, Size: log.Size, Room: log.Size, Renamed: true, Placed: true}
	if log.Commits > 0 {
		b := make([]byte, pagelog.FrameSize)
		_, err := x.ReadAt(b, log.End-int64(pagelog.FrameSize+log.Head.PageSize))
		require.NoError(t, err)
		l.Head.Sum = pagelog.ParseFrame(b).Sum
	}
	f.writing = l
}

// Ensure that the test finds a log that is appended to behind a torn transaction. It loses
// the transactions that are appended. If the last transaction is whole, nothing is lost. The
// fault is that the tail is not cut.
func TestPlanted_logTail(t *testing.T) {
	path, states := logged(t, 4)
	after := func(f *File) { appendBehind(t, f) }
	ends := logEnds(t, testfile.Read(t, pagelog.Name(path)))
	goesOn(t, path, states, ends[2], after)
	require.True(t, osfiletest.Finds(t, func(t testing.TB) { goesOn(t, path, states, ends[2]+pagelog.FrameSize+200, after) }))
	require.True(t, osfiletest.Finds(t, func(t testing.TB) { goesOn(t, path, states, ends[2]+2*(pagelog.FrameSize+512), after) }))
}

// wrongSums plants a reader that ignores the checksums of frames. It makes them right,
// whatever is in the log.
func wrongSums(f osfile.FS) osfile.FS {
	return &osfiletest.PlantedFS{FS: f, OnOpen: func(name string) (osfile.File, error) {
		x, err := f.Open(name)
		if err != nil || name != pagelog.Name(strings.TrimSuffix(name, pagelog.Name(""))) {
			return x, err
		}
		b, err := io.ReadAll(io.NewSectionReader(x, 0, 1<<30))
		if err != nil {
			return nil, errors.Join(err, x.Close())
		}
		if head, ok := pagelog.ParseHeader(b); ok {
			sum, n := head.Sum, pagelog.FrameSize+head.PageSize
			for off := sqlitefile.WALHeaderSize; off+n <= len(b); off += n {
				if h := pagelog.ParseFrame(b[off:]); h.Pgno != 0 {
					sum = pagelog.PutFrame(b[off:off+n], h.Pgno, h.Size, h.Base, sum)
				}
			}
		}
		return &osfiletest.PlantedFile{File: x, OnReadAt: func(p []byte, off int64) (int, error) {
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

// Ensure that the test finds a reader that accepts frames with a wrong checksum. It gives
// states that never were.
func TestPlanted_logSums(t *testing.T) {
	path, states := logged(t, 4)
	require.True(t, osfiletest.Finds(t, func(t testing.TB) { tornSectors(t, wrongSums(osfile.OS{}), path, states) }))
}
