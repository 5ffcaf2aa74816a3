//go:build cgo

package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// save writes img and returns the new identity of the file.
func save(t testing.TB, path string, img Image, prev sqlitefile.ID) sqlitefile.ID {
	t.Helper()
	res, err := Write(bg, path, img, prev, writeOptions{})
	require.NoError(t, err)
	return res.ID
}

// Ensure that pieces as large as outside of the tests make the whole.
func TestWrite_pieces(t *testing.T) {
	defer func(n int) { saveRun = n }(saveRun)
	saveRun = realSaveRun
	path := filepath.Join(t.TempDir(), "x.db")
	img := image(t, 100_000)
	require.Greater(t, len(img.b), 2*saveRun)
	save(t, path, img, sqlitefile.ID{})
	require.True(t, bytes.Equal(img.b, testfile.Read(t, path)))
}

// Ensure that a load gives the image that was saved, over no file and over an old one. The
// identity that a save returns is good for the next.
func TestWrite_roundTrip(t *testing.T) {
	for _, background := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "x.db")
		var prev sqlitefile.ID
		for _, rows := range []int{10, 30000, 0, 700} {
			img := image(t, rows)
			res, err := Write(bg, path, img, prev, writeOptions{pace: Pace{Background: background}})
			require.NoError(t, err)
			require.EqualValues(t, len(img.b), res.bytes)
			require.Equal(t, img.b, testfile.Read(t, path))
			got, id := load(t, path)
			require.Equal(t, img.b, got)
			require.Empty(t, res.ID.Difference(id))
			require.EqualValues(t, rows, query(t, got, "SELECT count(*) FROM t"))
			prev = res.ID
		}
		require.Equal(t, []string{"x.db"}, testfile.Names(testfile.Contents(t, filepath.Dir(path))))
	}
}

// Ensure that an image longer than a flush run is complete.
func TestWrite_large(t *testing.T) {
	db := testfile.New(t, "CREATE TABLE big(x)", "INSERT INTO big VALUES(randomblob(70000000))")
	img := &memImage{b: testfile.Read(t, db)}
	require.Greater(t, len(img.b), 2*flushRun)
	path := filepath.Join(t.TempDir(), "x.db")
	f := &osfiletest.FaultFS{FS: osfile.OS{}}
	_, err := writer{f}.write(bg, path, img, sqlitefile.ID{}, writeOptions{})
	require.NoError(t, err)
	require.Equal(t, img.b, testfile.Read(t, path))
	require.Equal(t, 2, strings.Count(strings.Join(f.Ops, "\n"), "flush "))
}

// Ensure that an empty database becomes a file of no bytes, and back.
func TestWrite_empty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	id := save(t, path, &memImage{}, sqlitefile.ID{})
	require.Empty(t, testfile.Read(t, path))
	_, loaded := load(t, path)
	require.Empty(t, id.Difference(loaded))
	id = save(t, path, image(t, 5), id)
	id = save(t, path, &memImage{}, id)
	require.Empty(t, testfile.Read(t, path))
	require.Zero(t, id.Size())
}

// Ensure that the operations come in the order that survives a power failure. The data are
// synced before the rename, and the directory before and after it.
func TestWrite_order(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	f := &osfiletest.FaultFS{FS: osfile.OS{}}
	_, err := writer{f}.write(bg, path, image(t, 5), sqlitefile.ID{}, writeOptions{})
	require.NoError(t, err)
	var steps []string
	for _, op := range f.Ops {
		switch verb, _, _ := strings.Cut(op, " "); verb {
		case "create", "write", "sync", "rename", "syncDir", "remove":
			steps = append(steps, verb)
		}
	}
	require.Equal(t, []string{"create", "write", "sync", "syncDir", "rename", "syncDir"}, steps)
}

// Ensure that a symbolic link stays one, and its target is written, also if that is not
// there yet.
func TestWrite_symlink(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	link, target := filepath.Join(dir, "link.db"), filepath.Join(other, "target.db")
	require.NoError(t, os.Symlink(target, link))
	var id sqlitefile.ID
	for _, rows := range []int{3, 4} {
		img := image(t, rows)
		res, err := Write(bg, link, img, id, writeOptions{})
		require.NoError(t, err)
		id = res.ID
		got, err := os.Readlink(link)
		require.NoError(t, err)
		require.Equal(t, target, got)
		require.Equal(t, img.b, testfile.Read(t, target))
		require.Equal(t, []string{"target.db"}, testfile.Names(testfile.Contents(t, other)))
	}
}

