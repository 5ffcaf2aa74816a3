package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// RestoreError is the error of a database that cannot be restored. path is empty for a stream.
func RestoreError(path string, err error) error {
	if path == "" {
		return &Error{Op: "restore", Err: err}
	}
	return &Error{Op: "restore from", Path: path, Err: err}
}

// ReadFile reads the database file at path into sink, for a restore. The file may be
// another program's, and need not be writable: it is only read, and no lock of SQLite is taken
// on it. So it must hold a whole database. It is refused if a journal, a -wal or a log
// is beside it that a crash has left or another program uses. It is also refused if it changes
// while it is read. Every commit of SQLite moves the change counter of the file, and one under
// way shows in the journal.
//
// A file of no bytes is an empty database. sink then gets one with one page: see emptyDatabase.
//
// closeLater closes the file. POSIX drops the locks of this process on a file when the process
// closes any descriptor of it: see "Locks of this process". Nil: it is closed on return.
//
// Errors are an [*Error]. It wraps the error of ctx or sink, that of the operating system, or
// one of osfile.ErrNotAFile, sqlitefile.ErrNotADatabase, ErrTruncated, ErrSideFile and ErrBusy.
// After an error sink may hold a part of a database. ReadFile looks only at the header: see
// [Check] for the rest.
func ReadFile(ctx context.Context, path string, sink Sink, closeLater func(io.Closer)) error {
	if err := readFile(ctx, system, path, sink, closeLater); err != nil {
		return RestoreError(path, err)
	}
	return nil
}

func readFile(ctx context.Context, fsx osfile.FS, path string, sink Sink, closeLater func(io.Closer)) (err error) {
	target, err := osfile.Resolve(path)
	if err != nil {
		return err
	}
	// To open a pipe would be to wait for its other end, so look first.
	info, err := fsx.Stat(target)
	if err == nil {
		err = osfile.Regular(path, info)
	}
	if err != nil {
		return err
	}
	f, err := fsx.Open(target)
	if err != nil {
		return err
	}
	if closeLater != nil {
		defer closeLater(f)
	} else {
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	before, err := sqlitefile.IdentifyOpen(f)
	if err != nil {
		return err
	}
	if err := finished(fsx, target); err != nil {
		return err
	}
	if before.Size() == 0 {
		err = fillEmpty(ctx, sink)
	} else {
		err = readPages(ctx, f, before.Size(), sink)
	}
	if err != nil {
		return err
	}
	after, err := sqlitefile.IdentifyOpen(f)
	if err != nil {
		return err
	}
	if d := before.Difference(after); d != "" {
		return fmt.Errorf("%w: %s while it was read: restore from a backup of it (sqlite-mem backup)", sqlitefile.ErrBusy, d)
	}
	return finished(fsx, target)
}

// readPages reads a file of size bytes, which is over 0.
func readPages(ctx context.Context, f osfile.File, size int64, sink Sink) error {
	var head [sqlitefile.HeaderSize]byte
	n, err := f.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return err
	}
	h, err := sqlitefile.ParseHeader(head[:n], size)
	if err != nil {
		return err
	}
	return fill(ctx, sink, h.PageSize, h.Size(), func(p []byte, off int64) error {
		n, err := f.ReadAt(p, off)
		if n == len(p) {
			return nil
		}
		if err == io.EOF {
			err = fmt.Errorf("%w: it ends at %d", sqlitefile.ErrTruncated, off+int64(n))
		}
		return err
	})
}

// finished returns an error if the file alone is not the database, or another program is
// about to change it.
func finished(fsx osfile.FS, target string) error {
	j, err := sqlitefile.ReadJournal(fsx, target)
	if err != nil {
		return err
	}
	if j.Live {
		return fmt.Errorf("%w: %s-journal is beside it, of a transaction that runs or that a crash has cut short: open the file once with sqlite3 or this program, or restore from a backup of it",
			sqlitefile.ErrSideFile, target)
	}
	wal, err := sqlitefile.ReadWAL(fsx, target)
	if err != nil {
		return err
	}
	if wal.Open {
		return fmt.Errorf("%w: %s-wal may hold commits that the file lacks: close the programs that use the file, open it once with sqlite3 or this program, or restore from a backup of it",
			sqlitefile.ErrSideFile, target)
	}
	pending, err := pagelog.Pending(fsx, target)
	if err != nil {
		return err
	}
	if pending {
		return fmt.Errorf("%w: %s holds commits that the file lacks: run sqlite-mem recover %s, or restore from a backup of it",
			sqlitefile.ErrSideFile, pagelog.Name(target), target)
	}
	return nil
}

// ReadStream reads a database file from r into sink, for a restore. The size is that of its
// header. It reads r to io.EOF, and throws away what is behind the database. So r can still say
// that its content was not right: a checksum, or a sender that has given up. A stream of no
// bytes is an error, though a file of none is an empty database. It is what a program that
// fails writes. The end of ctx is seen between two reads. A Read that does not return cannot
// be interrupted.
//
// Errors are an [*Error]. It wraps the error of ctx, r or sink, or one of
// sqlitefile.ErrNotADatabase and ErrTruncated.
func ReadStream(ctx context.Context, r io.Reader, sink Sink) error {
	if err := readStream(ctx, r, sink); err != nil {
		return RestoreError("", err)
	}
	return nil
}

func readStream(ctx context.Context, r io.Reader, sink Sink) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	head := make([]byte, sqlitefile.HeaderSize)
	n, err := io.ReadFull(r, head)
	if err == io.EOF {
		return fmt.Errorf("%w: the stream has no bytes: restore an empty database from an empty file", sqlitefile.ErrTruncated)
	}
	if err != nil && err != io.ErrUnexpectedEOF {
		return err
	}
	h, err := sqlitefile.ParseStream(head[:n])
	if err != nil {
		return err
	}
	err = fill(ctx, sink, h.PageSize, h.Size(), func(p []byte, off int64) error {
		n := 0
		if off == 0 {
			n = copy(p, head)
		}
		for n < len(p) {
			if err := ctx.Err(); err != nil {
				return err
			}
			m, err := io.ReadFull(r, p[n:min(len(p), n+streamRun)])
			n += m
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return fmt.Errorf("%w: it ends at %d of %d bytes", sqlitefile.ErrTruncated, off+int64(n), h.Size())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	for rest := make([]byte, streamRun); err == nil; {
		if err = ctx.Err(); err == nil {
			_, err = r.Read(rest)
		}
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// streamRun is how many bytes of a stream are read between two looks at the context: 64 KiB.
const streamRun = 64 << 10

// emptyPageSize is SQLite's default.
const emptyPageSize = 4096

// fillEmpty gives an empty database to sink, with one page. A database without any page has no
// schema cookie. Later tables could then bring back a cookie that old statements were prepared
// for.
func fillEmpty(ctx context.Context, sink Sink) error {
	return fill(ctx, sink, emptyPageSize, emptyPageSize, func(p []byte, _ int64) error {
		clear(p)
		copy(p, sqlitefile.EmptyHeader(emptyPageSize))
		return nil
	})
}
