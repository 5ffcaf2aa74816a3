//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"
	"runtime"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
)

// background is given to go-sqlite3 in place of the caller's context, for which it would
// start a goroutine or register a callback. The engine cancels: see conn.Cancelled.
var background = context.Background()

// do is the one way into SQLite. It calls f, which makes calls of SQLite for statements
// that run under ctx. When do returns, and when f panics:
//
//   - The write locks are held exactly while SQLite's transaction needs them.
//   - Nothing looks at ctx any more. If ctx has stopped a statement, or a wait for a lock
//     has failed, the error is that of the context or of the lock.
//   - Commits are durable, if that is promised.
//   - A read-only transaction has written nothing.
//   - A transaction that SQLite has ended is known to be over.
//
// After a panic the connection is given up, because the panic has passed through SQLite
// without unwinding it.
func (c *conn) do(ctx context.Context, f func() error) error {
	if c.broken {
		return driver.ErrBadConn
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if ctx.Done() != nil {
		c.ctx = ctx
		c.link.SetCancellable(true)
	}
	c.running = true
	if c.slow != nil {
		c.slow.enter()
	}
	defer c.panicked()
	err := f()
	if err != nil {
		err = connerr.Attach(err)
	}
	if c.wroteDisk {
		err = c.undoDiskWrite(err)
	}
	c.running, c.now = false, nil
	if !c.settled() {
		err = c.settle(err)
	}
	if c.slow != nil {
		c.slow.leave()
	}
	return err
}

// panicked is deferred by do.
func (c *conn) panicked() {
	if c.running {
		c.abandon()
	}
}

// settled reports whether settle would find nothing to do. Most reads end this way, and
// to ask takes less time.
func (c *conn) settled() bool {
	return !c.locked && c.tx == txNone && c.ctx == nil && c.lockErr == nil &&
		c.link.Committed() == c.durable && len(c.attached) == 0 && c.detachErr == nil
}

// settle follows what the calls of do have done to SQLite's transactions, and returns the
// error for the caller.
func (c *conn) settle(err error) error {
	if c.lockErr != nil {
		if err != nil {
			err = c.lockErr
		}
		c.lockErr = nil
	}
	if ctx := c.ctx; ctx != nil {
		c.ctx = nil
		c.link.SetCancellable(false)
		if err != nil && isInterrupt(err) && ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	c.unlockEnded()
	if c.slow != nil {
		c.slow.leave() // what waits for the disk is no reader
	}
	// A string of statements may have committed before its error.
	err = connerr.Join(err, c.awaitDurable())
	// A transaction with its lock is open. Without the lock it has not begun to write,
	// or it is over.
	if (c.tx == txOpen || c.tx == txReadOnly) && !c.link.Writing() && !c.link.InTransaction() {
		c.endTx()
		c.tx = txOver
	}
	return err
}

// undoDiskWrite rolls back a read-only transaction that has written to a file on the disk.
func (c *conn) undoDiskWrite(err error) error {
	c.wroteDisk = false
	if c.tx == txReadOnly && c.link.WritingAny() {
		return connerr.Join(connerr.ReadOnly, c.control(stmtRollback))
	}
	return err
}

// abandon gives up the connection without a call of SQLite. Uncommitted changes are gone,
// and the locks of stores are free. Those of attached files on the disk stay until the process
// ends. The memory of the connection is lost.
func (c *conn) abandon() {
	c.link.Abandon()
	// A finalizer would call SQLite in the middle of a statement.
	runtime.SetFinalizer(c.inner, nil)
	c.inner = nil
	c.broken = true
	c.running = false
	c.ctx = nil
	c.lockErr = nil
	c.forgetAll()
	c.now = nil
	c.endAttached()
	if c.locked {
		c.unlock()
	}
	c.slow.close()
}

// endAttached releases the attached stores without a call of SQLite.
func (c *conn) endAttached() {
	for len(c.attached) > 0 {
		a := c.attached[0]
		a.link.Abandon()
		a.end()
	}
	c.endAttaching()
}

// isInterrupt reports whether a statement was stopped.
func isInterrupt(err error) bool {
	e, ok := err.(sqlite3.Error)
	return ok && e.Code == sqlite3.ErrInterrupt
}
