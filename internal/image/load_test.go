//go:build cgo

package image

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// Ensure that a database of every page size is loaded byte for byte, in pieces of any size.
// The ID is that of the file.
func TestLoad_pageSizes(t *testing.T) {
	for ps := 512; ps <= 65536; ps *= 2 {
		t.Run(fmt.Sprint(ps), func(t *testing.T) {
			path := testfile.New(t, fmt.Sprintf("PRAGMA page_size=%d", ps), "PRAGMA user_version=7")
			want := testfile.Read(t, path)
			s := &memSink{piece: 3}
			id, err := Load(context.Background(), path, s)
			require.NoError(t, err)
			require.Equal(t, ps, s.pageSize)
			require.EqualValues(t, len(want), s.size)
			require.Equal(t, 1, s.reserved)
			require.Equal(t, want, s.bytes())
			require.EqualValues(t, len(want), id.Size())
			require.Equal(t, binary.BigEndian.Uint32(want[24:]), id.ChangeCounter())
			require.NotZero(t, id.ChangeCounter())
			now, err := sqlitefile.Identify(osfile.OS{}, path)
			require.NoError(t, err)
			require.Empty(t, id.Difference(now))
			require.Equal(t, want, testfile.Read(t, path))
			require.Len(t, testfile.Contents(t, filepath.Dir(path)), 1)
			require.EqualValues(t, 500, query(t, s.bytes(), "SELECT count(*) FROM t"))
		})
	}
}

// Ensure that a database larger than one read is complete.
func TestLoad_large(t *testing.T) {
	path := testfile.New(t, "CREATE TABLE big(x)", "INSERT INTO big VALUES(randomblob(9000000))")
	want := testfile.Read(t, path)
	require.Greater(t, len(want), 2*loadRun)
	s := new(memSink)
	_, err := Load(context.Background(), path, s)
	require.NoError(t, err)
	require.Greater(t, len(s.pieces), 2)
	require.Equal(t, want, s.bytes())
}

// Ensure that a missing file is no error, gives nothing, and is not made.
func TestLoad_missing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.db")
	s := new(memSink)
	id, err := Load(context.Background(), path, s)
	require.NoError(t, err)
	require.True(t, id.IsZero())
	require.Zero(t, s.reserved)
	require.NoFileExists(t, path)

	_, err = Load(context.Background(), filepath.Join(path, "no", "directory"), s)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// Ensure that a file without bytes is an empty database.
func TestLoad_empty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty.db")
	testfile.Write(t, path, nil)
	s := new(memSink)
	id, err := Load(context.Background(), path, s)
	require.NoError(t, err)
	require.False(t, id.IsZero())
	require.Zero(t, id.Size())
	require.Zero(t, s.reserved)
	require.Equal(t, map[string]string{"empty.db": ""}, testfile.Contents(t, filepath.Dir(path)))
}

// Ensure that a database in WAL mode is loaded in rollback mode, with a -wal and without.
// No side file is left, and nothing else differs.
func TestLoad_wal(t *testing.T) {
	clean := testfile.New(t, "PRAGMA journal_mode=WAL")
	want := testfile.Read(t, clean)
	require.Equal(t, []byte{2, 2}, want[18:20])
	got, id := load(t, clean)
	require.Equal(t, []byte{1, 1}, got[18:20])
	require.Equal(t, want, testfile.Read(t, clean))
	copy(want[18:], []byte{1, 1})
	require.Equal(t, want, got)
	require.False(t, id.IsZero())

	hot, rows := testfile.HotWAL(t)
	got, id = load(t, hot)
	require.Equal(t, []byte{1, 1}, got[18:20])
	require.EqualValues(t, rows, query(t, got, "SELECT count(*) FROM t"))
	require.Equal(t, []string{"test.db"}, testfile.Names(testfile.Contents(t, filepath.Dir(hot))))
	now, err := sqlitefile.Identify(osfile.OS{}, hot)
	require.NoError(t, err)
	require.Empty(t, id.Difference(now))
}

