//go:build cgo

package driver

import (
	"errors"

	"github.com/mattn/go-sqlite3"
)

// RawConn is what Conn.Raw of database/sql gives: the connection of go-sqlite3
// below, for functions, collations, hooks and backups.
//
//	err := sqlConn.Raw(func(c any) error {
//		return c.(driver.RawConn).Raw().RegisterFunc("twice", twice, true)
//	})
//
// Writing through it takes the write lock like any other writing; when the lock
// is not to be had in time, the error is SQLITE_LOCKED there. It must not be
// closed, and not be used after the function has returned.
type RawConn interface {
	Raw() *sqlite3.SQLiteConn
}

// IsStaleSnapshot reports whether err is that of a deferred transaction which
// came to write after somebody else had, so that what it has read is no longer
// true. It is the one busy error that no waiting cures: roll back and run the
// transaction again. It does not occur with _txlock=immediate, the default.
func IsStaleSnapshot(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.ExtendedCode == sqlite3.ErrBusySnapshot
}
