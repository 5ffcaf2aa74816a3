package live

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Errors of a live connection.
var (
	// ErrNoServer is returned if nobody serves the database through its socket, or if
	// the server went before it had answered. Nothing was done.
	ErrNoServer = errors.New("no server answers")

	// ErrLost is returned if the connection to the server broke. A transaction that
	// was open is rolled back.
	ErrLost = errors.New("sqlite-mem: the connection to the server is lost")

	// ErrCommitUnknown is returned if the connection to the server broke between a
	// COMMIT and its answer. A statement that commits by itself counts as a COMMIT. It
	// may have been committed or not. The error never wraps driver.ErrBadConn, because
	// a caller has to look before it tries again.
	ErrCommitUnknown = errors.New("sqlite-mem: the connection to the server is lost, and whether the statement was committed is not known")
)

const (
	// cancelGrace is how long a tool waits for the answer to a request that its context
	// has ended. An interrupt takes microseconds; a server that is stopped never
	// answers.
	cancelGrace = 5 * time.Second

	// tidyTime is how long the end of rows, of a statement or of a transaction may
	// take, which database/sql asks for without a context. Afterwards the connection is
	// closed, and the server does the same.
	tidyTime = 10 * time.Second
)

// Dialer says how to connect to the server of a database.
type Dialer struct {
	Path   string            // the database file, absolute and resolved
	Params map[string]string // for ServerConfig.Connect

	// Control means that the connection is for Conn.Control only.
	Control bool

	// Location, if not nil, is the location of all times that are read.
	Location *time.Location

	// DecodeError returns the error that EncodeError has encoded, nil if it cannot.
	DecodeError func([]byte) error

	// Committed, if not nil, is called with the server's Info after each request that may
	// have committed something, before its result is returned.
	Committed func(info string)
}

// Connect connects to the server. It waits until ctx ends for a server that does not
// answer yet. Such a server is loading, saving for the last time, or has as many
// tools as it takes. If there is no server, the error is ErrNoServer.
func (d *Dialer) Connect(ctx context.Context) (*Conn, error) {
	c, err := d.connect(ctx)
	if err != nil {
		if !errors.Is(err, errAnswered) {
			err = fmt.Errorf("sqlite-mem: %s: %w", SocketName(d.Path), err)
		}
		return nil, err
	}
	return c, nil
}

// errAnswered marks an error that the server has given, which is returned as it is.
var errAnswered = errors.New("answered")

type answeredError struct{ error }

func (e answeredError) Is(err error) bool { return err == errAnswered }
func (e answeredError) Unwrap() error     { return e.error }

