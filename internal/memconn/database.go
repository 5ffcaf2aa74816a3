//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/sqltime"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// GuestUnknown is Options.Guest of another process whose number is not known.
const GuestUnknown = -1

// Options say which database to open, and how its connections behave.
type Options struct {
	Store store.Options // the database, and how it is kept

	Params        map[string]string // of go-sqlite3 and of SQLite's URIs, by their name in a DSN
	Pragmas       []string          // statements that each new connection runs, before ConnectHook
	TxLock        string            // how a transaction that may write begins: deferred, immediate or exclusive
	BusyTimeout   time.Duration     // longest wait for the write lock; 0: none
	SlowWriter    time.Duration     // a connection that holds a write lock for longer is logged; 0: none is
	SlowReader    time.Duration     // a connection that keeps a state for longer is logged; 0: none is
	SlowStacks    bool              // with the stack of where that began
	StmtCacheSize int               // statements that each connection keeps; 0: none

	// Extensions and ConnectHook are those of sqlite3.SQLiteDriver.
	Extensions  []string
	ConnectHook func(*sqlite3.SQLiteConn) error

	// NamedMemory returns the options of the database that is only in memory and has
	// this data source name, file:NAME?mode=memory&cache=shared. Its
	// Logger is not used. ok is false for every other name.
	NamedMemory func(dsn string) (opts store.Options, ok bool, err error)

	// Guest is the process that the connections are for. It is 0 for this process, and
	// GuestUnknown if the system does not tell. The write lock's holder names it. NoFiles keeps
	// SQL from naming files. End ends the only connection of a guest soon, and may be called
	// from any goroutine.
	Guest   int
	NoFiles bool
	End     func(reason string)

	// StatsJSON is the SQL function sqlite_mem_stats.
	StatsJSON func(*store.Store) (string, error)
}

// Database is a database in memory to which connections can be opened. It holds its
// store until its connector has closed it and its last user has released it.
type Database struct {
	refCount
	opts  *Options
	store *store.Store
	loc   *time.Location  // of times that are read; nil: they stay as they are
	times *sqltime.Format // how times are kept; nil: as go-sqlite3 does
	uri   string          // by which go-sqlite3 opens it
	plain string          // uri without auto_vacuum
	kept  kept
}

// SetUp is run on each new connection, behind go-sqlite3's own pragmas.
//
//   - mmap_size lets readers use the pages of the engine where they are. Any
//     size over 0 does, as nothing is mapped.
//   - synchronous=OFF: there is nothing to sync, and the pager does less.
//   - journal_mode=TRUNCATE keeps one buffer for the journals of the
//     connection: see internal/memvfs/journal.c.
const SetUp = "PRAGMA main.mmap_size=1073741824; PRAGMA main.synchronous=OFF; PRAGMA main.journal_mode=TRUNCATE"

// SetUpCache is run when the user has not set the size of the page cache. A large cache
// only costs memory. Readers do not use it, and a writer begins with an empty one after
// each commit of another connection. Pages that a cache frees go back to the system, and
// malloc takes them from it again. SQLite allocates 20 pages in one piece and keeps them.
// The changed pages of a transaction stay in the cache up to 500, SQLite's default.
const SetUpCache = "PRAGMA main.cache_size=20; PRAGMA main.cache_spill=500"

// Open opens the store, and loads it if nobody has. Each use of the database is
// counted: see refCount.
func Open(ctx context.Context, opts Options) (*Database, error) {
	s, err := store.Open(ctx, opts.Store)
	if err != nil {
		return nil, err
	}
	d := ofStore(s, opts)
	d.free = s.Release
	d.flush = func() error {
		d.free = s.ReleaseSettled // the last to leave is counted until flush has ended
		return s.Settle()
	}
	d.report = func(err error) {
		opts.Store.Logger.Error("sqlite-mem: close", "path", s.Path(), "error", err)
	}
	return d, nil
}

