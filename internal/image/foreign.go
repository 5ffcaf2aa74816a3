package image

import (
	"errors"

	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// foreign says in words why a save may not replace target, which should be prev; "" if it may.
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
	// Saves make no journal and no -wal: another program has opened the database. SQLite
	// would apply them to the new file, which has the same name.
	j, err := sqlitefile.ReadJournal(w.fs, target)
	if err != nil {
		return "", err
	}
	if j.Live {
		return "another program has begun a transaction on it (" + target + "-journal)", nil
	}
	// An empty journal, or one with a header of zeros, stays. SQLite takes it for none,
	// whatever database is beside it. A program that keeps its journal (the journal modes
	// TRUNCATE and PERSIST) may be about to write to it.
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
		// A -wal without frames is harmless, unless a program has it open and may yet write
		// to it. Nobody else can see that, and to remove the -wal under that program would do
		// harm. So SQLite finds out. SQLite opens the file exclusively if the file is in WAL
		// mode, or if the -wal has a header. This fails if another program has it open. The
		// close removes the -wal. The file does not change. An empty -wal beside a file in
		// rollback mode stays; SQLite takes it for none.
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

// whichOfOurs finds out which file is called target. It is prev, or our own copy, if somebody
// has moved that there. If it is neither, reason says in words what it is.
func (w writer) whichOfOurs(target string, prev sqlitefile.Pinned, side ownCopy) (ours sqlitefile.Pinned, reason string, err error) {
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
