//go:build cgo

package store

import (
	"context"
	"errors"
	"sync"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// registry holds the stores of this process.
var registry = struct {
	mu      sync.Mutex
	entries map[string]*entry // by Options.key
}{entries: make(map[string]*entry)}

// entry is a place in the registry. It is there from the moment that somebody
// begins to load a store to the moment that its last user has saved it.
type entry struct {
	// ready is closed when the store is loaded or has failed to; then store
	// and err are set.
	ready chan struct{}
	store *Store
	err   error

	// Guarded by registry.mu.
	refs     int
	attached int           // those of refs that are of Attach
	closing  bool          // the last user is saving; who wants the same file waits for
	gone     chan struct{} // which is closed when the entry has left, or stays after all
	waiting  int           // Attach calls that do
}

// Open returns the store of opts.Path, loading it if this process does not
// have it yet. Each Open needs one Release. ctx ends the loading, and the wait
// for another's.
//
// Errors: *proclock.OwnedError when another process has the file,
// proclock.ErrUnavailable when the lock cannot be made, those of
// snapshot.Load and snapshot.Check, and ErrOptions when the store is open with
// other options. Nothing was changed on disk then, but that what a crashed
// program left (a hot journal, a -wal, temporary files of ours) may have been
// cleared up.
func Open(ctx context.Context, opts Options) (*Store, error) {
	for {
		registry.mu.Lock()
		e := registry.entries[opts.key()]
		if e == nil {
			e = &entry{ready: make(chan struct{}), gone: make(chan struct{}), refs: 1}
			registry.entries[opts.key()] = e
			registry.mu.Unlock()
			e.store, e.err = load(ctx, opts, e)
			if e.err != nil {
				e.leave(opts.key())
			}
			close(e.ready)
			return e.store, e.err
		}
		if e.closing {
			gone := e.gone
			registry.mu.Unlock()
			select {
			case <-gone:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			continue
		}
		e.refs++
		registry.mu.Unlock()
		s, err := e.join(ctx, opts)
		if err == errLoadFailed {
			continue // whoever loaded it gave up, perhaps by a context of its own
		}
		return s, err
	}
}

var errLoadFailed = errors.New("store: load failed")

// join waits until the store is loaded, for a caller that is already counted.
func (e *entry) join(ctx context.Context, opts Options) (*Store, error) {
	select {
	case <-e.ready:
	case <-ctx.Done():
		// The count must go down even so, when the store is there.
		go func() {
			<-e.ready
			if e.err != nil {
				return
			}
			if err := e.store.Release(); err != nil {
				opts.Logger.Error("sqlite-mem: close", "path", opts.Path, "error", err)
			}
		}()
		return nil, ctx.Err()
	}
	if e.err != nil {
		return nil, errLoadFailed
	}
	if err := e.store.opts.conflict(opts); err != nil {
		return nil, errors.Join(err, e.store.Release())
	}
	e.store.start()
	return e.store, nil
}

// leave takes the entry out of the registry.
func (e *entry) leave(key string) {
	registry.mu.Lock()
	delete(registry.entries, key)
	close(e.gone)
	registry.mu.Unlock()
}

// Release gives back one Open. The last one stops the saving, saves what has
// changed since the last save (unless the interval is 0), frees the memory and
// gives up the file. If that save fails, its error is returned and the store
// stays in memory, so that the next Open in this process finds everything and
// tries again.
func (s *Store) Release() error {
	e := s.entry
	registry.mu.Lock()
	e.refs--
	if e.refs > 0 {
		// Whoever opened the file last is told whether it is saved, though
		// connections of other databases still have it attached.
		save := e.refs == e.attached && s.opts.Path != "" && s.opts.SyncInterval > 0
		registry.mu.Unlock()
		if !save {
			return nil
		}
		_, err := s.Sync(context.Background())
		if errors.Is(err, snapshot.ErrClosed) {
			return nil // they have gone meanwhile, and the last of them saved
		}
		return err
	}
	e.closing = true
	registry.mu.Unlock()

	err := s.stop()
	saved := s.Unsaved() == 0
	if err == nil {
		// It fails when a connection is attaching the store: that has the file
		// open, and waits in Attach.
		err = s.Engine.Close()
	}
	if err != nil {
		registry.mu.Lock()
		e.closing = false
		close(e.gone) // those who wait look again, and find it
		e.gone = make(chan struct{})
		attached := errors.Is(err, memvfs.ErrInUse) && e.waiting > 0
		registry.mu.Unlock()
		if attached {
			return nil
		}
		return err
	}
	err = s.free(saved)
	e.leave(s.opts.key())
	return err
}

// Attach is an Open by a connection that has opened the store's file in the
// engine already (ATTACH). It needs a Detach. False: the store is not loaded.
func (s *Store) Attach() bool {
	e := s.entry
	select {
	case <-e.ready:
	default:
		return false
	}
	registry.mu.Lock()
	e.waiting++
	for e.closing {
		gone := e.gone
		registry.mu.Unlock()
		<-gone
		registry.mu.Lock()
	}
	e.waiting--
	e.refs++
	e.attached++
	registry.mu.Unlock()
	s.start()
	return true
}

// Detach is the Release of an Attach.
func (s *Store) Detach() error {
	registry.mu.Lock()
	s.entry.attached--
	registry.mu.Unlock()
	return s.Release()
}

// Count is the number of stores that this process has open, for tests.
func Count() int {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	return len(registry.entries)
}