// foreignChanges are the changes that another program may make to a file between two saves.
var foreignChanges = map[string]func(t *testing.T, path string){
	"content edited in place": func(t *testing.T, path string) {
		db := testfile.OpenSQL(t, path)
		testfile.MustExec(t, db, "UPDATE t SET b='theirs' WHERE a=1")
		require.NoError(t, db.Close())
	},
	"edited with the old time put back": func(t *testing.T, path string) {
		info, err := os.Stat(path)
		require.NoError(t, err)
		db := testfile.OpenSQL(t, path)
		testfile.MustExec(t, db, "UPDATE t SET b='theirs' WHERE a=1")
		require.NoError(t, db.Close())
		require.NoError(t, os.Chtimes(path, time.Time{}, info.ModTime()))
	},
	"edited without SQLite": func(t *testing.T, path string) {
		b := testfile.Read(t, path)
		b[len(b)-1] ^= 1
		testfile.Write(t, path, b)
		require.NoError(t, os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)))
	},
	"grown": func(t *testing.T, path string) {
		db := testfile.OpenSQL(t, path)
		testfile.MustExec(t, db, "CREATE TABLE theirs(a)")
		require.NoError(t, db.Close())
	},
	"replaced by a rename": func(t *testing.T, path string) {
		info, err := os.Stat(path)
		require.NoError(t, err)
		testfile.Write(t, path+".new", testfile.Read(t, path))
		require.NoError(t, os.Chtimes(path+".new", time.Time{}, info.ModTime()))
		require.NoError(t, os.Rename(path+".new", path))
	},
	"deleted": func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
	"transaction begun": func(t *testing.T, path string) {
		db := testfile.OpenSQL(t, path)
		testfile.MustExec(t, db, "PRAGMA cache_size=1", "BEGIN", "UPDATE t SET b=randomblob(3000)")
	},
	"crash in a transaction": func(t *testing.T, path string) {
		hot, _ := testfile.HotJournal(t)
		testfile.Write(t, path+"-journal", testfile.Read(t, hot+"-journal"))
	},
	"written to in WAL mode": func(t *testing.T, path string) {
		hot, _ := testfile.HotWAL(t)
		testfile.Write(t, path+"-wal", testfile.Read(t, hot+"-wal"))
	},
}

// Ensure that after each kind of foreign change a save leaves the file alone. It keeps the
// state in memory beside the file, as the error says. There is one copy and not one for each
// attempt, and the next start finds everything.
func TestWrite_foreignChange(t *testing.T) {
	for name, change := range foreignChanges {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			id := save(t, path, image(t, 50), sqlitefile.ID{})
			change(t, path)
			before := testfile.Contents(t, filepath.Dir(path))
			delete(before, "x.db-shm")

			var side ownCopy
			for i, rows := range []int{60, 60, 70} {
				img := image(t, 60)
				if rows != 60 {
					img = image(t, rows)
				}
				f := &osfiletest.FaultFS{FS: osfile.OS{}}
				res, err := writer{f}.write(bg, path, img, id, writeOptions{side: side})
				require.Zero(t, res)
				var fe *ForeignChangeError
				require.ErrorAs(t, err, &fe)
				require.Equal(t, path, fe.Path)
				require.NotEmpty(t, fe.Reason)
				require.NoError(t, fe.Err)
				require.Regexp(t, `^`+regexp.QuoteMeta(path)+`\.sqlite-mem-\d{8}T\d{6}Z(-\d+)?$`, fe.SavedAs)
				for _, part := range []string{fe.Path, fe.Reason, fe.SavedAs} {
					require.Contains(t, err.Error(), part)
				}
				if i > 0 {
					require.Equal(t, side.path, fe.SavedAs)
				}
				if i == 1 {
					require.NotContains(t, strings.Join(f.Ops, "\n"), "create ", "this version is saved already")
				} else {
					require.Equal(t, img.b, testfile.Read(t, fe.SavedAs))
				}
				side = fe.copy

				after := testfile.Contents(t, filepath.Dir(path))
				delete(after, filepath.Base(fe.SavedAs))
				delete(after, "x.db-shm")
				require.Equal(t, before, after)
			}
			got, _ := load(t, side.path)
			require.EqualValues(t, 70, query(t, got, "SELECT count(*) FROM t"))

			// The copy, moved into its place, is ours.
			os.Remove(path + "-journal")
			os.Remove(path + "-wal")
			require.NoError(t, os.Rename(side.path, path))
			res, err := Write(bg, path, image(t, 80), id, writeOptions{side: side})
			require.NoError(t, err)
			require.False(t, res.ID.IsZero())
		})
	}
}

