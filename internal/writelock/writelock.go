// Package writelock is the write lock of one database: a mutex with a first-in,
// first-out queue. A wait ends with a context or a timeout. The lock tells its holder and
// for how long it has been held.
//
// # Turns
//
// To hand the lock from one goroutine to another at each transaction costs more than a
// small transaction. The next goroutine has to be scheduled, and its connection has to
// read again what the last one has changed; the goroutine that runs could go on at once.
// So a newcomer may take a free lock although others wait, for the length of a turn. The
// first Unlock after that hands the lock to the head of the queue, and the next turn
// begins. Waiters keep their order, except that a waiter whose timeout ends while the lock
// is free may take it. A waiter with n others ahead waits for at most n+1 turns. A turn
// lasts 1 ms plus the rest of the running transaction.
//
// Each time the lock becomes free within a turn, the head of the queue is woken. A
// goroutine that writes one small transaction after the other is back before the head has
// run. Each wake-up costs a good part of such a transaction. So a head that has been
// overtaken patience times dozes until the turn is over. If the writer stops meanwhile, the
// lock stays free for the rest of the turn although the queue is not empty.
//
// golang.org/x/sync/semaphore would not do. It cannot count its waiters or name the holder,
// and needs a context for every timeout.
package writelock

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/latency"
)

// ErrTimeout is what every [*TimeoutError] wraps, for use with [errors.Is].
var ErrTimeout = errors.New("writelock: timed out")

// TimeoutError is the error of a [Lock.Lock] that did not get the lock in time. It
// describes the holder at that moment.
type TimeoutError struct {
	Waited  time.Duration // time spent in the queue; zero if the timeout did not allow a wait
	Holder  string        // the text that the holder gave to Lock
	HeldFor time.Duration // time since the holder got the lock
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("%v after %v: held for %v by %q", ErrTimeout, e.Waited, e.HeldFor, e.Holder)
}

// Unwrap returns [ErrTimeout].
func (e *TimeoutError) Unwrap() error { return ErrTimeout }

// Stats is a copy of a lock's state and counters, taken at one moment.
type Stats struct {
	Held    bool          // current
	Holder  string        // current: as given to Lock; empty if not held
	HeldFor time.Duration // current: zero if not held
	Waiting int           // current: length of the queue

	Waits    latency.Buckets // cumulative: waits that have ended, in whatever way
	Holds    latency.Buckets // cumulative: for how long the lock was held, up to each Unlock
	Timeouts uint64          // cumulative: calls that returned a TimeoutError
}

// turn is how long newcomers may overtake the queue. It is long compared with a hand-over
// and a small transaction, and too short for a user to notice. A sync.Mutex is handed to a
// waiter after the same time. Shorter turns were measured: see DESIGN, section 12. It is a
// variable for BenchmarkTurn.
var turn = time.Millisecond

// patience is how often the head of the queue is woken in vain in one turn. It is more than
// a burst of writes is likely to have, and few of the transactions that fit into a turn.
// BenchmarkLock_bursts measures smaller values.
const patience = 16

// Lock is a mutual exclusion lock whose queue gets it once a turn. The zero value
// is an unlocked Lock. A Lock must not be copied after first use.
//
// While the lock is free and the queue is not empty, the head of the queue is either woken
// or dozing. A woken head has a token in its ready that it has not taken yet. A dozing
// head has a timer that ends the doze with the turn. So no waiter is forgotten, and one
// wake-up is under way at a time.
type Lock struct {
	// mu guards the fields below it. It is held for a few instructions, never across a
	// wait or a call of foreign code. No other lock is taken under it.
	mu       sync.Mutex
	held     bool
	holder   string
	since    time.Duration // clock reading when the holder got the lock
	begun    time.Duration // clock reading when the turn began: the queue got the lock, or stopped being empty
	head     *waiter       // first in the queue: has waited longest
	tail     *waiter       // last in the queue
	waiting  int           // length of the queue
	waits    latency.Buckets
	holds    latency.Buckets
	timeouts uint64

	// spare holds used waiters. A stale token in ready causes one spurious wake-up. The
	// pool belongs to the Lock, because a channel or timer that was made in one
	// testing/synctest bubble must not be used in another.
	spare sync.Pool
}

