//go:build cgo

package image

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// These bits of the last argument of FuzzLoad describe the files.
const (
	fuzzJournal     = 1 << iota // there is a journal
	fuzzWAL                     // there is a -wal
	fuzzNoFile                  // there is no database
	fuzzSumsJournal             // the checksums of the journal are put right
	fuzzSumsWAL                 // those of the -wal are
)

// Ensure that the load of any file, journal and -wal ends, with a documented error or with a
// database. If the error promises it, the files are as they were. The database is that of the
// file, byte for byte and to quick_check. Nothing is left over, and the next load gives the
// same.
func FuzzLoad(f *testing.F) {
	f.Fuzz(func(t *testing.T, db, journal, wal []byte, flags byte) {
		if len(db)+len(journal)+len(wal) > 1<<20 {
			t.Skip("takes long")
		}
		if flags&fuzzSumsJournal != 0 {
			journal = journalSums(bytes.Clone(journal))
		}
		if flags&fuzzSumsWAL != 0 {
			wal = walSums(bytes.Clone(wal))
		}
		path := filepath.Join(t.TempDir(), "x.db")
		if flags&fuzzNoFile == 0 {
			testfile.Write(t, path, db)
		}
		if flags&fuzzJournal != 0 {
			testfile.Write(t, path+"-journal", journal)
		}
		if flags&fuzzWAL != 0 {
			testfile.Write(t, path+"-wal", wal)
		}
		before := testfile.Contents(t, filepath.Dir(path))

		ctx, cancel := context.WithTimeout(bg, 20*time.Second)
		defer cancel()
		l := loader{fs: osfile.OS{}, poll: time.Millisecond}
		_, judged := l.judge(ctx, path, time.Now())
		require.Equal(t, before, testfile.Contents(t, filepath.Dir(path)), "judging has changed something")
		var sink shortSink
		id, err := l.loadID(ctx, path, &sink)
		// A journal says how long the file was, and SQLite believes it.
		if info, serr := os.Stat(path); errors.Is(err, errLong) || serr == nil && info.Size() > 1<<24 {
			t.Skip("a long file with nothing in it")
		}
		require.NoError(t, ctx.Err(), "it hangs")
		after := testfile.Contents(t, filepath.Dir(path))
		requireNoTemp(t, path)
		if err != nil {
			w := flags&fuzzWAL != 0 && len(wal) > 0
			j := flags&fuzzJournal != 0 && len(journal) > 0
			// SQLite may find something of its own in what it recovers.
			require.True(t, documented(err) || (w || j) && isSQLiteError(err), "%v", err)
			if judged != nil || !w && !j {
				for _, files := range []map[string]string{before, after} { // SQLite may remove them
					maps.DeleteFunc(files, func(name, b string) bool { return name != "x.db" && b == "" })
				}
				require.Equal(t, before, after, "%v", err)
			}
			return
		}
		require.NoError(t, judged)
		image := sink.bytes()
		if len(image) == 0 {
			require.Zero(t, id.Size())
			require.Empty(t, after["x.db"])
			return
		}
		file := []byte(after["x.db"])
		require.GreaterOrEqual(t, len(file), len(image))
		require.Equal(t, []byte{1, 1}, image[18:20])
		copy(file[18:20], image[18:20])
		require.Equal(t, file[:len(image)], image)
		require.LessOrEqual(t, len(after["x.db-wal"]), sqlitefile.WALHeaderSize, "there are frames in the -wal")
		if j := after["x.db-journal"]; j != "" {
			require.Zero(t, j[0], "the journal is still live")
		}

		var again memSink
		_, err = l.loadID(ctx, path, &again)
		require.NoError(t, err)
		require.Equal(t, image, again.bytes())

		// It is the same to a load and to a program that opens the file.
		saved := filepath.Join(t.TempDir(), "image.db")
		testfile.Write(t, saved, image)
		require.Equal(t, verdict(t, path, ""), verdict(t, saved, "&immutable=1"))
	})
}

