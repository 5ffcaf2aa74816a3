package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// logName is the log of the database at path. It is not <path>-wal: a stock
// SQLite that opened the file beside us would read, checkpoint and truncate
// that, while this way it sees the last save.
func logName(path string) string { return path + "-memwal" }

// newLogName is a log that is to take the place of the log.
func newLogName(path string) string { return path + "-memwal-new" }

// logAhead is how many bytes of zeros are written behind a small transaction that
// has grown the file, for those that follow: a sync of what does not change the
// length of the file need not wait for the file system's journal, and takes half
// the time on ext4. To a reader of the log zeros are its end. They are a convenience:
// where they do not fit, the log goes on without.
var logAhead = 1 << 20 // a variable for the tests, which need less

// logFile is a log that this process writes. No frame of it is ever written
// twice: after a failed write or sync nobody knows what the file holds behind
// the last sync, so another takes its place (File.rewriteLocked). A log is therefore
// a whole prefix of what was appended, and then, after a crash, perhaps a part
// of one more append.
type logFile struct {
	fs    fsys
	path  string // of the database
	f     file
	head  walHeader // its sum is that of the last frame
	size  int64     // bytes up to the end of the last transaction
	room  int64     // bytes of the file, zeros behind size included
	tight bool      // there was no room for zeros

	buf   []byte // of writePages
	first []byte // page 1 as it was written last; nil: it was not

	unsynced bool // the directory is to be synced before the rename
	renamed  bool // it has the name of the log
	placed   bool // and that will survive a power failure
	broken   bool // a write or sync failed
}

// createLog makes a log of the base with that hash, whose first transaction is
// the pages of img, beside the log there may be. It is synced, its name is not.
// img may be nil if pages is empty. like is the base, nil if there is none: whoever may
// not read the one may not read the other.
func createLog(fsx fsys, path string, like os.FileInfo, pageSize int, base baseHash, img Image, pages pageSet) (_ *logFile, err error) {
	name := newLogName(path)
	if err := fsx.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l := &logFile{fs: fsx, path: path, head: walHeader{pageSize: pageSize, base: base}}
	if l.f, err = fsx.create(name, 0o600); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.discard())
		}
	}()
	if like != nil {
		if err := copyOwner(l.f, like); err != nil {
			return nil, err
		}
	}
	if err := l.write(l.head.encode()); err != nil {
		return nil, err
	}
	if img != nil {
		if err := l.writePages(img, pages); err != nil {
			return nil, err
		}
	}
	l.room = l.size
	if err := l.f.Sync(); err != nil {
		return nil, err
	}
	return l, nil
}

// append adds the pages of img as one transaction, which is on the disk after
// sync.
func (l *logFile) append(img Image, pages pageSet) error {
	before := l.size
	err := l.writePages(img, pages)
	if err == nil && l.size > l.room {
		l.room = l.size
		if !l.tight && l.size-before <= int64(logAhead)/16 { // or the zeros are no small part of what is written
			err = l.writeAhead()
		}
	}
	l.broken = err != nil
	return err
}

// writeAhead writes zeros behind the last transaction. If there is no room for them, what
// they have taken is given back, and this log does not try it again.
func (l *logFile) writeAhead() error {
	_, err := l.f.WriteAt(zeros[:logAhead], l.size)
	if noRoom(err) {
		l.tight = true
		return l.f.Truncate(l.size)
	}
	l.room += int64(logAhead)
	return err
}

// noRoom reports whether a write has failed because the disk, a quota, or the largest
// file there may be is full.
func noRoom(err error) bool {
	if runtime.GOOS == "windows" {
		const handleDiskFull, diskFull = syscall.Errno(39), syscall.Errno(112)
		return errors.Is(err, handleDiskFull) || errors.Is(err, diskFull)
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

var zeros [1 << 20]byte

func (l *logFile) sync() error {
	err := l.f.syncData()
	l.broken = err != nil
	return err
}

func (l *logFile) writePages(img Image, pages pageSet) error {
	ps := l.head.pageSize
	size := uint32(img.Size() / int64(ps))
	last := pages.last(size)
	if last == 0 {
		return nil
	}
	if l.buf == nil {
		l.buf = make([]byte, 0, ioRun+frameSize+ps)
	}
	buf := l.buf[:0]
	for pgno := range pages.upTo(size) {
		n := len(buf)
		buf = buf[:n+frameSize+ps]
		off := int64(pgno-1) * int64(ps)
		if m, err := img.ReadAt(buf[n+frameSize:], off); m < ps {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("reading the image at %d: %w", off, err)
		}
		if pgno == 1 {
			page := buf[n+frameSize:]
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
		l.head.sum = putFrame(buf[n:], pgno, end, l.head.base, l.head.sum)
		if len(buf) >= ioRun || pgno == last {
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
	return len(b) >= headerSize && len(a) == len(b) &&
		bytes.Equal(a[:offChangeCounter], b[:offChangeCounter]) &&
		bytes.Equal(a[offChangeCounter+4:offValidFor], b[offChangeCounter+4:offValidFor]) &&
		bytes.Equal(a[offValidFor+4:], b[offValidFor+4:])
}

func (l *logFile) write(b []byte) error {
	n, err := l.f.WriteAt(b, l.size)
	l.size += int64(n)
	return err
}

// errLogGone: somebody has removed the log, or put another file in its place.
var errLogGone = errors.New("the log has been removed or replaced")

// there reports whether the log is what is called name, and has all that was written
// to it.
func (l *logFile) there(name string) (bool, error) {
	now, err := l.fs.lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	mine, err := l.f.Stat()
	return err == nil && os.SameFile(mine, now) && mine.Size() >= l.size, err
}

// place gives the log its name, in place of the one before, and makes that
// durable. After an error it can be called again, unless that is errLogGone. Until it
// has returned nil what is in the log counts for nothing.
func (l *logFile) place() error {
	name := newLogName(l.path)
	if l.renamed {
		name = logName(l.path)
	}
	if there, err := l.there(name); err != nil {
		return err
	} else if !there {
		return errLogGone
	}
	if l.unsynced {
		if err := l.fs.syncDir(filepath.Dir(l.path)); err != nil {
			return err
		}
		l.unsynced = false
	}
	if !l.renamed {
		if err := l.fs.rename(newLogName(l.path), logName(l.path)); err != nil {
			return err
		}
		l.renamed = true
	}
	if err := l.fs.syncDir(filepath.Dir(l.path)); err != nil {
		return err
	}
	l.placed = true
	return nil
}

func (l *logFile) close() error { return l.f.Close() }

// discard removes a log that has not been placed.
func (l *logFile) discard() error {
	return errors.Join(l.f.Close(), l.fs.remove(newLogName(l.path)))
}

// removeLogs removes the log and what was to take its place, in that order:
// until the first is gone, the second may be what tells that the first is old.
func removeLogs(fsx fsys, path string) error {
	for _, name := range []string{logName(path), newLogName(path)} {
		if err := fsx.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fsx.syncDir(filepath.Dir(path))
}
