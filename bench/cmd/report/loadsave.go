package main

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
	"github.com/sqlite-mem/sqlite-mem/driver"
)

// loadsave fills r.LoadSave. Each round has a process of its own, because the first
// load of a process is one of the figures.
func loadsave(r *results, o options, p *progress) error {
	for round := range o.snapshots {
		p.step("load and save of %d MB, round %d/%d", o.loadMB, round+1, o.snapshots)
		w, err := newWorker(o.dir, "")
		if err != nil {
			return err
		}
		s := &loadSaveRun{}
		if err := w.ask(request{Do: "loadsave", MB: o.loadMB, Repeats: o.repeats}, s); err != nil {
			p.failed("load and save", err)
			s = &loadSaveRun{Err: err.Error()}
		}
		s.MB, s.Round = o.loadMB, round
		r.LoadSave = append(r.LoadSave, s)
		if err := w.stop(); err != nil {
			p.failed("load and save", err)
		}
	}
	return nil
}

// loadSave times loading and saving a file, and comparable operations on the file
// alone.
func loadSave(dir string, req request) (*loadSaveRun, error) {
	r := &loadSaveRun{}
	return r, r.run(dir, req)
}

func (r *loadSaveRun) run(dir string, req request) (err error) {
	ctx := context.Background()
	path, copied := filepath.Join(dir, "bench.db"), filepath.Join(dir, "copy.db")
	c, err := contender.Named("mattn-disk-wal-off-mmap")
	if err != nil {
		return err
	}
	db, err := c.Open(path)
	if err != nil {
		return err
	}
	if err := workload.Fill(ctx, db, accountsFor(req.MB), filler); err != nil {
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
	if err := touch(r.FileBytes); err != nil {
		return err
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
	if r.Save, err = repeated(req.Repeats, change, save); err != nil {
		return err
	}
	if now, err = resident(); err != nil {
		return err
	}
	r.ResidentAfterSave = now - base
	if r.LoadAgain, err = repeated(req.Repeats, func() error { return mem.Close() }, load); err != nil {
		return err
	}
	if r.LoadCold, err = repeated(req.Repeats, func() error { return errors.Join(mem.Close(), evict(path)) }, load); err != nil {
		return err
	}
	if err := mem.Close(); err != nil {
		return err
	}

	nothing := func() error { return nil }
	if r.Copy, err = repeated(req.Repeats, nothing, func() error { return copyFile(path, copied) }); err != nil {
		return err
	}
	if r.Read, err = repeated(req.Repeats, nothing, func() error { return readFile(path) }); err != nil {
		return err
	}
	if r.ReadFresh, err = repeated(req.Repeats, nothing, func() error { return readFresh(path, r.FileBytes) }); err != nil {
		return err
	}
	if r.ReadCold, err = repeated(req.Repeats, func() error { return evict(path) }, func() error { return readFile(path) }); err != nil {
		return err
	}
	disk, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
	if err != nil {
		return err
	}
	into := filepath.Join(dir, "vacuum.db")
	r.Vacuum, err = repeated(req.Repeats, func() error { return os.RemoveAll(into) }, func() error {
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

// timed runs fn after a sync of everything, so that fn does not wait for earlier
// writes.
func timed(fn func() error) (time.Duration, error) {
	unix.Sync()
	start := time.Now()
	err := fn()
	return time.Since(start), err
}

// repeated runs fn n times, each after an untimed preparation, and returns the median.
// The speed of a disk varies.
func repeated(n int, prepare, fn func() error) (time.Duration, error) {
	var all []float64
	for range n {
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

// copyFile copies and syncs a file, 1 MiB at a time. It avoids reflinks and in-kernel
// copies, which may copy no data.
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

// readFresh reads the file into a new mapping, whose pages the system allocates
// meanwhile.
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

// touch allocates size bytes of memory, in huge pages if there are any, and frees them.
// The host of a virtual machine first has to allocate memory that was never touched
// before. That takes several times as long as a load, and the first load would include
// it.
func touch(size int64) error {
	memory, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // fails if there are no huge pages
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	return unix.Munmap(memory)
}

// evict removes the file from the page cache.
func evict(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
}
