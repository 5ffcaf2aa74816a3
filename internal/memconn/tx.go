//go:build cgo

package memconn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
)

// The statements that begin and end transactions.
const (
	stmtBegin = iota
	stmtBeginImmediate
	stmtBeginExclusive
	stmtCommit
	stmtRollback
	txControlStmts
)

var controlSQL = [txControlStmts]string{
	stmtBegin:          "BEGIN",
	stmtBeginImmediate: "BEGIN IMMEDIATE",
	stmtBeginExclusive: "BEGIN EXCLUSIVE",
	stmtCommit:         "COMMIT",
	stmtRollback:       "ROLLBACK",
}

// tx is a transaction begun by BeginTx.
type tx struct{ c *conn }

var _ driver.Tx = tx{}

// BeginTx begins a transaction. By default it has the write lock from the beginning. A
// ReadOnly one has no lock and sees the state at BeginTx; a write in it is refused with
// SQLITE_READONLY. Every isolation level is accepted, as transactions are serializable.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if level := sql.IsolationLevel(opts.Isolation); level < sql.LevelDefault || level > sql.LevelLinearizable {
		return nil, fmt.Errorf("sqlite-mem: isolation level %d is unknown", level)
	}
	begin, writing := stmtBegin, false
	if !opts.ReadOnly {
		switch c.opts.TxLock {
		case "immediate":
			begin, writing = stmtBeginImmediate, true
		case "exclusive":
			begin, writing = stmtBeginExclusive, true
		}
	}
	err := c.start(ctx, func() error {
		if c.tx == txOver {
			return connerr.ErrTxOver
		}
		if writing && !c.locked {
			if c.tx == txReadOnly {
				return connerr.ReadOnly
			}
			if err := c.lockFirst("transaction"); err != nil {
				return err
			}
		}
		if c.cacheStale {
			c.dropCache() // BEGIN IMMEDIATE knows the databases that were attached when it was prepared
		}
		return c.control(begin)
	})
	if err != nil {
		return nil, err
	}
	c.tx = txOpen
	if opts.ReadOnly {
		c.tx = txReadOnly
		c.link.SetReadOnly(true)
		if c.slow != nil {
			c.slow.pins()
		}
		c.link.Pin()
		for _, a := range c.attached {
			a.link.Pin()
		}
		if c.retiredByNow() {
			return nil, connerr.Join(driver.ErrBadConn, tx{c}.Rollback())
		}
	}
	return tx{c}, nil
}

// Commit commits. After an error the transaction is rolled back, as database/sql takes it
// for ended.
func (t tx) Commit() error {
	c := t.c
	if c.tx == txOver && !c.broken {
		c.tx = txNone
		return connerr.ErrTxOver
	}
	return c.do(background, func() error {
		err := c.control(stmtCommit)
		if err != nil && !c.link.Autocommit() {
			if c.control(stmtRollback) != nil {
				c.broken = true
			}
		}
		c.endTx()
		return err
	})
}

// Rollback rolls back; it also ends a transaction that is already over.
func (t tx) Rollback() error {
	c := t.c
	if c.tx == txOver && !c.broken {
		c.tx = txNone
		return nil
	}
	return c.do(background, func() error {
		err := c.control(stmtRollback)
		c.endTx()
		return err
	})
}

// endTx forgets the transaction.
func (c *conn) endTx() {
	if c.tx == txReadOnly {
		c.link.SetReadOnly(false)
		c.link.Unpin()
		for _, a := range c.attached {
			a.link.Unpin()
		}
	}
	c.tx = txNone
}

// control runs one of the statements that begin and end transactions. Each is prepared
// once.
func (c *conn) control(i int) error {
	s := c.txControl[i]
	if s == nil {
		var err error
		if s, _, err = c.prepare(controlSQL[i]); err != nil {
			return err
		}
		c.txControl[i] = s
	}
	if code := s.Exec(); code != 0 {
		return c.link.Err(code)
	}
	return nil
}
