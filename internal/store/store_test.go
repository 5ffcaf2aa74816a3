//go:build cgo

package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/schedule"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/writelock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

func options(t testing.TB) Options {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.Zero(t, Count(), "stores are left") })
	return Options{Path: filepath.Join(dir, "app.db"), SyncInterval: time.Hour, Set: SetLiveIdle<<1 - 1, Logger: slog.New(slog.DiscardHandler)}
}

func mustOpen(t testing.TB, opts Options) *Store {
	t.Helper()
	s, err := Open(ctx, opts)
	require.NoError(t, err)
	return s
}

// exec runs SQL in a store, by a connection of its own.
func exec(t testing.TB, s *Store, query string) {
	t.Helper()
	c, err := (&sqlite3.SQLiteDriver{}).Open(s.URI(nil))
	require.NoError(t, err)
	_, err = c.(*sqlite3.SQLiteConn).Exec(query, nil)
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// Ensure that a file has one store however many open it at once, and that it is loaded,
// saved and closed once.
func TestOpen_together(t *testing.T) {
	opts := options(t)
	for round := range 20 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		stores := map[*Store]bool{}
		for range 8 {
			wg.Go(func() {
				s, err := Open(ctx, opts)
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				mu.Lock()
				stores[s] = true
				mu.Unlock()
				if err := s.Release(); err != nil {
					t.Errorf("release: %v", err)
				}
			})
		}
		s := mustOpen(t, opts)
		exec(t, s, fmt.Sprintf("CREATE TABLE t%d(x)", round))
		wg.Wait()
		require.NoError(t, s.Release())
		_, owned, err := proclock.OwnerOf(opts.Path)
		require.NoError(t, err)
		require.False(t, owned)
	}
	s := mustOpen(t, opts)
	exec(t, s, "SELECT * FROM t0, t19")
	require.NoError(t, s.Release())
}

// Ensure that a file whose load failed can be opened after the cause is removed, and that
// the failed load leaves nothing.
func TestOpen_loadFails(t *testing.T) {
	opts := options(t)
	require.NoError(t, os.WriteFile(opts.Path, []byte(strings.Repeat("no database ", 100)), 0o600))
	_, err := Open(ctx, opts)
	require.ErrorIs(t, err, sqlitefile.ErrNotADatabase)
	require.Zero(t, Count())
	_, owned, err := proclock.OwnerOf(opts.Path)
	require.NoError(t, err)
	require.False(t, owned)
	require.NoError(t, os.Remove(opts.Path))
	require.NoError(t, mustOpen(t, opts).Release())
}

// Ensure that the end of the context ends the wait for another load or save, not the load
// or save itself.
func TestOpen_context(t *testing.T) {
	opts := options(t)
	e := &entry{ready: make(chan struct{}), gone: make(chan struct{}), refs: 1}
	registry.mu.Lock()
	registry.entries[opts.key()] = e
	registry.mu.Unlock()
	short, cancel := context.WithCancel(ctx)
	cancel()
	_, err := Open(short, opts)
	require.ErrorIs(t, err, context.Canceled)
	e.err = errors.New("failed")
	e.leave(opts.key())
	close(e.ready)

	s := mustOpen(t, opts)
	registry.mu.Lock()
	s.entry.closing = true
	registry.mu.Unlock()
	_, err = Open(short, opts)
	require.ErrorIs(t, err, context.Canceled)
	registry.mu.Lock()
	s.entry.closing = false
	registry.mu.Unlock()
	require.NoError(t, s.Release())
}

// Ensure that the error for different options names them, and that options without effect
// on the store may differ.
func TestOpen_options(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	for key, change := range map[string]func(*Options){
		"sqlite_sync_interval": func(o *Options) { o.SyncInterval = time.Minute },
		"sqlite_keep":          func(o *Options) { o.Keep = 1 },
		"sqlite_max_memory":    func(o *Options) { o.MaxMemory = 1 },
		"sqlite_live is no":    func(o *Options) { o.Serve = (&fakeServing{}).serve },
		"sqlite_live_limit":    func(o *Options) { o.LiveLimit = 1 },
		"sqlite_live_idle":     func(o *Options) { o.LiveIdle = time.Second },
	} {
		other := opts
		change(&other)
		_, err := Open(ctx, other)
		require.ErrorIs(t, err, ErrOptions)
		require.ErrorContains(t, err, key)
	}
	other := opts
	other.Logger = slog.Default()
	require.NoError(t, mustOpen(t, other).Release())
	require.NoError(t, s.Release())
}

