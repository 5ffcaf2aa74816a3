//go:build cgo

package store

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrDeadlock is the error of a LockWriter whose wait would complete a deadlock.
var ErrDeadlock = errors.New("store: a deadlock of connections that write to several stores")

// Owner is a connection as a holder of write locks. It holds one for each store that its
// transaction writes, taken in the order of the writes. With ATTACH, two connections may
// wait for each other.
type Owner struct {
	held int    // number of locks that it holds; used by its goroutine only
	wait *Store // the store whose lock it waits for while it holds others; guarded by waits
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
		s.writer.Store(o)
		o.held = 1
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
	return err
}

// UnlockWriter releases the lock that LockWriter took.
func (s *Store) UnlockWriter(o *Owner) {
	o.held--
	s.writer.Store(nil)
	s.Writer.Unlock()
}
