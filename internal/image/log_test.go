//go:build cgo

package image

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// history is a database in memory for a File: a state for each version.
type history struct {
	states  []*memImage // of version i+1
	changed pagelog.PageSet
	all     bool
	track   bool // Track was called, as PinChanges needs
}

func (h *history) last() *memImage { return h.states[len(h.states)-1] }

type historyImage struct{ *memImage }

func (historyImage) Release() {}

func (h *history) Pin() (Image, error) { return historyImage{h.last()}, nil }

func (h *history) Track() { h.track = true }

func (h *history) PinChanges(pages []uint64) (Image, []uint64, bool, error) {
	if !h.track {
		panic("PinChanges before Track")
	}
	set := pagelog.PageSet(pages)
	set.AddAll(h.changed)
	all := h.all
	h.changed, h.all = nil, false
	return historyImage{h.last()}, set, all, nil
}

// commit makes b the last state.
func (h *history) commit(b []byte) {
	img := &memImage{b: b, version: uint64(len(h.states) + 1)}
	if len(h.states) > 0 {
		old := h.last()
		if len(old.b) == 0 || len(b) == 0 || old.PageSize() != img.PageSize() {
			h.all = true
		} else {
			ps := img.PageSize()
			for off := 0; off < len(b); off += ps {
				if off >= len(old.b) || !bytes.Equal(b[off:off+ps], old.b[off:off+ps]) {
					h.changed.Add(uint32(off/ps) + 1)
				}
			}
		}
	}
	h.states = append(h.states, img)
}

// newHistory is a database of several states: rows come, change and go, and with
// them pages.
func newHistory(t testing.TB, path string) (h *history, next func()) {
	t.Helper()
	from := filepath.Join(t.TempDir(), "history.db")
	db := testfile.OpenSQL(t, from)
	testfile.MustExec(t, db, "PRAGMA page_size=512", "PRAGMA auto_vacuum=INCREMENTAL", "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")
	h = new(history)
	h.commit(testfile.Read(t, from))
	testfile.Write(t, path, testfile.Read(t, from))
	r := rand.New(rand.NewPCG(1, 2))
	return h, func() {
		testfile.MustExec(t, db, "INSERT INTO t(b) SELECT hex(randomblob(200)) FROM (VALUES(1),(2),(3))", "UPDATE t SET b=hex(randomblob(150)) WHERE a%5=0")
		if r.IntN(4) == 0 {
			testfile.MustExec(t, db, "DELETE FROM t WHERE a%3=0", "PRAGMA incremental_vacuum")
		}
		h.commit(testfile.Read(t, from))
	}
}

// openLogged opens path for h. h is what the file and its log hold.
func openLogged(t testing.TB, path string, h *history) *File {
	t.Helper()
	return openLoggedOn(t, system, path, h)
}

func openLoggedOn(t testing.TB, fs osfile.FS, path string, h *history) *File {
	t.Helper()
	f := NewFile(path, h, true)
	f.fs = fs
	s := new(memSink)
	_, err := f.Open(bg, s)
	require.NoError(t, err)
	requireState(t, h.last(), s.bytes())
	f.Start(h.last().version)
	return f
}

// reload opens the file and its log, and returns the database.
func reload(path string) ([]byte, FileInfo, error) { return reloadOn(system, path) }

func reloadOn(fs osfile.FS, path string) ([]byte, FileInfo, error) {
	s := new(memSink)
	f := NewFile(path, new(history), false)
	f.fs = fs
	info, err := f.Open(bg, s)
	return s.bytes(), info, errors.Join(err, f.Close(false))
}

// logged returns a database whose log has some transactions, and the states that
// it had, the base first.
func logged(t testing.TB, commits int) (path string, states []*memImage) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "app.db")
	h, next := newHistory(t, path)
	f := openLogged(t, path, h)
	for range commits {
		next()
		require.NoError(t, f.Flush())
	}
	require.NoError(t, f.Close(false))
	return path, h.states
}

// requireState compares a database with the state that it should have. It compares all bytes
// but the change counter, which a log does not keep.
func requireState(t testing.TB, want *memImage, got []byte, msg ...any) {
	t.Helper()
	require.Equal(t, string(withoutCounter(want.b)), string(withoutCounter(got)), msg...)
}

func withoutCounter(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) >= sqlitefile.HeaderSize {
		clear(b[sqlitefile.OffChangeCounter : sqlitefile.OffChangeCounter+4])
		clear(b[sqlitefile.OffValidFor : sqlitefile.OffValidFor+4])
	}
	return b
}

