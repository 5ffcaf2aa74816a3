package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
	"github.com/sqlite-mem/sqlite-mem/driver"
)

// job is what a process of its own does, so that its memory is that of one
// contender. It is given as JSON and answers with a result as JSON.
type job struct {
	Kind      string // snapshot, loadsave or growth
	Contender string
	MB        int
	Round     int
	Seconds   float64 // of paced load without a save
	SizesMB   []int   // growth
	Commits   int     // growth: at each size
	Dir       string
}

// inChild runs j in a child and decodes its answer into result.
func inChild(j job, result any) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(j.Dir, j.Kind+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	j.Dir = dir
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-child", string(text))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s of %s: %w", j.Kind, j.Contender, err)
	}
	return json.Unmarshal(out.Bytes(), result)
}

// runChild is the other side of inChild.
func runChild(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	var result any
	switch j.Kind {
	case "snapshot":
		r := &snapshotRun{Contender: j.Contender, MB: j.MB, Round: j.Round}
		r.Err = message(r.run(j), j.Dir)
		result = r
	case "loadsave":
		r := &loadSaveRun{MB: j.MB, Round: j.Round}
		r.Err = message(r.run(j), j.Dir)
		result = r
	case "growth":
		r := &growthRun{Contender: j.Contender}
		r.Err = message(r.run(j), j.Dir)
		result = r
	default:
		return fmt.Errorf("no job %q", j.Kind)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// message is the text of an error without the directory of the run.
func message(err error, dir string) string {
	if err == nil {
		return ""
	}
	return string(bytes.ReplaceAll([]byte(err.Error()), []byte(dir), []byte("DIR")))
}

// filler is what fills the rows of the large databases: with it one account takes
// about a page.
const filler = 2900

// accountsFor is how many accounts with filler make so many MB.
func accountsFor(mb int) int { return mb << 20 / 4230 }

func dataBytes(ctx context.Context, db *contender.DB) (n int64, err error) {
	err = db.Read(ctx, func(ctx context.Context, c workload.Conn) error {
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

// openFilled opens and fills a contender, and tells what was resident before.
func openFilled(j job, accounts int) (db *contender.DB, base int64, err error) {
	c, err := contender.Named(j.Contender)
	if err != nil {
		return nil, 0, err
	}
	if base, err = resident(); err != nil {
		return nil, 0, err
	}
	if db, err = c.Open(filepath.Join(j.Dir, "bench.db")); err != nil {
		return nil, 0, err
	}
	if err := workload.Fill(context.Background(), db, accounts, filler); err != nil {
		return nil, 0, errors.Join(err, db.Close())
	}
	return db, base, nil
}

// The paced load: four goroutines, each of which begins a statement every 500 µs,
// one in ten a write.
const (
	pacedGoroutines = 4
	pacedInterval   = 500 * time.Microsecond
	pacedSlot       = 20 * time.Millisecond
)

func pacedLoad() workload.Workload {
	for _, w := range workload.All() {
		if w.Name == "Mix90" {
			return w
		}
	}
	panic("no workload Mix90")
}

func (r *snapshotRun) run(j job) (err error) {
	ctx := context.Background()
	accounts := accountsFor(j.MB)
	db, base, err := openFilled(j, accounts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if r.DataBytes, err = dataBytes(ctx, db); err != nil {
		return err
	}
	target := filepath.Join(j.Dir, "bench.db")
	op := pacedLoad().Op(accounts)

	// Each save writes everything, as something has changed. The first warms up.
	change := func() error {
		_, err := measure.Run(db, workload.All()[1].Op(accounts), measure.Load{Goroutines: 1, Ops: 1})
		return err
	}
	if err := errors.Join(change(), db.Save(ctx, target)); err != nil {
		return err
	}
	if r.QuietSave, err = repeated(change, func() error { return db.Save(ctx, target) }); err != nil {
		return err
	}
	now, err := resident()
	if err != nil {
		return err
	}
	r.Resident = now - base

	quiet := time.Duration(j.Seconds * float64(time.Second))
	unix.Sync()
	without, cancel := context.WithTimeout(ctx, quiet)
	tl, err := measure.Paced(without, db, op, pacedGoroutines, pacedInterval, pacedSlot)
	cancel()
	if err != nil {
		return err
	}
	r.Without, r.WithoutResponse = percentiles(&tl.Statement), percentiles(&tl.Response)

	unix.Sync()
	if err := measure.ResetPeak(); err != nil {
		return err
	}
	before, err := measure.ReadMemory()
	if err != nil {
		return err
	}
	with, cancel := context.WithCancel(ctx)
	start := time.Now()
	saved := make(chan error, 1)
	go func() {
		defer cancel()
		time.Sleep(quiet / 4)
		r.SaveBegan = time.Since(start)
		err := db.Save(ctx, target)
		r.SaveEnd = time.Since(start)
		if err == nil {
			time.Sleep(quiet / 4)
		}
		saved <- err
	}()
	tl, err = measure.Paced(with, db, op, pacedGoroutines, pacedInterval, pacedSlot)
	cancel()
	if err := errors.Join(err, <-saved); err != nil {
		return err
	}
	after, err := measure.ReadMemory()
	if err != nil {
		return err
	}
	r.LoadedSave = r.SaveEnd - r.SaveBegan
	r.PeakExtra = after.Peak - before.Resident
	r.With, r.WithResponse = percentiles(&tl.Statement), percentiles(&tl.Response)
	r.Slot, r.Worst = tl.Slot, tl.Worst
	return nil
}

func (r *growthRun) run(j job) (err error) {
	ctx := context.Background()
	accounts := accountsFor(j.SizesMB[0])
	db, base, err := openFilled(j, accounts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for i, mb := range j.SizesMB {
		if i > 0 {
			if err := workload.Grow(ctx, db, accounts, accountsFor(mb), filler); err != nil {
				return err
			}
			accounts = accountsFor(mb)
		}
		var p growthPoint
		if p.DataBytes, err = dataBytes(ctx, db); err != nil {
			return err
		}
		now, err := resident()
		if err != nil {
			return err
		}
		p.Resident = now - base
		load := measure.Load{Goroutines: 1, Ops: int64(j.Commits)}
		for range 2 { // the first warms up
			res, err := measure.Run(db, workload.All()[1].Op(accounts), load)
			if err != nil {
				return err
			}
			p.Commit = percentiles(&res.Latencies)
		}
		if j.Contender == contender.Reference {
			if p.Pin, err = pin(ctx, db, j.Commits); err != nil {
				return err
			}
		}
		r.Points = append(r.Points, p)
	}
	return nil
}

// pin times read-only transactions.
func pin(ctx context.Context, db *contender.DB, n int) ([]float64, error) {
	var l measure.Latencies
	for range n {
		start := time.Now()
		tx, err := db.Pool.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return nil, err
		}
		var used int64
		if err := tx.QueryRowContext(ctx, "SELECT used FROM accounts WHERE id=1").Scan(&used); err != nil {
			return nil, errors.Join(err, tx.Rollback())
		}
		if err := tx.Rollback(); err != nil {
			return nil, err
		}
		l.Add(time.Since(start))
	}
	return percentiles(&l), nil
}

func (r *loadSaveRun) run(j job) (err error) {
	ctx := context.Background()
	path, copied := filepath.Join(j.Dir, "bench.db"), filepath.Join(j.Dir, "copy.db")
	c, err := contender.Named("mattn-disk-wal-off-mmap")
	if err != nil {
		return err
	}
	db, err := c.Open(path)
	if err != nil {
		return err
	}
	if err := workload.Fill(ctx, db, accountsFor(j.MB), filler); err != nil {
		return errors.Join(err, db.Close())
	}
	if err := db.Close(); err != nil {
		return err
	}
	if _, err := timed(func() error { return copyFile(path, copied) }); err != nil { // warms the page cache
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	r.FileBytes = info.Size()

	base, err := resident()
	if err != nil {
		return err
	}
	var mem *sql.DB
	load := func() (err error) {
		if mem, err = sql.Open(driver.Name, path+"?sqlite_sync_interval=1d"); err != nil {
			return err
		}
		var n int
		return mem.QueryRow("SELECT count(*) FROM mailboxes WHERE account=1").Scan(&n)
	}
	if r.Load, err = timed(load); err != nil {
		return err
	}
	now, err := resident()
	if err != nil {
		return err
	}
	r.Resident = now - base
	change := func() error {
		_, err := mem.Exec("UPDATE accounts SET used=used+1 WHERE id=1")
		return err
	}
	save := func() error { return driver.Sync(ctx, mem) }
	if err := errors.Join(change(), save()); err != nil { // warms up
		return err
	}
	if r.Save, err = repeated(change, save); err != nil {
		return err
	}
	if now, err = resident(); err != nil {
		return err
	}
	r.ResidentAfterSave = now - base
	if r.LoadAgain, err = repeated(func() error { return mem.Close() }, load); err != nil {
		return err
	}
	if r.LoadCold, err = repeated(func() error { return errors.Join(mem.Close(), evict(path)) }, load); err != nil {
		return err
	}
	if err := mem.Close(); err != nil {
		return err
	}

	nothing := func() error { return nil }
	if r.Copy, err = repeated(nothing, func() error { return copyFile(path, copied) }); err != nil {
		return err
	}
	if r.Read, err = repeated(nothing, func() error { return readFile(path) }); err != nil {
		return err
	}
	if r.ReadFresh, err = repeated(nothing, func() error { return readFresh(path, r.FileBytes) }); err != nil {
		return err
	}
	if r.ReadCold, err = repeated(func() error { return evict(path) }, func() error { return readFile(path) }); err != nil {
		return err
	}
	disk, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
	if err != nil {
		return err
	}
	into := filepath.Join(j.Dir, "vacuum.db")
	r.Vacuum, err = repeated(func() error { return os.RemoveAll(into) }, func() error {
		if _, err := disk.Exec("VACUUM INTO ?", into); err != nil {
			return err
		}
		f, err := os.Open(into)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
	return errors.Join(err, disk.Close())
}

// timed runs fn when everything that was written before it is on the disk, so that
// it does not wait for what others left behind.
func timed(fn func() error) (time.Duration, error) {
	unix.Sync()
	start := time.Now()
	err := fn()
	return time.Since(start), err
}

// repeats is how often what depends on the disk is timed in each round: it is fast or
// slow by turns.
const repeats = 5

// repeated runs fn some times, behind a preparation that is not timed, and returns the
// median.
func repeated(prepare, fn func() error) (time.Duration, error) {
	var all []float64
	for range repeats {
		if err := prepare(); err != nil {
			return 0, err
		}
		took, err := timed(fn)
		if err != nil {
			return 0, err
		}
		all = append(all, float64(took))
	}
	return time.Duration(measure.Median(all)), nil
}

// copyFile is cp and fsync: 1 MiB at a time, without the reflinks and in-kernel
// copies that would make a copy of nothing.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 1<<20))
	return errors.Join(err, out.Sync(), out.Close())
}

func readFile(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{in}, make([]byte, 1<<20))
	return err
}

// readFresh reads the file into a mapping of its own, which the system has to make
// on the way.
func readFresh(path string, size int64) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	memory, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(in, memory)
	return errors.Join(err, unix.Munmap(memory))
}

// evict takes the file out of the page cache.
func evict(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
}
