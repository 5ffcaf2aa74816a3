//go:build cgo

package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	_ "github.com/mattn/go-sqlite3" // the plain driver, "sqlite3"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

var demoCommand = command{
	name:     "demo",
	operands: "[FILE]",
	summary:  "serve a database from memory, and tell how it went",
	details: `
Without FILE it makes a mail server's database; with FILE it works on a copy of
that one, any SQLite database, which is only read. It loads it into memory and
serves reads, writes and transactions from many goroutines: first as many as
possible, then so many a second, each without snapshots and with one after the
other; and tells how long the operations took. At the end SQLite itself checks
the file that was saved, and what was committed is looked for in it. Ctrl-C
ends the serving, not the report.
`,
	setUp: func(flags *flag.FlagSet) func(context.Context, []string, io.Writer) error {
		var o demoOptions
		flags.IntVar(&o.goroutines, "goroutines", 64, "serve from `N` goroutines")
		flags.Float64Var(&o.seconds, "seconds", 8, "serve for `N` seconds")
		flags.IntVar(&o.accounts, "accounts", 100_000, "make `N` accounts (without FILE)")
		flags.DurationVar(&o.interval, "interval", 0, "`TIME` between two snapshots; 0s: one after the other")
		flags.IntVar(&o.rate, "rate", 0, "do `N` operations a second in the second half, not a quarter")
		flags.StringVar(&o.keep, "keep", "", "work in the folder `DIR` and leave the database there")
		return func(ctx context.Context, operands []string, stdout io.Writer) error {
			if len(operands) > 1 {
				return tooMany(operands[1])
			}
			if len(operands) == 1 {
				o.file = operands[0]
				flags.Visit(func(f *flag.Flag) { o.accountsSet = o.accountsSet || f.Name == "accounts" })
			}
			if err := o.check(); err != nil {
				return err
			}
			return demo(ctx, o, stdout)
		}
	},
}

type demoOptions struct {
	file        string // empty: make one
	goroutines  int
	seconds     float64
	accounts    int
	accountsSet bool
	interval    time.Duration
	rate        int // 0: a quarter of what is possible
	keep        string
}

func (o demoOptions) check() error {
	switch {
	case o.goroutines < 1 || o.goroutines > 10_000:
		return usageError("-goroutines " + strconv.Itoa(o.goroutines) + ": want 1 to 10000")
	case !(o.seconds > 0 && o.seconds <= 1e6):
		return usageError(fmt.Sprintf("-seconds %v: want more than 0, up to 1000000", o.seconds))
	case o.accountsSet:
		return usageError("-accounts goes without FILE")
	case o.file == "" && o.accounts < o.goroutines:
		return usageError("-accounts " + strconv.Itoa(o.accounts) + ": want at least one for each goroutine")
	case o.accounts > 100_000_000:
		return usageError("-accounts " + strconv.Itoa(o.accounts) + ": want at most 100000000")
	case o.rate < 0 || o.rate > 100_000_000:
		return usageError("-rate " + strconv.Itoa(o.rate) + ": want 0 to 100000000")
	case o.interval < 0:
		return usageError("-interval " + o.interval.String() + ": want 0 or more")
	}
	return nil
}

// demonstration is one run of the demo.
type demonstration struct {
	demoOptions
	*screen
	dir      string // where it works
	path     string // the database
	workload workload

	report report
}

// errClaims is the error of a demo whose report says FAILED somewhere.
var errClaims = errors.New("the demo has failed, see the report")

func demo(ctx context.Context, o demoOptions, stdout io.Writer) (err error) {
	// Whatever the environment says: a tool would have nothing to show.
	if err := driver.SetRole(driver.RoleServer); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.SetRole("")) }()

	d := &demonstration{demoOptions: o, screen: newScreen(stdout)}
	d.line("sqlite-mem demo: %s, %s, %s/%s", plural(o.goroutines, "goroutine"),
		plural(runtime.GOMAXPROCS(0), "CPU"), runtime.GOOS, runtime.GOARCH)
	remove, err := d.folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if o.file == "" {
		err = d.makeMail(ctx)
	} else {
		err = d.copyFile(ctx)
	}
	if ctx.Err() != nil {
		d.line("")
		return errors.New("interrupted before there was anything to report")
	}
	if err != nil {
		return err
	}
	if err := d.serve(ctx); err != nil {
		return err
	}
	// The report is made also when the serving was interrupted.
	ctx = context.WithoutCancel(ctx)
	if err := d.verify(ctx); err != nil {
		return err
	}
	if !d.report.write(d.screen) {
		return errClaims
	}
	return nil
}

// folder makes the folder to work in, and returns what removes it.
func (d *demonstration) folder() (remove func() error, err error) {
	if d.keep != "" {
		if err := os.MkdirAll(d.keep, 0o700); err != nil {
			return nil, err
		}
		d.dir = d.keep
		d.line("%-9s %s", "folder", d.dir)
		return func() error { return nil }, nil
	}
	if d.dir, err = os.MkdirTemp("", "sqlite-mem-demo-"); err != nil {
		return nil, err
	}
	d.line("%-9s %s, removed at the end", "folder", d.dir)
	return func() error { return os.RemoveAll(d.dir) }, nil
}

