//go:build cgo

package store

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/sqltext"
)

// ErrDeadlock is the error of a LockWriter whose wait would complete a deadlock.
var ErrDeadlock = errors.New("store: a deadlock of connections that write to several stores")

// Owner is a connection as a holder of write locks. It holds one for each store that its
// transaction writes, taken in the order of the writes. With ATTACH, two connections may
// wait for each other.
type Owner struct {
	held int    // number of locks that it holds; used by its goroutine only
	wait *Store // the store whose lock it waits for while it holds others; guarded by waits

	// Last is the text of the statement that the connection has run last under its locks, or
	// nil. It is atomic, because others name the holder of a lock by it.
	Last atomic.Pointer[string]
}

// Held is the number of locks that o holds. Only its own goroutine may ask.
func (o *Owner) Held() int { return o.held }

// HolderText says for people what the write lock is held for. holder is that of
// writelock.Stats or of its TimeoutError. A transaction is named by its last statement, too.
func (s *Store) HolderText(holder string) string {
	text := LockText(holder)
	if o := s.writer.Load(); o != nil && holder != "" {
		// The lock may have gone to another connection since holder was read. If that can be
		// seen, last is left out. Otherwise last is of a holder for the same purpose.
		_, what := holderParts(holder)
		if last := o.Last.Load(); last != nil && *last != what && s.Writer.Stats().Holder == holder && s.writer.Load() == o {
			text += "; last statement: " + sqltext.Redact(*last)
		}
	}
	return text
}

// LockText says for people what a lock is wanted or held for, without the values of SQL.
func LockText(holder string) string {
	who, what := holderParts(holder)
	return who + sqltext.Redact(what)
}

// Holder makes the holder of a lock of what a tool does, whose process has that number; 0 if
// it is not known.
func Holder(pid int, what string) string {
	if pid == 0 {
		return otherProcess + what
	}
	return "process " + strconv.Itoa(pid) + ": " + what
}

const otherProcess = "another process: "

// holderParts splits what Holder has made. No statement begins like that.
func holderParts(holder string) (who, what string) {
	if rest, ok := strings.CutPrefix(holder, otherProcess); ok {
		return otherProcess, rest
	}
	if rest, ok := strings.CutPrefix(holder, "process "); ok {
		if pid, what, ok := strings.Cut(rest, ": "); ok {
			if _, err := strconv.Atoi(pid); err == nil {
				return "process " + pid + ": ", what
			}
		}
	}
	return "", holder
}

// waits guards every Owner.wait. No other lock is taken under it.
var waits sync.Mutex

// LockWriter takes s.Writer for o. Its errors are those of writelock.Lock.Lock, and
// ErrDeadlock if the holder waits for o, directly or over others.
//
// Every deadlock is found. Each owner in one holds a lock and waits for another. It has
// stored the lock that it holds (writer) before it stores the one that it waits for (wait).
// It stores that under waits, where it also looks for a circle. So the last of them sees
// the whole circle.
//
// No false deadlock is found. writer is cleared before its lock is released. wait is cleared
// under waits, in the same step that stores the new lock. So no circle is ever seen that is
// not there.
func (s *Store) LockWriter(ctx context.Context, timeout time.Duration, what string, o *Owner) error {
	if o.held == 0 {
		if err := s.Writer.Lock(ctx, timeout, what); err != nil {
			return err
		}
		o.Last.Store(nil)
		s.writer.Store(o)
		o.held = 1
		s.watchMemory()
		return nil
	}
	waits.Lock()
	for at := s; at != nil; {
		w := at.writer.Load()
		if w == o {
			waits.Unlock()
			return ErrDeadlock
		}
		if w == nil {
			break
		}
		at = w.wait
	}
	o.wait = s
	waits.Unlock()

	err := s.Writer.Lock(ctx, timeout, what)

	waits.Lock()
	o.wait = nil
	if err == nil {
		s.writer.Store(o)
		o.held++
	}
	waits.Unlock()
	if err == nil {
		s.watchMemory()
	}
	return err
}

// UnlockWriter releases the lock that LockWriter took.
func (s *Store) UnlockWriter(o *Owner) {
	o.held--
	s.writer.Store(nil)
	s.Writer.Unlock()
}
