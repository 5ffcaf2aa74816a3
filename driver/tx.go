//go:build cgo

package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"

	"github.com/mattn/go-sqlite3"
)

// The statements of conn.control.
const (
	stmtBegin = iota
	stmtBeginImmediate
	stmtBeginExclusive
	stmtSnapshot
	stmtCommit
	stmtRollback
	controlStmts
)

var controlText = [controlStmts]string{
	stmtBegin:          "BEGIN",
	stmtBeginImmediate: "BEGIN IMMEDIATE",
	stmtBeginExclusive: "BEGIN EXCLUSIVE",
	stmtSnapshot:       "SELECT 1 FROM sqlite_schema",
	stmtCommit:         "COMMIT",
	stmtRollback:       "ROLLBACK",
}

// tx is a transaction begun by BeginTx.
type tx struct{ c *conn }

var _ driver.Tx = tx{}

// BeginTx begins a transaction. By default it has the write lock from the
// beginning. One that is ReadOnly has no lock; it sees the state of now, and
// what writes in it is refused with SQLITE_READONLY. Every isolation level is
// given by what transactions are here: serializable.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if level := sql.IsolationLevel(opts.Isolation); level < sql.LevelDefault || level > sql.LevelLinearizable {
		return nil, fmt.Errorf("sqlite-mem: isolation level %d is unknown", level)
	}
	begin, writing := stmtBegin, false
	if !opts.ReadOnly {
		switch c.cfg.txLock() {
		case TxImmediate:
			begin, writing = stmtBeginImmediate, true
		case TxExclusive:
			begin, writing = stmtBeginExclusive, true
		}
	}
	if err := c.enter(ctx, writing, "transaction"); err != nil {
		return nil, err
	}
	defer c.unwind()
	err := c.execControl(begin)
	if err == nil && opts.ReadOnly {
		if err = c.execControl(stmtSnapshot); err != nil {
			// The error is that of the snapshot; a connection that cannot
			// roll back is found out by IsValid.
			_ = c.execControl(stmtRollback)
		}
	}
	if err = c.leave(err); err != nil {
		return nil, err
	}
	c.tx = txOpen
	if opts.ReadOnly {
		c.tx = txReadOnly
		c.link.SetReadOnly(true)
	}
	return tx{c}, nil
}

// Commit commits. After an error the transaction is rolled back: database/sql
// takes it for ended.
func (t tx) Commit() error {
	c := t.c
	if c.tx == txOver && !c.broken {
		c.tx = txNone
		return ErrTxOver
	}
	err := c.runControl(stmtCommit)
	if err != nil && !c.broken && !c.link.Autocommit() {
		if rollback := c.runControl(stmtRollback); rollback != nil {
			c.broken = true
		}
	}
	c.endTx()
	return err
}

// Rollback rolls back; it also ends a transaction that is already over.
func (t tx) Rollback() error {
	c := t.c
	if c.broken {
		c.tx = txNone
		return driver.ErrBadConn
	}
	if c.tx == txOver {
		c.tx = txNone
		return nil
	}
	err := c.runControl(stmtRollback)
	c.endTx()
	return err
}

// endTx forgets the transaction.
func (c *conn) endTx() {
	if c.tx == txReadOnly {
		c.link.SetReadOnly(false)
	}
	c.tx = txNone
}

// runControl runs one of the control statements that end a transaction. It
// heeds no context: what was begun must end.
func (c *conn) runControl(i int) error {
	if c.broken {
		return driver.ErrBadConn
	}
	c.running = true
	defer c.unwind()
	err := c.execControl(i)
	c.running = false
	if serr := c.settle(); err == nil {
		err = serr
	}
	return err
}

// execControl runs one of the control statements, prepared once.
func (c *conn) execControl(i int) error {
	s := c.control[i]
	if s == nil {
		prepared, err := c.inner.Prepare(controlText[i])
		if err != nil {
			return err
		}
		s = prepared.(*sqlite3.SQLiteStmt)
		c.control[i] = s
	}
	if i != stmtSnapshot {
		_, err := s.ExecContext(background, nil)
		return err
	}
	rows, err := s.QueryContext(background, nil)
	if err != nil {
		return err
	}
	return rows.Close()
}
