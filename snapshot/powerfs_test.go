package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// # Power failures
//
// A powerFS passes operations on and keeps a recording of them. From it,
// powerStates makes every state that a power failure may leave on the disk, at
// each point of the recording: a directory each, for a test to open.
//
//	rec := record(t, dir)
//	w := writer{rec.fs(osFS{})}
//	... work, and rec.tell() whenever it is acknowledged to the user ...
//	rec.powerStates(t, powerOptions{}, func(s powerState) bool { ... look at s.dir ... })
//
// What a failure may leave:
//
//   - Of each file, every sector of 512 bytes as it was at any moment since the
//     last sync of the file: so writes are lost, kept, torn anywhere, and
//     reordered. Independently of that, its length at any of these moments. A
//     sector within the length that was never written is zeros, or garbage.
//   - Of each directory, any set of the creates, links, renames and removes since
//     its last sync, as long as those of one name are there in order. Nothing ties
//     them to the contents: a rename may be there while the data are not. A
//     rename is there or not, for both of its names, or else has left the file
//     under both; it never loses the file.
//   - What was synced before the failure began is there. The sync of a file says
//     nothing about its name.
//
// Where these are few, all are made; else the telling ones (all lost, all kept,
// each write alone, all but it, torn at each sector or page, the length alone)
// and a sample by a seed.
//
// What goes past the seam, as SQLite's recovery does, is noticed at the next
// operation. Its data count as synced, since SQLite syncs what it needs, its
// creates and removes do not, since SQLite does not sync a directory after it
// has removed a journal.
//
// Owners and modes are not recorded.
type powerFS struct {
	fsys fsys
	rec  *recording
}

// recording is what was done in a directory.
type recording struct {
	root string

	mu    sync.Mutex
	first map[string]int // at the beginning: name below root to file
	names map[string]int // now
	files [][]byte       // contents now, by number
	kept  [][]byte       // contents at the beginning; nil for files made later
	ops   []powerOp
	begin int // number of ops; powerStates passes over what comes before
}

type powerKind int

const (
	opWrite powerKind = iota
	opTruncate
	opSync
	opRewrite // past the seam: data is all of the file, synced
	opCreate
	opLink
	opRename
	opRemove
	opSyncDir
	opTell
)

type powerOp struct {
	kind     powerKind
	file     int
	off      int64 // of a write; the new length of a truncation
	data     []byte
	name, to string // below root
}

func (o powerOp) String() string {
	verb := [...]string{"write", "truncate", "sync", "rewrite", "create", "link", "rename", "remove", "syncDir", "tell"}[o.kind]
	switch o.kind {
	case opTell:
		return verb
	case opWrite:
		return fmt.Sprintf("write %s %d+%d", o.name, o.off, len(o.data))
	case opTruncate:
		return fmt.Sprintf("truncate %s %d", o.name, o.off)
	case opLink, opRename:
		return fmt.Sprintf("%s %s %s", verb, o.name, o.to)
	}
	return verb + " " + o.name
}

// record begins a recording of what happens in the directory root. What is in
// it counts as synced. Its directories must be there already.
func record(t testing.TB, root string) *recording {
	t.Helper()
	root, err := filepath.EvalSymlinks(root)
	require.NoError(t, err)
	r := &recording{root: root, names: map[string]int{}}
	contents, err := r.scan()
	require.NoError(t, err)
	for name, b := range contents {
		r.names[name] = len(r.files)
		r.files = append(r.files, b)
	}
	r.first = make(map[string]int)
	for name, i := range r.names {
		r.first[name] = i
	}
	r.kept = slices.Clone(r.files)
	return r
}

// fs returns a file system that records what it passes on to fsx.
func (r *recording) fs(fsx fsys) powerFS { return powerFS{fsx, r} }

// tell notes that the work so far was acknowledged: powerState.told counts it.
func (r *recording) tell() { r.do(powerOp{kind: opTell}, func() error { return nil }) }

// pass has powerStates begin here.
func (r *recording) pass() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begin = len(r.ops)
}

// steps are the operations, for a test of their order.
func (r *recording) steps() (steps []string) {
	for _, o := range r.ops {
		steps = append(steps, o.String())
	}
	return steps
}

