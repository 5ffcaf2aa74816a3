//go:build cgo

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/latency"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/schedule"
	"github.com/sqlite-mem/sqlite-mem/internal/writelock"
)

// Options describe a store. The opens of one file in a process must agree on what they set of
// SyncInterval, WAL, Keep, MaxMemory, LiveLimit, LiveIdle, and whether there is a Serve. See
// settings.go.
type Options struct {
	Path string // of the file, as osfile.Resolve gives it; empty: no file
	Name string // of a database without a file: all opens of one name share it

	SyncInterval time.Duration // between two saves; 0: only Sync saves
	WAL          time.Duration // between two flushes of the log; WALOff: no log, WALCommit: at each commit
	Keep         int           // number of earlier states of the file that are kept; see image.File.Keep
	MaxMemory    int64         // limit of the size in bytes; 0: none
	SlowReader   time.Duration // a save or a backup that pins its state for longer is logged; 0: none is
	LockTimeout  time.Duration // longest wait of a load for other users of the file; 0: none

	Set Option // what of these the user has set; the others are defaults, which a later open may replace

	Logger *slog.Logger         // not nil
	OnSync func(schedule.Event) // may be nil; called for every attempt to save, see events

	// Serve begins to serve tools: see serve.go. It is called after the process lock is
	// taken and before the load. loaded is closed after the load. nil: no tool is served.
	Serve     func(s *Store, loaded <-chan struct{}) (Serving, error)
	LiveLimit int           // of the connections that Serve serves
	LiveIdle  time.Duration // of their transactions
}

func (o Options) key() string {
	if o.Path == "" {
		return "memory:" + o.Name
	}
	return "file:" + o.Path
}

// Store is one database in memory with its file. Its methods may be called concurrently.
type Store struct {
	// Engine holds the pages.
	Engine *memvfs.Store

	// Writer is the write lock. A connection holds it for a write transaction, or for a
	// writing statement outside of one. LockWriter takes it, UnlockWriter releases it.
	Writer writelock.Lock

	// writer is the Owner that holds Writer. It may be nil for a moment right after the
	// lock and right before the unlock.
	writer atomic.Pointer[Owner]

	// Kept is the number of connections that are open and belong to nobody: the driver
	// keeps them for the next user.
	Kept atomic.Int64

	restoring chan struct{} // has room for the one Restore that runs
	restores  atomic.Uint64 // see Restores
	replacing sync.Mutex    // held during step 3 of Restore
	replaces  atomic.Bool   // true while it is held; stored under replacing
	retired   atomic.Uint64 // see Retired; stored under replacing

	opts   Options // of the first open; what others may change is in settings
	entry  *entry
	lock   *proclock.Lock // nil without a file
	memory int            // without a file: its number in memoryNames; else 0

	// lost is the error of a lost process lock, nil while this process has it: see owned.
	// It is atomic, because every write loads it.
	lost atomic.Pointer[error]

	// saved is the epoch that the file holds. Only the saving goroutine stores it. It is
	// atomic, because others compare it with the last epoch.
	saved atomic.Uint64

	// exposed is when the oldest commit was made that is not durable, as time since epoch; 0
	// if there is none. It is atomic, because every commit loads it: see loss.go.
	exposed atomic.Int64

	file   *image.File // nil without a file
	events *events     // of OnSync
	begun  Start       // set by load

	// flusher is nil without a log, or after stop. It is stored under mu. It is atomic,
	// because every commit loads it.
	flusher atomic.Pointer[schedule.Flusher]

	// loaded is closed when the store can be used. The work that Serve has begun waits
	// for it.
	loaded chan struct{}

	serving  serving  // see serve.go
	settings settings // see settings.go
	drain    drainer  // see drain.go
	watchers watchers // see watch.go

	memoryWatch memoryWatch // see memory.go

	mu      sync.Mutex
	loop    *schedule.Loop // guarded by mu; nil without a file, or after stop
	saves   SaveStats      // guarded by mu
	flushes FlushStats     // guarded by mu
	logged  bool           // guarded by mu; true after a failed save was logged
	watched string         // guarded by mu; text of the last error of watch
}

// Start describes the load of a store.
type Start struct {
	Unclean bool  // the server before did not close the file
	Commits int   // number of commits recovered from its log
	Torn    int64 // bytes of an incomplete commit at the end of its log
}

