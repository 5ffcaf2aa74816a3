package osfile

import "time"

const (
	firstPause = 10 * time.Millisecond
	lastPause  = 640 * time.Millisecond // with the pauses before it, 1.27 s
)

// pause is time.Sleep. Tests replace it.
var pause = time.Sleep

// persist calls op again while it returns an error that may pass. The pauses double; the sum
// is about the time for which SQLite's own VFS for Windows tries again. Then persist returns
// the last error.
func persist(mayPass func(error) bool, op func() error) error {
	err := op()
	for p := firstPause; err != nil && p <= lastPause && mayPass(err); p *= 2 {
		pause(p)
		err = op()
	}
	return err
}
