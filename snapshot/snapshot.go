package snapshot

import (
	"context"
	"errors"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
)

// Check reads the whole database that conn has open as "main", and reports whether its
// structure is sound. It writes nothing. The error is an [*Error]; it wraps [ErrCorrupt]
// when the structure is damaged.
//
// Check runs PRAGMA quick_check. So it checks the shape of an index and its number of
// entries, but does not compare the index with its table. SQLite itself opens and uses
// the following databases, so they are no error:
//
//   - values that break a constraint, or are not of the type of their column;
//   - a full-text or R*Tree index that does not match its content;
//   - a table whose collation, function or module is not registered on conn. It is
//     not checked.
func Check(conn *sqlite3.SQLiteConn) error { return image.Check(conn) }

// LogInfo describes the contents of a log. Its fields:
//
//	Name         string // The name of the file.
//	Bytes        int64  // The length up to the end of the last transaction.
//	Transactions int    // The number of whole transactions.
//	Pages        int    // The number of pages of the database with a later version in it.
//	Torn         int64  // The bytes of one more transaction, half written or cut short by a crash.
//	Fits         bool   // It belongs to the database file as that is now.
//	Damage       error  // It wraps [ErrLogDamaged], or is nil.
type LogInfo = image.LogInfo

// InspectLog reads the log of the database at path, which another process may be writing
// to. It returns nil if there is none. It changes nothing. Errors are an [*Error].
//
// POSIX drops the locks of a process on a file when the process closes any descriptor of
// it. So no connection of this process may have the database file open meanwhile.
func InspectLog(ctx context.Context, path string) (*LogInfo, error) {
	return image.InspectLog(ctx, path)
}

// Recovery is the result of [Recover]. Its fields:
//
//	Transactions int      // of the log that are in the file now
//	Torn         int64    // bytes of one more, which a crash had cut short; 0: none
//	Problem      error    // wraps [ErrLogDamaged] or [ErrLogBase]; nil: the log was in order
//	Aside        []string // files that were kept under another name
//	NotKept      error    // always nil here
//
// Aside names the log if there is a Problem with it. If something of that log was written
// into the file, Aside also names a copy of the file as it was. After an error it names the
// files that were kept before.
type Recovery = image.Recovery

// Recover writes the log that a crash has left beside the file at path into the file, and
// removes the log. Without a log it does nothing. A server does the same when it opens the
// file. Recover also resolves what a server refuses. If the log does not belong to the file,
// Recover moves the log aside. If the log is damaged, Recover writes what is before the
// damage into the file. In both cases it deletes nothing: see Recovery.Aside.
//
// Recover owns the database while it runs. If another process owns it, the error names
// that process and nothing has been changed. No connection of this process may have the
// file open meanwhile: its locks would be dropped (see [InspectLog]).
//
// Other errors are an [*Error] or a [*ForeignChangeError]. After one of them, there are two
// cases. Either file and log are as they were, or all is in the file and a log that holds no
// more is still there. In both cases Recovery.Aside may name files: a copy of the file, or the
// log itself. The end of ctx ends a recovery, until the new file gets its name.
func Recover(ctx context.Context, path string) (_ Recovery, err error) {
	target, err := osfile.Resolve(path)
	if err != nil {
		return Recovery{}, &Error{Op: "recover", Path: path, Err: err}
	}
	lock, err := proclock.Acquire(ctx, target, proclock.Recovery)
	if err != nil {
		return Recovery{}, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if _, err := image.RemoveLeftovers(target); err != nil {
		return Recovery{}, err
	}
	return image.Recover(ctx, target)
}

// BackupFrom makes a new database file at path. It calls fill with the name of an empty file.
// By VACUUM INTO or the backup API of SQLite, fill writes the database to that file. When
// fill returns, nobody may have that file open. BackupFrom syncs the file and renames it to
// path. Only its owner can read and write it (mode 0600).
//
// BackupFrom replaces nothing. The error wraps [fs.ErrExist] in three cases: there is a file
// at path; there is a -journal, -wal or -memwal beside it; or path is the name of a part of
// another database that is there. Of several backups to one path at once, one is made.
//
// Errors are an [*Error]. Then there is no file at path, with two exceptions. Either the error
// says that the file is in place, and also if a power failure may take it away. Or the error
// names an empty file at path, or a temporary file, that could not be removed. The end of ctx
// ends a backup until the file gets its name.
func BackupFrom(ctx context.Context, path string, fill func(name string) error) error {
	return image.BackupFrom(ctx, path, fill)
}
