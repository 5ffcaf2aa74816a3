package live

import (
	"context"
	"database/sql/driver"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (r *room) waiters() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting)
}

func (r *room) left() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.free
}

// Waiters for room come to their turn in their order. A small one does not overtake a
// large one, and one that gives up keeps nobody waiting and nothing.
func TestRoom(t *testing.T) {
	r := room{free: 10}
	require.NoError(t, r.take(ctx, 6))
	turns := make(chan int64, 3)
	quit, cancel := context.WithCancel(ctx)
	gone := make(chan error)
	for i, n := range []int64{8, 9, 2} {
		go func() {
			if n == 9 {
				gone <- r.take(quit, n)
				return
			}
			_ = r.take(ctx, n)
			turns <- n
		}()
		eventually(t, func() bool { return r.waiters() == i+1 }, "its place")
	}
	require.Empty(t, turns, "there are 4 left, and the first wants 8")
	r.give(6)
	require.EqualValues(t, 8, <-turns)
	require.Equal(t, 2, r.waiters())
	cancel()
	require.ErrorIs(t, <-gone, context.Canceled)
	require.EqualValues(t, 2, <-turns)
	r.give(8)
	r.give(2)
	require.EqualValues(t, 10, r.left())
}

// The requests of all tools share the server's room until they have run. One that finds
// none waits unread, and a transaction for which others wait is not among those that
// wait for them.
func TestRoom_requests(t *testing.T) {
	f := newFake()
	s := serve(t, f, nil)
	const size = 100 << 10
	for _, r := range []*room{&s.alone, &s.locks} {
		r.mu.Lock()
		r.free = weight(size + 100) // of one such request
		r.mu.Unlock()
	}
	full := s.alone.left()
	args := []driver.NamedValue{{Ordinal: 1, Value: strings.Repeat("x", size)}}
	block := func() (end context.CancelFunc, ended chan error) {
		c := one(t, s.cfg.Path)
		ctx, cancel := context.WithCancel(ctx)
		ended = make(chan error, 1)
		go func() {
			_, err := c.ExecContext(ctx, "block", args)
			ended <- err
		}()
		return cancel, ended
	}
	end, ended := block()
	<-f.blocked
	end2, ended2 := block()
	eventually(t, func() bool { return s.alone.waiters() == 1 }, "the wait for room")

	inTx := one(t, s.cfg.Path)
	_, err := inTx.BeginTx(ctx, driver.TxOptions{})
	require.NoError(t, err)
	_, err = inTx.ExecContext(ctx, "insert x", args)
	require.NoError(t, err, "the holder of the lock waits for no other request")
	require.Equal(t, full, s.locks.left())
	_, err = one(t, s.cfg.Path).ExecContext(ctx, "rollback", []driver.NamedValue{{Ordinal: 1, Value: strings.Repeat("x", 1000)}})
	require.NoError(t, err, "a small request needs no room")
	require.Empty(t, f.blocked, "the second runs beside the first")

	end()
	require.ErrorIs(t, <-ended, context.Canceled)
	<-f.blocked
	end2()
	require.ErrorIs(t, <-ended2, context.Canceled)
	require.Equal(t, full, s.alone.left())
}

// A transaction that holds the write lock finds room, also while others have large requests
// and wait for that lock: outside of transactions, and in those that have not written yet.
func TestRoom_lock(t *testing.T) {
	f := newFake()
	s := serve(t, f, func(cfg *ServerConfig) { cfg.Idle = time.Second })
	const size = 100 << 10
	for _, r := range []*room{&s.alone, &s.locks} {
		r.mu.Lock()
		r.free = weight(size + 100) // of one such request
		r.mu.Unlock()
	}
	args := []driver.NamedValue{{Ordinal: 1, Value: strings.Repeat("x", size)}}
	for _, begin := range []string{"", "deferred"} {
		holder, other := one(t, s.cfg.Path), one(t, s.cfg.Path)
		tx, err := holder.BeginTx(ctx, driver.TxOptions{})
		require.NoError(t, err)
		if begin != "" {
			_, err := other.ExecContext(ctx, begin, nil)
			require.NoError(t, err)
		}
		written := make(chan error, 1)
		go func() {
			_, err := other.ExecContext(ctx, "insert y", args)
			written <- err
		}()
		eventually(t, func() bool { return f.get(&f.waiting) == 1 }, "the wait for the lock")
		_, err = holder.ExecContext(ctx, "insert x", args)
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		require.NoError(t, <-written)
		require.True(t, other.IsValid())
	}
}

