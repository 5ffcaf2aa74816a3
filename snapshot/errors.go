package snapshot

import (
	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/schedule"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// Errors of opening a database, of [Check] and of [Recover]. They are wrapped in an
// [*Error]. The file has not been written to, except that SQLite may have recovered it from a
// journal or -wal of its own.
var (
	// ErrNotADatabase: the file does not begin like a SQLite database, or its format is
	// later than this library knows.
	ErrNotADatabase = sqlitefile.ErrNotADatabase

	// ErrNotAFile: the path is a directory, a device or the like. For a directory the
	// error wraps syscall.EISDIR as well.
	ErrNotAFile = osfile.ErrNotAFile

	// ErrReadOnly: this process may not write to the file, by its permissions or because
	// the file system is read-only. The error wraps the cause as well.
	ErrReadOnly = osfile.ErrReadOnly

	// ErrMountPoint: the file itself is a mount point, as containers bind a single file.
	// No save could replace it. Mount its directory instead.
	ErrMountPoint = osfile.ErrMountPoint

	// ErrTruncated: the file is shorter than its header says, or does not end on a page
	// boundary.
	ErrTruncated = sqlitefile.ErrTruncated

	// ErrCorrupt: the structure of the database is damaged.
	ErrCorrupt = sqlitefile.ErrCorrupt

	// ErrSideFile: there is a -wal or -journal that does not belong to the file, or whose
	// format SQLite does not know; or the file itself is missing. SQLite would replay it,
	// delete it, or fail. A person has to decide whether the file or the side file is wanted.
	ErrSideFile = sqlitefile.ErrSideFile

	// ErrLogDamaged: the log, FILE-memwal, is damaged before its end, so transactions
	// are lost that were promised to be durable. [Recover] saves what is before the damage.
	ErrLogDamaged = pagelog.ErrDamaged

	// ErrLogBase: the log, FILE-memwal, belongs to another state of the file. Somebody has
	// changed the file, or restored an older one. [Recover] moves the log aside.
	ErrLogBase = pagelog.ErrBase

	// ErrBusy: another program held the file for longer than the open waits, or wrote to
	// it meanwhile.
	ErrBusy = sqlitefile.ErrBusy
)

// Error tells which operation on which file failed. Its fields:
//
//	Op   string // see below
//	Path string // as the caller gave it; empty for a check and a stream
//	Err  error  // the cause, which Unwrap returns
//
// Op is "load", "check", "save", "back up to", "log", "watch", "recover", "inspect the log",
// "remove leftovers", "restore from" (a file), "restore" (from a stream), or "restore to" (a file
// without a server).
//
// After an error of "check" or "inspect the log" nothing has been written. After one of "load"
// SQLite may have recovered the file, and a change of file and log that a crash had
// interrupted may be complete. After one of "save" or "restore to" the file is the old one, or
// the new one is in place. If a power failure may still undo that, the text says so. After one of
// "log", "watch", "remove leftovers", "restore from" or "restore" the file is as it was. For the
// others see [Recover] and [BackupFrom].
type Error = image.Error

// ForeignChangeError is the error of a save after a foreign change. Either the file is not
// the one that this process loaded or saved last, or another program is using it. The save
// leaves the file alone and keeps the state in memory beside it. Its fields:
//
//	Path    string // the file, symbolic links resolved
//	Reason  string // what was found, in words
//	SavedAs string // the file that holds the state in memory; empty if that failed too
//	Err     error  // nil when SavedAs is on the disk, else what went wrong with it; Unwrap returns it
//
// Each save looks again. When the cause is gone, the next save succeeds.
type ForeignChangeError = image.ForeignChangeError

// Event is one attempt to save. The driver gives it to the OnSync function. Its fields:
//
//	Start    time.Time     // when the attempt began
//	Duration time.Duration // how long it took
//	Bytes    int64         // length of the file that was written; 0 after a failure
//	Err      error         // nil after success
//	Failures int           // failed attempts in a row, with this one; 0 after success
//	Awaited  bool          // a Sync or Close waited for it, and gets Err too
type Event = schedule.Event
