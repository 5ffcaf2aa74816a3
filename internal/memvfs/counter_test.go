//go:build cgo

package memvfs

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
)

// openFile opens a database file with SQLite's own VFS.
func openFile(t testing.TB, path string) *testConn {
	t.Helper()
	c, err := (&sqlite3.SQLiteDriver{}).Open(path + "?_busy_timeout=0")
	require.NoError(t, err)
	return &testConn{t, c.(*sqlite3.SQLiteConn)}
}

// firstPage returns page 1 of the last commit.
func firstPage(t testing.TB, s *Store) []byte {
	t.Helper()
	snap, err := s.Pin()
	require.NoError(t, err)
	defer snap.Release()
	page := make([]byte, snap.PageSize())
	_, err = snap.ReadAt(page, 0)
	require.NoError(t, err)
	return page
}

// Ensure that page 1 is at every commit what SQLite has in a file after the same statements
// of two connections, whatever is spilled, rolled back, cut off or vacuumed. Each connection
// drops its cache exactly when it would for a file (PRAGMA data_version tells).
func TestCounter_asInAFile(t *testing.T) {
	headers := map[string]func(b []byte){
		"as it is":      func([]byte) {},
		"a carry":       func(b []byte) { setCounters(b, 0x00fffff0, 0x00fffff0) }, // the high byte is in a journal's checksum if pages have 1024 bytes
		"an overflow":   func(b []byte) { setCounters(b, 0xfffffff0, 0xfffffff0) },
		"an old SQLite": func(b []byte) { setCounters(b, 9, 0); clear(b[28:32]); clear(b[96:100]) }, // before 3.7.0: no size in the header
		"one behind":    func(b []byte) { setCounters(b, 9, 8) },
	}
	for _, pageSize := range []int{512, 1024, 4096, 65536} {
		for name, header := range headers {
			t.Run(fmt.Sprintf("%d/%s", pageSize, name), func(t *testing.T) { counterAsInAFile(t, pageSize, header) })
		}
	}
}

func setCounters(header []byte, first, second uint32) {
	binary.BigEndian.PutUint32(header[24:], first)
	binary.BigEndian.PutUint32(header[92:], second)
}

func counterAsInAFile(t *testing.T, pageSize int, header func([]byte)) {
	path := filepath.Join(t.TempDir(), "file.db")
	c := openFile(t, path)
	c.exec(fmt.Sprintf("PRAGMA page_size=%d; PRAGMA auto_vacuum=INCREMENTAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x)", pageSize))
	c.close()
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	header(image)
	require.NoError(t, os.WriteFile(path, image, 0o600))

	s := newStore(t, 0)
	require.NoError(t, s.Reserve(pageSize, int64(len(image))))
	for rest := image; len(rest) > 0; {
		b, err := s.Next(len(rest))
		require.NoError(t, err)
		rest = rest[copy(b, rest):]
	}
	s.Loaded()
	require.Equal(t, image[:pageSize], firstPage(t, s))

	inStore := []*testConn{open(t, s), openRaw(t, s)}
	inFile := []*testConn{openFile(t, path), openFile(t, path)}
	for _, c := range append(inStore, inFile...) {
		defer c.close()
		c.exec("PRAGMA synchronous=OFF") // a rollback to a savepoint then writes pages back
	}
	const many = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<500) REPLACE INTO t SELECT i, zeroblob(i%300) FROM c"
	for _, query := range []string{
		many,
		"UPDATE t SET x='a' WHERE id=1",
		"UPDATE t SET x='b' WHERE id=1",
		"PRAGMA user_version=0",
		"PRAGMA user_version=7",
		"BEGIN IMMEDIATE; COMMIT",
		"BEGIN IMMEDIATE; UPDATE t SET x='c' WHERE id=1; ROLLBACK",
		"BEGIN IMMEDIATE; UPDATE t SET x='d' WHERE id=1; PRAGMA user_version=8; ROLLBACK",
		"PRAGMA cache_size=3; BEGIN IMMEDIATE; UPDATE t SET x=zeroblob(290); UPDATE t SET x=zeroblob(280); COMMIT",
		"BEGIN IMMEDIATE; CREATE TABLE u(y); UPDATE t SET x=zeroblob(290); ROLLBACK",
		"BEGIN IMMEDIATE; SAVEPOINT p; UPDATE t SET x=zeroblob(270); PRAGMA user_version=9; ROLLBACK TO p; UPDATE t SET x='e' WHERE id=2; COMMIT",
		"BEGIN IMMEDIATE; SAVEPOINT p; CREATE TABLE u(y); UPDATE t SET x=zeroblob(260); ROLLBACK TO p; COMMIT; PRAGMA cache_size=20",
		"PRAGMA journal_mode=PERSIST; UPDATE t SET x='f' WHERE id=3; UPDATE t SET x='g' WHERE id=3; PRAGMA journal_mode=TRUNCATE",
		"CREATE TABLE u(y); INSERT INTO u VALUES(1); DROP TABLE u",
		"DELETE FROM t WHERE id>400",
		"PRAGMA incremental_vacuum(2)",
		"PRAGMA incremental_vacuum",
		"PRAGMA incremental_vacuum; UPDATE t SET x='h' WHERE id=4",
		"BEGIN IMMEDIATE; " + many + "; DELETE FROM t WHERE id>400; PRAGMA incremental_vacuum; COMMIT",
		"VACUUM",
		"UPDATE t SET x='i' WHERE id=4",
		"DELETE FROM t",
		"REPLACE INTO t VALUES(1, 'j')",
	} {
		for _, which := range []int{0, 1, 1, 0} {
			inStore[which].exec(query)
			inFile[which].exec(query)
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, want[:pageSize], firstPage(t, s), query)
			for _, look := range []string{"PRAGMA data_version", "SELECT count(*), max(x), sum(length(x)) FROM t", "PRAGMA user_version", "PRAGMA integrity_check"} {
				for i := range 2 {
					require.Equal(t, inFile[i].text(look), inStore[i].text(look), "%s after %s", look, query)
				}
			}
		}
	}
}
