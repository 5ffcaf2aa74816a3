//go:build cgo

package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that the states of a power failure are all those that the rules in
// powerfs_test.go allow, and no others.
func TestPowerStates(t *testing.T) {
	// A letter stands for a sector of it, . for one of zeros, ? for garbage.
	text := func(b []byte) string {
		var s strings.Builder
		for ; len(b) >= sector; b = b[sector:] {
			switch b[0] {
			case 0:
				s.WriteByte('.')
			case 0xa5:
				s.WriteByte('?')
			default:
				s.WriteByte(b[0])
			}
		}
		return s.String()
	}
	sectors := func(s string) (b []byte) {
		for _, c := range []byte(s) {
			b = append(b, strings.Repeat(string(c), sector)...)
		}
		return b
	}
	// The steps are one operation each: "write a 0 AB" at sector 0, "sync a",
	// "create a", "rename a b", "link a b", "remove a", "syncDir", "truncate a 1", "tell".
	perform := func(t *testing.T, fs powerFS, steps []string) {
		for _, step := range steps {
			w := append(strings.Fields(step), "", "", "")
			name := filepath.Join(fs.rec.root, w[1])
			o := powerOp{file: fs.rec.names[w[1]], name: w[1]}
			var err error
			switch w[0] {
			case "create":
				var f file
				if f, err = fs.create(name, 0o600); err == nil {
					err = f.Close()
				}
			case "write":
				o.kind, o.data = opWrite, sectors(w[3])
				fmt.Sscan(w[2], &o.off)
				o.off *= sector
				err = fs.rec.do(o, func() error {
					f, err := os.OpenFile(name, os.O_WRONLY, 0)
					require.NoError(t, err)
					_, err = f.WriteAt(o.data, o.off)
					return errors.Join(err, f.Close())
				})
			case "truncate":
				o.kind = opTruncate
				fmt.Sscan(w[2], &o.off)
				o.off *= sector
				err = fs.rec.do(o, func() error { return os.Truncate(name, o.off) })
			case "sync":
				var f file
				if f, err = fs.open(name); err == nil {
					err = errors.Join(f.Sync(), f.Close())
				}
			case "rename":
				err = fs.rename(name, filepath.Join(fs.rec.root, w[2]))
			case "link":
				err = fs.link(name, filepath.Join(fs.rec.root, w[2]))
			case "remove":
				err = fs.remove(name)
			case "syncDir":
				err = fs.syncDir(fs.rec.root)
			case "past": // past the seam
				if w[2] == "" {
					err = os.Remove(name)
				} else {
					err = os.WriteFile(name, sectors(w[2]), 0o600)
				}
			case "tell":
				fs.rec.tell()
			default:
				t.Fatal(step)
			}
			require.NoError(t, err, step)
		}
	}
	tests := map[string]struct {
		start string // files, as in want
		steps string
		want  string // states, with "told:" before those after an acknowledgement
	}{
		"a sector is written or not":        {"a=A", "write a 0 B", "a=A | a=B"},
		"a write is torn":                   {"a=AA", "write a 0 BC", "a=AA | a=BA | a=AC | a=BC"},
		"writes are reordered":              {"a=AA", "write a 0 B,write a 1 C", "a=AA | a=BA | a=AC | a=BC"},
		"a sector may be at any moment":     {"a=A", "write a 0 B,write a 0 C", "a=A | a=B | a=C"},
		"what is synced is there":           {"a=A", "write a 0 B,sync a,tell", "a=A | a=B | told:a=B"},
		"what is written later is not":      {"a=AA", "write a 0 B,sync a,tell,write a 1 C", "a=AA | a=BA | told:a=BA | told:a=BC"},
		"the sync of another does not help": {"a=A b=X", "write a 0 B,sync b,tell", "a=A b=X | a=B b=X | told:a=A b=X | told:a=B b=X"},
		"a file grows without its data":     {"a=A", "write a 1 B", "a=A | a=AB | a=A. | a=A?"},
		"and over a gap":                    {"a=A", "write a 2 B", "a=A | a=A.B | a=A.. | a=A?? | a=A?B"},
		"a file is cut or not":              {"a=AB", "truncate a 1", "a=A | a=AB | a=A. | a=A?"},
		"and cut for good":                  {"a=AB", "truncate a 1,sync a,tell", "a=A | a=AB | a=A. | a=A? | told:a=A"},
		"a name is there or not":            {"", "create a", "- | a="},
		"a sync is not one of the name":     {"", "create a,write a 0 A,sync a,tell", "- | a= | a=A | a=. | a=? | told:- | told:a=A"},
		"nor the other way round":           {"", "create a,write a 0 A,syncDir,tell", "- | a= | a=A | a=. | a=? | told:a= | told:a=A | told:a=. | told:a=?"},
		"a file is removed or not":          {"a=A", "remove a", "a=A | -"},
		"and for good":                      {"a=A", "remove a,syncDir,tell", "a=A | - | told:-"},
		"names have no order":               {"a=A b=B", "remove a,remove b", "a=A b=B | b=B | a=A | -"},
		"but each in its own":               {"a=A", "remove a,create a", "a=A | - | a="},
		"a rename is one step, or links":    {"a=A b=B", "rename a b", "a=A b=B | b=A | a=A b=A"},
		"a link is there or not":            {"a=A", "link a b", "a=A | a=A b=A"},
		"both names have the same data":     {"a=A", "link a b,write a 0 B", "a=A | a=B | a=A b=A | a=B b=B"},
		"a rename before its data":          {"a=A b=B", "write a 0 C,rename a b", "a=A b=B | a=C b=B | b=A | b=C | a=A b=A | a=C b=C"},
		"a removed name comes back":         {"a=A b=B c=C", "remove c,rename a b", "a=A b=B c=C | a=A b=B | a=A b=A c=C | b=A c=C | a=A b=A | b=A"},
		"unless it is synced":               {"a=A b=B c=C", "remove c,syncDir,tell,rename a b", "a=A b=B c=C | a=A b=B | told:a=A b=B | told:a=A b=A | told:b=A"},
		"past the seam, data are synced":    {"a=A", "past a BC,tell", "a=A | a=BC | told:a=BC"},
		"and names are not":                 {"a=A", "past a,past b B,tell", "a=A | - | b= | a=A b= | b=B | a=A b=B | told:a=A | told:- | told:b=B | told:a=A b=B"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range strings.Fields(tt.start) {
				name, b, _ := strings.Cut(f, "=")
				writeFile(t, filepath.Join(dir, name), sectors(b))
			}
			rec := record(t, dir)
			perform(t, rec.fs(osFS{}), strings.Split(tt.steps, ","))
			var got []string
			n := rec.powerStates(t, powerOptions{}, func(s powerState) bool {
				var files []string
				contents := dirContents(t, s.dir)
				for _, name := range sorted(contents) {
					files = append(files, name+"="+text([]byte(contents[name])))
				}
				state := strings.Join(files, " ")
				if state == "" {
					state = "-"
				}
				if s.told > 0 {
					state = "told:" + state
				}
				got = append(got, state)
				return true
			})
			require.Equal(t, n, len(got))
			want := strings.Split(tt.want, " | ")
			slices.Sort(want)
			slices.Sort(got)
			require.Equal(t, want, got, "%v", rec.steps())
		})
	}
}

