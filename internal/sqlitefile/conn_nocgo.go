//go:build !cgo

package sqlitefile

import (
	"context"
	"errors"

	"github.com/mattn/go-sqlite3"
)

// Without cgo there is no SQLite: everything that needs it fails. The file is
// here so that the rest can be compiled and vetted for other systems.

var errNoCgo = errors.New("built without cgo")

// Conn needs cgo.
type Conn struct{}

// Open needs cgo.
func Open(path, params string) (*Conn, error) { return nil, errNoCgo }

// Close needs cgo.
func (c *Conn) Close() error { return errNoCgo }

// Exec needs cgo.
func (c *Conn) Exec(query string) error { return errNoCgo }

// QueryInt needs cgo.
func (c *Conn) QueryInt(query string) (int64, error) { return 0, errNoCgo }

// IsCantOpen needs cgo.
func IsCantOpen(error) bool { return false }

// Check needs cgo.
func Check(conn *sqlite3.SQLiteConn) error { return errNoCgo }

// Check needs cgo.
func (c *Conn) Check(ctx context.Context) error { return errNoCgo }
