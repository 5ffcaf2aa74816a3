package snapshot

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that who waits is served by a flush that began after the call, and that
// those who come while one runs share the next.
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

// Ensure that an interval flushes what is pending and nothing else, and that the
// close flushes what is left.
func TestFlusher_interval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pending, flushes := true, 0
		f := NewFlusher(FlusherConfig{
			Interval: time.Second,
			Flush:    func() error { flushes++; pending = false; return nil },
			Pending:  func() bool { return pending },
		})
		time.Sleep(10500 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 1, flushes)
		pending = true
		require.NoError(t, f.Close())
		require.Equal(t, 2, flushes)
	})
}

// Ensure that a flush that fails is told to all who wait for it, is tried again
// with growing pauses until it works, and counts as failed until then, or until
// a save has made everything durable.
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

// Ensure that a panic, of a flush or of what is told of it, leaves nobody waiting;
// that those who have joined the flush learn what became of it; and that one that
// panicked counts as failed until the next has worked.
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
