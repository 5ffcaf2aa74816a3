package image

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

const (
	// loadWait is the default of File.Wait. It is that of go-sqlite3's busy timeout.
	loadWait = 5 * time.Second

	// loadPoll is the time between two looks at a file that is busy.
	loadPoll = 50 * time.Millisecond

	// loadRun is the most bytes that are read at a time: 4 MiB, a multiple of every page
	// size. It keeps a disk busy, and the end of a context is still seen soon.
	loadRun = 4 << 20

	// lockByte is the offset of the bytes that SQLite locks. The page with them is never
	// used.
	lockByte = 1 << 30
)

// loader loads databases.
type loader struct {
	fs   osfile.FS
	wait time.Duration // for another program that holds the file
	poll time.Duration // between two looks
}

// loaded is the result of load.
type loaded struct {
	sqlitefile.Pinned              // the file, zero if there is none
	base              imageInfo    // of the file; with its hash only if that is wanted, or there is a log
	log               *pagelog.Log // sink has got its pages; nil: none
}

// load reads the database file at path, which is resolved, and the log that belongs to it, into
// sink. The caller owns the process lock, as load completes or removes what a crash has left
// of a log.
func (l loader) load(ctx context.Context, path string, sink Sink, hash bool) (loaded, error) {
	deadline := time.Now().Add(l.wait)
	kind, err := l.judge(ctx, path, deadline)
	if err != nil {
		return loaded{}, err
	}
	if kind != sound {
		// No log belongs to a file without pages. So this removes an empty log, and
		// returns an error for another one.
		found := loaded{base: imageInfo{hash: pagelog.HashOfNothing}}
		if found.log, err = pagelog.Pick(l.fs, path, found.base.hash); err != nil {
			return loaded{}, err
		}
		if kind == empty {
			// SQLite has nothing to recover. It would create a header only to hold a
			// lock on the file.
			found.Pinned, err = l.openEmpty(path)
		}
		return found, err
	}
	h, err := l.acquire(ctx, path, deadline)
	if err != nil {
		return loaded{}, err
	}
	found := loaded{base: imageInfo{size: h.size, pageSize: h.header.PageSize}}
	found.log, err = h.openLog(ctx, l.fs, path)
	if err == nil {
		found.ID, found.base.hash, err = h.copyTo(ctx, sink, hash)
	}
	// SQLite is closed first: to close our descriptor of the file would drop the lock
	// under which SQLite cleans up.
	if err := errors.Join(err, h.closeSQLite(), h.closeLog()); err != nil {
		return loaded{}, errors.Join(err, h.close())
	}
	// Nobody could write until SQLite was closed. A change since then is an error now, and
	// not only at the first save.
	d, err := sqlitefile.Pinned{ID: found.ID, File: h.f}.Changed(l.fs, path)
	if err == nil && d != "" {
		err = fmt.Errorf("%w: %s while it was loaded", sqlitefile.ErrBusy, d)
	}
	var w sqlitefile.WAL
	if err == nil {
		w, err = sqlitefile.ReadWAL(l.fs, path)
	}
	if err == nil && w.Frames {
		err = fmt.Errorf("%w: it has written %s-wal while it was loaded", sqlitefile.ErrBusy, path)
	}
	if err != nil {
		return loaded{}, errors.Join(err, h.close())
	}
	found.Pinned, err = sqlitefile.Pin(h.f, found.ID)
	return found, err
}

// openEmpty pins a file that has no bytes.
func (l loader) openEmpty(path string) (sqlitefile.Pinned, error) {
	f, err := osfile.OpenForWriting(l.fs, path)
	if err != nil {
		return sqlitefile.Pinned{}, err
	}
	id, err := sqlitefile.IdentifyOpen(f)
	if err == nil && id.Size() > 0 {
		err = fmt.Errorf("%w: it has written to it while it was loaded", sqlitefile.ErrBusy)
	}
	if err != nil {
		return sqlitefile.Pinned{}, errors.Join(err, f.Close())
	}
	return sqlitefile.Pin(f, id)
}
