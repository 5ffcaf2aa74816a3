//go:build cgo

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// RestoreFrom is where the new database of a restore comes from. Read gives it to a sink.
type RestoreFrom struct {
	path string // for errors; empty: a stream
	Read func(context.Context, image.Sink) error
}

// FromFile is the database file at path. A file that a process serves is refused, as it may lack
// commits.
func FromFile(path string) RestoreFrom {
	return RestoreFrom{path, func(ctx context.Context, sink image.Sink) error {
		target, err := notServed(path)
		if err != nil {
			return image.RestoreError(path, err)
		}
		return image.ReadFile(ctx, path, sink, func(f io.Closer) { closeWhenFree(target, f) })
	}}
}

// FromStream is the database file that r has.
func FromStream(r io.Reader) RestoreFrom {
	return RestoreFrom{"", func(ctx context.Context, sink image.Sink) error { return image.ReadStream(ctx, r, sink) }}
}

// RestoreOptions are the options of a restore.
type RestoreOptions struct {
	Keep string        // path of a new file for the state that is replaced; empty: none
	Wait time.Duration // longest wait for the write lock; 0: none
}

// Restore replaces the database by the one that from gives, as one commit.
//
//  1. The new database is loaded into an engine of its own and checked, as a load of its file
//     is. Readers and writers go on.
//  2. Under the write lock, the state that ends is kept: in the file of opts.Keep. With
//     Options.Keep it is saved, so that step 4 keeps the file. Readers go on.
//  3. The new database becomes the next commit, in constant time. Readers finish on the old
//     one. The write lock is free again.
//  4. The new database is saved. No log can express the change: the page numbers are void. So a
//     flush of the log would be a save too. A crash leaves the state before, with all that was
//     durable, or the new one.
//
// After nil the new database is durable, unless Options.SyncInterval is 0: then nothing but an
// explicit Sync writes the file. An error is a [*NotDurableError] if the new database is the
// last commit, and step 4 has failed; the next save that succeeds makes it durable. After any
// other error the database is as it was, and the file has at most been saved.
func (s *Store) Restore(ctx context.Context, from RestoreFrom, opts RestoreOptions) error {
	// One at a time: each has a database in memory.
	select {
	case s.restoring <- struct{}{}:
		defer func() { <-s.restoring }()
	case <-ctx.Done():
		return ctx.Err()
	}
	next, err := loadIncoming(ctx, from, s.room)
	if err != nil {
		return err
	}
	err = s.replaceBy(ctx, next, opts)
	if cerr := next.close(); cerr != nil {
		s.opts.Logger.Error("sqlite-mem: close what a restore has loaded", "path", s.opts.Path, "error", cerr)
	}
	if err != nil {
		return err
	}
	s.restores.Add(1)
	s.expose(s.Engine.Epoch())
	s.Engine.Drain()
	s.drain.soon() // for what readers hold
	if s.opts.Path == "" || s.syncInterval() == 0 {
		return nil
	}
	if _, err := s.Sync(ctx); err != nil {
		if flusher := s.flusher.Load(); flusher != nil {
			flusher.Soon()
		}
		return &NotDurableError{Path: s.opts.Path, Committed: true, Err: err}
	}
	return nil
}