// powerRun is work whose every state after a power failure must be sound.
type powerRun struct {
	// start makes what is there before, in a directory of its own, and
	// returns what path may hold afterwards: want[i] and later ones when i
	// acknowledgements were made, nil for no file.
	start func(t *testing.T, path string) (want []*memImage)

	// run does the work through fs, and calls tell for each acknowledgement.
	run func(t *testing.T, path string, fs fsys, want []*memImage, tell func())

	// opens looks at what the database at path is, and is opensAs if not set.
	opens func(path string, want []*memImage) error

	// also looks at what else has to be right, unless nil.
	also func(path string, s powerState, want []*memImage) error

	opts powerOptions
}

// bad records r with the file system that plant makes of the recorder's, and
// returns what is wrong with the states of it, up to three, and how many it has
// looked at.
func (r powerRun) bad(t *testing.T, plant func(fsys) fsys) (errs []error, states int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	want := r.start(t, path)
	rec := record(t, filepath.Dir(path))
	path, err := Resolve(path)
	require.NoError(t, err)
	r.run(t, path, plant(rec.fs(unsynced(osFS{}))), want, rec.tell)
	opens := opensAs
	if r.opens != nil {
		opens = r.opens
	}
	// RemoveLeftovers does not look into them.
	r.opts.unread = func(name string) bool { return isTempName(name, tempPrefix(path)) }
	states = rec.powerStates(t, r.opts, func(s powerState) bool {
		path := filepath.Join(s.dir, "x.db")
		err := opens(path, want[s.told:])
		if err == nil && r.also != nil {
			err = r.also(path, s, want)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%w\n%v", err, s))
		}
		return len(errs) < 3
	})
	return errs, states
}

