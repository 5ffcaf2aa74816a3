//go:build !cgo

package snapshot

import (
	"errors"

	"github.com/mattn/go-sqlite3"
)

// Without cgo there is no SQLite: everything that needs it fails. The file is
// here so that the rest can be compiled and vetted for other systems.

var errNoCgo = errors.New("built without cgo")

type disk struct{}

func openDisk(path, params string) (*disk, error) { return nil, errNoCgo }

func (d *disk) close() error                         { return errNoCgo }
func (d *disk) exec(query string) error              { return errNoCgo }
func (d *disk) queryInt(query string) (int64, error) { return 0, errNoCgo }

func isCantOpen(error) bool { return false }

// Check needs cgo.
func Check(conn *sqlite3.SQLiteConn) error { return &Error{Op: "check", Err: errNoCgo} }
