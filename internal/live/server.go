package live

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Peer is the process at the other end, as the kernel tells.
type Peer struct {
	UID uint32 // its user
	PID int    // 0: not known

	// Trusted is true if the user is root or that of this process. A root server must
	// not open files for anybody else, because that user may not be allowed to open
	// them.
	Trusted bool
}

// Defaults of a ServerConfig.
const (
	DefaultLimit = 64

	// DefaultIdle is less than the 60 s for which a writer waits by default. So a tool
	// that somebody has left in a transaction costs the others time, but no error.
	DefaultIdle = 30 * time.Second
)

const (
	// rowsFactor times Idle is how long a tool may leave rows unfetched. They keep old
	// pages, but nobody waits for them. A person who pages through a result takes
	// minutes.
	rowsFactor = 10

	// handshakeTime is how long a tool may take to send its first message.
	handshakeTime = 10 * time.Second

	// closeGrace is how long a session may take to tell its tool that it is over. A
	// tool that does not read then is cut off.
	closeGrace = 2 * time.Second

	// These bound the memory that a session takes.
	maxPrepared     = 10_000
	maxPreparedText = 16 << 20 // bytes of all of them together
	maxOpenRows     = 1_000
)

// ServerConfig says how to serve a database.
type ServerConfig struct {
	Path string // the database file, absolute and resolved; the socket is SocketName(Path)
	Info string // for Conn.Info of the tools: of this server, and no other one

	// Connect opens the connection of a tool. It may take as long as a load: ctx ends
	// when the tool gives up or the server closes. The connection must have the
	// context methods of database/sql/driver (ExecerContext, QueryerContext,
	// ConnPrepareContext, ConnBeginTx), and its statements theirs.
	//
	// end ends the connection soon, as Close does, and tells the tool the reason. Any
	// goroutine may call it at any time.
	//
	// Three methods are optional. InTransaction() bool of the connection reports whether
	// a transaction is open that a statement began. HoldsLock() bool reports whether it has
	// a lock for which others wait; without it, each transaction may. ReadAhead() bool of its rows
	// reports whether they may be fetched before they are asked for. Rows without this
	// method may.
	Connect func(ctx context.Context, peer Peer, params map[string]string, end func(reason string)) (driver.Conn, error)

	// Control runs requests that are not SQL. body is the stream of the tool, nil if there
	// is none: see Conn.Upload. The bytes written to w reach the tool as a stream, before
	// the result. If Control is nil, there are no such requests.
	Control func(ctx context.Context, peer Peer, name string, data []byte, body io.Reader, w io.Writer) ([]byte, error)

	// Waits reports whether somebody waits for a lock that the connection holds. It is
	// asked from time to time while a tool leaves a transaction idle. nil: always.
	Waits func(driver.Conn) bool

	// EncodeError encodes an error for the DecodeError of the tool. It returns nil for
	// an unknown error; the tool then gets only the text.
	EncodeError func(error) []byte

	Limit  int           // connections at a time, and as many for controls; 0: DefaultLimit
	Idle   time.Duration // how long a tool may leave a transaction idle while others wait; 0: DefaultIdle
	Logger *slog.Logger  // nil: slog.Default()
}

// Server serves a database to the tools of this machine.
type Server struct {
	cfg ServerConfig

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	// pending has room for all connections, those that wait for a slot included.
	// Beyond that they wait in the kernel, before Accept.
	pending chan struct{}

	// These have room for Limit sessions each. Controls have their own, as somebody may save
	// or watch while all others are in use, and watchers stay.
	slots, controls chan struct{}

	// The rooms bound the memory of requests, however many tools there are. A request may
	// have room, and wait for the lock of a connection whose next request needs room. So
	// connections that hold a lock have a room of their own. One that waits for a second lock,
	// that of an attached database, may still be in the way of such a one, until Idle.
	alone, locks room

	wg sync.WaitGroup // the goroutines

	mu      sync.Mutex // guards the fields below
	socket  *socket
	wires   map[net.Conn]struct{}
	refused map[uint32]bool // the users that the log was told of
	closed  bool
}

// Listen begins to serve. The caller must have the process lock of the database.
func Listen(cfg ServerConfig) (*Server, error) {
	socket, err := bind(cfg.Path)
	if err != nil {
		return nil, err
	}
	s := newServer(cfg)
	s.socket = socket
	s.wg.Go(func() { s.accept(socket) })
	return s, nil
}

// Check makes sure that tools find the socket. If somebody has removed or replaced it,
// Check makes it again. The connections so far go on. After an error tools find no socket,
// and Check may be called again. The function owned makes sure that the caller has the
// process lock. If not, the socket there is another process's.
func (s *Server) Check(owned func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.socket.hasName() {
		return nil
	}
	if err := owned(); err != nil {
		return err
	}
	socket, err := bind(s.cfg.Path)
	if err != nil {
		return err
	}
	old := s.socket
	s.socket = socket
	s.wg.Go(func() { s.accept(socket) }) // Close waits for it, because closed is false
	_ = old.Close()                      // ends its accept; nobody can find it any more
	return nil
}