// OfGuest returns the database of a store that somebody else has open. It does not
// keep the store open. The user that does has to close the connections first.
func OfGuest(s *store.Store, opts Options) *Database {
	d := ofStore(s, opts)
	d.free = func() error { return nil }
	d.flush = d.free
	d.report = func(error) {}
	return d
}

func ofStore(s *store.Store, opts Options) *Database {
	q := url.Values{}
	for k, v := range opts.Params {
		q.Set(k, v)
	}
	if mode := q.Get("mode"); mode != "ro" {
		q.Del("mode") // checked when the file was opened
	}
	if !q.Has("_mutex") {
		// database/sql uses a connection from one goroutine at a time, so
		// SQLite need not lock it at every call.
		q.Set("_mutex", "no")
	}
	q.Set("_busy_timeout", strconv.FormatInt(opts.BusyTimeout.Milliseconds(), 10))
	q.Set("_stmt_cache_size", strconv.Itoa(opts.StmtCacheSize))
	times, _ := sqltime.New(opts.Params) // they were checked
	d := &Database{opts: &opts, store: s, loc: sqltime.Location(opts.Params), times: times, uri: s.URI(q)}
	q.Del("_auto_vacuum")
	q.Del("_vacuum")
	d.plain = s.URI(q)
	return d
}

// Store returns the store.
func (d *Database) Store() *store.Store { return d.store }

// Sync saves what has changed.
func (d *Database) Sync(ctx context.Context) error {
	_, err := d.store.Sync(ctx)
	return err
}

// Backup writes the last commit to a new file.
func (d *Database) Backup(ctx context.Context, path string) error { return d.store.Backup(ctx, path) }

// BackupTo writes the last commit to w.
func (d *Database) BackupTo(ctx context.Context, w io.Writer) error {
	_, err := d.store.WriteTo(ctx, w)
	return err
}

// Restore replaces the database by the one that from gives: see store.Store.Restore. keep is
// the name of a new file for the state that ends, or empty.
func (d *Database) Restore(ctx context.Context, from store.RestoreFrom, keep string) error {
	err := d.store.Restore(ctx, from, store.RestoreOptions{Keep: keep, Wait: d.opts.BusyTimeout})
	return lockError(d.store, "restore", err)
}

// Close ends the connector's use: see refCount.Close. Kept connections are closed before, so
// that they delay no last save.
func (d *Database) Close() error {
	d.kept.end()
	return d.refCount.Close()
}

// CloseWithLast is Close for a database of a single connection, whose Close returns the
// error of the last save. That connection is not kept.
func (d *Database) CloseWithLast() error {
	d.kept.end()
	return d.refCount.CloseWithLast()
}

// Connect opens a connection. It takes over the use that its caller has acquired, and
// the connection's Close releases it. After an error the caller still has the use.
func (d *Database) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := d.connect(ctx)
	if err != nil {
		return nil, err // not a *conn that is nil
	}
	return &lease{c}, nil
}

func (d *Database) connect(ctx context.Context) (*conn, error) {
	// A new connection does not wait for a writer because its auto_vacuum would
	// take the write lock for nothing. Where it does write, go-sqlite3 sets it
	// before the connection is linked and can take the lock for itself.
	uri, lock := d.uri, false
	if want, set := wantedAutoVacuum(d.opts.Params); set {
		same, writes, err := d.autoVacuumOnOpen(want)
		switch {
		case err != nil:
			return nil, err
		case same:
			uri = d.plain
		default:
			lock = writes
		}
	}
	if uri == d.plain {
		if c := d.kept.take(); c != nil {
			c.link.Renew()
			return c, d.Release() // it has a use of its own, so this one is never the last
		}
	}
	c := &conn{store: d.store, db: d, opts: d.opts, loc: d.loc, times: d.times, opened: time.Now(), retiredAt: d.store.Retired()}
	c.renewable = uri == d.plain && d.opts.Guest == 0 && d.opts.ConnectHook == nil && len(d.opts.Extensions) == 0
	c.slow = newSlow(c)
	if lock {
		if err := c.lock(ctx, "open a connection"); err != nil {
			return nil, err
		}
	}
	sd := &sqlite3.SQLiteDriver{Extensions: d.opts.Extensions, ConnectHook: func(inner *sqlite3.SQLiteConn) error {
		return c.connected(ctx, inner)
	}}
	panicked := true
	defer func() {
		if panicked { // in the user's ConnectHook
			if err := c.Close(); err != nil {
				d.report(err)
			}
		}
	}()
	_, err := sd.Open(uri)
	panicked = false
	if err != nil {
		if c.link != nil {
			c.unlink()
			c.link = nil
		}
		if c.locked {
			c.unlock()
		}
		c.slow.close()
		return nil, err
	}
	return c, nil
}

