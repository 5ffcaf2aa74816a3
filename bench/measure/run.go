package measure

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// Load is how an operation is run. It ends after Ops operations or after
// Duration, whichever is set.
type Load struct {
	Goroutines  int
	Ops         int64
	Batch       int // operations in a call of the operation; 0 stands for 1
	Duration    time.Duration
	Cancellable bool // contexts that could be cancelled; they are not
}

// Result is what a run gave.
type Result struct {
	Ops       int64
	Elapsed   time.Duration
	Latencies Latencies
}

// NsPerOp is the time of the run divided by its operations: throughput, however
// many goroutines there were.
func (r *Result) NsPerOp() float64 {
	return float64(r.Elapsed.Nanoseconds()) / float64(max(r.Ops, 1))
}

// Run runs op on db. Of a batch each operation counts with the mean of the batch;
// the last batch may exceed Ops. Each goroutine draws the same chances in each run. The first
// error ends it.
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
