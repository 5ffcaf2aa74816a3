//go:build cgo

package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// connector makes the connections of one sql.DB.
type connector struct {
	cfg *Config // never changed

	// ending is done when Close begins: that ends a load which is under way.
	ending context.Context
	end    context.CancelFunc

	// turn has capacity 1 and is a lock whose wait heeds a context. Whoever has sent
	// to it may use the fields below. No other lock of the driver is held then but
	// that of a users.
	turn   chan struct{}
	target target // nil until the first use
	closed bool
}

// target is what a connector connects to: a store (memory), or a file (tool). All
// but close are called by those that connector.use has counted.
type target interface {
	connect(ctx context.Context) (driver.Conn, error)
	sync(ctx context.Context) (int64, error)
	stats() Stats

	enter()       // counts a user
	leave() error // ends that
	close() error // ends the connector's own use, once
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
	ending, end := context.WithCancel(context.Background())
	return &connector{cfg: cfg.clone(), ending: ending, end: end, turn: make(chan struct{}, 1)}, nil
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
	t, err := c.use(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := t.connect(ctx)
	if err != nil {
		return nil, also(err, t.leave())
	}
	return conn, nil // its Close leaves
}

// use returns the target for one more user, who has to leave it. It opens the target
// the first time, and again when the role may have changed. It refuses once Close
// has begun.
func (c *connector) use(ctx context.Context) (target, error) {
	// A load can take long, and Close need not wait for it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ending, cancel)()

	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, c.ended(ctx.Err())
	}
	if c.closed {
		return nil, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, c.ended(err)
	}
	t, err := openTarget(ctx, c.cfg, c.target)
	if err != nil {
		return nil, c.ended(err)
	}
	if c.target != nil && c.target != t {
		// Its connections give way to new ones: see fileConn.ResetSession.
		if err := c.target.close(); err != nil {
			c.cfg.logger().Error("sqlite-mem: close", "path", c.cfg.Path, "error", err)
		}
	}
	c.target = t
	t.enter()
	return t, nil
}

// ended is ErrClosed instead of the error of a context that Close has ended.
func (c *connector) ended(err error) error {
	if c.ending.Err() != nil && errors.Is(err, context.Canceled) {
		return ErrClosed
	}
	return err
}

// useOpened is use for who wants nothing to be opened: nil if nothing is.
func (c *connector) useOpened(ctx context.Context) (target, error) {
	select {
	case c.turn <- struct{}{}: // a load can be under way
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.closed {
		return nil, ErrClosed
	}
	if c.target != nil {
		c.target.enter()
	}
	return c.target, nil
}

// Close is called by DB.Close. From here on nobody begins to use the database. The
// last sql.DB of a file saves what has changed and returns the error of that.
// Connections that are still in use work on, and what they commit is saved when the
// last of them is closed.
func (c *connector) Close() error {
	c.end()
	c.turn <- struct{}{}
	t := c.target
	if c.closed {
		t = nil
	}
	c.closed = true
	<-c.turn
	if t == nil {
		return nil
	}
	return t.close()
}

// closeQuietly closes the connector of a connection that was opened by itself,
// which is to be saved when it is closed, not now.
func (c *connector) closeQuietly() error {
	if m, ok := c.target.(*memory); ok {
		m.single = true
	}
	return c.Close()
}

// openTarget finds out what this process may do with the database, and opens it. now
// is what it did so far, nil if nothing, and is returned if that is still right.
func openTarget(ctx context.Context, cfg *Config, now target) (target, error) {
	if t, ok := now.(*tool); now != nil && (!ok || !t.auto) {
		return now, nil
	}
	if cfg.memory() {
		return openMemory(ctx, cfg, cfg.memoryOptions(cfg.logger()))
	}
	path, err := osfile.Resolve(cfg.Path)
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
		return newTool(cfg, path, false), nil
	}
	if cfg.hasWAL() && runtime.GOOS == "windows" {
		// The log is renamed while it is open, which Windows refuses.
		return nil, openErr(cfg.Path, paramErr("sqlite_wal", formatWAL(cfg.WAL), "it does not work on Windows"))
	}
	wait := cfg.busyTimeout()
	if now != nil {
		wait = 0 // a tool can do its work meanwhile, and the next connection tries again
	}
	t, err := openMemory(ctx, cfg, store.Options{
		Path:         path,
		SyncInterval: cfg.syncInterval(),
		WAL:          cfg.wal(),
		Keep:         cfg.Keep,
		MaxMemory:    cfg.MaxMemory,
		LockTimeout:  wait,
		Logger:       cfg.logger(),
		OnSync:       cfg.OnSync,
	})
	if err == nil {
		return t, nil
	}
	if role == RoleAuto && mayOnlyRead(path, err) {
		t, ok := now.(*tool)
		if !ok {
			t = newTool(cfg, path, true)
		}
		_, owned := errors.AsType[*proclock.OwnedError](err)
		t.denied.Store(!owned)
		return t, nil
	}
	if now != nil && isBusy(err) && ctx.Err() == nil {
		return now, nil
	}
	return nil, openErr(cfg.Path, err)
}

// mayOnlyRead reports whether err, of opening the database in memory, is one for
// which the role auto makes this process a tool: another process serves it, or it
// may not be written here at all. Everything else may pass, and decides no role.
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

// memoryOptions are the options of a database that is only in memory.
func (c *Config) memoryOptions(logger *slog.Logger) store.Options {
	name := "shared " + c.MemoryName
	if c.MemoryName == "" {
		name = "private " + strconv.FormatInt(privateNames.Add(1), 10)
	}
	return store.Options{Name: name, MaxMemory: c.MaxMemory, Logger: logger}
}

var privateNames atomic.Int64
