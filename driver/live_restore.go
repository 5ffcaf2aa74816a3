//go:build cgo

package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/live"
	"github.com/sqlite-mem/sqlite-mem/internal/memconn"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// A tool reads the file of a restore with its own rights, and sends the content. So nobody has
// the server read a file that the tool could not.

// liveRestore goes with controlRestore.
type liveRestore struct {
	Keep string        // RestoreOptions.Keep, absolute
	Wait time.Duration // _busy_timeout of the tool
}

// restoreLive restores what a tool sends.
func restoreLive(ctx context.Context, s *store.Store, peer live.Peer, data []byte, body io.Reader) error {
	var r liveRestore
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	if body == nil {
		return errors.New("sqlite-mem: a restore without a database")
	}
	if r.Keep != "" {
		if !peer.Trusted {
			return fmt.Errorf("sqlite-mem: %s: the server keeps no state under a name that another user gives: restore as root or as the server's user, or use sqlite_keep", r.Keep)
		}
		if err := notServed(r.Keep); err != nil {
			return err
		}
	}
	db := memconn.OfGuest(s, memconn.Options{BusyTimeout: r.Wait})
	return db.Restore(ctx, store.FromStream(body), r.Keep)
}

// restore sends the new database to the server.
func (b *liveBackend) restore(ctx context.Context, in incoming, keep string) (err error) {
	r := liveRestore{Wait: b.cfg.busyTimeout()}
	if keep != "" {
		if r.Keep, err = filepath.Abs(keep); err != nil {
			return err
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return b.upload(ctx, controlRestore, data, func(w io.Writer) error {
		if in.r != nil {
			_, err := io.CopyBuffer(w, struct{ io.Reader }{in.r}, make([]byte, uploadPiece))
			return err
		}
		sink := &uploadSink{w: w}
		err := in.from().Read(ctx, sink)
		if err == nil {
			err = sink.flush()
		}
		return err
	})
}

// uploadPiece is how much of a file is read and sent at a time: 1 MiB, at least a page.
const uploadPiece = 1 << 20

// uploadSink is an image.Sink that sends what it is given.
type uploadSink struct {
	w    io.Writer
	size int64 // of the database
	buf  []byte
	full int  // bytes of buf that are to be sent
	sent bool // page 1 was
}

// Reserve implements image.Sink.
func (s *uploadSink) Reserve(pageSize int, size int64) error {
	s.size, s.buf = size, make([]byte, min(size, uploadPiece))
	return nil
}

// Next implements image.Sink.
func (s *uploadSink) Next(max int) ([]byte, error) {
	if err := s.flush(); err != nil {
		return nil, err
	}
	s.full = min(max, len(s.buf))
	return s.buf[:s.full], nil
}

// flush sends what Next has handed out before.
func (s *uploadSink) flush() error {
	p := s.buf[:s.full]
	if s.full = 0; len(p) == 0 {
		return nil
	}
	if !s.sent {
		s.sent = true
		sqlitefile.SetSize(p, s.size) // a stream must tell it
	}
	_, err := s.w.Write(p)
	return err
}
