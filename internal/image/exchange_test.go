//go:build cgo

package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// readOf reads b as a stream.
func readOf(b []byte) func(context.Context, Sink) error {
	return func(ctx context.Context, sink Sink) error { return ReadStream(ctx, bytes.NewReader(b), sink) }
}

// Ensure that whichever file operation of an exchange fails, the file is the old or the new one,
// whole. Nothing is left beside it, unless it cannot be removed, and the error names the cause.
func TestExchange_faults(t *testing.T) {
	oldImg, newImg := image(t, 5), image(t, 900)
	sweep(t, func(t *testing.T, ffs *osfiletest.FaultFS) {
		path := filepath.Join(t.TempDir(), "x.db")
		testfile.Write(t, path, oldImg.b)
		keep := filepath.Join(t.TempDir(), "before.db")
		notKept, err := writer{ffs}.exchange(bg, path, readOf(newImg.b), ExchangeOptions{Keep: 1, KeepAs: keep})
		got := testfile.Contents(t, filepath.Dir(path))
		switch {
		case err == nil:
			require.Equal(t, string(newImg.b), got["x.db"], ffs)
			if notKept == nil {
				require.Equal(t, string(oldImg.b), got["x.db.kept-1"], ffs)
			}
			require.Equal(t, oldImg.b, testfile.Read(t, keep), ffs)
			if len(ffs.Failures) == 0 {
				require.NoError(t, notKept)
				require.Len(t, got, 2)
			}
			return
		case ffs.HasFailed("syncDir") && strings.Contains(err.Error(), "power failure") && got["x.db"] == string(newImg.b):
			return
		}
		require.Equal(t, string(oldImg.b), got["x.db"], ffs)
		if !ffs.HasFailed("remove") {
			require.Len(t, got, 1, ffs)
		}
		for name := range got {
			if name != "x.db" {
				require.ErrorContains(t, err, name)
			}
		}
		requireCause(t, ffs, err)
	})
}

// Ensure that the end of the context ends an exchange while the new database is checked, which
// takes a minute here. Nothing is changed, and nothing is left beside the file.
func TestExchange_cancelled(t *testing.T) {
	slow := testfile.Read(t, testfile.New(t,
		"CREATE TABLE u(a, b AS (length(hex(zeroblob(1)))) NOT NULL)",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<5000) INSERT INTO u SELECT i FROM n",
		"PRAGMA writable_schema=ON",
		"UPDATE sqlite_schema SET sql=replace(sql, '(1)', '(2000000)') WHERE name='u'"))
	path := testfile.New(t)
	before := testfile.Contents(t, filepath.Dir(path))
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	var start time.Time
	_, err := Exchange(ctx, path, func(ctx context.Context, sink Sink) error {
		err := readOf(slow)(ctx, sink)
		start = time.Now()
		time.AfterFunc(50*time.Millisecond, cancel)
		return err
	}, ExchangeOptions{Keep: 1})
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, sqlitefile.ErrCorrupt)
	require.Less(t, time.Since(start), 20*time.Second)
	require.Equal(t, before, testfile.Contents(t, filepath.Dir(path)))
}

// requireCause makes sure that err wraps one of the faults.
func requireCause(t *testing.T, ffs *osfiletest.FaultFS, err error) {
	t.Helper()
	for _, f := range faults {
		if errors.Is(err, f.err) {
			return
		}
	}
	require.Fail(t, "no cause", "%v: %v", ffs, err)
}

// sinkBytes reads into memory.
func sinkBytes(t testing.TB, read func(Sink) error) ([]byte, error) {
	t.Helper()
	sink := &memSink{}
	err := read(sink)
	return sink.bytes(), err
}