// Ensure that a hot journal is rolled back before the file is read, even if the transaction
// makes the file look damaged.
func TestLoad_hotJournal(t *testing.T) {
	hot, before := testfile.HotJournal(t)
	got, _ := load(t, hot)
	require.Equal(t, before, got)
	require.Equal(t, before, testfile.Read(t, hot))
	require.Equal(t, []string{"test.db"}, testfile.Names(testfile.Contents(t, filepath.Dir(hot))))

	// The transaction had been writing the first page, and growing the file.
	damage := map[string]func([]byte) []byte{
		"header gone":       func(b []byte) []byte { clear(b[:100]); return b },
		"half a page more":  func(b []byte) []byte { return append(b, make([]byte, 2048)...) },
		"more pages listed": func(b []byte) []byte { b[29] = 1; return b },
	}
	for name, f := range damage {
		t.Run(name, func(t *testing.T) {
			hot, before := testfile.HotJournal(t)
			b := f(testfile.Read(t, hot))
			copy(b[92:96], b[24:28])
			testfile.Write(t, hot, b)
			got, _ := load(t, hot)
			require.Equal(t, before, got)
			require.Equal(t, []string{"test.db"}, testfile.Names(testfile.Contents(t, filepath.Dir(hot))))
		})
	}
}

// Ensure that the first transaction of all, if it is cut short, leaves an empty database,
// whether it has written to the file or not.
func TestLoad_hotJournalOfNewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db := testfile.OpenSQL(t, path)
	testfile.MustExec(t, db, "PRAGMA auto_vacuum=NONE", "PRAGMA cache_size=1", "BEGIN", "CREATE TABLE t(a)")
	begun := testfile.CopySet(t, path)
	testfile.MustExec(t, db, "INSERT INTO t VALUES(randomblob(100000))")
	written := testfile.CopySet(t, path)
	testfile.MustExec(t, db, "ROLLBACK")
	require.NoError(t, db.Close())

	require.Empty(t, testfile.Read(t, begun))
	require.NotEmpty(t, testfile.Read(t, written))
	require.Zero(t, testfile.Read(t, begun+"-journal")[0], "not synced, so not hot yet")
	// The journal has been synced, the file not yet written to.
	testfile.Write(t, begun+"-journal", testfile.Read(t, written+"-journal"))
	for _, path := range []string{begun, written} {
		s := new(memSink)
		id, err := Load(context.Background(), path, s)
		require.NoError(t, err)
		require.False(t, id.IsZero())
		require.Zero(t, s.reserved)
		require.Equal(t, map[string]string{"test.db": ""}, testfile.Contents(t, filepath.Dir(path)))
	}
}

