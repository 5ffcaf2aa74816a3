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

// What the tests of the whole process, in package snapshot_test, need of the
// seam. Each returns what puts things back.

// Long is -long.
var Long = long

// Changing are the operations that change something on the disk, but for
// owners and modes.
var Changing = []string{"create", "write", "truncate", "sync", "link", "rename", "remove", "syncDir"}

// SetPoints has point called before each operation that changes something,
// with the operation and the file's name.
func SetPoints(point func(name string)) (restore func()) {
	return setSystem(&osfiletest.FaultFS{FS: system, Before: func(op string) {
		if verb, _, _ := strings.Cut(op, " "); slices.Contains(Changing, verb) {
			point(op)
		}
	}})
}

// PlantInPlace has files written in place, a known fault.
func PlantInPlace() (restore func()) { return setSystem(inPlace(system)) }

// PlantLogBeforeBase has a save change base and log in the wrong order, a known
// fault.
func PlantLogBeforeBase() (restore func()) { return setSystem(logBeforeBase(system)) }

// PlantUnsyncedLog has a log never synced, a known fault.
func PlantUnsyncedLog() (restore func()) { return setSystem(unsyncedLog(system)) }

// SetLogAhead sets how far a log is written ahead, so that what the tests copy
// is small.
func SetLogAhead(n int) (restore func()) {
	was := pagelog.Ahead
	pagelog.Ahead = n
	return func() { pagelog.Ahead = was }
}

// SetFault fails the operation number n, from 1, and with forever set all that
// follow. The errors take turns.
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

// ServerStates are the options for the states that a power failure leaves of a server.
func ServerStates(seed uint64) osfiletest.PowerOptions {
	return osfiletest.PowerOptions{Seed: seed, Unread: func(name string) bool {
		return name[0] == '.' || strings.HasSuffix(name, ".lock") // temporary files, and a record of no account
	}}
}
