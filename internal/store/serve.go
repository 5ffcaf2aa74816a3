//go:build cgo

package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// This file has a store's tools: processes that work on its memory. Some are served by the
// store's own server (Serving). The server of another store may serve others, if they have
// attached this one (guest). Neither keep the store open. Its end ends them.

// endTime is how long the end of a store waits for the statements of tools, which it
// interrupts. It is a variable for the tests.
var endTime = 10 * time.Second

// Serving is what Options.Serve has begun.
type Serving interface {
	// Check makes sure that tools can find it. It calls owned before it replaces anything.
	// An error of that means that another process may serve the file.
	Check(owned func() error) error

	// Tools is the number of tools that are connected.
	Tools() int

	// Close interrupts what runs for tools, rolls their transactions back, and waits for
	// that until ctx ends. It is called before the last save.
	Close(ctx context.Context) error
}

// serving is the state of Options.Serve.
type serving struct {
	mu      sync.Mutex // guards the fields below; held across making a socket
	now     Serving    // nil: no tool is served
	ended   bool       // by endTools; no new one begins
	notLive bool       // the record of the process lock says so
	told    string     // text of the last error, which the logger has got

	// shown is now, stored under mu. It is atomic for Tools: a logger that is called under mu
	// may ask for the counters.
	shown atomic.Pointer[Serving]
}

// setLocked stores what serves the tools.
func (v *serving) setLocked(now Serving) {
	v.now = now
	v.shown.Store(&now)
}

// serve begins to serve tools, or makes sure that they can find what serves them. Somebody
// may have removed the socket. It is called at the load, at each flush, save and interval,
// and by start.
//
// If that cannot begin, the record of the process lock says so, and tools use the file. If a
// socket cannot be made again, the record stays, and new tools wait. Those before go on.
func (s *Store) serve() {
	if s.opts.Serve == nil || s.lock == nil || s.lost.Load() != nil {
		return // another process may serve it
	}
	v := &s.serving
	v.mu.Lock()
	if v.ended {
		v.mu.Unlock()
		return
	}
	var err error
	effect := "cannot connect"
	if v.now != nil {
		err = v.now.Check(s.owned)
	} else {
		effect = "see the file as last saved"
		if err = s.owned(); err == nil {
			now, serveErr := s.opts.Serve(s, s.loaded)
			v.setLocked(now)
			err = serveErr
		}
		if notLive := err != nil; notLive != v.notLive {
			v.notLive = notLive
			s.lock.SetLive(!notLive)
		}
	}
	told, text := v.told, ""
	if err != nil {
		text = err.Error()
	}
	v.told = text
	v.mu.Unlock()
	if text != "" && text != told {
		// Not under mu: a logger may ask for the counters.
		s.opts.Logger.Warn("sqlite-mem: tools of other processes "+effect+": "+text, "path", s.opts.Path)
	}
}

// serveAgain is serve, also after endTools.
func (s *Store) serveAgain() {
	s.serving.mu.Lock()
	s.serving.ended = false
	s.serving.mu.Unlock()
	s.serve()
}

// endTools ends the connections of tools to the store, and those that have attached it. Their
// transactions are rolled back. With closing set, or before the load has ended, no other
// attaches it. After an error some have not ended yet.
func (s *Store) endTools() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	guests := s.entry.endGuests() // before the wait for the others

	v := &s.serving
	v.mu.Lock()
	now := v.now
	v.setLocked(nil)
	v.ended = true
	v.mu.Unlock()
	var err error
	if now != nil {
		err = now.Close(ctx)
	}

	left := 0
	for _, g := range guests {
		select {
		case <-g.gone:
			continue
		default: // if both have ended, the connection counts
		}
		select {
		case <-g.gone:
		case <-ctx.Done():
			left++
		}
	}
	if left > 0 {
		err = errors.Join(err, fmt.Errorf("sqlite-mem: %s: %d live connections that have attached it have not ended: %w", s.opts.Path, left, ctx.Err()))
	}
	return err
}

// guest is the attachment of a tool's connection that another store serves.
type guest struct {
	end  func()        // ends the connection soon
	gone chan struct{} // closed when it has detached the store
}

// endGuests ends the connections of guests, and returns them.
func (e *entry) endGuests() []*guest {
	registry.mu.Lock()
	var all []*guest
	for g := range e.guests {
		all = append(all, g)
	}
	registry.mu.Unlock()
	for _, g := range all {
		g.end()
	}
	return all
}

func liveName(o Options) string {
	if o.Serve == nil {
		return "no"
	}
	return "yes"
}

// Tools is the number of connections that tools have to the store, or have attached it with.
func (s *Store) Tools() int {
	registry.mu.Lock()
	n := len(s.entry.guests)
	registry.mu.Unlock()
	if now := s.serving.shown.Load(); now != nil && *now != nil {
		n += (*now).Tools()
	}
	return n
}
