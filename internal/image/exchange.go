package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// ExchangeOptions are the options of [Exchange].
type ExchangeOptions struct {
	Keep   int    // as File.Keep
	KeepAs string // name of a new file for the state that is replaced; empty: none
}

// Exchange replaces the database file at path by the database that read gives to a sink, or
// creates it. No process has it in memory. The caller owns its process lock exclusively, and
// no connection of this process has the file open (see "Locks of this process").
//
// The old file need not be a database. But what a crash has left beside it, a journal, a -wal
// or a log, is first written into it, as a load would. If that fails, nothing is replaced:
// beside the new file it would be taken for a part of it.
//
// The new file is written, checked as a load is, synced and renamed over the old one, as by
// [File.Save]. It has the owner and permissions of the old one, else mode 0600. notKept is why
// the old state is not kept, although opts.Keep asks for it; nil: it is. If opts.KeepAs cannot be
// made, nothing is replaced.
//
// Errors are those of read, of [Backup] and [FoldLog], and an [*Error]. After one of these the
// file is the old one; or the new one is in place, and a power failure may bring the old one
// back, as the error says then.
func Exchange(ctx context.Context, path string, read func(context.Context, Sink) error, opts ExchangeOptions) (notKept, err error) {
	return writer{system}.exchange(ctx, path, read, opts)
}

func (w writer) exchange(ctx context.Context, path string, read func(context.Context, Sink) error, opts ExchangeOptions) (notKept, err error) {
	fail := func(err error) error {
		var own *Error
		if errors.As(err, &own) {
			return err
		}
		return &Error{Op: "restore to", Path: path, Err: err}
	}
	target, err := osfile.Resolve(path)
	if err == nil {
		err = osfile.NotMounted(w.fs, target)
	}
	if err != nil {
		return nil, fail(err)
	}
	tmp, size, err := w.takeIn(ctx, target, read)
	if err != nil {
		return nil, fail(errors.Join(err, w.discard(tmp)))
	}
	// From here on the new file is ready, and what is beside the old one may go.
	p := &prepared{writer: w, path: path, target: target, tmp: tmp, options: writeOptions{keep: opts.Keep}}
	err = w.settleOld(ctx, target)
	if err == nil {
		p.prev, err = w.pinOld(target)
	}
	defer func() { _ = p.prev.Unpin() }() // it was only read
	if err == nil {
		err = p.ready(ctx, size, opts)
	}
	if err != nil {
		return nil, fail(errors.Join(err, p.discard()))
	}
	res, err := p.publish(ctx)
	_ = res.Unpin() // only read
	if err != nil {
		err = fail(err)
	}
	return res.notKept, err
}

