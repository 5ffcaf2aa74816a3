package live

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// cutter passes messages on between a tool and a server, and cuts the connection at one
// of them.
type cutter struct {
	tool, server net.Conn
	cut          [2]int // the message from the tool, and from the server, at which to cut; -1: none
	part         int    // how many bytes of that message still pass
	seen         [2]int
	done         [2]chan struct{}
}

// whole lets a message pass before the cut.
const whole = 1 << 30

// through connects a tool to the server at path, through a cutter.
func through(t *testing.T, path string, cut [2]int, part int) (*Conn, *cutter) {
	t.Helper()
	server, err := dial(ctx, path)
	require.NoError(t, err)
	a, b := pair(t)
	k := &cutter{tool: b, server: server, cut: cut, part: part, done: [2]chan struct{}{make(chan struct{}), make(chan struct{})}}
	go k.pass(0, k.server, k.tool)
	go k.pass(1, k.tool, k.server)
	c := &Conn{dialer: &Dialer{DecodeError: decodeFake}, net: a, wire: newWire(a), quiet: func() bool { return quiet(a) }}
	return c, k
}

// pair is two ends of a connection.
func pair(t *testing.T) (*net.UnixConn, net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", "")
	require.NoError(t, err)
	defer l.Close()
	a, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	b, err := l.Accept()
	require.NoError(t, err)
	return a.(*net.UnixConn), b
}

func (k *cutter) pass(i int, to, from net.Conn) {
	defer close(k.done[i])
	defer k.server.Close()
	defer k.tool.Close()
	for {
		message := make([]byte, headSize)
		if _, err := io.ReadFull(from, message); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(message[1:])
		message = append(message, make([]byte, n)...)
		if _, err := io.ReadFull(from, message[headSize:]); err != nil {
			return
		}
		if k.seen[i] == k.cut[i] {
			_, _ = to.Write(message[:min(k.part, len(message))])
			return
		}
		k.seen[i]++
		if _, err := to.Write(message); err != nil {
			return
		}
	}
}

// program sends each kind of request, in and outside of transactions. The sweep
// runs it. It calls note with the result for each key that it wrote.
func program(c *Conn, note func(key string, err error)) {
	exec := func(query string) error {
		_, err := c.ExecContext(ctx, query, nil)
		return err
	}
	read := func(query string) error {
		rows, err := c.QueryContext(ctx, query, nil)
		if err != nil {
			return err
		}
		row := make([]driver.Value, 1)
		for err == nil {
			err = rows.Next(row)
		}
		if err == io.EOF {
			err = nil
		}
		return errors.Join(err, rows.Close())
	}
	if _, err := c.greet(); err != nil {
		return
	}
	note("alone", exec("insert alone"))
	note("query", read("insert query"))
	note("returning", read("returning 2500 returning"))
	_ = read("rows 2500")
	st, err := c.PrepareContext(ctx, "insert prepared")
	if err == nil {
		_, err = st.(driver.StmtExecContext).ExecContext(ctx, nil)
		note("prepared", err)
		_ = st.Close()
	}
	for _, end := range []string{"commit", "words", "rollback"} {
		tx, err := c.BeginTx(ctx, driver.TxOptions{})
		if err != nil {
			continue
		}
		err = exec("insert " + end)
		if err == nil {
			err = read("rows 3")
		}
		switch {
		case err != nil:
			_ = tx.Rollback()
		case end == "commit":
			err = tx.Commit()
		case end == "words":
			err = exec("commit")
			_ = tx.Rollback()
		case end == "rollback":
			err = errors.Join(tx.Rollback(), errors.New("rolled back"))
		}
		note(end, err)
		c.IsValid()
	}
	if exec("begin") == nil {
		err := exec("insert typed")
		if err == nil {
			err = exec("commit")
		}
		note("typed", err)
		c.IsValid()
	}
	wide := make([]byte, 3*pieceSize)
	rows, err := c.QueryContext(ctx, "echo", []driver.NamedValue{{Ordinal: 1, Value: wide}})
	if err == nil {
		_ = rows.Close()
	}
}

