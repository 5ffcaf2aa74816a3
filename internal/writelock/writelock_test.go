package writelock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/sqlite-mem/sqlite-mem/internal/latency"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long is a timeout that no test lets pass.
const long = time.Hour

// mustLock takes a lock that nobody holds.
func mustLock(t *testing.T, l *Lock, holder string) {
	t.Helper()
	require.NoError(t, l.Lock(t.Context(), 0, holder))
}

// mustBeFree fails the test unless l is free and its queue empty.
func mustBeFree(t *testing.T, l *Lock) {
	t.Helper()
	s := l.Stats()
	require.False(t, s.Held, "lost: still held by %q", s.Holder)
	require.Zero(t, s.Waiting)
	require.Empty(t, s.Holder)
	require.Nil(t, l.head)
	require.Nil(t, l.tail)
	mustLock(t, l, "check")
	l.Unlock()
}

// queue starts a goroutine that waits for l, and returns when it is queued.
// The result of its Lock is sent on the channel returned. Only in a bubble.
func queue(ctx context.Context, l *Lock, timeout time.Duration, holder string) <-chan error {
	got := make(chan error, 1)
	go func() { got <- l.Lock(ctx, timeout, holder) }()
	synctest.Wait()
	return got
}

// overtake frees the lock within a turn, and a newcomer takes it before the head of the
// queue runs. If the head was woken, it has looked when overtake returns. Only in a bubble.
func overtake(t *testing.T, l *Lock) {
	t.Helper()
	l.mu.Lock()
	handed := l.passLocked()
	if !handed {
		l.takeLocked(clock(), "newcomer")
	}
	l.mu.Unlock()
	require.False(t, handed)
	synctest.Wait()
}

// Ensure that waiters get the lock in the order of their arrival, handed over or free.
func TestLock_firstInFirstOut(t *testing.T) {
	for _, held := range []time.Duration{0, turn} {
		t.Run(held.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 10
				var l Lock
				mustLock(t, &l, "first")

				var order []int // guarded by l
				for i := range n {
					go func() {
						assert.NoError(t, l.Lock(t.Context(), long-time.Duration(i), strconv.Itoa(i)))
						order = append(order, i)
						time.Sleep(held)
						assert.ErrorIs(t, l.Lock(t.Context(), 0, "newcomer"), ErrTimeout)
						l.Unlock()
					}()
					synctest.Wait() // i is queued before i+1 comes.
				}
				require.Equal(t, n, l.Stats().Waiting)

				time.Sleep(held)
				l.Unlock()
				time.Sleep((n + 1) * held)
				synctest.Wait()
				require.Len(t, order, n)
				require.True(t, slices.IsSorted(order), "%v", order)
				mustBeFree(t, &l)
			})
		})
	}
}

// Ensure that newcomers may overtake the queue for one turn, and that the head then has
// the lock, whether it has run or not.
func TestLock_turns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		mustLock(t, &l, "first")
		var got [3]<-chan error
		for i := range got {
			got[i] = queue(t.Context(), &l, long, strconv.Itoa(i))
		}
		for i := range got {
			for range 3 {
				overtake(t, &l)
				require.Equal(t, len(got)-i, l.Stats().Waiting)
			}
			time.Sleep(turn)
			l.Unlock()
			require.Equal(t, strconv.Itoa(i), l.Stats().Holder)
			require.ErrorIs(t, l.Lock(t.Context(), 0, "newcomer"), ErrTimeout)
			require.NoError(t, <-got[i])
		}
		l.Unlock()
		mustBeFree(t, &l)
	})
}

// Ensure that later waiters do not delay the end of a turn.
func TestLock_turnEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		mustLock(t, &l, "first")
		var got []<-chan error
		for i := range 5 {
			got = append(got, queue(t.Context(), &l, long, strconv.Itoa(i)))
			overtake(t, &l)
			time.Sleep(turn / 5)
		}
		l.Unlock()
		require.Equal(t, "0", l.Stats().Holder)
		for i := range got {
			require.NoError(t, <-got[i])
			l.Unlock()
		}
		mustBeFree(t, &l)
	})
}

