package osfile

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that the background option lowers the priority of one thread, and
// that no other goroutine gets it afterwards.
func TestInBackground(t *testing.T) {
	prio := func() int {
		// The system call gives 20 minus the nice value.
		p, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
		require.NoError(t, err)
		return 20 - p
	}
	before := prio()
	in := 0
	InBackground(func() { in = prio() })
	require.Equal(t, min(before+Niceness, 19), in)
	done := make(chan int)
	for range 50 {
		go func() { done <- prio() }()
	}
	for range 50 {
		require.Equal(t, before, <-done)
	}
}
