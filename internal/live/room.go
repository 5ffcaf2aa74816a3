package live

import (
	"context"
	"sync"
)

// room is the memory that the requests of all tools share. A request that is larger than
// smallMessage waits for its share before anything of it is read. It keeps the share until
// it has run, as it has the arguments until then. Waiters come to their turn in the order
// in which they came, so a large request is not overtaken for ever.
type room struct {
	mu      sync.Mutex
	free    int64     // guarded by mu
	waiting []*waiter // guarded by mu
}

type waiter struct {
	n     int64
	ready chan struct{} // closed when it has its share
}

const (
	// argsWeight bounds the memory of maxArgs decoded arguments without their bytes.
	argsWeight = 32 << 20

	// roomSize is enough for one request of any size. A server has two rooms: see Server.
	roomSize = 2*messageLimit + argsWeight
)

// weight returns the bytes that a request of n bytes takes at most: its own, the texts that
// are copied out of it, and its arguments. A small one may become 32 times as large: an
// argument of 3 bytes takes 48, a time of 11 takes 300.
func weight(n int) int64 { return min(32*int64(n), 2*int64(n)+argsWeight) }

// take takes n bytes. It waits for them until ctx ends.
func (r *room) take(ctx context.Context, n int64) error {
	r.mu.Lock()
	if len(r.waiting) == 0 && r.free >= n {
		r.free -= n
		r.mu.Unlock()
		return nil
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	r.waiting = append(r.waiting, w)
	r.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-w.ready:
		r.free += n // its turn came meanwhile
	default:
		for i := range r.waiting {
			if r.waiting[i] == w {
				r.waiting = append(r.waiting[:i], r.waiting[i+1:]...)
				break
			}
		}
	}
	r.next()
	return ctx.Err()
}

// give gives n bytes back.
func (r *room) give(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free += n
	r.next()
}

// next lets the first waiters go on as far as there is room. The caller holds mu.
func (r *room) next() {
	for len(r.waiting) > 0 && r.waiting[0].n <= r.free {
		w := r.waiting[0]
		r.waiting = r.waiting[1:]
		r.free -= w.n
		close(w.ready)
	}
}
