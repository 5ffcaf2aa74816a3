package live

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var ctx = context.Background()

var huge = flag.Bool("huge", false, "test a value of 1 GB, which takes 5 GB of memory")

// Every value of database/sql arrives as it was sent, in both directions.
func TestValues(t *testing.T) {
	f := newFake()
	db := open(t, serve(t, f, nil).cfg.Path)
	zone := time.FixedZone("CEST", 2*60*60)
	values := []any{
		nil, int64(0), int64(math.MaxInt64), int64(math.MinInt64), int64(-1), int64(23), int64(24), int64(256), int64(65536), int64(1 << 32),
		0.0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64,
		true, false, "", "text", "not \xff\xfe UTF-8", "zero\x00byte", strings.Repeat("x", 70_000),
		[]byte{}, []byte("bytes"), []byte(nil),
		time.Date(2026, 11, 26, 1, 2, 3, 456789012, time.UTC), time.Date(-3000, 1, 1, 0, 0, 0, 1, zone), time.Time{},
		time.Date(2026, 7, 1, 0, 0, 0, 0, time.Local),
	}
	got := make([]any, len(values))
	dest := make([]any, len(values))
	for i := range dest {
		dest[i] = &got[i]
	}
	require.NoError(t, db.QueryRowContext(ctx, "echo", values...).Scan(dest...))
	for i, v := range values {
		if want, ok := v.(time.Time); ok {
			have := got[i].(time.Time)
			require.True(t, want.Equal(have), "%v %v", want, have)
			require.Equal(t, want.String(), have.String())
			continue
		}
		if b, ok := v.([]byte); ok && b == nil {
			require.IsType(t, b, got[i])
			require.Empty(t, got[i])
			continue
		}
		require.Equal(t, v, got[i])
	}
	var nan float64
	require.NoError(t, db.QueryRowContext(ctx, "echo", math.Float64frombits(0x7ff8000000000123)).Scan(&nan))
	require.Equal(t, uint64(0x7ff8000000000123), math.Float64bits(nan))

	c := one(t, f.path(t, db))
	rows, err := c.QueryContext(ctx, "echo", []driver.NamedValue{{Ordinal: 1, Value: []byte(nil)}, {Ordinal: 2, Name: "named", Value: 7}})
	require.NoError(t, err)
	row := make([]driver.Value, 2)
	require.NoError(t, rows.Next(row))
	require.Equal(t, []driver.Value{[]byte(nil), int64(7)}, row, "a nil []byte is not an empty one")
	require.NoError(t, rows.Close())
}

// path is where db connects to.
func (f *fake) path(t testing.TB, db *sql.DB) string {
	t.Helper()
	c, err := db.Conn(ctx)
	require.NoError(t, err)
	defer c.Close()
	var path string
	require.NoError(t, c.Raw(func(dc any) error { path = dc.(*Conn).dialer.Path; return nil }))
	return path
}

// Statements, prepared statements, transactions and their options reach the server's
// connection, and its results and errors come back.
func TestRequests(t *testing.T) {
	f := newFake()
	db := open(t, serve(t, f, nil).cfg.Path)
	require.NoError(t, db.PingContext(ctx))
	require.NoError(t, run(db, "insert a"))
	require.Equal(t, 1, f.commits("a"))

	require.ErrorIs(t, run(db, "insert"), errFake)
	require.EqualError(t, run(db, "nonsense"), `fake: what is "nonsense"`)
	_, err := db.QueryContext(ctx, "insert")
	require.ErrorIs(t, err, errFake)

	res, err := db.ExecContext(ctx, "insert a")
	require.NoError(t, err)
	n, err := res.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	_, err = res.LastInsertId()
	require.EqualError(t, err, "LastInsertId is not supported by this driver", "the error of a result arrives")

	st, err := db.PrepareContext(ctx, "insert b")
	require.NoError(t, err)
	for range 3 {
		_, err := st.ExecContext(ctx)
		require.NoError(t, err)
	}
	require.Equal(t, 3, f.commits("b"))
	require.NoError(t, st.Close())
	require.Zero(t, f.get(&f.stmts), "Close reaches the server")

	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	require.NoError(t, err)
	require.Equal(t, driver.TxOptions{Isolation: driver.IsolationLevel(sql.LevelSerializable)}, f.lastOpts)
	require.NoError(t, run(tx, "insert c"))
	require.Zero(t, f.commits("c"))
	require.NoError(t, tx.Commit())
	require.Equal(t, 1, f.commits("c"))

	tx, err = db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	require.NoError(t, err)
	require.True(t, f.lastOpts.ReadOnly)
	require.NoError(t, tx.Rollback())
}

