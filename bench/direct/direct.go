// Package direct is a pool of connections for drivers that bypass database/sql. It
// imports no driver, so a worker can import one that does not link beside another.
package direct

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// Conn is a connection of a driver.
type Conn interface {
	Prepare(query string) (workload.DirectStmt, error)
	Close() error
}

// DB is a database of a driver that bypasses database/sql. It is a pool that opens
// connections when there are too few, and a lock for readers and writers around it. It
// is a workload.Direct.
type DB struct {
	open func() (Conn, error)
	lock sync.RWMutex

	mu   sync.Mutex // guards all and free
	all  []*conn
	free []*conn // a stack: the last used is the last
}

var _ workload.Direct = (*DB)(nil)

// Open opens a database with its first connection, which stays open.
func Open(open func() (Conn, error)) (*DB, error) {
	d := &DB{open: open}
	if err := d.Connect(context.Background(), 1); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Connect opens connections until there are n.
func (d *DB) Connect(_ context.Context, n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.all) < n {
		c, err := d.add()
		if err != nil {
			return err
		}
		d.free = append(d.free, c)
	}
	return nil
}

// add opens a connection. The caller holds mu.
func (d *DB) add() (*conn, error) {
	inner, err := d.open()
	if err != nil {
		return nil, err
	}
	c := &conn{inner: inner, stmts: map[string]workload.DirectStmt{}}
	d.all = append(d.all, c)
	return c, nil
}

// Close closes the connections. None may be in use.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, c := range d.all {
		errs = append(errs, c.inner.Close())
	}
	d.all, d.free = nil, nil
	return errors.Join(errs...)
}

// with runs fn on a free connection.
func (d *DB) with(fn func(workload.DirectConn) error) error {
	c, err := d.take()
	if err != nil {
		return err
	}
	defer d.give(c)
	return fn(c)
}

func (d *DB) take() (*conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.free)
	if n == 0 {
		return d.add()
	}
	c := d.free[n-1]
	d.free = d.free[:n-1]
	return c, nil
}

func (d *DB) give(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = append(d.free, c)
}

// Read runs fn under the read lock.
func (d *DB) Read(_ context.Context, fn func(workload.DirectConn) error) error {
	d.lock.RLock()
	defer d.lock.RUnlock()
	return d.with(fn)
}

// Write runs fn under the write lock.
func (d *DB) Write(_ context.Context, fn func(workload.DirectConn) error) error {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.with(fn)
}

// Tx runs fn in a transaction, under the write lock.
func (d *DB) Tx(ctx context.Context, fn func(workload.DirectConn) error) error {
	return d.Write(ctx, func(c workload.DirectConn) error {
		if _, err := row(c, "BEGIN IMMEDIATE", 0); err != nil {
			return err
		}
		err := fn(c)
		if err == nil {
			_, err = row(c, "COMMIT", 0)
		}
		if err != nil {
			_, rollback := row(c, "ROLLBACK", 0)
			return errors.Join(err, rollback)
		}
		return nil
	})
}

// Exec runs a statement and drops its rows.
func (d *DB) Exec(ctx context.Context, query string) error {
	return d.Write(ctx, func(c workload.DirectConn) error {
		_, err := row(c, query, 0)
		return err
	})
}

// Ints returns the first row of a query, as n integers.
func (d *DB) Ints(ctx context.Context, query string, n int) (values []int64, err error) {
	err = d.Read(ctx, func(c workload.DirectConn) error {
		values, err = row(c, query, n)
		return err
	})
	return values, err
}

// Works returns the loads of workload.All.
func (d *DB) Works() []workload.Workload { return workload.DirectAll(d) }

// Users returns the operations of workload.Users.
func (d *DB) Users() workload.UserOps { return workload.DirectUsers(d) }

// row runs a statement to its end and returns the first columns of its first row.
func row(c workload.DirectConn, query string, columns int) (values []int64, err error) {
	s, err := c.Stmt(query)
	if err != nil {
		return nil, err
	}
	for {
		more, err := s.Step()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", query, err), s.Reset())
		}
		if !more {
			return values, s.Reset()
		}
		for i := 0; len(values) < columns; i++ {
			values = append(values, s.ColumnInt64(i))
		}
	}
}

// conn is a connection that keeps all its statements prepared.
type conn struct {
	inner Conn
	stmts map[string]workload.DirectStmt
}

func (c *conn) Stmt(query string) (workload.DirectStmt, error) {
	if s := c.stmts[query]; s != nil {
		return s, nil
	}
	s, err := c.inner.Prepare(query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}
