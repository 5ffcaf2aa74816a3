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

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// logStates are n states of a small database, each of one commit more. They differ in one
// page or two.
func logStates(t testing.TB, n int) (states []*memImage) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "states.db")
	db := testfile.OpenSQL(t, path)
	testfile.MustExec(t, db, "PRAGMA synchronous=OFF", "PRAGMA page_size=512", "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")
	for range n {
		testfile.MustExec(t, db, "INSERT INTO t(b) VALUES(hex(randomblob(60)))")
		states = append(states, &memImage{b: testfile.Read(t, path)})
	}
	require.NoError(t, db.Close())
	return states
}

// smallAhead is a logAhead for logStates. With it most of the flushes find room
// that was written ahead, as in production.
const smallAhead = 16 * 2 * (pagelog.FrameSize + 512)

// logLife is a File and the states that its database goes through. It has the number of those
// after the first that were called durable.
type logLife struct {
	f     *File
	h     *history
	want  []*memImage
	tell  func()
	told  int
	flush func() error // f.Flush, or more
}

// newLogLife opens the database at path, which is in the state want[0].
func newLogLife(t testing.TB, path string, fs osfile.FS, want []*memImage, tell func()) *logLife {
	t.Helper()
	l := &logLife{h: new(history), want: want, tell: tell}
	l.commit()
	l.f = openLoggedOn(t, fs, path, l.h)
	l.flush = l.f.Flush
	return l
}

// commit makes the next of the states.
func (l *logLife) commit() { l.h.commit(l.want[len(l.h.states)].b) }

// tellDurable tells the commits that are durable by now. err is the error of the last step.
func (l *logLife) tellDurable(err error) error {
	for ; l.told < int(l.f.Durable())-1; l.told++ {
		l.tell()
	}
	return err
}

func (l *logLife) commitAndFlush() error {
	l.commit()
	return l.tellDurable(l.flush())
}

func (l *logLife) save() error {
	_, err := l.f.Save(bg, Pace{})
	return l.tellDurable(err)
}

// saveMeanwhile saves. During the save it commits and flushes, and commits again without a
// flush.
func (l *logLife) saveMeanwhile() error {
	var merr error
	img := l.h.last()
	img.read = func() {
		img.read = nil
		merr = l.commitAndFlush()
		l.commit()
	}
	err := l.save()
	if img.read != nil { // it did not come to that
		img.read()
	}
	return errors.Join(err, merr)
}

// steps are the life of a log, with 6 commits. The log is begun and appended to. One save
// begins it anew with something in it, another with nothing.
func (l *logLife) steps() []func() error {
	return []func() error{l.commitAndFlush, l.commitAndFlush, l.saveMeanwhile, l.commitAndFlush, l.save, l.commitAndFlush}
}

// logRun is the life of a log.
var logRun = powerRun{
	start: func(t *testing.T, path string) []*memImage {
		want := logStates(t, 7)
		testfile.Write(t, path, want[0].b)
		return want
	},
	run: func(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func()) {
		defer SetLogAhead(smallAhead)()
		l := newLogLife(t, path, fs, want, tell)
		for _, step := range l.steps() {
			require.NoError(t, step())
		}
		require.Equal(t, len(want)-1, l.told)
		require.NoError(t, l.f.Close(false))
	},
	opens: logOpensAs,
	opts:  osfiletest.PowerOptions{Samples: 6, States: 128, Contents: 64},
}

// tornLogRun is the life of a log after a crash that has torn a transaction.
var tornLogRun = powerRun{
	start: func(t *testing.T, path string) []*memImage {
		want := logStates(t, 6)
		testfile.Write(t, path, want[0].b)
		l := newLogLife(t, path, osfile.OS{}, want, func() {})
		for range 3 {
			require.NoError(t, l.commitAndFlush())
		}
		require.NoError(t, l.f.Close(false))
		log := testfile.Read(t, pagelog.Name(path))
		testfile.Write(t, pagelog.Name(path), log[:logEnds(t, log)[2]-100])
		return want[2:]
	},
	run: func(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func()) {
		defer SetLogAhead(smallAhead)()
		l := newLogLife(t, path, fs, want, tell)
		for range 2 {
			require.NoError(t, l.commitAndFlush())
		}
		require.NoError(t, l.f.Close(false))
	},
	opens: logOpensAs,
	opts:  osfiletest.PowerOptions{Samples: 6, States: 128, Contents: 64},
}

// logOpensAs is opensAs for a database with a log.
func logOpensAs(path string, want []*memImage) error {
	if _, err := RemoveLeftovers(path); err != nil {
		return err
	}
	got, _, err := reloadOn(unsynced(osfile.OS{}), path)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(want, func(img *memImage) bool { return string(withoutCounter(img.b)) == string(withoutCounter(got)) }) {
		return fmt.Errorf("%d bytes that are none of the %d states that may be there", len(got), len(want))
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	for _, e := range entries {
		if e.Name() != filepath.Base(path) && e.Name() != filepath.Base(pagelog.Name(path)) {
			err = errors.Join(err, errors.New("left over: "+e.Name()))
		}
	}
	return err
}

// fewStates are enough where there are many runs.
var fewStates = osfiletest.PowerOptions{Contents: 8, Samples: 2, States: 16}

// logFaultRun is the life of a log on ffs, in which an operation fails. Then the
// disk is back, and all becomes durable. plant is put between the product and
// ffs, hook is called before each flush.
func logFaultRun(ffs *osfiletest.FaultFS, plant func(osfile.FS) osfile.FS, hook func(f *File)) powerRun {
	run := logRun
	run.opts = fewStates
	run.run = func(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func()) {
		defer SetLogAhead(smallAhead)()
		failAt := ffs.FailAt
		ffs.FS, ffs.FailAt = fs, 0
		l := newLogLife(t, path, plant(ffs), want, tell)
		l.flush = func() error {
			hook(l.f)
			return l.f.Flush()
		}
		ffs.Ops, ffs.FailAt = nil, failAt
		for _, step := range l.steps() {
			if len(ffs.Failures) == 0 { // logRun shows the states until then
				fs.(osfiletest.PowerFS).Rec.Pass()
			}
			if err := step(); err != nil {
				require.NotEmpty(t, ffs.Failures, err)
			}
		}
		ffs.Cease()
		require.NoError(t, l.tellDurable(l.flush()))
		require.Equal(t, len(want)-1, l.told)
		require.NoError(t, l.f.Close(false))
	}
	return run
}

// logFaultAt is a disk whose operation n fails, from when the log is open.
func logFaultAt(n int, forever bool) *osfiletest.FaultFS {
	return &osfiletest.FaultFS{FailAt: n, Forever: forever, Err: syscall.ENOSPC, Short: true}
}

// Ensure that a power failure loses no durable commit of a log after a failed operation. With
// -long, each operation fails, once and for good.
func TestPowerLoss_logAfterFault(t *testing.T) {
	all := 0
	for _, forever := range []bool{false, true} {
		n := 5
		for ; ; n += Sample(61) {
			ffs := logFaultAt(n, forever)
			errs, states := logFaultRun(ffs, asIs, func(*File) {}).bad(t, asIs)
			require.Empty(t, errs, "operation %d, %v", n, ffs)
			all += states
			if len(ffs.Failures) == 0 {
				break
			}
		}
		t.Logf("forever=%v: up to operation %d; %d states by now", forever, n, all)
	}
}