// SaveStats are the counters of the saves of a store.
type SaveStats struct {
	Failures     int           // current: failed saves since the last success
	LastTime     time.Time     // start of the last attempt; zero: there was none
	LastDuration time.Duration // of the last attempt
	LastBytes    int64         // written by the last attempt
	LastError    error         // of the last attempt

	Durations latency.Buckets // cumulative: of the saves that have written the file
}

// FlushStats are the counters of the log of a store.
type FlushStats struct {
	Failures     int           // current: failed flushes since the last success
	LastTime     time.Time     // start of the last flush; zero: there was none
	LastDuration time.Duration // of the last flush
	LastError    error         // of the last flush

	Durations latency.Buckets // cumulative: of the flushes that have written to the log
}

// load creates the store and loads its file.
func load(ctx context.Context, opts Options, e *entry) (s *Store, err error) {
	s = &Store{opts: opts, entry: e, events: newEvents(opts.OnSync), loaded: make(chan struct{}), restoring: make(chan struct{}, 1)}
	s.settings.init(opts)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.endTools())
			if s.Engine != nil {
				err = errors.Join(err, s.closeMemory())
			}
			err = errors.Join(err, s.giveUp())
			s = nil
		}
	}()
	path := opts.Path
	if path == "" {
		s.memory = memoryNames.take()
		// A transaction over several attached files makes a super-journal beside this
		// name. So the directory must exist.
		path = memoryPath(s.memory)
	} else {
		var end func()
		if s.lock, end, err = acquire(ctx, opts); err != nil {
			return s, err
		}
		defer end()
		s.serve()
		// A link may have come before the process lock was taken.
		target, err := osfile.Resolve(path)
		if err == nil && target != path {
			err = fmt.Errorf("%s has become a symbolic link to %s meanwhile: open it again", path, target)
		}
		if err != nil {
			return s, err
		}
		if _, err = image.RemoveLeftovers(path); err != nil {
			return s, err
		}
	}
	if s.Engine, err = memvfs.NewStore(path, opts.MaxMemory, s); err != nil {
		return s, err
	}
	s.drain.start(s.Engine)
	if opts.Path == "" {
		s.Engine.Loaded()
		s.saved.Store(s.Engine.Epoch())
		close(s.loaded)
		return s, nil
	}
	_, s.begun.Unclean = s.lock.Previous()
	s.file = image.NewFile(path, source{s.Engine}, opts.WAL != WALOff)
	s.file.Wait = opts.LockTimeout
	s.file.Owned = s.owned
	s.file.CloseLater = func(file io.Closer) { closeWhenFree(path, file) }
	found, err := s.file.Open(ctx, loading{s.Engine, s})
	if err != nil {
		return s, err
	}
	s.Engine.Loaded()
	if err = s.check(ctx); err != nil {
		return s, err
	}
	if found.Links > 1 {
		opts.Logger.Warn("sqlite-mem: the file has several names (hard links); a save replaces only this one, the others keep what they have now",
			"path", path, "links", found.Links)
	}
	epoch := s.Engine.Epoch()
	s.file.Start(epoch)
	s.saved.Store(epoch)
	if found.Recovered {
		s.saved.Store(epoch - 1) // the file lacks what the log has
		s.begun.Commits, s.begun.Torn = found.Commits, found.Torn
		opts.Logger.Info("sqlite-mem: recovered what a crash had left in the log", "path", path,
			"transactions", found.Commits, "bytes", found.LogBytes, "torn", found.Torn)
	}
	s.start()
	close(s.loaded)
	return s, nil
}

// acquire makes this process the owner of the file. Until end is called, no connection of
// this process locks or attaches the file on the disk. acquire waits for such connections
// first, then for writing tools and a recovery of other processes. It does not wait for a
// server.
func acquire(ctx context.Context, opts Options) (lock *proclock.Lock, end func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, opts.LockTimeout)
	defer cancel()
	if by, owned, err := proclock.OwnerOf(opts.Path); err == nil && owned && by.Role == proclock.Server {
		return nil, nil, by.Owned(opts.Path)
	}
	// BeginLoad comes first. With the process lock taken, the connection that acquire
	// waits for could not write any more.
	if end, err = memvfs.BeginLoad(ctx, opts.Path); err != nil {
		return nil, nil, err
	}
	if opts.Serve != nil {
		lock, err = proclock.AcquireLive(ctx, opts.Path)
	} else {
		lock, err = proclock.Acquire(ctx, opts.Path, proclock.Server)
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return lock, end, nil
}

