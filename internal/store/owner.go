//go:build cgo

package store

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrDeadlock is the error of a LockWriter whose wait would never end.
var ErrDeadlock = errors.New("store: a deadlock of connections that write to several stores")

// Owner is a connection as an owner of write locks. It has one for each store
// that its transaction writes, in the order in which it comes to write them:
// ATTACH makes it possible that two connections wait for each other.
type Owner struct {
	held int    // locks it has; its goroutine's alone
	wait *Store // what it waits for while it has locks. Guarded by waits
}

// waits guards every Owner.wait. No other lock is taken under it.
var waits sync.Mutex

// LockWriter takes s.Writer for o. The errors are those of writelock.Lock.Lock,
// and ErrDeadlock when the holder waits, over however many others, for o.
//
// Why no deadlock is missed, and none found that is not there: whoever is part
// of one has a lock and waits for another. It has noted what it has (writer)
// before it notes what it waits for (wait), and notes that under the mutex,
// where it looks for a circle. The last one to do so sees the whole of it. A
// writer is forgotten before its lock is given back, and a wait in the same
// breath in which its lock is noted, so there is never a circle to be seen
// that is none.
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

// UnlockWriter gives back what LockWriter has taken.
func (s *Store) UnlockWriter(o *Owner) {
	o.held--
	s.writer.Store(nil)
	s.Writer.Unlock()
}