// Rows arrive in batches, in their order and in full; an error comes behind the rows
// before it.
func TestRows(t *testing.T) {
	f := newFake()
	db := open(t, serve(t, f, nil).cfg.Path)
	for _, n := range []int{0, 1, 2, batchRows, batchRows + 1, 20_000} {
		for _, then := range []string{"", "fail"} {
			rows, err := db.QueryContext(ctx, fmt.Sprintf("rows %d %s", n, then))
			require.NoError(t, err)
			i := 0
			for rows.Next() {
				i++
				var got int
				require.NoError(t, rows.Scan(&got))
				require.Equal(t, i, got)
			}
			require.Equal(t, n, i)
			if then == "" {
				require.NoError(t, rows.Err())
			} else {
				require.ErrorIs(t, rows.Err(), errFake)
			}
		}
	}
}

// The server is at most one batch ahead of a tool that reads slowly, and not at all
// where the rows forbid it.
func TestRows_flow(t *testing.T) {
	f := newFake()
	db := open(t, serve(t, f, nil).cfg.Path)
	rows, err := db.QueryContext(ctx, "rows 1000000")
	require.NoError(t, err)
	require.LessOrEqual(t, f.get(&f.steps), batchRows, "rows that nobody asked for")
	for range 3 * batchRows {
		require.True(t, rows.Next())
	}
	require.LessOrEqual(t, f.get(&f.steps), 4*batchRows, "rows that nobody asked for")
	require.NoError(t, rows.Close())
	require.Zero(t, f.get(&f.rows), "Close reaches the server")

	f.noAhead, f.steps = true, 0
	rows, err = db.QueryContext(ctx, "rows 10")
	require.NoError(t, err)
	for i := range 10 {
		require.True(t, rows.Next())
		require.Equal(t, i+1, f.get(&f.steps), "read ahead")
	}
	require.NoError(t, rows.Close())
}

// Several rows and statements of one connection are open at a time, and none gets the
// values of another.
func TestRows_interleaved(t *testing.T) {
	f := newFake()
	c, err := open(t, serve(t, f, nil).cfg.Path).Conn(ctx)
	require.NoError(t, err)
	defer c.Close()
	a, err := c.QueryContext(ctx, "rows 5000")
	require.NoError(t, err)
	b, err := c.QueryContext(ctx, "down 5000")
	require.NoError(t, err)
	for i := range 5000 {
		var x, y int
		require.True(t, a.Next())
		require.True(t, b.Next())
		require.NoError(t, a.Scan(&x))
		require.NoError(t, b.Scan(&y))
		require.Equal(t, []int{i + 1, 5000 - i}, []int{x, y})
	}
	require.NoError(t, errors.Join(a.Close(), b.Close()))
}

// A value of many pieces arrives in both directions. A value that cannot be sent is
// an error, and the connection goes on.
func TestLarge(t *testing.T) {
	f := newFake()
	db := open(t, serve(t, f, nil).cfg.Path)
	db.SetMaxOpenConns(1)
	big := make([]byte, 20<<20)
	for i := range big {
		big[i] = byte(i * 7)
	}
	var got []byte
	require.NoError(t, db.QueryRowContext(ctx, "echo", big).Scan(&got))
	require.True(t, string(big) == string(got))
	require.NoError(t, db.QueryRowContext(ctx, "wide 1").Scan(&got))
	require.Equal(t, []byte{0}, got)

	var x any
	require.EqualError(t, db.QueryRowContext(ctx, "odd").Scan(&x), "sqlite-mem: a value of type struct {} cannot be sent over a live connection")

	if !*huge {
		return
	}
	// SQLite's largest value passes; more is refused before any of it is sent.
	require.NoError(t, db.QueryRowContext(ctx, "wide 1000000000").Scan(&got))
	require.Len(t, got, 1_000_000_000)
	got = nil
	err := db.QueryRowContext(ctx, "wide 1100000000").Scan(&got)
	require.ErrorContains(t, err, "a row is larger than")
	half := make([]byte, 600<<20)
	err = db.QueryRowContext(ctx, "echo", half, half).Scan(&got)
	require.ErrorContains(t, err, "the arguments are larger than")
	require.NoError(t, db.PingContext(ctx))
	require.Equal(t, 1, f.get(&f.conns), "the connection is still the first")
}

// Ensure that the limit of a write is one for each piece. A large message to a slow reader
// may take longer. A reader that stops ends it.
func TestWire_writeWithin(t *testing.T) {
	for pause, want := range map[time.Duration]error{20 * time.Second: nil, 40 * time.Second: os.ErrDeadlineExceeded} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for err := error(nil); err == nil; time.Sleep(pause) {
					_, err = io.ReadFull(b, make([]byte, headSize+pieceSize))
				}
			}()
			_, err := newWire(a).writeWithin(30*time.Second, kindRequest, make([]byte, 10*pieceSize))
			require.ErrorIs(t, err, want)
			require.NoError(t, a.Close())
			<-ended
		})
	}
}