// Ensure that a failed background save is logged once for each failure, that the recovery
// is logged, and that a failed Sync is not.
func TestSave_logged(t *testing.T) {
	opts := options(t)
	var log strings.Builder
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	events := make(chan schedule.Event, 10)
	opts.OnSync = func(e schedule.Event) { events <- e }
	opts.SyncInterval = 10 * time.Millisecond
	s := mustOpen(t, opts)
	dir := filepath.Dir(opts.Path)
	require.NoError(t, os.Rename(dir, dir+"-away"))
	exec(t, s, "CREATE TABLE t(x)")
	first := <-events
	require.Error(t, first.Err)
	require.Equal(t, 1, first.Failures)
	require.Positive(t, s.SaveStats().Failures)
	_, err := s.Sync(ctx)
	require.Error(t, err)
	require.NoError(t, os.Rename(dir+"-away", dir))
	for e := range events {
		if e.Err == nil {
			break
		}
	}
	require.NoError(t, s.Release())
	require.Contains(t, log.String(), "save failed")
	require.Contains(t, log.String(), "save works again")
	require.Zero(t, s.SaveStats().Failures)
}

// Ensure that databases without a file are shared by name, and that their numbers are
// reused.
func TestMemory(t *testing.T) {
	a := mustOpen(t, Options{Name: "a", Logger: slog.Default()})
	b := mustOpen(t, Options{Name: "b", Logger: slog.Default()})
	again := mustOpen(t, Options{Name: "a", Logger: slog.Default()})
	require.Same(t, a, again)
	require.NotEqual(t, a.Engine.Path(), b.Engine.Path())
	exec(t, a, "CREATE TABLE t(x)")
	_, err := a.Sync(ctx)
	require.ErrorIs(t, err, ErrNoFile)
	require.Zero(t, a.Unsaved())
	path := a.Engine.Path()
	require.NoError(t, a.Release())
	require.NoError(t, again.Release())
	c := mustOpen(t, Options{Name: "c", Logger: slog.Default()})
	require.Equal(t, path, c.Engine.Path())
	require.NoError(t, c.Release())
	require.NoError(t, b.Release())
	require.Zero(t, Count())
}

// Ensure that an ATTACH waits while the last user saves. The store then stays until the
// DETACH. A store that is not loaded cannot be attached.
func TestAttach(t *testing.T) {
	opts := options(t)
	_, ok := (&Store{entry: &entry{ready: make(chan struct{})}}).Attach(ctx, nil)
	require.False(t, ok)

	saving, save := make(chan struct{}), make(chan struct{})
	holdSaves(t, func() { saving <- struct{}{}; <-save })
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	released := make(chan error)
	go func() { released <- s.Release() }()
	<-saving
	c, err := (&sqlite3.SQLiteDriver{}).Open(s.URI(nil)) // as ATTACH does, before it asks
	require.NoError(t, err)
	attached := make(chan func() error)
	go func() {
		detach, ok := s.Attach(ctx, nil)
		if !ok {
			t.Error("it is refused")
		}
		attached <- detach
	}()
	waiting(t, s.entry)
	close(save)
	require.NoError(t, <-released)
	detach := <-attached
	require.Equal(t, 1, Count())

	go func() { <-saving }()
	_, err = c.(*sqlite3.SQLiteConn).Exec("CREATE TABLE u(x)", nil)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, detach())
	require.Zero(t, Count())
	go func() { <-saving }()
	s = mustOpen(t, opts)
	exec(t, s, "DROP TABLE u; DROP TABLE t")
	require.NoError(t, s.Release())
}

