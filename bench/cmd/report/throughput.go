package main

import (
	"errors"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/mailstore"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// load is a load that the members of a group run in turn.
type load struct {
	workload    string
	goroutines  int
	cancellable bool
}

// patience limits the time of a contender for one load over all rounds, as a multiple
// of the load's duration. A load of 64 goroutines that wait for a disk, or for the
// only connection, exceeds its duration by far. A contender over the limit skips the
// later rounds, but runs at least two.
const patience = 30

// measureLoads runs each load on each member, round by round. So a disturbance of the
// machine affects all alike. has reports whether a member can run a load. duration
// returns how long it runs.
func measureLoads(p *progress, g *group, rounds int, loads []load, has func(name string, l load) bool, duration func(name string) time.Duration) []*cell {
	var cells []*cell // in the order of the report
	for _, l := range loads {
		for _, m := range g.members {
			if has(m.name, l) {
				cells = append(cells, &cell{Workload: l.workload, Contender: m.name, Cancellable: l.cancellable, Goroutines: l.goroutines})
			}
		}
	}
	spent := map[*cell]time.Duration{}
	done := 0
	for round := range rounds {
		for _, l := range loads {
			p.bar(done, rounds*len(loads), "round %d/%d %s, %s", round+1, rounds, l.workload, many(l.goroutines, "goroutine"))
			done++
			for _, m := range g.turn() {
				c := find(cells, l.workload, m.name, l.cancellable, l.goroutines)
				if c == nil {
					continue
				}
				if len(c.Samples) >= 2 && spent[c] > patience*duration(m.name) {
					continue
				}
				var s sample
				start := time.Now()
				if err := m.ask(request{Do: "run", Workload: l.workload, Goroutines: l.goroutines, Cancellable: l.cancellable, Duration: duration(m.name)}, &s); err != nil {
					if c.failed() == "" {
						p.failed(m.name+", "+l.workload, err)
					}
					s.Err = err.Error()
				}
				spent[c] += time.Since(start)
				c.Samples = append(c.Samples, s)
			}
		}
	}
	return cells
}

// throughput fills r.Cells.
func throughput(r *results, o options, p *progress) error {
	g := newGroup(o.dir, p)
	defer g.stop()
	gorm, bypass := map[string]bool{}, map[string]bool{}
	for _, c := range contender.General() {
		if !o.wants(c.Name) {
			continue
		}
		p.step("fill %s", c.Name)
		gorm[c.Name], bypass[c.Name] = c.HasGorm(), c.Bypass != ""
		if err := g.open(c, request{Do: "open", Accounts: r.Accounts, Connections: contender.MaxGoroutines}); err != nil {
			return err
		}
	}
	var loads []load
	for _, w := range workload.All() {
		for _, cancellable := range []bool{false, true} {
			for _, n := range o.goroutines {
				loads = append(loads, load{w.Name, n, cancellable})
			}
		}
	}
	ofGorm := map[string]bool{}
	for _, w := range workload.Gorm(nil) {
		ofGorm[w.Name] = true
		for _, n := range o.goroutines {
			if n == 1 || n == 8 {
				loads = append(loads, load{w.Name, n, false})
			}
		}
	}
	r.Cells = measureLoads(p, g, r.Rounds, loads,
		func(name string, l load) bool {
			return (!ofGorm[l.workload] || gorm[name]) && !(l.cancellable && bypass[name])
		},
		func(string) time.Duration { return r.Cell })
	return nil
}

// users fills r.Users: loads like those of the comparison that users of SQLite in Go
// quote. They run a number of times, not for a time.
func users(r *results, o options, p *progress) error {
	g := newGroup(o.dir, p)
	defer g.stop()
	for _, c := range contender.Compared() {
		if !o.wants(c.Name) {
			continue
		}
		p.step("open %s", c.Name)
		if err := g.open(c, request{Do: "users", Short: o.short, Connections: maxReaders}); err != nil {
			return err
		}
	}
	var loads []load
	for _, u := range workload.Users(workload.UserSizesOf(o.short), nil) {
		loads = append(loads, load{u.Name, u.Goroutines, false})
	}
	r.Users = measureLoads(p, g, r.UserRounds, loads, func(string, load) bool { return true }, func(string) time.Duration { return userTime })
	return nil
}

const (
	maxReaders = 8               // the most goroutines of workload.Users
	userTime   = 4 * time.Second // about the longest of these loads, for patience
)

// commits fills r.Commits: point writes on a disk, by the cost of a crash. Each runs
// for at least two intervals of the log, so that the log's cost is measured.
func commits(r *results, o options, p *progress) error {
	g := newGroup(o.dir, p)
	defer g.stop()
	interval := map[string]time.Duration{}
	for _, c := range contender.Durable() {
		if !o.wants(c.Name) {
			continue
		}
		p.step("fill %s", c.Name)
		interval[c.Name] = c.Interval
		if err := g.open(c, request{Do: "open", Accounts: r.Accounts, Connections: contender.MaxGoroutines}); err != nil {
			return err
		}
	}
	var loads []load
	for _, n := range o.writers {
		loads = append(loads, load{"PointWrite", n, false})
	}
	r.Commits = measureLoads(p, g, o.commitRounds, loads, func(string, load) bool { return true },
		func(name string) time.Duration {
			if o.short {
				return o.commitTime
			}
			return max(o.commitTime, 2*interval[name])
		})
	return nil
}

// mail fills r.Mail.
func mail(r *results, o options, p *progress) error {
	return errors.Join(mailWith(r, o, p, false), mailWith(r, o, p, true))
}

// mailWith measures go-imap-sql, with the bodies of messages in files or in memory.
func mailWith(r *results, o options, p *progress, files bool) error {
	g := newGroup(o.dir, p)
	defer g.stop()
	users := o.mailUsers
	if files {
		users = min(users, 20) // each of their messages is synced
	}
	for _, c := range contender.General() {
		if c.MailStore == "" || !o.wants(c.Name) {
			continue
		}
		p.step("fill go-imap-sql on %s", c.Name)
		if err := g.add(c.Name, request{Do: "mail", Contender: c.Name, MailUsers: users, Files: files}); err != nil {
			return err
		}
	}
	var loads []load
	for _, w := range mailstore.Workloads(files) {
		for _, n := range o.writers {
			loads = append(loads, load{w.Name, n, false})
		}
	}
	r.Mail = append(r.Mail, measureLoads(p, g, r.Rounds, loads, func(string, load) bool { return true },
		func(string) time.Duration { return r.Cell })...)
	return nil
}

func find(cells []*cell, workload, contender string, cancellable bool, goroutines int) *cell {
	for _, c := range cells {
		if c.Workload == workload && c.Contender == contender && c.Cancellable == cancellable && c.Goroutines == goroutines {
			return c
		}
	}
	return nil
}