func (d *Dialer) connect(ctx context.Context) (_ *Conn, err error) {
	nc, err := dial(ctx, d.Path)
	switch {
	case err == nil:
	case isNobody(err):
		return nil, fmt.Errorf("%w: %w", ErrNoServer, err)
	default:
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = nc.Close()
		}
	}()
	peer, err := peerOf(nc)
	if err != nil {
		return nil, err
	}
	if !trusts(peer.UID, d.Path) {
		return nil, fmt.Errorf("user %d listens there, who is neither root, nor the owner of the file, nor the user of this process", peer.UID)
	}
	c := &Conn{dialer: d, net: nc, wire: newWire(nc), server: peer, quiet: func() bool { return quiet(nc) }}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Now()) })
	why, err := c.greet()
	if !stop() {
		return nil, fmt.Errorf("%s: %w", why, context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// greet is the handshake. why says what it was waiting for.
func (c *Conn) greet() (why string, err error) {
	why = "the server has not answered; it is loading or saving the database"
	if c.server.PID != 0 {
		why = fmt.Sprintf("the server, process %d, has not answered; it is loading or saving the database", c.server.PID)
	}
	h := encode(hello{Version: Version, Params: c.dialer.Params, Control: c.dialer.Control})
	if len(h) > helloLimit {
		return why, fmt.Errorf("the parameters of the data source name take %d bytes, more than %d", len(h), helloLimit)
	}
	// A server that refuses may have closed the connection already, and its reason can
	// still be read.
	_, werr := c.wire.write(kindHello, h)
	for {
		kind, b, err := c.wire.read(helloLimit, nil)
		switch {
		case errors.Is(err, errProtocol):
			return why, err
		case err != nil:
			return why, fmt.Errorf("%w: %w", ErrNoServer, errors.Join(werr, err))
		case kind == kindWait:
			why = string(b)
			continue
		case kind != kindHello:
			return why, fmt.Errorf("%w: hello was answered by a message of kind %q", errProtocol, kind)
		}
		var reply welcome
		if _, err := decode(b, &reply); err != nil {
			return why, err
		}
		if reply.Err != nil {
			return why, answeredError{reply.Err.decode(c.dialer.DecodeError)}
		}
		if reply.Version != Version {
			return why, fmt.Errorf("%w: the server answered with version %d to %d", errProtocol, reply.Version, Version)
		}
		c.info = reply.Info
		return why, nil
	}
}

// Conn is a connection to the server.
//
// database/sql uses it from one goroutine at a time. Only a cancellation is sent
// from another one, under the lock of wire.
type Conn struct {
	dialer *Dialer
	net    net.Conn
	wire   *wire
	server Peer
	info   string
	quiet  func() bool           // nothing is to be read, and the server has not ended
	pinged func(context.Context) // called by Ping; see OnPing
	closed func() error          // called by the first Close; see OnClose

	n      uint64 // the last request
	inTx   bool   // the server said so last
	tx     bool   // BeginTx has begun a transaction, and it has not ended
	open   int    // rows that are not closed
	broken error  // why it cannot be used any more; nil: it can
}

var (
	_ driver.Conn               = (*Conn)(nil)
	_ driver.ConnPrepareContext = (*Conn)(nil)
	_ driver.ExecerContext      = (*Conn)(nil)
	_ driver.QueryerContext     = (*Conn)(nil)
	_ driver.ConnBeginTx        = (*Conn)(nil)
	_ driver.Pinger             = (*Conn)(nil)
	_ driver.SessionResetter    = (*Conn)(nil)
	_ driver.Validator          = (*Conn)(nil)
	_ driver.NamedValueChecker  = (*Conn)(nil)
)

// Server is the process at the other end.
func (c *Conn) Server() Peer { return c.server }

// Info is the ServerConfig.Info of the server.
func (c *Conn) Info() string { return c.info }

// InTransaction reports whether a transaction was open after the last request.
func (c *Conn) InTransaction() bool { return c.inTx }

// outcome says what a lost answer means.
type outcome uint8

const (
	harmless      outcome = iota // nothing can have been committed: ErrLost
	committed                    // something may have been: ErrCommitUnknown. An interrupt undoes it
	partCommitted                // as committed, but an interrupt leaves what was committed before it
	halfway                      // as harmless, and part of a whole that must not be tried again: never ErrBadConn
	halfCommitted                // as halfway, and the whole may have been committed before
)

// commits reports whether something may have been committed.
func (o outcome) commits() bool { return o == committed || o == partCommitted || o == halfCommitted }

// call sends a request and waits for its answer. args stand behind the request,
// stream gets what the server sends before the answer. The values behind the answer
// are valid until the next call.
func (c *Conn) call(ctx context.Context, req *request, o outcome, stream io.Writer) (ans *answer, values []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	c.hear()
	if c.broken != nil {
		return nil, nil, c.notBegun(o)
	}
	args, err := appendArgs(nil, req.args)
	if err != nil {
		return nil, nil, err
	}
	c.n++
	req.N = c.n
	head := encode(req)
	if n := len(head) + len(args); n > messageLimit {
		return nil, nil, fmt.Errorf("sqlite-mem: a statement with its arguments has %d bytes, a live connection takes %d", n, messageLimit)
	}
	defer c.cancelWith(ctx, req.N, stream)()
	begun, err := c.wire.write(kindRequest, head, args)
	if err != nil {
		// The server does not run a request of which it has a part.
		c.fail(err)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if begun && o < halfway {
			return nil, nil, c.lost(harmless)
		}
		return nil, nil, c.notBegun(o)
	}
	if req.body != nil {
		if err := c.upload(ctx, req); err != nil {
			return nil, nil, err
		}
	}
	ans, values, err = c.await(req.N, stream)
	if f := c.dialer.Committed; f != nil && err != errNotBegun && o.commits() {
		f(c.info)
	}
	switch {
	case err == errNotBegun:
		return nil, nil, c.notBegun(o)
	case err != nil:
		c.fail(err)
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("%w: %w", ctx.Err(), c.lost(o))
		}
		return nil, nil, c.lost(o)
	}
	wasInTx := c.inTx
	c.inTx = ans.InTx
	if ans.Err == nil {
		return ans, values, nil
	}
	err = ans.Err.decode(c.dialer.DecodeError)
	switch {
	case ctx.Err() != nil && ans.Err.Kind == errCanceled:
		err = ans.Err.wrap(ctx.Err())
	case err == driver.ErrBadConn:
		c.broken = errors.New("the server's connection cannot be used any more")
		c.inTx = wasInTx
		err = c.notBegun(o)
	case ans.Err.Kind == errClosing:
		err = c.interrupted(ans.Err, o)
	}
	return nil, nil, err
}

// errNotBegun means that the server said that it ends, and that the request did not
// begin.
var errNotBegun = errors.New("not begun")

// await reads the answer to request n.
func (c *Conn) await(n uint64, stream io.Writer) (*answer, []byte, error) {
	var failed error // of stream; the rest of it is read and thrown away
	for {
		kind, b, err := c.wire.read(messageLimit, nil)
		if err != nil {
			return nil, nil, err
		}
		switch kind {
		case kindAnswer:
			ans := new(answer)
			values, err := decode(b, ans)
			if err == nil && ans.N != n {
				err = fmt.Errorf("%w: an answer to request %d, not %d", errProtocol, ans.N, n)
			}
			if err == nil && failed != nil {
				ans.Err = nil
				return ans, nil, nil
			}
			return ans, values, err
		case kindData:
			if stream == nil {
				return nil, nil, fmt.Errorf("%w: a stream that was not asked for", errProtocol)
			}
			if failed == nil {
				if _, failed = stream.Write(b); failed != nil {
					c.cancel(n)
				}
			}
		case kindBye:
			if last := c.bye(b); last >= n {
				return nil, nil, fmt.Errorf("%w: the end without an answer to request %d", errProtocol, n)
			}
			return nil, nil, errNotBegun
		default:
			return nil, nil, fmt.Errorf("%w: a message of kind %q", errProtocol, kind)
		}
	}
}

// cancelWith cancels request n when ctx ends. The returned function ends that. It
// also ends the time limit that a cancellation has set, even for a stream that
// failed.
func (c *Conn) cancelWith(ctx context.Context, n uint64, stream io.Writer) func() {
	forget := func() { _ = c.net.SetDeadline(time.Time{}) } // if that fails the next call does
	if ctx.Done() == nil {
		if stream == nil {
			return func() {}
		}
		return forget
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		c.cancel(n)
	})
	return func() {
		stopped := stop()
		if !stopped {
			<-ended
		}
		if !stopped || stream != nil {
			forget()
		}
	}
}