// Ensure that the next Open reads what was flushed, byte for byte. This holds after growth,
// shrinking, saves and flushes of several commits.
func TestLog_roundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	h, next := newHistory(t, path)
	f := openLogged(t, path, h)
	for i := range 60 {
		next()
		if i%4 == 3 {
			next()
		}
		if i%13 == 12 {
			saved, err := f.Save(bg, Pace{})
			require.NoError(t, err)
			require.Equal(t, h.last().version, saved.Version)
		}
		require.NoError(t, f.Flush())
		require.Equal(t, h.last().version, f.Durable())
		got, info, err := reload(testfile.CopySet(t, path))
		require.NoError(t, err)
		requireState(t, h.last(), got)
		require.Zero(t, info.Torn)
	}
	require.NoError(t, f.Close(true))
	require.NoFileExists(t, pagelog.Name(path))
}

// Ensure that a log that is cut off anywhere gives the state of its last whole transaction.
// The same holds if any sectors of the last transaction are missing.
func TestLog_torn(t *testing.T) {
	path, states := logged(t, 4)
	log := testfile.Read(t, pagelog.Name(path))
	l, err := pagelog.Read(osfile.OS{}, pagelog.Name(path))
	require.NoError(t, err)
	ends := logEnds(t, log)
	require.Len(t, ends, 4)
	r := rand.New(rand.NewPCG(3, 4))
	for n := sqlitefile.WALHeaderSize; n <= int(l.End); n += 1 + r.IntN(199) {
		testfile.Write(t, pagelog.Name(path), log[:n])
		whole := 0
		for _, end := range ends {
			if n >= end {
				whole++
			}
		}
		got, info, err := reload(path)
		require.NoError(t, err, n)
		require.Equal(t, whole, info.Commits)
		requireState(t, states[whole], got, n)
		if n != sqlitefile.WALHeaderSize && !slices.Contains(ends, n) {
			require.Positive(t, info.Torn)
		}
	}
	testfile.Write(t, pagelog.Name(path), log)
	tornSectors(t, system, path, states)
}

// tornSectors reads a log of four transactions, whole at first, without some
// sectors of the last one.
func tornSectors(t testing.TB, fs osfile.FS, path string, states []*memImage) {
	t.Helper()
	log := testfile.Read(t, pagelog.Name(path))
	ends := logEnds(t, log)
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		torn := bytes.Clone(log[:ends[3]])
		for off := ends[2]; off < ends[3]; off += 512 {
			if r.IntN(3) == 0 {
				clear(torn[off:min(off+512, ends[3])])
			}
		}
		testfile.Write(t, pagelog.Name(path), torn)
		got, info, err := reloadOn(fs, path)
		require.NoError(t, err)
		require.GreaterOrEqual(t, info.Commits, 3)
		requireState(t, states[info.Commits], got)
	}
}

// goesOn cuts the log off after n bytes, opens the database, and flushes more commits. It
// makes sure that the next Open reads these. goesOn calls after when the database is open.
func goesOn(t testing.TB, from string, states []*memImage, n int, after func(f *File)) {
	t.Helper()
	path := testfile.CopySet(t, from)
	log := testfile.Read(t, pagelog.Name(path))[:n]
	testfile.Write(t, pagelog.Name(path), log)
	whole := 0
	for _, end := range logEnds(t, log) {
		if end <= n {
			whole++
		}
	}
	h := new(history)
	h.commit(states[whole].b)
	f := openLogged(t, path, h)
	after(f)
	for _, s := range states[whole+1:] {
		h.commit(s.b)
		require.NoError(t, f.Flush())
		got, info, err := reload(testfile.CopySet(t, path))
		require.NoError(t, err, n)
		requireState(t, s, got, n)
		require.Zero(t, info.Torn)
	}
	require.NoError(t, f.Close(false))
}

// Ensure that commits after the next start are durable, wherever a crash has cut a log off.
// They are not written behind the torn end.
func TestLog_goesOn(t *testing.T) {
	path, states := logged(t, 4)
	ends := logEnds(t, testfile.Read(t, pagelog.Name(path)))
	r := rand.New(rand.NewPCG(7, 8))
	for n := sqlitefile.WALHeaderSize; n < ends[3]; n += 1 + r.IntN(1999) {
		goesOn(t, path, states, n, func(*File) {})
	}
}

