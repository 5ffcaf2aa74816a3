package live

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

// session is a tool's connection, in the server.
type session struct {
	srv  *Server
	wire *wire
	peer Peer

	ctx    context.Context // ends with the tool or the server, or by end
	cancel context.CancelCauseFunc

	// requests has room for one, as a tool sends no other before the answer.
	requests chan *request

	mu      sync.Mutex // guards what follows
	running running
	came    uint64         // the last request that has come
	early   uint64         // a request that was cancelled before it has come
	locked  bool           // the connection held a lock after the last answer
	room    *room          // where held was taken
	held    int64          // the room of the request that comes or runs; 0: it needs none
	upload  *io.PipeWriter // of the stream that comes; nil: none

	// The fields below belong to the worker.
	conn   driver.Conn // nil: it answers controls only
	tx     driver.Tx   // begun by opBegin; nil: none
	stmts  map[uint64]driver.Stmt
	texts  map[uint64]int // length of the text of each of stmts
	text   int            // sum of texts
	rows   map[uint64]*openRows
	lastID uint64 // of stmts and rows
	last   uint64 // the last request that was begun
	reason string // why the session ends
	dest   []driver.Value
	out    values // of the answer
}

// running is the request that is running.
type running struct {
	n         uint64 // 0: none
	cancelled bool
	cancel    context.CancelFunc // nil: not known yet
}

// openRows are rows of which the tool has not had all.
type openRows struct {
	driver.Rows
	ahead   func() bool // nil: yes
	cancel  context.CancelFunc
	columns int
	taken   bool // a batch of it
}

func newSession(srv *Server, w *wire, peer Peer) *session {
	s := &session{
		srv: srv, wire: w, peer: peer,
		requests: make(chan *request, 1),
		stmts:    make(map[uint64]driver.Stmt),
		texts:    make(map[uint64]int),
		rows:     make(map[uint64]*openRows),
	}
	s.ctx, s.cancel = context.WithCancelCause(srv.ctx)
	return s
}

// endError is the cause of a context that endBy has ended: the reason for the tool.
type endError string

func (e endError) Error() string { return string(e) }

// endBy is the end of ServerConfig.Connect. The worker ends the session, as it makes all
// calls of the connection.
func (s *session) endBy(reason string) { s.cancel(endError(reason)) }

// errGone is the cause of a context that ends with the tool.
var errGone = errors.New("live: the tool has gone")

// ending returns the reason why the session must end, for the tool. It is empty if the
// session need not end, or the tool has gone.
func (s *session) ending() string {
	if s.ctx.Err() == nil {
		return ""
	}
	cause := context.Cause(s.ctx)
	if cause == errGone {
		return ""
	}
	if e, ok := cause.(endError); ok {
		return string(e)
	}
	return "the server is closing"
}

// read is the reader. It ends when the tool has gone, has broken the protocol, or
// the worker has closed the connection.
func (s *session) read() {
	defer s.cancel(errGone)
	large := false
	enter := func(kind byte, n int) error {
		large = true
		if err := s.enter(kind, n); err != nil {
			return err
		}
		return s.wire.c.SetReadDeadline(time.Now().Add(s.srv.cfg.Idle))
	}
	for {
		large = s.limitUpload()
		kind, b, err := s.wire.read(messageLimit, enter)
		if err == nil && !s.receive(kind, b) {
			err = errProtocol
		}
		if err != nil {
			s.endUpload(err)
			switch {
			case errors.Is(err, errProtocol):
				s.endBy("the tool has broken the protocol of a live connection")
			case errors.Is(err, os.ErrDeadlineExceeded):
				s.endBy(fmt.Sprintf("a request did not come whole within %v", s.srv.cfg.Idle))
			}
			return
		}
		if large {
			large = false
			_ = s.wire.c.SetReadDeadline(time.Time{}) // if that fails the next read does
		}
	}
}