// The connection breaks before, inside of or behind each message of either side. An
// acknowledged key is committed, once. A request that returns driver.ErrBadConn has
// not begun. A lost transaction is not committed. Only ErrCommitUnknown leaves that
// open. The server has no lock, connection or goroutine left.
func TestSweep(t *testing.T) {
	f := newFake()
	s := serve(t, f, nil)
	c, k := through(t, s.cfg.Path, [2]int{-1, -1}, 0)
	told := map[string]error{}
	program(c, func(key string, err error) { told[key] = err })
	require.NoError(t, c.Close())
	<-k.done[0]
	<-k.done[1]
	require.Len(t, told, 8)
	for key, err := range told {
		if key == "rollback" {
			require.Zero(t, f.commits(key))
			continue
		}
		require.NoError(t, err, key)
		require.Equal(t, 1, f.commits(key), key)
	}
	unknown := map[bool]int{} // committed or not
	for side, messages := range k.seen {
		for message := range messages {
			for _, part := range []int{0, 1, headSize + 1, headSize + pieceSize + 1, whole} {
				cut := [2]int{-1, -1}
				cut[side] = message
				sweep(t, fmt.Sprintf("side %d message %d part %d", side, message, part), cut, part, unknown)
			}
		}
	}
	require.NotZero(t, unknown[true], "an answer was lost behind a commit")
	require.NotZero(t, unknown[false], "a request was lost before a commit")
}

func sweep(t *testing.T, name string, cut [2]int, part int, unknown map[bool]int) {
	f := newFake()
	cfg := f.config(t)
	s, err := Listen(cfg)
	require.NoError(t, err)
	c, k := through(t, cfg.Path, cut, part)
	told := map[string]error{}
	program(c, func(key string, err error) { told[key] = err })
	require.NoError(t, c.Close())
	<-k.done[0]
	<-k.done[1]

	// The end of the tool frees the lock.
	other, err := (&Dialer{Path: cfg.Path}).Connect(ctx)
	require.NoError(t, err, name)
	_, err = other.ExecContext(ctx, "insert after", nil)
	require.NoError(t, err, name)
	require.NoError(t, other.Close())
	stop(t, s)
	require.Zero(t, f.get(&f.conns), name)
	require.Zero(t, f.get(&f.rows), name)
	require.Zero(t, f.get(&f.stmts), name)

	for key, err := range told {
		n := f.commits(key)
		require.LessOrEqual(t, n, 1, "%s: %s was committed twice", name, key)
		switch {
		case err == nil:
			require.Equal(t, 1, n, "%s: %s was acknowledged", name, key)
		case errors.Is(err, ErrCommitUnknown):
			require.NotErrorIs(t, err, driver.ErrBadConn)
			unknown[n == 1]++
		case errors.Is(err, driver.ErrBadConn):
			require.Zero(t, n, "%s: %s has begun", name, key)
			require.NotContains(t, []string{"commit", "words", "rollback"}, key, "%s: %s was in a transaction", name, key)
		default:
			require.Zero(t, n, "%s: %s: %v", name, key, err)
		}
	}
}

// Everything that a tool has open ends with the tool.
func TestEnds_open(t *testing.T) {
	f := newFake()
	s := serve(t, f, nil)
	for range 20 {
		c := one(t, s.cfg.Path)
		_, err := c.BeginTx(ctx, driver.TxOptions{})
		require.NoError(t, err)
		_, err = c.QueryContext(ctx, "rows 5000", nil)
		require.NoError(t, err)
		_, err = c.PrepareContext(ctx, "insert x")
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	stop, cancel := context.WithCancel(ctx)
	cancel()
	_, err := (&Dialer{Path: s.cfg.Path}).Connect(stop)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, one(t, s.cfg.Path).Ping(ctx))
}
