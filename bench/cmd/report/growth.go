package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/worker"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// grown are the contenders whose growth is measured: those in memory for a whole pool,
// and the floor.
var grown = []string{contender.Reference, "madmail", "mattn-memdb", "mattn-memory-1conn", "ncruces-mvcc"}

// growth fills r.Growth for one contender. Databases of all sizes are open at once and
// take turns, so that the sizes are compared at the same time.
func growth(r *results, o options, p *progress, name string) error {
	g := newGroup(o.dir, p)
	defer g.stop()
	sizes := map[string]int{}
	for _, mb := range o.growthMB {
		p.step("fill %s with %d MB", name, mb)
		member := fmt.Sprintf("%s with %d MB", name, mb)
		sizes[member] = mb
		if err := g.add(member, request{Do: "open", Contender: name, Accounts: accountsFor(mb), Filler: filler}); err != nil {
			return err
		}
	}
	p.step("growth of %s", name)
	for round := range o.growthRounds {
		for _, m := range g.turn() {
			run := &growthRun{}
			if err := m.ask(request{Do: "growth", Commits: o.commits, Same: accountsFor(slices.Min(o.growthMB))}, run); err != nil {
				p.failed(m.name, err)
				run = &growthRun{Err: err.Error()}
			}
			run.Contender, run.MB, run.Round = name, sizes[m.name], round
			r.Growth = append(r.Growth, run)
		}
	}
	return nil
}

func (s *session) growth(req request) (r *growthRun, err error) {
	r = &growthRun{}
	if r.DataBytes, err = s.dataBytes(); err != nil {
		return nil, err
	}
	load := measure.Load{Goroutines: 1, Ops: int64(req.Commits)}
	write := workload.Named("PointWrite")
	if r.Commit, err = s.warm(write.Op(s.accounts), load); err != nil {
		return nil, err
	}
	if r.Same, err = s.warm(write.Op(req.Same), load); err != nil {
		return nil, err
	}
	if s.contender.Name == contender.Reference {
		for range 2 {
			if r.Pin, err = s.pin(req.Commits); err != nil {
				return nil, err
			}
		}
	}
	now, err := resident()
	r.Resident = now - s.base
	return r, err
}

// warm runs a load twice. The second run counts.
func (s *session) warm(op workload.Op, load measure.Load) ([]float64, error) {
	var p []float64
	for range 2 {
		res, err := measure.Run(s.db, op, load)
		if err != nil {
			return nil, err
		}
		p = worker.Percentiles(&res.Latencies)
	}
	return p, nil
}

// pin times read-only transactions.
func (s *session) pin(n int) ([]float64, error) {
	ctx := context.Background()
	var l measure.Latencies
	for range n {
		start := time.Now()
		tx, err := s.db.Pool.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return nil, err
		}
		var used int64
		if err := tx.QueryRowContext(ctx, "SELECT used FROM accounts WHERE id=1").Scan(&used); err != nil {
			return nil, errors.Join(err, tx.Rollback())
		}
		if err := tx.Rollback(); err != nil {
			return nil, err
		}
		l.Add(time.Since(start))
	}
	return worker.Percentiles(&l), nil
}