// open opens the database with the driver, for n goroutines. The file is saved on
// demand and on Close only. There is a log, as by default.
func (d *demonstration) open(n int, onSync func(driver.SyncEvent)) (*sql.DB, error) {
	connector, err := driver.NewConnector(&driver.Config{
		Path:         d.path,
		SyncInterval: 365 * 24 * time.Hour,
		OnSync:       onSync,
		Logger:       slog.New(slog.DiscardHandler), // errors come back from Sync and Close
	})
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// makeMail makes the mail server's database and saves it.
func (d *demonstration) makeMail(ctx context.Context) (err error) {
	d.path = filepath.Join(d.dir, "mail.db")
	if _, err := os.Lstat(d.path); err == nil {
		return fmt.Errorf("%s is there already, and is not overwritten", d.path)
	}
	db, err := d.open(1, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	m := newMail(d.accounts)
	d.workload = m
	d.report.what = "a mail server's database"

	start := time.Now()
	err = m.fill(ctx, db, func(done int) { d.progress("make", done, d.accounts, "accounts") })
	if err != nil {
		return err
	}
	d.line("%-9s %s in %s", "make", plural(d.accounts, "account"), duration(time.Since(start)))
	start = time.Now()
	if err := driver.Sync(ctx, db); err != nil {
		return err
	}
	st, err := driver.ReadStats(db)
	if err != nil {
		return err
	}
	d.line("%-9s %s in %s", "save", size(st.LastBytes), duration(time.Since(start)))
	return nil
}

// serve loads the database and serves it.
func (d *demonstration) serve(ctx context.Context) (err error) {
	r := &d.report
	debug.FreeOSMemory() // what making it has left
	r.residentBefore, _ = resident()
	r.peakKnown = resetPeak()

	saves := newSaves()
	db, err := d.open(d.goroutines, saves.add)
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			err = errors.Join(err, db.Close())
		}
	}()
	start := time.Now()
	if err := db.PingContext(ctx); err != nil {
		return err
	}
	r.loadTook = time.Since(start)
	st, err := driver.ReadStats(db)
	if err != nil {
		return err
	}
	r.loaded = st.DataBytes
	r.residentLoaded, _ = resident()
	d.line("%-9s %s in %s", "load", size(r.loaded), duration(r.loadTook))

	if err := d.workload.prepare(ctx, db, d.goroutines); err != nil {
		return err
	}
	t := newTraffic(d.workload, d.goroutines, saves)
	t.db, t.screen, t.pause = db, d.screen, max(d.interval, time.Millisecond)
	part := time.Duration(d.seconds * float64(time.Second) / 4)

	// Connections and statement caches are made by the first operations, and
	// memory is touched for the first time: they are not measured.
	var warm phase
	if err := t.serve(ctx, min(part/4, 500*time.Millisecond), &warm); err != nil {
		return err
	}
	t.forget()
	for _, p := range []phase{{load: full}, {load: full, withSaves: true}, {load: paced}, {load: paced, withSaves: true}} {
		if p.load == paced {
			p.rate = float64(d.rate)
			if p.rate == 0 {
				p.rate = max(r.phases[0].perSecond()/4, 1)
			}
		}
		err = d.phase(ctx, t, part, &p)
		r.phases = append(r.phases, p)
		if err != nil || ctx.Err() != nil {
			break
		}
	}
	r.interrupted = ctx.Err() != nil
	r.failed, r.firstErr = t.failed(), t.firstError()
	if err != nil && r.firstErr == nil {
		r.firstErr = err // of a snapshot
	}
	r.times = t.total()
	r.transactions, r.goroutines = d.workload.transactions(), d.goroutines
	taken, _, _ := saves.latest() // nothing saves now
	r.snapshotTimes, r.snapshotBytes = saves.measured()
	r.residentServed, r.residentPeak = resident()
	if st, err = driver.ReadStats(db); err != nil {
		return err
	}
	r.busy = st.BusyErrors

	closed = true
	if err := db.Close(); err != nil {
		return err
	}
	made, took, bytes := saves.latest() // Close returned after the last event
	if made > taken {
		r.lastSave = took
	}
	r.saved = bytes
	return nil
}

// phase serves for a time, and shows how it goes.
func (d *demonstration) phase(ctx context.Context, t *traffic, part time.Duration, p *phase) error {
	text := "as much as possible"
	if p.load == paced {
		text = count(int64(p.rate)) + " operations a second"
	}
	if p.withSaves {
		text += ", with snapshots, " + duration(t.pause) + " apart"
	} else {
		text += ", without snapshots"
	}
	d.line("%-9s %s", "serve", text)
	err := t.serve(ctx, part, p)
	text = count(p.operations) + " operations in " + duration(p.took) + ", " + count(int64(p.perSecond())) + " a second"
	if p.withSaves {
		text += ", " + plural(p.snapshots, "snapshot")
	}
	d.line("%-9s %s", "", text)
	return err
}

// verify lets the plain driver look at the file.
func (d *demonstration) verify(ctx context.Context) (err error) {
	r := &d.report
	info, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	r.path, r.fileSize = d.path, info.Size()
	file, err := openPlain(d.path, "mode=rw")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()

	d.line("%-9s %s", "check", "the file, with plain SQLite")
	problems, err := integrity(ctx, file)
	if err != nil {
		return err
	}
	text := "integrity_check by plain SQLite: ok"
	if problems != "" {
		text = "integrity_check by plain SQLite: " + problems
	}
	r.findings = append(r.findings, finding{problems == "", text})
	more, err := d.workload.verify(ctx, file, func(what string) { d.line("%-9s %s", "", what) })
	r.findings = append(r.findings, more...)
	return err
}