// Ensure that a stream gives the same database as its file, however its bytes come. It is read to
// its end, and an error there counts.
func TestReadStream(t *testing.T) {
	for name, path := range map[string]string{
		"small":  testfile.New(t, "CREATE TABLE u(x)"),
		"pages":  testfile.New(t, "PRAGMA page_size=65536", "CREATE TABLE u(x)", "INSERT INTO u VALUES(zeroblob(5000000))"),
		"in WAL": testfile.New(t, "PRAGMA journal_mode=WAL", "CREATE TABLE u(x)"),
	} {
		t.Run(name, func(t *testing.T) {
			content := testfile.Read(t, path)
			want, err := sinkBytes(t, func(s Sink) error { return ReadFile(bg, path, s, nil) })
			require.NoError(t, err)
			require.Equal(t, content, testfile.Read(t, path))
			require.Equal(t, []byte{1, 1}, want[18:20])
			require.Equal(t, content[20:], want[20:])
			r := bytes.NewReader(append(bytes.Clone(content), "what follows"...))
			got, err := sinkBytes(t, func(s Sink) error { return ReadStream(bg, iotest.HalfReader(r), s) })
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
			require.Zero(t, r.Len())
			wrong := errors.New("wrong checksum")
			_, err = sinkBytes(t, func(s Sink) error {
				return ReadStream(bg, io.MultiReader(bytes.NewReader(content), iotest.ErrReader(wrong)), s)
			})
			require.ErrorIs(t, err, wrong)
		})
	}
	// Without a size in the header, a stream cannot tell where it ends.
	content := testfile.Read(t, testfile.New(t, "CREATE TABLE u(x)"))
	content[sqlitefile.OffValidFor]++
	_, err := sinkBytes(t, func(s Sink) error { return ReadStream(bg, bytes.NewReader(content), s) })
	require.ErrorIs(t, err, sqlitefile.ErrTruncated)
	require.ErrorContains(t, err, "from a file")
	old := filepath.Join(t.TempDir(), "old.db")
	testfile.Write(t, old, content)
	_, err = sinkBytes(t, func(s Sink) error { return ReadFile(bg, old, s, nil) })
	require.NoError(t, err)
}

// Ensure that a file of no bytes is an empty database that SQLite takes for sound. A stream of none
// is what a program that fails writes, and no database.
func TestReadStream_empty(t *testing.T) {
	_, err := sinkBytes(t, func(s Sink) error { return ReadStream(bg, strings.NewReader(""), s) })
	require.ErrorIs(t, err, sqlitefile.ErrTruncated)
	path := filepath.Join(t.TempDir(), "empty.db")
	testfile.Write(t, path, nil)
	got, err := sinkBytes(t, func(s Sink) error { return ReadFile(bg, path, s, nil) })
	require.NoError(t, err)
	testfile.Write(t, path, got)
	db := testfile.OpenSQL(t, path)
	var sound string
	require.NoError(t, db.QueryRow("PRAGMA integrity_check").Scan(&sound))
	require.Equal(t, "ok", sound)
	testfile.MustExec(t, db, "CREATE TABLE u(x)")
	for n := 1; n <= 65536; n *= 2 {
		if sqlitefile.ValidPageSize(n) {
			_, err := sqlitefile.ParseHeader(append(sqlitefile.EmptyHeader(n), make([]byte, n)...), int64(n))
			require.NoError(t, err)
		}
	}
}

// Ensure that a file that changes while it is read is not taken for a database, whenever the
// change comes and whatever program makes it.
func TestReadFile_changes(t *testing.T) {
	for n := 1; ; n++ {
		path := testfile.New(t, "CREATE TABLE u(x)", "INSERT INTO u VALUES(zeroblob(200000))")
		count, changed := 0, false
		ffs := &osfiletest.FaultFS{FS: osfile.OS{}, Before: func(op string) {
			if count++; count == n {
				changed = true
				db := testfile.OpenSQL(t, path)
				testfile.MustExec(t, db, "UPDATE u SET x=randomblob(200000)")
				require.NoError(t, db.Close())
			}
		}}
		before := testfile.Read(t, path)
		sink := &memSink{piece: 4} // so that it is read in many pieces
		err := readFile(bg, ffs, path, sink, nil)
		got := sink.bytes()
		if !changed {
			require.NoError(t, err)
			require.Greater(t, n, 5)
			return
		}
		if err == nil {
			// It came before the first byte was read, or after the last look.
			require.True(t, bytes.Equal(got, before) || bytes.Equal(got, testfile.Read(t, path)), "operation %d", n)
			continue
		}
		require.ErrorIs(t, err, sqlitefile.ErrBusy)
	}
}

// Ensure that a device, a pipe and a directory are refused and not read.
func TestReadFile_special(t *testing.T) {
	for _, path := range []string{os.DevNull, t.TempDir()} {
		_, err := sinkBytes(t, func(s Sink) error { return ReadFile(bg, path, s, nil) })
		require.ErrorIs(t, err, osfile.ErrNotAFile)
	}
}
