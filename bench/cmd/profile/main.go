// Command profile divides the processor time of a load by the owner of the code, for
// several contenders side by side. It needs perf(1), and the rights to use it.
//
//	go -C bench run ./cmd/profile -work PointRead -goroutines 1 -contenders sqlite-mem,mattn-memory-1conn
//
// The loads are those of the report that can go on for a time: PointRead and its
// neighbours, GormRead and the others through GORM, and Query10 and the others that read
// users, articles and comments.
//
// Each contender is filled and then sampled for -time, in a process of its own. The
// table has the processor time of one operation in nanoseconds, over all threads.
// With several goroutines it is more than the time of the run divided by the
// operations.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

type options struct {
	work, contenders string
	goroutines       int
	cancellable      bool
	time             time.Duration
	accounts         int
	child            string // the contender that this process runs
	dir              string // of the databases and samples
	binary           string // this command, built with the names of its functions
}

func main() {
	var o options
	flag.StringVar(&o.work, "work", "PointRead", "name of the load")
	flag.StringVar(&o.contenders, "contenders", contender.Reference+",mattn-memory-1conn", "names, separated by commas")
	flag.IntVar(&o.goroutines, "goroutines", 1, "goroutines that run the load")
	flag.BoolVar(&o.cancellable, "cancellable", false, "use contexts that can be cancelled")
	flag.DurationVar(&o.time, "time", 5*time.Second, "how long each contender is sampled")
	flag.IntVar(&o.accounts, "accounts", workload.Accounts, "accounts in the database")
	flag.StringVar(&o.child, "child", "", "used by the command itself")
	flag.StringVar(&o.dir, "dir", "", "used by the command itself")
	flag.Parse()
	run := parent
	if o.child != "" {
		run = child
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
}

// outcome is the result of a child's run.
type outcome struct {
	Ops int64
	CPU time.Duration // of the process, in the run
}

// child runs the load when a line comes in, and prints the outcome.
func child(o options) (err error) {
	c, err := contender.Named(o.child)
	if err != nil {
		return err
	}
	db, err := c.Open(filepath.Join(o.dir, c.Name+".db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ctx := context.Background()
	if err := errors.Join(workload.Fill(ctx, db, o.accounts, 0), workload.Prepare(ctx, db), db.Connect(ctx, contender.MaxGoroutines)); err != nil {
		return err
	}
	op, batch, err := find(ctx, c, db, o)
	if err != nil {
		return err
	}
	load := measure.Load{Batch: batch, Goroutines: o.goroutines, Cancellable: o.cancellable, Duration: o.time / 10}
	if _, err := measure.Run(db, op, load); err != nil { // warms up
		return err
	}
	fmt.Println("ready")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	before, err := processTime()
	if err != nil {
		return err
	}
	load.Duration = o.time
	r, err := measure.Run(db, op, load)
	if err != nil {
		return err
	}
	after, err := processTime()
	if err != nil {
		return err
	}
	err = json.NewEncoder(os.Stdout).Encode(outcome{Ops: r.Ops, CPU: after - before})
	_, _ = io.Copy(io.Discard, os.Stdin) // waits for the end of the sampling
	return err
}

// find makes ready the load of a name, which is one of the report, through GORM, or of users
// and articles.
func find(ctx context.Context, c *contender.Contender, db *contender.DB, o options) (op workload.Op, batch int, err error) {
	works := db.Works()
	if strings.HasPrefix(o.work, "Gorm") {
		g, err := c.Gorm(db)
		if err != nil {
			return nil, 0, err
		}
		works = workload.Gorm(g)
	}
	for _, l := range workload.Users(workload.FullUsers, db.Users()) {
		if l.Name != o.work {
			continue
		}
		if strings.HasSuffix(l.Name, "Insert") {
			return nil, 0, fmt.Errorf("%s inserts certain rows, and cannot go on for a time", l.Name)
		}
		return l.Op, 1, errors.Join(workload.UserSchema(ctx, db), workload.PrepareUsers(ctx, db), l.Before(ctx, db))
	}
	work, err := workload.Find(works, o.work)
	if err != nil {
		return nil, 0, err
	}
	return work.Op(o.accounts), work.Batch, nil
}

func processTime() (time.Duration, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

func parent(o options) (err error) {
	if _, err := exec.LookPath("perf"); err != nil {
		return fmt.Errorf("perf is missing; install the package linux-perf or linux-tools: %w", err)
	}
	engine, err := engineFunctions("../internal/memvfs")
	if err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp("", "profile"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	o.binary = filepath.Join(o.dir, "profile")
	// go run leaves out the names of functions.
	build := exec.Command("go", "build", "-o", o.binary, "./cmd/profile")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	names := strings.Split(o.contenders, ",")
	var profiles []profile
	for _, name := range names {
		fmt.Fprintf(os.Stderr, "%s\n", name)
		p, err := record(o, name, engine)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		profiles = append(profiles, p)
	}
	context := "background"
	if o.cancellable {
		context = "cancellable"
	}
	fmt.Printf("%s, goroutines: %d, %s context: processor time of one operation, in ns\n\n", o.work, o.goroutines, context)
	return write(os.Stdout, names, profiles)
}

// record samples one contender.
func record(o options, name string, engine map[string]bool) (p profile, err error) {
	// Both processes end by themselves, or by the timeout if something goes wrong.
	ctx, cancel := context.WithTimeout(context.Background(), 2*o.time+2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.binary, "-child", name, "-dir", o.dir, "-work", o.work, fmt.Sprint("-goroutines=", o.goroutines),
		fmt.Sprint("-cancellable=", o.cancellable), fmt.Sprint("-time=", o.time), fmt.Sprint("-accounts=", o.accounts))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return p, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return p, err
	}
	if err := cmd.Start(); err != nil {
		return p, err
	}
	var ready string
	if _, err := fmt.Fscanln(out, &ready); err != nil {
		return p, errors.Join(err, cmd.Wait())
	}
	data := filepath.Join(o.dir, name+".perf")
	perf := exec.CommandContext(ctx, "perf", "record", "-q", "-o", data, "-p", fmt.Sprint(cmd.Process.Pid))
	perf.Stderr = os.Stderr
	if err := perf.Start(); err != nil {
		return p, errors.Join(err, in.Close(), cmd.Wait())
	}
	var result outcome
	_, err = io.WriteString(in, "\n")
	if err == nil {
		err = json.NewDecoder(out).Decode(&result)
	}
	// perf writes its samples, and then reports the signal as its own error.
	err = errors.Join(err, perf.Process.Signal(os.Interrupt))
	_ = perf.Wait()
	if err := errors.Join(err, in.Close(), cmd.Wait()); err != nil {
		return p, err
	}
	report, err := exec.CommandContext(ctx, "perf", "report", "-q", "-i", data, "--no-children", "-g", "none", "--percent-limit", "0", "--stdio",
		"--sort", "dso,symbol", "-t", "|").Output()
	if err != nil {
		return p, err
	}
	p = parse(string(report), engine, float64(result.CPU.Nanoseconds())/float64(max(result.Ops, 1)))
	if len(p.by) == 0 {
		return p, errors.New("perf has no sample: try a longer -time")
	}
	return p, nil
}