// Ensure that a file that is refused is left as it was, and so are the files beside it.
func TestLoad_refused(t *testing.T) {
	valid := func(t *testing.T) []byte { return testfile.Read(t, testfile.New(t)) }
	type files map[string][]byte
	junk := []byte(strings.Repeat("Dear diary, today nothing happened. ", 1000))
	tests := []struct {
		name  string
		want  error
		files func(t *testing.T) files
	}{
		{"text", sqlitefile.ErrNotADatabase, func(t *testing.T) files { return files{"": junk} }},
		{"short text", sqlitefile.ErrNotADatabase, func(t *testing.T) files { return files{"": []byte("SQLite is nice")} }},
		{"text with a hot journal", sqlitefile.ErrNotADatabase, func(t *testing.T) files {
			hot, _ := testfile.HotJournal(t, "INSERT INTO t(b) SELECT b||'x' FROM t")
			j := testfile.Read(t, hot+"-journal")
			// A journal that does not bring the first page back.
			return files{"": junk, "-journal": j[:512]}
		}},
		{"text with text for a journal", sqlitefile.ErrNotADatabase, func(t *testing.T) files { return files{"": junk, "-journal": junk} }},
		{"text with text for a wal", sqlitefile.ErrNotADatabase, func(t *testing.T) files { return files{"": junk, "-wal": junk} }},
		{"text with a torn wal", sqlitefile.ErrNotADatabase, func(t *testing.T) files {
			hot, _ := testfile.HotWAL(t)
			w := testfile.Read(t, hot+"-wal")
			w[40] ^= 1 // in the header of the first frame
			return files{"": junk, "-wal": w}
		}},
		{"later format", sqlitefile.ErrNotADatabase, func(t *testing.T) files {
			b := valid(t)
			b[19] = 3
			return files{"": b}
		}},
		{"later format to write", sqlitefile.ErrNotADatabase, func(t *testing.T) files {
			b := valid(t)
			b[18] = 3
			return files{"": b}
		}},
		{"later schema format", sqlitefile.ErrNotADatabase, func(t *testing.T) files {
			b := valid(t)
			b[47] = 5
			return files{"": b}
		}},
		{"page size", sqlitefile.ErrNotADatabase, func(t *testing.T) files {
			b := valid(t)
			b[16], b[17] = 0x0c, 0
			return files{"": b}
		}},
		{"only a header", sqlitefile.ErrTruncated, func(t *testing.T) files { return files{"": valid(t)[:100]} }},
		{"half a header", sqlitefile.ErrTruncated, func(t *testing.T) files { return files{"": valid(t)[:50]} }},
		{"half a page short", sqlitefile.ErrTruncated, func(t *testing.T) files { b := valid(t); return files{"": b[:len(b)-2048]} }},
		{"half a page too long", sqlitefile.ErrTruncated, func(t *testing.T) files { return files{"": append(valid(t), make([]byte, 2048)...)} }},
		{"one page short", sqlitefile.ErrTruncated, func(t *testing.T) files { b := valid(t); return files{"": b[:len(b)-4096]} }},
		{"empty with a wal", sqlitefile.ErrTruncated, func(t *testing.T) files {
			hot, _ := testfile.HotWAL(t)
			return files{"": nil, "-wal": testfile.Read(t, hot+"-wal")}
		}},
		{"empty with a journal of a larger file", sqlitefile.ErrTruncated, func(t *testing.T) files {
			hot, _ := testfile.HotJournal(t)
			return files{"": nil, "-journal": testfile.Read(t, hot+"-journal")}
		}},
		{"missing with a wal", sqlitefile.ErrSideFile, func(t *testing.T) files {
			hot, _ := testfile.HotWAL(t)
			return files{"-wal": testfile.Read(t, hot+"-wal")}
		}},
		{"missing with a journal", sqlitefile.ErrSideFile, func(t *testing.T) files {
			hot, _ := testfile.HotJournal(t)
			return files{"-journal": testfile.Read(t, hot+"-journal")}
		}},
		{"wal of another file", sqlitefile.ErrSideFile, func(t *testing.T) files {
			hot, _ := testfile.HotWAL(t)
			return files{"": valid(t), "-wal": testfile.Read(t, hot+"-wal")}
		}},
		{"wal of another format", sqlitefile.ErrSideFile, func(t *testing.T) files {
			hot, _ := testfile.HotWAL(t)
			w := testfile.Read(t, hot+"-wal")
			w[7]++
			return files{"": testfile.Read(t, hot), "-wal": walSums(w)}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x.db")
			for suffix, b := range tt.files(t) {
				testfile.Write(t, path+suffix, b)
			}
			before := testfile.Contents(t, filepath.Dir(path))
			s := new(memSink)
			id, err := Load(context.Background(), path, s)
			require.ErrorIs(t, err, tt.want)
			require.True(t, id.IsZero())
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "load", e.Op)
			require.Equal(t, path, e.Path)
			require.Contains(t, err.Error(), path)
			require.Zero(t, s.reserved)
			require.Equal(t, before, testfile.Contents(t, filepath.Dir(path)))
		})
	}
}

