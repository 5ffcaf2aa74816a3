//go:build cgo

package driver

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/fileconn"
	"github.com/sqlite-mem/sqlite-mem/internal/live"
	"github.com/sqlite-mem/sqlite-mem/internal/memconn"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// backend is one way of working with a database: in memory, or on its file. All but
// the two ways to close it are called by users that have acquired it.
type backend interface {
	// Connect opens a connection, which takes over the use that its caller has
	// acquired: its Close releases that. After an error it is still the caller's.
	Connect(ctx context.Context) (driver.Conn, error)

	Sync(ctx context.Context) error
	Backup(ctx context.Context, path string) error
	BackupTo(ctx context.Context, w io.Writer) error
	restore(ctx context.Context, in incoming, keep string) error
	stats(ctx context.Context) (Stats, error)
	watch(ctx context.Context) (watcher, error)

	// settled reports whether the role of this process is the same for as long as
	// the connector is open. If not, openBackend looks again for each connection.
	settled() bool

	Acquire()       // counts one more user
	Release() error // ends that use

	// The connector closes the backend once. After that only somebody who has a use acquires
	// another. The Release of the last user ends the backend. Close makes durable what is
	// committed by now. CloseWithLast is for the backend of a single connection. The Close of
	// that connection returns the error of ending the backend.
	Close() error
	CloseWithLast() error
}

// memoryBackend is a database in memory.
type memoryBackend struct{ *memconn.Database }

func (memoryBackend) settled() bool                          { return true }
func (b memoryBackend) stats(context.Context) (Stats, error) { return storeStats(b.Store()), nil }

// watch returns a watcher that does not keep the store open.
func (b memoryBackend) watch(context.Context) (watcher, error) { return b.Store().Watch(), nil }

func (b memoryBackend) restore(ctx context.Context, in incoming, keep string) error {
	return b.Restore(ctx, in.from(), keep)
}

// fileBackend is a database on its file, in the role of a tool.
type fileBackend struct {
	*fileconn.Database
	path string
	last bool // no later connection may find this process in another role
}

func (b *fileBackend) settled() bool                        { return b.last }
func (b *fileBackend) stats(context.Context) (Stats, error) { return fileStats(b.path), nil }

func (b *fileBackend) watch(context.Context) (watcher, error) {
	return nil, fmt.Errorf("sqlite-mem: %s: %w", b.path, ErrNotServed)
}

func (b *fileBackend) restore(ctx context.Context, in incoming, keep string) error {
	return b.Restore(ctx, in.from().Read, keep)
}