// Ensure that a file that has appeared where there was none is left alone.
func TestWrite_foreignFileAppeared(t *testing.T) {
	for name, b := range map[string][]byte{"empty": nil, "database": image(t, 3).b} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			testfile.Write(t, path, b)
			_, err := Write(bg, path, image(t, 5), sqlitefile.ID{}, writeOptions{})
			var fe *ForeignChangeError
			require.ErrorAs(t, err, &fe)
			require.Len(t, testfile.Read(t, path), len(b))
			require.Len(t, testfile.Contents(t, filepath.Dir(path)), 2)
		})
	}
}

// Ensure that a change made while the new file is being written is noticed.
func TestWrite_foreignChangeDuringSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	id := save(t, path, image(t, 5), sqlitefile.ID{})
	img := image(t, 6)
	later := time.Now().Add(time.Hour)
	img.read = func() { require.NoError(t, os.Chtimes(path, later, later)) } // FUSE sets both times or none
	_, err := Write(bg, path, img, id, writeOptions{})
	var fe *ForeignChangeError
	require.ErrorAs(t, err, &fe)
	requireNoTemp(t, path)
}

// Ensure that a copy that somebody has edited, and a file that happens to have
// its name, are not overwritten.
func TestWrite_ownCopyNotOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	testfile.Write(t, path, nil)
	foreign := func(side ownCopy) *ForeignChangeError {
		t.Helper()
		_, err := Write(bg, path, image(t, 5), sqlitefile.ID{}, writeOptions{side: side})
		var fe *ForeignChangeError
		require.ErrorAs(t, err, &fe)
		return fe
	}
	first := foreign(ownCopy{})
	testfile.Write(t, first.SavedAs, []byte("edited"))
	second := foreign(first.copy)
	require.NotEqual(t, first.SavedAs, second.SavedAs)
	third := foreign(ownCopy{})
	require.NotEqual(t, second.SavedAs, third.SavedAs)
	require.Equal(t, "edited", string(testfile.Read(t, first.SavedAs)))
	require.Len(t, testfile.Contents(t, filepath.Dir(path)), 4)
}

// Ensure that side files that mean nothing to SQLite do not stop a save. Journals and an
// empty -wal stay where they are; a -wal with a header does not.
func TestWrite_inertSideFiles(t *testing.T) {
	hot, _ := testfile.HotWAL(t)
	for name, side := range map[string]struct {
		suffix string
		b      []byte
		stays  bool
	}{
		"empty journal":  {"-journal", nil, true},
		"zeroed journal": {"-journal", make([]byte, 600), true},
		"empty wal":      {"-wal", nil, true},
		"wal header":     {"-wal", testfile.Read(t, hot+"-wal")[:32], false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			id := save(t, path, image(t, 5), sqlitefile.ID{})
			testfile.Write(t, path+side.suffix, side.b)
			img := image(t, 6)
			save(t, path, img, id)
			if side.stays {
				require.FileExists(t, path+side.suffix)
			} else {
				require.NoFileExists(t, path+side.suffix)
			}
			d, err := sqlitefile.Open(path, "mode=rw")
			require.NoError(t, err)
			defer d.Close()
			n, err := d.QueryInt("SELECT count(*) FROM t")
			require.NoError(t, err)
			require.EqualValues(t, 6, n)
		})
	}
}

// Ensure that a program that has the file open in WAL mode is a foreign change, even if it
// has not written. When it has gone, it is none.
func TestWrite_walOpenElsewhere(t *testing.T) {
	path := testfile.New(t, "PRAGMA journal_mode=WAL")
	_, id := load(t, path)
	db := testfile.OpenSQL(t, path)
	testfile.MustExec(t, db, "SELECT count(*) FROM t")
	require.FileExists(t, path+"-wal")
	require.Empty(t, testfile.Read(t, path+"-wal"))

	_, err := Write(bg, path, image(t, 6), id, writeOptions{})
	var fe *ForeignChangeError
	require.ErrorAs(t, err, &fe)
	require.Contains(t, fe.Reason, "WAL")
	testfile.MustExec(t, db, "SELECT count(*) FROM t")
	require.NoError(t, db.Close())
	save(t, path, image(t, 6), id)
	require.NoFileExists(t, path+"-wal")
}

