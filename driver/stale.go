//go:build cgo

package driver

import (
	"errors"

	"github.com/mattn/go-sqlite3"
)

// IsStaleSnapshot reports whether a deferred transaction came to write after another
// connection had written, so that it has read an old state. No wait cures this busy
// error: roll back and run the transaction again. It does not occur with
// _txlock=immediate, the default.
func IsStaleSnapshot(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.ExtendedCode == sqlite3.ErrBusySnapshot
}