// openBackend finds out the role of this process for the database, and opens the backend
// for that role. The parameter now is the backend that was used so far, nil if none.
// openBackend returns it if it is still the right one.
func openBackend(ctx context.Context, cfg *Config, now backend) (backend, error) {
	if now != nil && now.settled() {
		return now, nil
	}
	if cfg.noFile() {
		b, err := openMemory(ctx, cfg, cfg.memoryStore())
		if err != nil {
			return nil, connerr.Open(cmp.Or(cfg.MemoryName, ":memory:"), err)
		}
		return b, nil
	}
	path, err := osfile.Resolve(cfg.Path)
	if err != nil {
		return nil, connerr.Open(cfg.Path, err)
	}
	role, err := roleOf(cfg)
	if err != nil {
		return nil, err
	}
	if mode := cfg.Params["mode"]; mode == "ro" || mode == "rw" {
		if _, err := os.Stat(path); err != nil {
			// A server that has not saved yet has the database all the same.
			if by, owned, ownerErr := proclock.OwnerOf(path); ownerErr == nil && owned && by.MayBeLive() &&
				errors.Is(err, fs.ErrNotExist) && role != RoleServer && !cfg.direct() && cfg.live() {
				return openLive(cfg, path, now), nil
			}
			return nil, connerr.Open(cfg.Path, fileconn.NotThere(path, fmt.Errorf("mode=%s: %w", mode, err)))
		}
	}
	if cfg.direct() {
		if options := cfg.memoryOptions(); len(options) > 0 {
			cfg.logger().Info("sqlite-mem: "+path+": options without effect, because sqlite_in_memory=no", "path", path, "options", options)
		}
		return openFile(cfg, path, true), nil
	}
	if role == RoleTool {
		return openTool(cfg, path, now), nil
	}
	if b, ok := now.(*liveBackend); ok && noRecord(path) {
		return b, nil // to ask for the lock would take a second
	}
	wait := cfg.busyTimeout()
	if now != nil {
		wait = 0 // a tool can do its work meanwhile, and the next connection tries again
	}
	b, err := openMemory(ctx, cfg, cfg.fileStore(path, wait))
	if err == nil {
		return b, nil
	}
	if role == RoleAuto && mayOnlyRead(path, err) {
		by, owned := errors.AsType[*proclock.OwnedError](err)
		if owned && by.MayBeLive() && cfg.live() {
			return openLive(cfg, path, now), nil
		}
		b, ok := now.(*fileBackend)
		if !ok {
			if owned {
				cfg.notLive(path, by.PID, by.Live)
			}
			b = openFile(cfg, path, false)
		}
		// A process that may not write the file does not try again to serve it.
		b.SetMayServe(owned)
		return b, nil
	}
	if role == RoleAuto && cfg.live() && connerr.IsBusy(err) && ctx.Err() == nil && noRecord(path) {
		return openLive(cfg, path, now), nil
	}
	if now != nil && connerr.IsBusy(err) && ctx.Err() == nil {
		return now, nil
	}
	return nil, connerr.Open(cfg.Path, err)
}

// openTool is openBackend for a process that is never the server.
func openTool(cfg *Config, path string, now backend) backend {
	by, owned, err := proclock.OwnerOf(path)
	owned = owned && err == nil // the file is opened for an error
	if owned && by.MayBeLive() && cfg.live() {
		return openLive(cfg, path, now)
	}
	if b, ok := now.(*fileBackend); ok {
		return b
	}
	if owned {
		cfg.notLive(path, by.PID, by.Live)
	}
	return openFile(cfg, path, !cfg.live())
}

// noRecord reports whether the database has an owner whose record is missing, as its disk
// is full. It may be a server that answers.
func noRecord(path string) bool {
	by, owned, err := proclock.OwnerOf(path)
	return err == nil && owned && by.PID == 0
}

// notLive tells the logger that a server serves tools, but not this one.
func (c *Config) notLive(path string, server int, serves bool) {
	if serves && live.Supported && c.Live != Off && !c.live() {
		c.logger().Warn("sqlite-mem: "+path+": the file is read as last saved, because Extensions and ConnectHook cannot run in the process that serves it", "path", path, "server", server)
	}
}

// mayOnlyRead reports whether err, of opening the database in memory, makes this process
// a tool in the role auto. It does if another process serves the database, or if this one
// may not write it. Every other failure may pass, and decides no role.
func mayOnlyRead(path string, err error) bool {
	if owned, ok := errors.AsType[*proclock.OwnedError](err); ok {
		return owned.Path == path
	}
	if !errors.Is(err, snapshot.ErrReadOnly) && !(errors.Is(err, proclock.ErrUnavailable) && proclock.ReadOnly(err)) {
		return false
	}
	_, statErr := os.Stat(path)
	return statErr == nil
}

func openMemory(ctx context.Context, cfg *Config, opts store.Options) (backend, error) {
	db, err := memconn.Open(ctx, memoryConnections(cfg, opts))
	if err != nil {
		return nil, err
	}
	return memoryBackend{db}, nil
}