// logEnds are the offsets where transactions end.
func logEnds(t testing.TB, log []byte) (ends []int) {
	t.Helper()
	h, ok := pagelog.ParseHeader(log)
	require.True(t, ok)
	for off := sqlitefile.WALHeaderSize; off+pagelog.FrameSize+h.PageSize <= len(log); off += pagelog.FrameSize + h.PageSize {
		f := pagelog.ParseFrame(log[off:])
		if f.Pgno == 0 {
			break
		}
		if f.Size != 0 {
			ends = append(ends, off+pagelog.FrameSize+h.PageSize)
		}
	}
	return ends
}

// Ensure that damage before the last transaction is refused wherever it is, and that nothing
// is changed then. Recover writes what is before the damage into the file. It keeps log and
// file as they were.
func TestLog_damaged(t *testing.T) {
	original, states := logged(t, 4)
	log := testfile.Read(t, pagelog.Name(original))
	ends := logEnds(t, log)
	r := rand.New(rand.NewPCG(5, 6))
	for range 60 {
		path := testfile.CopySet(t, original)
		off := r.IntN(ends[2])
		bad := bytes.Clone(log)
		bad[off] ^= 1 << r.IntN(8)
		testfile.Write(t, pagelog.Name(path), bad)
		before := testfile.Contents(t, filepath.Dir(path))
		_, _, err := reload(path)
		require.Error(t, err, off)
		require.True(t, errors.Is(err, pagelog.ErrDamaged) || errors.Is(err, pagelog.ErrBase), err)
		require.ErrorContains(t, err, "sqlite-mem recover "+path)
		_, err = FoldLog(bg, path, 0)
		require.Error(t, err)
		require.Equal(t, before, testfile.Contents(t, filepath.Dir(path)))

		rec, err := Recover(bg, path)
		require.NoError(t, err)
		require.Error(t, rec.Problem)
		whole := 0
		for _, end := range ends {
			if off >= sqlitefile.WALHeaderSize && end <= off {
				whole++
			}
		}
		require.Equal(t, whole, rec.Transactions, off)
		requireState(t, states[whole], testfile.Read(t, path))
		kept := ""
		for _, name := range rec.Aside {
			kept += string(testfile.Read(t, name))
		}
		require.Contains(t, kept, string(bad))
		if whole > 0 {
			require.Contains(t, kept, before["app.db"])
		}
		got, _, err := reload(path)
		require.NoError(t, err)
		requireState(t, states[whole], got)
	}
}

// Ensure that Recover names each file that it has kept aside, whichever file operation of it
// fails.
func TestLog_recoverFaults(t *testing.T) {
	original, _ := logged(t, 4)
	log := testfile.Read(t, pagelog.Name(original))
	log[logEnds(t, log)[1]+pagelog.FrameSize] ^= 1
	sweep(t, func(t *testing.T, ffs *osfiletest.FaultFS) {
		path := testfile.CopySet(t, original)
		testfile.Write(t, pagelog.Name(path), log)
		rec, err := recoverer{loader: loader{fs: ffs}, resolve: true}.run(bg, path)
		switch {
		case len(ffs.Failures) == 0:
			require.NoError(t, err)
			require.Len(t, rec.Aside, 2, "the file and the log")
		case err != nil:
			require.ErrorIs(t, err, ffs.Err, ffs)
		}
		for name := range testfile.Contents(t, filepath.Dir(path)) {
			if strings.Contains(name, asidePrefix) && !ffs.HasFailed("remove") {
				require.Contains(t, rec.Aside, filepath.Join(filepath.Dir(path), name), ffs)
			}
		}
	})
}

// Ensure that a log is folded into the file by FoldLog and by Save without a log,
// and is gone then.
func TestLog_fold(t *testing.T) {
	for name, fold := range map[string]func(path string) error{
		"fold": func(path string) error {
			rec, err := FoldLog(bg, path, 0)
			require.Equal(t, 3, rec.Transactions)
			return err
		},
		"recover": func(path string) error {
			rec, err := Recover(bg, path)
			require.Empty(t, rec.Aside)
			return err
		},
		"save": func(path string) error {
			s := new(memSink)
			h := new(history)
			f := NewFile(path, h, false)
			info, err := f.Open(bg, s)
			require.NoError(t, err)
			require.True(t, info.Recovered)
			h.commit(s.bytes())
			f.Start(1)
			_, err = f.Save(bg, Pace{})
			return errors.Join(err, f.Close(true))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, states := logged(t, 3)
			require.NoError(t, fold(path))
			require.Equal(t, []string{"app.db"}, testfile.Names(testfile.Contents(t, filepath.Dir(path))))
			requireState(t, states[3], testfile.Read(t, path))
			rec, err := FoldLog(bg, path, 0)
			require.NoError(t, err)
			require.Zero(t, rec)
		})
	}
}