// A cancelled context stops the statement that it is for, with its own error, and no
// other one.
func TestCancel(t *testing.T) {
	f := newFake()
	s := serve(t, f, nil)
	db := open(t, s.cfg.Path)
	db.SetMaxOpenConns(1)
	for _, query := range []string{"block", "rows 0 block", "rows 3 block"} {
		for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
			c, cancel := context.WithCancel(ctx)
			if want == context.DeadlineExceeded {
				c, cancel = context.WithDeadline(ctx, time.Now().Add(20*time.Millisecond))
			} else {
				go func() {
					<-f.blocked
					cancel()
				}()
			}
			rows, err := db.QueryContext(c, query)
			if err == nil {
				for rows.Next() {
				}
				err = rows.Err()
				require.NoError(t, rows.Close())
			}
			require.Equal(t, want, err, query)
			cancel()
			if want == context.DeadlineExceeded {
				<-f.blocked
			}
			require.NoError(t, run(db, "insert after"), "the cancellation reaches no later statement")
		}
	}
	c, cancel := context.WithCancel(ctx)
	go func() {
		<-f.blocked
		cancel()
	}()
	_, err := db.ExecContext(c, "late")
	require.NoError(t, err, "a statement that was faster is not told as cancelled")
	require.Equal(t, 1, f.get(&f.conns), "all of it on one connection")
}

// A cancellation with another number, before or after the request, reaches nothing.
func TestCancel_other(t *testing.T) {
	f := newFake()
	c := one(t, serve(t, f, nil).cfg.Path)
	require.NoError(t, c.Ping(ctx))
	for _, n := range []uint64{0, 1, 3, math.MaxUint64} {
		_, err := c.wire.write(kindCancel, appendHead(nil, majorUint, n))
		require.NoError(t, err)
	}
	_, err := c.ExecContext(ctx, "insert x", nil) // the second request
	require.NoError(t, err)
}

// A cancellation that overtakes its request, as the tool sends it from another goroutine,
// reaches it all the same, and no later one.
func TestCancel_early(t *testing.T) {
	f := newFake()
	c := one(t, serve(t, f, nil).cfg.Path)
	for range 2 {
		c.cancel(c.n + 1)
		_, err := c.ExecContext(ctx, "block", nil)
		<-f.blocked
		require.Equal(t, context.Canceled, err)
		rows, err := c.QueryContext(ctx, "rows 1", nil)
		require.NoError(t, err)
		require.NoError(t, rows.Close())
	}
}

// A cancellation reaches the request that has its number, also when it comes before the
// worker knows how to cancel it, and no other one.
func TestCancel_number(t *testing.T) {
	s := newSession(newServer(ServerConfig{}), nil, Peer{})
	cancelled := 0
	cancel := func() { cancelled++ }
	require.True(t, s.begin(5))
	require.False(t, s.begin(6), "one request at a time")
	s.register(cancel)
	for _, n := range []uint64{0, 4, 9} {
		s.cancelRequest(n)
	}
	require.Zero(t, cancelled)
	s.cancelRequest(5)
	require.Equal(t, 1, cancelled)
	s.answered(false)
	s.cancelRequest(5)
	require.True(t, s.begin(6))
	s.register(cancel)
	require.Equal(t, 1, cancelled)
	s.answered(false)
	require.True(t, s.begin(7))
	s.cancelRequest(7)
	s.register(cancel)
	require.Equal(t, 2, cancelled)
}

// The arguments of a request stay what they are while its cancellation is read.
func TestCancel_arguments(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	s := newSession(newServer(ServerConfig{}), newWire(b), Peer{})
	go s.read()
	precious := []byte(strings.Repeat("precious", 100))
	args, err := appendArgs(nil, []driver.NamedValue{{Ordinal: 1, Value: precious}})
	require.NoError(t, err)
	_, err = newWire(a).write(kindRequest, encode(&request{N: 1, Op: opExec}), args)
	require.NoError(t, err)
	req := <-s.requests
	_, err = newWire(a).write(kindCancel, append(appendHead(nil, majorUint, 2), make([]byte, 700)...))
	require.NoError(t, err)
	<-s.ctx.Done() // such a message is not of the protocol
	require.Equal(t, precious, req.args[0].Value)
}

// A tool that dies has its statement interrupted, its transaction rolled back and its
// lock free.
func TestEnds_tool(t *testing.T) {
	for _, open := range []string{"insert x", "rows 5000", "block"} {
		t.Run(open, func(t *testing.T) {
			f := newFake()
			s := serve(t, f, nil)
			c := one(t, s.cfg.Path)
			_, err := c.BeginTx(ctx, driver.TxOptions{})
			require.NoError(t, err)
			if open == "block" {
				go func() {
					<-f.blocked
					_ = c.net.Close()
				}()
			}
			if strings.HasPrefix(open, "rows") {
				_, err = c.QueryContext(ctx, open, nil)
			} else {
				_, err = c.ExecContext(ctx, open, nil)
			}
			if open == "block" {
				require.ErrorIs(t, err, ErrLost)
			} else {
				require.NoError(t, err)
				require.NoError(t, c.net.Close())
			}
			other := one(t, s.cfg.Path)
			_, err = other.ExecContext(ctx, "insert y", nil)
			require.NoError(t, err, "the lock is free")
			require.Zero(t, f.commits("x"))
			eventually(t, func() bool { return f.get(&f.conns) == 1 }, "the end of the session")
		})
	}
}

