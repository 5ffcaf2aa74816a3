package image

import (
	"context"
	"errors"
	"io/fs"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
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

func inspectLog(ctx context.Context, fsx osfile.FS, path string) (*LogInfo, error) {
	target, err := osfile.Resolve(path)
	if err != nil {
		return nil, err
	}
	log, err := pagelog.Read(fsx, pagelog.Name(target))
	info := &LogInfo{Name: pagelog.Name(target)}
	if errors.Is(err, pagelog.ErrDamaged) {
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
	info.Bytes, info.Transactions, info.Pages, info.Torn = log.End, log.Commits, len(log.Pages), log.Torn
	h := held{}
	hash := pagelog.HashOfNothing
	if h.f, err = fsx.Open(target); err == nil {
		fi, serr := h.f.Stat()
		if serr == nil {
			h.size = fi.Size()
			hash, serr = h.hash(ctx)
		}
		err = errors.Join(serr, h.f.Close())
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	info.Fits = hash == log.Head.Base
	return info, err
}

// LogPending reports whether a log stands beside the database at path that has
// transactions, or whose state is not known: because it is damaged, or being written.
// Then the file alone is not all of the database, and who writes to the file parts the
// two: open it with [File.Open], or fold the log in with [FoldLog]. Nothing is changed,
// the database itself is not opened, and of the log only the beginning is read. An error
// is an [*Error]; true comes with it.
func LogPending(path string) (bool, error) {
	target, err := osfile.Resolve(path)
	pending := true
	if err == nil {
		pending, err = pagelog.Pending(system, target)
	}
	if err != nil {
		return true, &Error{Op: "inspect the log", Path: path, Err: err}
	}
	return pending, nil
}
