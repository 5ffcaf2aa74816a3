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

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/schedule"
	"github.com/sqlite-mem/sqlite-mem/internal/writelock"
)

// Options say what a store is and how it is kept. Two opens of one file in a
// process must agree on all but the functions.
type Options struct {
	Path string // of the file, as osfile.Resolve gives it; empty: in memory only
	Name string // of a database in memory only: those of one name are one

	SyncInterval time.Duration // between two saves; 0: none by itself
	WAL          time.Duration // between two flushes of the log; WALOff: no log, WALCommit: at each commit
	Keep         int           // states that the file had before that are kept; see image.File.Keep
	MaxMemory    int64         // cap on the size in bytes; 0: none
	LockTimeout  time.Duration // longest wait for others that use the file; 0: none

	Logger *slog.Logger         // not nil
	OnSync func(schedule.Event) // may be nil; told of every attempt to save, see events
}

func (o Options) key() string {
	if o.Path == "" {
		return "memory:" + o.Name
	}
	return "file:" + o.Path
}

func (o Options) conflict(other Options) error {
	differ := func(key string, have, want any) error {
		return fmt.Errorf("%w: %s is %v, not %v", ErrOptions, key, have, want)
	}
	switch {
	case o.SyncInterval != other.SyncInterval:
		return differ("sqlite_sync_interval", intervalName(o.SyncInterval), intervalName(other.SyncInterval))
	case o.WAL != other.WAL:
		return differ("sqlite_wal", walName(o.WAL), walName(other.WAL))
	case o.Keep != other.Keep:
		return differ("sqlite_keep", o.Keep, other.Keep)
	case o.MaxMemory != other.MaxMemory:
		return differ("sqlite_max_memory", o.MaxMemory, other.MaxMemory)
	}
	return nil
}

// Store is one database in memory and what keeps its file. Its methods may be
// called at the same time.
type Store struct {
	// Engine holds the pages.
	Engine *memvfs.Store

	// Writer is held by the connection that has a write transaction, or runs a
	// statement that writes, from its beginning to its end. It is taken and
	// given back by LockWriter and UnlockWriter.
	Writer writelock.Lock

	// writer is who holds Writer, nil when nobody does and for a moment at
	// either end.
	writer atomic.Pointer[Owner]

	opts   Options
	entry  *entry
	lock   *proclock.Lock // nil in memory only
	memory int            // in memory only: its number in memoryNames

	// lost is why this process may not own the file any more, nil if it does: see
	// owned. Atomic for every writer.
	lost atomic.Pointer[error]

	// saved is the version that the file holds. Stored by the saving goroutine
	// alone; atomic for those who ask whether there is something to save.
	saved atomic.Uint64

	file   *image.File // nil in memory only
	events *events     // of OnSync
	begun  Start       // set by load

	// flusher is nil without a log, or after stop. Stored under mu; atomic for
	// every commit.
	flusher atomic.Pointer[schedule.Flusher]

	mu      sync.Mutex
	loop    *schedule.Loop // guarded by mu; nil in memory only, or after stop
	saves   SaveStats      // guarded by mu
	flushes FlushStats     // guarded by mu
	logged  bool           // guarded by mu; the log says that saves fail
	watched string         // guarded by mu; the last error of watch
}

// Start tells how the store began.
type Start struct {
	Unclean bool  // the server before ended without closing the file
	Commits int   // recovered from its log, which the file did not have
	Torn    int64 // bytes of one more, which the end of that server had cut short
}

// SaveStats tell of the saves of a store.
type SaveStats struct {
	Saves        uint64        // cumulative: saves that wrote the file
	Failures     int           // current: failed attempts since the last that worked
	LastTime     time.Time     // when the last attempt began; zero: there was none
	LastDuration time.Duration // of the last attempt
	LastBytes    int64         // that the last attempt wrote
	LastError    error         // of the last attempt
}

// FlushStats tell of the log of a store.
type FlushStats struct {
	Flushes      uint64        // cumulative: flushes that wrote to the log
	Failures     int           // current: failed flushes since the last that worked
	LastTime     time.Time     // when the last flush began; zero: there was none
	LastDuration time.Duration // of the last flush
	LastError    error         // of the last flush
}

