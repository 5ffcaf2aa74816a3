//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
)

// IsValid is called when the connection goes back to the pool. It goes back clean or not
// at all: an open transaction is rolled back here. So an idle connection never holds the
// write lock or an old state.
func (c *conn) IsValid() bool {
	if !c.broken && (c.raw || c.tx != txNone || c.locked || c.link.InTransaction() || c.reading()) {
		c.clean()
	}
	return !c.broken && !c.retired()
}

// ResetSession is called before the connection is used again.
func (c *conn) ResetSession(context.Context) error {
	if !c.IsValid() {
		return driver.ErrBadConn
	}
	return nil
}

// clean rolls back the open transaction, or marks the connection as broken.
func (c *conn) clean() {
	if !c.link.HasFile() {
		c.adopt()
		c.broken = true
		return
	}
	if !c.link.Autocommit() {
		if err := c.do(background, func() error { return c.control(stmtRollback) }); err != nil {
			c.broken = true
			return
		}
	}
	c.endTx()
	c.unlockEnded()
	// A statement made through Raw may still be running.
	if c.reading() || c.raw && c.link.Busy() {
		c.broken = true
		return
	}
	c.raw = false
}

// adopt copies a database to the store that sqlite3_deserialize, through Raw, has put in
// the place of this connection's. So all connections get it.
func (c *conn) adopt() {
	err := c.copyToStore()
	if err != nil {
		c.store.Logger().Error("sqlite-mem: what Deserialize has put in the place of the database is lost",
			"path", c.store.Path(), "error", err)
	}
}

// copyToStore copies the database of the connection to the store, by another connection.
func (c *conn) copyToStore() error {
	c.db.Acquire() // this connection is a user, so the database is open
	other, err := c.db.connect(background)
	if err != nil {
		return connerr.Join(err, c.db.Release())
	}
	b, err := other.Raw().Backup("main", c.inner, "main")
	if err == nil {
		_, err = b.Step(-1)
		err = connerr.Join(err, b.Finish())
	}
	return connerr.Join(err, other.Close())
}