// A request that breaks off gives its room back, wherever it breaks off. A large message
// that is no request, or comes beside one, gets none.
func TestRoom_broken(t *testing.T) {
	f := newFake()
	s := serve(t, f, nil)
	req := append(encode(&request{N: 1, Op: opExec, Text: "insert x"}), make([]byte, 2*smallMessage)...)
	for name, send := range map[string]func(w *wire){
		"cut": func(w *wire) {
			_, _ = w.c.Write(framed24(kindRequest, len(req)))
			_, _ = w.c.Write(req[:smallMessage+1])
		},
		"bad":        func(w *wire) { _, _ = w.write(kindRequest, req) },
		"no request": func(w *wire) { _, _ = w.write(kindCancel, make([]byte, smallMessage+1)) },
	} {
		nc, err := dial(ctx, s.cfg.Path)
		require.NoError(t, err)
		w := newWire(nc)
		_, err = w.write(kindHello, encode(hello{Version: Version}))
		require.NoError(t, err)
		_, _, err = w.read(helloLimit, nil)
		require.NoError(t, err)
		send(w)
		require.NoError(t, nc.CloseWrite())
		_, err = io.Copy(io.Discard, nc)
		if err == nil {
			require.NoError(t, nc.Close())
		}
		eventually(t, func() bool { return s.alone.left() == roomSize }, name)
	}
}

// framed24 is the beginning of a message of n bytes.
func framed24(kind byte, n int) []byte {
	return []byte{kind, 0, byte(n >> 16), byte(n >> 8), byte(n)}
}

// Decoded, a request takes no more memory than its weight, whatever its arguments are.
func TestRoom_weight(t *testing.T) {
	for name, v := range map[string]driver.Value{
		"null": nil, "int": int64(1), "large int": int64(math.MinInt64), "float": 1.5, "bool": true, "text": "x", "no text": "", "blob": []byte{1},
		"time": time.Unix(1, 0).In(time.FixedZone("", 1)), "long text": strings.Repeat("x", 10_000),
	} {
		for _, size := range []int{smallMessage, 8 << 20} {
			n := min(maxArgs, size/(sizeOf(v)+2))
			if _, ok := v.(time.Time); ok {
				n = min(maxArgs, size/16)
			}
			args := make([]driver.NamedValue, n)
			for i := range args {
				args[i].Value = v
			}
			b, err := appendArgs(nil, args)
			require.NoError(t, err)
			before := allocated()
			got, err := readArgs(b)
			require.NoError(t, err)
			require.Len(t, got, n)
			took := int64(allocated()-before) + int64(len(b))
			require.LessOrEqual(t, took, weight(len(b)), "%s: %d bytes", name, len(b))
		}
	}
	_, err := appendArgs(nil, make([]driver.NamedValue, maxArgs+1))
	require.ErrorContains(t, err, "65537 arguments; a live connection takes 65536")
}

// A large row is sent without a copy of it.
func TestRows_large(t *testing.T) {
	f := newFake()
	s := serve(t, f, nil)
	nc, err := dial(ctx, s.cfg.Path)
	require.NoError(t, err)
	defer nc.Close()
	w := newWire(nc)
	_, err = w.write(kindHello, encode(hello{Version: Version}))
	require.NoError(t, err)
	_, _, err = w.read(helloLimit, nil)
	require.NoError(t, err)
	const size = 64 << 20
	before := allocated()
	_, err = w.write(kindRequest, encode(&request{N: 1, Op: opQuery, Text: "wide 67108864"}), appendHead(nil, majorUint, 0))
	require.NoError(t, err)
	_, err = io.CopyN(io.Discard, w.r, headSize+size)
	require.NoError(t, err)
	// The fake makes the row itself.
	require.Less(t, allocated()-before, uint64(size+8<<20), "the row is copied")
}

// The texts of the prepared statements of a connection are bounded.
func TestPrepare_limit(t *testing.T) {
	f := newFake()
	c := one(t, serve(t, f, nil).cfg.Path)
	const size = maxPreparedText / 16
	var last driver.Stmt
	for range 16 {
		st, err := c.PrepareContext(ctx, strings.Repeat("x", size))
		require.NoError(t, err)
		last = st
	}
	_, err := c.PrepareContext(ctx, "y")
	require.ErrorContains(t, err, "close some")
	require.NoError(t, last.Close())
	_, err = c.PrepareContext(ctx, "y")
	require.NoError(t, err)
}