// Ensure that a load leaves out the bytes behind the last page of the database.
func TestLoad_longerThanDatabase(t *testing.T) {
	path := testfile.New(t)
	want := testfile.Read(t, path)
	testfile.Write(t, path, append(want[:len(want):len(want)], make([]byte, 3*4096)...))
	got, id := load(t, path)
	require.Equal(t, want, got)
	require.EqualValues(t, len(want)+3*4096, id.Size())
}

// Ensure that side files that mean nothing to SQLite do not stop a load.
func TestLoad_inertSideFiles(t *testing.T) {
	hot, _ := testfile.HotWAL(t)
	for name, side := range map[string]struct {
		suffix string
		b      []byte
	}{
		"empty journal":  {"-journal", nil},
		"zeroed journal": {"-journal", append(make([]byte, 28), "and some more"...)},
		"empty wal":      {"-wal", nil},
		"wal header":     {"-wal", testfile.Read(t, hot+"-wal")[:32]},
		"junk wal":       {"-wal", make([]byte, 5000)},
	} {
		t.Run(name, func(t *testing.T) {
			path := testfile.New(t)
			want := testfile.Read(t, path)
			testfile.Write(t, path+side.suffix, side.b)
			got, _ := load(t, path)
			require.Equal(t, want, got)
			require.Equal(t, want, testfile.Read(t, path))
		})
	}
	t.Run("no file, empty wal", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.db")
		testfile.Write(t, path+"-wal", nil)
		_, id := load(t, path)
		require.True(t, id.IsZero())
	})
}

// Ensure that a journal that SQLite cannot use does not stay beside the file, where it
// would stop every save.
func TestLoad_garbageJournal(t *testing.T) {
	for _, mode := range []string{"DELETE", "WAL"} {
		path := testfile.New(t, "PRAGMA journal_mode="+mode)
		testfile.Write(t, path+"-journal", []byte("garbage"))
		_, id := load(t, path)
		require.NoFileExists(t, path+"-journal", mode)
		save(t, path, image(t, 5), id)
	}
}

// Ensure that symbolic links are followed, also to a file that is not there yet.
func TestLoad_symlink(t *testing.T) {
	path := testfile.New(t)
	want := testfile.Read(t, path)
	dir := t.TempDir()
	link := filepath.Join(dir, "link.db")
	require.NoError(t, os.Symlink(path, link))
	got, id := load(t, link)
	require.Equal(t, want, got)
	require.False(t, id.IsZero())

	dangling := filepath.Join(dir, "dangling.db")
	require.NoError(t, os.Symlink(filepath.Join(dir, "nowhere.db"), dangling))
	_, id = load(t, dangling)
	require.True(t, id.IsZero())
}

// Ensure that names that mean something in a URI are taken literally.
func TestLoad_names(t *testing.T) {
	for _, name := range []string{
		`it's "quoted".db`, "a b.db", "a#b.db", "a?mode=memory.db", "100%25.db", "a%2fb.db", "grüße-邮件.db",
		"a+b&c=d.db", ":memory:", "file:x.db", `back\slash`, "new\nline", "bad\xffutf8", strings.Repeat("n", 230),
	} {
		t.Run(fmt.Sprintf("%.20q", name), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name[:min(len(name), 40)])
			require.NoError(t, os.Mkdir(dir, 0o700))
			path := filepath.Join(dir, name)
			// Only SQLite under the right name finds the last row.
			hot, rows := testfile.HotWAL(t)
			testfile.Write(t, path, testfile.Read(t, hot))
			testfile.Write(t, path+"-wal", testfile.Read(t, hot+"-wal"))
			got, id := load(t, path)
			require.EqualValues(t, rows, query(t, got, "SELECT count(*) FROM t"))
			img := image(t, 10)
			_, err := Write(context.Background(), path, img, id, writeOptions{})
			require.NoError(t, err)
			require.Equal(t, map[string]string{name: string(img.b)}, testfile.Contents(t, dir))
		})
	}
}

