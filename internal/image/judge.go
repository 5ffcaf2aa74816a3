package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// kind is what judge finds.
type kind int

const (
	missing kind = iota // there is no file
	empty               // it has no bytes, and nothing waits to be recovered
	sound               // SQLite may open it
)

// judge decides, without writing anything, what stands at path, and whether
// SQLite may open it. It has to come first because SQLite recovers before it
// looks: a file that is no database, with a journal or -wal beside it, would be
// overwritten from these, or they would be deleted.
func (l loader) judge(ctx context.Context, path string, deadline time.Time) (kind, error) {
	for {
		before, err := l.survey(path)
		if err != nil {
			return 0, err
		}
		k, err := l.judgeOnce(ctx, path, before[0])
		if err == nil {
			return k, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		// No lock is held: another program may be half way through a commit.
		// A verdict counts when nothing moves.
		if err := sleep(ctx, l.poll); err != nil {
			return 0, err
		}
		after, serr := l.survey(path)
		if serr != nil {
			return 0, serr
		}
		if after == before || time.Now().After(deadline) {
			return k, err
		}
	}
}

// trace is enough of a file to see that it is being written to.
type trace struct {
	exists bool
	size   int64
	mtime  int64
	mode   fs.FileMode
}

// survey looks at the file, its journal and its -wal.
func (l loader) survey(path string) (traces [3]trace, err error) {
	for i, suffix := range []string{"", "-journal", "-wal"} {
		info, err := l.fs.Stat(path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return traces, err
		}
		traces[i] = trace{true, info.Size(), info.ModTime().UnixNano(), info.Mode()}
	}
	return traces, nil
}

func (l loader) judgeOnce(ctx context.Context, path string, t trace) (kind, error) {
	var head []byte
	var size int64 = -1
	if t.exists {
		var err error
		// The header is read before the side files: a change between the two
		// journal modes can then not look like a -wal that does not belong.
		if head, size, err = osfile.ReadStart(l.fs, path, sqlitefile.HeaderSize); err != nil {
			return 0, err
		}
	}
	j, err := sqlitefile.ReadJournal(l.fs, path)
	if err != nil {
		return 0, err
	}
	w, err := sqlitefile.ReadWAL(l.fs, path)
	if err != nil {
		return 0, err
	}

	switch {
	case size < 0:
		// SQLite would create the database and delete these. They may be all
		// that is left of one that was moved or deleted by mistake.
		switch {
		case w.Valid:
			return 0, fmt.Errorf("%w: there is no %s, but %s-wal holds changes to it: put the database back, or move the -wal away",
				sqlitefile.ErrSideFile, path, path)
		case j.Valid:
			return 0, fmt.Errorf("%w: there is no %s, but %s-journal holds pages of it: put the database back, or move the journal away",
				sqlitefile.ErrSideFile, path, path)
		}
		return missing, nil

	case size == 0:
		// A -wal comes to be after the first page of the file is synced, and
		// a journal that saved pages speaks of a file that had some. SQLite
		// would delete both and call the database empty.
		switch {
		case w.Valid:
			return 0, fmt.Errorf("%w: the file is empty, but %s-wal holds changes to it", sqlitefile.ErrTruncated, path)
		case j.Valid && j.Pages > 0:
			return 0, fmt.Errorf("%w: the file is empty, but by %s-journal it had %d pages", sqlitefile.ErrTruncated, path, j.Pages)
		case j.Live:
			return sound, nil // the first transaction of all was cut short
		}
		return empty, nil
	}

	h, err := sqlitefile.ParseHeader(head, size)
	if err != nil {
		if !j.Valid && !w.Valid {
			return 0, err // nothing there can mend it
		}
		// The recovery may be just what mends it: a transaction that was cut
		// short leaves anything in the file. Try it on a copy.
		if rerr := l.rehearse(ctx, path); rerr != nil {
			return 0, fmt.Errorf("%w (and recovering it, tried on a copy, does not mend it: %w)", err, rerr)
		}
		return sound, nil
	}
	if !h.WAL && w.Valid {
		// SQLite sets WAL mode in the file before it creates a -wal, and
		// removes the -wal before it sets rollback mode. So this one is from
		// another file that was called the same. SQLite would replay it, and
		// put old rows, or another database's, in the place of these.
		return 0, fmt.Errorf("%w: %s is not in WAL mode, so %s-wal is a leftover of another file of that name: move the -wal away",
			sqlitefile.ErrSideFile, path, path)
	}
	return sound, nil
}

// rehearse recovers a copy of the file, its journal and its -wal, and reports
// whether a database comes of it. The copy stands beside the file, where there
// is a chance of room for it, under the name of a temporary file.
func (l loader) rehearse(ctx context.Context, path string) (err error) {
	tmp := tempName(path)
	// -shm is made by SQLite in WAL mode.
	defer func() {
		for _, suffix := range leftoverSuffixes {
			if rerr := l.fs.Remove(tmp + suffix); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	}()
	for _, suffix := range []string{"", "-journal", "-wal"} {
		if err := l.copyNamed(ctx, tmp+suffix, path+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	h, err := l.tryAcquire(tmp, nil)
	if err != nil {
		return err
	}
	return h.close()
}

func (l loader) copyNamed(ctx context.Context, to, from string) error {
	src, err := l.fs.Open(from)
	if err != nil {
		return err
	}
	return errors.Join(osfile.Copy(ctx, l.fs, to, src), src.Close())
}
