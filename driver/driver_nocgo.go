//go:build !cgo

package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"iter"
)

// errNoCgo is the error of everything in a program that is built without cgo.
var errNoCgo = errors.New("sqlite-mem: this program was built with CGO_ENABLED=0, but SQLite is written in C: build it with CGO_ENABLED=1 and a C compiler")

// connector is never made without cgo.
type connector struct{}

// NewConnector makes a connector; without cgo it returns an error that says so.
func NewConnector(*Config) (driver.Connector, error) { return nil, errNoCgo }

// Open opens a connection; without cgo it returns an error that says so.
func (d *Driver) Open(string) (driver.Conn, error) { return nil, errNoCgo }

// Sync writes what has changed; without cgo it returns an error that says so.
func Sync(context.Context, *sql.DB) error { return errNoCgo }

// SyncAll makes commits durable; without cgo it returns an error that says so.
func SyncAll(context.Context) error { return errNoCgo }

// Backup writes a database to a new file; without cgo it returns an error that says so.
func Backup(context.Context, *sql.DB, string) error { return errNoCgo }

// BackupTo writes a database to w; without cgo it returns an error that says so.
func BackupTo(context.Context, *sql.DB, io.Writer) error { return errNoCgo }

// Restore replaces a database; without cgo it returns an error that says so.
func Restore(context.Context, *sql.DB, string, *RestoreOptions) error { return errNoCgo }

// RestoreFrom replaces a database; without cgo it returns an error that says so.
func RestoreFrom(context.Context, *sql.DB, io.Reader, *RestoreOptions) error { return errNoCgo }

// ReadStats returns the counters; without cgo it returns an error that says so.
func ReadStats(*sql.DB) (Stats, error) { return Stats{}, errNoCgo }

// Close closes a database; without cgo it returns an error that says so.
func Close(*sql.DB) error { return errNoCgo }

// Watch reports commits; without cgo it reports an error that says so.
func Watch(context.Context, *sql.DB) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) { yield(Change{}, errNoCgo) }
}

// IsStaleSnapshot reports false without cgo, as there is no SQLite to fail.
func IsStaleSnapshot(error) bool { return false }