// enter takes room for a message of n bytes, which must be the next request.
func (s *session) enter(kind byte, n int) error {
	s.mu.Lock()
	r := &s.srv.alone
	if s.locked {
		r = &s.srv.locks
	}
	busy := s.running.n != 0
	s.mu.Unlock()
	if kind != kindRequest || busy {
		return errProtocol
	}
	if err := r.take(s.ctx, weight(n)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room, s.held = r, weight(n)
	return nil
}

// give gives the room of a request back.
func (s *session) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held > 0 {
		s.room.give(s.held)
		s.held = 0
	}
}

// receive takes a message. It returns false if the message is not of the protocol.
func (s *session) receive(kind byte, b []byte) bool {
	switch kind {
	case kindCancel:
		major, n, rest, err := head(b)
		if err != nil || major != majorUint || len(rest) > 0 {
			return false
		}
		s.cancelRequest(n)
		return true
	case kindRequest:
		req := new(request)
		rest, err := decode(b, req)
		if err == nil {
			req.args, err = readArgs(rest)
		}
		for i := range req.args {
			if _, ok := req.args[i].Value.([]byte); ok {
				s.wire.take() // it is part of the message
				break
			}
		}
		if err != nil || req.Upload && req.Op != opControl || !s.begin(req.N) {
			return false
		}
		if req.Upload {
			s.openUpload(req)
		}
		s.requests <- req // there is room: begin has made sure
		return true
	case kindData:
		return s.piece(b)
	}
	return false
}

// begin notes a request that has come. It returns false if the one before is not
// answered, or if the number is not greater.
func (s *session) begin(n uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running.n != 0 || n <= s.came {
		return false
	}
	s.running, s.came = running{n: n, cancelled: n == s.early}, n
	return true
}

// cancelRequest cancels the request n if it is running, or when it comes. If the way to
// cancel it is not known yet, register does it.
func (s *session) cancelRequest(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case n > s.came:
		s.early = n
	case s.running.n == n && n != 0:
		s.running.cancelled = true
		if s.running.cancel != nil {
			s.running.cancel()
		}
	}
}

// register says how the running request is cancelled.
func (s *session) register(cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running.cancel = cancel
	if s.running.cancelled {
		cancel()
	}
}

// answered ends the running request. No cancellation reaches it any more.
func (s *session) answered(locked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.locked = running{}, locked
}

