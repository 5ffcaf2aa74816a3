//go:build cgo

package driver

import (
	"context"
	"log/slog"
	"sync"
)

// late keeps back what is logged while the connector holds its turn. A logger may ask for the
// counters, and ReadStats waits for the turn. The turn is held across a load, so it also
// waits for the load if another handle has begun that. Records of other goroutines that come
// meanwhile are kept back too.
type late struct {
	to *slog.Logger // nil: slog.Default()

	mu   sync.Mutex // guards the fields below; no logger runs under it
	hold bool
	kept []func()
}

// begin begins to keep back.
func (l *late) begin() {
	l.mu.Lock()
	l.hold = true
	l.mu.Unlock()
}

// end ends that. flush logs what was kept back.
func (l *late) end() (flush func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.kept
	l.hold, l.kept = false, nil
	return func() {
		for _, log := range kept {
			log()
		}
	}
}

// keep keeps log back, or reports false.
func (l *late) keep(log func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hold {
		l.kept = append(l.kept, log)
	}
	return l.hold
}

// handler returns the handler of a logger that logs by late.
func (l *late) handler() slog.Handler {
	return lateHandler{l, func() slog.Handler {
		if l.to == nil {
			return slog.Default().Handler()
		}
		return l.to.Handler()
	}}
}

type lateHandler struct {
	late *late
	to   func() slog.Handler
}

func (h lateHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.to().Enabled(ctx, level)
}

func (h lateHandler) Handle(ctx context.Context, r slog.Record) error {
	kept := r.Clone()
	if h.late.keep(func() { _ = h.to().Handle(ctx, kept) }) {
		return nil
	}
	return h.to().Handle(ctx, r)
}

func (h lateHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return lateHandler{h.late, func() slog.Handler { return h.to().WithAttrs(attrs) }}
}

func (h lateHandler) WithGroup(name string) slog.Handler {
	return lateHandler{h.late, func() slog.Handler { return h.to().WithGroup(name) }}
}
