package pagelog

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// farPages adds pages whose numbers have 32 bits, and returns what is wrong with the set.
func farPages(add func(s *PageSet, pgno uint32)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	var s PageSet
	pages := []uint32{1<<31 + 1<<20, 1 << 31, 1<<31 - 1} // the first one makes the whole set
	for _, pgno := range pages {
		add(&s, pgno)
	}
	limit := uint32(1<<32 - 1)
	for _, want := range pages {
		if got := s.last(limit); got != want {
			return fmt.Errorf("the last page up to %d is %d, not %d", limit, got, want)
		}
		limit = want - 1
	}
	return nil
}

// Ensure that a set takes every page number, also where an int has 32 bits. A log can name pages
// that no program of 32 bits could hold. The test finds numbers that become negative.
func TestPageSet_far(t *testing.T) {
	require.NoError(t, farPages((*PageSet).Add))
	require.Error(t, farPages(func(s *PageSet, pgno uint32) {
		i := int(int32(pgno-1)) / 64 // as int(pgno-1) is there
		if i >= len(*s) {
			*s = append(*s, make([]uint64, i+1-len(*s))...)
		}
		(*s)[i] |= 1 << ((pgno - 1) % 64)
	}))
}
