package latency

import "time"

// Bounds are the upper ends of the buckets of [Buckets].
var Bounds = [...]time.Duration{
	time.Microsecond, 3 * time.Microsecond, 10 * time.Microsecond, 30 * time.Microsecond, 100 * time.Microsecond, 300 * time.Microsecond,
	time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond,
	time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Buckets counts latencies coarsely, for counters that a server keeps for as long as it
// runs. One goroutine at a time may use it.
type Buckets struct {
	Count uint64              // number of operations
	Sum   time.Duration       // of their latencies
	Of    [len(Bounds)]uint64 // number of operations in each bucket; those above the last bound are in none
}

// Add counts one operation.
func (b *Buckets) Add(d time.Duration) {
	d = max(d, 0)
	b.Count++
	b.Sum += d
	for i := range Bounds {
		if d <= Bounds[i] {
			b.Of[i]++
			return
		}
	}
}