// cancel asks the server to cancel request n. From now on neither side has long.
func (c *Conn) cancel(n uint64) {
	_ = c.net.SetDeadline(time.Now().Add(cancelGrace)) // it fails if the connection has
	_, _ = c.wire.write(kindCancel, appendHead(nil, majorUint, n))
}

// hear finds out whether the server has ended the connection, and reads why.
func (c *Conn) hear() {
	if c.broken != nil || c.wire.r.Buffered() == 0 && c.quiet() {
		return
	}
	_ = c.net.SetReadDeadline(time.Now().Add(cancelGrace)) // the connection ends here
	kind, b, err := c.wire.read(helloLimit, nil)
	switch {
	case err != nil:
		c.fail(err)
	case kind == kindBye:
		c.bye(b)
	default:
		c.fail(fmt.Errorf("%w: a message of kind %q", errProtocol, kind))
	}
}

// bye takes the last message of the server, and returns the last request that has begun.
func (c *Conn) bye(b []byte) (last uint64) {
	var m bye
	if _, err := decode(b, &m); err != nil {
		c.fail(err)
		return c.n // for all that is known
	}
	c.fail(errors.New(m.Reason))
	return m.Last
}

// fail ends the connection.
func (c *Conn) fail(why error) {
	if errors.Is(why, io.EOF) || errors.Is(why, io.ErrUnexpectedEOF) {
		why = errors.New("the server has ended")
	}
	c.broken = cause(why)
	_ = c.net.Close() // the server rolls back what is open
}

