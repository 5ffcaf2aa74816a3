package schedule

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// state is a database that counts its commits.
type state struct {
	commits, saved atomic.Int64
	saves          atomic.Int64
	times          []time.Duration // of the starts of saves, since began
	events         []Event
	began          time.Time
	takes          func() time.Duration // how long a save takes
	fails          func() error         // what it returns
}

func (s *state) config(interval time.Duration) LoopConfig {
	s.began = time.Now()
	return LoopConfig{
		Interval: interval,
		Changed:  func() bool { return s.commits.Load() != s.saved.Load() },
		Save: func(bool) (int64, error) {
			s.saves.Add(1)
			s.times = append(s.times, time.Since(s.began))
			n := s.commits.Load() // pinned at the start
			if s.takes != nil {
				time.Sleep(s.takes())
			}
			if s.fails != nil {
				if err := s.fails(); err != nil {
					return 0, err
				}
			}
			s.saved.Store(n)
			return 100, nil
		},
		OnEvent: func(e Event) { s.events = append(s.events, e) },
	}
}

const minute = time.Minute

// pass lets time go by, and everything that is due then happens.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Ensure that saves start at whole intervals after the start of the loop, however long they
// take, and that a missed tick is skipped.
func TestLoop_noDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &state{}
		took := []time.Duration{7 * time.Second, 59 * time.Second, 150 * time.Second, minute, 0}
		s.takes = func() time.Duration {
			s.commits.Add(1)
			return took[min(len(s.times)-1, len(took)-1)]
		}
		s.commits.Add(1)
		l := NewLoop(s.config(minute))
		pass(9*minute + time.Second)
		require.Equal(t, []time.Duration{1 * minute, 2 * minute, 3 * minute, 6 * minute, 8 * minute, 9 * minute}, s.times)
		require.NoError(t, l.Close(context.Background()))
	})
}

// Ensure that nothing is saved when nothing has changed, neither on a tick nor
// by Sync nor on Close.
func TestLoop_unchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &state{}
		l := NewLoop(s.config(minute))
		pass(10*minute + 1)
		n, err := l.Sync(context.Background())
		require.NoError(t, err)
		require.Zero(t, n)
		require.Zero(t, s.saves.Load())
		s.commits.Add(1)
		pass(5 * minute)
		require.Equal(t, []time.Duration{11 * minute}, s.times)
		require.NoError(t, l.Close(context.Background()))
		require.EqualValues(t, 1, s.saves.Load())
		require.Len(t, s.events, 1)
	})
}

// Ensure that failures are retried with doubling waits up to a minute, and that each has its
// event. Then the ticks go on as before.
func TestLoop_backoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &state{}
		s.commits.Add(1)
		boom := errors.New("boom")
		s.takes = func() time.Duration { return time.Second }
		s.fails = func() error {
			if len(s.times) < 10 {
				return boom
			}
			return nil
		}
		l := NewLoop(s.config(20 * minute))
		pass(30 * minute)
		var waits []time.Duration
		for i := 1; i < len(s.times); i++ {
			waits = append(waits, (s.times[i]-s.times[i-1]-time.Second)/time.Second)
		}
		require.Equal(t, []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}, waits)
		require.Len(t, s.events, 10)
		for i, e := range s.events {
			require.Equal(t, s.times[i], e.Start.Sub(s.began))
			require.Equal(t, time.Second, e.Duration)
			if i < 9 {
				require.Equal(t, Event{Start: e.Start, Duration: time.Second, Err: boom, Failures: i + 1}, e)
			} else {
				require.Equal(t, Event{Start: e.Start, Duration: time.Second, Bytes: 100}, e)
			}
		}
		s.commits.Add(1)
		pass(10*minute + 1)
		require.Equal(t, 40*minute, s.times[10])
		require.NoError(t, l.Close(context.Background()))
	})
}

// Ensure that no wait is longer than the interval.
func TestLoop_backoffShortInterval(t *testing.T) {
	require.Equal(t, time.Second, backoff(1, backoffFirst, minute))
	require.Equal(t, 3*time.Second, backoff(3, backoffFirst, 3*time.Second))
	require.Equal(t, 100*time.Millisecond, backoff(1, backoffFirst, 100*time.Millisecond))
	require.Equal(t, minute, backoff(1_000_000, backoffFirst, backoffMax))
}