// work is the worker. It makes all calls of the connection.
func (s *session) work(h hello) {
	defer func() { _ = s.wire.c.Close() }() // ends the reader
	defer s.cancel(nil)
	slots, what := s.srv.slots, "live connections"
	if h.Control {
		slots, what = s.srv.controls, "connections for controls"
	}
	select {
	case slots <- struct{}{}:
	default:
		// Should the tool not hear of it, it waits without knowing why.
		_ = s.send(kindWait, []byte(fmt.Sprintf("all %d %s of the server are in use", cap(slots), what)))
		select {
		case slots <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
	}
	defer func() { <-slots }()
	if !s.open(h) {
		return
	}
	defer s.end()
	var timer *time.Timer
	idle := time.Duration(0) // since the last request, as far as it was waited for
	for {
		var tick <-chan time.Time
		if pause := s.pause(idle); pause > 0 {
			if timer == nil {
				timer = time.NewTimer(pause)
				defer timer.Stop()
			} else {
				timer.Reset(pause)
			}
			tick = timer.C
			idle += pause
		}
		if s.ctx.Err() != nil {
			s.reason = s.ending()
			return // not by chance another request
		}
		select {
		case req := <-s.requests:
			if !s.answer(req) {
				return
			}
			idle = 0
		case <-tick:
			if s.reason = s.overdue(idle); s.reason != "" {
				return
			}
		case <-s.ctx.Done():
		}
	}
}

// pause is how long an idle session waits before it looks whether the tool keeps
// others waiting. It is 0 if the tool cannot.
func (s *session) pause(idle time.Duration) time.Duration {
	limit := s.srv.cfg.Idle
	switch {
	case !s.inTx() && len(s.rows) == 0:
		return 0
	case idle < limit:
		return limit - idle
	}
	return min(limit, time.Second)
}

// overdue returns the reason why an idle session must end. It is empty if the
// session need not end.
func (s *session) overdue(idle time.Duration) string {
	limit := s.srv.cfg.Idle
	if s.inTx() && idle >= limit && (s.srv.cfg.Waits == nil || s.srv.cfg.Waits(s.conn)) {
		return fmt.Sprintf("the transaction was idle for %v while others waited for it, and was rolled back", limit)
	}
	if len(s.rows) > 0 && idle >= rowsFactor*limit {
		return fmt.Sprintf("no rows were fetched for %v", rowsFactor*limit)
	}
	return ""
}

// open opens the connection and answers hello.
func (s *session) open(h hello) (ok bool) {
	reply := welcome{Version: Version, Info: s.srv.cfg.Info}
	if !h.Control {
		err := s.guard(func() (err error) {
			s.conn, err = s.srv.cfg.Connect(s.ctx, s.peer, h.Params, s.endBy)
			return err
		})
		if err == nil {
			err = usable(s.conn)
		}
		if s.ctx.Err() != nil && err != nil {
			s.closeConn() // that was no use
			return false  // nobody waits for the answer, or the server's end is the reason
		}
		reply.Err = encodeError(err, s.srv.cfg.EncodeError)
	}
	err := s.send(kindHello, encode(reply))
	if err != nil || reply.Err != nil {
		s.closeConn()
		return false
	}
	return true
}

// usable reports whether a connection has the methods that a session calls.
func usable(c driver.Conn) error {
	_, exec := c.(driver.ExecerContext)
	_, query := c.(driver.QueryerContext)
	_, prepare := c.(driver.ConnPrepareContext)
	_, begin := c.(driver.ConnBeginTx)
	if !exec || !query || !prepare || !begin {
		return fmt.Errorf("sqlite-mem: a %T cannot be used by a tool: it has not all context methods", c)
	}
	return nil
}

// end rolls back, closes the connection and says goodbye.
func (s *session) end() {
	s.closeConn()
	if s.reason == "" {
		return // the tool has gone, or has its answer
	}
	_ = s.wire.c.SetWriteDeadline(time.Now().Add(closeGrace))
	// A tool that does not hear of it finds the connection closed.
	_, _ = s.wire.write(kindBye, encode(bye{Reason: s.reason, Last: s.last}))
}

// closeConn closes what the tool has left open.
func (s *session) closeConn() {
	if s.conn == nil {
		return
	}
	err := s.guard(func() error {
		var errs []error
		for _, r := range s.rows {
			errs = append(errs, r.Close())
			r.cancel()
		}
		for _, st := range s.stmts {
			errs = append(errs, st.Close())
		}
		return errors.Join(errs...)
	})
	// It rolls back, also after a panic, because the locks must be free.
	err = errors.Join(err, s.guard(s.conn.Close))
	s.conn, s.tx, s.rows, s.stmts = nil, nil, nil, nil
	if err != nil {
		s.srv.cfg.Logger.Error("sqlite-mem: the end of a live connection", "path", s.srv.cfg.Path, "pid", s.peer.PID, "error", err)
	}
}

// errPanic is the error of a call that has ended in a panic.
var errPanic = errors.New("sqlite-mem: a panic in the server; its log says more")

// guard calls f. A panic, which may come from the code of a user that SQLite calls,
// ends the session and not the server.
func (s *session) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.srv.cfg.Logger.Error("sqlite-mem: a panic in a live connection", "path", s.srv.cfg.Path, "pid", s.peer.PID,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}

// send sends a message. For each piece, a tool that does not read gets the time of an
// idle transaction, as it may hold locks meanwhile.
func (s *session) send(kind byte, parts ...[]byte) error {
	_, err := s.wire.writeWithin(s.srv.cfg.Idle, kind, parts...)
	return err
}

// answer runs a request and answers it. It returns false if the session is over.
func (s *session) answer(req *request) bool {
	s.last = req.N
	ans := &answer{N: req.N}
	s.out.reset()
	err := s.guard(func() error { return s.run(req, ans) })
	*req = request{N: req.N} // its arguments take the room that it gives back
	s.give()
	if err != nil {
		*ans = answer{N: req.N, Err: s.encode(err)}
		s.out.reset()
	}
	ans.InTx = s.inTx()
	head := encode(ans)
	if n := len(head) + s.out.size; n > messageLimit {
		s.out.reset()
		head = encode(&answer{N: ans.N, InTx: ans.InTx, Err: &wireError{Text: fmt.Sprintf("sqlite-mem: an answer has %d bytes, a live connection takes %d", n, messageLimit)}})
	}
	s.answered(s.holdsLock())
	failed := s.send(kindAnswer, append([][]byte{head}, s.out.parts()...)...)
	s.out.reset()
	clear(s.dest) // a large row is no reason to keep its memory
	switch {
	case failed != nil, errors.Is(err, errProtocol):
		return false
	case err == driver.ErrBadConn, err == errPanic:
		s.reason = "the connection in the server cannot be used any more"
		return false
	}
	return true
}

// encode encodes the error of a call of the connection. If the end of the session has
// interrupted the call, the tool is told so, as no context of its own has ended.
func (s *session) encode(err error) *wireError {
	e := encodeError(err, s.srv.cfg.EncodeError)
	// An error that EncodeError knows may wrap the end of a context, and tell of a commit.
	if reason := s.ending(); reason != "" && e != nil && e.Kind == errCanceled {
		return &wireError{Kind: errClosing, Text: reason + "; the statement was interrupted"}
	}
	return e
}

// inTx reports whether a transaction is open.
func (s *session) inTx() bool {
	if s.tx != nil {
		return true
	}
	c, ok := s.conn.(interface{ InTransaction() bool })
	return ok && c.InTransaction()
}

// holdsLock reports whether the connection may hold a lock for which others wait.
func (s *session) holdsLock() bool {
	if c, ok := s.conn.(interface{ HoldsLock() bool }); ok {
		return c.HoldsLock()
	}
	return s.inTx()
}

// run runs a request.
func (s *session) run(req *request, ans *answer) error {
	if req.Op == opControl {
		return s.control(req, ans)
	}
	if s.conn == nil {
		return fmt.Errorf("%w: SQL on a connection for controls", errProtocol)
	}
	switch req.Op {
	case opExec:
		return s.exec(ans, func(ctx context.Context) (driver.Result, error) {
			return s.conn.(driver.ExecerContext).ExecContext(ctx, req.Text, req.args)
		})
	case opQuery:
		return s.query(ans, func(ctx context.Context) (driver.Rows, error) {
			return s.conn.(driver.QueryerContext).QueryContext(ctx, req.Text, req.args)
		})
	case opPrepare:
		return s.prepare(req, ans)
	case opStmtExec:
		st, ok := s.stmts[req.ID].(driver.StmtExecContext)
		if !ok {
			return unknown("statement", req.ID)
		}
		return s.exec(ans, func(ctx context.Context) (driver.Result, error) { return st.ExecContext(ctx, req.args) })
	case opStmtQuery:
		st, ok := s.stmts[req.ID].(driver.StmtQueryContext)
		if !ok {
			return unknown("statement", req.ID)
		}
		return s.query(ans, func(ctx context.Context) (driver.Rows, error) { return st.QueryContext(ctx, req.args) })
	case opStmtClose:
		st := s.stmts[req.ID]
		if st == nil {
			return unknown("statement", req.ID)
		}
		delete(s.stmts, req.ID)
		s.text -= s.texts[req.ID]
		delete(s.texts, req.ID)
		return st.Close()
	case opFetch:
		r := s.rows[req.ID]
		if r == nil {
			return unknown("rows", req.ID)
		}
		s.register(r.cancel)
		ans.ID = req.ID
		s.batch(r, ans)
		return nil
	case opRowsClose:
		r := s.rows[req.ID]
		if r == nil {
			return unknown("rows", req.ID)
		}
		return s.closeRows(req.ID, r)
	case opBegin:
		return s.beginTx(req)
	case opCommit, opRollback:
		tx := s.tx
		if tx == nil {
			return fmt.Errorf("%w: the end of a transaction that was not begun", errProtocol)
		}
		s.tx = nil
		if req.Op == opCommit {
			return tx.Commit()
		}
		return tx.Rollback()
	case opReset:
		return s.reset()
	case opPing:
		ctx, cancel := s.context()
		defer cancel()
		if p, ok := s.conn.(driver.Pinger); ok {
			return p.Ping(ctx)
		}
		return nil
	}
	return fmt.Errorf("%w: request %d", errProtocol, req.Op)
}

func unknown(what string, id uint64) error {
	return fmt.Errorf("%w: %s %d is unknown", errProtocol, what, id)
}

// context is that of the running request.
func (s *session) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(s.ctx)
	s.register(cancel)
	return ctx, cancel
}

