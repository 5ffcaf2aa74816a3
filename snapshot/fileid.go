package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// FileID tells one state of a file from every other: device and inode, size,
// modification time, and the counter in the database header that every commit
// of SQLite moves. The zero FileID means that there is no file.
type FileID struct {
	info    os.FileInfo
	counter uint32
}

// IsZero reports whether id means "no file".
func (id FileID) IsZero() bool { return id.info == nil }

// Size is the length of the file in bytes, 0 if there is none.
func (id FileID) Size() int64 {
	if id.info == nil {
		return 0
	}
	return id.info.Size()
}

// ModTime is when the file was written last, the zero time if there is none.
func (id FileID) ModTime() time.Time {
	if id.info == nil {
		return time.Time{}
	}
	return id.info.ModTime()
}

// ChangeCounter is the file change counter of the database header; 0 for an
// empty file or none.
func (id FileID) ChangeCounter() uint32 { return id.counter }

// Same reports whether both are the same state of the same file, or both no
// file.
func (id FileID) Same(other FileID) bool { return id.difference(other) == "" }

// difference says in words how the file changed from id to now, "" if it did
// not.
func (id FileID) difference(now FileID) string {
	switch {
	case id.IsZero() && now.IsZero():
		return ""
	case id.IsZero():
		return "another program has created it"
	case now.IsZero():
		return "another program has moved or removed it"
	case !os.SameFile(id.info, now.info):
		return differentFile
	}
	return id.contentDifference(now)
}

const differentFile = "another program has put a different file in its place"

// contentDifference is difference for two states of one file.
func (id FileID) contentDifference(now FileID) string {
	switch {
	case id.Size() != now.Size():
		return fmt.Sprintf("another program has changed it (its size went from %d to %d bytes)", id.Size(), now.Size())
	case id.counter != now.counter:
		return fmt.Sprintf("another program has committed to it (its change counter went from %d to %d)", id.counter, now.counter)
	case !id.ModTime().Equal(now.ModTime()):
		return fmt.Sprintf("another program has written to it (%s)", now.ModTime().UTC().Format(time.RFC3339Nano))
	}
	return ""
}

// identifyOpen takes the identity of an open file.
func identifyOpen(f file) (FileID, error) {
	info, err := f.Stat()
	if err != nil {
		return FileID{}, err
	}
	id := FileID{info: info}
	var b [4]byte
	switch _, err := f.ReadAt(b[:], offChangeCounter); {
	case err == nil:
		id.counter = binary.BigEndian.Uint32(b[:])
	case !errors.Is(err, io.EOF):
		return FileID{}, err
	}
	return id, nil
}

// identify takes the identity of the file at path, zero if there is none.
func identify(fsx fsys, path string) (FileID, error) {
	// Opening a pipe would wait for its other end, so look first.
	info, err := fsx.stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return FileID{}, nil
	}
	if err != nil {
		return FileID{}, err
	}
	if err := regular(path, info); err != nil {
		return FileID{}, err
	}
	f, err := fsx.open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return FileID{}, nil
	}
	if err != nil {
		return FileID{}, err
	}
	id, err := identifyOpen(f)
	return id, errors.Join(err, f.Close())
}

// regular returns an error unless info, of the file at path, is that of a regular file.
func regular(path string, info os.FileInfo) error {
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
