package osfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrNotAFile: there is a directory, a device or the like. For a directory the
// error wraps syscall.EISDIR, too.
var ErrNotAFile = errors.New("not a regular file")

// ErrReadOnly: this process may not write to the file: its permissions, a
// read-only file system. The cause is wrapped as well.
var ErrReadOnly = errors.New("the file is read-only")

// Regular returns an error unless info, of the file at path, is that of a regular file.
func Regular(path string, info os.FileInfo) error {
	mode := info.Mode()
	if mode.IsRegular() {
		return nil
	}
	err := fmt.Errorf("%w (%s)", ErrNotAFile, mode.Type())
	if mode.IsDir() {
		err = fmt.Errorf("%w: %w", ErrNotAFile, syscall.EISDIR)
	}
	return &fs.PathError{Op: "open", Path: path, Err: err}
}

// Resolve makes path absolute and follows its symbolic links, also where the
// last one dangles: the result is where the file is or would be made. The
// directory must exist. Two paths of one file resolve to the same, hard links
// apart.
func Resolve(path string) (string, error) {
	p := path
	if !filepath.IsAbs(p) {
		wd, err := os.Getwd()
		if err != nil {
			return "", err
		}
		// Not filepath.Join: it takes ".." out of the text, which is wrong
		// after a symbolic link. EvalSymlinks does it right.
		p = wd + string(filepath.Separator) + p
	}
	// As many links in a row as Linux follows.
	for range 40 {
		real, err := filepath.EvalSymlinks(p)
		if err == nil {
			return real, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		dir, base := filepath.Split(p)
		dir, err = filepath.EvalSymlinks(dir)
		if err != nil {
			return "", err
		}
		if base == "" || base == "." || base == ".." {
			return "", &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		p = filepath.Join(dir, base)
		link, err := os.Readlink(p)
		if err != nil {
			return p, nil // nothing there, or a file that has just come to be
		}
		if filepath.IsAbs(link) {
			p = link
		} else {
			p = dir + string(filepath.Separator) + link
		}
	}
	return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("too many levels of symbolic links")}
}

// OpenForWriting opens the database file at path, which only that decides to be one
// that this process may write to. The error wraps ErrReadOnly if it is not.
func OpenForWriting(fsx FS, path string) (File, error) {
	f, err := fsx.OpenWrite(path)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return f, err
}

// ReadStart returns up to n bytes from the start of a file, and its size, -1
// if there is no such file.
func ReadStart(fsx FS, name string, n int) ([]byte, int64, error) {
	info, err := fsx.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, -1, nil
	}
	if err != nil {
		return nil, -1, err
	}
	if err := Regular(name, info); err != nil {
		return nil, -1, err
	}
	f, err := fsx.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, -1, nil
	}
	if err != nil {
		return nil, -1, err
	}
	b := make([]byte, n)
	n, err = f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], info.Size(), errors.Join(err, f.Close())
}
