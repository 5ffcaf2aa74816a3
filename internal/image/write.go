package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// flushRun is how many bytes are written before the kernel is told to
// start with them. The dirty memory stays below twice that, where else
// gigabytes would pile up, to be written while the final sync, and
// everybody else's, waits.
const flushRun = 32 << 20

// saveRun is how many bytes of an image a save asks for and writes at a time.
// Between two of these its thread runs Go code, for which it needs one of the few
// processors of Go's scheduler, and who has that waits until the kernel lets the
// thread run: at its low priority that can take a tick of the kernel, milliseconds,
// in which the statements that the processor was to run next wait too. So it is
// large, but small beside a database that is large enough for this to matter.
var saveRun = 4 << 20 // a variable for the tests, which need less

// imageInfo is what is to be known of an image when it is written.
type imageInfo struct {
	version  uint64
	size     int64
	pageSize int
	hash     pagelog.BaseHash // of its bytes, if it was asked for
}

// writeTemp writes img to a temporary file beside target, synced and checked, with the
// owner and permissions of like, if that is not nil. After an error it returns the name
// only if there is a file to remove.
func (w writer) writeTemp(ctx context.Context, target string, img Image, like os.FileInfo, options writeOptions) (name string, new sqlitefile.Pinned, info imageInfo, err error) {
	info = imageInfo{version: img.Version(), size: img.Size()}
	if info.size != 0 {
		info.pageSize = img.PageSize()
		if !sqlitefile.ValidPageSize(info.pageSize) || info.size < 0 || info.size%int64(info.pageSize) != 0 {
			return "", new, info, fmt.Errorf("image of %d bytes in pages of %d", info.size, info.pageSize)
		}
	}
	name = tempName(target)
	f, err := w.fs.Create(name, 0o600)
	if err != nil {
		return "", new, info, err
	}
	c := imageCopy{img: img, size: info.size, to: f}
	if options.hash {
		c.sum = xxhash.New()
	}
	if like != nil {
		err = osfile.CopyOwner(f, like) // before there is anything in it to read
	}
	for err == nil && c.off < c.size {
		options.pace.do(func(low bool) { err = c.run(ctx, func() bool { return low && !options.pace.low() }) })
	}
	options.pace.do(func(bool) {
		// A descriptor whose sync failed is not synced again: the kernel reports
		// a lost page once and then calls it clean.
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err == nil {
			new, err = w.verify(name, info.size, info.pageSize)
		}
	})
	if err == nil && options.hash {
		info.hash = pagelog.BaseHash(c.sum.Sum64())
	}
	return name, new, info, err
}

// imageCopy writes an image to a file, in pieces.
type imageCopy struct {
	img  Image
	size int64
	to   osfile.File
	sum  *xxhash.Digest // of what is written; nil: not wanted

	off     int64 // how far it has come
	flushed int64 // and how far the kernel has been told to write
	buf     []byte
}

// run goes on until the end, or until pause says so after a piece.
func (c *imageCopy) run(ctx context.Context, pause func() bool) error {
	if c.buf == nil {
		c.buf = make([]byte, min(int64(saveRun), c.size))
	}
	for c.off < c.size && !pause() {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := c.buf[:min(int64(len(c.buf)), c.size-c.off)]
		if n, err := c.img.ReadAt(p, c.off); n < len(p) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("reading the image at %d: %w", c.off, err)
		}
		if n, err := c.to.Write(p); err != nil {
			return err
		} else if n < len(p) {
			return io.ErrShortWrite
		}
		if c.sum != nil {
			_, _ = c.sum.Write(p) // never fails
		}
		c.off += int64(len(p))
		if c.off-c.flushed >= flushRun {
			if err := c.to.StartFlush(c.flushed, c.off-c.flushed); err != nil {
				return err
			}
			c.flushed = c.off
		}
	}
	return nil
}

// verify makes sure that the file is the database it should be, so that no
// mistake of ours, or of the memory it came from, replaces a good file: its
// size, its header, and that SQLite opens it and understands its schema.
func (w writer) verify(name string, size int64, pageSize int) (sqlitefile.Pinned, error) {
	f, err := w.fs.Open(name)
	if err != nil {
		return sqlitefile.Pinned{}, err
	}
	id, err := w.verifyOpen(f, size, pageSize)
	if err == nil && size > 0 {
		// immutable: no locks and no side files.
		var db *sqlitefile.Conn
		if db, err = sqlitefile.Open(name, "mode=ro&immutable=1"); err == nil {
			_, err = db.QueryInt("SELECT count(*) FROM sqlite_schema")
			err = errors.Join(err, db.Close())
		}
		if err != nil {
			err = fmt.Errorf("the new file fails its check: %w", err)
		}
	}
	if err != nil {
		return sqlitefile.Pinned{}, errors.Join(err, f.Close())
	}
	return sqlitefile.Pin(f, id)
}

func (w writer) verifyOpen(f osfile.File, size int64, pageSize int) (sqlitefile.ID, error) {
	id, err := sqlitefile.IdentifyOpen(f)
	if err != nil {
		return id, err
	}
	if id.Size() != size {
		return id, fmt.Errorf("the new file has %d bytes instead of %d", id.Size(), size)
	}
	if size == 0 {
		return id, nil
	}
	var head [sqlitefile.HeaderSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return id, err
	}
	h, err := sqlitefile.ParseHeader(head[:], size)
	if err != nil {
		return id, fmt.Errorf("the new file fails its check: %w", err)
	}
	if h.PageSize != pageSize {
		return id, fmt.Errorf("the new file fails its check: %w: page size %d instead of %d", sqlitefile.ErrCorrupt, h.PageSize, pageSize)
	}
	return id, nil
}
