// Command report measures sqlite-mem and its peers side by side and writes a page
// with tables and plots. See ../../README.md.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/mailstore"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

type options struct {
	short, huge  bool
	rounds       int
	userRounds   int
	cell         time.Duration
	accounts     int
	goroutines   []int
	writers      []int
	commitRounds int
	commitTime   time.Duration
	memoryRounds int // each as long as commitTime
	mailUsers    int
	snapshotMB   []int
	snapshots    int           // rounds
	quiet        time.Duration // of each round, without a save
	loadMB       int
	repeats      int // of each step that depends on the disk
	growthMB     []int
	growthRounds int
	commits      int // in each round

	out, dir   string
	only, from string
	contenders string
}

func main() {
	var o options
	var workerDir string
	flag.BoolVar(&o.short, "short", false, "run everything once and small, to see that it works; the figures mean nothing")
	flag.BoolVar(&o.huge, "huge", false, "measure growth up to 4 GiB")
	flag.IntVar(&o.rounds, "rounds", 7, "number of rounds")
	flag.DurationVar(&o.cell, "time", 150*time.Millisecond, "how long each load runs in a round")
	flag.IntVar(&o.accounts, "accounts", workload.Accounts, "accounts in the database")
	flag.StringVar(&o.out, "out", "", "directory for the report (default results/DATE)")
	flag.StringVar(&o.dir, "dir", "", "directory for the databases, on the disk to measure (default: the directory for temporary files)")
	flag.StringVar(&o.only, "only", "throughput,users,commits,memory,mail,live,snapshot,loadsave,growth", "parts to run, separated by commas")
	flag.StringVar(&o.contenders, "contenders", "", "names, separated by commas (default: all); sqlite-mem always runs")
	flag.StringVar(&o.from, "from", "", "do not measure; write the page again from this results.json")
	flag.StringVar(&workerDir, "worker", "", "used by the command itself")
	flag.Parse()
	var err error
	if workerDir != "" {
		err = serve(workerDir, os.Stdin, os.Stdout)
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
	o.goroutines, o.writers = []int{1, 2, 8, 64}, []int{1, 8, 64}
	o.userRounds = 3
	o.commitRounds, o.commitTime, o.memoryRounds = 3, time.Second, 5
	o.mailUsers = mailstore.Users
	o.snapshotMB, o.snapshots, o.quiet = []int{300, 1024}, 5, 2*time.Second
	o.loadMB, o.repeats = 300, 3
	o.growthMB, o.growthRounds, o.commits = []int{10, 100, 1000}, 5, 5000
	if o.huge {
		o.growthMB = append(o.growthMB, 2048, 4096)
	}
	if o.short {
		o.rounds, o.cell, o.accounts = 1, 2*time.Millisecond, 2000
		o.goroutines, o.writers = []int{1, 8}, []int{1, 8}
		o.userRounds = 1
		o.commitRounds, o.commitTime, o.memoryRounds = 1, 10*time.Millisecond, 1
		o.mailUsers = 20
		o.snapshotMB, o.snapshots, o.quiet = []int{10}, 1, 200*time.Millisecond
		o.loadMB, o.repeats = 10, 1
		o.growthMB, o.growthRounds, o.commits = []int{5, 10}, 1, 100
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
	if o.out == "" {
		o.out = filepath.Join("results", today())
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, unix.SIGTERM)
	go func() {
		<-interrupted
		fmt.Fprintln(os.Stderr, "report: interrupted; the finished parts are in", o.out)
		_ = os.RemoveAll(o.dir) // the workers may still add files; they end after this process
		os.Exit(1)
	}()
	p := &progress{start: time.Now()}
	if err := measureAll(o, p, func(r *results) error { return write(r, o.out) }); err != nil {
		return err
	}
	p.step("%s", filepath.Join(o.out, "README.md"))
	return nil
}

// measureAll runs the parts, and calls save after each with the results so far. A
// contender that fails is reported, and the others go on. An error is one of the bench
// itself.
func measureAll(o options, p *progress, save func(*results) error) (err error) {
	r := &results{Short: o.short, Rounds: o.rounds, Accounts: o.accounts, Cell: o.cell, UserRounds: o.userRounds, CommitCell: o.commitTime}
	r.Machine = readMachine(o.dir)
	part := func(name string, fn func() error) {
		if err != nil || !o.has(name) {
			return
		}
		if err = fn(); err == nil {
			r.Failures = p.failures
			r.Took = time.Since(p.start).Round(time.Second)
			err = save(r)
		}
	}
	part("throughput", func() error { return throughput(r, o, p) })
	part("users", func() error { return users(r, o, p) })
	part("commits", func() error { return commits(r, o, p) })
	part("memory", func() error { return memory(r, o, p) })
	part("mail", func() error { return mail(r, o, p) })
	part("live", func() error { return live(r, o, p) })
	for _, mb := range o.snapshotMB {
		part("snapshot", func() error { return snapshots(r, o, p, mb) })
	}
	part("loadsave", func() error { return loadsave(r, o, p) })
	for _, name := range grown {
		if o.wants(name) {
			part("growth", func() error { return growth(r, o, p, name) })
		}
	}
	return err
}

// progress writes the progress to the standard error, and collects failures.
type progress struct {
	start    time.Time
	failures []string
}

func (p *progress) step(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.0fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

func (p *progress) bar(done, total int, format string, args ...any) {
	p.step("%3d%%  %s", 100*done/total, fmt.Sprintf(format, args...))
}

func (p *progress) failed(what string, err error) {
	p.failures = append(p.failures, what+": "+err.Error())
	p.step("  failed: %s: %v", what, err)
}
