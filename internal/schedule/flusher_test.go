package schedule

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that a flush that began after the call serves Wait. Calls that come while a flush
// runs share the next one.
func TestFlusher_groups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flushes atomic.Int32
		f := NewFlusher(FlusherConfig{
			Flush:   func() error { flushes.Add(1); time.Sleep(time.Second); return nil },
			Pending: func() bool { return false },
		})
		var wg sync.WaitGroup
		wg.Go(func() { require.NoError(t, f.Wait()) })
		synctest.Wait() // it flushes
		for range 50 {
			wg.Go(func() {
				begun := flushes.Load()
				require.NoError(t, f.Wait())
				require.Greater(t, flushes.Load(), begun)
			})
		}
		wg.Wait()
		require.EqualValues(t, 2, flushes.Load())
		require.NoError(t, f.Close())
		require.ErrorIs(t, f.Wait(), ErrClosed)
	})
}

// Ensure that the first commit after a quiet interval is flushed at once. The next ones share
// a flush at the end of the interval. Without a commit nothing happens, and the close flushes
// what is left.
func TestFlusher_leadingEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var pending atomic.Int32
		var flushes []time.Duration
		f := NewFlusher(FlusherConfig{
			Interval: time.Second,
			Flush: func() error {
				flushes = append(flushes, time.Since(start))
				time.Sleep(100 * time.Millisecond)
				pending.Store(0)
				return nil
			},
			Pending: func() bool { return pending.Load() > 0 },
		})
		commitAt := func(at time.Duration) {
			pass(at - time.Since(start))
			pending.Add(1)
			f.Soon()
		}
		pass(5 * time.Second)
		require.Empty(t, flushes)
		commitAt(5500 * time.Millisecond)
		for at := 5700; at < 7400; at += 100 {
			commitAt(time.Duration(at) * time.Millisecond)
		}
		pass(5 * time.Second)
		require.Equal(t, []time.Duration{5500 * time.Millisecond, 6500 * time.Millisecond, 7500 * time.Millisecond}, flushes)
		commitAt(20 * time.Second)
		synctest.Wait()
		require.Len(t, flushes, 4)
		pass(200 * time.Millisecond)
		pending.Add(1)
		f.Soon()
		require.NoError(t, f.Close())
		require.Len(t, flushes, 5)
	})
}

// Ensure that a commit that comes while a flush runs is flushed an interval after the start
// of that one.
func TestFlusher_commitDuringFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var flushes []time.Duration
		var f *Flusher
		f = NewFlusher(FlusherConfig{
			Interval: time.Second,
			Flush: func() error {
				flushes = append(flushes, time.Since(start))
				if len(flushes) == 1 {
					f.Soon()
				}
				return nil
			},
			Pending: func() bool { return true },
		})
		f.Soon()
		pass(10 * time.Second)
		require.Equal(t, []time.Duration{0, time.Second}, flushes)
		require.NoError(t, f.Close())
	})
}

// Ensure that after a failure a new commit makes the flusher try again within 50 ms,
// however long the waits have grown. A save that has made everything durable ends the
// failure at once.
func TestFlusher_recovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		var fails atomic.Bool
		fails.Store(true)
		f := NewFlusher(FlusherConfig{
			Flush: func() error {
				if fails.Load() {
					return broken
				}
				return nil
			},
			Pending: func() bool { return true },
		})
		require.ErrorIs(t, f.Wait(), broken)
		pass(time.Minute + 100*time.Millisecond) // the pauses are 5 s now
		require.ErrorIs(t, f.Failed(), broken)
		fails.Store(false)
		f.Soon()
		pass(flushBackoffFirst)
		require.NoError(t, f.Failed())

		fails.Store(true)
		require.ErrorIs(t, f.Wait(), broken)
		f.Recovered()
		require.NoError(t, f.Failed())
		fails.Store(false)
		require.NoError(t, f.Close())
	})
}

// Ensure that every Wait gets the error of its flush, and that the flusher tries again with
// growing waits. The flusher counts as failed until a flush works, or a save has made
// everything durable.
func TestFlusher_fails(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		var fails, pending atomic.Bool
		fails.Store(true)
		pending.Store(true)
		var mu sync.Mutex
		var events []FlushEvent
		f := NewFlusher(FlusherConfig{
			Flush: func() error {
				if fails.Load() {
					return broken
				}
				pending.Store(false)
				return nil
			},
			Pending: func() bool { return pending.Load() },
			OnEvent: func(e FlushEvent) { mu.Lock(); events = append(events, e); mu.Unlock() },
		})
		require.NoError(t, f.Failed())
		require.ErrorIs(t, f.Wait(), broken)
		require.ErrorIs(t, f.Failed(), broken)
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		require.Len(t, events, 5) // after 0, 50, 150, 350 and 750 ms
		require.Equal(t, 5, events[4].Failures)
		require.Equal(t, 750*time.Millisecond, events[4].Start.Sub(events[0].Start))
		mu.Unlock()
		fails.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		require.NoError(t, f.Failed())

		fails.Store(true)
		require.ErrorIs(t, f.Wait(), broken)
		pending.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		require.NoError(t, f.Failed())
		require.NoError(t, f.Close())
	})
}

// Ensure that a panic of Flush or OnEvent leaves nobody waiting. The calls that have joined
// get the error, and the flusher counts as failed until the next flush works.
func TestFlusher_panics(t *testing.T) {
	for _, where := range []string{"Flush", "OnEvent"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				panics := where
				may := func(name string) {
					if panics == name {
						panic(name)
					}
				}
				f := NewFlusher(FlusherConfig{
					Flush:   func() error { may("Flush"); return nil },
					Pending: func() bool { return false },
					OnEvent: func(FlushEvent) { may("OnEvent") },
				})
				f.turn <- struct{}{} // so that one joins the other
				first, second := make(chan any, 1), make(chan error, 1)
				go func() {
					defer func() { first <- recover() }()
					_ = f.Wait()
				}()
				synctest.Wait()
				go func() { second <- f.Wait() }()
				synctest.Wait()
				<-f.turn
				require.Equal(t, where, <-first)
				if where == "Flush" {
					require.ErrorIs(t, <-second, errPanicked)
					require.ErrorIs(t, f.Failed(), errPanicked)
				} else {
					require.NoError(t, <-second)
					require.NoError(t, f.Failed())
				}
				panics = ""
				require.NoError(t, f.Wait())
				require.NoError(t, f.Failed())
				require.NoError(t, f.Close())
			})
		})
	}
}
