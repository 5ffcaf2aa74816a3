package snapshot

import (
	"errors"
	"fmt"
)

// Errors of File.Open and Check, wrapped in an [*Error]. The file has not been
// written to.
var (
	// ErrNotADatabase: the file does not begin like a SQLite database, or like
	// one of a later format than this library knows.
	ErrNotADatabase = errors.New("not a SQLite database")

	// ErrNotAFile: there is a directory, a device or the like. For a directory the
	// error wraps syscall.EISDIR, too.
	ErrNotAFile = errors.New("not a regular file")

	// ErrReadOnly: this process may not write to the file: its permissions, a
	// read-only file system. The cause is wrapped as well.
	ErrReadOnly = errors.New("the file is read-only")

	// ErrMountPoint: the file itself is a mount point, as containers bind a single
	// file. No new file can take its place.
	ErrMountPoint = errors.New("the file is a mount point, so that no save can replace it; mount the directory that it is in instead")

	// ErrTruncated: the file is shorter than its header says, or does not end
	// on a page boundary.
	ErrTruncated = errors.New("database file is truncated")

	// ErrCorrupt: the structure of the database is damaged.
	ErrCorrupt = errors.New("database is corrupt")

	// ErrSideFile: a -wal or -journal stands beside the file, or where the
	// file is missing, that does not belong to it, or whose format SQLite does
	// not know. SQLite would replay or delete it, or cannot; what is wanted is
	// for a human to say.
	ErrSideFile = errors.New("the -wal or -journal does not belong to this database")

	// ErrLogDamaged: the log beside the file, <file>-memwal, is damaged before
	// its end, so that not all that is in it can be had.
	ErrLogDamaged = errors.New("the log is damaged")

	// ErrLogBase: the log beside the file belongs to another state of it:
	// somebody has changed the file, or restored an older one.
	ErrLogBase = errors.New("the log does not belong to this database file")

	// ErrBusy: another program held the file for longer than Open waits, or
	// wrote to it meanwhile.
	ErrBusy = errors.New("another program is using the database file")
)

// ErrNotOwner is wrapped by what [File.Owned] returns when another process may own the
// database.
var ErrNotOwner = errors.New("another process owns the database")

// ErrClosed is returned by [Loop.Sync] and [Flusher.Wait] after Close has begun.
var ErrClosed = errors.New("sqlite-mem: the database is being closed")

// Error tells which operation on which file failed.
type Error struct {
	Op   string // "load", "check", "save", "back up to", "log", "watch" (File.Check), "recover", "inspect the log" or "remove leftovers"
	Path string // as the caller gave it; empty for a check
	Err  error
}

func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("sqlite-mem: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("sqlite-mem: %s %s: %v", e.Op, e.Path, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// ForeignChangeError is returned by [File.Save] when the file is not the one that
// this process loaded or saved last, or when another program is using it. The
// file has been left alone and the state in memory kept beside it.
type ForeignChangeError struct {
	Path   string // the file, symbolic links resolved
	Reason string // what was found, in words

	// SavedAs is the file that holds the state in memory, synced to disk; it
	// is empty if that failed too (see Err).
	SavedAs string

	// copy is for the next save, so that one copy is kept and not one for
	// each attempt.
	copy sideCopy

	logged bool // there is a log, which belongs to the file as it was

	// Err is nil when the copy is on disk, and else what went wrong with it.
	Err error
}

func (e *ForeignChangeError) Error() string {
	s := fmt.Sprintf("sqlite-mem: save %s: %s; the file was left alone", e.Path, e.Reason)
	switch {
	case e.SavedAs == "":
		return s + fmt.Sprintf(", and the state in memory could NOT be saved beside it: %v", e.Err)
	case e.Err != nil:
		s += fmt.Sprintf(" and the state in memory saved as %s, which a power failure may still undo: %v", e.SavedAs, e.Err)
	default:
		s += fmt.Sprintf(" and the state in memory saved as %s", e.SavedAs)
	}
	s += fmt.Sprintf("; to resolve it, stop this program, keep the one of the two files that is wanted as %s, ", e.Path)
	if e.logged {
		s += fmt.Sprintf("run: sqlite-mem recover %s, ", e.Path)
	}
	return s + "and start again"
}

// Unwrap returns Err, which is nil when the copy is on disk.
func (e *ForeignChangeError) Unwrap() error { return e.Err }

// sideCopy is a copy of the state in memory that a foreign change has forced.
// The zero value means that there is none.
type sideCopy struct {
	pinned         // as written: a copy that somebody has edited since is not replaced
	path    string // absolute
	version uint64 // Image.Version of the state it holds

	unsynced bool // it may be gone after a power failure
}
