//go:build cgo

package store

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/sysmem"
)

// A warning comes when a tenth of a limit is left, of the system at most largeReserve. It
// comes again only if half as much again was left in between.
const largeReserve = 2 << 30

// bigLoad is the size in bytes from which on the log tells of a load.
const bigLoad = 64 << 20

// Tests replace these.
var (
	memoryEvery = time.Second          // between two looks at the memory, while writers write
	memoryRoot  atomic.Pointer[string] // of the file system that sysmem reads; nil: "/"
)

// memoryWatch looks how much memory is left while writers write.
type memoryWatch struct {
	// armed is true while the timer is going to fire. It is atomic, because every writer
	// loads it.
	armed atomic.Bool

	warnings atomic.Uint64 // cumulative

	// mu guards the fields below, and keeps the engine open while a look uses it. It is
	// held across calls of the engine, whose own lock comes after it. Of the locks of
	// Go only drainer.mu is taken under it.
	mu       sync.Mutex
	timer    *time.Timer // nil until the first writer
	closed   bool
	epoch    uint64 // of the last look
	size     level  // of the database, against sqlite_max_memory
	versions level  // of the database and old page versions, against twice that
	system   level
}

// level tells when little is left of a limit.
type level struct{ low bool }

// crossed reports whether little is left since this call.
func (l *level) crossed(left, limit, reserve int64) bool {
	was := l.low
	switch {
	case limit <= 0:
		l.low = false
	case left < reserve:
		l.low = true
	case left >= reserve+reserve/2:
		l.low = false
	}
	return l.low && !was
}

// watchMemory is called by every writer. It sets the timer, if that is not set.
func (s *Store) watchMemory() {
	m := &s.memoryWatch
	if m.armed.Load() || m.armed.Swap(true) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
	case m.timer == nil:
		m.timer = time.AfterFunc(memoryEvery, s.lookAtMemory)
	default:
		m.timer.Reset(memoryEvery)
	}
}

// lookAtMemory is called by the timer.
func (s *Store) lookAtMemory() {
	m := &s.memoryWatch
	m.armed.Store(false) // first: a writer that comes now is looked at later
	system, held := SystemMemory(), s.Writer.Stats().Held
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	now := s.Engine.Stats()
	again := now.Epoch != m.epoch || held
	m.epoch = now.Epoch
	limit := s.opts.MaxMemory
	size := m.size.crossed(limit-now.Size, limit, limit/10)
	most := 2 * max(limit, now.Size)
	if limit == 0 {
		most = 0
	}
	versions := m.versions.crossed(most-now.Live-now.Held, most, most/10)
	low := m.system.crossed(system.Available, system.Limit, reserve(system))
	m.mu.Unlock()

	warn := func(is bool, text string, args ...any) {
		if is {
			m.warnings.Add(1)
			s.opts.Logger.Warn("sqlite-mem: "+text, append([]any{"path", s.opts.Path}, args...)...)
		}
	}
	warn(size, "the database is near sqlite_max_memory: there, writers that make it grow get SQLITE_FULL, and readers go on",
		"size", now.Size, "limit", limit)
	warn(versions, "the page versions that readers and saves need are near twice sqlite_max_memory: there, writers get SQLITE_FULL until a reader ends",
		"size", now.Size, "held", now.Held, "limit", most)
	warn(low, "the memory of the system is near its end: there, the system kills a process, which may be this one",
		"available", system.Available, "limit", system.Limit, "source", system.Source, "size", now.Size)
	if again {
		s.watchMemory() // a writer of long ago may still write
	}
}

// reserve is how much of the system's memory should be left.
func reserve(m sysmem.Memory) int64 { return min(m.Limit/10, largeReserve) }

// closeMemory closes the engine, between two looks.
func (s *Store) closeMemory() error {
	m := &s.memoryWatch
	m.mu.Lock()
	defer m.mu.Unlock()
	err := s.drain.close()
	if err == nil {
		m.closed = true
		if m.timer != nil {
			m.timer.Stop()
		}
	}
	return err
}

// MemoryWarnings is how often a limit of memory has come near.
func (s *Store) MemoryWarnings() uint64 { return s.memoryWatch.warnings.Load() }

// MaxMemory is the limit of the size in bytes; 0: none.
func (s *Store) MaxMemory() int64 { return s.opts.MaxMemory }

// SystemMemory is what the system has left.
func SystemMemory() sysmem.Memory {
	if root := memoryRoot.Load(); root != nil {
		return sysmem.Read(*root)
	}
	return sysmem.Read("/")
}

// loading is the engine as a load uses it. It tells the logger how much memory a load needs,
// before the load takes it.
type loading struct {
	*memvfs.Store
	s *Store
}

// Reserve implements image.Sink.
func (l loading) Reserve(pageSize int, size int64) error {
	system, opts := SystemMemory(), l.s.opts
	args := []any{"path", opts.Path, "bytes", size, "available", system.Available, "source", system.Source}
	log := opts.Logger.Debug
	if size >= bigLoad {
		log = opts.Logger.Info
	}
	log("sqlite-mem: the load takes memory", args...)
	if opts.MaxMemory > 0 && size > opts.MaxMemory {
		opts.Logger.Warn("sqlite-mem: the file is larger than sqlite_max_memory: it is loaded, and cannot grow",
			"path", opts.Path, "bytes", size, "limit", opts.MaxMemory)
	}
	if system.Limit > 0 && size > system.Available-reserve(system) {
		l.s.memoryWatch.warnings.Add(1)
		opts.Logger.Warn("sqlite-mem: the load needs nearly all memory that the system has left, or more: the system may kill this process", args...)
	}
	return l.Store.Reserve(pageSize, size)
}