// Ensure that a turn also begins when the head of the queue finds the lock free.
func TestLock_turnBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		mustLock(t, &l, "first")
		a, b := queue(t.Context(), &l, long, "a"), queue(t.Context(), &l, long, "b")
		time.Sleep(turn / 2)
		l.Unlock()
		require.NoError(t, <-a)
		time.Sleep(turn * 3 / 4)
		overtake(t, &l) // It is not handed over before the turn is over.
		time.Sleep(turn / 4)
		l.Unlock()
		require.NoError(t, <-b)
		l.Unlock()
		mustBeFree(t, &l)
	})
}

// Ensure that a head that was overtaken patience times dozes until the turn is over. It
// then gets a free lock, gets it handed over, or waits for it in vain.
func TestLock_dozes(t *testing.T) {
	for _, end := range []string{"free", "handed over", "timeout", "cancelled"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l Lock
				for range 20 { // What one waiter leaves behind must not disturb the next.
					doze(t, &l, end)
				}
			})
		})
	}
}

func doze(t *testing.T, l *Lock, end string) {
	mustLock(t, l, "first")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := time.Now()
	head, next := queue(ctx, l, time.Second, "head"), queue(t.Context(), l, long, "next")
	time.Sleep(turn / 4)
	for range patience {
		require.False(t, l.head.dozes)
		overtake(t, l)
	}
	for range 3 {
		l.Unlock()
		synctest.Wait()
		require.False(t, l.Stats().Held, "it was woken")
		mustLock(t, l, "newcomer")
	}
	switch end {
	case "free":
		l.Unlock()
		require.NoError(t, <-head)
		require.Equal(t, turn, time.Since(start))
	case "handed over":
		time.Sleep(2 * turn)
		l.Unlock()
		require.Equal(t, "head", l.Stats().Holder)
		require.NoError(t, <-head)
	case "timeout":
		require.ErrorIs(t, <-head, ErrTimeout)
		require.Equal(t, time.Second, time.Since(start))
	case "cancelled": // The next one does not doze for it.
		l.Unlock()
		cancel()
		require.Equal(t, context.Canceled, <-head)
		require.NoError(t, <-next)
		require.Equal(t, turn/4, time.Since(start))
	}
	l.Unlock()
	if end != "cancelled" {
		require.NoError(t, <-next)
		l.Unlock()
	}
	mustBeFree(t, l)
}

// Ensure that a head whose deadline is within the turn is woken each time.
func TestLock_dozesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		mustLock(t, &l, "first")
		start := time.Now()
		hasty := queue(t.Context(), &l, turn/2, "hasty")
		for range 2 * patience {
			overtake(t, &l)
		}
		l.Unlock()
		require.NoError(t, <-hasty)
		require.Zero(t, time.Since(start))
		l.Unlock()
		mustBeFree(t, &l)
	})
}

// Ensure that a spurious wake-up of a waiter that is not the head neither takes a free
// lock nor begins a turn.
func TestLock_looksInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		mustLock(t, &l, "first")
		l.mu.Lock()
		head, other := l.enqueueLocked(clock(), long, "head"), l.enqueueLocked(clock(), long, "other")
		other.wake()
		begun := l.begun
		l.mu.Unlock()
		time.Sleep(turn / 2)
		l.Unlock()
		<-other.ready
		done, err := l.look(other, nil, false)
		require.False(t, done)
		require.NoError(t, err)
		require.False(t, l.Stats().Held)
		require.Equal(t, begun, l.begun)

		// Its time is up: it counts as a newcomer, and the turn goes on.
		done, err = l.look(other, nil, true)
		require.True(t, done)
		require.NoError(t, err)
		require.Equal(t, "other", l.Stats().Holder)
		require.Equal(t, begun, l.begun)
		<-head.ready
		done, _ = l.look(head, nil, false)
		require.False(t, done)
		time.Sleep(turn / 2)
		l.Unlock()
		require.Equal(t, "head", l.Stats().Holder)
		done, err = l.look(head, nil, true)
		require.True(t, done)
		require.NoError(t, err, "late, but in time")
		l.Unlock()
		mustBeFree(t, &l)
		head.timer.Stop()
		other.timer.Stop()
	})
}

