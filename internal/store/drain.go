//go:build cgo

package store

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
)

// drainAfter is how long page versions stay in memory that nobody needs, when nobody writes.
const drainAfter = 100 * time.Millisecond

// drainer frees page versions that no reader needs any more. The engine frees them when the
// next transaction writes; its readers free nothing. So the last commit before a quiet time,
// and the readers of that time, leave versions. A commit sets a timer. It is set again while
// something is held, and a quiet store without readers wakes nobody.
type drainer struct {
	// set is true while the timer is set. It is atomic, because every commit loads it.
	set atomic.Bool

	// mu guards the fields below, and the engine against its close: it is held for as long
	// as the engine drains.
	mu     sync.Mutex
	engine *memvfs.Store // nil: closed, or not made yet
	timer  *time.Timer   // nil: never set
}

// start comes before the first commit.
func (d *drainer) start(engine *memvfs.Store) {
	d.mu.Lock()
	d.engine = engine
	d.mu.Unlock()
}

// soon sets the timer. Every commit calls it.
func (d *drainer) soon() {
	if d.set.Load() || d.set.Swap(true) {
		return
	}
	d.mu.Lock()
	d.resetLocked()
	d.mu.Unlock()
}

func (d *drainer) resetLocked() {
	switch {
	case d.engine == nil:
	case d.timer == nil:
		d.timer = time.AfterFunc(drainAfter, d.run)
	default:
		d.timer.Reset(drainAfter)
	}
}

func (d *drainer) run() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.engine == nil {
		return
	}
	d.engine.Drain()
	// A commit that still finds set is seen by Stats. A later one sets the timer itself.
	d.set.Store(false)
	if d.engine.Stats().Held > 0 {
		d.set.Store(true)
		d.resetLocked()
	}
}

// close closes the engine. After an error everything goes on.
func (d *drainer) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.engine.Close(); err != nil {
		return err
	}
	d.engine = nil
	if d.timer != nil {
		d.timer.Stop()
	}
	return nil
}
