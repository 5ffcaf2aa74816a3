//go:build cgo

package snapshot

import (
	"slices"
	"strings"
	"testing"
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
	return setSystem(&faultFS{fsys: system, before: func(op string) {
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
	was := logAhead
	logAhead = n
	return func() { logAhead = was }
}

// Failing is a disk that fails: see SetFault.
type Failing struct{ *faultFS }

// Failed is what has failed by now.
func (f Failing) Failed() []string { return f.failures() }

// Cease ends the failing.
func (f Failing) Cease() { f.cease() }

// SetFault fails the operation number n, from 1, and with forever set all that
// follow. The errors take turns.
func SetFault(n int, forever bool) (f Failing, restore func()) {
	with := faults[n%len(faults)]
	f = Failing{&faultFS{fsys: system, failAt: n, forever: forever, err: with.err, short: with.short}}
	return f, setSystem(f.faultFS)
}

// Finds reports whether f fails its test.
var Finds = finds

func setSystem(f fsys) (restore func()) {
	was := system
	system = f
	return func() { system = was }
}

// Recording is a recording of all that the process does in a directory.
type Recording struct{ *recording }

// PowerState is a state that a power failure may leave.
type PowerState struct {
	Dir  string
	Told int
	How  string
}

// RecordSystem begins a recording.
func RecordSystem(t testing.TB, root string) (r Recording, restore func()) {
	r = Recording{record(t, root)}
	return r, setSystem(r.fs(system))
}

// Tell notes an acknowledgement.
func (r Recording) Tell() { r.tell() }

// PowerStates calls check with each state that a power failure may leave, until
// it returns false.
func (r Recording) PowerStates(t testing.TB, seed uint64, check func(PowerState) bool) int {
	opts := powerOptions{seed: seed, unread: func(name string) bool {
		return name[0] == '.' || strings.HasSuffix(name, ".lock") // temporary files, and a record of no account
	}}
	return r.powerStates(t, opts, func(s powerState) bool {
		return check(PowerState{Dir: s.dir, Told: s.told, How: s.String()})
	})
}
