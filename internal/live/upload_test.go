package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
)

// uploadServer serves a control that returns what it was sent, "refuse", which takes nothing, and
// "wait", which takes a byte and then nothing until its end.
func uploadServer(t *testing.T, f *fake, idle time.Duration) *Server {
	return serve(t, f, func(cfg *ServerConfig) {
		if idle > 0 {
			cfg.Idle = idle
		}
		cfg.Control = func(ctx context.Context, _ Peer, name string, data []byte, body io.Reader, w io.Writer) ([]byte, error) {
			switch name {
			case "echo":
				b, err := io.ReadAll(body)
				return append(data, b...), err
			case "refuse":
				return nil, errFake
			case "wait":
				_, err := io.ReadFull(body, make([]byte, 1))
				if err == nil {
					<-ctx.Done()
					err = ctx.Err()
				}
				return nil, err
			}
			if body != nil {
				return nil, errors.New("a stream")
			}
			return nil, nil
		}
	})
}

func dialControl(t *testing.T, s *Server) *Conn {
	t.Helper()
	c, err := (&Dialer{Path: s.cfg.Path, Control: true, DecodeError: decodeFake}).Connect(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// writes returns a body of n bytes in odd pieces.
func writes(content []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		for at, n := 0, 1; at < len(content); n = n*3 + 1 {
			p := content[at:min(len(content), at+n)]
			if _, err := w.Write(p); err != nil {
				return err
			}
			at += len(p)
		}
		return nil
	}
}

// Ensure that a stream of the tool reaches the control whole, and that the connection serves the
// next request after it, also if the control took nothing of the stream.
func TestUpload(t *testing.T) {
	s := uploadServer(t, newFake(), 0)
	c := dialControl(t, s)
	for _, n := range []int{0, 1, pieceSize, 3*pieceSize + 7, 5_000_000} {
		content := bytes.Repeat([]byte{byte(n), 2, 3}, n/3+1)[:n]
		data, err := c.Upload(ctx, "echo", []byte("head "), writes(content))
		require.NoError(t, err)
		require.True(t, bytes.Equal(append([]byte("head "), content...), data))
		_, err = c.Upload(ctx, "refuse", nil, writes(content))
		require.ErrorIs(t, err, errFake)
		_, err = c.Control(ctx, "none", nil, nil)
		require.NoError(t, err)
	}
}

// Ensure that nothing of a stream is left when it is over, while its connection goes on.
func TestUpload_forgotten(t *testing.T) {
	var stream weak.Pointer[io.PipeReader]
	s := serve(t, newFake(), func(cfg *ServerConfig) {
		cfg.Control = func(_ context.Context, _ Peer, _ string, _ []byte, body io.Reader, _ io.Writer) ([]byte, error) {
			stream = weak.Make(body.(*io.PipeReader))
			return io.ReadAll(body)
		}
	})
	c := dialControl(t, s)
	_, err := c.Upload(ctx, "", nil, writes([]byte("content")))
	require.NoError(t, err)
	eventually(t, func() bool { runtime.GC(); return stream.Value() == nil }, "the end of the stream")
}

// Ensure that a stream that breaks off, by its body, its context or its connection, is an error
// for the control and never its end.
func TestUpload_torn(t *testing.T) {
	s := uploadServer(t, newFake(), 0)
	broken := errors.New("the file has changed")
	_, err := dialControl(t, s).Upload(ctx, "echo", nil, func(w io.Writer) error {
		_, err := w.Write(make([]byte, 100_000))
		return errors.Join(err, broken)
	})
	require.ErrorIs(t, err, broken)

	canceled, cancel := context.WithCancel(ctx)
	_, err = dialControl(t, s).Upload(canceled, "wait", nil, func(w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 1000)); err != nil {
				return err
			}
			cancel()
		}
	})
	require.Equal(t, context.Canceled, err)

	c := dialControl(t, s)
	_, err = c.Upload(ctx, "echo", nil, func(w io.Writer) error {
		require.NoError(t, c.net.Close())
		_, err := w.Write(make([]byte, 10))
		return err
	})
	require.ErrorIs(t, err, ErrLost)
	require.NotErrorIs(t, err, ErrCommitUnknown)

	// The answer is lost after the end of the stream.
	c = dialControl(t, s)
	canceled, cancel = context.WithCancel(ctx)
	_, err = c.Upload(canceled, "wait", nil, func(w io.Writer) error {
		_, err := w.Write([]byte{1})
		time.AfterFunc(50*time.Millisecond, func() { _ = c.net.Close() })
		return err
	})
	require.ErrorIs(t, err, ErrCommitUnknown)
	cancel()
}

