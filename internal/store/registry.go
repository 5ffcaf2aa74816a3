//go:build cgo

package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
)

// registry holds the stores of this process.
var registry = struct {
	mu      sync.Mutex
	entries map[string]*entry // by Options.key
}{entries: make(map[string]*entry)}

// entry is the entry of a store in the registry, from the beginning of its load to the end
// of its last save.
type entry struct {
	// ready is closed when the load has ended. store and err are set then.
	ready chan struct{}
	store *Store
	err   error

	// Guarded by registry.mu.
	refs     int                 // users: Open, Find and Attach without their Release or detach
	attached int                 // users by Attach
	settled  int                 // users that have called Settle
	closing  bool                // true while the last user saves; others of the same file wait for gone
	gone     chan struct{}       // closed when the entry has left the registry, or stays after all
	waiting  int                 // calls of Attach that wait for gone
	stays    bool                // true if the entry stays for them: none of them gives up
	guests   map[*guest]struct{} // attachments that are not users; nil: there were none
}

// Open returns the store of opts.Path, and loads it if this process does not have it yet.
// Each Open needs one Release. The end of ctx ends the load, and the wait for another load.
//
// A store whose last save failed is still in memory, without users. It saves by the interval
// and serves tools. Open returns it. If the options differ, Open saves it first and loads it
// again.
//
// The error is a *proclock.OwnedError when another process has the file, and
// proclock.ErrUnavailable when the lock cannot be made. It is ErrOptions when the
// store is open with other options: see settings.go. Other errors are those of image.File.Open and
// image.Check. After an error the disk is unchanged, with one exception. The rest of
// a crash may have been removed: a hot journal, a -wal, temporary files.
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

// enter adds a user to the entry of o, and waits while its last user saves. loads is true
// if the entry is new: the caller loads the store.
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

// errAgain means that the entry has left the registry and the caller starts over.
var errAgain = errors.New("store: look again")

// join waits until the store is loaded. The caller is counted as a user already.
func (e *entry) join(ctx context.Context, opts Options) (*Store, error) {
	select {
	case <-e.ready:
	case <-ctx.Done():
		// The user must be counted down when the load has ended.
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
		return nil, errAgain // the load failed, perhaps by its own context
	}
	e.store.start()
	conflict := e.store.adopt(ctx, opts)
	if conflict == nil {
		return e.store, nil
	}
	alone := e.users() == 1
	err := e.store.Release()
	switch {
	case !alone || !errors.Is(conflict, ErrOptions):
		return nil, errors.Join(conflict, err)
	case err != nil:
		return nil, fmt.Errorf("%w; it is kept in memory since a Close that could not save it: %w", conflict, err)
	}
	return nil, errAgain // it is saved and gone; the next load has these options
}

func (e *entry) users() int {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	return e.refs
}

// Find returns the store of the file at path, or nil if this process does not have it. It
// also returns a store whose last save failed. Each returned store needs a Release. Find
// waits while the last user saves.
func Find(ctx context.Context, path string) (*Store, error) {
	return find(ctx, Options{Path: path}.key())
}

// FindMemory is Find for a database without a file, by Options.Name.
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

// SyncAll makes every commit before the call durable, for every store with a file. It
// uses the log, or a save if there is no log. It waits for all stores and returns all
// errors.
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
				err = s.MakeDurable(ctx)
			}
			errs[i] = errors.Join(err, s.Release())
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// leave removes the entry from the registry.
func (e *entry) leave(key string) {
	registry.mu.Lock()
	delete(registry.entries, key)
	close(e.gone)
	registry.mu.Unlock()
}

// Release ends one Open or Find. The last Release stops the loop and saves what has changed
// since the last save, unless the interval is 0. Then it frees the memory and releases the
// process lock. If that save fails, Release returns its error and the store stays in
// memory; the next Open in this process finds it and saves it. The last Release first ends
// the connections of tools. Its error has theirs too, and then the store is freed all the
// same, unless one of them still runs. The other Releases make durable what was committed:
// see Settle.
func (s *Store) Release() error {
	return s.release(func() error { return s.settle(1) }, func(*entry) {})
}

