// Package connerr holds the errors that connections to memory and connections to a
// file have in common. Users know them by their names in package driver.
package connerr

import (
	"errors"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
)

// ErrTxOver is driver.ErrTxOver.
var ErrTxOver = errors.New("sqlite-mem: the transaction is over, it was rolled back or ended by a statement")

// OwnedError is driver.OwnedError.
type OwnedError struct {
	Path  string    // the database file
	PID   int       // of the owner; 0: not known
	Since time.Time // when it became the owner; zero: not known

	// Err is what SQLite said, a sqlite3.Error; nil when opening.
	Err error

	owner   *proclock.OwnedError
	creates bool // the attempt was to create a file
}

// NewOwned returns the error for a database that owner has. err is SQLite's refusal to
// write, nil when opening.
func NewOwned(owner *proclock.OwnedError, err error) *OwnedError {
	return &OwnedError{Path: owner.Path, PID: owner.PID, Since: owner.Since, Err: err, owner: owner}
}

// ownedBy is the owner.
func (e *OwnedError) ownedBy() *proclock.OwnedError {
	if e.owner == nil { // made by somebody else
		return &proclock.OwnedError{Path: e.Path, PID: e.PID, Since: e.Since, Role: proclock.Server}
	}
	return e.owner
}

func (e *OwnedError) Error() string {
	owner := e.ownedBy()
	s := "sqlite-mem: " + owner.Error()
	switch {
	case e.Err == nil && owner.Role == proclock.Recovery:
		return s + "; try again when that has ended"
	case e.Err == nil && owner.Live:
		return s + ", which serves it from memory; open it in the role of a tool to work on it there"
	case e.Err == nil:
		return s + ", which serves it from memory, but no tools; open it in the role of a tool to read what was saved last"
	case e.creates:
		return s + ", so nobody else creates that file or one beside it: " + e.Err.Error() + "; try again when it is saved, or use another name"
	case owner.Role == proclock.Server && owner.Live:
		return s + ", whose next save would undo this change, so it is not made; a live connection (sqlite_live) can make it: " + e.Err.Error()
	case owner.Role == proclock.Server:
		return s + ", whose next save would undo this change, so it is not made: " + e.Err.Error()
	}
	return s + ": " + e.Err.Error()
}

func (e *OwnedError) Unwrap() error { return e.Err }

// Join returns err joined with more, an error from the cleanup behind it. A single
// error is returned as it is, so that SQLite's errors keep their type.
func Join(err, more error) error {
	switch {
	case more == nil:
		return err
	case err == nil:
		return more
	}
	return errors.Join(err, more)
}