// ready makes the new file ready to be published, and gives the old state its further names.
func (p *prepared) ready(ctx context.Context, size pages, opts ExchangeOptions) error {
	like, err := p.prev.Like(p.fs, p.target)
	if err != nil {
		return err
	}
	f, err := p.fs.OpenWrite(p.tmp)
	if err != nil {
		return err
	}
	if like != nil {
		err = osfile.CopyOwner(f, like)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	p.img = imageInfo{size: size.size, pageSize: size.pageSize}
	if p.new, err = p.verify(p.tmp, size.size, size.pageSize); err != nil {
		return err
	}
	if reason, err := p.foreign(p.target, p.prev, p.options); err != nil || reason != "" {
		if err == nil {
			err = fmt.Errorf("%w: %s", sqlitefile.ErrBusy, reason)
		}
		return err
	}
	if opts.KeepAs != "" && !p.prev.ID.IsZero() {
		if err := p.backup(ctx, opts.KeepAs, p.ofOld(ctx)); err != nil {
			return err
		}
	}
	if opts.Keep > 0 {
		p.pending, p.notKept = p.setPending(ctx, p.target, p.prev, opts.Keep)
	}
	return nil
}

// ofOld is the content of the file that is replaced.
func (p *prepared) ofOld(ctx context.Context) content {
	return func(w writer, target string) (string, error) {
		now := p.prev.File
		if now == nil {
			f, err := w.fs.Open(p.target)
			if err != nil {
				return "", err
			}
			defer func() { _ = f.Close() }() // it was only read
			now = f
		}
		tmp := tempName(target)
		return tmp, osfile.Copy(ctx, w.fs, tmp, now)
	}
}

// settleOld writes what a crash has left beside the file into it.
func (w writer) settleOld(ctx context.Context, target string) error {
	there, err := pagelog.There(w.fs, target)
	if err != nil {
		return err
	}
	l := loader{fs: w.fs, wait: loadWait, poll: loadPoll}
	if there {
		if _, err := (recoverer{loader: l}).run(ctx, target); err != nil {
			return err
		}
	}
	if err := finished(w.fs, target); err == nil || !errors.Is(err, sqlitefile.ErrSideFile) {
		return err
	}
	kind, err := l.judge(ctx, target, time.Now().Add(l.wait))
	if err != nil || kind != sound {
		return err
	}
	h, err := l.acquire(ctx, target, time.Now().Add(l.wait))
	if err != nil {
		return err
	}
	return h.close()
}

// pinOld pins the file that is to be replaced.
func (w writer) pinOld(target string) (sqlitefile.Pinned, error) {
	info, err := w.fs.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return sqlitefile.Pinned{}, nil
	}
	if err == nil {
		err = osfile.Regular(target, info)
	}
	if err != nil {
		return sqlitefile.Pinned{}, err
	}
	f, err := osfile.OpenForWriting(w.fs, target)
	if err != nil {
		return sqlitefile.Pinned{}, err
	}
	id, err := sqlitefile.IdentifyOpen(f)
	if err != nil {
		return sqlitefile.Pinned{}, errors.Join(err, f.Close())
	}
	return sqlitefile.Pin(f, id)
}

// pages is the size of a database.
type pages struct {
	pageSize int
	size     int64
}

// takeIn writes the database that read gives to a temporary file beside target, and checks it.
// After an error tmp is "" if there is no file to remove.
func (w writer) takeIn(ctx context.Context, target string, read func(context.Context, Sink) error) (tmp string, size pages, err error) {
	tmp = tempName(target)
	f, err := w.fs.Create(tmp, 0o600)
	if err != nil {
		return "", size, err
	}
	sink := &fileSink{f: f}
	if err = read(ctx, sink); err == nil {
		err = sink.flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return tmp, size, err
	}
	// immutable: SQLite takes no locks and makes no side files.
	db, err := sqlitefile.Open(tmp, "mode=ro&immutable=1")
	if err == nil {
		err = errors.Join(db.Check(ctx), db.Close())
	}
	return tmp, sink.pages, err
}

// fileSink is a Sink that writes a file.
type fileSink struct {
	f     osfile.File
	pages pages
	buf   []byte
	full  int // bytes of buf that are to be written

	off, flushed int64 // as those of imageCopy
}

// Reserve implements Sink.
func (s *fileSink) Reserve(pageSize int, size int64) error {
	s.pages = pages{pageSize, size}
	s.buf = make([]byte, min(int64(saveRun), size))
	return nil
}

// Next implements Sink.
func (s *fileSink) Next(max int) ([]byte, error) {
	if err := s.flush(); err != nil {
		return nil, err
	}
	s.full = min(max, len(s.buf))
	return s.buf[:s.full], nil
}

// flush writes what Next has handed out before.
func (s *fileSink) flush() error {
	p := s.buf[:s.full]
	s.full = 0
	if n, err := s.f.Write(p); err != nil {
		return err
	} else if n < len(p) {
		return io.ErrShortWrite
	}
	s.off += int64(len(p))
	if s.off-s.flushed < flushRun {
		return nil
	}
	err := s.f.StartFlush(s.flushed, s.off-s.flushed)
	s.flushed = s.off
	return err
}
