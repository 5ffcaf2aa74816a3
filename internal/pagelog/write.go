package pagelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// Ahead is how many bytes of zeros are written behind a small transaction that has grown the
// file. The transactions that follow overwrite them. A sync that does not change the length
// of the file need not wait for the journal of the file system. On ext4 it takes half the
// time. A reader takes zeros for the end of the log. Where they do not fit, the log goes on
// without them.
//
// It is a variable for tests, which need less, and is set before a Writer is in use.
var Ahead = 1 << 20

// Writer is a log that this process writes. It writes no frame twice. After a failed write or
// sync nobody knows what the file holds behind the last sync. So another log takes its place
// then (image.File.rewriteLocked). A log is thus a prefix of the transactions that were
// appended, and after a crash perhaps a part of one more.
type Writer struct {
	FS    osfile.FS
	Path  string // of the database
	File  osfile.File
	Head  Header // its Sum is that of the last frame
	Size  int64  // offset in bytes of the end of the last transaction
	Room  int64  // length of the file in bytes, with the zeros behind Size
	tight bool   // there was no room for zeros; they are not tried again

	buf   []byte // of writePages
	first []byte // page 1 as it was written last; nil: not yet

	Unsynced bool // the directory must be synced before the rename
	Renamed  bool // the file has the name of the log
	Placed   bool // that name survives a power failure
	Broken   bool // a write or sync has failed: another log must take its place
	Closed   bool // the file is closed: another log must take its place
}

// Image is a state of a database.
type Image interface {
	io.ReaderAt
	Size() int64 // in bytes
}

// Create makes a new log beside the log that there may be. The new log is for the base with
// that hash. Its first transaction has the pages of img, which may be nil if pages is empty.
// Create syncs the file, but not its directory. like is the file of the base, nil if there is
// none. The log gets the owner and permissions of like. After an error there is no new log.
func Create(fsx osfile.FS, path string, like os.FileInfo, pageSize int, base BaseHash, img Image, pages PageSet) (_ *Writer, err error) {
	name := NewName(path)
	if err := removeFile(fsx, name); err != nil {
		return nil, err
	}
	l := &Writer{FS: fsx, Path: path, Head: Header{PageSize: pageSize, Base: base}}
	if l.File, err = fsx.Create(name, 0o600); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Discard())
		}
	}()
	if like != nil {
		if err := osfile.CopyOwner(l.File, like); err != nil {
			return nil, err
		}
	}
	if err := l.write(l.Head.encode()); err != nil {
		return nil, err
	}
	if img != nil {
		if err := l.writePages(img, pages); err != nil {
			return nil, err
		}
	}
	l.Room = l.Size
	if err := l.File.Sync(); err != nil {
		return nil, err
	}
	return l, nil
}

// Append writes the pages of img as one transaction. It is on the disk after Sync. An error
// makes the log Broken.
func (l *Writer) Append(img Image, pages PageSet) error {
	before := l.Size
	err := l.writePages(img, pages)
	if err == nil && l.Size > l.Room {
		l.Room = l.Size
		if !l.tight && l.Size-before <= int64(Ahead)/16 { // otherwise the zeros would be no small part of the bytes written
			err = l.writeAhead()
		}
	}
	l.Broken = err != nil
	return err
}

// writeAhead writes zeros behind the last transaction. If there is no room for them, it gives
// back what they have taken, and this log does not try again.
func (l *Writer) writeAhead() error {
	_, err := l.File.WriteAt(zeros[:Ahead], l.Size)
	if osfile.NoRoom(err) {
		l.tight = true
		return l.File.Truncate(l.Size)
	}
	l.Room += int64(Ahead)
	return err
}

var zeros [1 << 20]byte

// Sync makes the appended transactions durable. An error makes the log Broken.
func (l *Writer) Sync() error {
	err := l.File.SyncData()
	l.Broken = err != nil
	return err
}

func (l *Writer) writePages(img Image, pages PageSet) error {
	ps := l.Head.PageSize
	size := uint32(img.Size() / int64(ps))
	last := pages.last(size)
	if last == 0 {
		return nil
	}
	if l.buf == nil {
		l.buf = make([]byte, 0, osfile.Piece+FrameSize+ps)
	}
	buf := l.buf[:0]
	for pgno := range pages.upTo(size) {
		n := len(buf)
		buf = buf[:n+FrameSize+ps]
		off := int64(pgno-1) * int64(ps)
		if m, err := img.ReadAt(buf[n+FrameSize:], off); m < ps {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("reading the image at %d: %w", off, err)
		}
		if pgno == 1 {
			page := buf[n+FrameSize:]
			if last > 1 && equalButCounter(page, l.first) {
				buf = buf[:n]
				continue
			}
			l.first = append(l.first[:0], page...)
		}
		var end uint32
		if pgno == last {
			end = size
		}
		l.Head.Sum = PutFrame(buf[n:], pgno, end, l.Head.Base, l.Head.Sum)
		if len(buf) >= osfile.Piece || pgno == last {
			if err := l.write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	return nil
}

// equalButCounter reports whether two versions of page 1 differ only in the change counter,
// which is in the header twice. Every commit moves the counter, so that other processes drop
// their caches. While a log exists, no other process has such a cache. So a flush leaves out
// a page 1 that differs only there. It would be half of what a small commit writes. SQLite
// does not move the counter in WAL mode either.
func equalButCounter(a, b []byte) bool {
	return len(b) >= sqlitefile.HeaderSize && len(a) == len(b) &&
		bytes.Equal(a[:sqlitefile.OffChangeCounter], b[:sqlitefile.OffChangeCounter]) &&
		bytes.Equal(a[sqlitefile.OffChangeCounter+4:sqlitefile.OffValidFor], b[sqlitefile.OffChangeCounter+4:sqlitefile.OffValidFor]) &&
		bytes.Equal(a[sqlitefile.OffValidFor+4:], b[sqlitefile.OffValidFor+4:])
}

func (l *Writer) write(b []byte) error {
	n, err := l.File.WriteAt(b, l.Size)
	l.Size += int64(n)
	return err
}

// ErrGone: somebody has removed the log, or put another file in its place.
var ErrGone = errors.New("the log has been removed or replaced")

// There reports whether the file called name is this log, with all that was written to it.
func (l *Writer) There(name string) (bool, error) {
	same, size, err := osfile.Same(l.FS, name, l.File)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return same && size >= l.Size, err
}

// Place renames the log over the one before, and makes that durable. Until it has returned
// nil, nothing in the log is durable. After an error it may be called again, unless the
// error is ErrGone.
func (l *Writer) Place() error {
	name := NewName(l.Path)
	if l.Renamed {
		name = Name(l.Path)
	}
	if there, err := l.There(name); err != nil {
		return err
	} else if !there {
		return ErrGone
	}
	if l.Unsynced {
		if err := l.FS.SyncDir(filepath.Dir(l.Path)); err != nil {
			return err
		}
		l.Unsynced = false
	}
	if !l.Renamed {
		if err := l.FS.Rename(NewName(l.Path), Name(l.Path)); err != nil {
			return err
		}
		l.Renamed = true
	}
	if err := l.FS.SyncDir(filepath.Dir(l.Path)); err != nil {
		return err
	}
	l.Placed = true
	return nil
}

// Close closes the file, and leaves the log where it is. A second Close does nothing.
func (l *Writer) Close() error {
	if l.Closed {
		return nil
	}
	l.Closed = true
	return l.File.Close()
}

// Discard closes and removes a log that has not been renamed.
func (l *Writer) Discard() error {
	return errors.Join(l.Close(), l.FS.Remove(NewName(l.Path)))
}
