//go:build cgo

package image

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

const (
	farPageSize = 65536 // the largest, so that the tests have few pages
	farPages    = 1<<32/farPageSize + 2
	farLast     = (farPages - 1) * int64(farPageSize) // offset of the last page, over 4 GiB
)

// lastSink keeps the end of the database that it is given.
type lastSink struct{ buf []byte }

func (s *lastSink) Reserve(int, int64) error { return nil }

func (s *lastSink) Next(limit int) ([]byte, error) {
	if cap(s.buf) < limit {
		s.buf = make([]byte, limit)
	}
	s.buf = s.buf[:limit]
	return s.buf, nil
}

// farSource is a database over 4 GiB. Its first page is given, the last is full of 7s, and all
// others are zeros.
type farSource struct {
	first   []byte
	changed []uint32
	short   bool // a planted fault: offsets have 32 bits
}

func (s *farSource) Pin() (Image, error) { return s, nil }
func (s *farSource) Track()              {}
func (s *farSource) Release()            {}
func (s *farSource) Version() uint64     { return 2 }
func (s *farSource) Size() int64         { return farPages * farPageSize }
func (s *farSource) PageSize() int       { return farPageSize }

func (s *farSource) PinChanges(pages []uint64) (Image, []uint64, bool, error) {
	set := pagelog.PageSet(pages)
	for _, pgno := range s.changed {
		set.Add(pgno)
	}
	s.changed = nil
	return s, set, false, nil
}

func (s *farSource) ReadAt(p []byte, off int64) (int, error) {
	if s.short {
		off = int64(uint32(off))
	}
	clear(p)
	if off == 0 {
		copy(p, s.first)
	}
	if at := farLast - off; at >= 0 && at < int64(len(p)) {
		copy(p[at:], farPage)
	}
	return len(p), nil
}

var farPage = bytes.Repeat([]byte{7}, farPageSize)

// farLoad opens the database at path, whose last page should be farPage.
func farLoad(t testing.TB, fs osfile.FS, path string) {
	t.Helper()
	f := NewFile(path, new(history), false)
	f.fs = fs
	s := new(lastSink)
	_, err := f.Open(bg, s)
	require.NoError(t, err)
	require.NoError(t, f.Close(false))
	require.GreaterOrEqual(t, len(s.buf), farPageSize)
	require.True(t, bytes.Equal(farPage, s.buf[len(s.buf)-farPageSize:]), "the last page is another")
}

// farBase makes a small database, and returns its first page with the size of a farSource.
func farBase(t testing.TB) (path string, first []byte) {
	t.Helper()
	path = testfile.New(t, "PRAGMA page_size=65536")
	first = testfile.Read(t, path)[:farPageSize]
	binary.BigEndian.PutUint32(first[28:], farPages)
	return path, first
}

// farFile opens a file that reads like s.
func farFile(t testing.TB, s farSource) {
	t.Helper()
	path, first := farBase(t)
	s.first = first
	testfile.Write(t, path, first)
	require.NoError(t, os.Truncate(path, s.Size()))
	// A read of the hole would take ten times as long as ReadAt of s.
	farLoad(t, &osfiletest.PlantedFS{FS: osfile.OS{}, OnOpen: func(name string) (osfile.File, error) {
		x, err := osfile.OS{}.Open(name)
		if err != nil || name != path {
			return x, err
		}
		return &osfiletest.PlantedFile{File: x, OnReadAt: s.ReadAt}, nil
	}}, path)
}

// farLog writes the pages of s that have changed into a log, and opens the database with it.
func farLog(t testing.TB, s farSource) {
	t.Helper()
	path, first := farBase(t)
	s.first, s.changed = first, []uint32{1, farPages}
	f := NewFile(path, &s, true)
	_, err := f.Open(bg, new(memSink))
	require.NoError(t, err)
	f.Start(1)
	require.NoError(t, f.Flush())
	require.NoError(t, f.Close(false))
	farLoad(t, osfile.OS{}, path)
}

// Ensure that a page whose offset has more than 32 bits is found in the file and in the log,
// also by a program of 32 bits. The tests find a fault that takes the upper bits away.
func TestLog_far(t *testing.T) {
	for name, far := range map[string]func(t testing.TB, s farSource){"file": farFile, "log": farLog} {
		far(t, farSource{})
		require.True(t, osfiletest.Finds(t, func(t testing.TB) { far(t, farSource{short: true}) }), name)
	}
}
