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

// kind is the state of a file that judge finds.
type kind int

const (
	missing kind = iota // there is no file
	empty               // it has no bytes, and nothing waits to be recovered
	sound               // SQLite may open it
)

// judge finds out the kind of the file at path, and whether SQLite may open it. It writes
// nothing. It must come first, because SQLite recovers before it looks. If the file is no
// database, SQLite would overwrite it from the journal or -wal beside it, or delete these.
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
		// No lock is held, so another program may be in the middle of a commit. An error
		// counts when nothing has changed between two looks.
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

// trace is enough of a file to see that somebody writes to it.
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

// judgeOnce is judge at one look. t is the trace of the file.
func (l loader) judgeOnce(ctx context.Context, path string, t trace) (kind, error) {
	var head []byte
	var size int64 = -1
	if t.exists {
		var err error
		// The header is read before the side files. So a change of the journal mode
		// meanwhile cannot look like a -wal of another file.
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
		// SQLite would create the database and delete these files. They may be all that
		// is left of a database that was moved or deleted by mistake.
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
		// SQLite makes a -wal only after the first page of the file is synced. A journal
		// with pages is of a file that had some. SQLite would delete both, and take the
		// database for empty.
		switch {
		case w.Valid:
			return 0, fmt.Errorf("%w: the file is empty, but %s-wal holds changes to it", sqlitefile.ErrTruncated, path)
		case j.Valid && j.Pages > 0:
			return 0, fmt.Errorf("%w: the file is empty, but by %s-journal it had %d pages", sqlitefile.ErrTruncated, path, j.Pages)
		case j.Live:
			return sound, nil // a crash has cut the first transaction of all short
		}
		return empty, nil
	}

	h, err := sqlitefile.ParseHeader(head, size)
	if err != nil {
		if !j.Valid && !w.Valid {
			return 0, err // nothing can mend it
		}
		// A transaction that was cut short may leave anything in the file, and its
		// recovery may mend it. Try that on a copy.
		if rerr := l.rehearse(ctx, path); rerr != nil {
			return 0, fmt.Errorf("%w (and recovering it, tried on a copy, does not mend it: %w)", err, rerr)
		}
		return sound, nil
	}
	if !h.WAL && w.Valid {
		// SQLite sets WAL mode in the file before it creates a -wal, and removes the -wal
		// before it sets rollback mode. So this one is of another file of the same name.
		// SQLite would replay it, and replace these rows by old ones, or by those of
		// another database.
		return 0, fmt.Errorf("%w: %s is not in WAL mode, so %s-wal is a leftover of another file of that name: move the -wal away",
			sqlitefile.ErrSideFile, path, path)
	}
	return sound, nil
}

// rehearse recovers a copy of the file, its journal and its -wal. It returns an error if that
// gives no database. The copy is beside the file, where there may be room for it, and has the
// name of a temporary file.
func (l loader) rehearse(ctx context.Context, path string) (err error) {
	tmp := tempName(path)
	// SQLite makes -shm in WAL mode.
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

// copyNamed copies the file called from to a new file.
func (l loader) copyNamed(ctx context.Context, to, from string) error {
	src, err := l.fs.Open(from)
	if err != nil {
		return err
	}
	return errors.Join(osfile.Copy(ctx, l.fs, to, src), src.Close())
}
