package image

import (
	"errors"
	"fmt"
)

// ErrNotOwner is wrapped by the error of [File.Owned] when another process may own the database.
var ErrNotOwner = errors.New("another process owns the database")

// Error tells which operation on which file failed. See snapshot.Error.
type Error struct {
	Op   string // "load", "check", "save", "back up to", "log", "watch" (File.Check), "recover", "inspect the log", "remove leftovers", "restore from" or "restore" (from a stream)
	Path string // as the caller gave it; empty for a check and a stream
	Err  error  // the cause
}

func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("sqlite-mem: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("sqlite-mem: %s %s: %v", e.Op, e.Path, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// ForeignChangeError is the error of [File.Save] after a foreign change. Either the file is
// not the one that this process loaded or saved last, or another program is using it. Save
// has left the file alone, and has kept the state in memory beside it.
type ForeignChangeError struct {
	Path   string // the file, symbolic links resolved
	Reason string // what was found, in words

	// SavedAs is the file that holds the state in memory. It is empty if that failed too.
	SavedAs string

	// copy is for the next save, which replaces it. So there is one copy and not one for each
	// attempt.
	copy ownCopy

	logged bool // there is a log, which belongs to the file as it was

	// Err is nil when the copy is durable. Otherwise it is what went wrong with the copy.
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

// Unwrap returns Err, which is nil when the copy is on the disk.
func (e *ForeignChangeError) Unwrap() error { return e.Err }