// cause is err without the address, which may be one of this process only.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// notBegun is the error of a request of which the server has begun nothing.
func (c *Conn) notBegun(o outcome) error {
	switch {
	case o >= halfway:
		return c.lost(o)
	case c.inTx || c.tx:
		return c.lost(harmless)
	}
	return driver.ErrBadConn
}

// interrupted is the error of a request that the end of the session has interrupted.
func (c *Conn) interrupted(why *wireError, o outcome) error {
	c.broken = errors.New(why.Text)
	if o == committed {
		o = harmless
	}
	return c.lost(o)
}

// lost is the error of a request that the server may have begun.
func (c *Conn) lost(o outcome) error {
	if o.commits() {
		return fmt.Errorf("%w: %w", ErrCommitUnknown, c.broken)
	}
	return fmt.Errorf("%w: %w", ErrLost, c.broken)
}

// Control makes a request that is not SQL: see ServerConfig.Control. The server's
// stream is written to w.
func (c *Conn) Control(ctx context.Context, name string, data []byte, w io.Writer) ([]byte, error) {
	var keep keepError
	var stream io.Writer
	if w != nil {
		keep.Writer = w
		stream = &keep
	}
	ans, _, err := c.call(ctx, &request{Op: opControl, Text: name, Data: data}, harmless, stream)
	if keep.err != nil {
		return nil, keep.err
	}
	if err != nil {
		return nil, err
	}
	return ans.Data, nil
}

// keepError keeps the error of a Writer.
type keepError struct {
	io.Writer
	err error
}

func (w *keepError) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.err = err
	return n, err
}

// OnPing has every Ping of the connection call f with its context, in this process.
func (c *Conn) OnPing(f func(context.Context)) { c.pinged = f }

// Ping asks the server.
func (c *Conn) Ping(ctx context.Context) error {
	if c.pinged != nil {
		c.pinged(ctx)
	}
	_, _, err := c.call(ctx, &request{Op: opPing}, harmless, nil)
	return err
}

// ResetSession is called before the connection is used again.
func (c *Conn) ResetSession(context.Context) error {
	c.hear()
	if c.broken != nil {
		return driver.ErrBadConn
	}
	return nil
}

// IsValid is called when the connection goes back to the pool. It ends whatever is
// open. Most often nothing is open, and the server need not be asked.
func (c *Conn) IsValid() bool {
	if c.broken == nil && (c.inTx || c.tx || c.open > 0) {
		c.tidy(&request{Op: opReset}, halfway)
		c.tx, c.open = false, 0
		if c.broken == nil && c.inTx {
			c.fail(errors.New("its transaction could not be ended"))
		}
	}
	return c.broken == nil
}

// tidy makes a request that ends something. It takes no context, and no long time. o is the
// outcome of a lost answer, halfway or halfCommitted.
func (c *Conn) tidy(req *request, o outcome) error {
	ctx, cancel := context.WithTimeout(context.Background(), tidyTime)
	defer cancel()
	_, _, err := c.call(ctx, req, o, nil)
	if err != nil && ctx.Err() != nil && c.broken == nil {
		c.fail(err)
	}
	return err
}

// OnClose has the first Close of the connection call f at its end, and return its error.
func (c *Conn) OnClose(f func() error) { c.closed = f }

// Close closes the connection. The server rolls back an open transaction.
func (c *Conn) Close() error {
	if c.broken == nil {
		c.broken = errors.New("it was closed")
	}
	err := c.net.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	if f := c.closed; f != nil {
		c.closed = nil
		err = errors.Join(err, f())
	}
	return err
}
