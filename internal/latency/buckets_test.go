package latency

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that an operation counts in the first bucket that is long enough, and those above
// the last bound only in the sum and the count.
func TestBuckets(t *testing.T) {
	var b Buckets
	last := len(Bounds) - 1
	for _, d := range []time.Duration{-time.Second, 0, time.Microsecond, time.Microsecond + 1, Bounds[last], Bounds[last] + 1} {
		b.Add(d)
	}
	want := Buckets{Count: 6, Sum: 2*time.Microsecond + 1 + 2*Bounds[last] + 1}
	want.Of[0], want.Of[1], want.Of[last] = 3, 1, 1
	require.Equal(t, want, b)
	require.IsIncreasing(t, Bounds[:])
}
