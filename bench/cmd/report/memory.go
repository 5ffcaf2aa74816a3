package main

import (
	"slices"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// pooled reports whether the memory of a contender is measured with many writers: it is
// in memory, and its pool has more than one connection.
func pooled(name string) bool { return name != floor && slices.Contains(grown, name) }

// memory fills r.Memory. The contenders write in turn, with a connection for each goroutine.
func memory(r *results, o options, p *progress) error {
	g := newGroup(o.dir, p)
	defer g.stop()
	for _, c := range contender.General() {
		if !pooled(c.Name) || !o.wants(c.Name) {
			continue
		}
		p.step("fill %s", c.Name)
		if err := g.open(c, request{Do: "open", Accounts: r.Accounts, Connections: contender.MaxGoroutines}); err != nil {
			return err
		}
	}
	for round := range o.memoryRounds {
		for _, m := range g.turn() {
			p.step("memory of %s, round %d/%d", m.name, round+1, o.memoryRounds)
			run := &memoryRun{}
			if err := m.ask(request{Do: "memory", Goroutines: contender.MaxGoroutines, Duration: o.commitTime}, run); err != nil {
				p.failed(m.name, err)
				run = &memoryRun{Err: err.Error()}
			}
			run.Contender, run.Round = m.name, round
			r.Memory = append(r.Memory, run)
		}
	}
	return nil
}

// memory runs point writes, and reads the resident memory before, meanwhile and after.
func (s *session) memory(req request) (r *memoryRun, err error) {
	r = &memoryRun{}
	if r.DataBytes, err = s.dataBytes(); err != nil {
		return nil, err
	}
	if err := measure.ResetPeak(); err != nil {
		return nil, err
	}
	before, err := measure.ReadMemory()
	if err != nil {
		return nil, err
	}
	if _, err := measure.Run(s.db, workload.Named("PointWrite").Op(s.accounts), measure.Load{Goroutines: req.Goroutines, Duration: req.Duration}); err != nil {
		return nil, err
	}
	during, err := measure.ReadMemory()
	if err != nil {
		return nil, err
	}
	if err := s.loads.Settle(); err != nil {
		return nil, err
	}
	after, err := resident()
	r.Before, r.Peak, r.After = before.Resident-s.base, during.Peak-s.base, after-s.base
	return r, err
}
