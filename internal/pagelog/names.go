package pagelog

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// There reports whether there is a log or a new log beside the database at path.
func There(fsx osfile.FS, path string) (bool, error) {
	for _, name := range []string{Name(path), NewName(path)} {
		_, err := fsx.Stat(name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err == nil, err
		}
	}
	return false, nil
}

// removeFile removes a file, which need not be there.
func removeFile(fsx osfile.FS, name string) error {
	if err := fsx.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Name returns the name of the log of the database at path. It is not <path>-wal: another
// SQLite that opens the file would read, checkpoint and truncate that. With this name, that
// SQLite sees the last save.
func Name(path string) string { return path + "-memwal" }

// NewName returns the name of the new log, which is to take the place of the log.
func NewName(path string) string { return path + "-memwal-new" }

// Remove removes the log and then the new log, and syncs the directory. The order counts: the
// new log may show that the log is old. It is no error if there is neither.
func Remove(fsx osfile.FS, path string) error {
	for _, name := range []string{Name(path), NewName(path)} {
		if err := removeFile(fsx, name); err != nil {
			return err
		}
	}
	return fsx.SyncDir(filepath.Dir(path))
}