func (s *session) exec(ans *answer, exec func(context.Context) (driver.Result, error)) error {
	ctx, cancel := s.context()
	defer cancel()
	res, err := exec(ctx)
	if err != nil {
		return err
	}
	code := s.srv.cfg.EncodeError
	ans.LastID, err = res.LastInsertId()
	ans.LastIDErr = encodeError(err, code)
	ans.Changes, err = res.RowsAffected()
	ans.ChangesErr = encodeError(err, code)
	return nil
}

// query runs a query. Its context lasts as long as its rows.
func (s *session) query(ans *answer, query func(context.Context) (driver.Rows, error)) error {
	if len(s.rows) >= maxOpenRows {
		return fmt.Errorf("sqlite-mem: %d rows of a live connection are open; close some", maxOpenRows)
	}
	ctx, cancel := s.context()
	rows, err := query(ctx)
	if err != nil {
		cancel()
		return err
	}
	r := &openRows{Rows: rows, cancel: cancel}
	if a, ok := rows.(interface{ ReadAhead() bool }); ok {
		r.ahead = a.ReadAhead
	}
	ans.Columns = columnsOf(rows)
	r.columns = len(ans.Columns)
	s.lastID++
	ans.ID = s.lastID
	s.rows[ans.ID] = r
	s.batch(r, ans)
	return nil
}