// Ensure that the end of a context ends the wait of an ATTACH at once, and at any moment of the
// last save. The store is then saved and gone, or it stays until the DETACH.
func TestAttach_context(t *testing.T) {
	opts := options(t)
	saving, save := make(chan struct{}), make(chan struct{})
	holdSaves(t, func() { saving <- struct{}{}; <-save })
	round := func(i int, at func(cancel func())) (ok bool) {
		s := mustOpen(t, opts)
		exec(t, s, fmt.Sprintf("CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(%d)", i))
		released := make(chan error, 1)
		go func() { released <- s.Release() }()
		<-saving
		c, err := (&sqlite3.SQLiteDriver{}).Open(s.URI(nil)) // as ATTACH does, before it asks
		require.NoError(t, err)
		wait, cancel := context.WithCancel(ctx)
		var canceller sync.WaitGroup
		defer canceller.Wait()
		defer cancel()
		canceller.Go(func() { at(cancel) })
		detach, ok := s.Attach(wait, nil)
		require.NoError(t, c.Close()) // as SQLite does then, too
		if ok {
			require.NoError(t, <-released)
			require.Equal(t, 1, Count())
			require.NoError(t, detach())
		} else {
			require.ErrorIs(t, wait.Err(), context.Canceled)
			if i == 0 {
				close(save)
			}
			require.NoError(t, <-released)
		}
		require.Zero(t, Count())
		return ok
	}
	require.False(t, round(0, func(cancel func()) { cancel() }), "while it saves")
	for i := 1; i <= 100; i++ { // at any moment behind the save
		save = make(chan struct{})
		round(i, func(cancel func()) {
			close(save)
			for start := time.Now(); time.Since(start) < time.Duration(i)*200*time.Microsecond; {
				runtime.Gosched()
			}
			cancel()
		})
	}

	// When the store has seen that it must stay, the ATTACH has to take it.
	s := mustOpen(t, opts)
	exec(t, s, "DROP TABLE t")
	e := s.entry
	registry.mu.Lock()
	e.closing, e.stays = true, true
	registry.mu.Unlock()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	attached := make(chan bool)
	var detach func() error
	go func() {
		var ok bool
		detach, ok = s.Attach(ended, nil)
		attached <- ok
	}()
	waiting(t, e)
	registry.mu.Lock()
	e.closing, e.stays = false, false
	close(e.gone)
	e.gone = make(chan struct{})
	registry.mu.Unlock()
	require.True(t, <-attached)
	require.NoError(t, detach())
	go func() { <-saving }()
	require.NoError(t, s.Release())
}

// waiting waits until a call of Attach waits for the entry.
func waiting(t testing.TB, e *entry) {
	require.Eventually(t, func() bool {
		registry.mu.Lock()
		defer registry.mu.Unlock()
		return e.waiting == 1
	}, 10*time.Second, time.Millisecond)
}

// holdSaves calls hold before every save of the test.
func holdSaves(t testing.TB, hold func()) {
	was := beforeSave
	beforeSave = func(*Store) { hold() }
	t.Cleanup(func() { beforeSave = was })
}

// Ensure that OnSync delays no save and no Sync. Its calls come one after the other in
// order. The last call ends before the last Release returns.
func TestOnSync_order(t *testing.T) {
	opts := options(t)
	var got []time.Time
	first := make(chan struct{})
	opts.OnSync = func(e schedule.Event) {
		if len(got) == 0 {
			<-first
		}
		got = append(got, e.Start)
	}
	s := mustOpen(t, opts)
	for i := range 5 {
		exec(t, s, fmt.Sprintf("CREATE TABLE t%d(x)", i))
		n, err := s.Sync(ctx)
		require.NoError(t, err)
		require.Positive(t, n)
	}
	exec(t, s, "CREATE TABLE last(x)")
	time.AfterFunc(20*time.Millisecond, func() { close(first) })
	require.NoError(t, s.Release())
	require.Len(t, got, 6)
	require.IsIncreasing(t, []int64{got[0].UnixNano(), got[1].UnixNano(), got[2].UnixNano(), got[3].UnixNano(), got[4].UnixNano(), got[5].UnixNano()})
}

// Ensure that OnSync may release its own store, or another whose OnSync releases the first,
// without a deadlock.
func TestOnSync_release(t *testing.T) {
	a, b := options(t), options(t)
	var sa, sb *Store
	done := make(chan error, 2)
	both := make(chan struct{})
	var n atomic.Int32
	meet := func() {
		if n.Add(1) == 2 {
			close(both)
		}
		<-both
	}
	a.OnSync = func(e schedule.Event) { meet(); done <- sb.Release() }
	b.OnSync = func(e schedule.Event) { meet(); done <- sa.Release() }
	sa, sb = mustOpen(t, a), mustOpen(t, b)
	for _, s := range []*Store{sa, sb} {
		exec(t, s, "CREATE TABLE t(x)")
		_, err := s.Sync(ctx)
		require.NoError(t, err)
	}
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	require.Zero(t, Count())
}

