package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// A tool may send a stream behind the request for a control: messages of kind kindData, and at
// its end one without content. The server reads on only as fast as the control takes it. A
// stream without its end is worth nothing: the control gets an error in the place of io.EOF.

// Upload is [Conn.Control] with a stream of the tool, which body writes. Data is as for Control.
// After an error of body, the server gets no end of the stream, and the connection is of no use
// any more. That error is returned as it is. The request may commit: if the answer is lost
// after the end of the stream, the error is ErrCommitUnknown.
func (c *Conn) Upload(ctx context.Context, name string, data []byte, body func(io.Writer) error) ([]byte, error) {
	ans, _, err := c.call(ctx, &request{Op: opControl, Text: name, Data: data, Upload: true, body: body}, committed, nil)
	if err != nil {
		return nil, err
	}
	return ans.Data, nil
}

// upload sends the stream of a request. If it returns an error, the server has not had its end,
// and the connection has been given up.
func (c *Conn) upload(ctx context.Context, req *request) error {
	w := &uploading{c: c, ctx: ctx}
	err := req.body(w)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		_, w.err = c.wire.write(kindData)
		err = w.err
	}
	if err == nil {
		return nil
	}
	c.fail(err) // so that the server ends the request
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case w.err != nil:
		return c.lost(harmless)
	}
	return err
}

// uploading is the writer of a stream.
type uploading struct {
	c   *Conn
	ctx context.Context
	err error // of the connection
}

func (w *uploading) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if err := w.ctx.Err(); err != nil {
			return written, err
		}
		piece := p[:min(len(p), pieceSize)]
		if _, err := w.c.wire.write(kindData, piece); err != nil {
			w.err = err
			return written, err
		}
		written += len(piece)
		p = p[len(piece):]
	}
	return written, nil
}

// errStreamOver ends a stream whose control has returned. The rest of it is thrown away.
var errStreamOver = errors.New("live: the request is over")

// errStreamTorn ends a stream without its end.
var errStreamTorn = fmt.Errorf("the stream of the tool has broken off: %w", io.ErrUnexpectedEOF)

// openUpload begins the stream of a request that has come.
func (s *session) openUpload(req *request) {
	r, w := io.Pipe()
	req.stream = r
	// The worker may end before it takes the request, and the reader must not wait for it.
	req.unhook = context.AfterFunc(s.ctx, func() { _ = r.CloseWithError(errStreamOver) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upload = w
}

// piece takes a piece of a stream. It returns false if none is under way.
func (s *session) piece(b []byte) bool {
	s.mu.Lock()
	w := s.upload
	if len(b) == 0 {
		s.upload = nil
	}
	s.mu.Unlock()
	switch {
	case w == nil:
		return false
	case len(b) == 0:
		_ = w.Close() // never fails
	default:
		_, _ = w.Write(b) // it waits for the control, and fails if that is over
	}
	return true
}

// limitUpload bounds the wait for the next message if a stream is under way. It reports whether
// it has.
func (s *session) limitUpload() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.upload == nil {
		return false
	}
	_ = s.wire.c.SetReadDeadline(time.Now().Add(s.srv.cfg.Idle)) // if that fails the read does
	return true
}

// endUpload ends a stream, as the reader ends with err.
func (s *session) endUpload(err error) {
	s.mu.Lock()
	w := s.upload
	s.upload = nil
	s.mu.Unlock()
	if w == nil {
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.endBy(fmt.Sprintf("nothing of the stream came for %v", s.srv.cfg.Idle))
	}
	_ = w.CloseWithError(errStreamTorn) // never fails
}

// uploaded is the stream of a request for its control; nil: it has none. over ends it: what
// still comes is thrown away.
func (s *session) uploaded(ctx context.Context, req *request) (r io.Reader, over func()) {
	p := req.stream
	if p == nil {
		return nil, func() {}
	}
	unhook := req.unhook
	stop := context.AfterFunc(ctx, func() { _ = p.CloseWithError(ctx.Err()) })
	return p, func() {
		stop()
		unhook() // or the session keeps the stream
		_ = p.CloseWithError(errStreamOver)
	}
}