// Ensure that the retries end when nothing is left to save.
func TestLoop_retryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &state{fails: func() error { return errors.New("boom") }}
		s.commits.Add(1)
		l := NewLoop(s.config(20 * minute))
		pass(20*minute + 1500*time.Millisecond)
		require.EqualValues(t, 2, s.saves.Load())
		s.saved.Add(1) // saved in another way
		pass(10 * minute)
		require.EqualValues(t, 2, s.saves.Load())
		s.commits.Add(1)
		pass(9*minute + 57*time.Second)
		require.EqualValues(t, 2, s.saves.Load(), "the next tick is at 40 minutes")
		pass(2 * time.Second)
		require.EqualValues(t, 3, s.saves.Load())
		require.Equal(t, 1, s.events[2].Failures)
		require.Error(t, l.Close(context.Background()))
	})
}

// Ensure that Sync covers every commit made before it. If a save runs already, Sync joins the
// next one. All waiting Sync calls share that save.
func TestLoop_sync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &state{takes: func() time.Duration { return 10 * time.Second }}
		l := NewLoop(s.config(0))
		done := make(chan struct{}, 100)
		syncAfterCommit := func() {
			n := s.commits.Add(1)
			bytes, err := l.Sync(context.Background())
			require.NoError(t, err)
			require.EqualValues(t, 100, bytes)
			require.GreaterOrEqual(t, s.saved.Load(), n)
			done <- struct{}{}
		}
		go syncAfterCommit()
		synctest.Wait()
		require.EqualValues(t, 1, s.saves.Load())
		pass(5 * time.Second)
		for range 20 {
			go syncAfterCommit()
		}
		pass(6 * time.Second)
		require.Len(t, done, 1, "the others need a save that began after their commits")
		pass(10 * time.Second)
		require.Len(t, done, 21)
		require.EqualValues(t, 2, s.saves.Load())
		require.NoError(t, l.Close(context.Background()))
	})
}

// Ensure that a Sync during a save waits for the next one, even if the running save happens
// to cover it. The next one then costs nothing.
func TestLoop_syncAlreadyCovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &state{takes: func() time.Duration { return 10 * time.Second }}
		l := NewLoop(s.config(minute))
		s.commits.Add(1)
		go l.Sync(context.Background())
		pass(time.Second)
		n, err := l.Sync(context.Background())
		require.NoError(t, err)
		require.Zero(t, n)
		require.Equal(t, 10*time.Second, time.Since(s.began))
		require.EqualValues(t, 1, s.saves.Load())
		require.NoError(t, l.Close(context.Background()))
	})
}

// Ensure that the end of a context ends the wait and not the save. An error reaches everybody
// who waits.
func TestLoop_syncContextAndError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		s := &state{takes: func() time.Duration { return 10 * time.Second }}
		l := NewLoop(s.config(0))
		s.commits.Add(1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := l.Sync(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(s.began))
		pass(minute)
		require.EqualValues(t, 1, s.saved.Load())

		s.fails = func() error { return boom }
		s.commits.Add(1)
		errs := make(chan error, 3)
		for range 3 {
			go func() { _, err := l.Sync(context.Background()); errs <- err }()
		}
		for range 3 {
			require.ErrorIs(t, <-errs, boom)
		}
		// Without an interval there are no retries.
		n := s.saves.Load()
		pass(time.Hour)
		require.Equal(t, n, s.saves.Load())
		require.NoError(t, l.Close(context.Background()), "and no save on close")
		require.Equal(t, n, s.saves.Load())
	})
}

// Ensure that Sync during a backoff tries at once, and that its success ends
// the backoff.
func TestLoop_syncDuringBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := true
		s := &state{}
		s.fails = func() error {
			if fail {
				return errors.New("boom")
			}
			return nil
		}
		s.commits.Add(1)
		l := NewLoop(s.config(20 * minute))
		pass(22 * minute)
		before := s.saves.Load()
		synctest.Wait()
		fail = false
		_, err := l.Sync(context.Background())
		require.NoError(t, err)
		require.Equal(t, before+1, s.saves.Load())
		require.Zero(t, s.events[len(s.events)-1].Failures)
		pass(10 * minute)
		require.Equal(t, before+1, s.saves.Load())
		require.NoError(t, l.Close(context.Background()))
	})
}

