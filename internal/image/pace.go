package image

import (
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// Pace is how a save shares the processors with the statements that run meanwhile. The
// zero value: as one of them.
type Pace struct {
	// Background lets the save run at a low CPU priority, so that it does not delay
	// the statements. It takes longer on a busy machine. Linux only; elsewhere it has
	// no effect.
	Background bool

	// Overdue is when a save in the background gets the ordinary priority, between two
	// pieces of at most 4 MiB. The zero time: never.
	Overdue time.Time
}

var paceClock = time.Now // a variable for the tests

// low reports whether the save runs at a low priority now.
func (p Pace) low() bool {
	return p.Background && (p.Overdue.IsZero() || paceClock().Before(p.Overdue))
}

// do runs f, a part of the save, at its pace, and tells it whether that is a low priority.
// A thread cannot raise its priority, so what is overdue goes on in another one.
func (p Pace) do(f func(low bool)) {
	if p.low() {
		osfile.InBackground(func() { f(true) })
	} else {
		f(false)
	}
}