func newServer(cfg ServerConfig) *Server {
	if cfg.Limit == 0 {
		cfg.Limit = DefaultLimit
	}
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Server{
		cfg:      cfg,
		pending:  make(chan struct{}, 4*cfg.Limit),
		slots:    make(chan struct{}, cfg.Limit),
		controls: make(chan struct{}, cfg.Limit),
		alone:    room{free: roomSize},
		locks:    room{free: roomSize},
		wires:    make(map[net.Conn]struct{}),
		refused:  make(map[uint32]bool),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close removes the socket, interrupts what runs for tools, rolls their transactions
// back and closes their connections. It waits for that, but no longer than ctx. If
// ctx ends first, Close returns an error, and each session ends when its running
// call ends.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	first, socket := !s.closed, s.socket
	s.closed = true
	s.mu.Unlock()
	var err error
	if first {
		err = socket.close()
		s.cancel()
	}
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	for {
		select {
		case <-done:
			return err
		case <-grace.C:
			s.cut()
		case <-ctx.Done():
			return errors.Join(err, fmt.Errorf("sqlite-mem: %s: %d live connections have not ended: %w", s.cfg.Path, s.cut(), ctx.Err()))
		}
	}
}

// Tools is the number of connections that tools have, those for controls left out.
func (s *Server) Tools() int { return len(s.slots) }

// cut closes all connections and returns how many there were.
func (s *Server) cut() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.wires {
		_ = c.Close()
	}
	return len(s.wires)
}

// accept accepts connections until the socket is closed.
func (s *Server) accept(socket *socket) {
	pause := time.Millisecond
	for {
		select {
		case s.pending <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		c, err := socket.AcceptUnix()
		if err == nil && !s.add(c) {
			err = errors.Join(net.ErrClosed, c.Close())
		}
		if err == nil {
			pause = time.Millisecond
			s.wg.Go(func() { s.serve(c) })
			continue
		}
		<-s.pending
		if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		// No descriptors are left, or the tool was gone before it was accepted.
		if pause == time.Millisecond {
			s.cfg.Logger.Warn("sqlite-mem: a tool could not be accepted", "path", s.cfg.Path, "error", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, time.Second)
	}
}

// add counts a connection. It returns false if the server is closed.
func (s *Server) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wires[c] = struct{}{}
	return true
}

// drop closes a connection and counts it no more.
func (s *Server) drop(c net.Conn) {
	_ = c.Close() // by now nothing depends on it
	s.mu.Lock()
	delete(s.wires, c)
	s.mu.Unlock()
	<-s.pending
}

// serve is the life of a connection: the handshake, then the reader of its session.
func (s *Server) serve(c *net.UnixConn) {
	defer s.drop(c)
	w := newWire(c)
	peer, err := peerOf(c)
	if err != nil {
		s.cfg.Logger.Error("sqlite-mem: a tool was turned away", "path", s.cfg.Path, "error", err)
		return
	}
	if !trusts(peer.UID, s.cfg.Path) {
		s.refuse(w, peer)
		return
	}
	s.talk(c, w, peer)
}

// talk is serve with a peer who may connect.
func (s *Server) talk(c net.Conn, w *wire, peer Peer) {
	_ = c.SetReadDeadline(time.Now().Add(handshakeTime))
	// A peer that says nothing must not delay Close.
	stop := context.AfterFunc(s.ctx, func() { _ = c.SetReadDeadline(time.Now()) })
	h, err := readHello(w)
	if !stop() {
		return // the tool finds no server, and looks again
	}
	if err != nil {
		s.turnAway(w, err.Error())
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	session := newSession(s, w, peer)
	worker := make(chan struct{})
	s.wg.Go(func() {
		defer close(worker)
		session.work(h)
	})
	session.read()
	<-worker       // it may still have a last word
	session.give() // of a request that did not begin
}

// readHello reads the first message.
func readHello(w *wire) (h hello, err error) {
	kind, b, err := w.read(helloLimit, nil)
	switch {
	case err != nil:
		return h, err
	case kind != kindHello:
		return h, fmt.Errorf("%w: it begins with a message of kind %q", errProtocol, kind)
	}
	// Another version may have other things behind its version.
	var v struct {
		Version int `cbor:"1,keyasint"`
	}
	if _, err := decode(b, &v); err != nil {
		return h, err
	}
	if v.Version != Version {
		return h, fmt.Errorf("sqlite-mem: the tool speaks version %d of the live protocol, the server version %d; use the same version of sqlite-mem for both", v.Version, Version)
	}
	rest, err := decode(b, &h)
	switch {
	case err != nil:
		return h, err
	case len(rest) > 0:
		return h, fmt.Errorf("%w: bytes behind hello", errProtocol)
	}
	return h, nil
}

// refuse turns a user away, and tells the log once.
func (s *Server) refuse(w *wire, peer Peer) {
	const many = 100 // users that are remembered; the log is not told of more
	s.mu.Lock()
	tell := !s.refused[peer.UID] && len(s.refused) < many
	if tell {
		s.refused[peer.UID] = true
	}
	s.mu.Unlock()
	if tell {
		s.cfg.Logger.Warn("sqlite-mem: a tool of another user was turned away", "path", s.cfg.Path, "uid", peer.UID, "pid", peer.PID)
	}
	s.turnAway(w, fmt.Sprintf("sqlite-mem: %s: the server does not serve user %d: it serves its own user, root and the owner of the file", s.cfg.Path, peer.UID))
}

// turnAway answers hello with a refusal.
func (s *Server) turnAway(w *wire, text string) {
	_ = w.c.SetWriteDeadline(time.Now().Add(closeGrace))
	// The tool may be gone, and hears no more of it.
	_, _ = w.write(kindHello, encode(welcome{Version: Version, Err: &wireError{Text: text}}))
}
