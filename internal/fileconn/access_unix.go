//go:build cgo && unix

package fileconn

import (
	"io/fs"
	"path/filepath"
	"syscall"
)

// mayNotWrite is why this process may not write the database file at path, or make
// its journal; nil: it may. It asks without opening the file: to close it again would
// drop the locks that SQLite has on it in this process. What it does not see, SQLite
// finds out.
func mayNotWrite(path string, there bool) error {
	const writeOK = 2
	names := []string{filepath.Dir(path)}
	if there {
		names = append(names, path)
	}
	for _, name := range names {
		switch err := syscall.Access(name, writeOK); err {
		case syscall.EACCES, syscall.EPERM, syscall.EROFS:
			return &fs.PathError{Op: "write to", Path: name, Err: err}
		}
	}
	return nil
}
