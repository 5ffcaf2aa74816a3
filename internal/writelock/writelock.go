// Package writelock is the single-writer lock of one database: a mutex with a
// first-in, first-out queue whose waits end with a context or a timeout, and
// which can tell who holds it and for how long.
//
// # Turns
//
// To hand the lock from one goroutine to another at each transaction costs more
// than a small transaction: the next has to be scheduled, and its connection has
// to read anew what the last one has changed, while the one that is running could
// go on at once. So, for the length of a turn, whoever comes may take a lock that
// is free, though others wait. After that the next Unlock hands it to whoever
// has waited longest, and a turn begins anew. Those who wait keep their order,
// but for one whose time is up while the lock is free, who counts as a newcomer.
// Who has n others before it therefore waits for no more than n+1 turns, each
// as long as turn and the transaction in which it ends.
//
// Each time the lock becomes free within a turn, the head of the queue is woken.
// Whoever writes one small transaction behind the other is back before it has
// looked, and to wake it costs much of what such a transaction does: so when it has
// been overtaken patience times, it sleeps until the turn is over. If that writer
// stops then, the lock stays free for the rest of the turn though somebody waits:
// that is the price, for the one who waits as for all behind it.
//
// It is written by hand because golang.org/x/sync/semaphore can neither count
// those who wait nor name the holder, and needs a context for every timeout.
package writelock

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// ErrTimeout is what every [*TimeoutError] wraps, for use with [errors.Is].
var ErrTimeout = errors.New("writelock: timed out")

// TimeoutError is returned by [Lock.Lock] when the lock was not to be had in
// time. It describes the holder at the moment of giving up.
type TimeoutError struct {
	Waited  time.Duration // time spent in the queue; zero when waiting was not allowed
	Holder  string        // what the holder called itself
	HeldFor time.Duration // time since the holder got the lock
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("%v after %v: held for %v by %q", ErrTimeout, e.Waited, e.HeldFor, e.Holder)
}

// Unwrap returns [ErrTimeout].
func (e *TimeoutError) Unwrap() error { return ErrTimeout }

// Stats is a copy of a lock's state and counters, all of the same instant.
type Stats struct {
	Held    bool          // current
	Holder  string        // current: as given to Lock; empty when not held
	HeldFor time.Duration // current: zero when not held
	Waiting int           // current: length of the queue

	Waits    uint64        // cumulative: waits that are over, however they ended
	WaitTime time.Duration // cumulative: the sum of those waits
	Timeouts uint64        // cumulative: calls that returned a TimeoutError
}

// turn is how long newcomers may overtake those who wait: long beside a hand-over
// and a small transaction, short beside what a user notices. It is also how long
// a goroutine waits for a sync.Mutex before it is handed to it.
const turn = time.Millisecond

// patience is how often in a turn the head of the queue is woken in vain. More than
// a burst of writes that go together is likely to have; few beside what fits into a
// turn. BenchmarkLock_bursts tells what fewer would cost.
const patience = 16

// Lock is a mutual exclusion lock whose queue gets it once a turn. The zero value
// is an unlocked Lock. A Lock must not be copied after first use.
//
// While it is free and somebody waits, the head of the queue is woken: it has
// been sent something on ready that it has not acted upon yet; or it dozes, and its
// timer ends that with the turn. So no wait is forgotten, and it costs one wake-up at
// a time.
type Lock struct {
	// mu guards the fields below it. It is held for a few instructions at a
	// time, never while waiting and never while calling foreign code. No other
	// lock is taken under it.
	mu       sync.Mutex
	held     bool
	holder   string
	since    time.Duration // clock reading when the holder got the lock
	begun    time.Duration // clock reading when the turn began: the queue got the lock, or came to be
	head     *waiter       // has waited longest
	tail     *waiter       // came last
	waiting  int           // length of the queue
	waits    uint64
	waitTime time.Duration
	timeouts uint64

	// spare holds used waiters. What may be left in ready has the next one look
	// once in vain. It belongs to the Lock, because a channel or a
	// timer made in one testing/synctest bubble must not turn up in another.
	spare sync.Pool
}

// waiter is one place in the queue.
type waiter struct {
	prev, next *waiter       // guarded by Lock.mu
	holder     string        // as given to Lock
	start      time.Duration // clock reading when the wait began
	given      bool          // guarded by Lock.mu: the lock was handed over; it is not queued any more
	woken      bool          // guarded by Lock.mu: it has been sent something that it has not acted upon
	vain       int           // guarded by Lock.mu: how often it has been overtaken as the head
	dozes      bool          // guarded by Lock.mu: it is not to be woken by who frees the lock
	ready      chan struct{} // is sent to under Lock.mu, to have it look; capacity 1
	deadline   time.Duration // clock reading when the wait is to end
	timer      *time.Timer   // set for the deadline, or the end of the doze
}

// epoch makes a [time.Duration] of a clock reading, which costs half a
// [time.Now]: the wall clock is not read.
var epoch = time.Now()

func clock() time.Duration { return time.Since(epoch) }

// Lock takes the lock for holder, a short text telling what it is taken for,
// and waits in the queue for at most timeout if somebody else has it. A
// timeout of zero, or below, means not to wait.
//
// It returns nil when the caller holds the lock, ctx.Err() when ctx ended
// first, and a [*TimeoutError] when the time was up. After an error the caller
// neither holds the lock nor is queued for it: when the lock was handed over
// as ctx ended, it has been passed on to the next. A ctx that has ended before
// the call is an error even if the lock is free.
func (l *Lock) Lock(ctx context.Context, timeout time.Duration, holder string) error {
	if err := ctx.Err(); err != nil {
		return err
	}

	l.mu.Lock()
	now := clock()
	if !l.held {
		l.takeLocked(now, holder)
		l.mu.Unlock()
		return nil
	}
	if timeout <= 0 {
		err := l.timeoutLocked(now, 0)
		l.mu.Unlock()
		return err
	}
	w := l.enqueueLocked(now, timeout, holder)
	l.mu.Unlock()

	err := l.wait(ctx, w)
	w.holder = "" // A spare must not keep a long SQL text alive.
	l.spare.Put(w)
	return err
}

