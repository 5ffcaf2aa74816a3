//go:build cgo

package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// connector makes the connections of one sql.DB.
type connector struct {
	cfg *Config // never changed

	// turn has capacity 1 and is a lock whose wait heeds a context: who has
	// sent to it may use the fields below.
	turn   chan struct{}
	target target // nil until the first connection
	closed bool
}

// target is what a connector connects to: a store, or a file.
type target interface {
	connect(ctx context.Context) (driver.Conn, error)
	sync(ctx context.Context) (int64, error)
	stats() Stats
	close() error
}

var (
	_ driver.Connector = (*connector)(nil)
	_ io.Closer        = (*connector)(nil)
)

// NewConnector makes a connector, for sql.OpenDB. It keeps a copy of cfg. The
// file is opened with the first connection.
func NewConnector(cfg *Config) (driver.Connector, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &connector{cfg: cfg.clone(), turn: make(chan struct{}, 1)}, nil
}

// Open opens a connection by itself, outside of any sql.DB. The database is
// open as long as the connection is; database/sql uses OpenConnector.
func (d *Driver) Open(name string) (driver.Conn, error) {
	dc, err := d.OpenConnector(name)
	if err != nil {
		return nil, err
	}
	c := dc.(*connector)
	conn, err := c.Connect(context.Background())
	// Closed at once, the connector lets go of the file with its last
	// connection.
	return conn, also(err, c.closeQuietly())
}

// Driver returns a driver that knows this connector: the way from an sql.DB to
// its database for [Sync] and [ReadStats].
func (c *connector) Driver() driver.Driver {
	return &Driver{
		Extensions:  c.cfg.Extensions,
		ConnectHook: c.cfg.ConnectHook,
		Logger:      c.cfg.Logger,
		OnSync:      c.cfg.OnSync,
		connector:   c,
	}
}

// Connect opens a connection, with the first one the database.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	t, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	return t.connect(ctx)
}

// open returns the target, opening it the first time.
func (c *connector) open(ctx context.Context) (target, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.closed {
		return nil, ErrClosed
	}
	if c.target == nil {
		t, err := openTarget(ctx, c.cfg)
		if err != nil {
			return nil, err
		}
		c.target = t
	}
	return c.target, nil
}

// opened returns the target, nil if there was no connection yet.
func (c *connector) opened() (target, error) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if c.closed {
		return nil, ErrClosed
	}
	return c.target, nil
}

// Close is called by DB.Close. The last sql.DB of a file saves what has changed
// and returns the error of that. Connections that are still in use work on, and
// what they commit is saved when the last of them is closed.
func (c *connector) Close() error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if c.closed || c.target == nil {
		c.closed = true
		return nil
	}
	c.closed = true
	return c.target.close()
}

// closeQuietly closes the connector of a connection that was opened by itself,
// which is to be saved when it is closed, not now.
func (c *connector) closeQuietly() error {
	if m, ok := c.target.(*memory); ok {
		m.users.single = true
	}
	return c.Close()
}

// openTarget finds out what this process may do with the database, and opens
// it.
func openTarget(ctx context.Context, cfg *Config) (target, error) {
	if cfg.memory() {
		name := "shared " + cfg.MemoryName
		if cfg.MemoryName == "" {
			name = "private " + strconv.FormatInt(privateNames.Add(1), 10)
		}
		return openMemory(ctx, cfg, store.Options{Name: name, MaxMemory: cfg.MaxMemory, Logger: cfg.logger()})
	}
	path, err := snapshot.Resolve(cfg.Path)
	if err != nil {
		return nil, openErr(cfg.Path, err)
	}
	if mode := cfg.Params["mode"]; mode == "ro" || mode == "rw" {
		if _, err := os.Stat(path); err != nil {
			return nil, openErr(cfg.Path, notThere(path, fmt.Errorf("mode=%s: %w", mode, err)))
		}
	}
	role, err := roleOf(cfg)
	if err != nil {
		return nil, err
	}
	if role == RoleTool || cfg.Direct {
		return openTool(ctx, cfg, path)
	}
	if cfg.WAL != WALOff && runtime.GOOS == "windows" {
		// The log is renamed while it is open, which Windows refuses.
		return nil, openErr(cfg.Path, paramErr("sqlite_wal", formatWAL(cfg.WAL), "it does not work on Windows"))
	}
	t, err := openMemory(ctx, cfg, store.Options{
		Path:         path,
		SyncInterval: cfg.syncInterval(),
		WAL:          cfg.WAL,
		Keep:         cfg.Keep,
		MaxMemory:    cfg.MaxMemory,
		Logger:       cfg.logger(),
		OnSync:       cfg.OnSync,
	})
	if role == RoleAuto {
		var owned *proclock.OwnedError
		switch {
		case errors.As(err, &owned):
			return newTool(cfg, path, nil, owned), nil
		case errors.Is(err, snapshot.ErrReadOnly):
			return newTool(cfg, path, nil, nil), nil
		case errors.Is(err, ErrLockFile):
			// A directory in which nothing can be written: what is there can
			// be read all the same.
			if _, statErr := os.Stat(path); !errors.Is(statErr, fs.ErrNotExist) {
				return newTool(cfg, path, nil, nil), nil
			}
		}
	}
	if err != nil {
		return nil, openErr(cfg.Path, err)
	}
	return t, nil
}

var privateNames atomic.Int64

// notThere adds to the error of a missing file, if somebody owns it, that it is
// not saved yet.
func notThere(path string, err error) error {
	owner, owned, ownerErr := proclock.OwnerOf(path)
	if ownerErr != nil || !owned {
		return err // it is missing all the same
	}
	return fmt.Errorf("%w; %v, who has not saved it yet", err, &proclock.OwnedError{Path: path, PID: owner.PID, Since: owner.Since, Role: owner.Role})
}

// users counts who uses a target: its connector and the connections. The last
// one lets go of it.
type users struct {
	release func() error // lets go of the target
	flush   func() error // what DB.Close does while connections are in use

	// single: the one connection is all there is, so its Close returns the
	// error of release. Set before the target is shared.
	single bool
	logger func(error) // where that error goes otherwise

	mu     sync.Mutex
	conns  int  // guarded by mu
	closed bool // guarded by mu; the connector is
}

func (u *users) add() {
	u.mu.Lock()
	u.conns++
	u.mu.Unlock()
}

// remove is called when a connection is closed.
func (u *users) remove() error {
	u.mu.Lock()
	u.conns--
	last := u.closed && u.conns == 0
	u.mu.Unlock()
	if !last {
		return nil
	}
	err := u.release()
	if err != nil && !u.single {
		// database/sql drops the error of a connection that is closed late.
		u.logger(err)
		return nil
	}
	return err
}

// close is called when the connector is closed.
func (u *users) close() error {
	u.mu.Lock()
	u.closed = true
	last := u.conns == 0
	u.mu.Unlock()
	switch {
	case last:
		return u.release()
	case u.single:
		return nil
	}
	return u.flush()
}
