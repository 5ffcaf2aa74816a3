package live

import (
	"bytes"
	"database/sql/driver"
	"errors"
	"io"
	"math"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// conversation joins the messages that a tool sends.
func conversation(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func ask(n uint64, o op, change func(*request), args ...driver.NamedValue) []byte {
	req := &request{N: n, Op: o}
	if change != nil {
		change(req)
	}
	values, err := appendArgs(nil, args)
	if err != nil {
		panic(err)
	}
	return framed(kindRequest, append(encode(req), values...))
}

func text(s string) func(*request)   { return func(r *request) { r.Text = s } }
func number(n uint64) func(*request) { return func(r *request) { r.ID = n } }

// Whatever bytes come, a session ends, leaves nothing behind, and takes memory in
// proportion to what was sent.
func FuzzServer(f *testing.F) {
	greeting := framed(kindHello, encode(hello{Version: Version, Params: map[string]string{"_loc": "UTC"}}))
	cancel := framed(kindCancel, appendHead(nil, majorUint, 1))
	f.Add([]byte(nil))
	f.Add(greeting)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(framed(kindHello, encode(hello{Version: 2})))
	f.Add(conversation(greeting, ask(1, opExec, text("insert a")), cancel))
	f.Add(conversation(greeting, ask(1, opExec, text("block")), cancel, ask(2, opPing, nil)))
	f.Add(conversation(greeting, ask(1, opQuery, text("rows 100000")), ask(2, opFetch, number(1))))
	f.Add(conversation(greeting, ask(1, opQuery, text("echo"), driver.NamedValue{Ordinal: 1, Value: time.Now()}, driver.NamedValue{Ordinal: 2, Name: "x", Value: []byte("b")}, driver.NamedValue{Ordinal: 3, Value: math.NaN()})))
	f.Add(conversation(greeting, ask(1, opPrepare, text("rows 3")), ask(2, opStmtQuery, number(1)), ask(3, opStmtClose, number(1))))
	f.Add(conversation(greeting, ask(1, opBegin, func(r *request) { r.ReadOnly = true }), ask(2, opCommit, nil), ask(3, opRollback, nil)))
	f.Add(conversation(greeting, ask(1, opExec, text("begin")), ask(2, opReset, nil), ask(3, opControl, text("sync"))))
	f.Add(conversation(greeting, ask(1, opQuery, text("panic"))))
	f.Add(conversation(greeting, []byte{kindRequest, 0x80, 0, 0, 2, 1, 2, kindRequest, 0x80, 0, 0, 1, 3}))
	f.Add(conversation(greeting, []byte{kindRequest, 0xff, 0xff, 0xff, 0xff}))
	f.Add(conversation(greeting, framed(kindRequest, append(encode(&request{N: 1, Op: opExec}), appendHead(nil, majorUint, maxArgs)...))))
	f.Add(conversation(greeting, framed(kindRequest, []byte{0x9b, 0, 0, 0, 1, 0, 0, 0, 0})))
	f.Add(conversation(greeting, framed(kindRequest, bytes.Repeat([]byte{0x81}, 1000))))
	f.Fuzz(func(t *testing.T, sent []byte) {
		fake := newFake()
		fake.narrow = true
		cfg := fake.config(t)
		cfg.Limit = 1
		s := newServer(cfg)
		a, b := net.Pipe()
		before := allocated()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.talk(b, newWire(b), Peer{})
			_ = b.Close()
		}()
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			_, _ = io.Copy(io.Discard, a)
		}()
		_, _ = a.Write(sent)
		_ = a.Close()
		<-done
		<-heard
		s.wg.Wait()
		s.cancel()
		// The base is for what the fake makes of a query.
		if grew := allocated() - before; grew > 64<<20+100*uint64(len(sent)) {
			t.Fatalf("%d bytes made the server allocate %d", len(sent), grew)
		}
		require.Zero(t, fake.get(&fake.conns))
		require.Zero(t, fake.get(&fake.rows))
		require.Zero(t, fake.get(&fake.stmts))
		require.Empty(t, fake.lock)
		require.Empty(t, s.slots)
		require.Equal(t, int64(roomSize), s.alone.free)
		require.Equal(t, int64(roomSize), s.locks.free)
	})
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// hears returns a connection whose server sends these bytes and then ends.
func hears(sent []byte) *Conn {
	a, b := net.Pipe()
	go func() {
		_, _ = b.Write(sent)
		_ = b.Close()
	}()
	go func() { _, _ = io.Copy(io.Discard, b) }()
	return &Conn{dialer: &Dialer{Location: time.UTC, DecodeError: decodeFake}, net: a, wire: newWire(a), quiet: func() bool { return true }}
}

// Whatever bytes come from a server, a tool gets values or an error.
func FuzzClient(f *testing.F) {
	f.Add(conversation(framed(kindAnswer, append(encode(&answer{N: 1, ID: 1, Rows: 1, Done: true, Columns: []column{{Name: "n", Type: "INT", Scan: 3}}}), 1))))
	f.Add(conversation(framed(kindAnswer, encode(&answer{N: 1, Err: &wireError{Kind: errCoded, Text: "x", Data: []byte("fake")}}))))
	f.Add(conversation(framed(kindAnswer, append(encode(&answer{N: 1, ID: 1, Rows: 1, Columns: []column{{Name: "n"}}}), itemNull)), framed(kindBye, encode(bye{Reason: "x", Last: 1}))))
	f.Add(conversation(framed(kindAnswer, encode(&answer{N: 1, ID: 1, Rows: math.MaxInt, Done: true}))))
	f.Add(conversation(framed(kindBye, encode(bye{Reason: "x"}))))
	f.Add(conversation(framed(kindData, []byte("x"))))
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := hears(sent)
		rows, err := c.QueryContext(ctx, "select", nil)
		if err == nil {
			row := make([]driver.Value, len(rows.Columns()))
			for i := range row {
				rows.(driver.RowsColumnTypeScanType).ColumnTypeScanType(i)
			}
			for err == nil {
				err = rows.Next(row)
			}
			_ = rows.Close()
		}
		if c.broken == nil {
			_, _ = c.ExecContext(ctx, "insert", nil)
		}
		_ = c.Close()
	})
}

// A value that can be read is written as it was, and one that cannot is an error of
// the protocol.
func FuzzValue(f *testing.F) {
	for _, v := range []driver.Value{nil, int64(-1), 1.5, true, "text", []byte("bytes"), []byte(nil), time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("X", 3600))} {
		b, err := appendValue(nil, v)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, rest, err := readValue(b)
		if err != nil {
			if !errors.Is(err, errProtocol) {
				t.Fatal(err)
			}
			return
		}
		again, err := appendValue(nil, v)
		require.NoError(t, err)
		w, left, err := readValue(again)
		require.NoError(t, err)
		require.Empty(t, left)
		if x, ok := v.(time.Time); ok {
			if !x.Equal(w.(time.Time)) || x.Format(time.RFC3339Nano) != w.(time.Time).Format(time.RFC3339Nano) {
				t.Fatal(v, w)
			}
			return
		}
		if x, ok := v.(float64); ok && math.IsNaN(x) {
			require.Equal(t, math.Float64bits(x), math.Float64bits(w.(float64)))
			return
		}
		require.Equal(t, v, w)
		require.LessOrEqual(t, len(again), len(b)-len(rest), "the shortest form")
	})
}
