// Command report measures sqlite-mem and its peers side by side and writes a page
// with tables and plots. See ../../README.md.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
)

type options struct {
	short        bool
	large, huge  bool
	rounds       int
	cell         time.Duration
	accounts     int
	out, dir     string
	only, from   string
	contenders   string
	goroutines   []int
	snapshotMB   []int
	snapshots    int // rounds of them
	quiet        float64
	growthMB     []int
	growthRounds int
	commits      int
}

func main() {
	var o options
	var child string
	flag.BoolVar(&o.short, "short", false, "everything small and once: that it works, not how fast")
	flag.BoolVar(&o.large, "large", false, "snapshots of 1 GiB, too")
	flag.BoolVar(&o.huge, "huge", false, "growth to 4 GiB")
	flag.IntVar(&o.rounds, "rounds", 6, "rounds over all contenders")
	flag.DurationVar(&o.cell, "time", 100*time.Millisecond, "how long each load runs in each round")
	flag.IntVar(&o.accounts, "accounts", 100_000, "accounts in the database")
	flag.StringVar(&o.out, "out", "", "directory for the report (default results/DATE)")
	flag.StringVar(&o.dir, "dir", "", "directory for databases, on the disk to measure (default: the system's for temporary files)")
	flag.StringVar(&o.only, "only", "throughput,snapshot,loadsave,growth", "parts")
	flag.StringVar(&o.contenders, "contenders", "", "names, with commas (default all; sqlite-mem always)")
	flag.StringVar(&o.from, "from", "", "write the page again from this results.json, without measuring")
	flag.StringVar(&child, "child", "", "for the command itself")
	flag.Parse()
	var err error
	if child != "" {
		err = runChild(child)
	} else {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func (o *options) wants(name string) bool {
	return o.contenders == "" || name == contender.Reference || slices.Contains(strings.Split(o.contenders, ","), name)
}

func (o *options) has(part string) bool { return slices.Contains(strings.Split(o.only, ","), part) }

func (o *options) sizes() {
	o.goroutines = []int{1, 2, 8, 64}
	o.snapshotMB, o.snapshots, o.quiet = []int{300}, 3, 4
	o.growthMB, o.growthRounds, o.commits = []int{10, 30, 100, 300, 1000}, 1, 5000
	if o.large {
		o.snapshotMB = append(o.snapshotMB, 1024)
	}
	if o.huge {
		o.growthMB = append(o.growthMB, 2048, 4096)
	}
	if o.short {
		o.rounds, o.cell, o.accounts = 1, 5*time.Millisecond, 2000
		o.snapshotMB, o.snapshots, o.quiet = []int{20}, 1, 0.4
		o.growthMB, o.commits = []int{5, 10}, 100
	}
}

func run(o options) (err error) {
	if o.from != "" {
		var r results
		text, err := os.ReadFile(o.from)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s: %w", o.from, err)
		}
		if o.out == "" {
			o.out = filepath.Dir(o.from)
		}
		return write(&r, o.out)
	}
	o.sizes()
	if o.dir, err = os.MkdirTemp(o.dir, "sqlite-mem-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()

	start := time.Now()
	p := &progress{start: start}
	r := &results{Rounds: o.rounds, Accounts: o.accounts, Cell: o.cell}
	if r.Machine, err = readMachine(o.dir); err != nil {
		return err
	}
	if o.out == "" {
		o.out = filepath.Join("results", r.Machine.Date)
	}
	if o.has("throughput") {
		if err := throughput(r, o, p); err != nil {
			return err
		}
	}
	if o.has("snapshot") {
		for _, mb := range o.snapshotMB {
			for round := range o.snapshots {
				for _, c := range contender.All() {
					if c.Save == "" || !o.wants(c.Name) {
						continue
					}
					p.step("snapshot of %d MB, round %d/%d, %s", mb, round+1, o.snapshots, c.Name)
					s := &snapshotRun{}
					if err := inChild(job{Kind: "snapshot", Contender: c.Name, MB: mb, Round: round, Seconds: o.quiet, Dir: o.dir}, s); err != nil {
						s = &snapshotRun{Contender: c.Name, MB: mb, Round: round, Err: err.Error()}
					}
					p.failed(s.Err)
					r.Snapshots = append(r.Snapshots, s)
				}
			}
		}
	}
	if o.has("loadsave") {
		for _, mb := range o.snapshotMB {
			for round := range o.snapshots {
				p.step("load and save of %d MB, round %d/%d", mb, round+1, o.snapshots)
				s := &loadSaveRun{}
				if err := inChild(job{Kind: "loadsave", MB: mb, Round: round, Dir: o.dir}, s); err != nil {
					s = &loadSaveRun{MB: mb, Round: round, Err: err.Error()}
				}
				p.failed(s.Err)
				r.LoadSave = append(r.LoadSave, s)
			}
		}
	}
	if o.has("growth") {
		for _, name := range []string{contender.Reference, "madmail", "mattn-memdb", "mattn-memory-1conn", "ncruces-mvcc"} {
			if !o.wants(name) {
				continue
			}
			p.step("growth of %s", name)
			g := &growthRun{}
			if err := inChild(job{Kind: "growth", Contender: name, SizesMB: o.growthMB, Commits: o.commits, Dir: o.dir}, g); err != nil {
				g = &growthRun{Contender: name, Err: err.Error()}
			}
			p.failed(g.Err)
			r.Growth = append(r.Growth, g)
		}
	}
	r.Took = time.Since(start).Round(time.Second)
	if err := write(r, o.out); err != nil {
		return err
	}
	p.step("%s", filepath.Join(o.out, "README.md"))
	return nil
}

// progress tells on the standard error how far it is.
type progress struct{ start time.Time }

func (p *progress) step(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.0fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

func (p *progress) bar(done, total int, format string, args ...any) {
	p.step("%3d%%  %s", 100*(done-1)/total, fmt.Sprintf(format, args...))
}

func (p *progress) failed(message string) {
	if message != "" {
		p.step("  failed: %s", message)
	}
}