// columnsOf describes the columns of rows.
func columnsOf(rows driver.Rows) []column {
	names := rows.Columns()
	typ, _ := rows.(driver.RowsColumnTypeDatabaseTypeName)
	null, _ := rows.(driver.RowsColumnTypeNullable)
	scan, _ := rows.(driver.RowsColumnTypeScanType)
	list := make([]column, len(names))
	for i, name := range names {
		c := &list[i]
		c.Name = name
		if typ != nil {
			c.Type = typ.ColumnTypeDatabaseTypeName(i)
		}
		if null != nil {
			c.Nullable, c.NullableOK = null.ColumnTypeNullable(i)
		}
		if scan != nil {
			c.Scan = scanTypeOf(scan.ColumnTypeScanType(i))
		}
	}
	return list
}

const (
	// A batch ends with the row that reaches one of these.
	firstBytes = 16 << 10 // of the first: many queries are not read to the end
	batchBytes = 64 << 10
	batchRows  = 1024
	batchTime  = 5 * time.Millisecond // so that a row of a slow query is not late
)

// batch adds the next rows to the answer. At their end, and after an error, the rows
// are closed.
func (s *session) batch(r *openRows, ans *answer) {
	limit := batchBytes
	if !r.taken {
		r.taken, limit = true, firstBytes
	}
	if cap(s.dest) < r.columns {
		s.dest = make([]driver.Value, r.columns)
	}
	row := s.dest[:r.columns]
	start := time.Now()
	var err error
	for {
		if err = r.Next(row); err == nil {
			err = s.appendRow(row)
		}
		if err != nil {
			break
		}
		ans.Rows++
		if s.out.size >= limit || ans.Rows == batchRows || r.ahead != nil && !r.ahead() || time.Since(start) > batchTime {
			return
		}
	}
	ans.Done = true
	if err != io.EOF {
		ans.RowsErr = s.encode(err)
	}
	ans.CloseErr = s.encode(s.closeRows(ans.ID, r))
}

