package store

import (
	"errors"
	"fmt"
)

// ErrOptions is wrapped by the error of an Open whose options differ from those of the open
// store.
var ErrOptions = errors.New("the database is already open in this process with other options")

// ErrNoFile is the error of a Sync of a database without a file.
var ErrNoFile = errors.New("the database is in memory only, there is no file to sync to")

// ErrNotDurable is wrapped by a [NotDurableError].
var ErrNotDurable = errors.New("the log cannot be written")

// NotDurableError is the error of a commit or a restore that could not be made durable, and of a
// write while commits cannot be made durable.
type NotDurableError struct {
	Path string // of the database

	// Committed is true if the change is committed in memory. All connections see it, and the
	// next flush or save that succeeds makes it durable. A crash before that may undo it.
	// If Committed is false, nothing was changed.
	Committed bool

	Err error // of the flush or the save; wrapped
}

func (e *NotDurableError) Error() string {
	if e.Committed {
		return fmt.Sprintf("sqlite-mem: %s: committed in memory, but not on the disk: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("sqlite-mem: %s: refused to write while the log cannot be written: %v", e.Path, e.Err)
}

// Unwrap returns ErrNotDurable and Err.
func (e *NotDurableError) Unwrap() []error { return []error{ErrNotDurable, e.Err} }
