package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/mailstore"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// session is a worker's side: one contender, opened once.
type session struct {
	dir       string
	contender *contender.Contender
	accounts  int
	base      int64         // resident before there was a database
	quietSave time.Duration // after save

	db    *contender.DB    // after open
	mail  *mailstore.Store // after mail
	works []workload.Workload
}

func (s *session) do(r request) (any, error) {
	switch r.Do {
	case "open":
		return nil, s.open(r)
	case "mail":
		return nil, s.openMail(r)
	case "run":
		return s.run(r)
	case "save":
		return nil, s.save()
	case "snapshot":
		return s.snapshot(r)
	case "growth":
		return s.growth(r)
	case "loadsave":
		return loadSave(s.dir, r)
	case "close":
		return nil, s.close()
	}
	return nil, fmt.Errorf("a worker cannot do %q", r.Do)
}

func (s *session) path() string { return filepath.Join(s.dir, "bench.db") }

// open opens and fills the contender.
func (s *session) open(r request) (err error) {
	if s.contender, err = contender.Named(r.Contender); err != nil {
		return err
	}
	if s.base, err = resident(); err != nil {
		return err
	}
	if s.db, err = s.contender.Open(s.path()); err != nil {
		return err
	}
	ctx := context.Background()
	s.accounts = r.Accounts
	if err := workload.Fill(ctx, s.db, r.Accounts, r.Filler); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	if err := workload.Prepare(ctx, s.db); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if err := s.db.Connect(ctx, r.Connections); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	s.works = workload.All()
	if s.contender.HasGorm() {
		g, err := s.contender.Gorm(s.db)
		if err != nil {
			return err
		}
		s.works = append(s.works, workload.Gorm(g)...)
	}
	return s.rest()
}

// openMail opens and fills go-imap-sql on the contender.
func (s *session) openMail(r request) (err error) {
	if s.contender, err = contender.Named(r.Contender); err != nil {
		return err
	}
	bodies := ""
	if r.Files {
		if bodies, err = os.MkdirTemp(s.dir, "bodies-"); err != nil {
			return err
		}
	}
	s.mail, err = mailstore.Open(strings.Replace(s.contender.MailStore, "PATH", s.path(), 1), bodies, r.Users)
	if err != nil {
		return err
	}
	for _, w := range mailstore.Workloads(r.Files) {
		s.works = append(s.works, workload.Workload{Name: w.Name, Op: func(int) workload.Op { return w.Op(s.mail) }})
	}
	return s.rest()
}

func (s *session) close() error {
	var errs []error
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.mail != nil {
		errs = append(errs, s.mail.Close())
	}
	s.db, s.mail = nil, nil
	return errors.Join(errs...)
}

func (s *session) retries() int64 {
	if s.mail != nil {
		return s.mail.Retries()
	}
	return s.db.Retries()
}

// rest leaves neither garbage nor pages to be written to the next in turn.
func (s *session) rest() error {
	runtime.GC()
	if s.mail != nil {
		return s.contender.Rest(context.Background(), s.mail.Pool())
	}
	return s.contender.Rest(context.Background(), s.db.Pool)
}

// run warms up for a tenth of the time, and measures.
func (s *session) run(r request) (*sample, error) {
	var op workload.Op
	for _, w := range s.works {
		if w.Name == r.Workload {
			op = w.Op(s.accounts)
		}
	}
	if op == nil {
		return nil, fmt.Errorf("%s: no workload %q", s.contender.Name, r.Workload)
	}
	load := measure.Load{Goroutines: r.Goroutines, Duration: r.Duration, Cancellable: r.Cancellable}
	warm := load
	warm.Goroutines, warm.Duration = min(r.Goroutines, 8), max(r.Duration/10, time.Millisecond)
	if _, err := measure.Run(s.db, op, warm); err != nil {
		return nil, err
	}
	before := s.retries()
	res, err := measure.Run(s.db, op, load)
	if err != nil {
		return nil, err
	}
	return &sample{
		Ops:         res.Ops,
		NsPerOp:     res.NsPerOp(),
		Percentiles: percentiles(&res.Latencies),
		Retries:     float64(s.retries()-before) / float64(res.Ops),
	}, s.rest()
}

// filler is what fills the rows of the large databases: with it one account takes
// about a page.
const filler = 2900

// accountsFor is how many accounts with filler make so many MB.
func accountsFor(mb int) int { return mb << 20 / 4230 }

func (s *session) dataBytes() (n int64, err error) {
	err = s.db.Read(context.Background(), func(ctx context.Context, c workload.Conn) error {
		return c.QueryRowContext(ctx, "SELECT page_count*page_size FROM pragma_page_count, pragma_page_size").Scan(&n)
	})
	return n, err
}

// resident is what this process has in memory, after Go has given back what it
// does not need.
func resident() (int64, error) {
	debug.FreeOSMemory()
	m, err := measure.ReadMemory()
	return m.Resident, err
}

// change writes one row, so that there is something to save.
func (s *session) change() error {
	_, err := measure.Run(s.db, workload.Named("PointWrite").Op(s.accounts), measure.Load{Goroutines: 1, Ops: 1})
	return err
}

// save saves twice, each time after a change: the first warms up, the second is timed.
func (s *session) save() (err error) {
	save := func() error { return s.db.Save(context.Background(), s.path()) }
	if err := errors.Join(s.change(), save(), s.change()); err != nil {
		return err
	}
	s.quietSave, err = timed(save)
	return err
}