// connected is the ConnectHook.
func (c *conn) connected(ctx context.Context, inner *sqlite3.SQLiteConn) error {
	if c.locked {
		c.unlock()
	}
	c.inner = inner
	link, err := c.store.Engine.Link(inner, c)
	if err != nil {
		return err
	}
	c.link = link
	link.SetBusyTimeout(int(c.opts.BusyTimeout.Milliseconds()))
	if _, err := inner.ExecContext(background, SetUp+"; "+sqlitefile.FullSync, nil); err != nil {
		return err
	}
	if c.opts.Params["_cache_size"] == "" {
		if _, err := inner.ExecContext(background, SetUpCache, nil); err != nil {
			return err
		}
	}
	if err := c.registerFunctions(); err != nil {
		return err
	}
	// In the way of a user's statements: one may wait for the write lock, and commit.
	for _, query := range c.opts.Pragmas {
		if _, err := c.ExecContext(ctx, query, nil); err != nil {
			return fmt.Errorf("sqlite-mem: %s: %s: %w", c.store.Path(), query, err)
		}
	}
	if c.opts.ConnectHook != nil || len(c.opts.Extensions) > 0 {
		c.userCode, c.authorizerLost = true, true
		link.UserCode()
	}
	if c.opts.ConnectHook != nil {
		if err := c.hook(ctx); err != nil {
			return err
		}
	}
	if c.opts.NoFiles {
		return c.refuseFiles()
	}
	if c.renewable {
		return link.Renewable()
	}
	return nil
}

// hook calls the user's ConnectHook. The end of ctx interrupts its statements, and their
// waits for a write lock.
func (c *conn) hook(ctx context.Context) error {
	if ctx.Done() != nil {
		c.ctx = ctx
		c.link.SetCancellable(true)
		defer func() {
			c.ctx = nil
			c.link.SetCancellable(false)
		}()
	}
	err := c.opts.ConnectHook(c.inner)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// refuseFiles keeps SQL from naming files from now on. It comes after the ConnectHook, whose
// statements are the program's. A hook that has set an authorizer has removed the one that
// refuses.
func (c *conn) refuseFiles() error {
	c.link.RefuseFiles()
	s, _, err := c.link.Prepare("SELECT 1", false)
	if err != nil {
		return err
	}
	asked := s.Facts()&memvfs.Asked != 0
	s.Finalize()
	if !asked {
		return errors.New("sqlite-mem: the server's ConnectHook sets an authorizer, so it serves no tool of another user: run the tool as the server's user or root, or open the file with sqlite_live=no")
	}
	return nil
}

// registerFunctions gives the connection the SQL functions of this driver. Two are
// for programs that have nothing but a connection. The others are those of
// attach_memory.go and guest_paths.go.
func (c *conn) registerFunctions() error {
	return errors.Join(
		c.inner.RegisterFunc(attachFunction, c.attachMemory, false),
		c.inner.RegisterFunc(absoluteFunction, absolute, false),
		c.inner.RegisterFunc("sqlite_mem_sync", func() (int64, error) {
			return c.store.Sync(c.statementContext())
		}, false),
		c.inner.RegisterFunc("sqlite_mem_stats", func() (string, error) {
			return c.opts.StatsJSON(c.store)
		}, false),
	)
}
