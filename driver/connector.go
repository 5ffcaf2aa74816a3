//go:build cgo

package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/fileconn"
	"github.com/sqlite-mem/sqlite-mem/internal/live"
)

// connector makes the connections of one sql.DB.
type connector struct {
	cfg  *Config // never changed; its Logger logs by late
	late *late

	// ending is done when Close begins. That ends a load which is under way.
	ending context.Context
	end    context.CancelFunc

	// single is true for the connector of a connection that Driver.Open has made. It is
	// closed at once, and its backend is open as long as the connection. Others use it only
	// while they keep the connection open. It never changes after Open.
	single bool

	// turn is a lock, of capacity 1, whose wait ends with a context. It is held by
	// sending to it, and guards the fields below. It is held across a load. So it comes
	// before every other lock: those of the registry of stores, of a store, of liveCommits
	// and of a backend's count of users. No logger runs under it: see late.
	turn    chan struct{}
	backend backend // nil until the first use
	closed  bool
}

var (
	_ driver.Connector = (*connector)(nil)
	_ io.Closer        = (*connector)(nil)
)

// NewConnector makes a connector, for sql.OpenDB. It keeps a copy of cfg, with the defaults
// of [SetDefaults] and [DefaultsEnv]. An invalid Config is an error that names the
// parameter. The file is opened with the first connection.
func NewConnector(cfg *Config) (driver.Connector, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ending, end := context.WithCancel(context.Background())
	log := &late{to: cfg.Logger}
	cfg.Logger = slog.New(log.handler())
	return &connector{cfg: cfg, late: log, ending: ending, end: end, turn: make(chan struct{}, 1)}, nil
}

// Open opens a connection by itself, outside of any sql.DB. The database is open as long
// as the connection is. The connection's Close returns the error of the last save.
// Package database/sql calls OpenConnector instead.
func (d *Driver) Open(name string) (driver.Conn, error) {
	dc, err := d.OpenConnector(name)
	if err != nil {
		return nil, err
	}
	c := dc.(*connector)
	c.single = true
	conn, err := c.Connect(context.Background())
	// The connector is closed at once, so the connection's Close lets go of the file.
	return conn, connerr.Join(err, c.close(backend.CloseWithLast))
}

// Driver returns a driver that knows this connector: the way from an sql.DB to
// its database for [Sync] and [ReadStats].
func (c *connector) Driver() driver.Driver {
	return &Driver{
		Extensions:  c.cfg.Extensions,
		ConnectHook: c.cfg.ConnectHook,
		Logger:      c.late.to,
		OnSync:      c.cfg.OnSync,
		connector:   c,
	}
}

// Connect opens a connection. The first one opens the database.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	var conn driver.Conn
	err := c.with(ctx, func(b backend) (release bool, err error) {
		conn, err = b.Connect(ctx)
		return err != nil, err // its Close releases
	})
	if err != nil {
		return nil, err // not a connection that is nil
	}
	conn.(interface{ OnPing(func(context.Context)) }).OnPing(c.pinged)
	return conn, nil
}

