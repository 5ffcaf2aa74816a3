package driver

import (
	"errors"
	"fmt"
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

// OwnedError is the error of an attempt to write to, or in the role of the
// server to open, a database that another process owns.
type OwnedError struct {
	Path  string    // the database file
	PID   int       // of the owner; 0: not known
	Since time.Time // when it became the owner; zero: not known

	// Err is what SQLite said, a sqlite3.Error; nil when opening.
	Err error
}

func (e *OwnedError) Error() string {
	by := (&proclock.OwnedError{Path: e.Path, PID: e.PID, Since: e.Since}).Error()
	if e.Err == nil {
		return "sqlite-mem: " + by + ", which serves it from memory; open it in the role of a tool to read what was saved last"
	}
	return "sqlite-mem: " + by + ", whose next save would undo this change, so it is not made: " + e.Err.Error()
}

func (e *OwnedError) Unwrap() error { return e.Err }

func openErr(path string, err error) error {
	var owned *proclock.OwnedError
	if errors.As(err, &owned) {
		return &OwnedError{Path: path, PID: owned.PID, Since: owned.Since}
	}
	return fmt.Errorf("sqlite-mem: open %s: %w", path, err)
}

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