func asIs(f fsys) fsys { return f }

// unsynced saves the time of syncs, where the recording of them is what counts.
func unsynced(f fsys) fsys {
	return &plantedFS{fsys: f,
		onSyncDir: func(string) error { return nil },
		onFile:    func(_ string, x *plantedFile) { x.onSync, x.onSyncData = nothing, nothing }}
}

// opensAs makes sure that the database at path is one of want: to Load, and
// then to SQLite, and that only the temporary files that RemoveLeftovers
// knows stand in between.
func opensAs(path string, want []*memImage) error {
	if _, err := RemoveLeftovers(path); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(left) > 0 {
		return fmt.Errorf("left over: %v (%v)", left, err)
	}
	var sink memSink
	id, err := quick.loadID(bg, path, &sink)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(want, func(img *memImage) bool {
		return id.IsZero() == (img == nil) && (img == nil || string(sink.bytes()) == string(img.b))
	})
	if i < 0 {
		return fmt.Errorf("%d bytes that are none of the %d states that may be there", len(sink.bytes()), len(want))
	}
	if id.Size() == 0 {
		return nil
	}
	d, err := openDisk(path, "mode=rw")
	if err != nil {
		return err
	}
	row, err := d.find("PRAGMA integrity_check", func(row string) bool { return row != "ok" })
	if err == nil && row != "" {
		err = errors.New(row)
	}
	if err := errors.Join(err, d.close()); err != nil {
		return err
	}
	after, err := os.ReadFile(path)
	if err == nil && len(sink.bytes()) > 0 && string(after[headerSize:]) != string(sink.bytes()[headerSize:]) {
		err = errors.New("SQLite has changed the file that Load had read")
	}
	return err
}

// saves writes want[1], want[2] and so on over want[0].
func saves(t *testing.T, path string, fs fsys, want []*memImage, tell func()) {
	prev, err := identify(osFS{}, path)
	require.NoError(t, err)
	savesFrom(t, path, fs, prev, want, tell)
}

func savesFrom(t *testing.T, path string, fs fsys, prev FileID, want []*memImage, tell func()) {
	for _, img := range want[1:] {
		res, err := writer{fs}.write(bg, path, img, prev, writeOptions{})
		require.NoError(t, err)
		tell()
		prev = res.id
	}
}

// starting begins with the first of images, nil for no file, and wants them in
// their order.
func starting(images ...func(t *testing.T) *memImage) func(*testing.T, string) []*memImage {
	return func(t *testing.T, path string) (want []*memImage) {
		for _, f := range images {
			if f == nil {
				want = append(want, nil)
			} else {
				want = append(want, f(t))
			}
		}
		if want[0] != nil {
			writeFile(t, path, want[0].b)
		}
		return want
	}
}

func rows(n int) func(t *testing.T) *memImage {
	return func(t *testing.T) *memImage { return image(t, n) }
}