// Ensure that a free lock goes to the next waiter if the woken head leaves the queue.
func TestLock_wokenLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i := range 200 { // The waiter finds several cases ready, and select chooses at random.
			var l Lock
			mustLock(t, &l, "first")
			ctx, cancel := context.WithCancel(t.Context())
			leaves := queue(ctx, &l, time.Second, "leaves")
			next := queue(t.Context(), &l, long, "next")
			if i%2 == 0 {
				l.mu.Lock() // Keeps the waiter from leaving the queue before it is woken.
				cancel()
			} else {
				time.Sleep(time.Second - 1)
				l.mu.Lock()
				l.begun = clock()
				time.Sleep(time.Nanosecond)
			}
			require.False(t, l.passLocked())
			l.mu.Unlock()
			switch err := <-leaves; {
			case err == nil:
				l.Unlock() // late, but in time for the lock
			case i%2 == 0:
				require.Equal(t, context.Canceled, err)
			default:
				require.ErrorIs(t, err, ErrTimeout)
			}
			began := time.Now()
			require.NoError(t, <-next)
			require.Zero(t, time.Since(began), "it looked only when its time was up")
			l.Unlock()
			mustBeFree(t, &l)
			cancel()
		}
	})
}

// Ensure that a cancelled waiter leaves the queue at once, with ctx.Err(), from any place,
// and that the others keep their order.
func TestLock_cancelQueued(t *testing.T) {
	for gone := range 3 {
		t.Run(strconv.Itoa(gone), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l Lock
				mustLock(t, &l, "first")

				var got [3]<-chan error
				var cancel [3]context.CancelCauseFunc
				for i := range got {
					var ctx context.Context
					ctx, cancel[i] = context.WithCancelCause(t.Context())
					got[i] = queue(ctx, &l, long, strconv.Itoa(i))
				}

				cancel[gone](errors.New("the cause, which is not wanted"))
				synctest.Wait()
				require.Equal(t, context.Canceled, <-got[gone])
				require.Equal(t, 2, l.Stats().Waiting)

				for i := range got {
					if i == gone {
						continue
					}
					l.Unlock()
					synctest.Wait()
					require.Equal(t, strconv.Itoa(i), l.Stats().Holder)
					require.NoError(t, <-got[i])
					cancel[i](nil) // Too late to matter: the lock stays held.
				}
				require.True(t, l.Stats().Held)
				l.Unlock()
				mustBeFree(t, &l)
			})
		})
	}
}

// Ensure that a context which has ended never gets the lock, free or not.
func TestLock_contextEnded(t *testing.T) {
	var l Lock
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, context.Canceled, l.Lock(ctx, long, "late"))
	mustBeFree(t, &l)
	mustLock(t, &l, "first")
	require.Equal(t, context.Canceled, l.Lock(ctx, 0, "late"))
	require.Zero(t, l.Stats().Timeouts)
	l.Unlock()
	mustBeFree(t, &l)
}

// Ensure that a wait ends after its timeout. The error has its length, the holder and the
// time of holding. The queue goes on.
func TestLock_timeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		mustLock(t, &l, "VACUUM")
		time.Sleep(2 * time.Second)

		short := queue(t.Context(), &l, 5*time.Second, "short")
		patient := queue(t.Context(), &l, long, "patient")
		start := time.Now()
		err := <-short
		require.Equal(t, 5*time.Second, time.Since(start))
		require.ErrorIs(t, err, ErrTimeout)
		te, ok := errors.AsType[*TimeoutError](err)
		require.True(t, ok)
		require.Equal(t, TimeoutError{Waited: 5 * time.Second, Holder: "VACUUM", HeldFor: 7 * time.Second}, *te)
		require.EqualError(t, err, `writelock: timed out after 5s: held for 7s by "VACUUM"`)

		l.Unlock()
		require.NoError(t, <-patient)
		l.Unlock()
		mustBeFree(t, &l)
	})
}

