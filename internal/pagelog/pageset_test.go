package pagelog

import (
	"fmt"
	"slices"
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
	const far = 1<<31 + 1<<20
	var s PageSet
	want := []uint32{1, 64, 65, 1<<31 - 1, 1 << 31, far}
	for _, pgno := range slices.Backward(want) { // so that it is made in one piece
		add(&s, pgno)
	}
	if got := slices.Collect(s.upTo(far)); !slices.Equal(want, got) {
		return fmt.Errorf("in the set are %d", got)
	}
	for _, below := range []uint32{far - 1, 1 << 31} {
		if got := s.last(below); got != 1<<31 {
			return fmt.Errorf("the last page up to %d is %d", below, got)
		}
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