// Ensure that OnEvent is called before Sync returns.
func TestLoop_eventBeforeSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &state{}
		cfg := s.config(0)
		told := false
		cfg.OnEvent = func(Event) { time.Sleep(time.Second); told = true }
		l := NewLoop(cfg)
		s.commits.Add(1)
		_, err := l.Sync(context.Background())
		require.NoError(t, err)
		require.True(t, told)
		require.NoError(t, l.Close(context.Background()))
	})
}

// Ensure that Close waits for the save that runs, saves what has come since, and serves
// waiting Sync calls. It ends the ticks, and can be called again.
func TestLoop_close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &state{takes: func() time.Duration { return 10 * time.Second }}
		s.commits.Add(1)
		l := NewLoop(s.config(minute))
		pass(minute + time.Second)
		require.EqualValues(t, 1, s.saves.Load())
		s.commits.Add(1)
		synced := make(chan error, 1)
		go func() { _, err := l.Sync(context.Background()); synced <- err }()
		synctest.Wait()
		closed := make(chan error, 2)
		go func() { closed <- l.Close(context.Background()) }()
		go func() { closed <- l.Close(context.Background()) }()
		synctest.Wait()
		_, err := l.Sync(context.Background())
		require.ErrorIs(t, err, ErrClosed)
		require.NoError(t, <-closed)
		require.NoError(t, <-closed)
		require.Equal(t, minute+20*time.Second, time.Since(s.began))
		require.NoError(t, <-synced)
		require.EqualValues(t, 2, s.saved.Load())
		require.EqualValues(t, 2, s.saves.Load())

		s.commits.Add(1)
		pass(time.Hour)
		require.NoError(t, l.Close(context.Background()))
		require.EqualValues(t, 2, s.saves.Load())
	})
}

// Ensure that Close serves a Sync that waits even without an interval.
func TestLoop_closeServesSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &state{takes: func() time.Duration { return 10 * time.Second }}
		l := NewLoop(s.config(0))
		s.commits.Add(1)
		go l.Sync(context.Background())
		pass(time.Second)
		s.commits.Add(1)
		go func() {
			_, err := l.Sync(context.Background())
			require.NoError(t, err)
			require.EqualValues(t, 2, s.saved.Load())
		}()
		synctest.Wait()
		require.NoError(t, l.Close(context.Background()))
		require.EqualValues(t, 2, s.saved.Load())
	})
}

// Ensure that every Close returns the error of the last save. The end of a context ends the
// wait of Close and not the save.
func TestLoop_closeErrorAndContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		s := &state{takes: func() time.Duration { return 10 * time.Second }, fails: func() error { return boom }}
		l := NewLoop(s.config(minute))
		s.commits.Add(1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, l.Close(ctx), context.DeadlineExceeded)
		require.EqualValues(t, 1, s.saves.Load())
		require.ErrorIs(t, l.Close(context.Background()), boom)
		require.Equal(t, 10*time.Second, time.Since(s.began))
		require.ErrorIs(t, l.Close(ctx), boom, "the result is known, so the context does not matter")
		require.EqualValues(t, 1, s.saves.Load())
	})
}

// Ensure that Sync, commits and Close may come from everywhere at once (run with -race). No
// commit whose Sync returned nil is left unsaved.
func TestLoop_concurrent(t *testing.T) {
	s := &state{}
	l := NewLoop(s.config(time.Millisecond))
	done := make(chan struct{})
	for range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 200 {
				n := s.commits.Add(1)
				_, err := l.Sync(context.Background())
				if err == ErrClosed {
					return
				}
				require.NoError(t, err)
				require.GreaterOrEqual(t, s.saved.Load(), n)
			}
		}()
	}
	for range 7 {
		<-done
	}
	require.NoError(t, l.Close(context.Background()))
	<-done
}

// Ensure that Save and OnEvent are told whether a Sync or a Close waits for the save.
// The interval does not count.
func TestLoop_awaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s state
		cfg := s.config(minute)
		var told []bool
		save := cfg.Save
		cfg.Save = func(awaited bool) (int64, error) {
			told = append(told, awaited)
			return save(awaited)
		}
		l := NewLoop(cfg)
		s.commits.Add(1)
		pass(minute)
		s.commits.Add(1)
		_, err := l.Sync(t.Context())
		require.NoError(t, err)
		s.commits.Add(1)
		require.NoError(t, l.Close(t.Context()))
		require.Equal(t, []bool{false, true, true}, told)
		var events []bool
		for _, e := range s.events {
			events = append(events, e.Awaited)
		}
		require.Equal(t, told, events)
	})
}