// Ensure that a tool that stops in its stream is ended.
func TestUpload_stalls(t *testing.T) {
	s := uploadServer(t, newFake(), 100*time.Millisecond)
	stalled := make(chan struct{})
	c := dialControl(t, s)
	_, err := c.Upload(ctx, "echo", nil, func(w io.Writer) error {
		defer close(stalled)
		_, err := w.Write([]byte("a"))
		for err == nil {
			time.Sleep(300 * time.Millisecond)
			_, err = w.Write([]byte("b"))
		}
		return err
	})
	<-stalled
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrCommitUnknown)

}

// Ensure that the end of the server ends a stream.
func TestUpload_closing(t *testing.T) {
	s := uploadServer(t, newFake(), 0)
	c := dialControl(t, s)
	_, err := c.Upload(ctx, "wait", nil, func(w io.Writer) error {
		_, err := w.Write([]byte("a"))
		go stop(t, s)
		for err == nil {
			_, err = w.Write([]byte("b"))
		}
		return err
	})
	require.Error(t, err)
}

// Ensure that what is not a stream of the protocol ends the session, and that no goroutine waits
// for a stream that nobody takes.
func TestUpload_hostile(t *testing.T) {
	s := uploadServer(t, newFake(), 0)
	for name, messages := range map[string][][]byte{
		"a piece without a request": {framed(kindData, []byte("x"))},
		"behind SQL":                {framed(kindRequest, encode(&request{N: 1, Op: opExec, Text: "x", Upload: true})), framed(kindData, []byte("x"))},
		"behind the end":            {framed(kindRequest, encode(&request{N: 1, Op: opControl, Text: "echo", Upload: true})), framed(kindData, nil), framed(kindData, []byte("x"))},
		"a large piece":             {framed(kindRequest, encode(&request{N: 1, Op: opControl, Text: "echo", Upload: true})), append(framed24(kindData, smallMessage+1), make([]byte, smallMessage+1)...)},
		"a request in it":           {framed(kindRequest, encode(&request{N: 1, Op: opControl, Text: "wait", Upload: true})), framed(kindRequest, encode(&request{N: 2, Op: opControl, Text: "echo"}))},
		"nothing behind it":         {framed(kindRequest, encode(&request{N: 1, Op: opControl, Text: "wait", Upload: true}))},
		"no such control":           {framed(kindRequest, encode(&request{N: 1, Op: opControl, Text: "refuse", Upload: true})), framed(kindData, []byte("x"))},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := dial(ctx, s.cfg.Path)
			require.NoError(t, err)
			w := newWire(nc)
			_, err = w.write(kindHello, encode(hello{Version: Version, Control: true}))
			require.NoError(t, err)
			_, _, err = w.read(helloLimit, nil)
			require.NoError(t, err)
			for _, m := range messages {
				_, _ = nc.Write(m) // the session may have ended
			}
			if name != "nothing behind it" && name != "no such control" {
				for err == nil {
					_, _, err = w.read(messageLimit, nil)
				}
				require.Error(t, err, fmt.Sprint("the session ends: ", name))
			}
			require.NoError(t, nc.Close())
		})
	}
	stop(t, s) // it waits for all goroutines
}
