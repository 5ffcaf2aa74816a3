package schedule

import (
	"context"
	"sync"
	"time"
)

// Backoff after a failed save: the first retry comes after backoffFirst, each
// further one after twice the wait before, up to backoffMax. Neither is ever
// longer than the interval.
const (
	backoffFirst = time.Second
	backoffMax   = time.Minute
)

// LoopConfig says what a [Loop] does and when. Save and Changed are required.
// The loop calls all functions from its own goroutine, one at a time,
// without holding a lock. They must not call Sync or Close, which wait for
// that goroutine.
type LoopConfig struct {
	// Interval is the time between the starts of two saves. 0 (or less): none
	// by itself, not on Close either; Sync still works.
	Interval time.Duration

	// Save writes the state of now, or a later one, and returns the bytes
	// written. Its context has no deadline and is never cancelled: a save in
	// progress is always worth finishing. awaited: somebody waits for it, a
	// Sync or Close, so it should not be slow for the sake of others.
	Save func(ctx context.Context, awaited bool) (bytes int64, err error)

	// Changed reports whether there is anything that the last successful Save
	// did not cover. Nothing is saved when it says no.
	Changed func() bool

	// Tick, if not nil, is called at every interval, before Changed is asked.
	Tick func()

	// OnEvent, if not nil, is told of every attempt to save, before the Sync
	// calls that wait for it return.
	OnEvent func(Event)
}

// Event is one attempt to save.
type Event struct {
	Start    time.Time     // when the attempt began
	Duration time.Duration // how long it took
	Bytes    int64         // as Save returned them
	Err      error         // nil after success
	Failures int           // failed attempts in a row, this one included; 0 after success

	// Awaited: a Sync or Close gets Err too. Of the other attempts nobody
	// learns but by this event.
	Awaited bool
}

// Loop saves a database: every interval, on demand, and on close. After a
// failure it tries again by itself, first after a second, then after twice as
// long each time, at most a minute (or the interval, if that is shorter)
// apart, until a save works or nothing is left to save. Without an interval
// it does not: the Sync calls get the error.
//
// Its methods may be called from any goroutine. A Loop is in use until Close.
type Loop struct {
	cfg LoopConfig

	wake chan struct{} // capacity 1: there is a pending batch, or closing is set
	done chan struct{} // closed when the goroutine has ended; then closeErr is set

	closeErr error // written before done is closed, read after

	// mu guards the fields below. It is held for a few instructions, never
	// while a function of cfg runs.
	mu      sync.Mutex
	pending *batch // the Sync calls that the next save will serve; nil if none
	soon    bool   // Soon has been called
	closing bool   // Close has been called
}

// batch is a set of Sync calls that share a save.
type batch struct {
	done  chan struct{} // closed when the fields below are set
	bytes int64
	err   error
}

// NewLoop starts a loop. Its clock starts now: the first save is due one
// interval later.
func NewLoop(cfg LoopConfig) *Loop {
	cfg.Interval = max(cfg.Interval, 0)
	l := &Loop{
		cfg:  cfg,
		wake: make(chan struct{}, 1),
		done: make(chan struct{}),
	}
	go l.run()
	return l
}

// Sync saves what has changed and returns the bytes written, 0 if nothing had
// changed. Every commit made before the call is on the disk when it returns
// nil. Calls that come in while a save is running share the next one, since
// the running one may have begun before their commits.
//
// The end of ctx ends the wait, with its error; the save goes on. After Close
// has begun Sync returns [ErrClosed].
func (l *Loop) Sync(ctx context.Context) (int64, error) {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return 0, ErrClosed
	}
	if l.pending == nil {
		l.pending = &batch{done: make(chan struct{})}
	}
	b := l.pending
	l.mu.Unlock()
	signal(l.wake)

	select {
	case <-b.done:
		return b.bytes, b.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Soon has the loop save what has changed as soon as it can, as if an interval
// had passed. It does not wait. Without an interval it does nothing.
func (l *Loop) Soon() {
	l.mu.Lock()
	l.soon = l.cfg.Interval > 0
	l.mu.Unlock()
	signal(l.wake)
}

// Close ends the loop: it waits for a running save, saves what has changed
// since (unless the interval is 0), and returns the error of that save, which
// is tried once. Sync calls already waiting are served.
//
// The end of ctx ends the wait, with its error, but not the save: what Save
// uses must be kept until Close has returned another error or nil. Close may be
// called again, also at the same time, to wait again for the same result.
func (l *Loop) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	signal(l.wake)

	select {
	case <-l.done:
		return l.closeErr
	default: // a finished close wins over a finished ctx
	}
	select {
	case <-l.done:
		return l.closeErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Loop) run() {
	defer close(l.done)
	timer := newAlarm()
	defer timer.Stop()
	var (
		start    = time.Now()
		failures = 0       // in a row
		retry    time.Time // when to try again; only if failures > 0
	)
	for {
		if l.cfg.Interval > 0 {
			// The cap makes a retry at least as early as the tick after it.
			due := retry
			if failures == 0 {
				due = nextTick(start, time.Now(), l.cfg.Interval)
			}
			timer.Reset(time.Until(due))
		}
		ticked := false
		select {
		case <-timer.C:
			ticked = true
		case <-l.wake:
		}

		// Taken before Changed is asked and Save begins: what these Sync
		// calls must cover has been committed by now.
		l.mu.Lock()
		b, closing := l.pending, l.closing
		ticked = ticked || l.soon && failures == 0 // after a failure the backoff counts
		l.pending, l.soon = nil, false
		l.mu.Unlock()

		if b == nil && !ticked && !closing {
			continue // the signal of a batch that was served already
		}
		if ticked && l.cfg.Tick != nil {
			l.cfg.Tick()
		}
		var bytes int64
		var err error
		if b != nil || ticked || l.cfg.Interval > 0 {
			if l.cfg.Changed() {
				bytes, err = l.attempt(&failures, b != nil || closing)
				if err == nil {
					l.mu.Lock()
					l.soon = false // asked for while it ran, for what it has done
					l.mu.Unlock()
				}
				retry = time.Now().Add(backoff(failures, backoffFirst, min(backoffMax, l.cfg.Interval)))
			} else {
				failures = 0 // nothing is left to retry
			}
		}
		if b != nil {
			b.bytes, b.err = bytes, err
			close(b.done)
		}
		if closing {
			l.closeErr = err
			return
		}
	}
}

// attempt saves once and tells of it.
func (l *Loop) attempt(failures *int, awaited bool) (int64, error) {
	e := Event{Start: time.Now(), Awaited: awaited}
	e.Bytes, e.Err = l.cfg.Save(context.Background(), awaited)
	e.Duration = time.Since(e.Start)
	if e.Err == nil {
		*failures = 0
	} else {
		*failures++
	}
	e.Failures = *failures
	if l.cfg.OnEvent != nil {
		l.cfg.OnEvent(e)
	}
	return e.Bytes, e.Err
}

// nextTick is the first whole number of intervals after start that is after
// now: ticks neither drift nor, when a save took longer than one, bunch up.
func nextTick(start, now time.Time, interval time.Duration) time.Time {
	return start.Add((now.Sub(start)/interval + 1) * interval)
}
