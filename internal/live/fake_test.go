package live

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// fake is a database with commands that a real one does not have. It has one write
// lock, and counts how often each key was committed.
//
//	insert KEY   commits KEY, by itself or with its transaction
//	begin commit rollback
//	deferred     as begin, and takes the lock with the first insert
//	rows N       N rows of a number; "rows N fail": then an error
//	SELECT N     as rows N
//	returning N KEY  insert KEY, then rows N
//	down N       the same downwards
//	A; B         A, then B
//	echo         one row of the arguments
//	block        until the context ends
//	wrapped      as block, with an error that wraps that of the context
//	late         until the context ends, and succeeds all the same
//	panic        panics; so do "rows N panic" in their end
//	badconn      driver.ErrBadConn
//	wide N       one row of a blob of N bytes
//	odd          one row of a value that no driver may return
type fake struct {
	lock    chan struct{} // has room for one: the write lock
	blocked chan struct{} // hears of each statement that blocks
	waits   bool          // for ServerConfig.Waits
	narrow  bool          // wide is not, whatever a fuzzer asks for

	mu        sync.Mutex // guards the fields below
	committed map[string]int
	conns     int // open
	rows      int
	stmts     int
	noAhead   bool
	steps     int // of rows
	reset     int
	waiting   int // for the lock
	lastOpts  driver.TxOptions
	end       func(reason string) // of the last connection
}

func newFake() *fake {
	return &fake{lock: make(chan struct{}, 1), blocked: make(chan struct{}, 100), committed: map[string]int{}, waits: true}
}

func (f *fake) count(p *int, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*p += n
}

func (f *fake) get(p *int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *p
}

func (f *fake) commits(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.committed[key]
}

func (f *fake) connect(_ context.Context, _ Peer, _ map[string]string, end func(string)) (driver.Conn, error) {
	f.count(&f.conns, 1)
	f.mu.Lock()
	f.end = end
	f.mu.Unlock()
	return &fakeConn{f: f}, nil
}

type fakeConn struct {
	f       *fake
	inTx    bool
	writes  []string // of the transaction
	locked  bool
	invalid bool
}

var errFake = errors.New("the fake failed")

func (c *fakeConn) InTransaction() bool { return c.inTx }
func (c *fakeConn) HoldsLock() bool     { return c.locked }

func (c *fakeConn) take(ctx context.Context) error {
	if c.locked {
		return nil
	}
	select {
	case c.f.lock <- struct{}{}:
		c.locked = true
		return nil
	default:
	}
	c.f.count(&c.f.waiting, 1)
	defer c.f.count(&c.f.waiting, -1)
	select {
	case c.f.lock <- struct{}{}:
		c.locked = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *fakeConn) end(commit bool) {
	if commit {
		c.f.mu.Lock()
		for _, key := range c.writes {
			c.f.committed[key]++
		}
		c.f.mu.Unlock()
	}
	c.writes, c.inTx = nil, false
	if c.locked {
		c.locked = false
		<-c.f.lock
	}
}

func (c *fakeConn) run(ctx context.Context, query string) error {
	if first, rest, ok := strings.Cut(query, "; "); ok {
		if err := c.run(ctx, first); err != nil {
			return err
		}
		return c.run(ctx, rest)
	}
	word, arg, _ := strings.Cut(query, " ")
	switch word {
	case "insert":
		if arg == "" {
			return errFake
		}
		if err := c.take(ctx); err != nil {
			return err
		}
		c.writes = append(c.writes, arg)
		if !c.inTx {
			c.end(true)
		}
	case "begin":
		if err := c.take(ctx); err != nil {
			return err
		}
		c.inTx = true
	case "deferred":
		c.inTx = true
	case "commit":
		c.end(true)
	case "rollback":
		c.end(false)
	case "block", "late", "wrapped":
		c.f.blocked <- struct{}{}
		<-ctx.Done()
		switch word {
		case "block":
			return ctx.Err()
		case "wrapped":
			return fmt.Errorf("in the middle: %w", ctx.Err())
		}
	case "panic":
		panic("of the fake")
	case "badconn":
		return driver.ErrBadConn
	default:
		return fmt.Errorf("fake: what is %q", query)
	}
	return nil
}

func (c *fakeConn) ExecContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	if err := c.run(ctx, query); err != nil {
		return nil, err
	}
	return driver.RowsAffected(1), nil
}

func (c *fakeConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	r := &fakeRows{f: c.f, ctx: ctx, columns: []string{"n"}}
	words := strings.Fields(query)
	switch words[0] {
	case "rows", "down", "SELECT":
		r.down = words[0] == "down"
		r.n, _ = strconv.Atoi(words[1])
		if len(words) > 2 {
			r.then = words[2]
		}
	case "returning":
		r.n, _ = strconv.Atoi(words[1])
		if err := c.run(ctx, "insert "+words[2]); err != nil {
			return nil, err
		}
	case "echo":
		r.n = 1
		r.columns = nil
		for i := range args {
			r.columns = append(r.columns, strconv.Itoa(i))
			r.row = append(r.row, args[i].Value)
		}
	case "wide":
		n, _ := strconv.Atoi(words[1])
		if c.f.narrow {
			n = min(max(n, 0), 1<<20)
		}
		r.n, r.row = 1, []driver.Value{make([]byte, n)}
	case "odd":
		r.n, r.row = 1, []driver.Value{struct{}{}}
	default:
		if err := c.run(ctx, query); err != nil {
			return nil, err
		}
	}
	c.f.count(&c.f.rows, 1)
	return r, nil
}