// load makes the store and fills it from its file.
func load(ctx context.Context, opts Options, e *entry) (s *Store, err error) {
	s = &Store{opts: opts, entry: e, events: newEvents(opts.OnSync)}
	defer func() {
		if err != nil {
			if s.Engine != nil {
				err = errors.Join(err, s.Engine.Close())
			}
			err = errors.Join(err, s.giveUp())
			s = nil
		}
	}()
	path := opts.Path
	if path == "" {
		s.memory = memoryNames.take()
		// SQLite makes a super-journal beside this name when a transaction
		// changes several attached files, so it is in a directory that exists.
		path = filepath.Join(os.TempDir(), "sqlite-mem-"+strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(s.memory))
	} else {
		var end func()
		if s.lock, end, err = acquire(ctx, opts); err != nil {
			return s, err
		}
		defer end()
		// Before the lock was ours, somebody may have put a link there.
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
	if opts.Path == "" {
		s.Engine.Loaded()
		s.saved.Store(s.Engine.Epoch())
		return s, nil
	}
	_, s.begun.Unclean = s.lock.Previous()
	s.file = image.NewFile(path, source{s.Engine}, opts.WAL != WALOff)
	s.file.Keep = opts.Keep
	s.file.Wait = opts.LockTimeout
	s.file.Owned = s.owned
	s.file.CloseLater = func(file io.Closer) { closeWhenFree(path, file) }
	found, err := s.file.Open(ctx, s.Engine)
	if err != nil {
		return s, err
	}
	s.Engine.Loaded()
	if err = s.check(); err != nil {
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
		s.saved.Store(epoch - 1) // the log has more than the file
		s.begun.Commits, s.begun.Torn = found.Commits, found.Torn
		opts.Logger.Info("sqlite-mem: recovered what a crash had left in the log", "path", path,
			"transactions", found.Commits, "bytes", found.LogBytes, "torn", found.Torn)
	}
	s.start()
	return s, nil
}

// acquire makes this process the owner of the file, and keeps its own connections to
// the file on the disk away until end is called. It waits for the transactions of those
// connections, and for those that have it attached; then for tools of other processes
// that write to the file, and for a recovery. A server is no reason to wait.
func acquire(ctx context.Context, opts Options) (lock *proclock.Lock, end func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, opts.LockTimeout)
	defer cancel()
	if by, owned, err := proclock.OwnerOf(opts.Path); err == nil && owned && by.Role == proclock.Server {
		return nil, nil, &proclock.OwnedError{Path: opts.Path, PID: by.PID, Since: by.Since, Role: by.Role}
	}
	// In this order: with the lock, an attached file that is waited for could not be
	// written any more.
	if end, err = memvfs.BeginLoad(ctx, opts.Path); err != nil {
		return nil, nil, err
	}
	if lock, err = proclock.Acquire(ctx, opts.Path, proclock.Server); err != nil {
		end()
		return nil, nil, err
	}
	return lock, end, nil
}

// owned is image.File.Owned: it makes sure that this process still owns the file.
// Somebody may have removed or replaced the lock file. If another process has the file,
// MayWrite refuses writers from then on: what they commit could never be saved.
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

// check looks whether what was loaded is sound, before anybody builds on it.
func (s *Store) check() error {
	if s.Engine.Stats().Size == 0 {
		return nil
	}
	c, err := (&sqlite3.SQLiteDriver{}).Open(s.URI(url.Values{"mode": {"ro"}}))
	if err != nil {
		return fmt.Errorf("check %s: %w", s.opts.Path, err)
	}
	conn := c.(*sqlite3.SQLiteConn)
	_, err = conn.Exec("PRAGMA main.mmap_size=1", nil)
	if err == nil {
		err = image.Check(conn)
	}
	if err := errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("%s: %w", s.opts.Path, err)
	}
	return nil
}

// URI is the name by which go-sqlite3 opens the store, with more parameters. It
// names this store and no later one of the same file: once the store is closed,
// the open fails with SQLITE_CANTOPEN.
func (s *Store) URI(params url.Values) string {
	q := url.Values{}
	for k, v := range params {
		q[k] = v
	}
	q.Set("vfs", memvfs.Name)
	q.Set(memvfs.Param, s.Engine.Param())
	// ToSlash for Windows, where SQLite wants file:///C:/dir/file.
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(s.Engine.Path()), RawQuery: q.Encode()}
	if u.Path[0] != '/' {
		u.Path = "/" + u.Path
	}
	return u.String()
}