// Close of the server interrupts tools and rolls back. The error depends on the
// state of the tool. It is driver.ErrBadConn only for a request that has not begun, and
// ErrCommitUnknown wherever something may have been committed.
func TestEnds_server(t *testing.T) {
	f := newFake()
	s := serve(t, f, nil)
	idle, inTx, reading := one(t, s.cfg.Path), one(t, s.cfg.Path), one(t, s.cfg.Path)
	require.NoError(t, idle.Ping(ctx))
	interrupted := map[string]chan error{"block": nil, "insert a; block": nil}
	for query := range interrupted {
		ended, c := make(chan error, 1), one(t, s.cfg.Path)
		interrupted[query] = ended
		go func() {
			_, err := c.ExecContext(ctx, query, nil)
			ended <- err
		}()
		<-f.blocked
	}
	returning, closed := one(t, s.cfg.Path), one(t, s.cfg.Path)
	rows := map[*Conn]driver.Rows{reading: nil, returning: nil, closed: nil}
	for c := range rows {
		query := "returning 100000 b"
		if c == reading {
			query = "SELECT 100000"
		}
		r, err := c.QueryContext(ctx, query, nil)
		require.NoError(t, err)
		rows[c] = r
	}
	tx, err := inTx.BeginTx(ctx, driver.TxOptions{})
	require.NoError(t, err)
	_, err = inTx.ExecContext(ctx, "insert x", nil)
	require.NoError(t, err)
	stop(t, s)

	for query, ended := range interrupted {
		err = <-ended
		if strings.Contains(query, ";") {
			require.ErrorIs(t, err, ErrCommitUnknown, "a statement before it has committed")
			require.NotErrorIs(t, err, driver.ErrBadConn)
		} else {
			require.ErrorIs(t, err, ErrLost)
		}
		require.ErrorContains(t, err, "the server is closing")
	}
	require.Equal(t, 1, f.commits("a"))
	require.Equal(t, 2, f.commits("b"))
	require.Equal(t, driver.ErrBadConn, idle.Ping(ctx))
	require.Equal(t, driver.ErrBadConn, idle.ResetSession(ctx))
	require.False(t, idle.IsValid())

	_, err = inTx.ExecContext(ctx, "insert y", nil)
	require.ErrorIs(t, err, ErrLost, "inside a transaction it is an error")
	require.NotErrorIs(t, err, driver.ErrBadConn)
	err = tx.Commit()
	require.ErrorIs(t, err, ErrLost)
	require.NotErrorIs(t, err, driver.ErrBadConn)
	require.Zero(t, f.commits("x"))

	for c, want := range map[*Conn]error{reading: ErrLost, returning: ErrCommitUnknown} {
		row := make([]driver.Value, 1)
		for err = nil; err == nil; {
			err = rows[c].Next(row)
		}
		require.ErrorIs(t, err, want, "rows that are lost are not their end")
		require.NotErrorIs(t, err, driver.ErrBadConn)
		require.NoError(t, rows[c].Close())
	}
	err = rows[closed].Close()
	require.ErrorIs(t, err, ErrCommitUnknown)
	require.NotErrorIs(t, err, driver.ErrBadConn)

	_, err = (&Dialer{Path: s.cfg.Path}).Connect(ctx)
	require.ErrorIs(t, err, ErrNoServer)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// A tool whose server ends in the middle of a call never gets the error of a context that is
// not its own. Rows before the end are those that were read.
func TestEnds_interrupted(t *testing.T) {
	f := newFake()
	s := serve(t, f, nil)
	type result struct {
		rows int
		err  error
	}
	results := map[string]chan result{}
	for _, query := range []string{"block", "wrapped", "SELECT 3 block", "SELECT 3 wrapped", "down 3 block"} {
		ended, c := make(chan result, 1), one(t, s.cfg.Path)
		results[query] = ended
		go func() {
			var got result
			rows, err := c.QueryContext(ctx, query, nil)
			for row := make([]driver.Value, 1); err == nil; {
				if err = rows.Next(row); err == nil {
					got.rows++
				}
			}
			got.err = err
			ended <- got
		}()
		<-f.blocked
	}
	stop(t, s)
	for query, ended := range results {
		got, want := <-ended, ErrLost
		if strings.HasPrefix(query, "down") {
			want = ErrCommitUnknown // it is no SELECT
		}
		require.ErrorIs(t, got.err, want, query)
		require.NotErrorIs(t, got.err, context.Canceled, query)
		require.ErrorContains(t, got.err, "the server is closing; the statement was interrupted", query)
		if strings.Contains(query, "3") {
			require.Equal(t, 3, got.rows, query)
		}
	}
}

// A tool that ends its side, or breaks the protocol, is not told that the server closes.
func TestEnds_reason(t *testing.T) {
	f := newFake()
	s := serve(t, f, func(cfg *ServerConfig) { cfg.Idle = 100 * time.Millisecond })
	const broken = "the tool has broken the protocol"
	for name, c := range map[string]struct {
		sent []byte
		want string // empty: no last message
	}{
		"a message of no kind":  {framed('x', nil), broken},
		"no request":            {framed(kindRequest, []byte("x")), broken},
		"a large cancellation":  {framed24(kindCancel, smallMessage+1), broken},
		"a large request, late": {framed24(kindRequest, smallMessage+1), "a request did not come whole within 100ms"},
		"nothing":               {nil, ""},
		"a part of a message":   {framed(kindCancel, []byte("x"))[:3], ""},
	} {
		nc, err := dial(ctx, s.cfg.Path)
		require.NoError(t, err)
		w := newWire(nc)
		_, err = w.write(kindHello, encode(hello{Version: Version}))
		require.NoError(t, err)
		_, _, err = w.read(helloLimit, nil)
		require.NoError(t, err)
		_, err = nc.Write(c.sent)
		require.NoError(t, err)
		if c.want == "" {
			require.NoError(t, nc.CloseWrite())
		}
		kind, b, err := w.read(helloLimit, nil)
		if c.want == "" {
			require.Equal(t, io.EOF, err, name)
		} else {
			require.NoError(t, err, name)
			require.EqualValues(t, kindBye, kind, name)
			var last bye
			_, err = decode(b, &last)
			require.NoError(t, err)
			require.Contains(t, last.Reason, c.want, name)
		}
		require.NoError(t, nc.Close())
	}
}

// The server may end a single connection. Its statement is interrupted, its transaction is
// rolled back, and the tool learns the reason. The others go on.
func TestEnds_one(t *testing.T) {
	f := newFake()
	s := serve(t, f, nil)
	end := func() {
		f.mu.Lock()
		end := f.end
		f.mu.Unlock()
		end("it is in the way")
	}
	other := one(t, s.cfg.Path)
	require.NoError(t, other.Ping(ctx))

	blocked := one(t, s.cfg.Path)
	interrupted := make(chan error, 1)
	go func() {
		_, err := blocked.ExecContext(ctx, "block", nil)
		interrupted <- err
	}()
	<-f.blocked
	end()
	err := <-interrupted
	require.ErrorIs(t, err, ErrLost)
	require.ErrorContains(t, err, "it is in the way; the statement was interrupted")

	idle := one(t, s.cfg.Path)
	tx, err := idle.BeginTx(ctx, driver.TxOptions{})
	require.NoError(t, err)
	_, err = idle.ExecContext(ctx, "insert x", nil)
	require.NoError(t, err)
	end()
	eventually(t, func() bool { return f.get(&f.conns) == 1 }, "the end of the idle connection")
	err = tx.Commit()
	require.ErrorIs(t, err, ErrLost)
	require.ErrorContains(t, err, "it is in the way")
	require.Zero(t, f.commits("x"))
	require.NoError(t, other.Ping(ctx))
	require.NoError(t, run(open(t, s.cfg.Path), "insert x"), "its lock is free")
}

// With the next server, database/sql goes on by itself outside of transactions.
func TestEnds_nextServer(t *testing.T) {
	f := newFake()
	cfg := f.config(t)
	s, err := Listen(cfg)
	require.NoError(t, err)
	db := open(t, cfg.Path)
	require.NoError(t, run(db, "insert a"))
	stop(t, s)
	s, err = Listen(cfg)
	require.NoError(t, err)
	require.NoError(t, run(db, "insert b"))
	require.Equal(t, 1, f.commits("b"))
	require.NoError(t, db.Close())
	stop(t, s)
	clean(t, f)
}

// Panics, and a connection that is broken, cost the session and not the server.
func TestPanics(t *testing.T) {
	for _, query := range []string{"panic", "rows 3 panic", "badconn"} {
		t.Run(query, func(t *testing.T) {
			f := newFake()
			s := serve(t, f, nil)
			c := one(t, s.cfg.Path)
			rows, err := c.QueryContext(ctx, query, nil)
			if query == "badconn" {
				require.Equal(t, driver.ErrBadConn, err)
			} else {
				require.EqualError(t, err, errPanic.Error())
				require.Nil(t, rows)
			}
			require.Equal(t, driver.ErrBadConn, c.Ping(ctx))
			require.NoError(t, one(t, s.cfg.Path).Ping(ctx), "the server serves on")

			c = one(t, s.cfg.Path)
			_, err = c.BeginTx(ctx, driver.TxOptions{})
			require.NoError(t, err)
			_, err = c.QueryContext(ctx, query, nil)
			require.Error(t, err)
			require.NotErrorIs(t, err, driver.ErrBadConn, "inside a transaction")
			_, err = one(t, s.cfg.Path).ExecContext(ctx, "insert x", nil)
			require.NoError(t, err, "the lock is free")
		})
	}
	f := newFake()
	s := serve(t, f, func(cfg *ServerConfig) {
		cfg.Connect = func(context.Context, Peer, map[string]string, func(string)) (driver.Conn, error) {
			panic("while connecting")
		}
	})
	_, err := (&Dialer{Path: s.cfg.Path}).Connect(ctx)
	require.EqualError(t, err, errPanic.Error())
}

// The error of opening the connection in the server reaches the tool as it is.
func TestConnect_error(t *testing.T) {
	f := newFake()
	params := map[string]string{"_loc": "auto"}
	s := serve(t, f, func(cfg *ServerConfig) {
		cfg.Connect = func(_ context.Context, p Peer, got map[string]string, _ func(string)) (driver.Conn, error) {
			require.Equal(t, params, got)
			require.Equal(t, Peer{UID: uint32(os.Geteuid()), PID: os.Getpid(), Trusted: true}, p)
			return nil, errFake
		}
	})
	_, err := (&Dialer{Path: s.cfg.Path, Params: params, DecodeError: decodeFake}).Connect(ctx)
	require.ErrorIs(t, err, errFake)
	require.EqualError(t, err, errFake.Error())
}

// A tool waits for a server that is loading as long as its context allows. The error
// says what it waited for. The server is told of the tool's end.
func TestConnect_waits(t *testing.T) {
	f := newFake()
	loaded := make(chan struct{})
	gaveUp := make(chan struct{}, 1)
	short, giveUp := context.WithCancel(ctx)
	defer giveUp()
	s := serve(t, f, func(cfg *ServerConfig) {
		cfg.Connect = func(ctx context.Context, p Peer, params map[string]string, end func(string)) (driver.Conn, error) {
			giveUp()
			select {
			case <-loaded:
				return f.connect(ctx, p, params, end)
			case <-ctx.Done():
				gaveUp <- struct{}{}
				return nil, ctx.Err()
			}
		}
	})
	_, err := (&Dialer{Path: s.cfg.Path}).Connect(short)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
	<-gaveUp
	connected := make(chan error, 1)
	go func() {
		c, err := (&Dialer{Path: s.cfg.Path}).Connect(ctx)
		if err == nil {
			err = c.Close()
		}
		connected <- err
	}()
	close(loaded)
	require.NoError(t, <-connected)
}

// Beyond the limit a tool waits until another one has gone, and is told why.
func TestLimit(t *testing.T) {
	f := newFake()
	s := serve(t, f, func(cfg *ServerConfig) { cfg.Limit = 2 })
	a, b := one(t, s.cfg.Path), one(t, s.cfg.Path)
	require.NoError(t, b.Ping(ctx))
	const why = "all 2 live connections of the server are in use"
	for patience := 50 * time.Millisecond; ; patience *= 2 { // a slow machine needs some to hear of it
		short, cancel := context.WithTimeout(ctx, patience)
		_, err := (&Dialer{Path: s.cfg.Path}).Connect(short)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		if patience > 10*time.Second || strings.Contains(err.Error(), why) {
			require.ErrorContains(t, err, why)
			break
		}
	}
	// More than the server accepts at all: the rest waits in the kernel.
	errs := make(chan error, 30)
	for range cap(errs) {
		go func() {
			c, err := (&Dialer{Path: s.cfg.Path}).Connect(ctx)
			if err == nil {
				err = errors.Join(c.Ping(ctx), c.Close())
			}
			errs <- err
		}()
	}
	require.NoError(t, a.Close())
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	require.NoError(t, b.Ping(ctx))
}

// Connections for controls have a limit of their own. So a tool that keeps as many idle
// connections as there may be still gets a save or the counters, and the other way round.
func TestLimit_controls(t *testing.T) {
	f := newFake()
	s := serve(t, f, func(cfg *ServerConfig) { cfg.Limit = 1 })
	dial := func(control bool) (*Conn, error) {
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		return (&Dialer{Path: s.cfg.Path, Control: control}).Connect(short)
	}
	for _, control := range []bool{false, true} {
		first, err := dial(control)
		require.NoError(t, err)
		_, err = dial(control)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		other, err := dial(!control)
		require.NoError(t, err)
		require.Equal(t, 1, s.Tools(), "those for controls are not counted")
		require.NoError(t, errors.Join(first.Close(), other.Close()))
		eventually(t, func() bool { return s.Tools() == 0 && len(s.controls) == 0 }, "their end")
	}
}

// A tool that leaves a transaction idle while others wait is ended after the set time,
// and told so. While nobody waits it is left alone. A tool that does not fetch its
// rows is ended after ten times as long.
func TestIdle(t *testing.T) {
	idle := 30 * time.Second
	for _, c := range []struct {
		what  string
		waits bool
		after time.Duration // 0: never
		open  func(c *Conn) error
	}{
		{"a transaction that others wait for", true, idle, func(c *Conn) error { _, err := c.Begin(); return err }},
		{"a transaction in words", true, idle, func(c *Conn) error { _, err := c.ExecContext(ctx, "begin", nil); return err }},
		{"a transaction that nobody waits for", false, 0, func(c *Conn) error { _, err := c.Begin(); return err }},
		{"rows", false, rowsFactor * idle, func(c *Conn) error { _, err := c.QueryContext(ctx, "rows 100000", nil); return err }},
		{"nothing", true, 0, func(c *Conn) error { return c.Ping(ctx) }},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.waits = c.waits
				conn, end := pipe(t, f, idle)
				require.NoError(t, c.open(conn))
				if c.after == 0 {
					time.Sleep(100 * idle)
					synctest.Wait()
					require.NoError(t, conn.Ping(ctx))
					require.NoError(t, conn.Close())
					end()
					return
				}
				time.Sleep(c.after - time.Second)
				synctest.Wait()
				require.NotZero(t, f.get(&f.conns), "too early")
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.Zero(t, f.get(&f.conns), "too late")
				require.Empty(t, f.lock)
				conn.quiet = func() bool { return false }
				conn.hear()
				require.ErrorContains(t, conn.broken, " for "+c.after.String())
				end()
			})
		})
	}
}

