//go:build cgo

package demo

import (
	"math/bits"
	"time"
)

// latencies counts how long operations took, in buckets. The width of a bucket
// is at most 1/32 of the time, so a percentile is right to 3 %. The greatest
// is exact. It is used by one goroutine at a time.
type latencies struct {
	buckets [(maxExponent + 1) << subBits]uint32
	n       int64
	max     time.Duration
}

const (
	subBits     = 5
	maxExponent = 33 // the last bucket begins at about 4 minutes
)

// bucket is the number of the bucket for a time in nanoseconds: the leading 1
// and the five bits after it.
func bucket(ns uint64) int {
	exp := max(bits.Len64(ns)-subBits-1, 0)
	i := exp<<subBits + int(ns>>exp)
	return min(i, len(latencies{}.buckets)-1)
}

// upper is the greatest time of a bucket.
func upper(i int) time.Duration {
	exp := max(i>>subBits-1, 0)
	return time.Duration((uint64(i-exp<<subBits)+1)<<exp - 1)
}

func (l *latencies) add(d time.Duration) {
	l.buckets[bucket(uint64(d))]++
	l.n++
	l.max = max(l.max, d)
}

func (l *latencies) merge(o *latencies) {
	for i, n := range o.buckets {
		l.buckets[i] += n
	}
	l.n += o.n
	l.max = max(l.max, o.max)
}

// percentile returns the time within which a share of the operations was done,
// 0.99 for p99. It is 0 when there were none.
func (l *latencies) percentile(share float64) time.Duration {
	if l.n == 0 {
		return 0
	}
	rank := int64(share * float64(l.n))
	if float64(rank) < share*float64(l.n) {
		rank++
	}
	seen := int64(0)
	for i, n := range l.buckets {
		if seen += int64(n); seen >= max(rank, 1) && n > 0 {
			if i == len(l.buckets)-1 {
				break // without an end
			}
			return min(upper(i), l.max)
		}
	}
	return l.max
}
