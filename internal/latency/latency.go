// Package latency counts how long operations take: finely for the demo and for bench, and
// coarsely for the counters of a server.
package latency

import (
	"math/bits"
	"time"
)

// Histogram counts latencies. Its buckets are at most 1/32 wide, relative to
// the latency, so a percentile is right to 3 %. The maximum is exact. One goroutine at
// a time may use it.
type Histogram struct {
	buckets [(maxExponent + 1) << subBits]uint32
	n       int64
	max     time.Duration
}

const (
	subBits     = 5
	maxExponent = 33 // the last bucket begins at about 4 minutes
)

// bucket returns the bucket of a latency in nanoseconds: its leading 1 and the five
// bits after it.
func bucket(ns uint64) int {
	exp := max(bits.Len64(ns)-subBits-1, 0)
	i := exp<<subBits + int(ns>>exp)
	return min(i, len(Histogram{}.buckets)-1)
}

// upper returns the longest latency of a bucket.
func upper(i int) time.Duration {
	exp := max(i>>subBits-1, 0)
	return time.Duration((uint64(i-exp<<subBits)+1)<<exp - 1)
}

// Add counts one operation.
func (l *Histogram) Add(d time.Duration) { l.AddBatch(d, 1) }

// AddBatch counts n operations that took d together.
func (l *Histogram) AddBatch(d time.Duration, n int64) {
	d = max(d, 0) / time.Duration(n)
	l.buckets[bucket(uint64(d))] += uint32(n)
	l.n += n
	l.max = max(l.max, d)
}

// Merge adds the counts of o.
func (l *Histogram) Merge(o *Histogram) {
	for i, n := range o.buckets {
		l.buckets[i] += n
	}
	l.n += o.n
	l.max = max(l.max, o.max)
}

// Count returns the number of operations.
func (l *Histogram) Count() int64 { return l.n }

// Percentile returns the latency that a share of the operations did not exceed: 0.99 is
// p99, and 1 is the exact maximum. It returns 0 if there were no operations.
func (l *Histogram) Percentile(share float64) time.Duration {
	if l.n == 0 {
		return 0
	}
	rank := int64(share * float64(l.n))
	if float64(rank) < share*float64(l.n) {
		rank++
	}
	if rank >= l.n {
		return l.max
	}
	seen := int64(0)
	for i, n := range l.buckets {
		if seen += int64(n); seen >= max(rank, 1) && n > 0 {
			if i == len(l.buckets)-1 {
				break // the last bucket has no upper end
			}
			return min(upper(i), l.max)
		}
	}
	return l.max
}
