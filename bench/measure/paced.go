package measure

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// Timeline is the result of a paced load.
type Timeline struct {
	// Statement has how long the operations took. Response counts from the time at
	// which each should have begun. If a stopped database delays later operations,
	// their wait counts.
	Statement, Response Latencies

	Slot  time.Duration
	Worst []time.Duration // of each slot: the longest operation that ran in it; 0: none
}

// Paced runs op from several goroutines, like a server that is not saturated. Each
// begins one operation every interval, as long as it keeps up. Paced ends with ctx.
func Paced(ctx context.Context, db workload.DB, op workload.Op, goroutines int, interval, slot time.Duration) (*Timeline, error) {
	var (
		mu    sync.Mutex
		all   = Timeline{Slot: slot}
		first error
		wg    sync.WaitGroup
	)
	start := time.Now()
	for g := range goroutines {
		rnd := rand.New(rand.NewPCG(workload.Seed, uint64(g)))
		wg.Go(func() {
			mine := Timeline{Slot: slot}
			var err error
			for due := start.Add(interval * time.Duration(g) / time.Duration(goroutines)); ctx.Err() == nil && err == nil; due = due.Add(interval) {
				if wait := time.Until(due); wait > 0 {
					time.Sleep(wait)
				}
				before := time.Now()
				if err = op(context.WithoutCancel(ctx), db, rnd); err == nil {
					mine.add(before.Sub(start), time.Since(before), time.Since(due))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = err
			}
			all.merge(&mine)
		})
	}
	wg.Wait()
	return &all, first
}

func (t *Timeline) add(at, statement, response time.Duration) {
	t.Statement.Add(statement)
	t.Response.Add(response)
	last := int((at + statement) / t.Slot)
	for len(t.Worst) <= last {
		t.Worst = append(t.Worst, 0)
	}
	for slot := int(at / t.Slot); slot <= last; slot++ {
		t.Worst[slot] = max(t.Worst[slot], statement)
	}
}

func (t *Timeline) merge(o *Timeline) {
	t.Statement.Merge(&o.Statement)
	t.Response.Merge(&o.Response)
	for len(t.Worst) < len(o.Worst) {
		t.Worst = append(t.Worst, 0)
	}
	for i, d := range o.Worst {
		t.Worst[i] = max(t.Worst[i], d)
	}
}
