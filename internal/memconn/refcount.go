//go:build cgo

package memconn

import (
	"sync"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
)

// refCount counts the users of a [Database]: its connections, and every call that
// uses it for a moment. The last user that goes after Close frees the database.
//
// The connector calls Close or CloseWithLast once. After that only somebody who has a
// use, and keeps it meanwhile, acquires another: see connector.useSingle and
// conn.copyToStore. So the count need not refuse one.
type refCount struct {
	free   func() error // lets go of the store; set before the first use, flush may replace it
	flush  func() error // makes commits durable while the database is in use
	report func(error)  // is given the error of free that no caller sees

	mu     sync.Mutex
	users  int  // guarded by mu; without the connector
	closed bool // guarded by mu
	strict bool // guarded by mu; the last Release returns the error of free
}

// Acquire counts one more user.
func (c *refCount) Acquire() {
	c.mu.Lock()
	c.users++
	c.mu.Unlock()
}

// Release ends one use. Behind the last one it frees the database, if that was
// closed. The error of that is reported, as database/sql drops the error of a
// connection that is closed late. After CloseWithLast it is returned.
func (c *refCount) Release() error {
	last, strict := c.drop()
	if !last {
		return nil
	}
	err := c.free()
	if err != nil && !strict {
		c.report(err)
		return nil
	}
	return err
}

// drop counts one user less, and reports whether free is due.
func (c *refCount) drop() (last, strict bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users--
	return c.closed && c.users == 0, c.strict
}

// Close ends the connector's use. A database without users is freed, and Close
// returns the error of that. A database in use is flushed, and its last user frees
// it.
func (c *refCount) Close() error {
	c.mu.Lock()
	c.closed = true
	used := c.users > 0
	c.users++ // so that nobody frees the database during flush
	c.mu.Unlock()
	var err error
	if used {
		err = c.flush()
	}
	if last, _ := c.drop(); last {
		err = connerr.Join(err, c.free())
	}
	return err
}

// CloseWithLast is Close for the database of a single connection, whose Close is to
// return the error of free. Nothing is flushed before that.
func (c *refCount) CloseWithLast() error {
	c.mu.Lock()
	c.closed, c.strict = true, true
	unused := c.users == 0
	c.mu.Unlock()
	if unused {
		return c.free()
	}
	return nil
}