// Requests that come in time keep an idle transaction alive.
func TestIdle_requests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		conn, end := pipe(t, f, 30*time.Second)
		tx, err := conn.Begin()
		require.NoError(t, err)
		for range 10 {
			time.Sleep(29 * time.Second)
			require.NoError(t, conn.Ping(ctx))
		}
		require.NoError(t, tx.Rollback())
		require.NoError(t, conn.Close())
		end()
	})
}

// pipe connects a Conn and a session by a pipe, for tests with a clock of their own.
func pipe(t *testing.T, f *fake, idle time.Duration) (*Conn, func()) {
	t.Helper()
	cfg := f.config(t)
	cfg.Idle, cfg.Limit = idle, 1
	s := newServer(cfg)
	a, b := net.Pipe()
	session := newSession(s, newWire(b), Peer{})
	go session.read()
	go session.work(hello{Version: Version})
	c := &Conn{dialer: &Dialer{DecodeError: decodeFake}, net: a, wire: newWire(a)}
	c.quiet = func() bool { return true }
	kind, _, err := c.wire.read(helloLimit, nil)
	require.NoError(t, err)
	require.EqualValues(t, kindHello, kind)
	return c, func() {
		_ = a.Close()
		s.cancel()
		synctest.Wait()
		require.Zero(t, f.get(&f.conns))
	}
}

