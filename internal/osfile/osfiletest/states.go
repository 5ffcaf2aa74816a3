package osfiletest

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
)

// medium is the disk at one point of a recording. It has what is safe, and what a power
// failure may keep or lose.
type medium struct {
	opts  PowerOptions
	rand  *rand.Rand
	dirs  map[string]int // names that are safe
	moves []move         // since then
	files []*unstable
}

// move is a change to directories, of one name or of the two of a rename.
type move struct {
	file int    // what the name is for afterwards; -1: nothing
	name string //
	from string // of a rename
}

func (m *medium) apply(at int, o powerOp) {
	switch o.kind {
	case opWrite:
		m.files[o.file].write(at, o.off, o.data)
	case opTruncate:
		m.files[o.file].truncate(at, o.off)
	case opSync:
		m.files[o.file].sync()
	case opRewrite:
		m.files[o.file] = newUnstable(o.data)
	case opCreate:
		m.moves = append(m.moves, move{file: o.file, name: o.name})
	case opRemove:
		m.moves = append(m.moves, move{file: -1, name: o.name})
	case opLink:
		m.moves = append(m.moves, move{file: o.file, name: o.to})
	case opRename:
		m.moves = append(m.moves, move{file: o.file, name: o.to, from: o.name})
	case opSyncDir:
		rest := m.moves[:0:0]
		for _, mv := range m.moves {
			if filepath.Dir(mv.name) == o.name {
				mv.do(m.dirs, false)
			} else {
				rest = append(rest, mv)
			}
		}
		m.moves = rest
	}
}

// do makes the move in names; with both set, a rename leaves the old name too.
func (mv move) do(names map[string]int, both bool) {
	if mv.file < 0 {
		delete(names, mv.name)
		return
	}
	if mv.from != "" && !both {
		delete(names, mv.from)
	}
	names[mv.name] = mv.file
}

// directories calls yield with the names of each state of the directories.
func (m *medium) directories(yield func(map[string]int)) {
	n := len(m.moves)
	try := func(set, both uint64) {
		names := cloneMap(m.dirs)
		missed := map[string]bool{} // names with a missing move
		for i, mv := range m.moves {
			switch {
			case set>>i&1 == 0:
				if both>>i&1 != 0 {
					return // the same as without
				}
				missed[mv.name] = true
				if mv.from != "" {
					missed[mv.from] = true
				}
			case missed[mv.name] || mv.from != "" && missed[mv.from]:
				return // no file system does the later of two first
			case both>>i&1 != 0 && mv.from == "":
				return
			default:
				mv.do(names, both>>i&1 != 0)
			}
		}
		yield(names)
	}
	if n <= 6 {
		for set := range uint64(1) << n {
			for both := range uint64(1) << n {
				try(set, both)
			}
		}
		return
	}
	for i := range n + 1 { // in order
		try(1<<i-1, 0)
	}
	for range 16 * m.opts.Samples { // and at random; no file system leaves most of these
		set := m.rand.Uint64() | m.rand.Uint64()
		try(set&(1<<n-1), 0)
		try(set&(1<<n-1), m.rand.Uint64()&m.rand.Uint64()&set&(1<<n-1))
	}
}

// states calls yield with each state of the disk.
func (m *medium) states(yield func(map[string]snap)) {
	m.directories(func(names map[string]int) {
		// One choice for a file, whatever number of names it has.
		var files []int
		for _, name := range sorted(names) {
			if !slices.Contains(files, names[name]) {
				files = append(files, names[name])
			}
		}
		choices := make([][]snap, len(files))
		product := 1
		for i, f := range files {
			choices[i] = m.files[f].snaps(m.opts, m.rand)
			if m.unread(names, f) {
				choices[i] = choices[i][:1]
			}
			product = min(product*len(choices[i]), 1<<30)
		}
		pick := make([]int, len(files))
		emit := func() {
			state := make(map[string]snap, len(names))
			for name, f := range names {
				i := slices.Index(files, f)
				state[name] = choices[i][pick[i]]
			}
			yield(state)
		}
		if product <= m.opts.States {
			for k := range product {
				for i := range pick {
					pick[i] = k % len(choices[i])
					k /= len(choices[i])
				}
				emit()
			}
			return
		}
		// Each file in each way, the others as if nothing or all were lost.
		for i := range pick {
			for others := range 2 {
				for j := range pick {
					pick[j] = min(others, len(choices[j])-1)
				}
				for k := range choices[i] {
					pick[i] = k
					emit()
				}
			}
		}
		for range 4 * m.opts.Samples {
			for i := range pick {
				pick[i] = m.rand.IntN(len(choices[i]))
			}
			emit()
		}
	})
}

// unread reports whether nobody reads file f under any of its names.
func (m *medium) unread(names map[string]int, f int) bool {
	if m.opts.Unread == nil {
		return false
	}
	for name, g := range names {
		if g == f && !m.opts.Unread(name) {
			return false
		}
	}
	return true
}
