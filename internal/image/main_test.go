package image

import (
	"context"
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sqlite-mem/sqlite-mem/internal/crash"
)

// long is the least time that the tests which use again run. They run their usual rounds in
// any case. If it is not 0, sweeps are complete.
var long = flag.Duration("long", 0, "how long TestPowerLoss and TestCrash_* go on; if not 0, sweeps are complete")

// sample returns the step of a sweep, which is 1 with -long.
func sample(step int) int {
	if *long > 0 {
		return 1
	}
	return step
}

func TestMain(m *testing.M) {
	crash.Main()
	realSaveRun, saveRun = saveRun, 1<<20 // so that files of some MB are written in several pieces
	goleak.VerifyTestMain(m)
}

// realSaveRun is saveRun outside of the tests.
var realSaveRun int

var bg = context.Background()

// again reports whether a test that began at start goes on after round rounds.
func again(start time.Time, round, rounds int) bool {
	return round < rounds || time.Since(start) < *long
}
