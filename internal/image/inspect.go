package image

import (
	"context"
	"errors"
	"io/fs"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
)

// LogInfo describes the contents of a log.
type LogInfo struct {
	Name         string // of the file
	Bytes        int64  // length up to the end of the last transaction
	Transactions int    // how many are whole
	Pages        int    // how many pages of the database have a later version in it
	Torn         int64  // bytes of one more transaction, which is being written or a crash has cut short; 0: none
	Fits         bool   // it belongs to the database file as that is now
	Damage       error  // wraps pagelog.ErrDamaged; nil: no damage
}

// InspectLog reads the log of the database at path, which another process may be writing to. It
// returns nil if there is none. It changes nothing. Errors are an [*Error].
func InspectLog(ctx context.Context, path string) (*LogInfo, error) {
	info, err := inspectLog(ctx, system, path)
	// A save replaces the file and then the log, and the frames that a flush appends meanwhile
	// may look like damage. So a bad result is looked at again.
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
	next, err := pagelog.Read(fsx, pagelog.NewName(target))
	if errors.Is(err, pagelog.ErrDamaged) {
		next, err = nil, nil // it was not finished
	}
	if err != nil || log == nil && info.Damage == nil && next == nil {
		return nil, err
	}
	hash, err := hashOf(ctx, fsx, target)
	if err != nil {
		return nil, err
	}
	info.Fits = log != nil && log.Head.Base == hash
	if !info.Fits && next != nil && next.Head.Base == hash && (log != nil || info.Damage == nil || next.Commits > 0 && next.Torn == 0) {
		// The next open takes the new log: see pagelog.Pick.
		log, info = next, &LogInfo{Name: next.Name, Fits: true}
	}
	if log == nil && info.Damage == nil {
		return nil, nil // the next open removes the new log
	}
	if log != nil {
		info.Bytes, info.Transactions, info.Pages, info.Torn = log.End, log.Commits, len(log.Pages), log.Torn
	}
	return info, nil
}

// hashOf is the hash of the file called name, which need not be there.
func hashOf(ctx context.Context, fsx osfile.FS, name string) (pagelog.BaseHash, error) {
	f, err := fsx.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return pagelog.HashOfNothing, nil
	}
	if err != nil {
		return 0, err
	}
	h, hash := held{f: f}, pagelog.HashOfNothing
	fi, err := f.Stat()
	if err == nil {
		h.size = fi.Size()
		hash, err = h.hash(ctx)
	}
	return hash, errors.Join(err, f.Close())
}

// LogPending reports whether the database at path has a log with transactions. It returns
// true also for a log that is damaged or being written, as its state is not known. If
// LogPending returns true, the file alone may not be all of the database. A write to it
// would part it from its log. Open it with [File.Open], or fold the log in with [FoldLog].
//
// LogPending changes nothing, does not open the database, and reads only the beginning of the
// log. Errors are an [*Error]; with one it returns true.
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
