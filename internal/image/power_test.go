//go:build cgo

package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// powerRun is work. Every state that a power failure leaves of it must be sound.
type powerRun struct {
	// start makes the files that are there before, in a directory of its own. It returns
	// want, the databases that path may hold afterwards. After i acknowledgements these are
	// want[i] and later ones. nil means no file.
	start func(t *testing.T, path string) (want []*memImage)

	// run does the work through fs, and calls tell for each acknowledgement.
	run func(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func())

	// opens judges the database at path. The default is opensAs.
	opens func(path string, want []*memImage) error

	// also, unless nil, judges everything else that has to be right.
	also func(path string, s osfiletest.PowerState, want []*memImage) error

	opts osfiletest.PowerOptions
}

// bad records r on the file system that plant makes of the recorder. It returns the errors of
// up to three states, and how many states it has looked at.
func (r powerRun) bad(t *testing.T, plant func(osfile.FS) osfile.FS) (errs []error, states int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	want := r.start(t, path)
	rec := osfiletest.Record(t, filepath.Dir(path))
	path, err := osfile.Resolve(path)
	require.NoError(t, err)
	r.run(t, path, plant(rec.FS(unsynced(osfile.OS{}))), want, rec.Tell)
	opens := opensAs
	if r.opens != nil {
		opens = r.opens
	}
	// RemoveLeftovers does not look into them.
	r.opts.Unread = func(name string) bool { return isTempName(name, tempPrefix(path)) }
	states = rec.PowerStates(t, r.opts, func(s osfiletest.PowerState) bool {
		path := filepath.Join(s.Dir, "x.db")
		err := opens(path, want[s.Told:])
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

func asIs(f osfile.FS) osfile.FS { return f }

// unsynced is a file system that does not sync, where only the recording of syncs counts.
func unsynced(f osfile.FS) osfile.FS {
	return &osfiletest.PlantedFS{FS: f,
		OnSyncDir: func(string) error { return nil },
		OnFile: func(_ string, x *osfiletest.PlantedFile) {
			x.OnSync, x.OnSyncData = osfiletest.Nothing, osfiletest.Nothing
		}}
}

// opensAs makes sure that the database at path is one of want, to a load and then to
// SQLite. Only temporary files that RemoveLeftovers removes may be beside it.
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
	d, err := sqlitefile.Open(path, "mode=rw")
	if err != nil {
		return err
	}
	row, err := d.Find(bg, "PRAGMA integrity_check", func(row string) bool { return row != "ok" })
	if err == nil && row != "" {
		err = errors.New(row)
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	after, err := os.ReadFile(path)
	if err == nil && len(sink.bytes()) > 0 && string(after[sqlitefile.HeaderSize:]) != string(sink.bytes()[sqlitefile.HeaderSize:]) {
		err = errors.New("SQLite has changed the file that Load had read")
	}
	return err
}

// saves writes want[1], want[2] and so on over want[0].
func saves(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func()) {
	prev, err := sqlitefile.Identify(osfile.OS{}, path)
	require.NoError(t, err)
	savesFrom(t, path, fs, prev, want, tell)
}

func savesFrom(t *testing.T, path string, fs osfile.FS, prev sqlitefile.ID, want []*memImage, tell func()) {
	for _, img := range want[1:] {
		res, err := writer{fs}.write(bg, path, img, prev, writeOptions{})
		require.NoError(t, err)
		tell()
		prev = res.ID
	}
}

// starting begins with the first of images, nil for no file. It wants all of them in their
// order.
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
			testfile.Write(t, path, want[0].b)
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
		db := testfile.OpenSQL(t, path)
		testfile.MustExec(t, db, "PRAGMA page_size=512", fmt.Sprintf("CREATE TABLE t AS SELECT %d AS a", n))
		require.NoError(t, db.Close())
		return &memImage{b: testfile.Read(t, path), version: uint64(n)}
	}
}

func none(*testing.T) *memImage { return &memImage{} }

// recovering begins with the files that hot makes. A program has left them in a crash.
func recovering(hot func(t *testing.T) (path string, recovered *memImage)) func(*testing.T, string) []*memImage {
	return func(t *testing.T, path string) []*memImage {
		from, recovered := hot(t)
		for _, suffix := range []string{"", "-journal", "-wal"} {
			if b, err := os.ReadFile(from + suffix); err == nil {
				testfile.Write(t, path+suffix, b)
			}
		}
		return []*memImage{recovered, image(t, 3), image(t, 40)}
	}
}

// loadAndSave is the life of a server.
func loadAndSave(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func()) {
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
		opts:  osfiletest.PowerOptions{Samples: 8, States: 64, Contents: 16},
	},
	"after a hot journal": {
		start: recovering(func(t *testing.T) (string, *memImage) {
			path, before := testfile.HotJournal(t)
			return path, &memImage{b: before}
		}),
		run: loadAndSave,
	},
	"after a hot journal and a lost header": {
		start: recovering(func(t *testing.T) (string, *memImage) {
			path, before := testfile.HotJournal(t)
			b := testfile.Read(t, path)
			clear(b[:100])
			testfile.Write(t, path, b)
			return path, &memImage{b: before}
		}),
		run: loadAndSave,
	},
	"after a hot wal": {
		start: recovering(func(t *testing.T) (string, *memImage) {
			path, _ := testfile.HotWAL(t)
			b, _ := load(t, testfile.CopySet(t, path))
			return path, &memImage{b: b}
		}),
		run: loadAndSave,
	},
	"removing leftovers": {
		start: func(t *testing.T, path string) []*memImage {
			want := starting(rows(5), rows(6))(t, path)
			for _, suffix := range leftoverSuffixes {
				testfile.Write(t, tempName(path)+suffix, want[0].b[:700])
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
		run: func(t *testing.T, path string, fs osfile.FS, _ []*memImage, tell func()) {
			var side ownCopy
			for _, n := range []int{60, 70} {
				_, err := writer{fs}.write(bg, path, image(t, n), sqlitefile.ID{}, writeOptions{side: side})
				var fe *ForeignChangeError
				require.ErrorAs(t, err, &fe)
				require.NoError(t, fe.Err)
				side = fe.copy
				tell()
			}
		},
		also: func(path string, s osfiletest.PowerState, _ []*memImage) error {
			names, err := filepath.Glob(path + ".sqlite-mem-*")
			if err != nil || len(names) > 1 || len(names) < min(1, s.Told) {
				return fmt.Errorf("copies of the state in memory: %v (%v)", names, err)
			}
			for _, name := range names {
				n := int64(0)
				d, err := sqlitefile.Open(name, "mode=ro")
				if err == nil {
					if row, ferr := d.Find(bg, "PRAGMA integrity_check", func(row string) bool { return row != "ok" }); row != "" {
						err = errors.Join(ferr, errors.New(row))
					}
					if info, serr := os.Stat(name); serr != nil || info.Size() > 0 {
						var qerr error
						n, qerr = d.QueryInt("SELECT count(*) FROM t")
						err = errors.Join(err, serr, qerr)
					}
					err = errors.Join(err, d.Close())
				}
				if err != nil {
					return err
				}
				if want := [][]int64{{0, 60, 70}, {60, 70}, {70}}[s.Told]; !slices.Contains(want, n) {
					return fmt.Errorf("a copy of %d rows, not %v", n, want)
				}
			}
			return nil
		},
	},
	"a backup": {
		start: starting(nil, rows(40)),
		run: func(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func()) {
			require.NoError(t, writer{fs}.backup(bg, path, ofImage(bg, want[1])))
			tell()
		},
	},
	"a backup by a link": {
		start: starting(nil, rows(40)),
		run: func(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func()) {
			require.NoError(t, writer{waysToPlace(fs)["links"]}.backup(bg, path, ofImage(bg, want[1])))
			tell()
		},
	},
	"a backup by neither": {
		start: starting(nil, rows(40)),
		run: func(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func()) {
			require.NoError(t, writer{waysToPlace(fs)["neither"]}.backup(bg, path, ofImage(bg, want[1])))
			tell()
		},
		opens: func(path string, want []*memImage) error {
			if info, err := os.Stat(path); err == nil && info.Size() == 0 && want[0] == nil {
				return nil // the process that creates the file has the name; a crash may leave it so
			}
			return opensAs(path, want)
		},
	},
	"states that are kept": keepRun,
	"copies that are kept": {
		start: keepRun.start,
		run: func(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func()) {
			keepRun.run(t, path, withoutLinks(fs), want, tell)
		},
		also: keepRun.also,
	},
	"a log":      logRun,
	"a torn log": tornLogRun,
}

// Ensure that after a power failure at any moment the file is the old or the new database,
// whole. Once the save was reported, it is the new one. This holds whatever the disk has of
// unsynced data.
func TestPowerLoss(t *testing.T) {
	start, all := time.Now(), 0
	for seed := 0; again(start, seed, 1); seed++ {
		for name, run := range powerRuns {
			run.opts.Seed = uint64(seed)
			errs, states := run.bad(t, asIs)
			all += states
			require.Empty(t, errs, "%s, seed %d", name, seed)
		}
	}
	t.Logf("%d states", all)
}

// Ensure the same of a save in which an operation fails, and of the next one.
func TestPowerLoss_afterFault(t *testing.T) {
	for _, forever := range []bool{false, true} {
		for n, done := 1, false; !done; n++ {
			run := powerRun{
				start: starting(small(1), small(2), small(3)),
				opts:  osfiletest.PowerOptions{Contents: 16, Samples: 4, Seed: uint64(n)},
				run: func(t *testing.T, path string, fs osfile.FS, want []*memImage, tell func()) {
					prev, err := sqlitefile.Identify(osfile.OS{}, path)
					require.NoError(t, err)
					ffs := &osfiletest.FaultFS{FS: fs, FailAt: n, Err: syscall.EIO, Forever: forever}
					res, err := writer{ffs}.write(bg, path, want[1], prev, writeOptions{})
					done = len(ffs.Failures) == 0
					if err == nil {
						tell()
					}
					if !res.ID.IsZero() {
						prev = res.ID
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
