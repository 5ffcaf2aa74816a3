// Package slow reports what lasts longer than a limit, while it lasts.
package slow

import (
	"sync/atomic"
	"time"
)

// Watch reports once each use that lasts longer than a limit. One goroutine at a time calls
// Begin, End and Close. A use costs two clock readings. A timer runs at most once in a
// limit, however many uses there are; it needs no goroutine until it fires.
type Watch struct {
	limit  time.Duration
	report func(age time.Duration, lasts func() bool)

	// since is when the use that goes on has begun, as time since epoch; 0: there is none. It
	// is atomic, because the timer reads it.
	since atomic.Int64

	// armed is true while the timer is going to fire. Begin stores since before it looks at
	// armed. look clears armed before it looks at since. So one of them sees a use that the
	// timer has to wait for.
	armed atomic.Bool

	timer *time.Timer

	// told is since of the last use that was reported. A look may be overtaken by the next one
	// before it reads since, and both see one use then. So told is atomic.
	told atomic.Int64
}

// epoch is before every clock reading, so that none is 0.
var epoch = time.Now().Add(-time.Second)

func now() int64 { return int64(time.Since(epoch)) }

// New returns a Watch. It calls report on a goroutine of its own, and may call it again
// before that ends. While lasts returns true, what report has read is of that use. A limit of 0
// or less gives nil, which may be used and does nothing.
func New(limit time.Duration, report func(age time.Duration, lasts func() bool)) *Watch {
	if limit <= 0 {
		return nil
	}
	w := &Watch{limit: limit, report: report}
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
	return w
}

// Begin begins a use. It does nothing while one goes on.
func (w *Watch) Begin() {
	if w == nil || w.since.Load() != 0 {
		return
	}
	w.since.Store(now())
	w.arm(w.limit)
}

// End ends the use, if one goes on.
func (w *Watch) End() {
	if w != nil {
		w.since.Store(0)
	}
}

// Lasts reports whether a use goes on. It may be called from any goroutine.
func (w *Watch) Lasts() bool { return w != nil && w.since.Load() != 0 }

// Close ends the use and stops the timer. A report that runs goes on.
func (w *Watch) Close() {
	if w == nil {
		return
	}
	w.End()
	w.timer.Stop()
}

// arm sets the timer, if it is not set.
func (w *Watch) arm(after time.Duration) {
	if !w.armed.Swap(true) {
		w.timer.Reset(after)
	}
}

// look is called by the timer.
func (w *Watch) look() {
	w.armed.Store(false)
	since := w.since.Load()
	switch age := time.Duration(now() - since); {
	case since == 0:
	case age < w.limit:
		w.arm(w.limit - age)
	case w.told.Swap(since) != since:
		w.report(age, func() bool { return w.since.Load() == since })
		// A use that began meanwhile found the timer at rest and has set it.
	}
}
