//go:build cgo

package store

import (
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/slow"
)

// pins watches a save or a backup as a reader: see Options.SlowReader. The caller calls end
// when the state is not pinned any more.
func (s *Store) pins(what string) (end func()) {
	w := slow.New(s.opts.SlowReader, func(age time.Duration, lasts func() bool) {
		if lasts() {
			s.LogSlowReader(age, "statement", what)
		}
	})
	w.Begin()
	return w.Close
}

// LogSlowReader tells the logger of a reader that keeps its state for long. args are further
// ones of the logger, which name it.
func (s *Store) LogSlowReader(age time.Duration, args ...any) {
	s.opts.Logger.Warn("sqlite-mem: a reader keeps an old state for long; the page versions that it needs stay in memory",
		append([]any{"path", s.opts.Path, "age", age}, args...)...)
}
