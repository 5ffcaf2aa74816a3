//go:build cgo

package store

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
)

// fakeServing serves nobody. It counts its calls.
type fakeServing struct {
	mu      sync.Mutex // guards the fields below
	begun   int
	checked int
	closed  int
	fails   error // of serve, Check and Close
}

func (f *fakeServing) serve(*Store, <-chan struct{}) (Serving, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun++
	if f.fails != nil {
		return nil, f.fails
	}
	return f, nil
}

func (f *fakeServing) Tools() int { return 0 }

func (f *fakeServing) Check(owned func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checked++
	return errors.Join(owned(), f.fails)
}

func (f *fakeServing) Close(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	return f.fails
}

// get returns the number of calls since the last get, and from now on they fail with err.
func (f *fakeServing) get(err error) (begun, checked, closed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	begun, checked, closed = f.begun, f.checked, f.closed
	f.begun, f.checked, f.closed = 0, 0, 0
	f.fails = err
	return begun, checked, closed
}

var errServing = errors.New("serving fails")

// Ensure that the last Release returns an error of the end of serving. The file is saved all
// the same, and nothing is leaked.
func TestServe_endFails(t *testing.T) {
	opts := options(t)
	f := &fakeServing{}
	opts.Serve = f.serve
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	f.get(errServing)
	require.ErrorIs(t, s.Release(), errServing)
	require.Zero(t, Count())
	_, owned, err := proclock.OwnerOf(opts.Path)
	require.NoError(t, err)
	require.False(t, owned)
	begun, _, closed := f.get(nil)
	require.Equal(t, []int{0, 1}, []int{begun, closed})
	s = mustOpen(t, opts)
	exec(t, s, "SELECT * FROM t")
	require.NoError(t, s.Release())
}

// Ensure that each save, flush and interval makes sure that tools find the server, and each
// open. The logger is told of an error once.
func TestServe_checks(t *testing.T) {
	opts := options(t)
	opts.WAL = WALCommit
	f := &fakeServing{}
	opts.Serve = f.serve
	var log bytes.Buffer
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := mustOpen(t, opts)
	for name, does := range map[string]func(){
		"flush": func() { exec(t, s, "CREATE TABLE t(x)"); require.NoError(t, s.Committed(s.Engine.Epoch())) },
		"save": func() {
			exec(t, s, "CREATE TABLE u(x)")
			_, err := s.Sync(ctx)
			require.NoError(t, err)
		},
		"interval": s.watch,
		"open":     func() { require.NoError(t, mustOpen(t, opts).Release()) },
	} {
		f.get(nil)
		does()
		_, checked, _ := f.get(errServing)
		require.NotZero(t, checked, name)
		s.watch()
		s.watch()
	}
	require.Equal(t, 4, strings.Count(log.String(), "tools of other processes cannot connect: serving fails"))
	f.get(nil)
	require.NoError(t, s.Release())
}

// Ensure that a store whose last save has failed serves tools again and saves. The record
// of the process lock says whether tools are served, also if that could not begin at first.
func TestServe_notSaved(t *testing.T) {
	opts := options(t)
	f := &fakeServing{fails: errServing}
	opts.Serve = f.serve
	live := func() bool {
		owner, owned, err := proclock.OwnerOf(opts.Path)
		require.NoError(t, err)
		require.True(t, owned)
		return owner.Live
	}
	s := mustOpen(t, opts)
	require.False(t, live())
	f.get(nil)
	exec(t, s, "CREATE TABLE t(x)")
	_, err := s.Sync(ctx)
	require.NoError(t, err)
	require.True(t, live())

	exec(t, s, "INSERT INTO t VALUES(1)")
	require.NoError(t, os.Rename(opts.Path, opts.Path+"-away"))
	require.NoError(t, os.WriteFile(opts.Path, []byte("not ours"), 0o600))
	f.get(nil)
	var foreign *image.ForeignChangeError
	require.ErrorAs(t, s.Release(), &foreign)
	begun, _, closed := f.get(nil)
	require.Equal(t, []int{1, 1}, []int{begun, closed})
	require.True(t, live())
	require.NoError(t, os.Rename(opts.Path+"-away", opts.Path))
	_, err = s.Sync(ctx)
	require.NoError(t, err, "it goes on without users")
	require.NoError(t, SyncAll(ctx))
	require.Zero(t, Count())
}

// Ensure that a guest's attachment does not keep a store open. Its end ends the guest, waits
// for it, and then saves what it has committed. Meanwhile no other is accepted. A guest that
// does not end is an error, and the store stays.
func TestAttach_guest(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	open := func() *sqlite3.SQLiteConn {
		c, err := (&sqlite3.SQLiteDriver{}).Open(s.URI(nil))
		require.NoError(t, err)
		return c.(*sqlite3.SQLiteConn)
	}
	c := open()
	ended := make(chan struct{})
	detach, ok := s.Attach(ctx, func() { close(ended) })
	require.True(t, ok)
	detachOther, ok := s.Attach(ctx, func() { t.Error("it is gone") })
	require.True(t, ok)
	require.NoError(t, detachOther())
	released := make(chan error)
	go func() { released <- s.Release() }()
	<-ended
	_, ok = s.Attach(ctx, func() {})
	require.False(t, ok, "the store is closing")
	_, err := c.Exec("CREATE TABLE t(x)", nil)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, detach())
	require.NoError(t, <-released)
	require.Zero(t, Count())

	s = mustOpen(t, opts)
	exec(t, s, "SELECT * FROM t")
	was := endTime
	endTime = 0
	t.Cleanup(func() { endTime = was })
	c = open()
	detach, ok = s.Attach(ctx, func() {})
	require.True(t, ok)
	err = s.Release()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, memvfs.ErrInUse)
	require.ErrorContains(t, err, "1 live connections that have attached it have not ended")
	require.Equal(t, 1, Count())
	require.NoError(t, c.Close())
	require.NoError(t, detach())
	require.NoError(t, SyncAll(ctx))
	require.Zero(t, Count())
}

// Ensure that the last Release waits for a connection that has opened the store's file and
// is about to call Attach, or to be refused.
func TestRelease_aboutToAttach(t *testing.T) {
	was := attachTime
	attachTime = time.Minute
	t.Cleanup(func() { attachTime = was })
	opts := options(t)
	s := mustOpen(t, opts)
	saving := make(chan struct{})
	holdSaves(t, func() { close(saving) })
	exec(t, s, "CREATE TABLE t(x)")
	c, err := (&sqlite3.SQLiteDriver{}).Open(s.URI(nil))
	require.NoError(t, err)
	released := make(chan error)
	go func() { released <- s.Release() }()
	<-saving
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.loop == nil
	}, 10*time.Second, time.Microsecond)
	require.NoError(t, c.Close())
	require.NoError(t, <-released)
	require.Zero(t, Count())
}