// ReleaseSettled is Release for a user that has called Settle.
func (s *Store) ReleaseSettled() error {
	return s.release(func() error { return s.settle(0) }, func(e *entry) { e.settled-- })
}

// release removes a user, and calls settle first if others stay. It calls uncount under
// registry.mu, with the decrement of refs.
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
		// The others have released meanwhile, and this is the last user.
	}
	e.refs--
	uncount(e)
	e.closing = true
	registry.mu.Unlock()

	s.start()             // a cancelled Open has not called it
	ended := s.endTools() // what tools have committed is saved
	err := s.stop()
	saved := s.Unsaved() == 0
	if err == nil {
		err = s.closeEngine(ended == nil)
	}
	if err != nil {
		s.start() // the store goes on
		registry.mu.Lock()
		e.closing, e.stays = false, false
		close(e.gone) // waiters look again and find the store
		e.gone = make(chan struct{})
		attached := errors.Is(err, memvfs.ErrInUse) && e.waiting > 0
		registry.mu.Unlock()
		s.events.wait()
		if attached {
			err = nil
		}
		return join(ended, err)
	}
	err = s.free(saved)
	e.leave(s.opts.key())
	s.events.wait()
	return join(ended, err)
}

// join also joins err with ended. A single error is returned unwrapped.
func join(ended, err error) error {
	if ended == nil {
		return err
	}
	return errors.Join(ended, err)
}

// attachTime is how long closeEngine waits for a connection that is about to call Attach. It
// is in the middle of a call of SQLite's that takes microseconds. It is a variable for the
// tests.
var attachTime = time.Second

// closeEngine closes the engine. It fails if a connection is attaching the store. That
// connection has the file open and waits in Attach, or is about to call it. A guest is
// refused there, and closes the file. If idle is false, a connection of a tool has not
// ended. It is not waited for again.
func (s *Store) closeEngine(idle bool) error {
	for start := time.Now(); ; {
		err := s.closeMemory()
		if err == nil || !idle || s.entry.attaching() || time.Since(start) > attachTime {
			return err
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// attaching reports whether a call of Attach waits. Then the entry has to stay.
func (e *entry) attaching() bool {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	e.stays = e.waiting > 0
	return e.stays
}

// Attach is Open for a connection that has already opened the store's file in the engine
// (ATTACH). Each Attach needs a call of detach, which is Release for it. Only the last user
// saves. The commits of the attachment are as durable as any other. Attach waits for that save,
// if it runs. It returns false if the store is not loaded, or ctx has ended that wait.
//
// With end, the attachment is that of a guest. It is no user, and does not keep the store
// open. The last Release calls end, which must end the connection soon, from any goroutine,
// and then waits for detach. While the store is closing Attach returns false.
func (s *Store) Attach(ctx context.Context, end func()) (detach func() error, ok bool) {
	e := s.entry
	select {
	case <-e.ready:
	default:
		return nil, false
	}
	if end != nil {
		return e.attachGuest(end)
	}
	registry.mu.Lock()
	e.waiting++
	for e.closing {
		gone, ended := e.gone, ctx.Done()
		if e.stays {
			ended = nil // gone is closed soon
		} else if ctx.Err() != nil {
			e.waiting--
			registry.mu.Unlock()
			return nil, false
		}
		registry.mu.Unlock()
		select {
		case <-gone:
		case <-ended:
		}
		registry.mu.Lock()
	}
	e.waiting--
	e.refs++
	e.attached++
	registry.mu.Unlock()
	s.start()
	return func() error {
		return s.release(func() error { return nil }, func(e *entry) { e.attached-- })
	}, true
}

// attachGuest is Attach with end. It need not start the store. A store whose last save has
// failed goes on.
func (e *entry) attachGuest(end func()) (detach func() error, ok bool) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if e.closing {
		return nil, false
	}
	g := &guest{end: end, gone: make(chan struct{})}
	if e.guests == nil {
		e.guests = make(map[*guest]struct{})
	}
	e.guests[g] = struct{}{}
	return func() error {
		registry.mu.Lock()
		delete(e.guests, g)
		registry.mu.Unlock()
		close(g.gone)
		return nil
	}, true
}

// Count is the number of stores of this process, for tests.
func Count() int {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	return len(registry.entries)
}
