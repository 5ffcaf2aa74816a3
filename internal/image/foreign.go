package image

import (
	"errors"

	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// foreign says in words why target, which is to be prev, is not ours to replace, "" if
// it is.
func (w writer) foreign(target string, prev sqlitefile.Pinned, options writeOptions) (string, error) {
	if options.owned != nil {
		err := options.owned()
		if errors.Is(err, ErrNotOwner) {
			return err.Error(), nil
		}
		if err != nil {
			return "", err
		}
	}
	// A side file is no part of our saves: whoever made it has opened the
	// database. Under a new file of the same name SQLite would apply it.
	j, err := sqlitefile.ReadJournal(w.fs, target)
	if err != nil {
		return "", err
	}
	if j.Live {
		return "another program has begun a transaction on it (" + target + "-journal)", nil
	}
	// An empty journal or one with its header zeroed stays: SQLite takes it
	// for no journal at all, whatever database is beside it. And it may not
	// be removed: a program that keeps its journal (the journal modes
	// TRUNCATE and PERSIST) may be about to write to it, and would crash
	// without one.
	wal, err := sqlitefile.ReadWAL(w.fs, target)
	if err != nil {
		return "", err
	}
	if wal.Frames {
		return "another program has written to it in WAL mode (" + target + "-wal)", nil
	}
	ours, reason, err := w.whichOfOurs(target, prev, options.side)
	if err != nil || reason != "" {
		return reason, err
	}
	if wal.Present && ours.ID.Size() > 0 {
		// A -wal without frames is harmless unless somebody has it open, who
		// might yet write to it. That cannot be seen from outside, and
		// removing it under a program that uses it would be the harm we fear.
		// So let SQLite find out: if the file is in WAL mode, or the -wal has
		// a header, it is opened exclusively, which fails if anybody else has
		// it open, and closing removes the -wal. The file is not changed.
		// What is left is an empty -wal beside a file in rollback mode, which
		// SQLite takes for none.
		h, err := loader{fs: w.fs}.tryAcquire(target, ours.File)
		if err == nil {
			err = h.close()
		}
		if errors.Is(err, sqlitefile.ErrBusy) {
			return "another program has it open in WAL mode (" + target + "-wal)", nil
		}
		if err != nil {
			return "", err
		}
		_, reason, err = w.whichOfOurs(target, prev, options.side)
		return reason, err
	}
	return "", nil
}

// whichOfOurs finds the file that is called target: prev, or the side copy of ours, if
// it was moved there. reason says in words what is there else.
func (w writer) whichOfOurs(target string, prev sqlitefile.Pinned, side sideCopy) (ours sqlitefile.Pinned, reason string, err error) {
	reason, err = prev.Changed(w.fs, target)
	if err != nil || reason == "" || side.ID.IsZero() {
		return prev, reason, err
	}
	other, err := side.Changed(w.fs, target)
	if err == nil && other == "" {
		return side.Pinned, "", nil
	}
	return prev, reason, err
}