// Ensure that a timeout of zero or less never waits.
func TestLock_timeoutZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		mustLock(t, &l, "first")
		time.Sleep(time.Second)
		for _, timeout := range []time.Duration{0, -1, -long} {
			start := time.Now()
			err := l.Lock(t.Context(), timeout, "second")
			require.Equal(t, &TimeoutError{Holder: "first", HeldFor: time.Second}, err)
			require.Zero(t, time.Since(start))
		}
		require.Equal(t, uint64(3), l.Stats().Timeouts)
		require.Zero(t, l.Stats().Waits.Count)
		l.Unlock()
		mustBeFree(t, &l)
	})
}

// Ensure that a lock that is handed to a waiter whose context has just ended goes to the
// next one.
func TestLock_handOverToCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		for range 200 { // The waiter finds both cases ready, and select chooses at random.
			mustLock(t, &l, "first")
			ctx, cancel := context.WithCancel(t.Context())
			cancelled := queue(ctx, &l, long, "cancelled")
			next := queue(t.Context(), &l, long, "next")
			time.Sleep(turn)

			l.mu.Lock() // Keeps the waiter from leaving the queue before the hand-over.
			cancel()
			require.True(t, l.passLocked())
			require.Equal(t, "cancelled", l.holder)
			l.mu.Unlock()

			require.Equal(t, context.Canceled, <-cancelled)
			require.NoError(t, <-next)
			require.Equal(t, "next", l.Stats().Holder)
			l.Unlock()
			mustBeFree(t, &l)
		}
	})
}

// Ensure that a waiter whose deadline has passed still gets a lock that is handed over or
// free when it looks.
func TestLock_handOverAtTimeout(t *testing.T) {
	for _, free := range []bool{false, true} {
		t.Run(fmt.Sprintf("free=%v", free), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l Lock
				for range 200 { // It finds both cases ready, and select chooses at random.
					mustLock(t, &l, "first")
					got := queue(t.Context(), &l, time.Second, "second")
					l.mu.Lock()             // Keeps it from leaving.
					time.Sleep(time.Second) // Wakes at the same instant as the timer.
					if free {
						l.begun = clock()
					}
					require.Equal(t, !free, l.passLocked())
					l.mu.Unlock()
					require.NoError(t, <-got)
					l.Unlock()
					mustBeFree(t, &l)
				}
			})
		})
	}
}

// Ensure that a hand-over that races with a cancellation never loses the lock. The next
// waiter gets it every time.
func TestLock_handOverRace(t *testing.T) {
	n := 5000
	if testing.Short() {
		n = 500
	}
	var l Lock
	acquired, cancelled, err := race(&l, n)
	require.NoError(t, err)
	mustBeFree(t, &l)
	t.Logf("acquired %d, cancelled %d", acquired, cancelled)
}

// locker is a Lock, or one with a planted fault.
type locker interface {
	Lock(ctx context.Context, timeout time.Duration, holder string) error
	Unlock()
	Stats() Stats
}

// race lets n hand-overs race with a cancellation, and returns the failures.
func race(l locker, n int) (acquired, cancelled int, err error) {
	for i := range n {
		if err := l.Lock(context.Background(), 0, "first"); err != nil {
			return acquired, cancelled, fmt.Errorf("not free: %w", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		raced, behind := make(chan error, 1), make(chan error, 1)
		go func() { raced <- l.Lock(ctx, long, "raced") }()
		go func() {
			err := l.Lock(context.Background(), long, "behind")
			if err == nil {
				l.Unlock()
			}
			behind <- err
		}()
		for l.Stats().Waiting < 2 {
			runtime.Gosched()
		}

		if i%4 < 2 {
			time.Sleep(turn) // It is handed over, not found free.
		}
		if i%2 == 0 {
			cancel()
		} else {
			go cancel()
		}
		l.Unlock()
		switch err := <-raced; err {
		case nil:
			acquired++
			l.Unlock()
		case context.Canceled:
			cancelled++
		default:
			return acquired, cancelled, err
		}
		cancel()
		if err := <-behind; err != nil {
			return acquired, cancelled, fmt.Errorf("the one behind: %w", err)
		}
	}
	return acquired, cancelled, nil
}

// losing keeps a lock that it was handed after its context ended.
type losing struct{ locker }

func (l losing) Lock(ctx context.Context, timeout time.Duration, holder string) error {
	if err := l.locker.Lock(context.WithoutCancel(ctx), timeout, holder); err != nil {
		return err
	}
	return ctx.Err()
}

// twice releases the lock a second time after another has taken it.
type twice struct{ locker }

func (l twice) Unlock() {
	l.locker.Unlock()
	if l.Stats().Held {
		l.locker.Unlock()
	}
}

// Ensure that the tests above find a lock that is handed to a waiter that has gone, and
// one that is released twice.
func TestPlanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // The hour of those who wait in vain costs no time.
		_, _, err := race(losing{new(Lock)}, 1000)
		require.ErrorIs(t, err, ErrTimeout)
	})
	require.Eventually(t, func() bool { // It takes some contention.
		_, err := storm(twice{new(Lock)}, 3000)
		return err != nil
	}, time.Minute, time.Microsecond)
}

