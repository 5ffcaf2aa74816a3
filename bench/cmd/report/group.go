package main

import (
	"math/rand/v2"

	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// member is a worker with the name by which its figures are kept.
type member struct {
	*worker
	name string
}

// group are workers that take turns. One that fails to open stays in it, and
// answers everything with that error.
type group struct {
	dir     string
	members []*member
	rnd     *rand.Rand
	p       *progress
}

func newGroup(dir string, p *progress) *group {
	return &group{dir: dir, rnd: rand.New(rand.NewPCG(workload.Seed, 0)), p: p}
}

// add starts a worker and makes it ready. Only failures that are not the
// contender's are returned.
func (g *group) add(name string, requests ...request) error {
	w, err := newWorker(g.dir)
	if err != nil {
		return err
	}
	g.members = append(g.members, &member{w, name})
	for _, r := range requests {
		if err := w.ask(r, nil); err != nil {
			g.p.failed(name, err)
			w.dead = err
			break
		}
	}
	return nil
}

// turn are the members in an order drawn by chance, so that nobody always comes
// behind the same other.
func (g *group) turn() []*member {
	all := make([]*member, len(g.members))
	for i, j := range g.rnd.Perm(len(g.members)) {
		all[i] = g.members[j]
	}
	return all
}

// stop closes the contenders; what fails then is reported and stops nobody else.
func (g *group) stop() {
	for _, m := range g.members {
		if err := m.stop(); err != nil {
			g.p.failed(m.name+", close", err)
		}
	}
	g.members = nil
}
