package latency

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that percentiles are those of the sorted latencies, to the width of a bucket.
func TestHistogram_percentile(t *testing.T) {
	var l Histogram
	require.Zero(t, l.Percentile(0.5))
	for i := range 10_000 {
		l.Add(time.Duration(i+1) * time.Microsecond)
	}
	require.EqualValues(t, 10_000, l.Count())
	for _, c := range []struct{ share, want float64 }{{0.5, 5000}, {0.99, 9900}, {0.999, 9990}, {0.0001, 1}} {
		require.InEpsilon(t, c.want*1000, float64(l.Percentile(c.share)), 0.033, "p%v", c.share)
	}
	require.Equal(t, 10*time.Millisecond, l.Percentile(1))
}

// Ensure that one slow operation of 1000 is the maximum and not the p99.
func TestHistogram_outlier(t *testing.T) {
	var a, b Histogram
	for range 999 {
		a.Add(time.Millisecond)
	}
	b.Add(time.Hour)
	a.Merge(&b)
	require.InEpsilon(t, float64(time.Millisecond), float64(a.Percentile(0.99)), 0.033)
	require.InEpsilon(t, float64(time.Millisecond), float64(a.Percentile(0.999)), 0.033)
	require.Equal(t, time.Hour, a.Percentile(1))
}

// Ensure that each operation of a batch counts, with the mean of the batch.
func TestHistogram_batch(t *testing.T) {
	var l Histogram
	l.AddBatch(100*time.Millisecond, 100)
	l.Add(2 * time.Millisecond)
	require.EqualValues(t, 101, l.Count())
	require.InEpsilon(t, float64(time.Millisecond), float64(l.Percentile(0.5)), 0.033)
	require.Equal(t, 2*time.Millisecond, l.Percentile(1))
}

// Ensure that the end of each latency's bucket is not below it and at most 1/32 above
// it.
func TestHistogram_buckets(t *testing.T) {
	for ns := uint64(1); ns < 1<<38; ns += ns/7 + 1 {
		end := uint64(upper(bucket(ns)))
		require.GreaterOrEqual(t, end, ns)
		require.LessOrEqual(t, end-ns, ns/32+1)
	}
}