func small(n int) func(t *testing.T) *memImage {
	return func(t *testing.T) *memImage {
		path := filepath.Join(t.TempDir(), "small.db")
		db := openSQL(t, path)
		mustExec(t, db, "PRAGMA page_size=512", fmt.Sprintf("CREATE TABLE t AS SELECT %d AS a", n))
		require.NoError(t, db.Close())
		return &memImage{b: readFile(t, path), version: uint64(n)}
	}
}

func none(*testing.T) *memImage { return &memImage{} }

// recovering begins with what a crashed program left, which hot makes.
func recovering(hot func(t *testing.T) (path string, recovered *memImage)) func(*testing.T, string) []*memImage {
	return func(t *testing.T, path string) []*memImage {
		from, recovered := hot(t)
		for _, suffix := range []string{"", "-journal", "-wal"} {
			if b, err := os.ReadFile(from + suffix); err == nil {
				writeFile(t, path+suffix, b)
			}
		}
		return []*memImage{recovered, image(t, 3), image(t, 40)}
	}
}

// loadAndSave is the life of a server.
func loadAndSave(t *testing.T, path string, fs fsys, want []*memImage, tell func()) {
	_, err := writer{fs}.removeLeftovers(path)
	require.NoError(t, err)
	var sink memSink
	prev, err := loader{fs: fs, wait: loadWait, poll: time.Millisecond}.loadID(bg, path, &sink)
	require.NoError(t, err)
	require.Equal(t, want[0].b, sink.bytes())
	savesFrom(t, path, fs, prev, want, tell)
}

var powerRuns = map[string]powerRun{
	"first save":                    {start: starting(nil, rows(5)), run: saves},
	"save over a save":              {start: starting(rows(5), rows(90)), run: saves},
	"saves in a row":                {start: starting(small(1), small(2), small(3), small(4)), run: saves},
	"from and to an empty database": {start: starting(nil, none, small(1), none, small(2)), run: saves},
	"several writes for a save": {
		start: starting(rows(9), rows(18000)),
		run:   saves,
		opts:  powerOptions{samples: 8, states: 64, contents: 16},
	},
	"after a hot journal": {
		start: recovering(func(t *testing.T) (string, *memImage) {
			path, before := hotJournal(t)
			return path, &memImage{b: before}
		}),
		run: loadAndSave,
	},
	"after a hot journal and a lost header": {
		start: recovering(func(t *testing.T) (string, *memImage) {
			path, before := hotJournal(t)
			b := readFile(t, path)
			clear(b[:100])
			writeFile(t, path, b)
			return path, &memImage{b: before}
		}),
		run: loadAndSave,
	},
	"after a hot wal": {
		start: recovering(func(t *testing.T) (string, *memImage) {
			path, _ := hotWAL(t)
			b, _ := load(t, copySet(t, path))
			return path, &memImage{b: b}
		}),
		run: loadAndSave,
	},
	"removing leftovers": {
		start: func(t *testing.T, path string) []*memImage {
			want := starting(rows(5), rows(6))(t, path)
			for _, suffix := range leftoverSuffixes {
				writeFile(t, tempName(path)+suffix, want[0].b[:700])
			}
			return want
		},
		run: loadAndSave,
	},
	"beside a foreign change": {
		start: func(t *testing.T, path string) []*memImage {
			want := starting(rows(5))(t, path)
			// The file stays as it is, whatever is acknowledged.
			return []*memImage{want[0], want[0], want[0]}
		},
		run: func(t *testing.T, path string, fs fsys, _ []*memImage, tell func()) {
			var side sideCopy
			for _, n := range []int{60, 70} {
				_, err := writer{fs}.write(bg, path, image(t, n), FileID{}, writeOptions{side: side})
				var fe *ForeignChangeError
				require.ErrorAs(t, err, &fe)
				require.NoError(t, fe.Err)
				side = fe.copy
				tell()
			}
		},
		also: func(path string, s powerState, _ []*memImage) error {
			names, err := filepath.Glob(path + ".sqlite-mem-*")
			if err != nil || len(names) > 1 || len(names) < min(1, s.told) {
				return fmt.Errorf("copies of the state in memory: %v (%v)", names, err)
			}
			for _, name := range names {
				n := int64(0)
				d, err := openDisk(name, "mode=ro")
				if err == nil {
					if row, ferr := d.find("PRAGMA integrity_check", func(row string) bool { return row != "ok" }); row != "" {
						err = errors.Join(ferr, errors.New(row))
					}
					if info, serr := os.Stat(name); serr != nil || info.Size() > 0 {
						var qerr error
						n, qerr = d.queryInt("SELECT count(*) FROM t")
						err = errors.Join(err, serr, qerr)
					}
					err = errors.Join(err, d.close())
				}
				if err != nil {
					return err
				}
				if want := [][]int64{{0, 60, 70}, {60, 70}, {70}}[s.told]; !slices.Contains(want, n) {
					return fmt.Errorf("a copy of %d rows, not %v", n, want)
				}
			}
			return nil
		},
	},
	"a backup": {
		start: starting(nil, rows(40)),
		run: func(t *testing.T, path string, fs fsys, want []*memImage, tell func()) {
			require.NoError(t, writer{fs}.backup(bg, path, ofImage(bg, want[1])))
			tell()
		},
	},
	"a backup by a link": {
		start: starting(nil, rows(40)),
		run: func(t *testing.T, path string, fs fsys, want []*memImage, tell func()) {
			require.NoError(t, writer{waysToPlace(fs)["links"]}.backup(bg, path, ofImage(bg, want[1])))
			tell()
		},
	},
	"a backup by neither": {
		start: starting(nil, rows(40)),
		run: func(t *testing.T, path string, fs fsys, want []*memImage, tell func()) {
			require.NoError(t, writer{waysToPlace(fs)["neither"]}.backup(bg, path, ofImage(bg, want[1])))
			tell()
		},
		opens: func(path string, want []*memImage) error {
			if info, err := os.Stat(path); err == nil && info.Size() == 0 && want[0] == nil {
				return nil // who makes it has the name, and a crash may leave it so
			}
			return opensAs(path, want)
		},
	},
	"states that are kept": keepRun,
	"copies that are kept": {
		start: keepRun.start,
		run: func(t *testing.T, path string, fs fsys, want []*memImage, tell func()) {
			keepRun.run(t, path, withoutLinks(fs), want, tell)
		},
		also: keepRun.also,
	},
	"a log":      logRun,
	"a torn log": tornLogRun,
}

