package schedule

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// The waits after failed flushes: see the constants of Loop.
const (
	flushBackoffFirst = 50 * time.Millisecond
	flushBackoffMax   = 5 * time.Second
)

// flushYields is how often a goroutine lets others run before it flushes. If no other can run
// it costs next to nothing.
const flushYields = 4

// FlusherConfig has the functions and the interval of a [Flusher]. Flush and Pending are
// required. The functions are called one at a time, from any goroutine.
type FlusherConfig struct {
	// Interval is the least time between the starts of two flushes that Soon asks for: see
	// SetInterval. 0: only Wait and failures ask for a flush.
	Interval time.Duration

	// Flush makes every commit made before the call durable.
	Flush func() error

	// Pending reports whether there is a commit that is not durable.
	Pending func() bool

	// OnEvent, if not nil, is called after every attempt, before the calls of Wait return.
	OnEvent func(FlushEvent)
}

// FlushEvent is one attempt to flush.
type FlushEvent struct {
	Start    time.Time     // when the attempt began
	Duration time.Duration // how long it took
	Err      error         // nil after success
	Failures int           // failed attempts in a row, with this one; 0 after success
}

// Flusher flushes a log. With an interval it flushes the first commit after a quiet interval
// at once (the leading edge). It flushes the next ones when the interval is over. So a crash
// costs at most an interval and the length of a flush, and a quiet database wakes nobody. One
// flush serves all calls of Wait that have come while the flush before ran.
//
// After a failure it tries again: first after 50 ms, then after twice the wait before, at
// most 5 s or the interval.
//
// Its methods may be called from any goroutine, at the same time. Its goroutine runs until
// Close.
type Flusher struct {
	cfg  FlusherConfig
	wake chan struct{} // capacity 1: soon or closing has been set, or failures has become 1
	done chan struct{} // closed when the goroutine has ended

	closeErr error // written before done is closed, read after that

	// failed is the error of the last flush, nil if it worked. It is stored while turn is
	// held, and by Recovered. It is atomic for Failed.
	failed atomic.Pointer[error]

	// interval is as FlusherConfig.Interval. It is atomic, as SetInterval takes no lock.
	interval atomic.Int64

	// soon is set by Soon, and cleared before the flush that answers it. It is atomic
	// because every commit calls Soon.
	soon atomic.Bool

	// turn, of capacity 1, is a lock, which a send takes. Its holder flushes, for as long
	// as that takes. It guards the fields below, and is taken before mu.
	turn     chan struct{}
	failures int       // failed attempts in a row
	began    time.Time // when the last attempt began; zero: none yet
	ended    time.Time // when it ended

	// mu guards the fields below. It is held for a few instructions.
	mu      sync.Mutex
	pending *flushBatch // the next batch, which Wait can still join; nil: none
	closing bool
	waits   sync.WaitGroup // for the calls of Wait; none is added once closing is set
}

// flushBatch is the calls of Wait that share a flush.
type flushBatch struct {
	done chan struct{} // closed when err is set
	err  error
}

// NewFlusher starts a flusher.
func NewFlusher(cfg FlusherConfig) *Flusher {
	f := &Flusher{cfg: cfg, wake: make(chan struct{}, 1), done: make(chan struct{}), turn: make(chan struct{}, 1)}
	f.interval.Store(int64(cfg.Interval))
	go f.run()
	return f
}

// Wait returns the error of a flush that began after the call, when that has ended. It takes
// no context, because what it waits for is committed already. After Close has begun, it
// returns [ErrClosed].
//
// The first call of a batch flushes for all of it, in its own goroutine. To wake another one
// would take as long as a sync does on many a disk.
func (f *Flusher) Wait() error {
	f.mu.Lock()
	if f.closing {
		f.mu.Unlock()
		return ErrClosed
	}
	f.waits.Add(1)
	defer f.waits.Done()
	b := f.pending
	first := b == nil
	if first {
		b = &flushBatch{done: make(chan struct{})}
		f.pending = b
	}
	f.mu.Unlock()
	if !first {
		<-b.done
		return b.err
	}

	f.turn <- struct{}{}
	// The flush before has just released the goroutines that waited for it. Let them commit
	// again and join this one.
	for range flushYields {
		runtime.Gosched()
	}
	f.mu.Lock()
	f.pending = nil
	f.mu.Unlock()
	// OnEvent may call code of the user that panics, and the caller may recover from that.
	// Nobody may wait for ever then.
	defer func() {
		<-f.turn
		close(b.done)
	}()
	f.attemptLocked(&b.err)
	return b.err
}

