//go:build cgo && unix

package fileconn

import (
	"io/fs"
	"path/filepath"
	"syscall"
)

// mayNotWrite returns why this process may not write the database file at path, or create
// its journal; nil if it may. It does not open the file, as closing it again would
// drop the locks that SQLite has on it in this process. SQLite finds out what this does
// not see.
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