// with calls f with the backend, and releases it afterwards if f returns true. It tries
// again while the server of the backend runs its last save, or has not begun its load. It
// also does if a server has come to a file. Reading the file instead would miss commits that
// are not saved yet.
func (c *connector) with(ctx context.Context, f func(backend) (release bool, err error)) error {
	start := time.Now()
	for first := true; ; first = false {
		b, err := c.use(ctx)
		if err != nil {
			return err
		}
		release, err := f(b)
		if release {
			err = connerr.Join(err, b.Release())
		}
		served := errors.Is(err, fileconn.ErrServed)
		if !served && !errors.Is(err, live.ErrNoServer) {
			return err
		}
		if served && first {
			continue // no wait, and _busy_timeout=0 allows none
		}
		if ctx.Err() != nil || time.Since(start) >= c.cfg.busyTimeout() {
			return connerr.Waited(c.cfg.Path, err, ctx.Err())
		}
		timer := time.NewTimer(liveRetry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// withOnce is with for an f that must not be tried again after an error, if begun then returns
// true.
func (c *connector) withOnce(ctx context.Context, begun func() bool, f func(backend) error) error {
	var final error
	err := c.with(ctx, func(b backend) (bool, error) {
		err := f(b)
		if err != nil && begun() {
			final, err = err, nil
		}
		return true, err
	})
	return connerr.Join(final, err)
}

// liveRetry is the pause before a server that does not answer is looked for again.
const liveRetry = 5 * time.Millisecond

// use acquires the backend, which the caller has to release. It opens the backend the
// first time, and again when the role may have changed. After the beginning of Close it
// returns ErrClosed.
func (c *connector) use(ctx context.Context) (b backend, err error) {
	if b := c.useSingle(); b != nil {
		return b, nil
	}
	if b := c.useSettled(ctx); b != nil {
		return b, nil
	}
	// A load can take long, and Close need not wait for it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ending, cancel)()
	select {
	case c.turn <- struct{}{}:
		c.late.begin()
		defer func() {
			flush := c.late.end()
			<-c.turn
			panics := true
			defer func() {
				if panics && b != nil {
					_ = b.Release() // nobody gets b
				}
			}()
			flush()
			panics = false
		}()
	case <-ctx.Done():
		return nil, c.ended(ctx.Err())
	}
	if c.closed {
		return nil, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, c.ended(err)
	}
	opened, err := openBackend(ctx, c.cfg, c.backend)
	if err != nil {
		return nil, c.ended(err)
	}
	if c.backend != nil && c.backend != opened {
		// Its connections give way to new ones when they come from the pool.
		if err := c.backend.Close(); err != nil {
			c.cfg.logger().Error("sqlite-mem: close", "path", c.cfg.Path, "error", err)
		}
	}
	c.backend = opened
	opened.Acquire()
	return opened, nil
}

// useSettled is use if that needs neither wait nor look again. Else it returns nil. A pool
// that keeps few idle connections calls it all the time.
func (c *connector) useSettled(ctx context.Context) backend {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	default:
		return nil
	}
	if c.closed || c.backend == nil || !c.backend.settled() || ctx.Err() != nil {
		return nil
	}
	c.backend.Acquire()
	return c.backend
}

// useSingle is use for the connector of Driver.Open, nil for any other. It takes no turn, as
// nothing changes after Open. The caller keeps the connection open.
func (c *connector) useSingle() backend {
	if !c.single || !c.closed {
		return nil
	}
	c.backend.Acquire()
	return c.backend
}

// ended returns ErrClosed for the error of a context that Close has ended.
func (c *connector) ended(err error) error {
	if c.ending.Err() != nil && errors.Is(err, context.Canceled) {
		return ErrClosed
	}
	return err
}

// useOpened is use without opening anything: it returns nil if nothing is open.
func (c *connector) useOpened(ctx context.Context) (backend, error) {
	if b := c.useSingle(); b != nil {
		return b, nil
	}
	select {
	case c.turn <- struct{}{}: // a load can be under way
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.closed {
		return nil, ErrClosed
	}
	if c.backend != nil {
		c.backend.Acquire()
	}
	return c.backend, nil
}

// DB.Close calls Close. After it no use of the database begins. The last sql.DB of a file
// saves what has changed and returns the error of that save. Connections that are still
// in use go on. The last of them that is closed saves what they have committed since.
func (c *connector) Close() error { return c.close(backend.Close) }

// close closes the connector, and its backend by how. A second close does nothing.
func (c *connector) close(how func(backend) error) error {
	c.end()
	c.turn <- struct{}{}
	b := c.backend
	if c.closed {
		b = nil
	}
	c.closed = true
	<-c.turn
	if b == nil {
		return nil
	}
	return connerr.Join(how(b), endLive(liveCommits.leave(c.cfg)))
}
