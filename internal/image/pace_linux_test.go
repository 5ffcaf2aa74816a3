//go:build cgo

package image

import (
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// nice is the priority of the thread that calls it.
func nice(t *testing.T) int {
	t.Helper()
	p, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0) // 20 minus the nice value
	require.NoError(t, err)
	return 20 - p
}

// pieces is an image of zeros that tells the priority at which each piece is read. It is
// no database, so a save of it ends with an error.
type pieces struct {
	historyImage
	read func(off int64)
}

func (p pieces) ReadAt(b []byte, off int64) (int, error) {
	p.read(off)
	clear(b)
	return len(b), nil
}

// Ensure that a save in the background has a low priority until it is overdue, and the
// ordinary one from the next piece on. A save that is not in the background has the
// ordinary one.
func TestSave_overdue(t *testing.T) {
	const n = 8
	before := nice(t)
	img := &memImage{b: make([]byte, n*saveRun)}
	img.b[16], img.b[17] = 16, 0 // pages of 4096 bytes
	run := func(pace Pace, at func(piece int)) (prio []int) {
		var image pieces
		image.memImage = img
		image.read = func(off int64) {
			at(len(prio))
			prio = append(prio, nice(t))
		}
		path := filepath.Join(t.TempDir(), "x.db")
		_, err := writer{osfile.OS{}}.prepare(bg, path, path, image, sqlitefile.Pinned{}, writeOptions{pace: pace, hash: true})
		require.ErrorIs(t, err, sqlitefile.ErrNotADatabase)
		require.Len(t, prio, n)
		return prio
	}
	all := func(prio int) (s []int) {
		for range n {
			s = append(s, prio)
		}
		return s
	}
	nothing := func(int) {}
	low := min(before+osfile.Niceness, 19)
	require.Equal(t, all(before), run(Pace{}, nothing))
	require.Equal(t, all(low), run(Pace{Background: true}, nothing))
	require.Equal(t, all(low), run(Pace{Background: true, Overdue: time.Now().Add(time.Hour)}, nothing))
	require.Equal(t, all(before), run(Pace{Background: true, Overdue: time.Now().Add(-time.Hour)}, nothing))

	defer func() { paceClock = time.Now }()
	var clock atomic.Int64 // read by the thread that saves
	paceClock = func() time.Time { return time.Unix(clock.Load(), 0) }
	prio := run(Pace{Background: true, Overdue: time.Unix(1, 0)}, func(piece int) {
		if piece == 3 {
			clock.Store(1)
		}
	})
	require.Equal(t, append(append([]int{}, all(low)[:4]...), all(before)[4:]...), prio)
	require.Equal(t, before, nice(t))
}
