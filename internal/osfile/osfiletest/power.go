package osfiletest

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// # Power failures
//
// A PowerFS passes operations on and keeps a recording of them. From the recording,
// PowerStates makes every state that a power failure may leave on the disk, at each point.
// Each state is a directory, for a test to open.
//
//	rec := Record(t, dir)
//	fs := rec.FS(osfile.OS{})
//	... work, and rec.Tell() whenever it is acknowledged to the user ...
//	rec.PowerStates(t, PowerOptions{}, func(s PowerState) bool { ... look at s.Dir ... })
//
// What a failure may leave:
//
//   - Of each file, every sector of 512 bytes is as it was at any moment since the last sync
//     of the file. So writes are lost, kept, torn anywhere, and reordered. Independently of
//     that, the length is that of any of these moments. A sector within the length that was
//     never written is zeros, or garbage.
//   - Of each directory, any set of the creates, links, renames and removes since its last
//     sync is there. Those of one name keep their order. Nothing ties them to the contents:
//     a rename may be there while the data are not. A rename is there or not, for both of its
//     names, or else has left the file under both. It never loses the file.
//   - What was synced before the failure began is there. The sync of a file says nothing
//     about its name.
//
// If these states are few, PowerStates makes all of them. Otherwise it makes the telling ones
// and a sample by a seed. The telling ones are: all lost, all kept, each write alone, all but
// it, torn at each sector or page, the length alone.
//
// SQLite's recovery, for one, goes past the seam. Its changes are noticed at the next
// operation. Its data count as synced, since SQLite syncs what it needs. Its creates and
// removes do not, since SQLite does not sync a directory after it has removed a journal.
//
// Owners and modes are not recorded.
type PowerFS struct {
	FS  osfile.FS
	Rec *Recording
}

// PowerState is one state that a power failure may leave.
type PowerState struct {
	Dir  string // holds it, until the end of the call
	Told int    // acknowledgements before it
	how  string // the operations before it, and what became of those that were not synced
}

func (s PowerState) String() string { return fmt.Sprintf("power lost after %s", s.how) }

// PowerOptions bound the number of states. A zero value is the default.
type PowerOptions struct {
	Seed     uint64
	Contents int // up to so many contents of one file at one point, all are made; default 256
	States   int // up to so many states of one point, all are made; default 512
	Samples  int // if there are more; default 24

	// Unread tells of names whose contents nobody reads: one will do. May be nil.
	Unread func(name string) bool
}

// PowerStates calls check with each state that a power failure may leave, until check
// returns false. It calls it once for each state and number of acknowledgements. It returns
// how many calls there were.
func (r *Recording) PowerStates(t testing.TB, opts PowerOptions, check func(PowerState) bool) int {
	t.Helper()
	r.mu.Lock()
	r.look()
	r.mu.Unlock()
	for v, def := range map[*int]int{&opts.Contents: 256, &opts.States: 512, &opts.Samples: 24} {
		if *v == 0 {
			*v = def
		}
	}
	m := &medium{opts: opts, rand: rand.New(rand.NewPCG(opts.Seed, 0)),
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
			s := PowerState{Told: told, Dir: filepath.Join(base, fmt.Sprint(n)), how: r.describe(at, names)}
			n++
			materialise(t, s.Dir, names)
			on = check(s)
			require.NoError(t, os.RemoveAll(s.Dir))
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

func (r *Recording) describe(at int, names map[string]snap) string {
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
