// Package worker runs the workers of the report. A worker reads requests as lines of
// JSON from its standard input and answers each on its standard output. The package
// imports no driver, so a driver that does not link beside another can have a worker of
// its own.
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// Request asks a worker to do something.
type Request struct {
	Do string // a name that the worker's session knows

	// open, users, mail
	Contender   string
	DSN         string // of the contender
	Accounts    int
	Filler      int  // extra bytes in each row
	Connections int  // opened before the first measurement
	Files       bool // mail: the bodies are kept in files
	MailUsers   int  // mail
	Short       bool // users: small

	// run
	Workload    string
	Goroutines  int
	Cancellable bool
	Duration    time.Duration // unused by loads of workload.Users, which run a number of times

	MB      int           // loadsave: the size of the file
	Repeats int           // loadsave: of each step; the median counts
	Quiet   time.Duration // snapshot: how long the load runs without a save
	Commits int           // growth
	Same    int           // growth: the accounts that every size has
}

// Answer is the answer of a worker.
type Answer struct {
	Err    string          `json:",omitempty"`
	Result json.RawMessage `json:",omitempty"`
}

// Sample is the result of a run.
type Sample struct {
	Ops     int64
	NsPerOp float64
	// Of single operations, in nanoseconds, as measure.Percentiles.
	Percentiles []float64
	Retries     float64 // for each operation
	Err         string  `json:",omitempty"`
}

// Percentiles returns the percentiles of measure.Percentiles in nanoseconds.
func Percentiles(l *measure.Latencies) []float64 {
	var v []float64
	for _, p := range measure.Percentiles {
		v = append(v, float64(l.Percentile(p.Share)))
	}
	return v
}

// Serve answers requests with the results of do, until in ends.
func Serve(in io.Reader, out io.Writer, do func(Request) (any, error)) error {
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var r Request
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var a Answer
		result, err := do(r)
		if err == nil {
			a.Result, err = json.Marshal(result)
		}
		if err != nil {
			a = Answer{Err: err.Error()}
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
}

// Database is an open database of any contender.
type Database interface {
	workload.Execer
	Connect(ctx context.Context, n int) error
	Works() []workload.Workload
	Users() workload.UserOps
}

// Loads are the loads that can run on a database.
type Loads struct {
	Execer   workload.Execer     // prepares the tables for a load of Users
	DB       workload.DB         // nil: the operations need none
	Works    []workload.Workload // run for a time
	Accounts int
	Users    []workload.UserLoad // run a number of times
	Retries  func() int64        // nil: there are none
	Rest     func() error        // cleans up after each run, in addition to the garbage collection; nil: nothing to do
}

// Fill fills an empty database for a request, "open" or "users", and opens its
// connections.
func Fill(ctx context.Context, db Database, r Request) (*Loads, error) {
	l := &Loads{Execer: db}
	if r.Do == "users" {
		if err := workload.UserSchema(ctx, db); err != nil {
			return nil, fmt.Errorf("fill: %w", err)
		}
		l.Users = workload.Users(workload.UserSizesOf(r.Short), db.Users())
	} else {
		if err := workload.Fill(ctx, db, r.Accounts, r.Filler); err != nil {
			return nil, fmt.Errorf("fill: %w", err)
		}
		l.Works, l.Accounts = db.Works(), r.Accounts
	}
	if err := db.Connect(ctx, r.Connections); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return l, nil
}

// Run runs a load. A load that runs for a time warms up for a tenth of it. A load of
// Users first prepares its tables.
func (l *Loads) Run(r Request) (*Sample, error) {
	load := measure.Load{Goroutines: r.Goroutines, Duration: r.Duration, Cancellable: r.Cancellable}
	op, err := l.prepare(r, &load)
	if err != nil {
		return nil, err
	}
	before := l.retries()
	res, err := measure.Run(l.DB, op, load)
	if err != nil {
		return nil, err
	}
	return &Sample{
		Ops:         res.Ops,
		NsPerOp:     res.NsPerOp(),
		Percentiles: Percentiles(&res.Latencies),
		Retries:     float64(l.retries()-before) / float64(max(res.Ops, 1)),
	}, l.Settle()
}

// prepare finds the operation of a load and prepares its run.
func (l *Loads) prepare(r Request, load *measure.Load) (workload.Op, error) {
	if w, err := workload.Find(l.Works, r.Workload); err == nil {
		op := w.Op(l.Accounts)
		load.Batch = w.Batch
		warm := *load
		warm.Goroutines, warm.Duration = min(r.Goroutines, 8), max(r.Duration/10, time.Millisecond)
		_, err := measure.Run(l.DB, op, warm)
		return op, err
	}
	for _, u := range l.Users {
		if u.Name == r.Workload && u.Goroutines == r.Goroutines {
			load.Ops, load.Duration = u.Ops, 0
			if err := u.Before(context.Background(), l.Execer); err != nil {
				return nil, fmt.Errorf("prepare the tables: %w", err)
			}
			return u.Op, l.Settle()
		}
	}
	return nil, fmt.Errorf("no workload %q for %d goroutines", r.Workload, r.Goroutines)
}

func (l *Loads) retries() int64 {
	if l.Retries == nil {
		return 0
	}
	return l.Retries()
}

// Settle collects the garbage and finishes writes, so that the next in turn does not
// pay for them.
func (l *Loads) Settle() error {
	runtime.GC()
	if l.Rest == nil {
		return nil
	}
	return l.Rest()
}
