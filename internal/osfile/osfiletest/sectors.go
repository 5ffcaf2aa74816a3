package osfiletest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

const sector = 512

// unstable is a file with changes that are not synced yet.
type unstable struct {
	sizes   []past[int64]    // the first is safe
	sectors [][]past[[]byte] // of each sector; the first is safe
	ops     []int            // that are not safe
	cache   []snap           // of the state as it is; nil: not made yet
}

// past is the value of something after an operation.
type past[T any] struct {
	op int
	v  T // of a sector: nil when it was not written
}

// snap is one state of a file that a failure may leave.
type snap struct {
	b   []byte
	sum [32]byte
	how string
}

func newUnstable(b []byte) *unstable {
	u := &unstable{sizes: []past[int64]{{-1, int64(len(b))}}}
	for off := 0; off < len(b); off += sector {
		s := make([]byte, sector)
		copy(s, b[off:])
		u.sectors = append(u.sectors, []past[[]byte]{{-1, s}})
	}
	return u
}

func (u *unstable) size() int64 { return u.sizes[len(u.sizes)-1].v }

// change replaces sector i by f of it.
func (u *unstable) change(op int, i int64, f func(s []byte) []byte) {
	for int64(len(u.sectors)) <= i {
		u.sectors = append(u.sectors, []past[[]byte]{{-1, nil}})
	}
	h := u.sectors[i]
	u.sectors[i] = append(h, past[[]byte]{op, f(h[len(h)-1].v)})
}

func (u *unstable) done(op int, size int64) {
	if size != u.size() {
		u.sizes = append(u.sizes, past[int64]{op, size})
	}
	u.ops = append(u.ops, op)
	u.cache = nil
}

func (u *unstable) write(op int, off int64, data []byte) {
	end := off + int64(len(data))
	for i := off / sector; i*sector < end; i++ {
		u.change(op, i, func(s []byte) []byte {
			n := make([]byte, sector)
			copy(n, s)
			from := max(off, i*sector)
			copy(n[from-i*sector:], data[from-off:])
			return n
		})
	}
	u.done(op, max(u.size(), end))
}

func (u *unstable) truncate(op int, size int64) {
	for i := size / sector; i*sector < u.size(); i++ {
		u.change(op, i, func(s []byte) []byte {
			if i*sector >= size || s == nil {
				return nil
			}
			n := make([]byte, sector)
			copy(n, s[:size-i*sector])
			return n
		})
	}
	u.done(op, size)
}

func (u *unstable) sync() {
	u.sizes = u.sizes[len(u.sizes)-1:]
	for i, h := range u.sectors {
		u.sectors[i] = h[len(h)-1:]
	}
	u.ops, u.cache = nil, nil
}

// last is the index of the newest in h that keep allows; the first is safe.
func last[T any](h []past[T], keep func(op int) bool) int {
	for i := len(h) - 1; i > 0; i-- {
		if keep(h[i].op) {
			return i
		}
	}
	return 0
}

// snaps returns the states of the file that a failure may leave, without duplicates. In the
// first state all unsynced data are lost. In the second nothing is.
func (u *unstable) snaps(opts PowerOptions, r *rand.Rand) []snap {
	if u.cache != nil {
		return u.cache
	}
	seen := map[[32]byte]bool{}
	// add builds the file of the length sizes[size] and the sector sectors[i][pick(i)].
	add := func(how string, size int, fill byte, pick func(i int, h []past[[]byte]) int) {
		b := make([]byte, u.sizes[size].v)
		for i := range (len(b) + sector - 1) / sector {
			part := b[i*sector : min((i+1)*sector, len(b))]
			var s []byte
			if i < len(u.sectors) {
				s = u.sectors[i][pick(i, u.sectors[i])].v
			}
			if s != nil {
				copy(part, s)
			} else {
				copy(part, bytes.Repeat([]byte{fill}, len(part)))
			}
		}
		sum := sha256.Sum256(b)
		if !seen[sum] {
			seen[sum] = true
			u.cache = append(u.cache, snap{b, sum, fmt.Sprintf("%d bytes, %s", len(b), how)})
		}
	}
	// by adds the file with what keep allows of each operation in each sector.
	by := func(how string, keep func(op, i int) bool) {
		add(how, last(u.sizes, func(op int) bool { return keep(op, -1) }), 0, func(i int, h []past[[]byte]) int {
			return last(h, func(op int) bool { return keep(op, i) })
		})
	}
	by("unsynced data lost", func(op, i int) bool { return false })
	by("all data", func(op, i int) bool { return true })

	total := 2 * len(u.sizes)
	for _, h := range u.sectors {
		total = min(total*len(h), 1<<30)
	}
	if total <= opts.Contents {
		for k := range total {
			fill, k := byte(k%2*0xa5), k/2
			size, k := k%len(u.sizes), k/len(u.sizes)
			add(fmt.Sprintf("variant %d", k), size, fill, func(i int, h []past[[]byte]) int {
				p := k % len(h)
				k /= len(h)
				return p
			})
		}
		return u.cache
	}

	for size := range u.sizes {
		for _, fill := range []byte{0, 0xa5} {
			add("length without data", size, fill, func(int, []past[[]byte]) int { return 0 })
			add("data with another length", size, fill, func(_ int, h []past[[]byte]) int { return len(h) - 1 })
		}
	}
	for _, p := range u.ops {
		name := u.name(p)
		by("data up to "+name, func(op, i int) bool { return op <= p })
		by("data of "+name+" only", func(op, i int) bool { return op == p })
		by("data but of "+name, func(op, i int) bool { return op != p })
		from, to := u.extent(p)
		for _, cut := range cuts(from, to) {
			by(fmt.Sprintf("%s torn before sector %d", name, cut), func(op, i int) bool { return op < p || op == p && i < cut })
			by(fmt.Sprintf("%s torn, the end from sector %d", name, cut), func(op, i int) bool { return op < p || op == p && (i < 0 || i >= cut) })
		}
	}
	for k := range opts.Samples {
		seed := r.Uint64()
		// Half of the samples take pages of 4096 bytes as a whole, the others take sectors.
		unit := 1 + k%2*7
		size := r.IntN(len(u.sizes))
		if k%4 < 2 {
			size = len(u.sizes) - 1
		}
		add(fmt.Sprintf("sample %#x in units of %d sectors", seed, unit), size, byte(seed>>8), func(i int, h []past[[]byte]) int {
			var b [16]byte
			binary.LittleEndian.PutUint64(b[:], seed)
			binary.LittleEndian.PutUint64(b[8:], uint64(i/unit))
			sum := sha256.Sum256(b[:])
			return int(sum[0]) % len(h)
		})
	}
	return u.cache
}

func (u *unstable) name(op int) string { return fmt.Sprintf("operation %d", op+1) }

// extent is the first sector that op changed, and the one after the last.
func (u *unstable) extent(op int) (from, to int) {
	from = len(u.sectors)
	for i, h := range u.sectors {
		for _, p := range h {
			if p.op == op {
				from, to = min(from, i), i+1
			}
		}
	}
	return from, to
}

// cuts are the places between from and to at which a write is torn. A short write is torn at
// every sector. A long one is torn at whole pages, and at the first and last sectors.
func cuts(from, to int) (at []int) {
	const page = 4096 / sector
	for i := from + 1; i < to; i++ {
		if to-from <= 4*page || i < from+3 || i > to-3 || i%max(page, (to-from)/16/page*page) == 0 {
			at = append(at, i)
		}
	}
	return at
}
