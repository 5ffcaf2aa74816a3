//go:build cgo

package store

import (
	"runtime"
	"strings"
	"sync"

	"github.com/sqlite-mem/sqlite-mem/internal/schedule"
)

// events calls Options.OnSync on a goroutine of its own, one event after the other, in the
// order of the saves. Only the end of the last Release waits for it, so the function may
// call anything.
//
// The queue has no limit. An event has some 100 bytes, and saves are an interval or a retry
// apart.
type events struct {
	call func(schedule.Event) // may be nil; never changed

	mu      sync.Mutex
	queue   []schedule.Event // guarded by mu
	running bool             // guarded by mu; true while a goroutine delivers
	drained sync.Cond        // of mu; signals that running has become false
}

func newEvents(call func(schedule.Event)) *events {
	e := &events{call: call}
	e.drained.L = &e.mu
	return e
}

// add queues an event. It does not wait.
func (e *events) add(ev schedule.Event) {
	if e.call == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = append(e.queue, ev)
	if !e.running {
		e.running = true
		go e.deliver()
	}
}

// deliver calls the function for each queued event, and ends.
func (e *events) deliver() {
	for {
		e.mu.Lock()
		if len(e.queue) == 0 {
			e.running = false
			e.drained.Broadcast()
			e.mu.Unlock()
			return
		}
		ev := e.queue[0]
		e.queue = e.queue[1:]
		e.mu.Unlock()
		e.call(ev)
	}
}

// wait returns when all events are delivered. Called by an OnSync function, of this store
// or another, it returns at once. Otherwise the function would wait for itself, or two for
// each other.
func (e *events) wait() {
	if e.call == nil || calledByDeliver() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.running {
		e.drained.Wait()
	}
}

// calledByDeliver reports whether this goroutine delivers events.
func calledByDeliver() bool {
	pcs := make([]uintptr, 64)
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs)
		frames := runtime.CallersFrames(pcs[:n])
		for {
			frame, more := frames.Next()
			if strings.HasSuffix(frame.Function, "/internal/store.(*events).deliver") {
				return true
			}
			if !more {
				break
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}
