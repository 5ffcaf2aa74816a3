//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"
	"slices"
	"sync"
	"time"
)

// Of a sql.DB, database/sql leaves 2 connections idle by default. With more goroutines it
// closes and opens connections all the time, and each new one runs its pragmas and prepares
// its statements. So the database keeps a connection that is closed for a moment, and gives
// it out again in the place of a new one.
const (
	// keepAge is the age up to which a connection is kept. The driver cannot see
	// SetConnMaxLifetime. An open in five seconds costs nothing that can be measured.
	keepAge = 5 * time.Second

	// keepMax is the most connections that are kept. It bounds their memory, which is
	// mostly that of their prepared statements.
	keepMax = 64
)

// kept has the connections that are closed for their users, and kept for the next. Each is
// still a user of the database.
type kept struct {
	mu    sync.Mutex  // guards the fields below, and the change of hands; under it no other lock is taken
	conns []*conn     // the last one was used last
	off   bool        // no more are kept
	timer *time.Timer // calls expire at due; nil: none was kept yet
	due   time.Time   // zero: the timer is not set

	// ending counts the calls of expire that close connections. It grows under mu, while
	// off is false.
	ending sync.WaitGroup
}

// put keeps a connection, or reports false.
func (k *kept) put(c *conn) bool {
	now, end := time.Now(), c.opened.Add(keepAge)
	if !now.Before(end) {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.off || len(k.conns) >= keepMax {
		return false
	}
	c.store.Kept.Add(1)
	k.conns = append(k.conns, c)
	k.set(now, end)
	return true
}

// set sets the timer, unless it is due before the time when. mu is held.
func (k *kept) set(now, when time.Time) {
	switch {
	case !k.due.IsZero() && !when.Before(k.due):
		return
	case k.timer == nil:
		k.timer = time.AfterFunc(when.Sub(now), k.expire)
	default:
		k.timer.Reset(when.Sub(now))
	}
	k.due = when
}

// take returns the connection that was kept last, nil if there is none.
func (k *kept) take() *conn {
	c, old := k.pop()
	closeKept(old) // the caller uses the database, so that this is before its end
	return c
}

// pop is take, and also returns the connections on the way that are retired.
func (k *kept) pop() (c *conn, old []*conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for n := len(k.conns); n > 0; n-- {
		c := k.conns[n-1]
		k.conns[n-1] = nil
		k.conns = k.conns[:n-1]
		if c.retired() {
			old = append(old, c)
			continue
		}
		c.store.Kept.Add(-1)
		return c, old
	}
	return nil, old
}

// expire closes the connections that have reached keepAge.
func (k *kept) expire() {
	now := time.Now()
	var old []*conn
	k.mu.Lock()
	if k.off {
		k.mu.Unlock()
		return
	}
	k.due = time.Time{}
	k.conns = slices.DeleteFunc(k.conns, func(c *conn) bool {
		end := c.opened.Add(keepAge)
		if now.Before(end) {
			k.set(now, end)
			return false
		}
		old = append(old, c)
		return true
	})
	k.ending.Add(1)
	defer k.ending.Done()
	k.mu.Unlock()
	closeKept(old)
}

// end closes all kept connections. From now on none is kept.
func (k *kept) end() {
	k.mu.Lock()
	k.off = true
	conns := k.conns
	k.conns = nil
	if k.timer != nil {
		k.timer.Stop() // if it has fired, expire does nothing, or ending waits for it
	}
	k.mu.Unlock()
	closeKept(conns)
	k.ending.Wait()
}

// closeKept closes connections that were kept.
func closeKept(conns []*conn) {
	for _, c := range conns {
		if err := c.shut(); err != nil {
			c.db.report(err)
		}
		c.store.Kept.Add(-1)
	}
}

// lease is a connection while a user has it. After its Close the connection may have another
// user. So every further call is that of a closed connection, and so is one of a transaction
// or a closed statement. A connection with open statements or rows is not kept.
type lease struct{ *conn }

// gone is a closed connection. All closed leases share it, so nothing changes it.
var gone = &conn{broken: true, opts: &Options{}}

// BeginTx is that of the connection.
func (l *lease) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if _, err := l.conn.BeginTx(ctx, opts); err != nil {
		return nil, err
	}
	return leaseTx{l}, nil
}

// Begin is BeginTx by default.
func (l *lease) Begin() (driver.Tx, error) {
	return l.BeginTx(background, driver.TxOptions{})
}

// leaseTx is the tx of a lease. The lease's Close has ended it.
type leaseTx struct{ l *lease }

func (t leaseTx) Commit() error   { return tx{t.l.conn}.Commit() }
func (t leaseTx) Rollback() error { return tx{t.l.conn}.Rollback() }

// Close ends the use.
func (l *lease) Close() error {
	c := l.conn
	l.conn = gone
	return c.Close()
}

// keep hands the connection to the kept ones, if it is as good as a new one.
func (c *conn) keep() bool {
	if !c.renewable || c.userCode || !c.IsValid() || c.link.Altered() || len(c.attached) > 0 {
		return false
	}
	if c.rows != nil || c.stmts > 0 {
		return false // a caller may still have them
	}
	return c.db.kept.put(c)
}