// Ensure that a log of another state of the file is refused and, by Recover,
// moved aside.
func TestLog_otherBase(t *testing.T) {
	path, states := logged(t, 3)
	testfile.Write(t, path, states[1].b)
	before := testfile.Contents(t, filepath.Dir(path))
	_, _, err := reload(path)
	require.ErrorIs(t, err, pagelog.ErrBase)
	require.Equal(t, before, testfile.Contents(t, filepath.Dir(path)))
	rec, err := Recover(bg, path)
	require.NoError(t, err)
	require.ErrorIs(t, rec.Problem, pagelog.ErrBase)
	require.Len(t, rec.Aside, 1)
	require.True(t, strings.HasPrefix(rec.Aside[0], pagelog.Name(path)+asidePrefix))
	require.Equal(t, before["app.db-memwal"], string(testfile.Read(t, rec.Aside[0])))
	got, _, err := reload(path)
	require.NoError(t, err)
	require.Equal(t, string(states[1].b), string(got))
}

// Ensure that no commit is durable by the log after a save has found a foreign change of its
// file. When the file is back, all goes on.
func TestLog_foreignChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	h, next := newHistory(t, path)
	f := openLogged(t, path, h)
	next()
	require.NoError(t, f.Flush())
	was := testfile.Read(t, path)
	require.NoError(t, os.Rename(path, path+".away"))
	testfile.Write(t, path, was)
	next()
	_, err := f.Save(bg, Pace{})
	var foreign *ForeignChangeError
	require.ErrorAs(t, err, &foreign)
	require.ErrorContains(t, err, "sqlite-mem recover "+path)
	next()
	require.ErrorAs(t, f.Flush(), &foreign)
	require.Less(t, f.Durable(), h.last().version)
	require.NoError(t, os.Rename(path+".away", path))
	_, err = f.Save(bg, Pace{})
	require.NoError(t, err)
	next()
	require.NoError(t, f.Flush())
	got, _, err := reload(testfile.CopySet(t, path))
	require.NoError(t, err)
	requireState(t, h.last(), got)
	require.NoError(t, f.Close(true))
}

// Ensure that a new log that fits the file and is whole is read although the header of the
// old log is damaged. A new log that is not whole is not read.
func TestLog_newBesideDamaged(t *testing.T) {
	original, states := logged(t, 3)
	for _, whole := range []bool{true, false} {
		path := testfile.CopySet(t, original)
		log := testfile.Read(t, pagelog.Name(path))
		if !whole {
			log = log[:len(log)-pagelog.Ahead-1]
		}
		testfile.Write(t, pagelog.NewName(path), log)
		bad := bytes.Clone(log)
		bad[3] ^= 1
		testfile.Write(t, pagelog.Name(path), bad)
		got, _, err := reload(path)
		if !whole {
			require.ErrorIs(t, err, pagelog.ErrDamaged)
			continue
		}
		require.NoError(t, err)
		requireState(t, states[3], got)
	}
}

// Ensure that InspectLog tells what a log holds, and changes nothing.
func TestInspectLog(t *testing.T) {
	path, states := logged(t, 3)
	check := func(want LogInfo) {
		t.Helper()
		before := testfile.Contents(t, filepath.Dir(path))
		info, err := InspectLog(bg, path)
		require.NoError(t, err)
		require.NotNil(t, info)
		require.Equal(t, want.Damage != nil, errors.Is(info.Damage, pagelog.ErrDamaged))
		require.Equal(t, want.Transactions, info.Transactions)
		require.Equal(t, want.Fits, info.Fits)
		require.Equal(t, pagelog.Name(path), info.Name)
		require.Equal(t, before, testfile.Contents(t, filepath.Dir(path)))
	}
	check(LogInfo{Transactions: 3, Fits: true})
	log := testfile.Read(t, pagelog.Name(path))
	bad := bytes.Clone(log)
	bad[logEnds(t, log)[0]+100] ^= 1
	testfile.Write(t, pagelog.Name(path), bad)
	check(LogInfo{Transactions: 1, Fits: true, Damage: pagelog.ErrDamaged})
	testfile.Write(t, pagelog.Name(path), log)
	testfile.Write(t, path, states[2].b)
	check(LogInfo{Transactions: 3})
	require.NoError(t, os.Remove(pagelog.Name(path)))
	info, err := InspectLog(bg, path)
	require.NoError(t, err)
	require.Nil(t, info)
}

