package image

import (
	"errors"

	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
)

// ErrNeedsSave is returned by [File.Flush] and [File.Check] when no log can express the
// changes. Then there is no file yet, the database is empty, VACUUM has changed the page
// size, or a restore has replaced the database. A Save makes it durable.
var ErrNeedsSave = errors.New("sqlite-mem: only a save can make this durable")

// Flush writes everything that is committed to the log, as one transaction, which
// is durable on return. If everything is durable already, Flush returns at once.
//
// First Flush makes sure that this process owns the database, and that file and log are where
// they were. It writes a log anew that was removed or replaced. So no commit is durable by a
// log that has lost its name.
//
// Errors are an [*Error] or ErrNeedsSave. After a Save that has found a foreign change, Flush
// returns that [*ForeignChangeError] until the cause has gone. A log is of use only beside
// its base. After an error a crash may keep or lose what was committed since the last Flush
// that returned nil, but only as a whole. The next Flush writes it again, to a new log.
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

// oursAgainLocked reports whether the foreign change that the last save has found has gone, so
// that the file is the base of the log again.
func (f *File) oursAgainLocked() bool {
	reason, err := writer{f.fs}.foreign(f.target, f.current, writeOptions{owned: f.Owned})
	if err != nil || reason != "" {
		return false
	}
	f.foreign = nil
	return true
}

// flushLocked is Flush without the foreign change.
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
	// The log is of use only beside its base. If the file is another, a save finds out
	// what to do.
	if reason, err := f.current.Changed(f.fs, f.target); err != nil || reason != "" {
		img.Release()
		if err == nil {
			err = ErrNeedsSave
		}
		return err
	}
	if f.writing != nil && !f.writing.Broken && !gone {
		err = f.writing.Append(img, f.dirty)
		img.Release() // a pin keeps the pages that are rewritten meanwhile, and a sync takes long
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

// placeLocked places a log that a save could not place. Until that has worked nothing can be
// durable. No other log may be made, because this one may be the one that fits the file. If
// somebody has removed it, another log must be made.
func (f *File) placeLocked() error {
	if f.writing == nil || f.writing.Placed || f.writing.Closed {
		return nil
	}
	return f.writing.Place()
}

// rewriteLocked replaces the log by a new one, with all that has changed since the base was
// written. The old log is gone; or a crash or an error has left it, so that nobody knows its
// end. Both logs belong to the base. Whichever of them a crash leaves, it has all that was
// durable before.
//
// The old log is closed before the rename, as Windows replaces no open file. It is no loss: a
// log that is to be replaced is never appended to again, whether the new one is placed or not.
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
	var closed error
	if f.writing != nil {
		closed = f.writing.Close()
	}
	if err := log.Place(); err != nil {
		log.Broken = true // nobody knows whether its transactions are durable
		if !log.Renamed {
			return errors.Join(err, closed, log.Discard())
		}
		return errors.Join(err, closed, f.replaceLocked(log))
	}
	return errors.Join(closed, f.replaceLocked(log))
}

// replaceLocked makes log the one that is appended to, nil for none, and closes the old one.
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
