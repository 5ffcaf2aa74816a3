package driver

import (
	"errors"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// Errors when a database is opened. Those of the file itself are
// snapshot.ErrNotADatabase and its neighbours, those of a log that does not fit
// it or is damaged snapshot.ErrLogBase and snapshot.ErrLogDamaged.
var (
	// ErrOptions: this process has the file open with other sqlite_* options.
	ErrOptions = store.ErrOptions

	// ErrLockFile: the file FILE.lock, by which a process owns FILE, cannot be
	// made or opened.
	ErrLockFile = proclock.ErrUnavailable
)

// Errors in use.
var (
	// ErrNotOurs: the sql.DB or the connection is not one of this driver.
	ErrNotOurs = errors.New("sqlite-mem: not a database of this driver")

	// ErrClosed: the sql.DB is closed.
	ErrClosed = errors.New("sqlite-mem: the database is closed")

	// ErrNoFile: a Sync of a database that is only in memory.
	ErrNoFile = store.ErrNoFile

	// ErrNotDurable: a commit that could not be made durable, or a statement
	// that would write while that is so (sqlite_wal=commit). See
	// [NotDurableError].
	ErrNotDurable = store.ErrNotDurable

	// ErrLost: FILE.lock was removed or replaced, and another process has it now. Nothing
	// is written to the file any more, and writers are refused, until the lock is had
	// again. What was committed before stays in memory.
	ErrLost = proclock.ErrLost

	// ErrTxOver: a statement in a transaction that is over, because SQLite has
	// rolled it back after an error or a cancellation, or because COMMIT or
	// ROLLBACK was sent as a statement. Nothing that follows is executed; end
	// the transaction with Rollback.
	ErrTxOver = errors.New("sqlite-mem: the transaction is over, it was rolled back or ended by a statement")
)

// ForeignChangeError is the error of a save that found that somebody else had
// changed the file. The file is left alone and the database kept beside it,
// under a name that the error tells.
type ForeignChangeError = snapshot.ForeignChangeError

// NotDurableError is the error, with sqlite_wal=commit, of a commit that could
// not be written to the disk, and of what would write until that works again;
// its field Committed tells which. Reading goes on.
type NotDurableError = store.NotDurableError

// OwnedError is the error of an attempt to write to a database that another process
// has, or to open it in the role of the server.
type OwnedError struct {
	Path  string    // the database file
	PID   int       // of the owner; 0: not known
	Since time.Time // when it became the owner; zero: not known

	// Err is what SQLite said, a sqlite3.Error; nil when opening.
	Err error

	owner *proclock.OwnedError
}

func newOwnedError(owner *proclock.OwnedError, err error) *OwnedError {
	return &OwnedError{Path: owner.Path, PID: owner.PID, Since: owner.Since, Err: err, owner: owner}
}

func (e *OwnedError) Error() string {
	owner := e.owner
	if owner == nil { // made by somebody else
		owner = &proclock.OwnedError{Path: e.Path, PID: e.PID, Since: e.Since, Role: proclock.Server}
	}
	s := "sqlite-mem: " + owner.Error()
	switch {
	case e.Err == nil && owner.Role == proclock.Recovery:
		return s + "; try again when that has ended"
	case e.Err == nil:
		return s + ", which serves it from memory; open it in the role of a tool to read what was saved last"
	case owner.Role == proclock.Server:
		return s + ", whose next save would undo this change, so it is not made: " + e.Err.Error()
	}
	return s + ": " + e.Err.Error()
}

func (e *OwnedError) Unwrap() error { return e.Err }

// also returns err, and with it more, what went wrong while clearing up after
// it. An err that is alone is returned as it is: SQLite's errors stay bare.
func also(err, more error) error {
	switch {
	case more == nil:
		return err
	case err == nil:
		return more
	}
	return errors.Join(err, more)
}
