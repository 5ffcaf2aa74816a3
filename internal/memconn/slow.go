//go:build cgo

package memconn

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/slow"
	"github.com/sqlite-mem/sqlite-mem/internal/sqltext"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// slowConn tells the logger when a connection holds a write lock, or keeps a state pinned,
// for longer than its Database allows. It does so while that lasts, once.
//
// What only the connection's goroutine uses is c. The other fields are read by the timers as
// well, and are atomic.
type slowConn struct {
	c              *conn
	writer, reader *slow.Watch // nil: not watched

	who   string                      // of a guest: its process, and ": "
	began atomic.Pointer[string]      // the statement with which the reader began; nil: none has run yet
	last  atomic.Pointer[string]      // the last statement
	locks atomic.Pointer[store.Store] // the store whose lock was taken first

	// The stacks of where writer and reader began; nil if they are not wanted.
	writerStack, readerStack atomic.Pointer[[]uintptr]
}

// newSlow returns nil if nothing is to be watched.
func newSlow(c *conn) *slowConn {
	if c.opts.SlowWriter <= 0 && c.opts.SlowReader <= 0 {
		return nil
	}
	s := &slowConn{c: c}
	if c.opts.Guest != 0 {
		s.who = store.Holder(max(c.opts.Guest, 0), "")
	}
	s.writer = slow.New(c.opts.SlowWriter, s.slowWriter)
	s.reader = slow.New(c.opts.SlowReader, s.slowReader)
	return s
}

// close ends the watch of a connection that is over. A nil slowConn has none.
func (s *slowConn) close() {
	if s != nil {
		s.writer.Close()
		s.reader.Close()
	}
}

// stack keeps the stack of the caller of the driver, if it is wanted. That of a guest is the
// server's own and says nothing.
func (s *slowConn) stack(at *atomic.Pointer[[]uintptr]) {
	if s.c.opts.SlowStacks && s.c.opts.Guest == 0 {
		pcs := make([]uintptr, 32)
		pcs = pcs[:runtime.Callers(3, pcs)]
		at.Store(&pcs)
	}
}

// wrote comes after a write lock was taken.
func (s *slowConn) wrote(of *store.Store) {
	if s.writer != nil && s.c.owner.Held() == 1 {
		s.locks.Store(of)
		s.stack(&s.writerStack)
		s.writer.Begin()
	}
}

// enter comes before statements run, any of which may begin to read.
func (s *slowConn) enter() {
	if s.reader != nil && !s.reading() {
		s.began.Store(nil)
		s.last.Store(nil)
		s.stack(&s.readerStack)
		s.reader.Begin()
	}
}

// runs comes before a statement runs.
func (s *slowConn) runs(st *statement) {
	s.last.Store(&st.text)
	if s.began.Load() == nil {
		s.began.Store(&st.text)
	}
}

var readOnlyTransaction = "read-only transaction"

// pins comes before a read-only transaction pins its state.
func (s *slowConn) pins() {
	if s.reader != nil {
		s.began.Store(&readOnlyTransaction)
		s.last.Store(nil)
		s.stack(&s.readerStack)
		s.reader.Begin()
	}
}

// leave comes after statements have run.
func (s *slowConn) leave() {
	if s.reader != nil && !s.reading() {
		s.reader.End()
	}
}

// reading reports whether the connection keeps a state.
func (s *slowConn) reading() bool { return s.c.tx == txReadOnly || s.c.reading() }

func (s *slowConn) slowWriter(age time.Duration, lasts func() bool) {
	of := s.locks.Load()
	lock := of.Writer.Stats()
	args := append([]any{"path", of.Path(), "held", age, "waiting", lock.Waiting, "statement", of.HolderText(lock.Holder)}, frames(&s.writerStack)...)
	if lasts() {
		of.Logger().Warn("sqlite-mem: a writer holds the write lock for long", args...)
	}
}

// slowReader leaves a writer, which keeps a state as well, to slowWriter.
func (s *slowConn) slowReader(age time.Duration, lasts func() bool) {
	began, last := s.began.Load(), s.last.Load()
	text := "a statement"
	if began != nil {
		text = sqltext.Redact(*began)
	}
	args := []any{"statement", s.who + text}
	if last != nil && last != began {
		args = append(args, "last_statement", sqltext.Redact(*last))
	}
	args = append(args, frames(&s.readerStack)...)
	if !s.writer.Lasts() && lasts() {
		s.c.store.LogSlowReader(age, args...) // c.store is never changed
	}
}

// frames is a stack as arguments of a logger, none if there is no stack.
func frames(at *atomic.Pointer[[]uintptr]) []any {
	pcs := at.Load()
	if pcs == nil {
		return nil
	}
	var b strings.Builder
	for frames := runtime.CallersFrames(*pcs); ; {
		f, more := frames.Next()
		fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		if !more {
			return []any{"stack", b.String()}
		}
	}
}