// notSaved returns the options of a store whose last Release failed to save a table t, and
// a function that makes saves work again.
func notSaved(t *testing.T) (opts Options, mend func()) {
	opts = options(t)
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	dir := filepath.Dir(opts.Path)
	require.NoError(t, os.Rename(dir, dir+"-away"))
	require.Error(t, s.Release())
	require.Equal(t, 1, Count())
	return opts, func() { require.NoError(t, os.Rename(dir+"-away", dir)) }
}

// Ensure that a store whose last Release failed is found later, and is saved or kept. It
// is found by the same Open, one with other options, a cancelled one, Find, and SyncAll.
func TestRelease_notSaved(t *testing.T) {
	other := func(o Options) Options { o.Keep = 2; return o }
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for name, use := range map[string]func(t *testing.T, opts Options, works bool){
		"open": func(t *testing.T, opts Options, works bool) {
			s := mustOpen(t, opts)
			exec(t, s, "SELECT * FROM t")
			require.Equal(t, works, s.Release() == nil)
		},
		"open with other options": func(t *testing.T, opts Options, works bool) {
			s, err := Open(ctx, other(opts))
			if !works {
				require.ErrorIs(t, err, ErrOptions)
				require.ErrorIs(t, err, os.ErrNotExist)
				return
			}
			require.NoError(t, err)
			exec(t, s, "SELECT * FROM t")
			require.NoError(t, s.Release())
		},
		"cancelled open": func(t *testing.T, opts Options, works bool) {
			s, err := Open(cancelled, opts)
			if err == nil { // the store is there, there is nothing to wait for
				require.Equal(t, works, s.Release() == nil)
			}
		},
		"find": func(t *testing.T, opts Options, works bool) {
			s, err := Find(ctx, opts.Path)
			require.NoError(t, err)
			if s == nil {
				require.True(t, works)
				return
			}
			_, err = s.Sync(ctx)
			require.Equal(t, works, err == nil)
			require.Equal(t, works, s.Release() == nil)
		},
		"sync all": func(t *testing.T, opts Options, works bool) {
			require.Equal(t, works, SyncAll(ctx) == nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts, mend := notSaved(t)
			for range 2 {
				use(t, opts, false)
				unused(t, opts)
			}
			mend()
			use(t, opts, true)
			unused(t, opts)
			s := mustOpen(t, opts)
			exec(t, s, "SELECT * FROM t")
			require.NoError(t, s.Release())
			s = mustOpen(t, opts)
			exec(t, s, "SELECT * FROM t")
			require.NoError(t, s.Release())
		})
	}
}

// unused waits until the store is closed or kept without users.
func unused(t *testing.T, opts Options) {
	require.Eventually(t, func() bool {
		registry.mu.Lock()
		defer registry.mu.Unlock()
		e := registry.entries[opts.key()]
		return e == nil || e.refs == 0 && !e.closing
	}, 10*time.Second, time.Millisecond)
}

// Ensure that a Release that is not the last makes the commits durable by the log, if there
// is one. The last Release saves.
func TestRelease_flushes(t *testing.T) {
	opts := options(t)
	opts.WAL = time.Hour
	s, other := mustOpen(t, opts), mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	_, err := s.Sync(ctx)
	require.NoError(t, err)
	exec(t, s, "INSERT INTO t VALUES(1)")
	require.EqualValues(t, 1, s.Unlogged())
	require.NoError(t, s.Release())
	require.Zero(t, other.Unlogged())
	require.EqualValues(t, 1, other.Unsaved())
	require.NoError(t, other.Release())
	require.NoFileExists(t, opts.Path+"-memwal")
}