// Ensure that Unlock panics if the lock is not held, and that the lock works after the
// panic is recovered.
func TestLock_unlockTwice(t *testing.T) {
	var l Lock
	require.Panics(t, l.Unlock)
	mustLock(t, &l, "first")
	l.Unlock()
	require.PanicsWithValue(t, "writelock: Unlock of a Lock that is not held", l.Unlock)
	mustBeFree(t, &l)
}

// Ensure that every field of Stats is right at each step.
func TestLock_stats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		require.Zero(t, l.Stats())

		mustLock(t, &l, "a")
		time.Sleep(3 * time.Second)
		require.Equal(t, Stats{Held: true, Holder: "a", HeldFor: 3 * time.Second}, l.Stats())

		b := queue(t.Context(), &l, long, "b")
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		c := queue(ctx, &l, long, "c")
		time.Sleep(time.Second)
		require.Equal(t, Stats{Held: true, Holder: "a", HeldFor: 5 * time.Second, Waiting: 2}, l.Stats())

		l.Unlock() // b waited 2 s
		require.NoError(t, <-b)
		time.Sleep(time.Second)
		require.Equal(t, Stats{Held: true, Holder: "b", HeldFor: time.Second, Waiting: 1,
			Waits: durations(2 * time.Second), Holds: durations(5 * time.Second)}, l.Stats())

		cancel() // c waited 2 s
		require.Error(t, <-c)
		require.Error(t, l.Lock(t.Context(), 4*time.Second, "d"))
		require.Equal(t, Stats{Held: true, Holder: "b", HeldFor: 5 * time.Second,
			Waits: durations(2*time.Second, 2*time.Second, 4*time.Second), Holds: durations(5 * time.Second), Timeouts: 1}, l.Stats())

		l.Unlock()
		require.Equal(t, Stats{Waits: durations(2*time.Second, 2*time.Second, 4*time.Second),
			Holds: durations(5*time.Second, 5*time.Second), Timeouts: 1}, l.Stats())
	})
}

func durations(all ...time.Duration) (b latency.Buckets) {
	for _, d := range all {
		b.Add(d)
	}
	return b
}

// Ensure that an uncontended Lock and Unlock do not allocate.
func TestLock_allocations(t *testing.T) {
	var l Lock
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if l.Lock(ctx, time.Minute, "INSERT") != nil {
			panic("not acquired")
		}
		l.Unlock()
	}))
}

// Ensure that at most one goroutine holds the lock while many come, wait, time out and are
// cancelled. Afterwards the lock is free and its counters are right.
func TestLock_storm(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	var l Lock
	timeouts, err := storm(&l, rounds)
	require.NoError(t, err)
	require.Equal(t, timeouts, l.Stats().Timeouts)
	mustBeFree(t, &l)
	t.Logf("%+v", l.Stats())
}

