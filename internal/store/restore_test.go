//go:build cgo

package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that whoever asks for the number of retirements behind a restore's commit waits until
// the restore has told it.
func TestReplaced(t *testing.T) {
	s := mustOpen(t, options(t))
	before := s.Retired()
	s.Replaced() // no restore is under way
	s.replacing.Lock()
	s.replaces.Store(true)
	told := make(chan uint64)
	go func() {
		s.Replaced()
		told <- s.Retired()
	}()
	select {
	case n := <-told:
		require.Fail(t, "it did not wait", "%d", n)
	case <-time.After(20 * time.Millisecond):
	}
	s.retired.Add(1)
	s.replaces.Store(false)
	s.replacing.Unlock()
	require.Equal(t, before+1, <-told)
	require.NoError(t, s.Release())
}
