package driver

import (
	"errors"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/live"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// Errors when a database is opened. Package snapshot has those of the file itself, such
// as snapshot.ErrNotADatabase, and those of its log, such as snapshot.ErrLogDamaged.
var (
	// ErrOptions means that this process has the file open with other sqlite_* options. The
	// text names the option and the remedy. Options that an open leaves out never conflict.
	ErrOptions = store.ErrOptions

	// ErrLockFile means that FILE.lock cannot be created or opened. Without it no process
	// can own FILE.
	ErrLockFile = proclock.ErrUnavailable
)

// Errors in use.
var (
	// ErrNotOurs means that the sql.DB was not opened by this driver, or that this driver
	// cannot be found behind a wrapper. See "Behind wrappers" in the package documentation.
	ErrNotOurs = errors.New("sqlite-mem: not a database of this driver")

	// ErrClosed means that the sql.DB is closed.
	ErrClosed = errors.New("sqlite-mem: the database is closed")

	// ErrNoFile is the error of a Sync of a database that is only in memory.
	ErrNoFile = store.ErrNoFile

	// ErrNotServed is the error of a Watch of a database that this process does not serve,
	// without a live connection to a server. Nobody sees the commits then.
	ErrNotServed = errors.New("no server reports commits here: start one, or open the database as the server (not with sqlite_in_memory=no)")

	// ErrNotDurable means that a commit with sqlite_wal=commit, or a [Restore], could not be
	// made durable. See [NotDurableError].
	ErrNotDurable = store.ErrNotDurable

	// ErrLost means that FILE.lock was removed or replaced, and another process has it now.
	// Until this process has the lock again, it writes nothing to the file and refuses
	// writers. Earlier commits stay in memory.
	ErrLost = proclock.ErrLost

	// ErrCommitUnknown means that the connection to the server broke between a commit and
	// its answer, or the end of its rows. The commit is that of a COMMIT or of a statement
	// that commits by itself.
	// It may have been made or not. The error never wraps driver.ErrBadConn. Look before you
	// try again. Only a tool with a live connection gets it.
	ErrCommitUnknown = live.ErrCommitUnknown

	// ErrUnsaved means that a server ended, by a kill or otherwise. It may not have saved what
	// this process had committed by a live connection. The text says what is known. [Sync] and
	// [SyncAll] return it while that is so.
	ErrUnsaved = errors.New("a server ended, and did not record that everything was saved")

	// ErrTxOver means that the transaction is over. SQLite has rolled it back after an error
	// or a cancellation, or COMMIT or ROLLBACK was sent as a statement. No later statement
	// of it is executed; end it with Rollback.
	ErrTxOver = connerr.ErrTxOver
)

// ForeignChangeError is the error of a save that found the file changed by somebody else.
// The save leaves the file alone and writes the database beside it, to the path that the
// error names.
type ForeignChangeError = snapshot.ForeignChangeError

// NotDurableError is the error of a commit with sqlite_wal=commit that could not be made
// durable. Until a flush or a save works again, every write fails with it. Reads go on. It is
// also the error of a [Restore] that has replaced the database and could not save it, whatever
// sqlite_wal is. It wraps [ErrNotDurable]. Its fields:
//
//	Path      string // of the database
//	Committed bool   // see below
//	Err       error  // of the flush or the save
//
// If Committed is true the change is committed in memory, and all connections see it. The
// next flush or save that works makes it durable, but a crash before that may undo it. If it
// is false nothing was changed.
type NotDurableError = store.NotDurableError

// OwnedError means that another process owns the database. It is the error of writing to
// it, of creating a file under its name, and of opening it in the role of the server. Its
// fields:
//
//	Path  string    // the database file
//	PID   int       // of the owner; 0: not known
//	Since time.Time // when it became the owner; zero: not known
//	Err   error     // what SQLite said, a sqlite3.Error; nil when opening
type OwnedError = connerr.OwnedError
