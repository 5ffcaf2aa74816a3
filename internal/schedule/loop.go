package schedule

import (
	"context"
	"sync"
	"time"
)

// The waits after failed saves: backoffFirst before the first retry, then twice the wait
// before, up to backoffMax. No wait is longer than the interval.
const (
	backoffFirst = time.Second
	backoffMax   = time.Minute
)

// LoopConfig has the functions and the interval of a [Loop]. Save and Changed are required.
// The loop calls the functions from its own goroutine, one at a time, and holds no lock
// meanwhile. They must not call Sync or Close, which wait for that goroutine.
type LoopConfig struct {
	// Interval is the time between the starts of two saves: see SetInterval. 0 or less:
	// only Sync saves; neither the time nor Close does.
	Interval time.Duration

	// Save writes the state of the moment of the call, or a later one. It returns the
	// bytes written. It gets no context, because a save that has begun is worth finishing.
	// If awaited is true, a Sync or Close waits for it, so it should be fast.
	Save func(awaited bool) (bytes int64, err error)

	// Changed reports whether there is something that the last successful Save did not
	// write. If not, the loop does not save.
	Changed func() bool

	// Tick, if not nil, is called at every interval, before Changed.
	Tick func()

	// OnEvent, if not nil, is called after every attempt to save, before the Sync calls
	// that wait for it return.
	OnEvent func(Event)
}

// Event is one attempt to save.
type Event struct {
	Start    time.Time     // when the attempt began
	Duration time.Duration // how long it took
	Bytes    int64         // as Save returned them
	Err      error         // nil after success
	Failures int           // failed attempts in a row, with this one; 0 after success

	// Awaited: a Sync or Close waited for it, and gets Err too. Of the other attempts only
	// this event tells.
	Awaited bool
}

// Loop saves a database every interval, on demand and on close. After a failure it tries
// again: first after 1 s, then after twice the wait before, at most 1 min or the interval.
// It stops when a save works, or when nothing is left to save. Without an interval it does
// not try again, and the Sync calls get the error.
//
// Its methods may be called from any goroutine, at the same time. Its goroutine runs until
// Close.
type Loop struct {
	cfg LoopConfig

	wake chan struct{} // capacity 1: pending, soon or closing has been set
	done chan struct{} // closed when the goroutine has ended

	closeErr error // written before done is closed, read after that

	// mu guards the fields below. It is held for a few instructions, and never while a
	// function of cfg runs.
	mu       sync.Mutex
	interval time.Duration // as LoopConfig.Interval, never under 0
	pending  *batch        // the Sync calls that the next save serves; nil: none
	soon     bool          // Soon has been called
	closing  bool          // Close has been called
}

// batch is the Sync calls that share a save.
type batch struct {
	done  chan struct{} // closed when the fields below are set
	bytes int64
	err   error
}

// NewLoop starts a loop. The first save is due one interval later.
func NewLoop(cfg LoopConfig) *Loop {
	l := &Loop{
		cfg:      cfg,
		interval: max(cfg.Interval, 0),
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
	go l.run()
	return l
}

// Sync saves what has changed, and returns the bytes written; 0 if nothing had changed. When
// it returns nil, every commit made before the call is on the disk. Calls that come while a
// save runs share the next one, as the running one may have begun before their commits.
//
// At the end of ctx Sync returns its error; the save goes on. After Close has begun, Sync
// returns [ErrClosed].
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

// SetInterval changes the interval. The next save is due at the next whole number of the new
// intervals since the loop began.
func (l *Loop) SetInterval(d time.Duration) {
	l.mu.Lock()
	l.interval = max(d, 0)
	l.mu.Unlock()
	signal(l.wake)
}

// Soon asks the loop to save what has changed as soon as it can, as if an interval had
// passed. It does not wait. Without an interval it does nothing.
func (l *Loop) Soon() {
	l.mu.Lock()
	l.soon = l.interval > 0
	l.mu.Unlock()
	signal(l.wake)
}

// Close ends the loop. It waits for a save that runs, saves what has changed since, and
// returns the error of that save, which it tries once. With an interval of 0 it does not
// save. Sync calls that wait already are served.
//
// At the end of ctx Close returns its error, but the save goes on. So keep what Save uses
// until another Close has returned nil or an error that is not of its ctx. Close may be
// called again, also at the same time, and returns the same result.
func (l *Loop) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	signal(l.wake)

	select {
	case <-l.done:
		return l.closeErr
	default: // if both have ended, the result of the save counts
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
		l.mu.Lock()
		interval := l.interval
		l.mu.Unlock()
		if interval > 0 {
			// A retry is not later than a tick, as no backoff is longer than the interval.
			due := nextTick(start, time.Now(), interval)
			if failures > 0 && retry.Before(due) {
				due = retry
			}
			timer.Reset(time.Until(due))
		} else {
			timer.Stop()
		}
		ticked := false
		select {
		case <-timer.C:
			ticked = true
		case <-l.wake:
		}

		// This comes before Changed and Save. The commits that these Sync calls have to cover
		// are made by now.
		l.mu.Lock()
		b, closing := l.pending, l.closing
		ticked = ticked || l.soon && failures == 0 // after a failure the backoff decides
		l.pending, l.soon = nil, false
		l.mu.Unlock()

		if b == nil && !ticked && !closing {
			continue // the signal was for a batch that is served already
		}
		if ticked && l.cfg.Tick != nil {
			l.cfg.Tick()
		}
		var bytes int64
		var err error
		if b != nil || ticked || interval > 0 {
			if l.cfg.Changed() {
				bytes, err = l.attempt(&failures, b != nil || closing)
				if err == nil {
					l.mu.Lock()
					l.soon = false // this save has done what was asked for while it ran
					l.mu.Unlock()
				}
				retry = time.Now().Add(backoff(failures, backoffFirst, min(backoffMax, interval)))
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

// attempt saves once, and calls OnEvent.
func (l *Loop) attempt(failures *int, awaited bool) (int64, error) {
	e := Event{Start: time.Now(), Awaited: awaited}
	e.Bytes, e.Err = l.cfg.Save(awaited)
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

// nextTick returns the first time after now that is a whole number of intervals after start.
// So ticks do not drift, and do not bunch up after a long save.
func nextTick(start, now time.Time, interval time.Duration) time.Time {
	return start.Add((now.Sub(start)/interval + 1) * interval)
}