// storm has 16 goroutines use l, each for rounds rounds, and returns the number of
// timeouts and the failures.
func storm(l locker, rounds int) (timeouts uint64, err error) {
	const workers = 16
	var (
		counter  int // guarded by l
		inside   atomic.Int32
		acquired atomic.Int64
		timedOut atomic.Uint64
		wrong    atomic.Pointer[error] // the first; it ends the storm
		stop     = make(chan struct{})
		wg       sync.WaitGroup
		watch    sync.WaitGroup
	)
	report := func(format string, args ...any) {
		err := fmt.Errorf(format, args...)
		wrong.CompareAndSwap(nil, &err)
	}
	watch.Go(func() { // A reader of Stats is never in the way.
		for {
			select {
			case <-stop:
				return
			default:
				if s := l.Stats(); s.HeldFor < 0 || s.Waiting < 0 {
					report("impossible: %+v", s)
					return
				}
				time.Sleep(10 * time.Microsecond)
			}
		}
	})
	for seed := range uint64(workers) {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					report("panic: %v", r)
				}
			}()
			r := rand.New(rand.NewPCG(seed, 1))
			for range rounds {
				if wrong.Load() != nil {
					return
				}
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				timeout := long
				switch r.IntN(5) {
				case 0:
					ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(100))*time.Microsecond)
				case 1:
					ctx, cancel = context.WithCancel(ctx)
					go cancel()
				case 2:
					timeout = time.Duration(r.IntN(100)) * time.Microsecond
				}
				err := l.Lock(ctx, timeout, "worker")
				switch {
				case err == nil:
					if inside.Add(1) != 1 {
						report("two hold the lock")
						inside.Add(-1)
						l.Unlock()
						cancel()
						return
					}
					counter++
					acquired.Add(1)
					inside.Add(-1)
					l.Unlock()
				case errors.Is(err, ErrTimeout):
					timedOut.Add(1)
				case ctx.Err() == nil || err != ctx.Err():
					report("unexpected: %v", err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	close(stop)
	watch.Wait()
	if p := wrong.Load(); p != nil {
		return timedOut.Load(), *p
	}
	if int64(counter) != acquired.Load() {
		return timedOut.Load(), fmt.Errorf("counted %d of %d", counter, acquired.Load())
	}
	return timedOut.Load(), nil
}

func BenchmarkLock_uncontended(b *testing.B) {
	var l Lock
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Lock(ctx, time.Minute, "INSERT"); err != nil {
			b.Fatal(err)
		}
		l.Unlock()
	}
}

func BenchmarkLock_contended8(b *testing.B) {
	var l Lock
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	for range 8 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := l.Lock(ctx, time.Minute, "INSERT"); err != nil {
					b.Error(err)
					return
				}
				l.Unlock()
			}
		})
	}
	wg.Wait()
	s := l.Stats()
	b.ReportMetric(float64(s.Waits.Count)/float64(b.N), "waits/op")
}

// BenchmarkLock_bursts is the load of a server. Each of 64 goroutines takes the lock a few
// times in a row and then does other work. The holder mostly comes back at once, but the
// lock must go to the queue. "of-a-second" is the share of the time in which the lock was
// held.
func BenchmarkLock_bursts(b *testing.B) {
	const hold, pause = 6 * time.Microsecond, 2 * time.Millisecond
	for _, burst := range []int{1, 5, 20} {
		b.Run(strconv.Itoa(burst), func(b *testing.B) {
			var l Lock
			var wg sync.WaitGroup
			var left, worst atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			for range 64 {
				wg.Go(func() {
					for {
						for range burst {
							if left.Add(-1) < 0 {
								return
							}
							start := time.Now()
							if err := l.Lock(context.Background(), time.Minute, "INSERT"); err != nil {
								b.Error(err)
								return
							}
							got := time.Now()
							for time.Since(got) < hold {
							}
							l.Unlock()
							for w := int64(got.Sub(start)); ; {
								if most := worst.Load(); w <= most || worst.CompareAndSwap(most, w) {
									break
								}
							}
						}
						time.Sleep(pause)
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)*hold.Seconds()/b.Elapsed().Seconds(), "of-a-second")
			b.ReportMetric(time.Duration(worst.Load()).Seconds()*1000, "worst-ms")
		})
	}
}