// replaceBy is steps 2 and 3 of Restore.
func (s *Store) replaceBy(ctx context.Context, next *incoming, opts RestoreOptions) error {
	var owner Owner
	if err := s.LockWriter(ctx, opts.Wait, "restore", &owner); err != nil {
		return err
	}
	defer s.UnlockWriter(&owner)
	if err := s.MayWrite(); err != nil {
		return err
	}
	// Nobody commits from here on. A save or a backup takes no lock of the database.
	if opts.Keep != "" {
		if err := s.Backup(ctx, opts.Keep); err != nil {
			return err
		}
	}
	if s.settings.keep.Load() > 0 && s.syncInterval() > 0 && s.Unsaved() > 0 {
		if _, err := s.Sync(ctx); err != nil {
			return fmt.Errorf("sqlite-mem: restore %s: the state that it replaces is not saved, and so not kept (sqlite_keep): %w", s.opts.Path, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	old, err := encodingOf(s.Engine)
	if err != nil {
		return err
	}
	encoding, err := encodingOf(next.engine)
	if err != nil {
		return err
	}
	s.replacing.Lock()
	s.replaces.Store(true)
	wrapped, err := s.Engine.Replace(next.engine)
	if err == nil && (old != encoding || wrapped) {
		s.retired.Add(1)
	}
	s.replaces.Store(false)
	s.replacing.Unlock()
	var full sqlite3.Error
	if errors.As(err, &full) && full.Code == sqlite3.ErrFull {
		err = s.noRoom(err)
	}
	return err
}

// Retired is a number that grows when all connections that are open become useless, as a
// restore has changed the text encoding. A connection is bound to the encoding that it has read
// first. The number grows right behind the commit of the restore: see Replaced.
func (s *Store) Retired() uint64 { return s.retired.Load() }

// Replaced returns when no restore is between its commit and the number of Retired. So whoever has
// seen the new database then finds the number of it. Step 3 of Restore takes constant time, but
// for page versions that it frees at the limit of the memory.
func (s *Store) Replaced() {
	if s.replaces.Load() {
		s.replacing.Lock()
		defer s.replacing.Unlock()
	}
}

// Restores is the number of restores.
func (s *Store) Restores() uint64 { return s.restores.Load() }

// encodingOf returns the text encoding of the last commit: see sqlitefile.Encoding.
func encodingOf(e *memvfs.Store) (int, error) {
	img, err := e.Pin()
	if err != nil {
		return 0, err
	}
	defer img.Release()
	var head [sqlitefile.HeaderSize]byte
	_, _ = img.ReadAt(head[:], 0) // never fails, and gives zeros if there is no page
	return sqlitefile.Encoding(head[:]), nil
}

// joined returns err with an error from cleaning up behind it.
func joined(err, more error) error {
	if more == nil {
		return err
	}
	return errors.Join(err, more)
}

// room makes sure that a database of size bytes may take the place of this one, with
// sqlite_max_memory. It only saves the work of loading it. Engine.Replace decides.
func (s *Store) room(size int64) error {
	limit := s.opts.MaxMemory
	if limit == 0 {
		return nil
	}
	st := s.Engine.Stats()
	if limit = max(limit, st.Size); size <= limit && st.Live+st.Held+size > 2*limit {
		s.Engine.Drain()
		st = s.Engine.Stats()
	}
	if size > limit || st.Live+st.Held+size > 2*limit {
		return s.noRoom(sqlite3.Error{Code: sqlite3.ErrFull})
	}
	return nil
}

func (s *Store) noRoom(err error) error {
	return fmt.Errorf("restore: with the page versions that old readers hold, the new database does not fit into sqlite_max_memory (%d bytes): end old transactions, or raise it: %w",
		s.opts.MaxMemory, err)
}

// notServed returns the path of a file that no process serves, with symbolic links resolved.
func notServed(path string) (target string, err error) {
	if target, err = osfile.Resolve(path); err != nil {
		return "", err
	}
	owner, owned, err := proclock.OwnerOf(target)
	switch {
	case errors.Is(err, proclock.ErrNotALock), proclock.ReadOnly(err):
		return target, nil // nobody serves it where nothing can be written
	case err != nil:
		return "", err
	case owned:
		return "", fmt.Errorf("%w; back it up, and restore from the backup", owner.Owned(target))
	}
	return target, nil
}

// incoming is a database that is to take the place of another one.
type incoming struct {
	engine *memvfs.Store
	number int // in memoryNames
	room   func(size int64) error
}

// loadIncoming loads and checks the database that from gives. room says whether there is room
// for one of that size.
func loadIncoming(ctx context.Context, from RestoreFrom, room func(int64) error) (_ *incoming, err error) {
	n := &incoming{number: memoryNames.take(), room: room}
	loaded := false
	defer func() {
		if !loaded { // after an error, or a panic of a Read
			err = joined(err, n.close())
		}
	}()
	// The owner is no *Store, so no connection can attach it: see memvfs.Hooks.
	if n.engine, err = memvfs.NewStore(memoryPath(n.number), 0, n); err != nil {
		return nil, err
	}
	if err = from.Read(ctx, n); err != nil {
		return nil, err
	}
	n.engine.Loaded()
	if err = checkEngine(ctx, n.engine); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, image.RestoreError(from.path, err)
	}
	loaded = true
	return n, nil
}

// Reserve implements image.Sink.
func (n *incoming) Reserve(pageSize int, size int64) error {
	if err := n.room(size); err != nil {
		return err
	}
	return n.engine.Reserve(pageSize, size)
}

// Next implements image.Sink.
func (n *incoming) Next(max int) ([]byte, error) { return n.engine.Next(max) }

func (n *incoming) close() (err error) {
	if n.engine != nil {
		err = n.engine.Close()
	}
	memoryNames.give(n.number)
	return err
}

// checkEngine makes sure that the database in e is sound. The end of ctx interrupts it.
func checkEngine(ctx context.Context, e *memvfs.Store) error {
	c, err := (&sqlite3.SQLiteDriver{}).Open(uriOf(e, url.Values{"mode": {"ro"}}))
	if err != nil {
		return err
	}
	conn := c.(*sqlite3.SQLiteConn)
	link, err := e.Link(conn, checking{ctx})
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	link.SetCancellable(ctx.Done() != nil)
	_, err = conn.Exec("PRAGMA main.mmap_size=1", nil)
	if err == nil {
		err = image.Check(conn)
	}
	err = errors.Join(err, conn.Close())
	link.Close()
	return err
}

// checking are the hooks of a connection that only reads.
type checking struct{ ctx context.Context }

var _ memvfs.Hooks = checking{}

func (c checking) LockWrite() error                      { return errDiskReadOnly }
func (c checking) UnlockWrite()                          {}
func (c checking) Cancelled() bool                       { return c.ctx.Err() != nil }
func (c checking) Attach(any, *memvfs.Conn) memvfs.Hooks { return nil }
func (c checking) Detached()                             {}
func (c checking) DiskRefused(error)                     {}