// Unlock frees the lock, or hands it to whoever has waited longest when the turn
// is over. It panics if the lock is not held. Like a [sync.Mutex], a Lock belongs
// to no goroutine.
func (l *Lock) Unlock() {
	l.mu.Lock()
	if !l.held {
		l.mu.Unlock()
		panic("writelock: Unlock of a Lock that is not held")
	}
	handed := l.passLocked()
	l.mu.Unlock()
	if handed {
		// Who has the lock now is ready to run, but on busy processors it would
		// wait until somebody is preempted, and everybody behind it as well.
		// So it gets ours.
		runtime.Gosched()
	}
}

// Stats returns the lock's state and counters. It disturbs nobody: neither the
// holder nor the queue is waited for.
func (l *Lock) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{
		Held:     l.held,
		Holder:   l.holder,
		Waiting:  l.waiting,
		Waits:    l.waits,
		WaitTime: l.waitTime,
		Timeouts: l.timeouts,
	}
	if l.held {
		s.HeldFor = clock() - l.since
	}
	return s
}

// wait returns once w has got the lock or has left the queue.
func (l *Lock) wait(ctx context.Context, w *waiter) error {
	defer w.timer.Stop()
	for {
		late := false
		select {
		case <-w.ready:
		case <-ctx.Done():
		case <-w.timer.C:
			late = clock() >= w.deadline
		}
		// When several cases were ready, select chose at random. An ended
		// context wins always, so that its caller never runs a statement.
		if done, err := l.look(w, ctx.Err(), late); done {
			return err
		}
	}
}

// look reports whether the wait of w is over, and how. ended is the error of its
// context; late: its time is up.
func (l *Lock) look(w *waiter, ended error, late bool) (done bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.woken = false
	now := clock()
	switch {
	case w.given:
		if ended != nil {
			l.passLocked()
		}
		err = ended // nil if only the time is up
	case ended == nil && !l.held && (w == l.head || late): // woken, or late but in time
		if w == l.head {
			l.begun = now
		}
		l.dequeueLocked(now, w)
		l.takeLocked(now, w.holder)
	case ended != nil || late:
		l.dequeueLocked(now, w)
		if !l.held {
			l.wakeLocked() // what w was to do
		}
		if err = ended; err == nil {
			err = l.timeoutLocked(now, now-w.start)
		}
	default: // overtaken, or woken by what an earlier wait left in ready
		l.dozeLocked(now, w)
		return false, nil
	}
	return true, err
}

// dozeLocked lets the head of the queue sleep until the turn is over when it has been
// overtaken often enough. Who gives up before that is woken as before.
func (l *Lock) dozeLocked(now time.Duration, w *waiter) {
	switch end := l.begun + turn; {
	case w.dozes: // the turn is over: the next Unlock hands the lock over
		w.dozes = false
		w.timer.Reset(w.deadline - now)
	case w == l.head:
		w.vain++
		if w.vain >= patience && end < w.deadline {
			w.dozes = true
			w.timer.Reset(end - now)
		}
	}
}

func (l *Lock) takeLocked(now time.Duration, holder string) {
	l.held = true
	l.holder, l.since = holder, now
}

// passLocked ends the holding of the lock: it hands it to the head of the queue,
// and reports true, or frees it.
func (l *Lock) passLocked() (handed bool) {
	w := l.head
	if w != nil {
		if now := clock(); now-l.begun >= turn {
			l.dequeueLocked(now, w)
			l.takeLocked(now, w.holder)
			l.begun = now
			w.given = true
			w.wake()
			return true
		}
	}
	l.held = false
	l.holder = ""
	l.wakeLocked()
	return false
}

// wakeLocked has the head of the queue look at a lock that is free, unless it dozes.
func (l *Lock) wakeLocked() {
	if w := l.head; w != nil && !w.woken && !w.dozes {
		w.woken = true
		w.wake()
	}
}

// wake makes sure that there is something in ready.
func (w *waiter) wake() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// timeoutLocked counts a timeout and describes it.
func (l *Lock) timeoutLocked(now, waited time.Duration) error {
	l.timeouts++
	return &TimeoutError{Waited: waited, Holder: l.holder, HeldFor: now - l.since}
}

// enqueueLocked puts a new waiter at the end of the queue and starts its timer.
func (l *Lock) enqueueLocked(now, timeout time.Duration, holder string) *waiter {
	w, _ := l.spare.Get().(*waiter)
	if w == nil {
		w = &waiter{ready: make(chan struct{}, 1), timer: time.NewTimer(timeout)}
	} else {
		w.timer.Reset(timeout)
	}
	w.holder, w.start, w.deadline = holder, now, now+timeout
	w.given, w.vain, w.dozes = false, 0, false

	w.prev = l.tail
	if w.prev == nil {
		l.head = w
		l.begun = now
	} else {
		w.prev.next = w
	}
	l.tail = w
	l.waiting++
	return w
}

// dequeueLocked takes w out of the queue and counts its wait.
func (l *Lock) dequeueLocked(now time.Duration, w *waiter) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	l.waiting--
	l.waits++
	l.waitTime += now - w.start
}