// Ensure that a load waits for a connection that writes, then fails with ErrBusy without
// harm, and works when the file is free again.
func TestLoad_busy(t *testing.T) {
	for _, mode := range []string{"DELETE", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			path := testfile.New(t, "PRAGMA journal_mode="+mode)
			db := testfile.OpenSQL(t, path)
			testfile.MustExec(t, db, "BEGIN IMMEDIATE", "INSERT INTO t(b) VALUES('new')")
			s := new(memSink)
			_, err := quick.loadID(context.Background(), path, s)
			require.ErrorIs(t, err, sqlitefile.ErrBusy)
			require.Zero(t, s.reserved)
			testfile.MustExec(t, db, "COMMIT")

			// Now it is let go while Load waits.
			testfile.MustExec(t, db, "BEGIN IMMEDIATE")
			type result struct {
				b   []byte
				err error
			}
			ch := make(chan result)
			go func() {
				s := new(memSink)
				_, err := Load(context.Background(), path, s)
				ch <- result{s.bytes(), err}
			}()
			testfile.MustExec(t, db, "INSERT INTO t(b) VALUES('more')", "COMMIT")
			require.NoError(t, db.Close())
			r := <-ch
			require.NoError(t, r.err)
			require.EqualValues(t, 502, query(t, r.b, "SELECT count(*) FROM t"))
		})
	}
}

// Ensure that a file in WAL mode that is open elsewhere is refused, even if nobody uses it,
// and goes on working there.
func TestLoad_walOpenElsewhere(t *testing.T) {
	path := testfile.New(t, "PRAGMA journal_mode=WAL")
	db := testfile.OpenSQL(t, path)
	testfile.MustExec(t, db, "INSERT INTO t(b) VALUES('in the wal')")
	_, err := quick.loadID(context.Background(), path, new(memSink))
	require.ErrorIs(t, err, sqlitefile.ErrBusy)
	testfile.MustExec(t, db, "INSERT INTO t(b) VALUES('more')")
	require.NoError(t, db.Close())
	got, _ := load(t, path)
	require.EqualValues(t, 502, query(t, got, "SELECT count(*) FROM t"))
}

// Ensure that nobody can write to the file while it is read. In rollback mode readers
// neither wait nor are waited for.
func TestLoad_locked(t *testing.T) {
	for _, mode := range []string{"DELETE", "WAL"} {
		path := testfile.New(t, "PRAGMA journal_mode="+mode)
		want := testfile.Read(t, path)
		want[18], want[19] = 1, 1
		other := testfile.OpenSQL(t, path)
		if mode == "DELETE" {
			testfile.MustExec(t, other, "BEGIN", "SELECT * FROM t")
		}
		n := 0
		s := &memSink{piece: 1, next: func() error {
			n++
			w, err := sqlitefile.Open(path, "_busy_timeout=0")
			if err != nil {
				return err
			}
			defer w.Close()
			if w.Exec("INSERT INTO t(b) VALUES('no')") == nil {
				return errors.New("written to while it was read")
			}
			_, err = w.QueryInt("SELECT count(*) FROM t")
			return err
		}}
		if mode == "WAL" {
			s.next = func() error {
				n++
				w, err := sqlitefile.Open(path, "_busy_timeout=0")
				if err == nil {
					err = w.Exec("INSERT INTO t(b) VALUES('no')")
					w.Close()
				}
				if !errors.Is(err, sqlitefile.ErrBusy) {
					return fmt.Errorf("opened while it was read: %v", err)
				}
				return nil
			}
		}
		_, err := Load(context.Background(), path, s)
		require.NoError(t, err, mode)
		require.Greater(t, n, 5)
		require.Equal(t, want, s.bytes())
		require.NoError(t, other.Close())
		// And the lock is gone.
		testfile.MustExec(t, testfile.OpenSQL(t, path), "INSERT INTO t(b) VALUES('yes')")
	}
}

// Ensure that an error of the sink ends the load and leaves no lock.
func TestLoad_sinkFails(t *testing.T) {
	path := testfile.New(t)
	full := errors.New("full")
	_, err := Load(context.Background(), path, &memSink{next: func() error { return full }})
	require.ErrorIs(t, err, full)
	testfile.MustExec(t, testfile.OpenSQL(t, path), "INSERT INTO t(b) VALUES('yes')")
}

