package sqlitefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// ID tells one state of a file from every other. It has the device and inode of the file, its
// size, its modification time, and the change counter of the database header. Every commit of
// SQLite moves that counter. The zero ID means that there is no file.
type ID struct {
	Info    os.FileInfo
	counter uint32
}

// IsZero reports whether id means "no file".
func (id ID) IsZero() bool { return id.Info == nil }

// Size returns the length of the file in bytes; 0 if there is none.
func (id ID) Size() int64 {
	if id.Info == nil {
		return 0
	}
	return id.Info.Size()
}

// ModTime returns when the file was written last; the zero time if there is none.
func (id ID) ModTime() time.Time {
	if id.Info == nil {
		return time.Time{}
	}
	return id.Info.ModTime()
}

// ChangeCounter returns the change counter of the database header; 0 if the file is empty
// or there is none.
func (id ID) ChangeCounter() uint32 { return id.counter }

// Difference says in words how the file has changed from id to now; "" if it has not.
func (id ID) Difference(now ID) string {
	switch {
	case id.IsZero() && now.IsZero():
		return ""
	case id.IsZero():
		return "another program has created it"
	case now.IsZero():
		return "another program has moved or removed it"
	case !os.SameFile(id.Info, now.Info):
		return differentFile
	}
	return id.contentDifference(now)
}

const differentFile = "another program has put a different file in its place"

// contentDifference is Difference for two states of one file.
func (id ID) contentDifference(now ID) string {
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

// IdentifyOpen returns the identity of an open file.
func IdentifyOpen(f osfile.File) (ID, error) {
	info, err := f.Stat()
	if err != nil {
		return ID{}, err
	}
	id := ID{Info: info}
	var b [4]byte
	switch _, err := f.ReadAt(b[:], OffChangeCounter); {
	case err == nil:
		id.counter = binary.BigEndian.Uint32(b[:])
	case !errors.Is(err, io.EOF):
		return ID{}, err
	}
	return id, nil
}

// Identify returns the identity of the file at path, zero if there is none. It opens and
// closes the file. An error may wrap osfile.ErrNotAFile.
func Identify(fsx osfile.FS, path string) (ID, error) {
	// To open a pipe would be to wait for its other end, so look first.
	info, err := fsx.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ID{}, nil
	}
	if err != nil {
		return ID{}, err
	}
	if err := osfile.Regular(path, info); err != nil {
		return ID{}, err
	}
	f, err := fsx.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ID{}, nil
	}
	if err != nil {
		return ID{}, err
	}
	id, err := IdentifyOpen(f)
	return id, errors.Join(err, f.Close())
}
