package image

import (
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// Pace is the priority of a save among the statements that run meanwhile. The zero value is that
// of a statement.
type Pace struct {
	// Background makes the save run at a low CPU priority, so that it does not delay the
	// statements. On a busy machine it takes longer. It has an effect on Linux only.
	Background bool

	// Overdue is when a save in the background gets the ordinary priority, at the next
	// piece of at most 4 MiB. The zero time: never.
	Overdue time.Time
}

// paceClock is a variable for the tests.
var paceClock = time.Now

// low reports whether the save runs at a low priority now.
func (p Pace) low() bool {
	return p.Background && (p.Overdue.IsZero() || paceClock().Before(p.Overdue))
}

// do runs f, a part of the save, at the priority of now, and tells it whether that is low. A
// thread cannot raise its priority, so a part that is overdue runs on another one.
func (p Pace) do(f func(low bool)) {
	if p.low() {
		osfile.InBackground(func() { f(true) })
	} else {
		f(false)
	}
}