// Ensure that the end of the context ends a load between two pieces, and a wait for a busy
// file at once.
func TestLoad_context(t *testing.T) {
	path := testfile.New(t)
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	s := &memSink{piece: 1, next: func() error {
		if n++; n == 3 {
			cancel()
		}
		return nil
	}}
	_, err := Load(ctx, path, s)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 3, n)

	db := testfile.OpenSQL(t, path)
	testfile.MustExec(t, db, "BEGIN IMMEDIATE")
	ctx, cancel = context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = Load(ctx, path, new(memSink))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), loadWait/2)
}

// Ensure that a path that is no regular file is refused without being opened.
func TestLoad_notAFile(t *testing.T) {
	_, err := Load(context.Background(), t.TempDir(), new(memSink))
	require.ErrorContains(t, err, "not a regular file")
}

// Ensure that a file changed between the copy and the end of the load is
// noticed.
func TestLoad_changedAfterCopy(t *testing.T) {
	path := testfile.New(t)
	l := loader{fs: changeBeforeLook{osfile.OS{}, path, t}, wait: time.Second, poll: loadPoll}
	_, err := l.loadID(context.Background(), path, new(memSink))
	require.ErrorIs(t, err, sqlitefile.ErrBusy)
}

// changeBeforeLook commits to path whenever somebody is about to look at that name. A load
// does so when the lock is gone.
type changeBeforeLook struct {
	osfile.OS
	path string
	t    *testing.T
}

func (c changeBeforeLook) Lstat(name string) (os.FileInfo, error) {
	if name == c.path {
		b := testfile.Read(c.t, c.path)
		b[27]++
		testfile.Write(c.t, c.path, b)
	}
	return c.OS.Lstat(name)
}

// Ensure that another process cannot write either. It does not share the locks of this one,
// and the close of any descriptor of the file would drop them.
func TestLoad_lockedForOtherProcess(t *testing.T) {
	if path := os.Getenv("SNAPSHOT_TEST_WRITE"); path != "" {
		d, err := sqlitefile.Open(path, "_busy_timeout=0")
		if err == nil {
			err = d.Exec("INSERT INTO t(b) VALUES('no')")
			d.Close()
		}
		fmt.Printf("busy=%v err=%v\n", errors.Is(err, sqlitefile.ErrBusy), err)
		return
	}
	write := func(path string) string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLoad_lockedForOtherProcess$")
		cmd.Env = append(os.Environ(), "SNAPSHOT_TEST_WRITE="+path)
		out, err := cmd.Output()
		require.NoError(t, err)
		return string(out)
	}
	for _, mode := range []string{"DELETE", "WAL"} {
		path := testfile.New(t, "PRAGMA journal_mode="+mode)
		want := testfile.Read(t, path)
		pieces := 0
		s := &memSink{piece: len(want) / 4096 / 2, next: func() error {
			pieces++
			if out := write(path); !strings.Contains(out, "busy=true") {
				return errors.New(out)
			}
			return nil
		}}
		_, err := Load(context.Background(), path, s)
		require.NoError(t, err, mode)
		require.Greater(t, pieces, 1)
		require.Contains(t, write(path), "err=<nil>")
	}
}

// Ensure that a file in the middle of the commit of another program is judged again.
func TestLoad_judgedAgain(t *testing.T) {
	path := testfile.New(t)
	want := testfile.Read(t, path)
	testfile.Write(t, path, want[:len(want)-4096])
	f := &osfiletest.FaultFS{FS: osfile.OS{}}
	f.Before = func(op string) {
		if strings.HasPrefix(op, "close ") { // the header has been read
			f.Before = nil
			testfile.Write(t, path, want)
		}
	}
	s := new(memSink)
	_, err := loader{fs: f, wait: loadWait, poll: time.Millisecond}.loadID(context.Background(), path, s)
	require.NoError(t, err)
	require.Equal(t, want, s.bytes())
}