// shortSink is a memSink that refuses a long file.
type shortSink struct{ memSink }

var errLong = errors.New("a long file")

func (s *shortSink) Reserve(pageSize int, size int64) error {
	if size > 1<<24 {
		return errLong
	}
	return s.memSink.Reserve(pageSize, size)
}

// documented reports whether Open documents the error.
func documented(err error) bool {
	for _, e := range []error{sqlitefile.ErrNotADatabase, sqlitefile.ErrTruncated, sqlitefile.ErrCorrupt, sqlitefile.ErrSideFile, sqlitefile.ErrBusy} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// isSQLiteError reports SQLITE_ERROR.
func isSQLiteError(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.Code == sqlite3.ErrError
}

// verdict is the result of Check for the database at path.
func verdict(t *testing.T, path, params string) string {
	d, err := sqlitefile.Open(path, "mode=ro"+params)
	if err == nil {
		err = errors.Join(d.Check(bg), d.Close())
	}
	if err != nil {
		var e sqlite3.Error
		require.True(t, documented(err) || errors.As(err, &e), "%v", err)
		return err.Error()
	}
	return ""
}

// journalSums corrects the checksums of a rollback journal, as far as b is one.
func journalSums(b []byte) []byte {
	if len(b) < 28 {
		return b
	}
	nonce := binary.BigEndian.Uint32(b[12:])
	sectorSize, pageSize := int(binary.BigEndian.Uint32(b[20:])), int(binary.BigEndian.Uint32(b[24:]))
	if pageSize < 512 || pageSize > 65536 || sectorSize < 28 {
		return b
	}
	for off := sectorSize; off+pageSize+8 <= len(b); off += pageSize + 8 {
		page := b[off+4 : off+4+pageSize]
		sum := nonce
		for i := pageSize - 200; i > 0; i -= 200 {
			sum += uint32(page[i])
		}
		binary.BigEndian.PutUint32(b[off+4+pageSize:], sum)
	}
	return b
}

// walSums corrects the checksums of a -wal.
func walSums(b []byte) []byte {
	if len(b) < sqlitefile.WALHeaderSize {
		return b
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[3]&1 == 1 {
		order = binary.BigEndian
	}
	var s0, s1 uint32
	sum := func(p, to []byte) {
		for ; len(p) >= 8; p = p[8:] {
			s0 += order.Uint32(p) + s1
			s1 += order.Uint32(p[4:]) + s0
		}
		binary.BigEndian.PutUint32(to, s0)
		binary.BigEndian.PutUint32(to[4:], s1)
	}
	sum(b[:24], b[24:])
	pageSize := int(binary.BigEndian.Uint32(b[8:]))
	if pageSize < 512 || pageSize > 65536 {
		return b
	}
	for off := sqlitefile.WALHeaderSize; off+24+pageSize <= len(b); off += 24 + pageSize {
		h := b[off : off+24]
		copy(h[8:16], b[16:24])
		s := append(bytes.Clone(h[:8]), b[off+24:off+24+pageSize]...)
		sum(s, h[16:])
	}
	return b
}

var corpus = flag.Bool("corpus", false, "write the first inputs of FuzzLoad anew")

// Ensure that FuzzLoad starts from databases in every state that a load knows. Each first
// input is loaded, or refused, as its name says. With -corpus the test writes them anew.
func TestFuzzLoad_corpus(t *testing.T) {
	// tiny makes a database of a few small pages, and runs stmts on it. It
	// returns the files as they are before it is closed.
	tiny := func(stmts ...string) (db, journal, wal []byte) {
		path := filepath.Join(t.TempDir(), "x.db")
		c := testfile.OpenSQL(t, path)
		testfile.MustExec(t, c, "PRAGMA page_size=512", "CREATE TABLE t(a INTEGER PRIMARY KEY, b UNIQUE)",
			"INSERT INTO t(b) VALUES('x'), (zeroblob(900)), (NULL)", "CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID", "INSERT INTO w VALUES(1,2)")
		testfile.MustExec(t, c, stmts...)
		set := testfile.CopySet(t, path)
		db = testfile.Read(t, set)
		journal, _ = os.ReadFile(set + "-journal")
		wal, _ = os.ReadFile(set + "-wal")
		require.NoError(t, c.Close())
		return db, journal, wal
	}
	transaction := []string{"PRAGMA cache_size=1", "BEGIN", "UPDATE t SET b=a", "INSERT INTO t(b) VALUES(zeroblob(9000))"}
	sound, _, _ := tiny()
	hot, journal, _ := tiny(transaction...)
	inWAL, _, wal := tiny("PRAGMA journal_mode=WAL", "UPDATE t SET b=a")
	free, _, _ := tiny("PRAGMA auto_vacuum=FULL", "VACUUM", "DROP TABLE w")
	headless := bytes.Clone(hot)
	clear(headless[:100])
	started := bytes.Clone(journal)
	binary.BigEndian.PutUint32(started[16:], 0)
	require.NotEmpty(t, journal)
	require.NotEmpty(t, wal)

	for name, in := range map[string]struct {
		db, journal, wal []byte
		flags            byte
		want             error
	}{
		"sound":                    {sound, nil, nil, 0, nil},
		"freed-pages":              {free, nil, nil, 0, nil},
		"wal-mode":                 {inWAL, nil, nil, 0, nil},
		"empty":                    {nil, nil, nil, 0, nil},
		"missing":                  {nil, nil, nil, fuzzNoFile, nil},
		"hot-journal":              {hot, journal, nil, fuzzJournal | fuzzSumsJournal, nil},
		"hot-journal-lost-header":  {headless, journal, nil, fuzzJournal | fuzzSumsJournal, nil},
		"hot-wal":                  {inWAL, nil, wal, fuzzWAL | fuzzSumsWAL, nil},
		"nonsense-journal-and-wal": {sound, append([]byte(sqlitefile.JournalMagic), bytes.Repeat([]byte{0xa5}, 600)...), []byte("not a log"), fuzzJournal | fuzzWAL, nil},
		"first-transaction":        {nil, started, nil, fuzzJournal, nil},
		"truncated":                {sound[:len(sound)-700], nil, nil, 0, sqlitefile.ErrTruncated},
		"not-a-database":           {[]byte("<html>"), nil, nil, 0, sqlitefile.ErrNotADatabase},
		"wal-of-another":           {sound, nil, wal, fuzzWAL, sqlitefile.ErrSideFile},
		"wal-without-a-file":       {nil, nil, wal, fuzzWAL | fuzzNoFile, sqlitefile.ErrSideFile},
		"journal-without-a-file":   {nil, journal, nil, fuzzJournal | fuzzNoFile, sqlitefile.ErrSideFile},
		"journal-of-an-empty-file": {nil, journal, nil, fuzzJournal, sqlitefile.ErrTruncated},
	} {
		file := filepath.Join("testdata", "fuzz", "FuzzLoad", name)
		if *corpus {
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n[]byte(%q)\n[]byte(%q)\nbyte(%q)\n", in.db, in.journal, in.wal, rune(in.flags)), 0o644))
		}
		require.FileExists(t, file)
		path := filepath.Join(t.TempDir(), "x.db")
		if in.flags&fuzzNoFile == 0 {
			testfile.Write(t, path, in.db)
		}
		if in.journal != nil {
			testfile.Write(t, path+"-journal", in.journal)
		}
		if in.wal != nil {
			testfile.Write(t, path+"-wal", in.wal)
		}
		_, err := quick.loadID(bg, path, new(memSink))
		require.ErrorIs(t, err, in.want, name)
	}
}
