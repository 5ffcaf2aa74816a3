package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/mailstore"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/worker"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// session is the state of a worker: one contender, opened once.
type session struct {
	dir       string
	contender *contender.Contender
	accounts  int
	base      int64         // resident memory before the database was opened
	quietSave time.Duration // set by save

	db    *contender.DB    // set by open or openLive
	mail  *mailstore.Store // set by openMail
	loads *worker.Loads    // set by every open

	postgres *postgres // set by openPostgres
}

func (s *session) do(r request) (any, error) {
	switch r.Do {
	case "open", "users":
		return nil, s.open(r)
	case "live":
		return nil, s.openLive(r)
	case "postgres":
		return nil, s.openPostgres(r)
	case "mail":
		return nil, s.openMail(r)
	case "run":
		return s.loads.Run(r)
	case "save":
		return nil, s.save()
	case "snapshot":
		return s.snapshot(r)
	case "memory":
		return s.memory(r)
	case "growth":
		return s.growth(r)
	case "loadsave":
		return loadSave(s.dir, r)
	case "close":
		return nil, s.close()
	}
	return nil, fmt.Errorf("a worker has no request %q", r.Do)
}

func (s *session) path() string { return filepath.Join(s.dir, "bench.db") }

// open opens the contender and fills it for its loads.
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
	if s.loads, err = worker.Fill(ctx, s.db, r); err != nil {
		return err
	}
	s.loads.DB, s.loads.Retries = s.db, s.db.Retries
	s.loads.Rest = func() error { return s.contender.Rest(ctx, s.db.Pool) }
	prepare := workload.Prepare
	if r.Do == "users" {
		prepare = workload.PrepareUsers
	}
	if err := prepare(ctx, s.db); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if s.contender.HasGorm() && r.Do == "open" {
		g, err := s.contender.Gorm(s.db)
		if err != nil {
			return err
		}
		s.loads.Works = append(s.loads.Works, workload.Gorm(g)...)
	}
	return s.loads.Settle()
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
	s.mail, err = mailstore.Open(strings.Replace(s.contender.MailStore, "PATH", s.path(), 1), bodies, r.MailUsers)
	if err != nil {
		return err
	}
	s.loads = &worker.Loads{Retries: s.mail.Retries, Rest: func() error { return s.contender.Rest(context.Background(), s.mail.Pool()) }}
	for _, w := range mailstore.Workloads(r.Files) {
		s.loads.Works = append(s.loads.Works, workload.Workload{Name: w.Name, Op: func(int) workload.Op { return w.Op(s.mail) }})
	}
	return s.loads.Settle()
}

func (s *session) close() error {
	var errs []error
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.mail != nil {
		errs = append(errs, s.mail.Close())
	}
	if s.postgres != nil {
		errs = append(errs, s.postgres.close())
	}
	s.db, s.mail, s.postgres = nil, nil, nil
	return errors.Join(errs...)
}

// filler is the extra bytes in each row of the large databases. With it one account
// takes about a page.
const filler = 2900

// accountsFor returns how many accounts with filler make a database of mb MB.
func accountsFor(mb int) int { return mb << 20 / 4230 }

func (s *session) dataBytes() (n int64, err error) {
	err = s.db.Read(context.Background(), func(ctx context.Context, c workload.Conn) error {
		return c.QueryRowContext(ctx, "SELECT page_count*page_size FROM pragma_page_count, pragma_page_size").Scan(&n)
	})
	return n, err
}

// resident returns the resident memory of this process, after Go has returned free
// memory to the system.
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

// save saves twice, each time after a change. The first save warms up, the second is
// timed.
func (s *session) save() (err error) {
	save := func() error { return s.db.Save(context.Background(), s.path()) }
	if err := errors.Join(s.change(), save(), s.change()); err != nil {
		return err
	}
	s.quietSave, err = timed(save)
	return err
}
