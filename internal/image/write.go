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

// flushRun is after how many bytes the kernel is told to begin to write them: 32 MiB. So the
// dirty memory stays below twice that. Without it gigabytes would pile up, and the final sync,
// as well as the syncs of all others, would wait for them.
const flushRun = 32 << 20

// saveRun is how many bytes of an image a save reads and writes at a time: 4 MiB. Between two
// of these pieces its thread runs Go code, for which it takes one of the processors of Go's
// scheduler. Then that processor waits until the kernel lets the thread run. At its low
// priority this can take a tick of the kernel, some milliseconds, and the statements that the
// processor should run next wait too. So a piece is large, but small beside a database for
// which this matters. It is a variable for the tests, which need less.
var saveRun = 4 << 20

// imageInfo describes an image that was written or read.
type imageInfo struct {
	version  uint64
	size     int64
	pageSize int
	hash     pagelog.BaseHash // of its bytes, if writeOptions.hash or a log asked for it
}

// writeTemp writes img to a temporary file beside target, syncs it and checks it. The file gets
// the owner and permissions of like, unless that is nil. After an error name is "" if there is
// no file to remove.
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
		err = osfile.CopyOwner(f, like) // before there is anything to read in it
	}
	for err == nil && c.off < c.size {
		options.pace.do(func(low bool) { err = c.run(ctx, func() bool { return low && !options.pace.low() }) })
	}
	options.pace.do(func(bool) {
		// After a failed StartFlush there is no Sync: the kernel reports a lost page once,
		// and then calls it clean.
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

// imageCopy copies an image to a file in pieces.
type imageCopy struct {
	img  Image
	size int64
	to   osfile.File
	sum  *xxhash.Digest // of the bytes written; nil: not wanted

	off     int64 // how many bytes are written
	flushed int64 // how many of them the kernel has been told to write
	buf     []byte
}

// run goes on until the end of the image, or until pause returns true before a piece.
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

// verify makes sure that the file is the database that it should be. It looks at the size and
// the header, and has SQLite read the schema. So a mistake of this program, or of the memory,
// does not replace a good file.
func (w writer) verify(name string, size int64, pageSize int) (sqlitefile.Pinned, error) {
	f, err := w.fs.Open(name)
	if err != nil {
		return sqlitefile.Pinned{}, err
	}
	id, err := w.verifyOpen(f, size, pageSize)
	if err == nil && size > 0 {
		// immutable: SQLite takes no locks and makes no side files.
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