// owned is image.File.Owned. It makes sure that this process still owns the file.
// Somebody may have removed or replaced the lock file. If another process has the file,
// MayWrite refuses writers from then on, because their commits could never be saved.
func (s *Store) owned() error {
	err := s.lock.Check()
	if err == nil {
		s.lost.Store(nil)
		return nil
	}
	if !errors.Is(err, proclock.ErrLost) {
		return err
	}
	err = fmt.Errorf("%w: %w", image.ErrNotOwner, err)
	if s.lost.Swap(&err) == nil {
		s.opts.Logger.Error("sqlite-mem: the process lock is lost; writers are refused", "path", s.opts.Path, "error", err)
	}
	return err
}

// check makes sure that the loaded database is sound, before it is used.
func (s *Store) check(ctx context.Context) error {
	if s.Engine.Stats().Size == 0 {
		return nil
	}
	if err := checkEngine(ctx, s.Engine); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s: %w", s.opts.Path, err)
	}
	return nil
}

// URI is the name by which go-sqlite3 opens the store, with params added. It names this
// store only, not a later one of the same file. After the store is closed, the open fails
// with SQLITE_CANTOPEN.
func (s *Store) URI(params url.Values) string { return uriOf(s.Engine, params) }

func uriOf(e *memvfs.Store, params url.Values) string {
	q := url.Values{}
	for k, v := range params {
		q[k] = v
	}
	q.Set("vfs", memvfs.Name)
	q.Set(memvfs.Param, e.Param())
	// ToSlash for Windows, where SQLite wants file:///C:/dir/file.
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(e.Path()), RawQuery: q.Encode()}
	if u.Path[0] != '/' {
		u.Path = "/" + u.Path
	}
	return u.String()
}

// source lets an image.File look at the engine.
type source struct{ *memvfs.Store }

func (e source) Pin() (image.Image, error) {
	img, err := e.Store.Pin()
	if err != nil {
		return nil, err
	}
	return img, nil
}

func (e source) PinChanges(pages []uint64) (image.Image, []uint64, bool, error) {
	img, pages, all, err := e.Store.PinChanges(pages)
	if err != nil {
		return nil, pages, false, err
	}
	return img, pages, all, nil
}

// watch checks file, log and process lock once per interval.
func (s *Store) watch() {
	err := s.file.Check()
	s.mu.Lock()
	loop, told := s.loop, s.watched
	s.watched = ""
	if err != nil {
		s.watched = err.Error()
	}
	s.mu.Unlock()
	switch {
	case err == nil:
	case errors.Is(err, image.ErrNeedsSave):
		loop.Soon()
	case err.Error() != told:
		s.opts.Logger.Error("sqlite-mem: the file or what is beside it was changed", "path", s.opts.Path, "error", err)
	}
	s.serve()
}

// start starts the loop, the flusher and the serving of tools, if the store has a file and
// they do not run.
func (s *Store) start() {
	if s.opts.Path == "" {
		return
	}
	s.startLoops()
	s.serveAgain() // after them, as a tool may commit at once
}

func (s *Store) startLoops() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loop != nil {
		return
	}
	s.loop = schedule.NewLoop(schedule.LoopConfig{
		Interval: s.syncInterval(),
		Save:     s.save,
		Changed:  func() bool { return s.Unsaved() > 0 },
		Tick:     s.watch,
		OnEvent:  s.onEvent,
	})
	if wal := s.WAL(); wal != WALOff {
		s.flusher.Store(schedule.NewFlusher(schedule.FlusherConfig{
			Interval: max(wal, 0),
			Flush:    s.flush,
			Pending:  func() bool { return s.Unlogged() > 0 },
			OnEvent:  s.onFlush,
		}))
	}
}

// stop stops the loop after a last save, and the flusher after a last flush. After an error
// start can be called again.
func (s *Store) stop() error {
	s.mu.Lock()
	loop, flusher := s.loop, s.flusher.Load()
	s.mu.Unlock()
	if loop == nil {
		return nil
	}
	err := loop.Close(context.Background())
	if flusher != nil {
		err = errors.Join(err, flusher.Close())
	}
	s.mu.Lock()
	s.loop = nil
	s.flusher.Store(nil)
	s.mu.Unlock()
	return err
}

// free releases everything except the engine, which is closed already. saved is true if
// the file has the last commit.
func (s *Store) free(saved bool) error {
	var errs []error
	if s.file != nil {
		errs = append(errs, s.file.Close(saved))
	}
	if s.memory != 0 {
		memoryNames.give(s.memory)
	}
	switch {
	case s.lock == nil:
	case saved:
		errs = append(errs, s.lock.ReleaseSaved())
	default:
		errs = append(errs, s.lock.Release())
	}
	return errors.Join(errs...)
}