// rel is name as the recording has it.
func (r *recording) rel(name string) string {
	rel, err := filepath.Rel(r.root, name)
	if err != nil || strings.HasPrefix(rel, "..") {
		panic("outside of the recording: " + name)
	}
	return rel
}

// scan reads everything below root.
func (r *recording) scan() (map[string][]byte, error) {
	contents := map[string][]byte{}
	err := filepath.WalkDir(r.root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		contents[r.rel(path)] = b
		return err
	})
	return contents, err
}

// look notes what has changed past the seam. The caller holds r.mu.
func (r *recording) look() {
	contents, err := r.scan()
	if err != nil {
		panic(err)
	}
	for _, name := range sorted(r.names) {
		i := r.names[name]
		b, ok := contents[name]
		if !ok {
			r.apply(powerOp{kind: opRemove, name: name})
		} else if !bytes.Equal(b, r.files[i]) {
			r.apply(powerOp{kind: opRewrite, file: i, data: b, name: name})
		}
		delete(contents, name)
	}
	for _, name := range sorted(contents) {
		r.apply(powerOp{kind: opCreate, name: name})
		r.apply(powerOp{kind: opRewrite, file: r.names[name], data: contents[name], name: name})
	}
}

// apply notes an operation that has been done. The caller holds r.mu.
func (r *recording) apply(o powerOp) {
	switch o.kind {
	case opWrite:
		f := r.files[o.file]
		if end := int(o.off) + len(o.data); end > len(f) {
			f = append(slices.Clip(f), make([]byte, end-len(f))...)
		} else {
			f = slices.Clone(f)
		}
		copy(f[o.off:], o.data)
		r.files[o.file] = f
	case opTruncate:
		r.files[o.file] = resized(r.files[o.file], o.off)
	case opRewrite:
		r.files[o.file] = o.data
	case opCreate:
		o.file = len(r.files)
		r.names[o.name] = o.file
		r.files = append(r.files, nil)
		r.kept = append(r.kept, nil)
	case opLink:
		o.file = r.names[o.name]
		r.names[o.to] = o.file
	case opRename:
		o.file = r.names[o.name]
		delete(r.names, o.name)
		r.names[o.to] = o.file
	case opRemove:
		delete(r.names, o.name)
	}
	r.ops = append(r.ops, o)
}

// do runs f, which is the operation o, and notes it if it works.
func (r *recording) do(o powerOp, f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look()
	err := f()
	if err == nil {
		r.apply(o)
	}
	return err
}

func resized(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return slices.Clip(b[:n])
	}
	return append(slices.Clip(b), make([]byte, n-int64(len(b)))...)
}

func (p powerFS) create(name string, perm os.FileMode) (x file, err error) {
	err = p.rec.do(powerOp{kind: opCreate, name: p.rec.rel(name)}, func() error {
		x, err = p.fsys.create(name, perm)
		return err
	})
	return p.wrap(x, name, err)
}

func (p powerFS) open(name string) (file, error) {
	x, err := p.fsys.open(name)
	return p.wrap(x, name, err)
}

func (p powerFS) openWrite(name string) (file, error) {
	x, err := p.fsys.openWrite(name)
	return p.wrap(x, name, err)
}

// wrap makes x, which was opened under name, a recorded file. Its writes begin
// at its start.
func (p powerFS) wrap(x file, name string, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	p.rec.mu.Lock()
	defer p.rec.mu.Unlock()
	rel := p.rec.rel(name)
	i, ok := p.rec.names[rel]
	if !ok { // made past the seam
		p.rec.look()
		i = p.rec.names[rel]
	}
	return &powerFile{f: x, rec: p.rec, i: i, name: rel}, nil
}

func (p powerFS) stat(name string) (os.FileInfo, error)      { return p.fsys.stat(name) }
func (p powerFS) lstat(name string) (os.FileInfo, error)     { return p.fsys.lstat(name) }
func (p powerFS) readDir(name string) ([]os.DirEntry, error) { return p.fsys.readDir(name) }

func (p powerFS) rename(from, to string) error {
	return p.rec.do(powerOp{kind: opRename, name: p.rec.rel(from), to: p.rec.rel(to)},
		func() error { return p.fsys.rename(from, to) })
}

