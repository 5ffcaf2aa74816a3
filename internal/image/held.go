package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// held is a database file under a lock of SQLite. SQLite has recovered it, so nothing is left
// in a journal or -wal. Nobody else can write to it. f is closed last, because POSIX drops
// the lock when any descriptor of the file is closed.
type held struct {
	f      osfile.File
	shared bool             // somebody else closes f
	db     *sqlitefile.Conn // nil when it is closed

	header sqlitefile.Header // zero if size is 0
	size   int64             // of the file, in bytes

	log     *pagelog.Log // whose pages replace those of the file; nil: none
	logFile osfile.File  // nil without log
}

func (h *held) closeSQLite() error {
	if h.db == nil {
		return nil
	}
	// The transaction has written nothing. The close ends it; in WAL mode it deletes the
	// -wal and -shm.
	err := h.db.Close()
	h.db = nil
	return err
}

func (h *held) closeLog() error {
	f := h.logFile
	h.logFile = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

func (h *held) close() error {
	err := errors.Join(h.closeSQLite(), h.closeLog())
	if h.shared {
		return err
	}
	h.shared = true
	return errors.Join(err, h.f.Close())
}

// acquire is tryAcquire, and waits while the file is busy, until deadline.
func (l loader) acquire(ctx context.Context, path string, deadline time.Time) (*held, error) {
	for {
		h, err := l.tryAcquire(path, nil)
		if err == nil || !errors.Is(err, sqlitefile.ErrBusy) {
			return h, err
		}
		if time.Now().After(deadline) {
			return nil, err
		}
		if err := sleep(ctx, l.poll); err != nil {
			return nil, err
		}
	}
}

// tryAcquire takes a lock of SQLite on the file at path. f is that file. If f is nil,
// tryAcquire opens the file for writing, before SQLite opens it. This tells whether the
// process may write to it. Some file systems (overlayfs) make a copy of a file that is opened
// for writing. Then that copy is read.
func (l loader) tryAcquire(path string, f osfile.File) (_ *held, err error) {
	h := &held{f: f, shared: f != nil}
	if f == nil {
		if h.f, err = osfile.OpenForWriting(l.fs, path); err != nil {
			return nil, err
		}
	}
	var w sqlitefile.WAL
	defer func() {
		if w.Foreign && sqlitefile.IsCantOpen(err) {
			err = fmt.Errorf("%w: %s-wal has a format that this SQLite does not know: %w", sqlitefile.ErrSideFile, path, err)
		}
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()

	// A -wal with anything in it puts SQLite into WAL mode, whatever the header says.
	if w, err = sqlitefile.ReadWAL(l.fs, path); err != nil {
		return nil, err
	}
	isWAL := w.Open
	var head [sqlitefile.HeaderSize]byte
	if n, err := h.f.ReadAt(head[:], 0); err != nil && err != io.EOF {
		return nil, err
	} else if n > sqlitefile.OffReadVersion {
		isWAL = isWAL || head[sqlitefile.OffReadVersion] == 2
	}

	// mode=rw: SQLite does not create the file. FULL: what it recovers is on the disk
	// before the journal is gone. SQLite does not wait, as acquire does.
	params := "mode=rw&_busy_timeout=0&_synchronous=FULL"
	if isWAL {
		// In WAL mode every connection holds a shared lock. So an exclusive lock proves
		// that there is no other, from the recovery to the end of the copy. In rollback
		// mode readers do no harm, and a reserved lock is enough.
		params += "&_locking_mode=EXCLUSIVE"

		// In this locking mode SQLite leaves a journal that it cannot use where it is.
		// Every save would take it for a transaction of another program. In the
		// normal mode SQLite deletes it. The first bytes do not tell whether SQLite can
		// use a journal, as the sizes in its header may be nonsense.
		if j, err := sqlitefile.ReadJournal(l.fs, path); err != nil {
			return nil, err
		} else if j.Live {
			if err := readOnce(path); err != nil {
				return nil, err
			}
		}
	}
	if h.db, err = sqlitefile.Open(path, params); err != nil {
		return nil, err
	}
	// SQLite recovers at the first read.
	if _, err := h.db.QueryInt("PRAGMA schema_version"); err != nil {
		return nil, err
	}
	if isWAL {
		busy, err := h.db.QueryInt("PRAGMA wal_checkpoint(TRUNCATE)")
		if err != nil {
			return nil, err
		}
		if busy != 0 {
			return nil, fmt.Errorf("%w: its -wal cannot be emptied", sqlitefile.ErrBusy)
		}
	}
	info, err := h.f.Stat()
	if err != nil {
		return nil, err
	}
	if h.size = info.Size(); h.size == 0 {
		return h, nil // BEGIN IMMEDIATE would create a header
	}
	if err = h.db.Exec("BEGIN IMMEDIATE"); err != nil {
		return nil, err
	}

	// From here on nobody else writes. Look for what has changed before.
	now, err := l.fs.Stat(path)
	if err != nil {
		return nil, err
	}
	if !os.SameFile(info, now) {
		return nil, fmt.Errorf("%w: it was replaced while it was opened", sqlitefile.ErrBusy)
	}
	if w, err = sqlitefile.ReadWAL(l.fs, path); err != nil {
		return nil, err
	}
	if w.Frames || w.Open && !isWAL {
		return nil, fmt.Errorf("%w: it has %s-wal open", sqlitefile.ErrBusy, path)
	}
	h.size = now.Size()
	n, err := h.f.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if h.header, err = sqlitefile.ParseHeader(head[:n], h.size); err != nil {
		return nil, err
	}
	if h.header.WAL && !isWAL {
		return nil, fmt.Errorf("%w: it has just changed the journal mode", sqlitefile.ErrBusy)
	}
	return h, nil
}

// readOnce opens the file and reads from it, as any program might, so that SQLite recovers it.
func readOnce(path string) error {
	d, err := sqlitefile.Open(path, "mode=rw&_busy_timeout=0&_synchronous=FULL")
	if err != nil {
		return err
	}
	_, err = d.QueryInt("PRAGMA schema_version")
	return errors.Join(err, d.Close())
}

// sleep waits for d. At the end of ctx it returns the error of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