// memoryConnections are the options of connections to a store.
func memoryConnections(cfg *Config, opts store.Options) memconn.Options {
	return memconn.Options{
		Store:         opts,
		Params:        cfg.Params,
		Pragmas:       cfg.pragmaStatements(false),
		TxLock:        string(cfg.txLock()),
		BusyTimeout:   cfg.busyTimeout(),
		StmtCacheSize: cfg.stmtCacheSize(),
		SlowWriter:    cfg.SlowWriter,
		SlowReader:    cfg.SlowReader,
		SlowStacks:    cfg.SlowStacks == On,
		Extensions:    cfg.Extensions,
		ConnectHook:   cfg.ConnectHook,
		NamedMemory:   namedMemory,
		StatsJSON:     func(s *store.Store) (string, error) { return storeStats(s).json() },
	}
}

func openFile(cfg *Config, path string, last bool) *fileBackend {
	db := fileconn.New(fileconn.Options{
		Path:          path,
		Name:          cfg.Path,
		Params:        cfg.Params,
		Pragmas:       cfg.pragmaStatements(true),
		ReadOnly:      cfg.cannotWrite(),
		QueryOnly:     cfg.queryOnly(),
		TxLock:        string(cfg.txLock()),
		BusyTimeout:   cfg.busyTimeout(),
		StmtCacheSize: cfg.stmtCacheSize(),
		Live:          !cfg.direct() && cfg.live(),
		Keep:          cfg.keep(),
		Extensions:    cfg.Extensions,
		ConnectHook:   cfg.ConnectHook,
		Logger:        cfg.logger(),
		StatsJSON:     func() (string, error) { return fileStats(path).json() },
	})
	return &fileBackend{Database: db, path: path, last: last}
}

// fileStore are the options of the store for the file at path. wait is the longest
// wait for others that use the file.
func (c *Config) fileStore(path string, wait time.Duration) store.Options {
	opts := store.Options{
		Path:         path,
		SyncInterval: c.syncInterval(),
		WAL:          c.wal(),
		Keep:         c.keep(),
		MaxMemory:    c.maxMemory(),
		Set:          c.storeSet(),
		SlowReader:   c.SlowReader,
		LockTimeout:  wait,
		Logger:       c.logger(),
		OnSync:       c.OnSync,
		LiveLimit:    c.liveLimit(),
		LiveIdle:     c.liveIdle(),
	}
	if live.Supported && c.Live != Off {
		opts.Serve = c.serve
	}
	return opts
}

// storeSet are the options of a store that c does not leave out.
func (c *Config) storeSet() (set store.Option) {
	for option, given := range map[store.Option]bool{
		store.SetSyncInterval: c.SyncInterval != 0,
		store.SetWAL:          c.WAL != 0,
		store.SetKeep:         c.Keep != 0,
		store.SetMaxMemory:    c.MaxMemory != 0,
		store.SetLive:         c.Live != "",
		store.SetLiveLimit:    c.LiveLimit != 0,
		store.SetLiveIdle:     c.LiveIdle != 0,
	} {
		if given {
			set |= option
		}
	}
	return set
}

// memoryStore are the options of the store for a database that is only in memory.
func (c *Config) memoryStore() store.Options {
	name := "shared " + c.MemoryName
	if c.MemoryName == "" {
		name = "private " + strconv.FormatInt(privateNames.Add(1), 10)
	}
	return store.Options{Name: name, MaxMemory: c.maxMemory(), Set: c.storeSet(), SlowReader: c.SlowReader, Logger: c.logger()}
}

var privateNames atomic.Int64

// namedMemory are the options of the store for a database in memory that has a name, with the
// defaults of this process. It reports false for every other data source name.
func namedMemory(dsn string) (opts store.Options, ok bool, err error) {
	cfg, err := ParseDSN(dsn)
	if err != nil || !cfg.noFile() || cfg.MemoryName == "" {
		return store.Options{}, false, nil
	}
	if cfg, err = cfg.withDefaults(); err != nil {
		return store.Options{}, false, err
	}
	return cfg.memoryStore(), true, nil
}
