package proclock

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that Acquire, refused or not, and OwnerOf leave no descriptor open.
func TestAcquire_descriptors(t *testing.T) {
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(fds)
	}
	path := newPath(t)
	before := count()
	for range 20 {
		l, err := Acquire(bg, path, Server)
		require.NoError(t, err)
		_, err = Acquire(bg, path, Server)
		require.Error(t, err)
		requireOwner(t, path, os.Getpid())
		require.NoError(t, l.Release())
		requireOwner(t, path, 0)
	}
	require.Equal(t, before, count())
}
