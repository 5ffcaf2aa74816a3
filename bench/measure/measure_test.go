package measure

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// Ensure that a run in batches counts operations, not calls, and makes as many as
// asked, in whole batches.
func TestRun_batch(t *testing.T) {
	for _, c := range []struct{ ops, calls, done int64 }{{1, 1, 10}, {10, 1, 10}, {11, 2, 20}, {100, 10, 100}} {
		var calls atomic.Int64
		r, err := Run(counter{}, func(context.Context, workload.DB, *rand.Rand) error { calls.Add(1); return nil }, Load{Goroutines: 3, Ops: c.ops, Batch: 10})
		require.NoError(t, err)
		require.Equal(t, c.calls, calls.Load(), "%d operations", c.ops)
		require.Equal(t, c.done, r.Ops, "%d operations", c.ops)
	}
}

// Ensure that the median is that of the sorted values, and that the values keep their order.
func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1}, 5}, {[]float64{3, 100, 1}, 3}, {[]float64{4, 1, 3, 2}, 2.5}} {
		require.Equal(t, c.want, Median(c.values), "%v", c.values)
	}
	values := []float64{3, 1, 2}
	Median(values)
	require.Equal(t, []float64{3, 1, 2}, values, "the values are unchanged")
}

// Ensure that a ratio compares values of the same round, so that a slow round does not
// change it.
func TestRatio(t *testing.T) {
	require.Equal(t, 2.0, Ratio([]float64{20, 200, 22}, []float64{10, 100, 11}))
	require.Equal(t, 2.0, Ratio([]float64{20, 4}, []float64{10, 0}), "a round without a reference")
	require.Equal(t, 2.0, Ratio([]float64{20, 4}, []float64{10}))
	require.Zero(t, Ratio(nil, []float64{1}))
}

// Ensure that the spread is relative to the median, and 0 for too few or equal values.
func TestSpread(t *testing.T) {
	require.Zero(t, Spread([]float64{1, 100}))
	require.Zero(t, Spread([]float64{5, 5, 5}))
	require.InDelta(t, 0.25, Spread([]float64{1, 2, 3}), 0.1)
}

// Ensure that the sizes of /proc/self/status are read as bytes, and that a missing one is an error.
func TestParseStatus(t *testing.T) {
	m, err := parseStatus([]byte("Name:\tx\nVmPeak:\t  9000 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"))
	require.NoError(t, err)
	require.Equal(t, Memory{Resident: 1 << 20, Peak: 2 << 20}, m)
	_, err = parseStatus([]byte("Name:\tx\n"))
	require.Error(t, err)
}

// counter is a database that does nothing; the operations count themselves.
type counter struct{ workload.DB }

// Ensure that a run makes as many operations as asked, and that each goroutine draws
// the same random numbers in each run.
func TestRun(t *testing.T) {
	sum := func() int64 {
		var n, drawn atomic.Int64
		r, err := Run(counter{}, func(_ context.Context, _ workload.DB, rnd *rand.Rand) error {
			n.Add(1)
			drawn.Add(int64(rnd.IntN(1000)))
			return nil
		}, Load{Goroutines: 1, Ops: 100})
		require.NoError(t, err)
		require.EqualValues(t, 100, n.Load())
		require.EqualValues(t, 100, r.Ops)
		require.EqualValues(t, 100, r.Latencies.Count())
		return drawn.Load()
	}
	require.Equal(t, sum(), sum())
}

// Ensure that the first error ends a run and is returned.
func TestRun_error(t *testing.T) {
	broken := errors.New("broken")
	var n atomic.Int64
	_, err := Run(counter{}, func(context.Context, workload.DB, *rand.Rand) error {
		if n.Add(1) == 10 {
			return broken
		}
		return nil
	}, Load{Goroutines: 4, Duration: time.Hour})
	require.ErrorIs(t, err, broken)
}

// Ensure that a slow operation counts in the response times of the operations behind
// it, but not in their latencies.
func TestPaced_response(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	tl, err := Paced(ctx, counter{}, func(context.Context, workload.DB, *rand.Rand) error {
		if n++; n == 1 {
			time.Sleep(50 * time.Millisecond)
		}
		if n == 10 {
			cancel()
		}
		return nil
	}, 1, time.Microsecond, 10*time.Millisecond)
	require.NoError(t, err)
	require.EqualValues(t, 10, tl.Statement.Count())
	require.Greater(t, tl.Response.Percentile(0.2), 40*time.Millisecond)
	for slot := range 5 {
		require.GreaterOrEqual(t, tl.Worst[slot], 50*time.Millisecond, "slot %d", slot)
	}
}
