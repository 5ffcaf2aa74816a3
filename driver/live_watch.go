//go:build cgo

package driver

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/live"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// The server sends each Change to a live watcher as a line of JSON, as soon as there is one.
// The tool reads them as they come, and merges them until its loop asks. So a slow loop
// does not make the server wait.

// sendChanges is the server's side of controlWatch.
func sendChanges(ctx context.Context, from *store.Watcher, to io.Writer) error {
	defer from.Close()
	lines := json.NewEncoder(to)
	for {
		c, err := from.Next(ctx)
		if err == nil {
			err = lines.Encode(c)
		}
		if err != nil {
			return err
		}
	}
}

// maxLiveTables bounds the names that a tool keeps while its loop does not ask.
const maxLiveTables = 1000

// liveWatcher is a watcher in a tool.
type liveWatcher struct {
	line []byte        // a part of a line; of the goroutine that reads
	came chan struct{} // has room for one: something is new

	mu     sync.Mutex
	change Change // guarded by mu; Last is 0: nothing has come
	err    error  // guarded by mu; why nothing more comes
}

// watch begins to watch on a connection of its own. The end of ctx ends it.
func (b *liveBackend) watch(ctx context.Context) (watcher, error) {
	c, err := b.dial(ctx, true)
	if err != nil {
		return nil, err
	}
	liveCommits.settle(b.path, c.Info())
	w := &liveWatcher{came: make(chan struct{}, 1)}
	go func() {
		_, err := c.Control(ctx, controlWatch, nil, w)
		if errors.Is(err, driver.ErrBadConn) {
			err = fmt.Errorf("sqlite-mem: %s: %w", b.path, live.ErrNoServer) // it went before it began
		}
		w.end(connerr.Join(err, c.Close()))
	}()
	return w, nil
}

// Write takes what the server sends.
func (w *liveWatcher) Write(p []byte) (int, error) {
	w.line = append(w.line, p...)
	for {
		line, rest, whole := bytes.Cut(w.line, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		var c Change
		if err := json.Unmarshal(line, &c); err != nil {
			return 0, fmt.Errorf("sqlite-mem: the server has sent a change that cannot be read: %w", err)
		}
		w.line = append(w.line[:0], rest...)
		w.merge(c)
	}
}

// merge adds what has come to what was not asked for yet.
func (w *liveWatcher) merge(c Change) {
	w.mu.Lock()
	if w.change.Last > 0 {
		c.First = w.change.First
		c.All = c.All || w.change.All
		c.Tables = append(c.Tables, w.change.Tables...)
		slices.Sort(c.Tables)
		c.Tables = slices.Compact(c.Tables)
	}
	if c.All = c.All || len(c.Tables) > maxLiveTables; c.All {
		c.Tables = nil
	}
	w.change = c
	w.mu.Unlock()
	w.tell()
}

// end ends the watcher.
func (w *liveWatcher) end(err error) {
	w.mu.Lock()
	w.err = err
	w.mu.Unlock()
	w.tell()
}

func (w *liveWatcher) tell() {
	select {
	case w.came <- struct{}{}:
	default:
	}
}

// Next implements watcher.
func (w *liveWatcher) Next(ctx context.Context) (Change, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Change{}, err
		}
		w.mu.Lock()
		c, err := w.change, w.err
		w.change = Change{}
		w.mu.Unlock()
		switch {
		case c.Last > 0:
			return c, nil
		case err != nil:
			return c, err
		}
		select {
		case <-w.came:
		case <-ctx.Done():
		}
	}
}

// Close does nothing: the end of the context has the server end it.
func (w *liveWatcher) Close() {}