// FuzzLog mutates a log and its base. Ensure that Open does not crash and accepts no page
// that was never there. Open gives one of the states, or an error that leaves the files as
// they were.
func FuzzLog(f *testing.F) {
	path, states := logged(f, 3)
	log, base := testfile.Read(f, pagelog.Name(path)), testfile.Read(f, path)
	f.Add(uint32(0), byte(0), uint32(len(log)), uint32(0), byte(0))
	f.Add(uint32(100), byte(1), uint32(len(log)), uint32(0), byte(0))
	f.Add(uint32(0), byte(0), uint32(700), uint32(0), byte(0))
	f.Add(uint32(20), byte(0x80), uint32(3000), uint32(600), byte(4))
	f.Fuzz(func(t *testing.T, at uint32, xor byte, length, baseAt uint32, baseXor byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "app.db")
		l, b := bytes.Clone(log), bytes.Clone(base)
		l[int(at)%len(l)] ^= xor
		l = l[:min(int(length), len(l))]
		b[int(baseAt)%len(b)] ^= baseXor
		testfile.Write(t, path, b)
		testfile.Write(t, pagelog.Name(path), l)
		before := testfile.Contents(t, dir)
		got, _, err := reload(path)
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, before, testfile.Contents(t, dir))
			return
		}
		for _, s := range states {
			if bytes.Equal(withoutCounter(s.b), withoutCounter(got)) {
				return
			}
		}
		// A base that nobody's log belongs to is just another database.
		require.NotZero(t, baseXor)
		require.NoFileExists(t, pagelog.Name(path))
	})
}

// Ensure that LogPending reports every log with transactions, and every log whose state is
// not known. It reports no other, and changes nothing.
func TestLogPending(t *testing.T) {
	full, _ := logged(t, 2)
	empty, _ := logged(t, 0)
	require.NoFileExists(t, pagelog.Name(empty))
	h := new(history)
	h.commit(testfile.Read(t, empty))
	f := openLogged(t, empty, h)
	_, err := f.Save(bg, Pace{})
	require.NoError(t, err)
	require.NoError(t, f.Close(false))
	log, header, img := testfile.Read(t, pagelog.Name(full)), testfile.Read(t, pagelog.Name(empty)), image(t, 1).b
	require.Len(t, header, sqlitefile.WALHeaderSize)

	for name, tt := range map[string]struct {
		b    []byte
		want bool
	}{
		"transactions":         {log, true},
		"only a header":        {header, false},
		"zeros ahead":          {append(bytes.Clone(header), make([]byte, 8192)...), false},
		"few zeros ahead":      {append(bytes.Clone(header), 0), false},
		"a torn transaction":   {log[:sqlitefile.WALHeaderSize+pagelog.FrameSize+100], true},
		"a torn frame header":  {log[:sqlitefile.WALHeaderSize+4], true},
		"no bytes":             {nil, true},
		"a torn header":        {log[:20], true},
		"a damaged header":     {append([]byte("damage"), log[6:]...), true},
		"another file's bytes": {[]byte(strings.Repeat("x", 100)), true},
	} {
		for _, place := range []func(string) string{pagelog.Name, pagelog.NewName} {
			t.Run(name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.db")
				for range 2 { // whether the database is there does not matter
					got, err := LogPending(path)
					require.NoError(t, err)
					require.False(t, got)
					testfile.Write(t, place(path), tt.b)
					before := testfile.Contents(t, filepath.Dir(path))
					got, err = LogPending(path)
					require.NoError(t, err)
					require.Equal(t, tt.want, got)
					require.Equal(t, before, testfile.Contents(t, filepath.Dir(path)))
					require.NoError(t, os.Remove(place(path)))
					testfile.Write(t, path, img)
				}
			})
		}
	}

	path := filepath.Join(t.TempDir(), "x.db")
	require.NoError(t, os.Mkdir(pagelog.Name(path), 0o700))
	got, err := LogPending(path)
	require.ErrorIs(t, err, osfile.ErrNotAFile)
	require.True(t, got)
	got, err = LogPending(filepath.Join(path, "none", "x.db"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.True(t, got)
}
