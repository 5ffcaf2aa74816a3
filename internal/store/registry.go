//go:build cgo

package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
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
	settled  int           // those of refs that have called Settle
	closing  bool          // the last user is saving; who wants the same file waits for
	gone     chan struct{} // which is closed when the entry has left, or stays after all
	waiting  int           // Attach calls that do
}

// Open returns the store of opts.Path, loading it if this process does not
// have it yet. Each Open needs one Release. ctx ends the loading, and the wait
// for another's.
//
// A store whose last save failed is still here, without users. Open finds it
// again. With other options it is saved first and loaded anew with them.
//
// Errors: *proclock.OwnedError when another process has the file,
// proclock.ErrUnavailable when the lock cannot be made, those of
// image.File.Open and image.Check, and ErrOptions when the store is open with
// other options. Nothing was changed on disk then, but that what a crashed
// program left (a hot journal, a -wal, temporary files of ours) may have been
// cleared up.
func Open(ctx context.Context, opts Options) (*Store, error) {
	for {
		e, loads, err := opts.enter(ctx)
		if err != nil {
			return nil, err
		}
		if loads {
			e.store, e.err = load(ctx, opts, e)
			if e.err != nil {
				e.leave(opts.key())
			}
			close(e.ready)
			return e.store, e.err
		}
		s, err := e.join(ctx, opts)
		if err == errAgain {
			continue
		}
		return s, err
	}
}

// enter counts one more user of the entry of o, waiting while its last user
// saves. loads: the entry is new, and whoever made it loads the store.
func (o Options) enter(ctx context.Context) (e *entry, loads bool, err error) {
	for {
		registry.mu.Lock()
		e := registry.entries[o.key()]
		if e == nil {
			e = &entry{ready: make(chan struct{}), gone: make(chan struct{}), refs: 1}
			registry.entries[o.key()] = e
			registry.mu.Unlock()
			return e, true, nil
		}
		if !e.closing {
			e.refs++
			registry.mu.Unlock()
			return e, false, nil
		}
		gone := e.gone
		registry.mu.Unlock()
		select {
		case <-gone:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

// errAgain: the entry has left the registry, and a new one may work.
var errAgain = errors.New("store: look again")

// join waits until the store is loaded, for a caller that is counted already.
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
		return nil, errAgain // whoever loaded it gave up, perhaps by a context of its own
	}
	e.store.start()
	conflict := e.store.opts.conflict(opts)
	if conflict == nil {
		return e.store, nil
	}
	alone := e.users() == 1
	err := e.store.Release()
	switch {
	case !alone:
		return nil, errors.Join(conflict, err)
	case err != nil:
		return nil, fmt.Errorf("%w; it is kept in memory since a Close that could not save it: %w", conflict, err)
	}
	return nil, errAgain // it is saved and gone, and the next is loaded with these options
}

func (e *entry) users() int {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	return e.refs
}

// Find returns the store of the file at path if this process has it, one whose
// last save failed included, and else nil. Each store that is found needs a
// Release. It waits while the last user saves.
func Find(ctx context.Context, path string) (*Store, error) {
	return find(ctx, Options{Path: path}.key())
}

// FindMemory is Find for a database that is only in memory, by Options.Name.
func FindMemory(ctx context.Context, name string) (*Store, error) {
	return find(ctx, Options{Name: name}.key())
}

func find(ctx context.Context, key string) (*Store, error) {
	for {
		registry.mu.Lock()
		e := registry.entries[key]
		if e == nil {
			registry.mu.Unlock()
			return nil, nil
		}
		wait := e.gone
		if !e.closing {
			wait = e.ready
			select {
			case <-e.ready:
				if e.err == nil {
					e.refs++
					registry.mu.Unlock()
					e.store.start()
					return e.store, nil
				}
				wait = e.gone
			default:
			}
		}
		registry.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// SyncAll makes every commit to every store with a file durable that was made
// before the call: by the log where there is one, and else by a save. It waits for
// all of them, and returns all errors.
func SyncAll(ctx context.Context) error {
	registry.mu.Lock()
	keys := slices.Collect(maps.Keys(registry.entries))
	registry.mu.Unlock()
	errs := make([]error, len(keys))
	var wg sync.WaitGroup
	for i, key := range keys {
		wg.Go(func() {
			s, err := find(ctx, key)
			if err != nil || s == nil {
				errs[i] = err
				return
			}
			if s.Path() != "" {
				err = s.makeDurable(ctx)
			}
			errs[i] = errors.Join(err, s.Release())
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// leave takes the entry out of the registry.
func (e *entry) leave(key string) {
	registry.mu.Lock()
	delete(registry.entries, key)
	close(e.gone)
	registry.mu.Unlock()
}

// Release gives back one Open or Find. The last one stops the saving, saves what
// has changed since the last save (unless the interval is 0), frees the memory and
// gives up the file. If that save fails, its error is returned and the store
// stays in memory, so that the next Open in this process finds everything and
// tries again. The others make durable what was committed: see Settle.
func (s *Store) Release() error {
	return s.release(func() error { return s.settle(1) }, func(*entry) {})
}

// ReleaseSettled is the Release of who has called Settle.
func (s *Store) ReleaseSettled() error {
	return s.release(func() error { return s.settle(0) }, func(e *entry) { e.settled-- })
}

// release lets go of the store, calling settle first if others stay. uncount is called
// with registry.mu, when refs goes down.
func (s *Store) release(settle func() error, uncount func(*entry)) error {
	e := s.entry
	registry.mu.Lock()
	if e.refs > 1 {
		registry.mu.Unlock()
		err := settle()
		registry.mu.Lock()
		if e.refs > 1 {
			e.refs--
			uncount(e)
			registry.mu.Unlock()
			return err
		}
		// The others have gone meanwhile, and this is the last.
	}
	e.refs--
	uncount(e)
	e.closing = true
	registry.mu.Unlock()

	s.start() // An Open that was cancelled comes without it.
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
		s.events.wait()
		if attached {
			return nil
		}
		return err
	}
	err = s.free(saved)
	e.leave(s.opts.key())
	s.events.wait()
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

// Detach is the Release of an Attach. Only the last one saves: what was
// committed is durable as any commit is.
func (s *Store) Detach() error {
	return s.release(func() error { return nil }, func(e *entry) { e.attached-- })
}

// Count is the number of stores that this process has open, for tests.
func Count() int {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	return len(registry.entries)
}