// source lets a image.File look at the engine.
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

// watch looks at every interval whether file, log and lock are where they were.
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
}

// start begins the saving, if the store has a file and does not save yet.
func (s *Store) start() {
	if s.opts.Path == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loop != nil {
		return
	}
	s.loop = schedule.NewLoop(schedule.LoopConfig{
		Interval: s.opts.SyncInterval,
		Save:     s.save,
		Changed:  func() bool { return s.Unsaved() > 0 },
		Tick:     s.watch,
		OnEvent:  s.onEvent,
	})
	if s.opts.WAL != WALOff {
		s.flusher.Store(schedule.NewFlusher(schedule.FlusherConfig{
			Interval: max(s.opts.WAL, 0),
			Flush:    s.flush,
			Pending:  func() bool { return s.Unlogged() > 0 },
			OnEvent:  s.onFlush,
		}))
	}
}

// stop ends the saving with a last save, and if that fails with a last flush of
// the log. After an error start can be called.
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

// free gives up what the store has besides its engine, which is closed. saved: the
// file has everything.
func (s *Store) free(saved bool) error {
	var errs []error
	if s.file != nil {
		errs = append(errs, s.file.Close(saved))
	}
	if s.memory != 0 {
		memoryNames.give(s.memory)
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Release())
	}
	return errors.Join(errs...)
}

// giveUp is free for a store that could not be loaded. That a server before ended
// uncleanly stays on record for the next.
func (s *Store) giveUp() error {
	lock := s.lock
	s.lock = nil
	err := s.free(false)
	if lock != nil {
		err = errors.Join(err, lock.Abandon())
	}
	return err
}

// beforeSave is replaced by tests that hold a save up.
var beforeSave = func(*Store) {}

// save writes the last commit to the file. It takes no lock of the database:
// neither readers nor writers notice.
func (s *Store) save(ctx context.Context, awaited bool) (int64, error) {
	beforeSave(s)
	pace := image.Pace{Background: !awaited}
	if s.opts.SyncInterval > 0 {
		pace.Overdue = time.Now().Add(s.opts.SyncInterval)
	}
	saved, err := s.file.Save(ctx, pace)
	if err == nil {
		s.saved.Store(saved.Version)
		if flusher := s.flusher.Load(); flusher != nil {
			flusher.Recovered()
		}
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
		s.saves.Saves++
	}
	s.saves.Failures = ev.Failures
	s.saves.LastTime = ev.Start
	s.saves.LastDuration = ev.Duration
	s.saves.LastBytes = ev.Bytes
	s.saves.LastError = ev.Err
	s.mu.Unlock()

	// Whoever asked for this save is told its error; nobody asked for the
	// others.
	if ev.Err != nil && !ev.Awaited {
		s.opts.Logger.Error("sqlite-mem: save failed", "path", s.opts.Path, "error", ev.Err, "failures", ev.Failures)
	}
	if recovered {
		s.opts.Logger.Info("sqlite-mem: save works again", "path", s.opts.Path)
	}
	s.events.add(ev)
}

// Sync saves what has changed and returns the bytes written, 0 when nothing
// had. Every commit made before the call is on disk when it returns nil.
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

// Backup writes the last commit to a new file at path. It takes no lock of the
// database: neither readers nor writers notice.
func (s *Store) Backup(ctx context.Context, path string) error {
	img, err := s.Engine.Pin()
	if err != nil {
		return err
	}
	err = image.Backup(ctx, path, img)
	img.Release()
	s.Engine.Drain()
	return err
}

// Unsaved is the number of commits that the file does not have; 0 in memory
// only.
func (s *Store) Unsaved() uint64 {
	if s.opts.Path == "" {
		return 0
	}
	saved := s.saved.Load() // first: the epoch only grows, so this never goes below 0
	return s.Engine.Epoch() - saved
}

// Start tells how the store began.
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

// Path is the file of the store, empty in memory only.
func (s *Store) Path() string { return s.opts.Path }

// Logger is where the store and its connections log.
func (s *Store) Logger() *slog.Logger { return s.opts.Logger }

// memoryNames numbers the databases in memory. Numbers are used again, since
// the engine keeps the names of stores.
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
