package snapshot

import (
	"context"
	"errors"
	"io/fs"
)

// LogInfo tells of the log of a database, as it is seen from outside.
type LogInfo struct {
	Name         string // of its file
	Bytes        int64  // up to the end of the last transaction
	Transactions int
	Pages        int   // of the database that it has a later version of
	Torn         int64 // bytes of one more transaction, which is being written or was cut short by a crash
	Fits         bool  // it belongs to the file as it is
	Damage       error // wraps ErrLogDamaged; nil: there is none
}

// InspectLog reads the log of the database at path, which another process may
// be writing. Nil: there is none. Nothing is changed. Errors are an [*Error].
func InspectLog(ctx context.Context, path string) (*LogInfo, error) {
	info, err := inspectLog(ctx, system, path)
	// A save that runs replaces the file and the log, one after the other, and
	// what a flush appends while it is read looks like damage.
	for range 3 {
		if err != nil || info == nil || info.Fits && info.Damage == nil {
			break
		}
		info, err = inspectLog(ctx, system, path)
	}
	if err != nil {
		return nil, &Error{Op: "inspect the log", Path: path, Err: err}
	}
	return info, nil
}

func inspectLog(ctx context.Context, fsx fsys, path string) (*LogInfo, error) {
	target, err := Resolve(path)
	if err != nil {
		return nil, err
	}
	log, err := readLog(fsx, logName(target))
	info := &LogInfo{Name: logName(target)}
	if errors.Is(err, ErrLogDamaged) {
		info.Damage, err = err, nil
	}
	if err != nil {
		return nil, err
	}
	if log == nil {
		if info.Damage == nil {
			return nil, nil
		}
		return info, nil
	}
	info.Bytes, info.Transactions, info.Pages, info.Torn = log.end, log.commits, len(log.pages), log.torn
	h := held{}
	hash := hashOfNothing
	if h.f, err = fsx.open(target); err == nil {
		fi, serr := h.f.Stat()
		if serr == nil {
			h.size = fi.Size()
			hash, serr = h.hash(ctx)
		}
		err = errors.Join(serr, h.f.Close())
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	info.Fits = hash == log.head.base
	return info, err
}
