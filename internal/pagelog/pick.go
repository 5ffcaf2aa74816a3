package pagelog

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// ErrDamaged: the log is damaged before its end, so transactions in it are lost.
var ErrDamaged = errors.New("the log is damaged")

// ErrBase: the log belongs to another state of the file. Somebody has changed the file, or
// restored an older one.
var ErrBase = errors.New("the log does not belong to this database file")

// Pick returns the log that belongs to the database at path, whose file has that hash. It
// returns nil if there is none. It completes or removes what a crash has interrupted, by the
// rules below. Their reasons are in image.File.publishLocked.
//
//   - The log fits: it is the one. A new log beside it was not finished.
//   - A new log fits, and the log does not: the file was replaced. The crash came before the
//     new log had the name of the log.
//   - There is only a new log, which does not fit: the crash came before the file was
//     replaced, and there was no log yet.
//   - There is a log, which does not fit: somebody has changed the file, or put another in its
//     place. That is an error, unless the log is empty.
//
// The error wraps ErrDamaged or ErrBase; then nothing has changed.
func Pick(fsx osfile.FS, path string, hash BaseHash) (*Log, error) {
	log, logErr := Read(fsx, Name(path))
	if logErr != nil && !errors.Is(logErr, ErrDamaged) {
		return nil, logErr
	}
	if logErr != nil && log != nil && log.Head.Base == hash {
		return nil, fmt.Errorf("%w; %s", logErr, logHint(path))
	}
	if log != nil && log.Head.Base == hash {
		return log, removeFile(fsx, NewName(path))
	}
	next, err := Read(fsx, NewName(path))
	switch {
	case err != nil && !errors.Is(err, ErrDamaged):
		return nil, err
	case logErr != nil && log == nil && (err != nil || next == nil || next.Head.Base != hash || next.Commits == 0 || next.Torn > 0):
		// The header cannot be read. A new log has all that may be in the log only if it fits
		// and is whole.
		return nil, fmt.Errorf("%w; %s", logErr, logHint(path))
	case err == nil && next != nil && next.Head.Base == hash:
		if err := fsx.Rename(next.Name, Name(path)); err != nil {
			return nil, err
		}
		next.Name = Name(path)
		return next, fsx.SyncDir(filepath.Dir(path))
	case log == nil || logErr == nil && log.Commits == 0:
		if log == nil && next == nil && err == nil {
			return nil, nil
		}
		return nil, Remove(fsx, path)
	}
	return nil, fmt.Errorf("%w: %s holds changes to another state of %s; %s", ErrBase, log.Name, path, logHint(path))
}

func logHint(path string) string {
	return fmt.Sprintf("put the database back to which it belongs, or run: sqlite-mem recover %s", path)
}
