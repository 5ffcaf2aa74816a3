package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// entrant is an open contender.
type entrant struct {
	*contender.Contender
	db    *contender.DB
	gorm  *gorm.DB
	works map[string]workload.Workload
}

// throughput fills r.Cells: for each load the contenders take turns, in an order
// drawn by chance, so that nobody always comes behind the same other.
func throughput(r *results, o options, p *progress) error {
	ctx := context.Background()
	var all []*entrant
	defer func() {
		for _, e := range all {
			if err := e.db.Close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}()
	var order []string // of the workloads
	for _, c := range contender.All() {
		if !o.wants(c.Name) {
			continue
		}
		p.step("fill %s", c.Name)
		db, err := c.Open(filepath.Join(o.dir, "throughput-"+c.Name+".db"))
		if err != nil {
			return err
		}
		e := &entrant{Contender: c, db: db, works: map[string]workload.Workload{}}
		all = append(all, e)
		if err := workload.Fill(ctx, db, r.Accounts, 0); err != nil {
			return fmt.Errorf("fill %s: %w", c.Name, err)
		}
		if err := workload.Prepare(ctx, db); err != nil {
			return fmt.Errorf("prepare %s: %w", c.Name, err)
		}
		if err := db.Connect(ctx, contender.MaxGoroutines); err != nil {
			return fmt.Errorf("connect %s: %w", c.Name, err)
		}
		works := workload.All()
		if c.HasGorm() {
			if e.gorm, err = c.Gorm(db); err != nil {
				return err
			}
			works = append(works, workload.Gorm(e.gorm)...)
		}
		for _, w := range works {
			e.works[w.Name] = w
		}
		if len(works) > len(order) {
			order = order[:0]
			for _, w := range works {
				order = append(order, w.Name)
			}
		}
	}

	total := r.Rounds * len(order) * 2 * len(o.goroutines)
	done := 0
	for round := range r.Rounds {
		for _, name := range order {
			for _, cancellable := range []bool{false, true} {
				for _, goroutines := range o.goroutines {
					done++
					p.bar(done, total, "round %d/%d %s, %d goroutines", round+1, r.Rounds, name, goroutines)
					for _, i := range rand.New(rand.NewPCG(workload.Seed, uint64(done))).Perm(len(all)) {
						e := all[i]
						w, ok := e.works[name]
						if !ok {
							continue
						}
						c := r.find(name, e.Name, cancellable, goroutines)
						if c == nil {
							c = &cell{Workload: name, Contender: e.Name, Cancellable: cancellable, Goroutines: goroutines}
							r.Cells = append(r.Cells, c)
						}
						s := e.sample(w.Op(r.Accounts), measure.Load{Goroutines: goroutines, Duration: r.Cell, Cancellable: cancellable})
						s.Err = strings.ReplaceAll(s.Err, o.dir, "DIR")
						p.failed(s.Err)
						c.Samples = append(c.Samples, s)
					}
				}
			}
		}
	}
	return nil
}

// sample warms up for a tenth of the time, and measures. What it leaves to the next
// is neither garbage nor pages to be written to the disk.
func (e *entrant) sample(op workload.Op, load measure.Load) sample {
	defer func() {
		runtime.GC()
		if e.OnDisk {
			unix.Sync()
		}
	}()
	warm := load
	warm.Duration = max(load.Duration/10, time.Millisecond)
	if _, err := measure.Run(e.db, op, warm); err != nil {
		return sample{Err: err.Error()}
	}
	before := e.db.Retries()
	res, err := measure.Run(e.db, op, load)
	if err != nil {
		return sample{Err: err.Error()}
	}
	return sample{
		Ops:         res.Ops,
		NsPerOp:     res.NsPerOp(),
		Percentiles: percentiles(&res.Latencies),
		Retries:     float64(e.db.Retries()-before) / float64(res.Ops),
	}
}
