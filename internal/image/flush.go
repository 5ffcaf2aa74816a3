package image

import (
	"errors"

	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
)

// ErrNeedsSave is returned by [File.Flush] when a log cannot tell what has
// changed: there is no file yet, or VACUUM has changed the page size. Save
// makes it durable.
var ErrNeedsSave = errors.New("sqlite-mem: only a save can make this durable")

// Flush brings all that is committed to the log, as one transaction of it, and
// returns when it is on the disk. It returns at once if it is there already.
//
// First it makes sure that this process owns the database, and that file and log are
// where they were: a log that was removed or replaced is written anew. So nothing is
// called durable that is in a log without its name.
//
// Errors are an [*Error], or ErrNeedsSave; one of them, while the last Save has
// found that somebody else has changed the file, and the cause has not gone, is that
// error of Save, since a log
// is of use only beside the file that it belongs to. Then what was committed since the
// last Flush that returned nil may survive a crash or not, in either case in
// whole; the next Flush tries all of it again, in a new log.
func (f *File) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.foreign != nil && !f.oursAgainLocked() {
		return f.foreign
	}
	err := f.flushLocked()
	if err != nil && err != ErrNeedsSave {
		err = &Error{Op: "log", Path: f.path, Err: err}
	}
	return err
}

// oursAgainLocked makes sure that the cause for which the last save was refused has gone,
// and the file is the base of the log again.
func (f *File) oursAgainLocked() bool {
	reason, err := writer{f.fs}.foreign(f.target, f.current, writeOptions{owned: f.Owned})
	if err != nil || reason != "" {
		return false
	}
	f.foreign = nil
	return true
}

func (f *File) flushLocked() error {
	if err := f.ownedLocked(); err != nil {
		return err
	}
	if err := f.placeLocked(); err != nil && err != pagelog.ErrGone {
		return err
	}
	gone, err := f.logGoneLocked()
	if err != nil {
		return err
	}
	img, err := f.pinLocked()
	if err != nil {
		return err
	}
	version := img.Version()
	if version == f.durable.Load() && !gone {
		img.Release()
		return nil
	}
	if f.all || f.base.size == 0 || img.Size() == 0 {
		img.Release()
		return ErrNeedsSave
	}
	// The log is of use only beside the file that it belongs to. If that has gone, a
	// save finds out what is to be done.
	if reason, err := f.current.Changed(f.fs, f.target); err != nil || reason != "" {
		img.Release()
		if err == nil {
			err = ErrNeedsSave
		}
		return err
	}
	if f.writing != nil && !f.writing.Broken && !gone {
		err = f.writing.Append(img, f.dirty)
		img.Release() // a pin costs what is rewritten meanwhile, and a sync takes long
		if err == nil {
			err = f.writing.Sync()
		}
	} else {
		err = f.rewriteLocked(img)
		img.Release()
	}
	if err != nil {
		return err
	}
	clear(f.dirty)
	f.logSize.Store(f.writing.Size)
	f.durable.Store(version)
	return nil
}

// placeLocked puts a log in its place that a save could not. Until that has
// worked nothing can be durable, and no other log may be made: it may be the one
// that fits the file. Unless somebody has removed it: then another may, and must.
func (f *File) placeLocked() error {
	if f.writing == nil || f.writing.Placed {
		return nil
	}
	return f.writing.Place()
}

// rewriteLocked puts a new log, of all that has changed since the base was
// written, in the place of the log there is: one that a crash or an error has
// left, whose end nobody knows. Both belong to the base, so whichever of them a
// crash leaves, it has all that was durable before.
func (f *File) rewriteLocked(img Image) error {
	like, err := f.current.Like(f.fs, f.target)
	if err != nil {
		return err
	}
	log, err := pagelog.Create(f.fs, f.target, like, f.base.pageSize, f.base.hash, img, f.since)
	if err != nil {
		return err
	}
	log.Unsynced = f.writing != nil && f.writing.Unsynced
	f.present = true
	if err := log.Place(); err != nil {
		log.Broken = true // what it has is not known to be durable
		if !log.Renamed {
			return errors.Join(err, log.Discard())
		}
		return errors.Join(err, f.replaceLocked(log))
	}
	return f.replaceLocked(log)
}

// replaceLocked goes on with another log.
func (f *File) replaceLocked(log *pagelog.Writer) error {
	old := f.writing
	f.writing, f.left = log, 0
	if log == nil {
		f.logSize.Store(0)
	} else {
		f.logSize.Store(log.Size)
	}
	if old == nil {
		return nil
	}
	return old.Close()
}