var errPanicked = errors.New("sqlite-mem: the flush of the log panicked")

// Soon asks for a flush of what was committed, as soon as the interval allows. It does not
// wait. After a failure it asks for the next attempt; without an interval that comes 50 ms
// after the last one.
func (f *Flusher) Soon() {
	if !f.soon.Load() && !f.soon.Swap(true) {
		signal(f.wake)
	}
}

// SetInterval changes the interval, also for a flush that Soon has asked for. With 0 that
// flush is not made: the caller makes one by Wait.
func (f *Flusher) SetInterval(d time.Duration) {
	f.interval.Store(int64(d))
	signal(f.wake)
}

// Recovered tells the flusher that a save has made everything durable, so that an earlier
// failure no longer counts.
func (f *Flusher) Recovered() {
	f.failed.Store(nil) // Also while run looks when the next attempt is due.
	select {
	case f.turn <- struct{}{}:
		f.failures = 0
		f.failed.Store(nil)
		<-f.turn
	default: // A flush is running, and will tell. Or run has looked: the next attempt ends the failure.
	}
}

// Failed returns the error of the last flush; nil if it worked, or a save has made up for it.
func (f *Flusher) Failed() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Close ends the flusher. If there is a commit that is not durable, it flushes and returns
// the error of that. Calls of Wait that have begun are served. It is called once.
func (f *Flusher) Close() error {
	f.mu.Lock()
	f.closing = true
	f.mu.Unlock()
	f.waits.Wait()
	signal(f.wake)
	<-f.done
	return f.closeErr
}

// run flushes when Soon has asked for it, and after failures.
func (f *Flusher) run() {
	defer close(f.done)
	timer := newAlarm()
	defer timer.Stop()
	for {
		if due, ok := f.due(); ok {
			timer.Reset(time.Until(due))
		} else {
			timer.Stop()
		}
		ticked := false
		select {
		case <-timer.C:
			ticked = true
		case <-f.wake:
		}
		f.mu.Lock()
		closing := f.closing
		f.mu.Unlock()
		if !ticked && !closing {
			continue // The next flush may be due at another time now.
		}
		f.soon.Store(false) // Commits from here on ask again.
		f.turn <- struct{}{}
		var err error
		if f.cfg.Pending() {
			f.attemptLocked(&err)
		} else if f.failures > 0 { // a save has made all durable
			f.failures = 0
			f.failed.Store(nil)
		}
		<-f.turn
		if closing {
			f.closeErr = err
			return
		}
	}
}

// due returns when the next attempt is to begin; false: nothing asks for one.
func (f *Flusher) due() (time.Time, bool) {
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	soon, interval := f.soon.Load(), time.Duration(f.interval.Load())
	switch {
	case f.failures > 0 && soon && interval == 0:
		return f.ended.Add(flushBackoffFirst), true
	case f.failures > 0:
		return f.ended.Add(f.backoff(f.failures)), true
	case soon && interval > 0:
		return f.began.Add(interval), true
	}
	return time.Time{}, false
}

// attemptLocked flushes once, stores the error, and calls OnEvent. A panic of Flush counts as
// a failure, and is passed on. The caller holds turn.
func (f *Flusher) attemptLocked(err *error) {
	e := FlushEvent{Start: time.Now(), Err: errPanicked}
	f.began = e.Start
	defer func() {
		*err = e.Err
		f.ended = time.Now()
		e.Duration = f.ended.Sub(e.Start)
		if e.Err == nil {
			f.failures = 0
			f.failed.Store(nil)
		} else {
			f.failures++
			f.failed.Store(&e.Err)
			if f.failures == 1 {
				signal(f.wake)
			}
		}
		e.Failures = f.failures
		if f.cfg.OnEvent != nil {
			f.cfg.OnEvent(e)
		}
	}()
	e.Err = f.cfg.Flush()
}

func (f *Flusher) backoff(failures int) time.Duration {
	limit := flushBackoffMax
	if interval := time.Duration(f.interval.Load()); interval > 0 {
		limit = min(limit, interval)
	}
	return backoff(failures, flushBackoffFirst, limit)
}