// A connection that goes back to the pool is clean. The server rolls back a
// transaction that was begun as text. It is not asked when there is nothing to do.
func TestReset(t *testing.T) {
	f := newFake()
	db := open(t, serve(t, f, nil).cfg.Path)
	db.SetMaxOpenConns(1)
	require.NoError(t, run(db, "insert a"))
	require.Zero(t, f.get(&f.reset))
	require.NoError(t, run(db, "begin"))
	require.Equal(t, 1, f.get(&f.reset))
	require.Empty(t, f.lock)
	require.Equal(t, 1, f.get(&f.conns))
}

// Control passes a stream on, ends with the error of either side, and is all that a
// connection for controls does.
func TestControl(t *testing.T) {
	f := newFake()
	s := serve(t, f, func(cfg *ServerConfig) {
		cfg.Control = func(ctx context.Context, _ Peer, name string, data []byte, body io.Reader, w io.Writer) ([]byte, error) {
			switch name {
			case "copy":
				piece := make([]byte, 100_000)
				for range 50 {
					if _, err := w.Write(piece); err != nil {
						return nil, err
					}
				}
				return data, nil
			case "endless":
				for ctx.Err() == nil {
					if _, err := w.Write(make([]byte, 1000)); err != nil {
						return nil, err
					}
				}
				return nil, ctx.Err()
			}
			return nil, errFake
		}
	})
	c, err := (&Dialer{Path: s.cfg.Path, Control: true, DecodeError: decodeFake}).Connect(ctx)
	require.NoError(t, err)
	var b strings.Builder
	data, err := c.Control(ctx, "copy", []byte("arg"), &b)
	require.NoError(t, err)
	require.Equal(t, "arg", string(data))
	require.Equal(t, 5_000_000, b.Len())
	_, err = c.Control(ctx, "other", nil, nil)
	require.ErrorIs(t, err, errFake)

	_, err = c.Control(ctx, "endless", nil, &limited{n: 3})
	require.Equal(t, errFull, err)
	_, err = c.Control(ctx, "other", nil, nil)
	require.ErrorIs(t, err, errFake, "an error of the writer costs nothing but the stream")
	canceled, cancel := context.WithCancel(ctx)
	_, err = c.Control(canceled, "endless", nil, &limited{n: 1000, then: cancel})
	require.Equal(t, context.Canceled, err)
	require.Zero(t, f.get(&f.conns), "no connection was opened for it")

	_, err = c.ExecContext(ctx, "insert x", nil)
	require.ErrorContains(t, err, "SQL on a connection for controls")
	require.NoError(t, c.Close())
}

