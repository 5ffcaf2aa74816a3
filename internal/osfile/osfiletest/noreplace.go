package osfiletest

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// NoReplaceFS refuses a rename over a file that it has open, as Windows does. It knows the
// files that are open through it, and none of SQLite's.
type NoReplaceFS struct {
	osfile.FS

	mu   sync.Mutex
	open map[*noReplaceFile]string // the name that each file has now
}

type noReplaceFile struct {
	osfile.File
	fs *NoReplaceFS
}

func (f *NoReplaceFS) opened(name string, file osfile.File, err error) (osfile.File, error) {
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open = make(map[*noReplaceFile]string)
	}
	n := &noReplaceFile{file, f}
	f.open[n] = filepath.Clean(name)
	return n, nil
}

// Create remembers the file until it is closed.
func (f *NoReplaceFS) Create(name string, perm os.FileMode) (osfile.File, error) {
	file, err := f.FS.Create(name, perm)
	return f.opened(name, file, err)
}

// Open remembers the file until it is closed.
func (f *NoReplaceFS) Open(name string) (osfile.File, error) {
	file, err := f.FS.Open(name)
	return f.opened(name, file, err)
}

// OpenWrite remembers the file until it is closed.
func (f *NoReplaceFS) OpenWrite(name string) (osfile.File, error) {
	file, err := f.FS.OpenWrite(name)
	return f.opened(name, file, err)
}

// Rename fails if the file called to is open. That of the name from may be.
func (f *NoReplaceFS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to = filepath.Clean(from), filepath.Clean(to)
	for _, name := range f.open {
		if name == to {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: fmt.Errorf("it is open: %w", syscall.EACCES)}
		}
	}
	if err := f.FS.Rename(from, to); err != nil {
		return err
	}
	for file, name := range f.open {
		if name == from {
			f.open[file] = to
		}
	}
	return nil
}

func (f *noReplaceFile) Close() error {
	f.fs.mu.Lock()
	delete(f.fs.open, f)
	f.fs.mu.Unlock()
	return f.File.Close()
}
