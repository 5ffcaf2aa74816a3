package image

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
)

// ErrChanged is wrapped by the error of [File.Check] if the file is not the one that was read or
// written last. The next Save tells more, in a [*ForeignChangeError].
var ErrChanged = errors.New("somebody else has changed the database file")

// Check makes sure that what is durable stays so while nobody commits. It checks that this
// process owns the database, and that file and log are where they were. It writes a log anew
// that was removed or replaced. It is to be called every interval.
//
// Errors are an [*Error] or ErrNeedsSave. The [*Error] wraps ErrChanged if the file is
// another. ErrNeedsSave means that only a save can replace the log that is gone.
func (f *File) Check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.checkLocked()
	if err != nil && err != ErrNeedsSave {
		err = &Error{Op: "watch", Path: f.path, Err: err}
	}
	return err
}

func (f *File) checkLocked() error {
	if err := f.ownedLocked(); err != nil {
		return err
	}
	reason, err := f.current.Changed(f.fs, f.target)
	if err == nil && reason != "" {
		err = fmt.Errorf("%w: %s", ErrChanged, reason)
	}
	if err != nil {
		return err
	}
	gone, err := f.logGoneLocked()
	if err != nil || !gone {
		return err
	}
	if !f.log {
		return ErrNeedsSave
	}
	return f.flushLocked()
}

func (f *File) ownedLocked() error {
	if f.Owned == nil {
		return nil
	}
	return f.Owned()
}

// logGoneLocked reports whether the log that makes commits durable has lost its name, or has
// not got it yet.
func (f *File) logGoneLocked() (bool, error) {
	switch {
	case f.writing != nil && (!f.writing.Placed || f.writing.Closed):
		return true, nil // it has no name yet, or the one that was to replace it has none
	case f.writing != nil:
		there, err := f.writing.There(pagelog.Name(f.target))
		return !there, err
	case f.left > 0:
		// The log that Open has read is not open, so it is told by its length.
		info, err := f.fs.Lstat(pagelog.Name(f.target))
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		return err == nil && (!info.Mode().IsRegular() || info.Size() != f.left), err
	}
	return false, nil
}
