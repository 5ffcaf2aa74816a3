//go:build cgo

package driver

import (
	"errors"

	"github.com/mattn/go-sqlite3"
)

// RawConn is implemented by the connections that Conn.Raw of database/sql gives. Raw
// returns the connection of go-sqlite3 below, for functions, collations, hooks and backups.
//
//	err := sqlConn.Raw(func(c any) error {
//		return c.(driver.RawConn).Raw().RegisterFunc("twice", twice, true)
//	})
//
// Writing through it takes the write lock like any other write. A wait for the lock that
// times out is SQLITE_LOCKED there. The connection must not be closed, and not be used
// after the function has returned.
type RawConn interface {
	Raw() *sqlite3.SQLiteConn
}

// IsStaleSnapshot reports whether a deferred transaction came to write after another
// connection had written, so that it has read an old state. No wait cures this busy
// error: roll back and run the transaction again. It does not occur with
// _txlock=immediate, the default.
func IsStaleSnapshot(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.ExtendedCode == sqlite3.ErrBusySnapshot
}
