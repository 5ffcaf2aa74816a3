//go:build cgo

package image

import (
	"slices"
	"strings"
	"testing"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
)

// The tests of a whole process, in package image_test, use the seam by these functions. Each
// returns a function that undoes what it has done.

// Long is -long, and Sample the step of a sweep.
var (
	Long   = long
	Sample = sample
)

// Changing are the operations that change something on the disk, but for
// owners and modes.
var Changing = []string{"create", "write", "truncate", "sync", "link", "rename", "remove", "syncDir"}

// SetPoints makes the package call point before each operation that changes something, with
// the operation and the name of the file.
func SetPoints(point func(name string)) (restore func()) {
	return setSystem(&osfiletest.FaultFS{FS: system, Before: func(op string) {
		if verb, _, _ := strings.Cut(op, " "); slices.Contains(Changing, verb) {
			point(op)
		}
	}})
}

// PlantInPlace makes saves write the file in place: a known fault.
func PlantInPlace() (restore func()) { return setSystem(inPlace(system)) }

// PlantLogBeforeBase makes a save rename the new log before the new base: a known fault.
func PlantLogBeforeBase() (restore func()) { return setSystem(logBeforeBase(system)) }

// PlantUnsyncedLog makes the package never sync a log: a known fault.
func PlantUnsyncedLog() (restore func()) { return setSystem(unsyncedLog(system)) }

// SetLogAhead sets how many zeros are written behind a log, so that the tests copy little.
func SetLogAhead(n int) (restore func()) {
	was := pagelog.Ahead
	pagelog.Ahead = n
	return func() { pagelog.Ahead = was }
}

// SetFault fails the operation number n, from 1; with forever set, all later ones too. The
// errors take turns.
func SetFault(n int, forever bool) (f *osfiletest.FaultFS, restore func()) {
	with := faults[n%len(faults)]
	f = &osfiletest.FaultFS{FS: system, FailAt: n, Forever: forever, Err: with.err, Short: with.short}
	return f, setSystem(f)
}

func setSystem(f osfile.FS) (restore func()) {
	was := system
	system = f
	return func() { system = was }
}

// RecordSystem begins a recording of all that the process does in the directory root.
func RecordSystem(t testing.TB, root string) (r *osfiletest.Recording, restore func()) {
	r = osfiletest.Record(t, root)
	return r, setSystem(r.FS(system))
}

// ServerStates are the options for the states that a power failure leaves of a server. With
// -long there are more.
func ServerStates(seed uint64) osfiletest.PowerOptions {
	opts := osfiletest.PowerOptions{Contents: 32, States: 32, Samples: 4}
	if *long > 0 {
		opts = osfiletest.PowerOptions{}
	}
	opts.Seed, opts.Unread = seed, func(name string) bool {
		return name[0] == '.' || strings.HasSuffix(name, ".lock") // temporary files, and a record of no account
	}
	return opts
}
