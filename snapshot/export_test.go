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
var Changing = []string{"create", "write", "sync", "rename", "remove", "syncDir"}

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

// PowerStates calls check with each state that a power failure may leave.
func (r Recording) PowerStates(t testing.TB, seed uint64, check func(PowerState)) int {
	opts := powerOptions{seed: seed, unread: func(name string) bool {
		return name[0] == '.' || strings.HasSuffix(name, ".lock") // temporary files, and a record of no account
	}}
	return r.powerStates(t, opts, func(s powerState) bool {
		check(PowerState{Dir: s.dir, Told: s.told, How: s.String()})
		return true
	})
}
