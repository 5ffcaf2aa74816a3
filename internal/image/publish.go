package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
)

// publishLocked puts a new base in the place of the file and a new log in the
// place of the log. In this order:
//
//  1. the new base, p, is whole and synced, under a temporary name
//  2. a new log with what was committed since is written and synced, under the
//     name that it has only for this
//  3. the directory is synced; the new base is renamed over the old one; the
//     directory is synced
//  4. the new log is renamed over the old one; the directory is synced
//
// A crash before the rename of 3 leaves the old base and the old log, which fit
// each other; so it does if the rename does not survive a power failure. Then
// what is in the new log was not promised to anybody: Flush has not returned
// since. A crash after it leaves the new base and, under one name or the other,
// the new log, which fits it as the old one does not. Step 4 begins when step 3
// is durable, so the new log never has the log's name beside the old base.
//
// When it is not known whether step 3 is durable, nothing that is committed
// from then on is, until both directories' syncs have worked: the new log is
// not placed, and flushLocked begins with that.
func (f *File) publishLocked(ctx context.Context, p *prepared) (result, error) {
	if !f.log && !f.present {
		res, err := p.publish(ctx)
		if err == nil {
			f.durable.Store(p.img.version)
		}
		return res, err
	}
	// Before anything is done to the log: it may be another's by now.
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

// sinceSaveLocked pins the state that the log of a new base has to reach; nil:
// it is that of the base itself. errOutdated: no log of that base can reach it.
// An older state would not do: the old log may have reached further.
func (f *File) sinceSaveLocked(p *prepared) (Image, error) {
	// A log that is gone is made up for by the one that comes now.
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
	// An empty base has no log, and an empty database no size that a log could
	// tell.
	if !same && !f.nextAll && p.img.size > 0 && now.Size() > 0 {
		return now, nil
	}
	now.Release()
	if same {
		return nil, nil
	}
	return nil, errOutdated
}

func (f *File) removeLogLocked() error {
	err := f.replaceLocked(nil)
	if rerr := pagelog.Remove(f.fs, f.target); rerr != nil {
		return errors.Join(err, rerr)
	}
	f.present = false
	return err
}
