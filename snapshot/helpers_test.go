//go:build cgo

package snapshot

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
)

// openSQL opens path with plain go-sqlite3, one connection, closed at the end
// of the test.
func openSQL(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", fileURI(path))
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t testing.TB, db *sql.DB, stmts ...string) {
	t.Helper()
	for _, s := range stmts {
		_, err := db.Exec(s)
		require.NoError(t, err, s)
	}
}

// makeDB makes the database path with a few hundred rows, and runs stmts on it.
func makeDB(t testing.TB, path string, stmts ...string) {
	t.Helper()
	db := openSQL(t, path)
	mustExec(t, db, stmts...)
	mustExec(t, db, "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b TEXT NOT NULL)",
		"CREATE INDEX IF NOT EXISTS t_b ON t(b)",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500) INSERT INTO t SELECT i, printf('%0100d', i*7919%100003) FROM n")
	require.NoError(t, db.Close())
}

// dbFile makes a database in a directory of its own.
func dbFile(t testing.TB, stmts ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	makeDB(t, path, stmts...)
	return path
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// copySet copies a database with its side files as they are, as a crash would
// leave them. It returns the new path of the database.
func copySet(t testing.TB, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	for _, suffix := range []string{"", "-journal", "-wal", "-memwal", "-memwal-new"} {
		b, err := os.ReadFile(path + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		writeFile(t, to+suffix, b)
	}
	return to
}

// hotWAL returns a database whose last commits are only in its -wal: rows
// rows are in t.
func hotWAL(t testing.TB) (path string, rows int) {
	t.Helper()
	path = dbFile(t, "PRAGMA journal_mode=WAL")
	db := openSQL(t, path)
	mustExec(t, db, "PRAGMA wal_autocheckpoint=0", "INSERT INTO t(b) VALUES('only in the wal')")
	hot := copySet(t, path)
	require.NoError(t, db.Close())
	require.Greater(t, len(readFile(t, hot+"-wal")), walHeaderSize)
	return hot, 501
}

// hotJournal returns a database in the middle of a transaction that has
// already changed the file, and its contents before that.
func hotJournal(t testing.TB, stmts ...string) (path string, before []byte) {
	t.Helper()
	if stmts == nil {
		// The first changes page 1, so the journal holds it.
		stmts = []string{"PRAGMA user_version=9", "DELETE FROM t WHERE a%3=0", "UPDATE t SET b=printf('%0120d', a)"}
	}
	path = dbFile(t)
	before = readFile(t, path)
	db := openSQL(t, path)
	// A cache of one page makes SQLite write to the file before the commit.
	mustExec(t, db, "PRAGMA cache_size=1", "PRAGMA cache_spill=1", "BEGIN")
	mustExec(t, db, stmts...)
	hot := copySet(t, path)
	mustExec(t, db, "ROLLBACK")
	require.NoError(t, db.Close())
	require.NotEqual(t, before, readFile(t, hot))
	require.NotZero(t, readFile(t, hot+"-journal")[0])
	return hot, before
}

// dirContents is every file of a directory, to prove that nothing was harmed.
func dirContents(t testing.TB, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	m := map[string]string{}
	for _, e := range entries {
		if e.Type().IsRegular() {
			m[e.Name()] = string(readFile(t, filepath.Join(dir, e.Name())))
		}
	}
	return m
}

func names(m map[string]string) (s []string) {
	for n := range m {
		s = append(s, n)
	}
	return s
}

// memSink keeps what it is given, in pieces of at most piece pages.
type memSink struct {
	pageSize int
	size     int64
	piece    int // pages; 0: as large as asked for
	pieces   [][]byte
	reserved int
	next     func() error // called by Next
}

func (s *memSink) Reserve(pageSize int, size int64) error {
	s.reserved++
	s.pageSize, s.size = pageSize, size
	return nil
}

func (s *memSink) Next(max int) ([]byte, error) {
	if s.next != nil {
		if err := s.next(); err != nil {
			return nil, err
		}
	}
	if s.piece > 0 {
		max = min(max, s.piece*s.pageSize)
	}
	p := make([]byte, max)
	s.pieces = append(s.pieces, p)
	return p, nil
}

func (s *memSink) bytes() []byte { return bytes.Join(s.pieces, nil) }

// quick is a loader that does not wait long.
var quick = loader{fs: osFS{}, wait: 200 * time.Millisecond, poll: loadPoll}

func load(t testing.TB, path string) ([]byte, FileID) {
	t.Helper()
	s := new(memSink)
	id, err := Load(context.Background(), path, s)
	require.NoError(t, err)
	return s.bytes(), id
}

// query opens the image b with SQLite, checks it, and returns the one integer
// that the query gives.
func query(t testing.TB, b []byte, q string) int64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.db")
	writeFile(t, path, b)
	d, err := openDisk(path, "mode=ro&immutable=1")
	require.NoError(t, err)
	defer d.close()
	require.NoError(t, check(d))
	n, err := d.queryInt(q)
	require.NoError(t, err)
	return n
}

// memImage is an Image of the bytes of a database file.
type memImage struct {
	b       []byte
	version uint64
	fail    error // of ReadAt, at failAt
	failAt  int64
	read    func() // called by ReadAt
}

func (m *memImage) Version() uint64 { return m.version }
func (m *memImage) Size() int64     { return int64(len(m.b)) }
func (m *memImage) PageSize() int   { return int(m.b[16])<<8 | int(m.b[17])<<16 }
func (m *memImage) Release()        { panic("Write must not release") }
func (m *memImage) ReadAt(p []byte, off int64) (int, error) {
	if len(p) > saveRun || len(p)%m.PageSize() != 0 || off%int64(m.PageSize()) != 0 {
		panic("not what Image.ReadAt promises")
	}
	if m.read != nil {
		m.read()
	}
	if m.fail != nil && off+int64(len(p)) > m.failAt {
		return 0, m.fail
	}
	return copy(p, m.b[off:]), nil
}

// image is a sound database image with rows rows in t.
func image(t testing.TB, rows int) *memImage {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source.db")
	db := openSQL(t, path)
	mustExec(t, db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")
	_, err := db.Exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<?1) INSERT INTO t SELECT i, hex(randomblob(40)) FROM n LIMIT ?1", rows)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return &memImage{b: readFile(t, path), version: uint64(rows)}
}

// requireNoTemp proves that no temporary file is left beside path.
func requireNoTemp(t testing.TB, path string) {
	t.Helper()
	for n := range dirContents(t, filepath.Dir(path)) {
		require.False(t, strings.HasSuffix(n, tempSuffix), n)
	}
}

// withSQLiteConn runs f on a connection to path.
func withSQLiteConn(t testing.TB, path string, f func(*sqlite3.SQLiteConn)) {
	t.Helper()
	c, err := (&sqlite3.SQLiteDriver{}).Open(fileURI(path))
	require.NoError(t, err)
	defer c.Close()
	f(c.(*sqlite3.SQLiteConn))
}

// Load reads a database as File.Open does, with a loader that is patient.
func Load(ctx context.Context, path string, sink Sink) (FileID, error) {
	return loader{fs: osFS{}, wait: loadWait, poll: loadPoll}.loadID(ctx, path, sink)
}

// loadID is load with what File.Open adds to it, without a log.
func (l loader) loadID(ctx context.Context, path string, sink Sink) (FileID, error) {
	target, err := Resolve(path)
	var found loaded
	if err == nil {
		found, err = l.load(ctx, target, sink, false)
	}
	if err = errors.Join(err, found.unpin()); err != nil {
		return FileID{}, &Error{Op: "load", Path: path, Err: err}
	}
	return found.id, nil
}

// Write saves an image as File.Save does, without a log, and with a file that is not
// pinned, as on Windows.
func Write(ctx context.Context, path string, img Image, prev FileID, opts writeOptions) (result, error) {
	return writer{osFS{}}.write(ctx, path, img, prev, opts)
}

func (w writer) write(ctx context.Context, path string, img Image, prev FileID, opts writeOptions) (res result, err error) {
	defer func() {
		closeUnseen(&res.pinned)
		var fe *ForeignChangeError
		if errors.As(err, &fe) {
			closeUnseen(&fe.copy.pinned)
		}
	}()
	target, err := Resolve(path)
	if err != nil {
		return result{}, saveErr(path, err)
	}
	p, err := w.prepare(ctx, path, target, img, pinned{id: prev}, opts)
	if err != nil {
		return result{}, err
	}
	return p.publish(ctx)
}

// closeUnseen closes what a File would keep open, without an operation that could fail.
func closeUnseen(p *pinned) {
	if f, ok := p.file.(*faultFile); ok {
		p.file = f.file
	}
	_ = p.unpin()
}
