//go:build cgo

package store

import (
	"context"
	"io"
	"sync"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
)

// Backup writes the last commit to a new file at path. It takes no lock of the database,
// so readers and writers go on.
func (s *Store) Backup(ctx context.Context, path string) error {
	defer s.pins("a backup to " + path)()
	img, err := s.Engine.Pin()
	if err != nil {
		return err
	}
	err = image.Backup(ctx, path, img)
	img.Release()
	s.Engine.Drain()
	return err
}

// streamPiece is how many bytes WriteTo writes at a time: 1 MiB. It holds no more of the image
// than that in memory of its own.
const streamPiece = 1 << 20

// WriteTo writes the last commit to w, as a file would have it, and returns how many bytes w
// has taken. It pins that commit until its end, or until the end of ctx, also while a Write is
// under way. WriteTo itself returns when that Write does.
func (s *Store) WriteTo(ctx context.Context, w io.Writer) (int64, error) {
	defer s.pins("a backup to a stream")()
	img, err := s.Engine.Pin()
	if err != nil {
		return 0, err
	}
	p := &pinned{engine: s.Engine, img: img}
	defer p.release()
	defer context.AfterFunc(ctx, p.release)()
	size := img.Size()
	buf := make([]byte, min(streamPiece, size))
	for off := int64(0); off < size; {
		piece := buf[:min(int64(len(buf)), size-off)]
		if !p.read(piece, off) {
			return off, ctx.Err()
		}
		n, err := w.Write(piece)
		off += int64(n)
		if err == nil && n < len(piece) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return off, err
		}
	}
	return size, nil
}

// pinned is a state that is read by one goroutine and released by any.
type pinned struct {
	engine *memvfs.Store

	mu  sync.Mutex       // held across a read of one piece, and never across a Write
	img *memvfs.Snapshot // guarded by mu; nil after release
}

// read fills b with the bytes at off. It returns false after release.
func (p *pinned) read(b []byte, off int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.img == nil {
		return false
	}
	_, _ = p.img.ReadAt(b, off) // never fails
	return true
}

// release ends the pin. When it has returned, no other call of release uses the engine.
func (p *pinned) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.img != nil {
		p.img.Release()
		p.img = nil
		p.engine.Drain()
	}
}