func (p powerFS) renameNew(from, to string) error {
	return p.rec.do(powerOp{kind: opRename, name: p.rec.rel(from), to: p.rec.rel(to)},
		func() error { return p.fsys.renameNew(from, to) })
}

func (p powerFS) link(name, also string) error {
	return p.rec.do(powerOp{kind: opLink, name: p.rec.rel(name), to: p.rec.rel(also)},
		func() error { return p.fsys.link(name, also) })
}

func (p powerFS) remove(name string) error {
	return p.rec.do(powerOp{kind: opRemove, name: p.rec.rel(name)},
		func() error { return p.fsys.remove(name) })
}

func (p powerFS) syncDir(name string) error {
	return p.rec.do(powerOp{kind: opSyncDir, name: p.rec.rel(name)},
		func() error { return p.fsys.syncDir(name) })
}

// powerFile records what changes a file. All of it is writes at an offset,
// truncations and syncs, so a new method of file is a call of rec.do, or is
// passed on because it changes nothing. It embeds no file, and powerFS no fsys,
// so that none is forgotten.
type powerFile struct {
	f    file
	rec  *recording
	i    int // its number
	name string
	pos  int64 // of the next Write
}

func (f *powerFile) Write(p []byte) (n int, err error) {
	n, err = f.write(p, f.pos, f.f.Write)
	f.pos += int64(n)
	return n, err
}

func (f *powerFile) WriteAt(p []byte, off int64) (n int, err error) {
	return f.write(p, off, func(p []byte) (int, error) { return f.f.WriteAt(p, off) })
}

func (f *powerFile) write(p []byte, off int64, write func([]byte) (int, error)) (n int, err error) {
	f.rec.mu.Lock()
	defer f.rec.mu.Unlock()
	f.rec.look()
	n, err = write(p)
	if n > 0 { // one that fails may have written
		f.rec.apply(powerOp{kind: opWrite, file: f.i, off: off, data: bytes.Clone(p[:n]), name: f.name})
	}
	return n, err
}

func (f *powerFile) Sync() error {
	return f.rec.do(powerOp{kind: opSync, file: f.i, name: f.name}, f.f.Sync)
}

func (f *powerFile) syncData() error {
	return f.rec.do(powerOp{kind: opSync, file: f.i, name: f.name}, f.f.syncData)
}

func (f *powerFile) Truncate(size int64) error {
	return f.rec.do(powerOp{kind: opTruncate, file: f.i, off: size, name: f.name}, func() error { return f.f.Truncate(size) })
}

func (f *powerFile) startFlush(off, n int64) error           { return f.f.startFlush(off, n) }
func (f *powerFile) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }
func (f *powerFile) Stat() (os.FileInfo, error)              { return f.f.Stat() }
func (f *powerFile) Chmod(m os.FileMode) error               { return f.f.Chmod(m) }
func (f *powerFile) Chown(uid, gid int) error                { return f.f.Chown(uid, gid) }
func (f *powerFile) Close() error                            { return f.f.Close() }

// powerState is one state that a power failure may leave.
type powerState struct {
	dir  string // holds it, until the end of the call
	at   int    // operations that had been done
	told int    // acknowledgements among them
	how  string // what became of the rest
}

func (s powerState) String() string { return fmt.Sprintf("power lost after %s", s.how) }

// powerOptions bound the work; zero values are the defaults.
type powerOptions struct {
	seed     uint64
	contents int // of one file at one point of which all are made; default 256
	states   int // of one point of which all are made; default 512
	samples  int // where there are more; default 24

	// unread tells of names whose contents nobody reads: one will do. May be nil.
	unread func(name string) bool
}

