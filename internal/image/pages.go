package image

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/cespare/xxhash/v2"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// openLog finds the log of the file, if there is one, and lays it over the file.
func (h *held) openLog(ctx context.Context, fsx osfile.FS, path string) (*pagelog.Log, error) {
	there, err := pagelog.There(fsx, path)
	if err != nil || !there {
		return nil, err
	}
	hash, err := h.hash(ctx)
	if err != nil {
		return nil, err
	}
	log, err := pagelog.Pick(fsx, path, hash)
	if err != nil || log == nil {
		return nil, err
	}
	return log, h.layOver(fsx, log)
}

// layOver makes the pages of a log replace those of the file.
func (h *held) layOver(fsx osfile.FS, log *pagelog.Log) (err error) {
	if log.Commits > 0 && log.Head.PageSize != h.header.PageSize {
		return fmt.Errorf("%w: %s has pages of %d bytes, and its database of %d", pagelog.ErrDamaged, log.Name, log.Head.PageSize, h.header.PageSize)
	}
	h.log = log
	h.logFile, err = fsx.Open(log.Name)
	return err
}

// hash returns the hash of all bytes of the file.
func (h *held) hash(ctx context.Context) (pagelog.BaseHash, error) {
	sum := xxhash.New()
	err := h.hashFrom(ctx, sum, 0)
	return pagelog.BaseHash(sum.Sum64()), err
}

// hashFrom adds the bytes of the file from off on to sum.
func (h *held) hashFrom(ctx context.Context, sum *xxhash.Digest, off int64) error {
	buf := make([]byte, min(osfile.Piece, h.size-off))
	for off < h.size {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(int64(len(buf)), h.size-off)]
		if err := h.read(p, off); err != nil {
			return err
		}
		_, _ = sum.Write(p) // never fails
		off += int64(len(p))
	}
	return nil
}

// imageSize returns the size of the database in bytes, with the log.
func (h *held) imageSize() int64 {
	if h.log != nil && h.log.Commits > 0 {
		return int64(h.log.DBPages) * int64(h.header.PageSize)
	}
	return h.header.Size()
}

// readBase fills p, which is whole pages, with the pages of the file at off. Pages that the file
// does not have are zeros. n is how many bytes the file has.
func (h *held) readBase(p []byte, off int64) (n int, err error) {
	n = int(max(min(int64(len(p)), h.header.Size()-off), 0))
	clear(p[n:])
	return n, h.read(p[:n], off)
}

// readLog replaces pages in p by those in the log. p begins at off.
func (h *held) readLog(p []byte, off int64) error {
	if h.log == nil {
		return nil
	}
	ps := h.header.PageSize
	for pgno := uint32(off/int64(ps)) + 1; len(p) > 0; pgno++ {
		if at, ok := h.log.Pages[pgno]; ok {
			if n, err := h.logFile.ReadAt(p[:ps], at); n < ps {
				return fmt.Errorf("%s at %d: %w", h.log.Name, at, err)
			}
		}
		p = p[ps:]
	}
	return nil
}

// copyTo reads the database into sink. It returns the identity of the file under the lock. It
// also returns the hash of the file, if that is wanted or there is a log.
func (h *held) copyTo(ctx context.Context, sink Sink, hash bool) (sqlitefile.ID, pagelog.BaseHash, error) {
	id, err := sqlitefile.IdentifyOpen(h.f)
	if err != nil || h.size == 0 {
		return id, pagelog.HashOfNothing, err
	}
	if h.log != nil { // it was found by the hash
		return id, h.log.Head.Base, h.copyPages(ctx, sink, nil)
	}
	if !hash {
		return id, 0, h.copyPages(ctx, sink, nil)
	}
	sum := xxhash.New()
	if err = h.copyPages(ctx, sink, sum); err == nil {
		err = h.hashFrom(ctx, sum, h.header.Size())
	}
	return id, pagelog.BaseHash(sum.Sum64()), err
}

// copyPages reads the database into sink. It adds the bytes of the file to sum, unless that is
// nil.
func (h *held) copyPages(ctx context.Context, sink Sink, sum *xxhash.Digest) error {
	return fill(ctx, sink, h.header.PageSize, h.imageSize(), func(p []byte, off int64) error {
		n, err := h.readBase(p, off)
		if err != nil {
			return err
		}
		if sum != nil {
			_, _ = sum.Write(p[:n]) // never fails
		}
		return h.readLog(p, off)
	})
}

// fill gives a database to sink, whose pages read reads in order. Header bytes 18 and 19 are
// set to rollback mode.
func fill(ctx context.Context, sink Sink, pageSize int, size int64, read func(p []byte, off int64) error) error {
	if err := sink.Reserve(pageSize, size); err != nil {
		return err
	}
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		want := int(min(loadRun, size-off))
		p, err := sink.Next(want)
		if err != nil {
			return err
		}
		if len(p) == 0 || len(p) > want || len(p)%pageSize != 0 {
			return fmt.Errorf("sink gave %d bytes for at most %d, page size %d", len(p), want, pageSize)
		}
		if err := read(p, off); err != nil {
			return err
		}
		if off == 0 {
			p[sqlitefile.OffWriteVersion], p[sqlitefile.OffReadVersion] = 1, 1
		}
		off += int64(len(p))
	}
	return nil
}

// read fills p with the bytes of the file at off.
func (h *held) read(p []byte, off int64) error {
	// On Windows the lock of our own SQLite connection keeps this descriptor from reading
	// the locked bytes. There is nothing in them.
	if end := off + int64(len(p)); runtime.GOOS == "windows" && off <= lockByte && lockByte < end {
		ps := int64(h.header.PageSize)
		hole := lockByte - off
		if err := h.read(p[:hole], off); err != nil {
			return err
		}
		clear(p[hole : hole+ps])
		return h.read(p[hole+ps:], lockByte+ps)
	}
	n, err := h.f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		err = fmt.Errorf("%w: it ends at %d", sqlitefile.ErrTruncated, off+int64(n))
	}
	return err
}
