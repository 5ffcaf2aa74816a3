//go:build cgo

// Package demo is the command "sqlite-mem demo": it serves a database from memory under
// load, and reports how that went. Nothing else uses it.
package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	_ "github.com/mattn/go-sqlite3" // the plain driver, "sqlite3"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
)

// Options say what a demo does. NewOptions has the defaults.
type Options struct {
	File       string // a database of which a copy is served; empty: a mail server's is made
	Goroutines int
	Seconds    float64       // of serving
	Accounts   int           // of the mail server
	Interval   time.Duration // between two snapshots; 0: one after the other
	Rate       int           // operations a second in the second half; 0: a quarter of what is possible
	Keep       string        // the folder to work in and to leave the database in; empty: a temporary one
}

// NewOptions returns the defaults.
func NewOptions() Options {
	return Options{Goroutines: 64, Seconds: 8, Accounts: 100_000}
}

// Check returns an error that names the flag whose value is invalid.
func (o Options) Check() error {
	switch {
	case o.Goroutines < 1 || o.Goroutines > 10_000:
		return fmt.Errorf("-goroutines %d: want 1 to 10000", o.Goroutines)
	case !(o.Seconds > 0 && o.Seconds <= 1e6):
		return fmt.Errorf("-seconds %v: want more than 0, up to 1000000", o.Seconds)
	case o.File == "" && o.Accounts < o.Goroutines:
		return fmt.Errorf("-accounts %d: want at least one for each goroutine", o.Accounts)
	case o.Accounts > 100_000_000:
		return fmt.Errorf("-accounts %d: want at most 100000000", o.Accounts)
	case o.Rate < 0 || o.Rate > 100_000_000:
		return fmt.Errorf("-rate %d: want 0 to 100000000", o.Rate)
	case o.Interval < 0:
		return fmt.Errorf("-interval %v: want 0 or more", o.Interval)
	}
	return nil
}

// demonstration is one run of the demo.
type demonstration struct {
	Options
	*show.Screen
	dir      string // where it works
	path     string // the database
	workload workload

	report report
}

// errClaims is the error of a demo whose report says FAILED somewhere.
var errClaims = errors.New("the demo has failed, see the report")

// Run serves a database from memory and writes a report to stdout. The end of ctx ends
// the serving and not the report. A claim of the report that does not hold is an error.
func Run(ctx context.Context, o Options, stdout io.Writer) (err error) {
	// Whatever the environment says: a tool would have nothing to show.
	if err := driver.SetRole(driver.RoleServer); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.SetRole("")) }()

	d := &demonstration{Options: o, Screen: show.NewScreen(stdout)}
	d.Line("sqlite-mem demo: %s, %s, %s/%s", show.Plural(o.Goroutines, "goroutine"),
		show.Plural(runtime.GOMAXPROCS(0), "CPU"), runtime.GOOS, runtime.GOARCH)
	remove, err := d.folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if o.File == "" {
		err = d.makeMail(ctx)
	} else {
		err = d.copyFile(ctx)
	}
	if ctx.Err() != nil {
		d.Line("")
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
	if !d.report.write(d.Screen) {
		return errClaims
	}
	return nil
}

// folder makes the folder to work in, and returns a function that removes it.
func (d *demonstration) folder() (remove func() error, err error) {
	if d.Keep != "" {
		if err := os.MkdirAll(d.Keep, 0o700); err != nil {
			return nil, err
		}
		d.dir = d.Keep
		d.Line("%-9s %s", "folder", d.dir)
		return func() error { return nil }, nil
	}
	if d.dir, err = os.MkdirTemp("", "sqlite-mem-demo-"); err != nil {
		return nil, err
	}
	d.Line("%-9s %s, removed at the end", "folder", d.dir)
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
	m := newMail(d.Accounts)
	d.workload = m
	d.report.what = "a mail server's database"

	start := time.Now()
	err = m.fill(ctx, db, func(done int) { d.Progress("make", done, d.Accounts, "accounts") })
	if err != nil {
		return err
	}
	d.Line("%-9s %s in %s", "make", show.Plural(d.Accounts, "account"), show.Duration(time.Since(start)))
	start = time.Now()
	if err := driver.Sync(ctx, db); err != nil {
		return err
	}
	st, err := driver.ReadStats(db)
	if err != nil {
		return err
	}
	d.Line("%-9s %s in %s", "save", show.Size(st.LastBytes), show.Duration(time.Since(start)))
	return nil
}

// serve loads the database and serves it.
func (d *demonstration) serve(ctx context.Context) (err error) {
	r := &d.report
	debug.FreeOSMemory() // what making it has left
	r.residentBefore, _ = resident()
	r.peakKnown = resetPeak()

	saves := newSaves()
	db, err := d.open(d.Goroutines, saves.add)
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
	d.Line("%-9s %s in %s", "load", show.Size(r.loaded), show.Duration(r.loadTook))

	if err := d.workload.prepare(ctx, db, d.Goroutines); err != nil {
		return err
	}
	t := newTraffic(d.workload, d.Goroutines, saves)
	t.db, t.screen, t.pause = db, d.Screen, max(d.Interval, time.Millisecond)
	part := time.Duration(d.Seconds * float64(time.Second) / 4)

	// Connections and statement caches are made by the first operations, and
	// memory is touched for the first time: they are not measured.
	var warm phase
	if err := t.serve(ctx, min(part/4, 500*time.Millisecond), &warm); err != nil {
		return err
	}
	t.forget()
	for _, p := range []phase{{load: full}, {load: full, withSaves: true}, {load: paced}, {load: paced, withSaves: true}} {
		if p.load == paced {
			p.rate = float64(d.Rate)
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
	r.transactions, r.goroutines = d.workload.transactions(), d.Goroutines
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
		text = show.Count(int64(p.rate)) + " operations a second"
	}
	if p.withSaves {
		text += ", with snapshots, " + show.Duration(t.pause) + " apart"
	} else {
		text += ", without snapshots"
	}
	d.Line("%-9s %s", "serve", text)
	err := t.serve(ctx, part, p)
	text = show.Count(p.operations) + " operations in " + show.Duration(p.took) + ", " + show.Count(int64(p.perSecond())) + " a second"
	if p.withSaves {
		text += ", " + show.Plural(p.snapshots, "snapshot")
	}
	d.Line("%-9s %s", "", text)
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

	d.Line("%-9s %s", "check", "the file, with plain SQLite")
	problems, err := integrity(ctx, file)
	if err != nil {
		return err
	}
	text := "integrity_check by plain SQLite: ok"
	if problems != "" {
		text = "integrity_check by plain SQLite: " + problems
	}
	r.findings = append(r.findings, finding{problems == "", text})
	more, err := d.workload.verify(ctx, file, func(what string) { d.Line("%-9s %s", "", what) })
	r.findings = append(r.findings, more...)
	return err
}
