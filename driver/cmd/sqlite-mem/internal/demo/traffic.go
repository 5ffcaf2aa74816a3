//go:build cgo

package demo

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
	"github.com/sqlite-mem/sqlite-mem/internal/latency"
)

// workload is a database and the work of a server on it.
type workload interface {
	// prepare makes ready for n workers on the open database.
	prepare(ctx context.Context, db *sql.DB, n int) error

	// worker returns the work of worker i, which one goroutine does at a time.
	worker(i int) worker

	// verify checks the saved file, opened with the plain driver. It looks for the
	// commits that were reported to the workers, and for data that must not have
	// changed.
	verify(ctx context.Context, file *sql.DB, progress func(what string)) ([]finding, error)

	// transactions returns the name of its transactions, such as "deliveries".
	transactions() string
}

// worker has the operations of one goroutine of a server. A nil error means
// that the operation was committed.
type worker interface {
	read(context.Context) error
	write(context.Context) error
	transaction(context.Context) error
}

// finding is one thing that was checked at the end.
type finding struct {
	ok   bool
	text string
}

// kind is a kind of operation.
type kind int

const (
	read kind = iota
	write
	transaction
	kinds
)

// Of 100 operations so many are writes and transactions; the rest are reads.
const (
	writePercent       = 8
	transactionPercent = 2
)

// opTimeout is the deadline in the context of each operation, like that of a
// server's request.
const opTimeout = 30 * time.Second

// traffic is a number of goroutines at work on one database.
type traffic struct {
	db      *sql.DB
	screen  *show.Screen
	workers []*recorder
	pause   time.Duration // between two snapshots

	// snapshots is odd while a snapshot is taken, and grows when one begins
	// and when one ends.
	snapshots atomic.Int64

	saves *saves
}

// load is how much the workers are asked to do.
type load int

const (
	full  load = iota // as much as possible
	paced             // so many operations a second
	loads
)

// times has the latencies of operations by load and kind. The second index is 1
// for operations during a snapshot, and 0 for the others.
type times [loads][2][kinds]latency.Histogram

// recorder is a worker and the results of its work.
type recorder struct {
	worker
	random *rand.Rand

	times times

	failed   int
	firstErr error

	// For the live line.
	done  atomic.Int64
	worst atomic.Int64 // nanoseconds, since it was last asked for

	_ [64]byte // no shared cache line
}

// saves tells of the snapshots, from driver.Config.OnSync. That is called on a
// goroutine of its own, after Sync has returned: see told.
type saves struct {
	mu    sync.Mutex
	added sync.Cond         // of mu; count has grown
	count int               // guarded by mu, as all below
	bytes int64             // sum
	times latency.Histogram // of those that wrote
	last  time.Duration     // of the last that wrote
	size  int64             // of the last that wrote
}

func newSaves() *saves {
	s := new(saves)
	s.added.L = &s.mu
	return s
}

func (s *saves) add(ev driver.SyncEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ev.Err != nil {
		return // the log tells of it, and Sync or Close returns it
	}
	s.count++
	s.bytes += ev.Bytes
	s.size = ev.Bytes
	s.last = ev.Duration
	s.times.Add(ev.Duration)
	s.added.Broadcast()
}

// told waits until all snapshots that db has made are added.
func (s *saves) told(db *sql.DB) error {
	st, err := driver.ReadStats(db)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for uint64(s.count) < st.Saves.Count {
		s.added.Wait()
	}
	return nil
}

// measured returns how long the snapshots took, and their bytes.
func (s *saves) measured() (latency.Histogram, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.times, s.bytes
}

// latest returns how many snapshots there were, how long the last took, and its
// bytes.
func (s *saves) latest() (count int, took time.Duration, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count, s.last, s.size
}

func (s *saves) sums() (count int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count, s.bytes
}

func newTraffic(w workload, n int, saves *saves) *traffic {
	t := &traffic{workers: make([]*recorder, n), saves: saves}
	for i := range t.workers {
		t.workers[i] = &recorder{worker: w.worker(i), random: newRandom(i)}
	}
	return t
}

func newRandom(i int) *rand.Rand { return rand.New(rand.NewPCG(20, uint64(i))) }

// phase is a time of serving, and its results.
type phase struct {
	load      load
	rate      float64 // operations a second wanted; 0: as many as possible
	withSaves bool    // snapshots were taken, one after the other

	operations int64
	took       time.Duration
	snapshots  int
}

func (p phase) perSecond() float64 {
	if p.took <= 0 {
		return 0
	}
	return float64(p.operations) / p.took.Seconds()
}

