package pagelog

import (
	"iter"
	"math/bits"
)

// PageSet is a set of page numbers, which begin with 1: page 1 is bit 0 of the first word. It
// has a bit for each page of the database up to the largest in it.
type PageSet []uint64

// Add adds a page.
func (s *PageSet) Add(pgno uint32) {
	i := int((pgno - 1) / 64) // int may have 32 bits
	if i >= len(*s) {
		*s = append(*s, make([]uint64, i+1-len(*s))...)
	}
	(*s)[i] |= 1 << ((pgno - 1) % 64)
}

// AddAll adds the pages of t.
func (s *PageSet) AddAll(t PageSet) {
	if len(t) > len(*s) {
		*s = append(*s, make([]uint64, len(t)-len(*s))...)
	}
	for i, w := range t {
		(*s)[i] |= w
	}
}

// upTo yields the pages in the set from 1 to limit, in order.
func (s PageSet) upTo(limit uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for i, w := range s {
			for ; w != 0; w &= w - 1 {
				pgno := uint32(i*64+bits.TrailingZeros64(w)) + 1
				if pgno > limit || !yield(pgno) {
					return
				}
			}
		}
	}
}

// last returns the largest page in the set that is not over limit; 0 if there is none.
func (s PageSet) last(limit uint32) uint32 {
	for i := min(len(s), int((int64(limit)+63)/64)) - 1; i >= 0; i-- {
		w := s[i]
		if rest := int64(limit) - int64(i)*64; rest < 64 {
			w &= 1<<rest - 1
		}
		if w != 0 {
			return uint32(i*64 + bits.Len64(w))
		}
	}
	return 0
}