// appendRow adds a row to the answer.
func (s *session) appendRow(row []driver.Value) (err error) {
	size := 0
	for _, v := range row {
		if size += sizeOf(v); size > messageLimit-batchBytes {
			return fmt.Errorf("sqlite-mem: a row is larger than %d bytes, the most that a live connection takes", messageLimit-batchBytes)
		}
	}
	return s.out.row(row, size > batchBytes)
}

func (s *session) closeRows(id uint64, r *openRows) error {
	delete(s.rows, id)
	err := r.Close()
	r.cancel()
	return err
}

func (s *session) prepare(req *request, ans *answer) error {
	if len(s.stmts) >= maxPrepared {
		return fmt.Errorf("sqlite-mem: %d statements of a live connection are prepared; close some", maxPrepared)
	}
	if s.text+len(req.Text) > maxPreparedText {
		return fmt.Errorf("sqlite-mem: the texts of the statements that a live connection prepares have more than %d bytes; close some", maxPreparedText)
	}
	ctx, cancel := s.context()
	defer cancel()
	st, err := s.conn.(driver.ConnPrepareContext).PrepareContext(ctx, req.Text)
	if err != nil {
		return err
	}
	_, exec := st.(driver.StmtExecContext)
	_, query := st.(driver.StmtQueryContext)
	if !exec || !query {
		return errors.Join(fmt.Errorf("sqlite-mem: a %T cannot be used by a tool: it has not all context methods", st), st.Close())
	}
	s.lastID++
	ans.ID, ans.Input = s.lastID, st.NumInput()
	s.stmts[ans.ID], s.texts[ans.ID] = st, len(req.Text)
	s.text += len(req.Text)
	return nil
}

func (s *session) beginTx(req *request) error {
	if s.tx != nil {
		return fmt.Errorf("%w: a transaction in a transaction", errProtocol)
	}
	ctx, cancel := s.context()
	defer cancel()
	tx, err := s.conn.(driver.ConnBeginTx).BeginTx(ctx, driver.TxOptions{
		Isolation: driver.IsolationLevel(sql.IsolationLevel(req.Isolation)),
		ReadOnly:  req.ReadOnly,
	})
	if err == nil {
		s.tx = tx
	}
	return err
}

// reset is asked for when the tool's connection goes back to its pool and may not be
// clean.
func (s *session) reset() error {
	var errs []error
	for id, r := range s.rows {
		errs = append(errs, s.closeRows(id, r))
	}
	if s.tx != nil {
		errs = append(errs, s.tx.Rollback())
		s.tx = nil
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if v, ok := s.conn.(driver.Validator); ok && !v.IsValid() {
		return driver.ErrBadConn
	}
	if r, ok := s.conn.(driver.SessionResetter); ok {
		ctx, cancel := s.context()
		defer cancel()
		return r.ResetSession(ctx)
	}
	return nil
}

// control runs a request that is not SQL.
func (s *session) control(req *request, ans *answer) error {
	ctx, cancel := s.context()
	defer cancel()
	body, over := s.uploaded(ctx, req)
	defer over()
	if s.srv.cfg.Control == nil {
		return fmt.Errorf("sqlite-mem: the server has no %q", req.Text)
	}
	data, err := s.srv.cfg.Control(ctx, s.peer, req.Text, req.Data, body, stream{s})
	ans.Data = data
	return err
}

// stream is the writer that a Control gets. A tool that reads slowly slows the
// writer down.
type stream struct{ s *session }

func (w stream) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		piece := p[:min(len(p), pieceSize)]
		if err := w.s.send(kindData, piece); err != nil {
			return written, fmt.Errorf("sqlite-mem: the tool does not read: %w", err)
		}
		written += len(piece)
		p = p[len(piece):]
	}
	return written, nil
}