func (c *fakeConn) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	c.f.count(&c.f.stmts, 1)
	return &fakeStmt{c: c, query: query}, nil
}

func (c *fakeConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.f.mu.Lock()
	c.f.lastOpts = opts
	c.f.mu.Unlock()
	if !opts.ReadOnly {
		if err := c.take(ctx); err != nil {
			return nil, err
		}
	}
	c.inTx = true
	return fakeTx{c}, nil
}

func (c *fakeConn) ResetSession(context.Context) error {
	c.f.count(&c.f.reset, 1)
	return nil
}

func (c *fakeConn) IsValid() bool { c.end(false); return !c.invalid }

func (c *fakeConn) Close() error {
	c.end(false)
	c.f.count(&c.f.conns, -1)
	return nil
}

func (c *fakeConn) Prepare(string) (driver.Stmt, error) { panic("without a context") }
func (c *fakeConn) Begin() (driver.Tx, error)           { panic("without a context") }

type fakeTx struct{ c *fakeConn }

func (t fakeTx) Commit() error   { t.c.end(true); return nil }
func (t fakeTx) Rollback() error { t.c.end(false); return nil }

type fakeStmt struct {
	c     *fakeConn
	query string
}

func (s *fakeStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.c.ExecContext(ctx, s.query, args)
}

func (s *fakeStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.QueryContext(ctx, s.query, args)
}
func (s *fakeStmt) NumInput() int { return -1 }
func (s *fakeStmt) Close() error  { s.c.f.count(&s.c.f.stmts, -1); return nil }
func (s *fakeStmt) Exec([]driver.Value) (driver.Result, error) {
	panic("without a context")
}
func (s *fakeStmt) Query([]driver.Value) (driver.Rows, error) { panic("without a context") }

type fakeRows struct {
	f       *fake
	ctx     context.Context
	columns []string
	n, at   int
	row     []driver.Value
	then    string
	down    bool
}

func (r *fakeRows) Columns() []string { return r.columns }

func (r *fakeRows) ReadAhead() bool {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	return !r.f.noAhead
}

func (r *fakeRows) Next(dest []driver.Value) error {
	r.f.count(&r.f.steps, 1)
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.at == r.n {
		switch r.then {
		case "fail":
			return errFake
		case "panic":
			panic("of the rows of the fake")
		case "block", "wrapped":
			r.f.blocked <- struct{}{}
			<-r.ctx.Done()
			if r.then == "wrapped" {
				return fmt.Errorf("in the middle: %w", r.ctx.Err())
			}
			return r.ctx.Err()
		}
		return io.EOF
	}
	r.at++
	if r.row != nil {
		copy(dest, r.row)
		return nil
	}
	dest[0] = int64(r.at)
	if r.down {
		dest[0] = int64(r.n - r.at + 1)
	}
	return nil
}

func (r *fakeRows) Close() error { r.f.count(&r.f.rows, -1); return nil }

// config serves f.
func (f *fake) config(t testing.TB) ServerConfig {
	return ServerConfig{
		Path:    filepath.Join(t.TempDir(), "app.db"),
		Connect: f.connect,
		Waits:   func(driver.Conn) bool { return f.waits },
		Logger:  slog.New(slog.DiscardHandler),
		EncodeError: func(err error) []byte {
			if err == errFake {
				return []byte("fake")
			}
			return nil
		},
	}
}

func decodeFake(b []byte) error {
	if string(b) == "fake" {
		return errFake
	}
	return nil
}

// serve begins to serve, and at the end of the test makes sure that nothing is left.
func serve(t testing.TB, f *fake, change func(*ServerConfig)) *Server {
	t.Helper()
	cfg := f.config(t)
	if change != nil {
		change(&cfg)
	}
	s, err := Listen(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		stop(t, s)
		clean(t, f)
		_, err := os.Lstat(SocketName(cfg.Path))
		require.ErrorIs(t, err, os.ErrNotExist, "the socket is left")
	})
	return s
}

func stop(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, s.Close(ctx))
}

// clean makes sure that no lock, connection or row of f is left, once the sessions
// have ended, and no goroutine.
func clean(t testing.TB, f *fake) {
	t.Helper()
	require.Zero(t, f.get(&f.conns), "connections are left")
	require.Zero(t, f.get(&f.rows), "rows are left")
	require.Zero(t, f.get(&f.stmts), "statements are left")
	require.Empty(t, f.lock, "the lock is held")
	goleak.VerifyNone(t)
}

// connector is a driver.Connector of a Dialer.
type connector struct{ d *Dialer }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.d.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return conn, nil
}
func (c connector) Driver() driver.Driver { return nil }

// open opens a pool of live connections.
func open(t testing.TB, path string) *sql.DB {
	t.Helper()
	db := sql.OpenDB(connector{&Dialer{Path: path, DecodeError: decodeFake}})
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// one opens a single connection.
func one(t testing.TB, path string) *Conn {
	t.Helper()
	c, err := (&Dialer{Path: path, DecodeError: decodeFake}).Connect(context.Background())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func run(db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, query string) error {
	_, err := db.ExecContext(context.Background(), query)
	return err
}

// eventually waits for what another goroutine is about to do.
func eventually(t testing.TB, f func() bool, what string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			require.FailNow(t, "it does not happen", what)
		}
		time.Sleep(100 * time.Microsecond)
	}
}
