//go:build cgo

package driver

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
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
	errNoMemory = sqlite3.Error{Code: sqlite3.ErrNomem, ExtendedCode: sqlite3.ErrNoExtended(sqlite3.ErrNomem)}
	errReadOnly = sqlite3.Error{Code: sqlite3.ErrReadonly, ExtendedCode: sqlite3.ErrNoExtended(sqlite3.ErrReadonly)}
)

// openErr is the error of opening the database at path. SQLite's code for it is found
// by errors.As: what go-sqlite3 would return for the file.
func openErr(path string, err error) error {
	if owned, ok := errors.AsType[*proclock.OwnedError](err); ok {
		return newOwnedError(owned, nil)
	}
	err = fmt.Errorf("sqlite-mem: open %s: %w", path, err)
	var e sqlite3.Error
	if errors.As(err, &e) {
		return err // SQLite has said it
	}
	if code := openCode(err); code != 0 {
		e.Code, e.ExtendedCode = code, sqlite3.ErrNoExtended(code)
		errors.As(err, &e.SystemErrno)
		return &openError{err, e}
	}
	return err
}

// openError is an error of opening with SQLite's code for it. It reads like the first.
type openError struct {
	error
	code sqlite3.Error
}

func (e *openError) Unwrap() []error { return []error{e.error, e.code} }

// openCode is the code that SQLite has for the error of opening a file, 0 if none.
func openCode(err error) sqlite3.ErrNo {
	var path *fs.PathError
	var errno syscall.Errno
	switch {
	case errors.Is(err, snapshot.ErrNotADatabase):
		return sqlite3.ErrNotADB
	case errors.Is(err, snapshot.ErrCorrupt), errors.Is(err, snapshot.ErrTruncated):
		return sqlite3.ErrCorrupt
	case isBusy(err):
		return sqlite3.ErrBusy
	case errors.As(err, &path), errors.As(err, &errno):
		return sqlite3.ErrCantOpen
	}
	return 0
}

// isBusy reports whether others used the file for longer than was waited for.
func isBusy(err error) bool {
	_, busy := errors.AsType[*proclock.BusyError](err)
	return busy || errors.Is(err, snapshot.ErrBusy) || errors.Is(err, memvfs.ErrDiskInUse)
}
