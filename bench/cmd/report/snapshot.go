package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/worker"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// The paced load: each of four goroutines begins a statement every 500 µs, one in ten a
// write.
const (
	pacedGoroutines = 4
	pacedInterval   = 500 * time.Microsecond
	pacedSlot       = 20 * time.Millisecond
)

// snapshots fills r.Snapshots. The contenders that can save take turns.
func snapshots(r *results, o options, p *progress, mb int) error {
	g := newGroup(o.dir, p)
	defer g.stop()
	for _, c := range contender.General() {
		if c.Save == "" || !o.wants(c.Name) {
			continue
		}
		p.step("fill %s with %d MB", c.Name, mb)
		if err := g.add(c.Name, request{Do: "open", Contender: c.Name, Accounts: accountsFor(mb), Filler: filler}, request{Do: "save"}); err != nil {
			return err
		}
	}
	for round := range o.snapshots {
		for _, m := range g.turn() {
			p.step("snapshot of %d MB, round %d/%d, %s", mb, round+1, o.snapshots, m.name)
			s := &snapshotRun{}
			if err := m.ask(request{Do: "snapshot", Quiet: o.quiet}, s); err != nil {
				p.failed(m.name, err)
				s = &snapshotRun{Err: err.Error()}
			}
			s.Contender, s.MB, s.Round = m.name, mb, round
			r.Snapshots = append(r.Snapshots, s)
		}
	}
	return nil
}

// snapshot runs the paced load without a save, then with one.
func (s *session) snapshot(req request) (r *snapshotRun, err error) {
	ctx := context.Background()
	r = &snapshotRun{QuietSave: s.quietSave}
	if r.DataBytes, err = s.dataBytes(); err != nil {
		return nil, err
	}
	op := workload.Named("Mix90").Op(s.accounts)
	if err := s.change(); err != nil {
		return nil, err
	}
	now, err := resident()
	if err != nil {
		return nil, err
	}
	r.Resident = now - s.base

	unix.Sync()
	without, cancel := context.WithTimeout(ctx, req.Quiet)
	tl, err := measure.Paced(without, s.db, op, pacedGoroutines, pacedInterval, pacedSlot)
	cancel()
	if err != nil {
		return nil, err
	}
	r.Without, r.WithoutResponse = worker.Percentiles(&tl.Statement), worker.Percentiles(&tl.Response)

	unix.Sync()
	if err := measure.ResetPeak(); err != nil {
		return nil, err
	}
	before, err := measure.ReadMemory()
	if err != nil {
		return nil, err
	}
	with, cancel := context.WithCancel(ctx)
	start := time.Now()
	saved := make(chan error, 1)
	go func() {
		defer cancel()
		time.Sleep(req.Quiet / 4)
		r.SaveBegan = time.Since(start)
		err := s.db.Save(ctx, s.path())
		r.SaveEnd = time.Since(start)
		if err == nil {
			time.Sleep(req.Quiet / 4)
		}
		saved <- err
	}()
	tl, err = measure.Paced(with, s.db, op, pacedGoroutines, pacedInterval, pacedSlot)
	cancel()
	if err := errors.Join(err, <-saved); err != nil {
		return nil, err
	}
	after, err := measure.ReadMemory()
	if err != nil {
		return nil, err
	}
	r.LoadedSave = r.SaveEnd - r.SaveBegan
	r.PeakExtra = after.Peak - before.Resident
	r.With, r.WithResponse = worker.Percentiles(&tl.Statement), worker.Percentiles(&tl.Response)
	r.Slot, r.Worst = tl.Slot, tl.Worst
	unix.Sync()
	return r, nil
}