var errFull = errors.New("full")

// limited is a writer that takes n pieces.
type limited struct {
	n    int
	then func()
}

func (l *limited) Write(p []byte) (int, error) {
	if l.n--; l.n > 0 {
		return len(p), nil
	}
	if l.then != nil {
		l.then()
		return len(p), nil
	}
	return 0, errFull
}

// Another version of the protocol is turned away with a text that names both
// versions, whatever else its first message has. A message of no protocol is turned
// away too.
func TestVersion(t *testing.T) {
	f := newFake()
	s := serve(t, f, nil)
	for name, c := range map[string]struct {
		message any
		want    string
	}{
		"newer":   {map[int]any{1: Version + 1, 2: []int{1}, 9: "new"}, "the tool speaks version 3 of the live protocol, the server version 2"},
		"none":    {map[int]any{}, "the tool speaks version 0"},
		"a text":  {"hello", "not the protocol of a live connection"},
		"a float": {map[int]any{1: 1.5}, "not the protocol of a live connection"},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := dial(ctx, s.cfg.Path)
			require.NoError(t, err)
			defer nc.Close()
			w := newWire(nc)
			b, err := encoder.Marshal(c.message)
			require.NoError(t, err)
			_, err = w.write(kindHello, b)
			require.NoError(t, err)
			kind, b, err := w.read(helloLimit, nil)
			require.NoError(t, err)
			require.EqualValues(t, kindHello, kind)
			var reply welcome
			_, err = decode(b, &reply)
			require.NoError(t, err)
			require.Contains(t, reply.Err.Text, c.want)
			_, _, err = w.read(helloLimit, nil)
			require.Error(t, err, "the connection is closed")
		})
	}
}

