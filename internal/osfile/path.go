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

// ErrNotAFile: the path is a directory, a device or the like. For a directory the error
// wraps syscall.EISDIR as well.
var ErrNotAFile = errors.New("not a regular file")

// ErrReadOnly: this process may not write to the file, by its permissions or because the
// file system is read-only. The error wraps the cause as well.
var ErrReadOnly = errors.New("the file is read-only")

// Regular returns an error that wraps ErrNotAFile, unless info says that the file at path
// is a regular one.
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

// Resolve makes path absolute and follows its symbolic links. If the last link leads to
// nothing, the result is where the file would be made. The directory must exist. All paths
// of a file resolve to the same one, unless it has several hard links; see also [Spelled].
// Errors are those of package os.
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
	// Linux follows as many links in a row.
	for range 40 {
		real, err := filepath.EvalSymlinks(p)
		if err == nil {
			return Spelled(real), nil
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
			return Spelled(p), nil // nothing is there, or a file has just come to be
		}
		if filepath.IsAbs(link) {
			p = link
		} else {
			p = dir + string(filepath.Separator) + link
		}
	}
	return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("too many levels of symbolic links")}
}

// OpenForWriting opens a file for reading and writing. No other way tells for certain
// whether this process may write to it. If it may not, the error wraps ErrReadOnly.
func OpenForWriting(fsx FS, path string) (File, error) {
	f, err := fsx.OpenWrite(path)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return f, err
}

// ReadStart returns up to n bytes from the start of a file, and the size of the file. The
// size is -1 if there is no such file. An error wraps ErrNotAFile if it is no regular file.
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