// Ensure that a damaged or impossible image never replaces the file.
func TestWrite_badImage(t *testing.T) {
	boom := errors.New("boom")
	tests := map[string]struct {
		spoil func(*memImage)
		want  error
	}{
		"no magic":      {func(m *memImage) { m.b[0] = 0 }, sqlitefile.ErrNotADatabase},
		"page missing":  {func(m *memImage) { m.b = m.b[:len(m.b)-4096] }, sqlitefile.ErrTruncated},
		"half a page":   {func(m *memImage) { m.b = m.b[:len(m.b)-2048] }, nil},
		"no schema":     {func(m *memImage) { clear(m.b[100:4096]) }, sqlitefile.ErrCorrupt},
		"bad page size": {func(m *memImage) { m.b[16] = 3 }, nil},
		"read error":    {func(m *memImage) { m.fail, m.failAt = boom, 2<<20 }, boom},
		"short read":    {func(m *memImage) { m.fail, m.failAt = io.EOF, 2<<20 }, io.ErrUnexpectedEOF},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			old := image(t, 5)
			id := save(t, path, old, sqlitefile.ID{})
			img := image(t, 40000)
			tt.spoil(img)
			res, err := Write(bg, path, img, id, writeOptions{})
			require.Error(t, err)
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
			}
			require.Zero(t, res)
			require.Equal(t, map[string]string{"x.db": string(old.b)}, testfile.Contents(t, filepath.Dir(path)))
		})
	}
}

// Ensure that the end of the context ends a save and leaves the old file. A context that
// has ended before writes nothing.
func TestWrite_context(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	old := image(t, 5)
	id := save(t, path, old, sqlitefile.ID{})
	ctx, cancel := context.WithCancel(bg)
	img := image(t, 60000)
	n := 0
	img.read = func() {
		if n++; n == 2 {
			cancel()
		}
	}
	for range 2 {
		_, err := Write(ctx, path, img, id, writeOptions{})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 2, n)
		require.Equal(t, map[string]string{"x.db": string(old.b)}, testfile.Contents(t, filepath.Dir(path)))
	}
}

// Ensure that exactly the temporary files of this database are removed.
func TestRemoveLeftovers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	const hex = "0123456789abcdef"
	gone := []string{
		".x.db.sqlite-mem-" + hex + ".tmp",
		".x.db.sqlite-mem-" + hex + ".tmp-journal",
		".x.db.sqlite-mem-" + hex + ".tmp-wal",
		".x.db.sqlite-mem-" + hex + ".tmp-shm",
		filepath.Base(tempName(path)),
	}
	stay := []string{
		"x.db", "x.db-journal", "x.db-wal",
		"x.db.sqlite-mem-20250102T030405Z",
		"x.db.sqlite-mem-" + hex + ".tmp",
		".y.db.sqlite-mem-" + hex + ".tmp",
		".x.db2.sqlite-mem-" + hex + ".tmp",
		".x.db.sqlite-mem-" + hex[1:] + ".tmp",
		".x.db.sqlite-mem-" + hex + "0.tmp",
		".x.db.sqlite-mem-" + strings.ToUpper(hex) + ".tmp",
		".x.db.sqlite-mem-" + hex + ".tmp.bak",
		".x.db.sqlite-mem-" + hex,
		".x.db.sqlite-mem-",
	}
	for _, n := range append(append([]string{}, gone...), stay...) {
		testfile.Write(t, filepath.Join(dir, n), []byte("x"))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".x.db.sqlite-mem-1"+hex[1:]+".tmp"), 0o700))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link))

	removed, err := RemoveLeftovers(link)
	require.NoError(t, err)
	for i, n := range removed {
		removed[i] = filepath.Base(n)
	}
	require.ElementsMatch(t, gone, removed)
	require.ElementsMatch(t, stay, testfile.Names(testfile.Contents(t, dir)))
	require.DirExists(t, filepath.Join(dir, ".x.db.sqlite-mem-1"+hex[1:]+".tmp"))

	_, err = RemoveLeftovers(filepath.Join(dir, "none", "x.db"))
	require.Error(t, err)
}

// Ensure that the name of a temporary file is not too long if that of the database is not.
// Two long names are not mixed up.
func TestTempName_long(t *testing.T) {
	a, b := "/d/"+strings.Repeat("n", 230)+"a", "/d/"+strings.Repeat("n", 230)+"b"
	require.Less(t, len(filepath.Base(tempName(a))+"-journal"), 256)
	require.NotEqual(t, tempPrefix(a), tempPrefix(b))
	require.True(t, isTempName(filepath.Base(tempName(a)), tempPrefix(a)))
	require.False(t, isTempName(filepath.Base(tempName(a)), tempPrefix(b)))
}
