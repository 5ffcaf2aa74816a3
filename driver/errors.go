package driver

import (
	"errors"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
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
	ErrTxOver = connerr.ErrTxOver
)

// ForeignChangeError is the error of a save that found that somebody else had
// changed the file. The file is left alone and the database kept beside it,
// under a name that the error tells.
type ForeignChangeError = snapshot.ForeignChangeError

// NotDurableError is the error, with sqlite_wal=commit, of a commit that could
// not be written to the disk, and of what would write until that works again.
// Reading goes on. It wraps [ErrNotDurable]. Its fields:
//
//	Path      string // of the database
//	Committed bool   // see below
//	Err       error  // of the log
//
// If Committed is true the transaction is committed in memory, and all connections see
// it. The next flush that works writes it, but a crash before that may undo it. If it
// is false nothing was changed.
type NotDurableError = store.NotDurableError

// OwnedError is the error of an attempt to write to a database that another process
// has, or to open it in the role of the server. Its fields:
//
//	Path  string    // the database file
//	PID   int       // of the owner; 0: not known
//	Since time.Time // when it became the owner; zero: not known
//	Err   error     // what SQLite said, a sqlite3.Error; nil when opening
type OwnedError = connerr.OwnedError