// powerStates calls check with each state that a power failure may leave, until
// it returns false. Different ones only: a state counts as another when it is
// met after another number of acknowledgements. It returns how many there were.
func (r *recording) powerStates(t testing.TB, opts powerOptions, check func(powerState) bool) int {
	t.Helper()
	r.mu.Lock()
	r.look()
	r.mu.Unlock()
	for v, def := range map[*int]int{&opts.contents: 256, &opts.states: 512, &opts.samples: 24} {
		if *v == 0 {
			*v = def
		}
	}
	m := &medium{rec: r, opts: opts, rand: rand.New(rand.NewPCG(opts.seed, 0)),
		dirs: cloneMap(r.first), files: make([]*unstable, len(r.files))}
	for i, b := range r.kept {
		m.files[i] = newUnstable(b)
	}
	base := t.TempDir()
	seen := map[[32]byte]bool{}
	told, n, on := 0, 0, true
	for at := 0; ; at++ {
		m.states(func(names map[string]snap) {
			if !on || at < r.begin {
				return
			}
			key := stateKey(names, told)
			if seen[key] {
				return
			}
			seen[key] = true
			s := powerState{at: at, told: told, dir: filepath.Join(base, fmt.Sprint(n)), how: r.describe(at, names)}
			n++
			materialise(t, s.dir, names)
			on = check(s)
			require.NoError(t, os.RemoveAll(s.dir))
		})
		if at == len(r.ops) || !on {
			return n
		}
		if r.ops[at].kind == opTell {
			told++
		}
		m.apply(at, r.ops[at])
	}
}

func (r *recording) describe(at int, names map[string]snap) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d operations", at, len(r.ops))
	for i := max(0, at-4); i < at; i++ {
		fmt.Fprintf(&b, "; %v", r.ops[i])
	}
	for _, name := range sorted(names) {
		fmt.Fprintf(&b, "; left %s: %s", name, names[name].how)
	}
	return b.String()
}

func materialise(t testing.TB, dir string, names map[string]snap) {
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for name, s := range names {
		path := filepath.Join(dir, name)
		if sub := filepath.Dir(path); sub != dir {
			require.NoError(t, os.MkdirAll(sub, 0o700))
		}
		require.NoError(t, os.WriteFile(path, s.b, 0o600))
	}
}

func stateKey(names map[string]snap, told int) (key [32]byte) {
	h := sha256.New()
	fmt.Fprintln(h, told)
	for _, name := range sorted(names) {
		fmt.Fprintln(h, name)
		sum := names[name].sum
		h.Write(sum[:])
	}
	h.Sum(key[:0])
	return key
}

func sorted[V any](m map[string]V) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func cloneMap(m map[string]int) map[string]int {
	c := make(map[string]int, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// medium is the disk at one point of a recording: what is safe, and what may
// or may not be there.
type medium struct {
	rec   *recording
	opts  powerOptions
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
		missed := map[string]bool{} // names of which a move is missing
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
	for range 16 * m.opts.samples { // and at random, most of which no file system leaves
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
		if product <= m.opts.states {
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
		for range 4 * m.opts.samples {
			for i := range pick {
				pick[i] = m.rand.IntN(len(choices[i]))
			}
			emit()
		}
	})
}

// unread reports whether nobody reads file f under any of its names.
func (m *medium) unread(names map[string]int, f int) bool {
	if m.opts.unread == nil {
		return false
	}
	for name, g := range names {
		if g == f && !m.opts.unread(name) {
			return false
		}
	}
	return true
}

const sector = 512

// unstable is a file of which not everything is safe.
type unstable struct {
	sizes   []past[int64]    // the first is safe
	sectors [][]past[[]byte] // of each sector; the first is safe
	ops     []int            // that are not safe
	cache   []snap           // of the state as it is; nil: not made yet
}

// past is what something was after an operation.
type past[T any] struct {
	op int
	v  T // of a sector: nil when it was not written
}

// snap is what a failure may leave of a file.
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

// snaps returns what a failure may leave of the file, different ones: first
// that everything is lost which is not safe, then that nothing is.
func (u *unstable) snaps(opts powerOptions, r *rand.Rand) []snap {
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
	if total <= opts.contents {
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
	for k := range opts.samples {
		seed := r.Uint64()
		// Pages of 4096 as a whole in half of them, sectors in the others.
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

// cuts are the places between from and to at which a write is torn: all of a
// short one, those of whole pages and the first and last of a long one.
func cuts(from, to int) (at []int) {
	const page = 4096 / sector
	for i := from + 1; i < to; i++ {
		if to-from <= 4*page || i < from+3 || i > to-3 || i%max(page, (to-from)/16/page*page) == 0 {
			at = append(at, i)
		}
	}
	return at
}
