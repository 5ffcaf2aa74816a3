//go:build cgo

package driver

import (
	"errors"

	"github.com/mattn/go-sqlite3"
)

// IsStaleSnapshot reports whether err is that of a deferred transaction which
// came to write after somebody else had, so that what it has read is no longer
// true. It is the one busy error that no waiting cures: roll back and run the
// transaction again. It does not occur with _txlock=immediate, the default.
func IsStaleSnapshot(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.ExtendedCode == sqlite3.ErrBusySnapshot
}

// isInterrupt reports whether a statement was stopped.
func isInterrupt(err error) bool {
	e, ok := err.(sqlite3.Error)
	return ok && e.Code == sqlite3.ErrInterrupt
}

// What SQLite would return, for what is refused before it comes to SQLite.
var (
	errBusy     = sqlite3.Error{Code: sqlite3.ErrBusy, ExtendedCode: sqlite3.ErrNoExtended(sqlite3.ErrBusy)}
	errLocked   = sqlite3.Error{Code: sqlite3.ErrLocked, ExtendedCode: sqlite3.ErrNoExtended(sqlite3.ErrLocked)}
	errReadOnly = sqlite3.Error{Code: sqlite3.ErrReadonly, ExtendedCode: sqlite3.ErrNoExtended(sqlite3.ErrReadonly)}
)