// Ensure that SyncAll makes every store durable, by its log or by a save, ends with its
// context, and returns the errors of all.
func TestSyncAll(t *testing.T) {
	logged, plain, manual, broken := options(t), options(t), options(t), options(t)
	logged.WAL = time.Hour
	manual.SyncInterval = 0
	var stores []*Store
	for _, opts := range []Options{logged, plain, manual, broken} {
		s := mustOpen(t, opts)
		stores = append(stores, s)
		exec(t, s, "CREATE TABLE t(x)")
	}
	memory := mustOpen(t, Options{Name: t.Name(), Logger: slog.Default()})
	require.NoError(t, SyncAll(ctx))
	for _, s := range stores {
		require.Zero(t, s.Unlogged())
		exec(t, s, "INSERT INTO t VALUES(1)")
	}
	dir := filepath.Dir(broken.Path)
	require.NoError(t, os.Rename(dir, dir+"-away"))
	err := SyncAll(ctx)
	require.ErrorContains(t, err, broken.Path)
	for i, s := range stores {
		require.Equal(t, i == 3, s.Unlogged() > 0)
	}
	require.Positive(t, stores[0].LogBytes())
	require.NoError(t, os.Rename(dir+"-away", dir))

	release := make(chan struct{})
	holdSaves(t, func() { <-release })
	exec(t, stores[1], "INSERT INTO t VALUES(2)")
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, SyncAll(short), context.DeadlineExceeded)
	close(release)
	for _, s := range append(stores, memory) {
		require.NoError(t, s.Release())
	}
}

// Ensure that the last Release keeps a store that another connection has open, and that the
// next one frees it.
func TestRelease_inUse(t *testing.T) {
	was := attachTime
	attachTime = 0
	t.Cleanup(func() { attachTime = was })
	opts := options(t)
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	c, err := (&sqlite3.SQLiteDriver{}).Open(s.URI(nil))
	require.NoError(t, err)
	require.ErrorIs(t, s.Release(), memvfs.ErrInUse)
	require.Same(t, s, mustOpen(t, opts))
	require.NoError(t, c.Close())
	exec(t, s, "DROP TABLE t")
	require.NoError(t, s.Release())
}

// Ensure that the last of two or three owners that complete a deadlock is refused, and that
// an owner outside of one is not.
func TestLockWriter_deadlock(t *testing.T) {
	for _, n := range []int{1, 2, 3} {
		stores, owners := make([]Store, n), make([]Owner, n+1)
		for i := range stores {
			stores[i].memoryWatch.closed = true // there is no engine to look at
		}
		lock := func(s, o int) error { return stores[s].LockWriter(ctx, time.Minute, "x", &owners[o]) }
		for i := range n {
			require.NoError(t, lock(i, i))
		}
		done := make(chan error)
		for i := range n - 1 {
			go func() { done <- lock(i+1, i) }()
			require.Eventually(t, func() bool { return stores[i+1].Writer.Stats().Waiting == 1 }, 10*time.Second, time.Millisecond)
		}
		short, cancel := context.WithCancel(ctx)
		cancel()
		// Outside of the circle one waits.
		require.ErrorIs(t, stores[n-1].LockWriter(ctx, 0, "x", &owners[n]), writelock.ErrTimeout)
		require.ErrorIs(t, stores[0].LockWriter(short, time.Minute, "x", &owners[n]), context.Canceled)
		require.ErrorIs(t, lock(0, n-1), ErrDeadlock)
		// The last gives up; the others go on, one after the other.
		for i := n - 1; i >= 0; i-- {
			if i < n-1 {
				require.NoError(t, <-done)
				stores[i+1].UnlockWriter(&owners[i])
			}
			stores[i].UnlockWriter(&owners[i])
		}
		for i := range n {
			require.False(t, stores[i].Writer.Stats().Held)
			require.Zero(t, owners[i].held)
		}
	}
}

// Ensure that a save begins a new log when the log is larger than the database.
func TestFlush_rotation(t *testing.T) {
	defer func(was int64) { logMin = was }(logMin)
	logMin = 1 << 20
	opts := options(t)
	opts.WAL = WALCommit
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(1000000))")
	for i := 0; s.SaveStats().Durations.Count < 3; i++ {
		require.Less(t, i, 1000)
		exec(t, s, "UPDATE t SET x=randomblob(1000000)")
		require.NoError(t, s.Committed(s.Engine.Epoch()))
		require.Less(t, s.LogBytes(), int64(100<<20))
	}
	require.Zero(t, s.Unlogged())
	require.NoError(t, s.Release())
}