// giveUp is free for a store that could not be loaded. The record of a server before that
// ended uncleanly stays for the next one.
func (s *Store) giveUp() error {
	lock := s.lock
	s.lock = nil
	err := s.free(false)
	if lock != nil {
		err = errors.Join(err, lock.Abandon())
	}
	return err
}

// beforeSave is replaced by tests that delay a save.
var beforeSave = func(*Store) {}

// save writes the last commit to the file. It takes no lock of the database, so readers
// and writers go on.
func (s *Store) save(awaited bool) (int64, error) {
	beforeSave(s)
	pace := image.Pace{Background: !awaited}
	if interval := s.syncInterval(); interval > 0 {
		pace.Overdue = time.Now().Add(interval)
	}
	s.file.Keep = int(s.settings.keep.Load())
	end := s.pins("a save")
	saved, err := s.file.Save(context.Background(), pace)
	end()
	if err == nil {
		s.saved.Store(saved.Version)
		if flusher := s.flusher.Load(); flusher != nil {
			flusher.Recovered()
		}
		s.serve()
	}
	if saved.NotKept != nil {
		s.opts.Logger.Error("sqlite-mem: the state that the file had before is not kept (sqlite_keep)",
			"path", s.opts.Path, "error", saved.NotKept)
	}
	s.Engine.Drain()
	return saved.Bytes, err
}

func (s *Store) onEvent(ev schedule.Event) {
	s.mu.Lock()
	recovered := ev.Err == nil && s.logged
	if ev.Err == nil || !ev.Awaited {
		s.logged = ev.Err != nil
	}
	if ev.Err == nil {
		s.saves.Durations.Add(ev.Duration)
		s.covered(ev.Start)
	}
	s.saves.Failures = ev.Failures
	s.saves.LastTime = ev.Start
	s.saves.LastDuration = ev.Duration
	s.saves.LastBytes = ev.Bytes
	s.saves.LastError = ev.Err
	s.mu.Unlock()

	// The caller of Sync gets the error of its save. The errors of other saves are logged.
	if ev.Err != nil && !ev.Awaited {
		s.opts.Logger.Error("sqlite-mem: save failed", "path", s.opts.Path, "error", ev.Err, "failures", ev.Failures)
	}
	if recovered {
		s.opts.Logger.Info("sqlite-mem: save works again", "path", s.opts.Path)
	}
	s.events.add(ev)
}

// Sync saves what has changed and returns the bytes written, 0 if nothing has changed. If
// it returns nil, every commit made before the call is durable.
func (s *Store) Sync(ctx context.Context) (int64, error) {
	if s.opts.Path == "" {
		return 0, ErrNoFile
	}
	s.mu.Lock()
	loop := s.loop
	s.mu.Unlock()
	if loop == nil {
		return 0, schedule.ErrClosed
	}
	return loop.Sync(ctx)
}

// Unsaved is the number of commits that the file does not have; 0 without a file.
func (s *Store) Unsaved() uint64 {
	if s.opts.Path == "" {
		return 0
	}
	saved := s.saved.Load() // first: the epoch only grows, so the difference is never negative
	return s.Engine.Epoch() - saved
}

// Start describes the load of the store.
func (s *Store) Start() Start { return s.begun }

// SaveStats returns the counters of the saves.
func (s *Store) SaveStats() SaveStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saves
}

// FlushStats returns the counters of the log.
func (s *Store) FlushStats() FlushStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flushes
}

// Path is the file of the store, empty without a file.
func (s *Store) Path() string { return s.opts.Path }

// Owner is this process as the owner of the file. The store must have one.
func (s *Store) Owner() proclock.Owner { return s.lock.Owner() }

// Logger is where the store and its connections log.
func (s *Store) Logger() *slog.Logger { return s.opts.Logger }

// memoryPath is the name of a database without a file, by its number in memoryNames.
func memoryPath(number int) string {
	return filepath.Join(os.TempDir(), "sqlite-mem-"+strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(number))
}

// memoryNames numbers the databases without a file. Numbers are reused, because the engine
// never frees the names of stores.
var memoryNames numbers

type numbers struct {
	mu   sync.Mutex
	used []bool // guarded by mu; place 0 is number 1
}

func (n *numbers) take() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, used := range n.used {
		if !used {
			n.used[i] = true
			return i + 1
		}
	}
	n.used = append(n.used, true)
	return len(n.used)
}

func (n *numbers) give(i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.used[i-1] = false
}
