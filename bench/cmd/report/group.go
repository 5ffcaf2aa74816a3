package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"strings"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// member is a worker with the name for its figures.
type member struct {
	*process
	name string
}

// group is a set of workers that take turns. A worker whose contender cannot be opened
// stays in it and answers every request with that error.
type group struct {
	dir     string
	members []*member
	rnd     *rand.Rand
	p       *progress
}

func newGroup(dir string, p *progress) *group {
	return &group{dir: dir, rnd: rand.New(rand.NewPCG(workload.Seed, 0)), p: p}
}

// add starts a worker and sends it requests. A failure of the contender is reported,
// not returned.
func (g *group) add(name string, requests ...request) error {
	return g.start(name, "", requests...)
}

// open adds the worker of a contender and sends it r. The worker is the contender's own
// program if it has one.
func (g *group) open(c *contender.Contender, r request) error {
	r.Contender, r.DSN = c.Name, c.DSN
	if c.Worker == "" {
		return g.add(c.Name, r)
	}
	g.p.step("build %s", c.Worker)
	binary, err := build(g.dir, c.Worker)
	if err != nil {
		g.p.failed(c.Name, err)
		return nil
	}
	defer os.Remove(binary) // the process has it open
	return g.start(c.Name, binary, r)
}

// build builds a command of this module into dir.
func build(dir, command string) (binary string, err error) {
	f, err := os.CreateTemp(dir, path.Base(command)+"-")
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", f.Name(), command).CombinedOutput()
	if err != nil {
		return "", errors.Join(fmt.Errorf("go build %s: %w: %s", command, err, strings.ReplaceAll(string(out), dir, "DIR")), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func (g *group) start(name, binary string, requests ...request) error {
	w, err := newWorker(g.dir, binary)
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

// turn returns the members in random order, so that none always comes after the same
// other.
func (g *group) turn() []*member {
	all := make([]*member, len(g.members))
	for i, j := range g.rnd.Perm(len(g.members)) {
		all[i] = g.members[j]
	}
	return all
}

// stop closes the contenders. A failure is reported, and the others are still closed.
func (g *group) stop() {
	for _, m := range g.members {
		if err := m.stop(); err != nil {
			g.p.failed(m.name+", close", err)
		}
	}
	g.members = nil
}
