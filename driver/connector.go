//go:build cgo

package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
)

// connector makes the connections of one sql.DB.
type connector struct {
	cfg *Config // never changed

	// ending is done when Close begins: that ends a load which is under way.
	ending context.Context
	end    context.CancelFunc

	// turn has capacity 1 and is a lock whose wait heeds a context. Whoever has sent
	// to it may use the fields below. No other lock of the driver is held then but
	// that of a backend's count of users.
	turn    chan struct{}
	backend backend // nil until the first use
	closed  bool
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
	return conn, connerr.Join(err, c.close(backend.CloseWithLast))
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

// connectorOf returns the connector of a database of this driver.
func connectorOf(db *sql.DB) (*connector, error) {
	if d, ok := db.Driver().(*Driver); ok && d.connector != nil {
		return d.connector, nil
	}
	return nil, ErrNotOurs
}

// Connect opens a connection, with the first one the database.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	b, err := c.use(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := b.Connect(ctx)
	if err != nil {
		return nil, connerr.Join(err, b.Release())
	}
	return conn, nil // its Close releases
}

// use acquires the backend for one more user, who has to release it. It opens the
// backend the first time, and again when the role may have changed. It refuses once
// Close has begun.
func (c *connector) use(ctx context.Context) (backend, error) {
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
	b, err := openBackend(ctx, c.cfg, c.backend)
	if err != nil {
		return nil, c.ended(err)
	}
	if c.backend != nil && c.backend != b {
		// Its connections give way to new ones when they come from the pool.
		if err := c.backend.Close(); err != nil {
			c.cfg.logger().Error("sqlite-mem: close", "path", c.cfg.Path, "error", err)
		}
	}
	c.backend = b
	b.Acquire()
	return b, nil
}

// ended is ErrClosed instead of the error of a context that Close has ended.
func (c *connector) ended(err error) error {
	if c.ending.Err() != nil && errors.Is(err, context.Canceled) {
		return ErrClosed
	}
	return err
}

// useOpened is use for a user that opens nothing: it returns nil if nothing is open.
func (c *connector) useOpened(ctx context.Context) (backend, error) {
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

// Close is called by DB.Close. From here on nobody begins to use the database. The
// last sql.DB of a file saves what has changed and returns the error of that.
// Connections that are still in use work on, and what they commit is saved when the
// last of them is closed.
func (c *connector) Close() error { return c.close(backend.Close) }

// close closes the connector, and once its backend by how.
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
	return how(b)
}
