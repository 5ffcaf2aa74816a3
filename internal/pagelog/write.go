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

// Ahead is how many bytes of zeros are written behind a small transaction that
// has grown the file, for those that follow: a sync of what does not change the
// length of the file need not wait for the file system's journal, and takes half
// the time on ext4. To a reader of the log zeros are its end. They are a convenience:
// where they do not fit, the log goes on without.
var Ahead = 1 << 20 // a variable for the tests, which need less

// Writer is a log that this process writes. No frame of it is ever written
// twice: after a failed write or sync nobody knows what the file holds behind
// the last sync, so another takes its place (File.rewriteLocked). A log is therefore
// a whole prefix of what was appended, and then, after a crash, perhaps a part
// of one more append.
type Writer struct {
	FS    osfile.FS
	Path  string // of the database
	File  osfile.File
	Head  Header // its sum is that of the last frame
	Size  int64  // bytes up to the end of the last transaction
	Room  int64  // bytes of the file, zeros behind size included
	tight bool   // there was no room for zeros

	buf   []byte // of writePages
	first []byte // page 1 as it was written last; nil: it was not

	Unsynced bool // the directory is to be synced before the rename
	Renamed  bool // it has the name of the log
	Placed   bool // and that will survive a power failure
	Broken   bool // a write or sync failed
}

// Image is the state of a database whose pages are written: an [Image].
type Image interface {
	io.ReaderAt
	Size() int64 // in bytes
}

// Create makes a log of the base with that hash, whose first transaction is
// the pages of img, beside the log there may be. It is synced, its name is not.
// img may be nil if pages is empty. like is the base, nil if there is none: whoever may
// not read the one may not read the other.
func Create(fsx osfile.FS, path string, like os.FileInfo, pageSize int, base BaseHash, img Image, pages PageSet) (_ *Writer, err error) {
	name := NewName(path)
	if err := fsx.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
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

// Append adds the pages of img as one transaction, which is on the disk after
// sync.
func (l *Writer) Append(img Image, pages PageSet) error {
	before := l.Size
	err := l.writePages(img, pages)
	if err == nil && l.Size > l.Room {
		l.Room = l.Size
		if !l.tight && l.Size-before <= int64(Ahead)/16 { // or the zeros are no small part of what is written
			err = l.writeAhead()
		}
	}
	l.Broken = err != nil
	return err
}

// writeAhead writes zeros behind the last transaction. If there is no room for them, what
// they have taken is given back, and this log does not try it again.
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

// equalButCounter reports whether two versions of page 1 differ in nothing but
// the file change counter, which is in the header twice. Every commit moves it,
// for the caches of other processes, of which there are none while there is a
// log. In WAL mode SQLite does not move it either: half of what a small commit
// would write.
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

// There reports whether the log is what is called name, and has all that was written
// to it.
func (l *Writer) There(name string) (bool, error) {
	now, err := l.FS.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	mine, err := l.File.Stat()
	return err == nil && os.SameFile(mine, now) && mine.Size() >= l.Size, err
}

// Place gives the log its name, in place of the one before, and makes that
// durable. After an error it can be called again, unless that is errLogGone. Until it
// has returned nil what is in the log counts for nothing.
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

func (l *Writer) Close() error { return l.File.Close() }

// Discard removes a log that has not been placed.
func (l *Writer) Discard() error {
	return errors.Join(l.File.Close(), l.FS.Remove(NewName(l.Path)))
}
