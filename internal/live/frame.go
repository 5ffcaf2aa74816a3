package live

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A message begins with one byte for its kind, and four for the length of the rest.
const (
	headSize = 5

	// pieceSize is how much of a message is read or written at a time.
	pieceSize = 64 << 10

	// smallMessage is the size up to which a request needs no room: see room.
	smallMessage = 64 << 10

	// messageLimit bounds a message: a row, or the arguments of a statement. SQLite
	// itself allows 1,000,000,000 bytes for a value or a row.
	messageLimit = 1<<30 + 1<<20

	// helloLimit bounds the first message, and the others of the handshake.
	helloLimit = 64 << 10
)

// The kinds of messages.
const (
	kindHello   = 'h' // tool: version and parameters; server: accepted or refused
	kindWait    = 'w' // server: why hello is not answered yet
	kindRequest = 'r' // tool
	kindCancel  = 'c' // tool: the number of the request to cancel
	kindAnswer  = 'a' // server
	kindData    = 'd' // server: a piece of a stream, before the answer; tool: one of its own, behind a request
	kindBye     = 'b' // server: the session is over, and no later request began
)

// errProtocol is wrapped by the errors of bytes that are not of this protocol.
var errProtocol = errors.New("sqlite-mem: not the protocol of a live connection")

// wire is one end of a connection.
type wire struct {
	c net.Conn
	r *bufio.Reader // of one goroutine

	buf []byte // of the last message; the next read overwrites it

	// wmu guards the fields below. It is held for a whole message, so that its pieces
	// stand together. A cancellation comes from a goroutine of its own.
	wmu sync.Mutex
	out []byte
}

func newWire(c net.Conn) *wire {
	return &wire{c: c, r: bufio.NewReaderSize(c, 16<<10)}
}

// read reads a message of at most limit bytes. The bytes are valid until the next call.
// enter, if not nil, is called before a message larger than smallMessage is read. It may
// refuse the message.
func (w *wire) read(limit int, enter func(kind byte, n int) error) (kind byte, message []byte, err error) {
	w.buf = w.buf[:0]
	if cap(w.buf) > smallMessage {
		w.buf = nil // a large message is no reason to keep its memory
	}
	var head [headSize]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return 0, nil, err
	}
	kind = head[0]
	length := binary.BigEndian.Uint32(head[1:])
	if uint64(length) > uint64(limit) {
		return 0, nil, fmt.Errorf("%w: a message of kind %q with %d bytes", errProtocol, kind, length)
	}
	n := int(length)
	if n > smallMessage && enter != nil {
		if err := enter(kind, n); err != nil {
			return 0, nil, err
		}
	}
	// The memory grows with what has come, not with what was announced.
	for len(w.buf) < n {
		at := len(w.buf)
		w.buf = grow(w.buf, min(n-at, pieceSize), n)
		if _, err := io.ReadFull(w.r, w.buf[at:]); err != nil {
			return 0, nil, torn(err)
		}
	}
	return kind, w.buf, nil
}

// torn makes of an end within a message an unexpected one.
func torn(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// grow makes b n bytes longer. It will have most bytes in the end.
func grow(b []byte, n, most int) []byte {
	if len(b)+n > cap(b) {
		b = append(make([]byte, 0, min(most, max(2*cap(b), len(b)+n))), b...)
	}
	return b[:len(b)+n]
}

// take keeps the next read from overwriting the last message.
func (w *wire) take() { w.buf = nil }

// write sends a message that consists of parts. begun reports whether anything of
// it may have left, after an error.
func (w *wire) write(kind byte, parts ...[]byte) (begun bool, err error) {
	return w.writeWithin(0, kind, parts...)
}

// writeWithin is write with a limit for each piece. So a large message may take long, if
// the other side reads. 0 leaves the deadline of the connection as it is. The
// parts are not copied as a whole.
func (w *wire) writeWithin(limit time.Duration, kind byte, parts ...[]byte) (begun bool, err error) {
	w.wmu.Lock()
	defer w.wmu.Unlock()
	left := 0
	for _, p := range parts {
		left += len(p)
	}
	out := binary.BigEndian.AppendUint32(append(w.out[:0], kind), uint32(left))
	for {
		n := min(left, pieceSize)
		left -= n
		for n > 0 {
			k := min(n, len(parts[0]))
			out = append(out, parts[0][:k]...)
			n -= k
			if parts[0] = parts[0][k:]; len(parts[0]) == 0 {
				parts = parts[1:]
			}
		}
		if limit > 0 {
			if err := w.c.SetWriteDeadline(time.Now().Add(limit)); err != nil {
				return begun, err
			}
		}
		sent, err := w.c.Write(out)
		begun = begun || sent > 0
		if w.out = out; cap(out) > 4<<10 {
			w.out = nil // most messages are small
		}
		if err != nil {
			return begun, err
		}
		if left == 0 {
			return true, nil
		}
		out = out[:0]
	}
}
