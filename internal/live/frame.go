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

// A frame begins with one byte for the kind of its message. The next four bytes
// have the length of the payload, and whether another frame of the message follows.
// The payload comes last.
const (
	headSize = 5
	moreFlag = 1 << 31

	// frameLimit bounds the payload of a frame. So it bounds the memory that is
	// allocated for a length that was only announced.
	frameLimit = 64 << 10

	// smallMessage is the size up to which a message needs no slot for large messages:
	// see Server.bulk.
	smallMessage = 1 << 20

	// messageLimit bounds a message: a row, or the arguments of a statement. SQLite
	// itself allows 1,000,000,000 bytes for a value or a row.
	messageLimit = 1<<30 + 1<<20

	// helloLimit bounds the first message, and the others of the handshake.
	helloLimit = frameLimit
)

// The kinds of messages.
const (
	kindHello   = 'h' // tool: version and parameters; server: accepted or refused
	kindWait    = 'w' // server: why hello is not answered yet
	kindRequest = 'r' // tool
	kindCancel  = 'c' // tool: the number of the request to cancel
	kindAnswer  = 'a' // server
	kindData    = 'd' // server: a piece of a stream, before the answer
	kindBye     = 'b' // server: the session is over, and no later request began
)

// errProtocol is wrapped by the errors of bytes that are not of this protocol.
var errProtocol = errors.New("sqlite-mem: not the protocol of a live connection")

// wire is one end of a connection.
type wire struct {
	c net.Conn
	r *bufio.Reader // of one goroutine

	buf []byte // of the last message; the next read overwrites it

	// wmu guards the fields below. It is held for a whole message, so that its frames
	// stand together. A cancellation comes from a goroutine of its own.
	wmu sync.Mutex
	out []byte
}

func newWire(c net.Conn) *wire {
	return &wire{c: c, r: bufio.NewReaderSize(c, 16<<10)}
}

// read reads a message of at most limit bytes. The bytes are valid until the next
// call. large, if not nil, is called once when the message turns out to be larger
// than smallMessage, and may refuse it.
func (w *wire) read(limit int, large func() error) (kind byte, message []byte, err error) {
	w.buf = w.buf[:0]
	if cap(w.buf) > frameLimit {
		w.buf = nil // a large message is no reason to keep its memory
	}
	for first := true; ; first = false {
		var head [headSize]byte
		if _, err := io.ReadFull(w.r, head[:]); err != nil {
			return 0, nil, torn(err, first)
		}
		n := binary.BigEndian.Uint32(head[1:])
		more := n&moreFlag != 0
		n &^= moreFlag
		if !first && head[0] != kind || n > frameLimit || more && n == 0 {
			return 0, nil, fmt.Errorf("%w: a frame of kind %q with %d bytes", errProtocol, head[0], n)
		}
		kind = head[0]
		before := len(w.buf)
		if before+int(n) > limit {
			return 0, nil, fmt.Errorf("%w: a message of more than %d bytes", errProtocol, limit)
		}
		if before <= smallMessage && before+int(n) > smallMessage && large != nil {
			if err := large(); err != nil {
				return 0, nil, err
			}
		}
		w.buf = grow(w.buf, int(n))
		if _, err := io.ReadFull(w.r, w.buf[before:]); err != nil {
			return 0, nil, torn(err, false)
		}
		if !more {
			return kind, w.buf, nil
		}
	}
}

// torn makes of an end within a message an unexpected one.
func torn(err error, clean bool) error {
	if err == io.EOF && !clean {
		return io.ErrUnexpectedEOF
	}
	return err
}

// grow makes b n bytes longer.
func grow(b []byte, n int) []byte {
	if len(b)+n <= cap(b) {
		return b[:len(b)+n]
	}
	return append(b, make([]byte, n)...)
}

// take keeps the next read from overwriting the last message.
func (w *wire) take() { w.buf = nil }

// write sends a message that consists of parts. begun reports whether anything of
// it may have left, after an error.
func (w *wire) write(kind byte, parts ...[]byte) (begun bool, err error) {
	return w.writeWithin(0, kind, parts...)
}

// writeWithin is write with a limit for each frame, so that a large message may take long
// as long as the other side reads. 0 leaves the deadline of the connection as it is.
func (w *wire) writeWithin(limit time.Duration, kind byte, parts ...[]byte) (begun bool, err error) {
	w.wmu.Lock()
	defer w.wmu.Unlock()
	left := 0
	for _, p := range parts {
		left += len(p)
	}
	for {
		n := min(left, frameLimit)
		left -= n
		length := uint32(n)
		if left > 0 {
			length |= moreFlag
		}
		out := append(w.out[:0], kind)
		out = binary.BigEndian.AppendUint32(out, length)
		for n > 0 {
			k := min(n, len(parts[0]))
			out = append(out, parts[0][:k]...)
			n -= k
			if parts[0] = parts[0][k:]; len(parts[0]) == 0 {
				parts = parts[1:]
			}
		}
		if w.out = out; cap(out) > 4<<10 {
			w.out = nil // most messages are small
		}
		if limit > 0 {
			if err := w.c.SetWriteDeadline(time.Now().Add(limit)); err != nil {
				return begun, err
			}
		}
		sent, err := w.c.Write(out)
		begun = begun || sent > 0
		if err != nil {
			return begun, err
		}
		if left == 0 {
			return true, nil
		}
	}
}