// A tool believes no server of another version, and none that does not speak the
// protocol.
func TestVersion_server(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	sock, err := bind(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, sock.close()) }()
	for want, reply := range map[string][]byte{
		"not the protocol":             []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"answered with version 7":      framed(kindHello, encode(welcome{Version: 7})),
		"a message of kind 'a'":        framed(kindAnswer, encode(answer{})),
		"use the same version":         framed(kindHello, encode(welcome{Version: 7, Err: &wireError{Text: "use the same version"}})),
		"no server answers":            nil,
		"a message of kind 'r'":        framed(kindRequest, nil),
		"connection: unexpected EOF":   framed(kindHello, []byte{0xa1, 0x01}),
		"a message of kind 'h' with 6": {kindHello, 0, 1, 0, 1},
	} {
		go func() {
			c, err := sock.AcceptUnix()
			if err == nil {
				_, _, _ = newWire(c).read(helloLimit, nil)
				_, _ = c.Write(reply)
				_ = c.Close()
			}
		}()
		_, err := (&Dialer{Path: path}).Connect(ctx)
		require.ErrorContains(t, err, want)
	}
}

// framed is a message.
func framed(kind byte, b []byte) []byte {
	return append([]byte{kind, 0, 0, byte(len(b) >> 8), byte(len(b))}, b...)
}

// If the answer to a statement is lost, its text decides the outcome. The decision
// errs on the side of a commit.
func TestOutcome(t *testing.T) {
	for query, want := range map[string]bool{
		"SELECT 1": true, " select\n1 ; ": true, "VALUES(1)": true, "EXPLAIN DELETE FROM t": true, "select';'": false, "SELECT 1; DELETE FROM t": false,
		"WITH x AS (SELECT 1) DELETE FROM t": false, "PRAGMA user_version=1": false, "": false, "/**/SELECT 1": false, "SELECTS": false, "INSERT INTO t VALUES(1)": false,
	} {
		require.Equal(t, want, onlyReads(query), query)
	}
	for query, want := range map[string]bool{
		"COMMIT": true, "end transaction": true, "RELEASE s": true, "x; rollback; insert": true, "INSERT INTO t VALUES(1)": false,
	} {
		require.Equal(t, want, mayEnd(query), query)
	}
}

// Ensure that Close waits for no peer that has connected and not sent its first message, or
// a part of it. The clock of the test does not move meanwhile.
func TestServer_silent(t *testing.T) {
	for _, sent := range [][]byte{nil, {kindHello, 0}, {kindHello, 0, 0, 1, 0, 'x'}} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(ServerConfig{})
			a, b := net.Pipe()
			require.True(t, s.add(b))
			s.pending <- struct{}{}
			s.wg.Go(func() {
				defer s.drop(b)
				s.talk(b, newWire(b), Peer{})
			})
			_, err := a.Write(sent)
			require.NoError(t, err)
			synctest.Wait()
			start := time.Now()
			s.cancel() // as Close does
			s.wg.Wait()
			require.Zero(t, time.Since(start))
			require.NoError(t, a.Close())
		})
	}
}