// serve runs the workers for the time d, or until ctx ends, and fills in p.
// Operations that have begun are finished, so that it is known whether each was
// committed.
func (t *traffic) serve(ctx context.Context, d time.Duration, p *phase) error {
	over, end := context.WithTimeout(ctx, d)
	defer end()
	requests := context.WithoutCancel(ctx)

	start := time.Now()
	doneBefore := t.done()
	countBefore, bytesBefore := t.saves.sums()

	rest := time.Duration(0)
	if p.rate > 0 {
		rest = time.Duration(float64(time.Second) * float64(len(t.workers)) / p.rate)
	}
	var workers sync.WaitGroup
	for _, r := range t.workers {
		workers.Go(func() { r.run(over, requests, &t.snapshots, p.load, rest) })
	}
	var saver sync.WaitGroup
	var saveErr error
	if p.withSaves {
		saver.Go(func() { saveErr = t.save(over, requests) })
	}
	t.show(over, doneBefore, countBefore, bytesBefore)
	workers.Wait()
	p.took = time.Since(start)
	p.operations = t.done() - doneBefore
	saver.Wait()
	toldErr := t.saves.told(t.db)
	countAfter, _ := t.saves.sums()
	p.snapshots = countAfter - countBefore

	return errors.Join(t.firstError(), saveErr, toldErr)
}

// forget drops the times that were measured so far.
func (t *traffic) forget() {
	for _, r := range t.workers {
		r.times = times{}
	}
}

// run works until over ends. requests is the parent of the contexts of the
// operations. rest is the time between the starts of two operations. A worker
// that is late does not rest until it has caught up.
func (r *recorder) run(over, requests context.Context, snapshots *atomic.Int64, load load, rest time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now().Add(time.Duration(r.random.Int64N(int64(rest) + 1)))
	for over.Err() == nil {
		if rest > 0 {
			timer.Reset(time.Until(next))
			select {
			case <-over.Done():
				return
			case <-timer.C:
			}
			next = next.Add(rest)
		}
		k := read
		switch n := r.random.IntN(100); {
		case n < transactionPercent:
			k = transaction
		case n < transactionPercent+writePercent:
			k = write
		}
		before := snapshots.Load()
		start := time.Now()
		err := r.do(requests, k)
		took := time.Since(start)
		during := 0
		if before%2 == 1 || snapshots.Load() != before {
			during = 1
		}
		if err != nil {
			if r.failed++; r.firstErr == nil {
				r.firstErr = err
			}
			continue
		}
		r.times[load][during][k].Add(took)
		r.done.Add(1)
		if took := int64(took); took > r.worst.Load() {
			r.worst.Store(took)
		}
	}
}

func (r *recorder) do(requests context.Context, k kind) error {
	ctx, cancel := context.WithTimeout(requests, opTimeout)
	defer cancel()
	switch k {
	case write:
		return r.write(ctx)
	case transaction:
		return r.transaction(ctx)
	}
	return r.read(ctx)
}

// save takes one snapshot after the other until over ends.
func (t *traffic) save(over, ctx context.Context) error {
	for {
		t.snapshots.Add(1)
		err := driver.Sync(ctx, t.db)
		t.snapshots.Add(1)
		if err != nil {
			return err
		}
		select {
		case <-over.Done():
			return nil
		case <-time.After(t.pause):
		}
	}
}

// show writes the live line each second until over ends.
func (t *traffic) show(over context.Context, done int64, saved int, written int64) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for second := 1; ; second++ {
		select {
		case <-over.Done():
			return
		case <-tick.C:
		}
		now := t.done()
		n, bytes := t.saves.sums()
		line := ""
		if n > saved {
			line = "   " + show.Plural(n-saved, "snapshot") + ", " + show.Size(bytes-written) + " written"
		}
		t.screen.Live("%3d s  %9s op/s   worst %7s%s", second, show.Count(now-done), show.Duration(t.worst()), line)
		done = now
	}
}

func (t *traffic) done() (n int64) {
	for _, r := range t.workers {
		n += r.done.Load()
	}
	return n
}

// worst returns the longest time of an operation since the last call. (One that
// ends at this very moment may be missed: it is in the report all the same.)
func (t *traffic) worst() time.Duration {
	worst := int64(0)
	for _, r := range t.workers {
		worst = max(worst, r.worst.Swap(0))
	}
	return time.Duration(worst)
}

func (t *traffic) firstError() error {
	for _, r := range t.workers {
		if r.firstErr != nil {
			return r.firstErr
		}
	}
	return nil
}

func (t *traffic) failed() (n int) {
	for _, r := range t.workers {
		n += r.failed
	}
	return n
}

// total puts together what the workers measured.
func (t *traffic) total() *times {
	sum := new(times)
	for _, r := range t.workers {
		for load := range sum {
			for during := range sum[load] {
				for k := range sum[load][during] {
					sum[load][during][k].Merge(&r.times[load][during][k])
				}
			}
		}
	}
	return sum
}
