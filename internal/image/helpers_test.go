//go:build cgo

package image

import (
	"bytes"
	"context"
	"errors"
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

// memSink keeps the database that it is given, in pieces of at most piece pages.
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

// quick is a loader that waits 200 ms.
var quick = loader{fs: osfile.OS{}, wait: 200 * time.Millisecond, poll: loadPoll}

func load(t testing.TB, path string) ([]byte, sqlitefile.ID) {
	t.Helper()
	s := new(memSink)
	id, err := Load(context.Background(), path, s)
	require.NoError(t, err)
	return s.bytes(), id
}

// query opens the image b with SQLite, checks it, and returns the one integer of q.
func query(t testing.TB, b []byte, q string) int64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.db")
	testfile.Write(t, path, b)
	d, err := sqlitefile.Open(path, "mode=ro&immutable=1")
	require.NoError(t, err)
	defer d.Close()
	require.NoError(t, d.Check(bg))
	n, err := d.QueryInt(q)
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

func (m *memImage) Size() int64 { return int64(len(m.b)) }

func (m *memImage) PageSize() int { return int(m.b[16])<<8 | int(m.b[17])<<16 }

func (m *memImage) Release() { panic("Write must not release") }

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

// image returns a sound image of a database with rows rows in t.
func image(t testing.TB, rows int) *memImage {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source.db")
	db := testfile.OpenSQL(t, path)
	testfile.MustExec(t, db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")
	_, err := db.Exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<?1) INSERT INTO t SELECT i, hex(randomblob(40)) FROM n LIMIT ?1", rows)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return &memImage{b: testfile.Read(t, path), version: uint64(rows)}
}

// requireNoTemp proves that no temporary file is left beside path.
func requireNoTemp(t testing.TB, path string) {
	t.Helper()
	for n := range testfile.Contents(t, filepath.Dir(path)) {
		require.False(t, strings.HasSuffix(n, tempSuffix), n)
	}
}

// Load reads a database as File.Open does, and waits as long.
func Load(ctx context.Context, path string, sink Sink) (sqlitefile.ID, error) {
	return loader{fs: osfile.OS{}, wait: loadWait, poll: loadPoll}.loadID(ctx, path, sink)
}

// loadID is load without a log. It resolves path first, as File.Open does.
func (l loader) loadID(ctx context.Context, path string, sink Sink) (sqlitefile.ID, error) {
	target, err := osfile.Resolve(path)
	var found loaded
	if err == nil {
		found, err = l.load(ctx, target, sink, false)
	}
	if err = errors.Join(err, found.Unpin()); err != nil {
		return sqlitefile.ID{}, &Error{Op: "load", Path: path, Err: err}
	}
	return found.ID, nil
}

// Write saves an image as File.Save does, without a log, and with a file that is not
// pinned, as on Windows.
func Write(ctx context.Context, path string, img Image, prev sqlitefile.ID, opts writeOptions) (result, error) {
	return writer{osfile.OS{}}.write(ctx, path, img, prev, opts)
}

func (w writer) write(ctx context.Context, path string, img Image, prev sqlitefile.ID, opts writeOptions) (res result, err error) {
	defer func() {
		closeUnseen(&res.Pinned)
		var fe *ForeignChangeError
		if errors.As(err, &fe) {
			closeUnseen(&fe.copy.Pinned)
		}
	}()
	target, err := osfile.Resolve(path)
	if err != nil {
		return result{}, saveErr(path, err)
	}
	p, err := w.prepare(ctx, path, target, img, sqlitefile.Pinned{ID: prev}, opts)
	if err != nil {
		return result{}, err
	}
	return p.publish(ctx)
}

// closeUnseen closes the file that a File would keep open. The operation does not count, and
// cannot fail.
func closeUnseen(p *sqlitefile.Pinned) {
	if f, ok := p.File.(*osfiletest.FaultFile); ok {
		p.File = f.File
	}
	_ = p.Unpin()
}
