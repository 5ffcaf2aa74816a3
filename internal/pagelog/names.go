package pagelog

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// There reports whether there is a log beside the database at path, or what
// was to take the place of one.
func There(fsx osfile.FS, path string) (bool, error) {
	for _, name := range []string{Name(path), NewName(path)} {
		_, err := fsx.Stat(name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err == nil, err
		}
	}
	return false, nil
}

func removeFile(fsx osfile.FS, name string) error {
	if err := fsx.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Name is the log of the database at path. It is not <path>-wal: a stock
// SQLite that opened the file beside us would read, checkpoint and truncate
// that, while this way it sees the last save.
func Name(path string) string { return path + "-memwal" }

// NewName is a log that is to take the place of the log.
func NewName(path string) string { return path + "-memwal-new" }

// Remove removes the log and what was to take its place, in that order:
// until the first is gone, the second may be what tells that the first is old.
func Remove(fsx osfile.FS, path string) error {
	for _, name := range []string{Name(path), NewName(path)} {
		if err := fsx.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fsx.SyncDir(filepath.Dir(path))
}
