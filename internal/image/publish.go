package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
)

// publishLocked replaces the file by a new base, and the log by a new log, in this order:
//
//  1. The new base, p, is whole and synced, under a temporary name.
//  2. A new log with what was committed since is written and synced, as <file>-memwal-new.
//  3. The directory is synced. The new base is renamed over the old one. The directory is
//     synced.
//  4. The new log is renamed over the old one. The directory is synced.
//
// A crash before the rename of step 3 leaves the old base and the old log, which fit each
// other. So does a power failure that undoes the rename. Nobody was promised the commits in
// the new log then, because no Flush has returned since.
//
// A crash after that rename leaves the new base and, under one name or the other, the new log.
// The new log fits the new base, and the old log does not. Step 4 begins when step 3 is
// durable, so the new log never has the name of the log beside the old base.
//
// If nobody knows whether step 3 is durable, the new log is not placed. Then no commit is
// durable until flushLocked has placed it, which it does first.
func (f *File) publishLocked(ctx context.Context, p *prepared) (result, error) {
	if !f.log && !f.present {
		res, err := p.publish(ctx)
		if err == nil {
			f.durable.Store(p.img.version)
		}
		return res, err
	}
	// First of all: the log may belong to another process by now.
	if err := p.admit(ctx); err != nil {
		return result{}, err
	}
	now, err := f.sinceSaveLocked(p)
	if err != nil {
		if derr := p.discard(); derr != nil || err != errOutdated {
			err = saveErr(f.path, errors.Join(err, derr))
		}
		return result{}, err
	}
	version := p.img.version
	if now != nil {
		defer now.Release()
		version = now.Version()
	}
	pageSize := p.img.pageSize
	if pageSize == 0 {
		pageSize = 4096 // of a log without pages
	}
	like, err := f.current.Like(f.fs, f.target)
	var log *pagelog.Writer
	if err == nil {
		log, err = pagelog.Create(f.fs, f.target, like, pageSize, p.img.hash, now, f.next)
	}
	if err != nil {
		return result{}, saveErr(f.path, fmt.Errorf("the log of the new file: %w", errors.Join(err, p.discard())))
	}
	f.present = true
	res, err := p.publish(ctx)
	if res.ID.IsZero() {
		return res, errors.Join(err, log.Discard())
	}
	log.Unsynced = err != nil
	f.base, f.since, f.all = p.img, f.next, false
	f.next = nil
	clear(f.dirty)
	if cerr := f.replaceLocked(log); cerr != nil && err == nil {
		err = saveErr(f.path, fmt.Errorf("closing the old log: %w", cerr))
	}
	if err != nil {
		return res, err
	}
	if err := log.Place(); err != nil {
		return res, saveErr(f.path, fmt.Errorf("the new file is in place, its log %s is not: %w", pagelog.NewName(f.target), err))
	}
	f.durable.Store(version)
	if f.log && p.img.size > 0 {
		return res, nil
	}
	if err := f.removeLogLocked(); err != nil {
		return res, saveErr(f.path, err)
	}
	return res, nil
}

// sinceSaveLocked pins the last commit, which the log of a new base has to reach. It returns
// nil if that is the base itself, and errOutdated if no log of the base can reach it. An
// older state would not do, as the old log may have reached further.
func (f *File) sinceSaveLocked(p *prepared) (Image, error) {
	// The log that is made next makes up for one that is gone.
	if err := f.placeLocked(); err != nil && err != pagelog.ErrGone {
		return nil, err
	}
	if !f.log {
		return nil, nil
	}
	now, err := f.pinLocked()
	if err != nil {
		return nil, err
	}
	same := now.Version() == p.img.version
	// An empty base has no log, and no log can express an empty database.
	if !same && !f.nextAll && p.img.size > 0 && now.Size() > 0 {
		return now, nil
	}
	now.Release()
	if same {
		return nil, nil
	}
	return nil, errOutdated
}

// removeLogLocked closes and removes the log.
func (f *File) removeLogLocked() error {
	err := f.replaceLocked(nil)
	if rerr := pagelog.Remove(f.fs, f.target); rerr != nil {
		return errors.Join(err, rerr)
	}
	f.present = false
	return err
}