// waiter is one place in the queue.
type waiter struct {
	prev, next *waiter       // guarded by Lock.mu
	holder     string        // as given to Lock
	start      time.Duration // clock reading when the wait began
	given      bool          // guarded by Lock.mu: it was handed the lock and has left the queue
	woken      bool          // guarded by Lock.mu: ready has a token that it has not taken
	vain       int           // guarded by Lock.mu: times that it was overtaken as the head
	dozes      bool          // guarded by Lock.mu: freeing the lock does not wake it
	ready      chan struct{} // sent to under Lock.mu, to wake it; capacity 1
	deadline   time.Duration // clock reading at which the wait ends
	timer      *time.Timer   // fires at the deadline, or at the end of the doze
}

// epoch turns clock readings into a [time.Duration]. Such a reading costs half a
// [time.Now], because it leaves out the wall clock.
var epoch = time.Now()

func clock() time.Duration { return time.Since(epoch) }

// Lock takes the lock. If it is held, Lock waits in the queue for at most timeout; a
// timeout of zero or less does not wait. holder is a short text that says what the lock is
// taken for.
//
// Lock returns nil when the caller holds the lock, ctx.Err() if ctx ended first, and a
// [*TimeoutError] after timeout. After an error the caller neither holds the lock nor waits
// for it. A lock that was handed over as ctx ended is passed on. A ctx that has ended
// before the call is an error even if the lock is free.
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
	w.holder = "" // a spare must not keep a long SQL text alive
	l.spare.Put(w)
	return err
}

// Unlock frees the lock, or hands it to the head of the queue if the turn is over. It
// panics if the lock is not held. Like a [sync.Mutex], a Lock belongs to no goroutine.
func (l *Lock) Unlock() {
	l.mu.Lock()
	if !l.held {
		l.mu.Unlock()
		panic("writelock: Unlock of a Lock that is not held")
	}
	handed := l.passLocked()
	l.mu.Unlock()
	if handed {
		// The new holder is ready to run. On busy processors it would wait for a
		// preemption, and the whole queue with it. So it gets this processor.
		runtime.Gosched()
	}
}

// Stats returns the lock's state and counters. It waits neither for the holder nor for
// the queue.
func (l *Lock) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{
		Held:     l.held,
		Holder:   l.holder,
		Waiting:  l.waiting,
		Waits:    l.waits,
		Holds:    l.holds,
		Timeouts: l.timeouts,
	}
	if l.held {
		s.HeldFor = clock() - l.since
	}
	return s
}

// wait returns when w has the lock or has left the queue.
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
		// If several cases were ready, select chose at random. An ended context
		// always wins, so that its caller never runs a statement.
		if done, err := l.look(w, ctx.Err(), late); done {
			return err
		}
	}
}

// look reports whether the wait of w is over, and its result. ended is the error of its
// context. late is true if its deadline has passed.
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
		err = ended // nil if only the deadline has passed
	case ended == nil && !l.held && (w == l.head || late): // woken, or late while the lock is free
		if w == l.head {
			l.begun = now
		}
		l.dequeueLocked(now, w)
		l.takeLocked(now, w.holder)
	case ended != nil || late:
		l.dequeueLocked(now, w)
		if !l.held {
			l.wakeLocked() // in place of w
		}
		if err = ended; err == nil {
			err = l.timeoutLocked(now, now-w.start)
		}
	default: // overtaken, or a spurious wake-up
		l.dozeLocked(now, w)
		return false, nil
	}
	return true, err
}

// dozeLocked lets the head of the queue doze until the turn is over, if it has been
// overtaken patience times. A waiter whose deadline comes first goes on being woken.
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

// passLocked hands the lock to the head of the queue and reports true, or frees it.
func (l *Lock) passLocked() (handed bool) {
	now := clock()
	l.holds.Add(now - l.since)
	if w := l.head; w != nil && now-l.begun >= turn {
		l.dequeueLocked(now, w)
		l.takeLocked(now, w.holder)
		l.begun = now
		w.given = true
		w.wake()
		return true
	}
	l.held = false
	l.holder = ""
	l.wakeLocked()
	return false
}

// wakeLocked wakes the head of the queue for a free lock, unless it dozes.
func (l *Lock) wakeLocked() {
	if w := l.head; w != nil && !w.woken && !w.dozes {
		w.woken = true
		w.wake()
	}
}

// wake makes sure that ready has a token.
func (w *waiter) wake() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// timeoutLocked counts a timeout and returns its error.
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

// dequeueLocked removes w from the queue and counts its wait.
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
	l.waits.Add(now - w.start)
}
