package measure

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// Load tells how to run an operation. The run ends after Ops operations or after
// Duration, whichever is set.
type Load struct {
	Goroutines  int
	Ops         int64
	Batch       int // operations in one call; 0 means 1
	Duration    time.Duration
	Cancellable bool // use contexts that can be cancelled, but are not
}

// Result is the result of a run.
type Result struct {
	Ops       int64
	Elapsed   time.Duration
	Latencies Latencies
}

// NsPerOp returns the time of the run divided by the operations of all goroutines:
// throughput.
func (r *Result) NsPerOp() float64 {
	return float64(r.Elapsed.Nanoseconds()) / float64(max(r.Ops, 1))
}

// Run runs op on db. Each operation of a batch counts with the mean of the batch, and
// the last batch may exceed Ops. Each goroutine draws the same random numbers in each
// run. The first error ends the run.
func Run(db workload.DB, op workload.Op, load Load) (*Result, error) {
	ctx := context.Background()
	if load.Cancellable {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
	}
	var (
		mu    sync.Mutex // guards all and first
		all   Latencies
		first error

		left atomic.Int64
		stop atomic.Bool
		wg   sync.WaitGroup
	)
	left.Store(load.Ops)
	batch := max(int64(load.Batch), 1)
	mine := make([]Latencies, load.Goroutines)
	start := time.Now()
	for g := range load.Goroutines {
		rnd := rand.New(rand.NewPCG(workload.Seed, uint64(g)))
		wg.Go(func() {
			for before := time.Now(); !stop.Load(); {
				if load.Ops > 0 && left.Add(-batch) <= -batch {
					break
				}
				err := op(ctx, db, rnd)
				after := time.Now()
				if err != nil {
					stop.Store(true)
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
					break
				}
				mine[g].AddBatch(after.Sub(before), batch)
				if load.Duration > 0 && after.Sub(start) >= load.Duration {
					break
				}
				before = after
			}
			mu.Lock()
			all.Merge(&mine[g])
			mu.Unlock()
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	return &Result{Ops: all.Count(), Elapsed: elapsed, Latencies: all}, first
}