// Ensure that whenever the power fails, and whatever the disk then has of what
// was not synced, the file is the old or the new database, whole, and the new
// one once the save was reported.
func TestPowerLoss(t *testing.T) {
	start, all := time.Now(), 0
	for seed := 0; again(start, seed, 1); seed++ {
		for name, run := range powerRuns {
			run.opts.seed = uint64(seed)
			errs, states := run.bad(t, asIs)
			all += states
			require.Empty(t, errs, "%s, seed %d", name, seed)
		}
	}
	t.Logf("%d states", all)
}

// Ensure the same of a save during which an operation fails, and of the next.
func TestPowerLoss_afterFault(t *testing.T) {
	for _, forever := range []bool{false, true} {
		for n, done := 1, false; !done; n++ {
			run := powerRun{
				start: starting(small(1), small(2), small(3)),
				opts:  powerOptions{contents: 16, samples: 4, seed: uint64(n)},
				run: func(t *testing.T, path string, fs fsys, want []*memImage, tell func()) {
					prev, err := identify(osFS{}, path)
					require.NoError(t, err)
					ffs := &faultFS{fsys: fs, failAt: n, err: syscall.EIO, forever: forever}
					res, err := writer{ffs}.write(bg, path, want[1], prev, writeOptions{})
					done = len(ffs.fault) == 0
					if err == nil {
						tell()
					}
					if !res.id.IsZero() {
						prev = res.id
					}
					_, serr := writer{fs}.write(bg, path, want[2], prev, writeOptions{})
					require.NoError(t, serr)
					if err != nil {
						tell()
					}
					tell()
				},
			}
			errs, _ := run.bad(t, asIs)
			require.Empty(t, errs, "operation %d failing, forever=%v", n, forever)
		}
	}
}
