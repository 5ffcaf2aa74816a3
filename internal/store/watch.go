//go:build cgo

package store

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
)

const (
	// maxTables and maxNames bound what is kept about tables, and so the names in a Change.
	// Beyond that, it has All.
	maxTables = 1000
	maxNames  = 1 << 20 // bytes of their names

	// maxAnnounced bounds what the commits have announced and nobody has taken.
	maxAnnounced = 1 << 16 // bytes of names
)

// watchers tells the watchers of a store of its commits. It keeps the last commit of each
// table. So a watcher that has seen commit n finds what has changed since, however much
// that is, and costs nobody anything while it does not look.
//
// A commit only appends to what is announced. A goroutine takes that, merges it and wakes
// the watchers. So a commit waits neither for a watcher nor longer the more there are. The
// goroutine runs while somebody watches.
type watchers struct {
	announced struct {
		mu     sync.Mutex    // guards the fields below; held to append or to take
		kick   chan struct{} // has room for one; nil: nobody watches
		last   uint64        // the last commit announced
		all    bool          // since the last take
		tables []byte        // names with a zero byte each, of the commits since the last take
	}

	mu     sync.Mutex         // guards the fields below; held to merge or to look
	last   uint64             // the last commit merged
	all    uint64             // the last commit that may have changed any table
	tables map[string]*uint64 // the last commit since then that may have changed the table
	names  int                // bytes of the keys of tables
	wake   chan struct{}      // closed with the next merge

	begin sync.Mutex    // guards the fields below; held to begin and to end the goroutine
	n     int           // watchers
	done  chan struct{} // closed at the end of the goroutine
}

var _ memvfs.Committer = (*Store)(nil)

// Announce implements memvfs.Committer.
func (s *Store) Announce(epoch uint64, tables []byte, all bool) {
	a := &s.watchers.announced
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kick == nil || epoch <= a.last {
		return // no watcher has begun before that commit
	}
	// A commit that was not announced may have changed any table.
	if a.all = a.all || all || epoch != a.last+1 || len(a.tables)+len(tables) > maxAnnounced; a.all {
		a.tables = a.tables[:0]
	} else {
		a.tables = append(a.tables, tables...)
	}
	a.last = epoch
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// run is the goroutine.
func (w *watchers) run(kick <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	var free []byte // the memory for what is announced next
	for range kick {
		a := &w.announced
		a.mu.Lock()
		last, all, tables := a.last, a.all, a.tables
		a.all, a.tables = false, free[:0]
		a.mu.Unlock()
		close(w.merge(last, all, tables))
		free = tables
	}
}

// merge adds what the commits up to last have changed, and returns the channel to close.
func (w *watchers) merge(last uint64, all bool, tables []byte) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = last
	for len(tables) > 0 && !all {
		var name []byte
		name, tables, _ = bytes.Cut(tables, []byte{0})
		commit := w.tables[string(name)]
		if commit == nil {
			commit = new(uint64)
			w.tables[string(name)] = commit
			w.names += len(name)
		}
		*commit = last
		all = len(w.tables) > maxTables || w.names > maxNames
	}
	if all {
		clear(w.tables)
		w.all, w.names = last, 0
	}
	wake := w.wake
	w.wake = make(chan struct{})
	return wake
}

// since returns what has changed behind commit seen. If that is nothing yet, wake is closed
// when there may be something.
func (w *watchers) since(seen uint64) (c Change, ok bool, wake <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last <= seen {
		return c, false, w.wake
	}
	c = Change{First: seen + 1, Last: w.last, All: w.all > seen}
	if !c.All {
		for name, commit := range w.tables {
			if *commit > seen {
				c.Tables = append(c.Tables, name)
			}
		}
	}
	return c, true, nil
}

// Watcher hears of the commits of a store. One goroutine at a time uses it.
type Watcher struct {
	w     *watchers
	seen  uint64
	begun bool // the first Change was returned
}

// Watch returns a watcher of the commits from now on. It needs a Close, and does not keep
// the store open.
func (s *Store) Watch() *Watcher {
	w := &s.watchers
	w.begin.Lock()
	defer w.begin.Unlock()
	if w.n++; w.n == 1 {
		memvfs.BeginWatch()
		kick := make(chan struct{}, 1)
		w.done = make(chan struct{})
		// A commit behind the epoch is published with watchers begun. It is announced, and
		// waits for the lock. So none is missed.
		a := &w.announced
		a.mu.Lock()
		epoch := s.Engine.Epoch()
		a.kick, a.last, a.all, a.tables = kick, epoch, false, nil
		a.mu.Unlock()
		w.mu.Lock()
		w.last, w.all, w.names, w.tables, w.wake = epoch, epoch, 0, make(map[string]*uint64), make(chan struct{})
		w.mu.Unlock()
		go w.run(kick, w.done)
	}
	// A commit up to seen may be announced a moment later. The first Change stands for it.
	return &Watcher{w: w, seen: s.Engine.Epoch()}
}

// Next waits for commits that the watcher has not heard of. The first call returns at once,
// and says that the commits so far may have changed all tables. The error is that of ctx.
func (w *Watcher) Next(ctx context.Context) (Change, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Change{}, err
		}
		if !w.begun {
			w.begun = true
			return Change{First: 1, Last: w.seen, All: true}, nil
		}
		c, ok, wake := w.w.since(w.seen)
		if ok {
			w.seen = c.Last
			slices.Sort(c.Tables)
			return c, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

// Close ends the watcher. The store may be closed already.
func (w *Watcher) Close() {
	b := w.w
	b.begin.Lock()
	defer b.begin.Unlock()
	if b.n--; b.n > 0 {
		return
	}
	memvfs.EndWatch()
	a := &b.announced
	a.mu.Lock()
	close(a.kick)
	a.kick, a.tables = nil, nil
	a.mu.Unlock()
	<-b.done // at the next Watch no older merge may be under way
	b.mu.Lock()
	b.tables, b.names = nil, 0
	b.mu.Unlock()
}
