//go:build cgo

// Package testfile makes files for tests. It makes databases of plain go-sqlite3, also as a
// crash leaves them, and copies of directories.
package testfile

import (
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
)

// uri returns path, which is absolute, as SQLite reads it in a URI.
func uri(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/ on Windows
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// OpenSQL opens path with plain go-sqlite3, on one connection, and closes it at the end of
// the test.
func OpenSQL(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", uri(path))
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func MustExec(t testing.TB, db *sql.DB, stmts ...string) {
	t.Helper()
	for _, s := range stmts {
		_, err := db.Exec(s)
		require.NoError(t, err, s)
	}
}

// Make makes the database path with 500 rows in the table t, and runs stmts on it before.
func Make(t testing.TB, path string, stmts ...string) {
	t.Helper()
	db := OpenSQL(t, path)
	MustExec(t, db, stmts...)
	MustExec(t, db, "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b TEXT NOT NULL)",
		"CREATE INDEX IF NOT EXISTS t_b ON t(b)",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500) INSERT INTO t SELECT i, printf('%0100d', i*7919%100003) FROM n")
	require.NoError(t, db.Close())
}

// New makes a database in a directory of its own.
func New(t testing.TB, stmts ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	Make(t, path, stmts...)
	return path
}

func Read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

func Write(t testing.TB, path string, b []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// CopySet copies a database and its side files as they are, as a crash would leave them. It
// returns the new path.
func CopySet(t testing.TB, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	for _, suffix := range []string{"", "-journal", "-wal", "-memwal", "-memwal-new"} {
		b, err := os.ReadFile(path + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		Write(t, to+suffix, b)
	}
	return to
}

// HotWAL returns a database whose last commits are only in its -wal. rows is the number of
// rows in t, with these commits.
func HotWAL(t testing.TB) (path string, rows int) {
	t.Helper()
	path = New(t, "PRAGMA journal_mode=WAL")
	db := OpenSQL(t, path)
	MustExec(t, db, "PRAGMA wal_autocheckpoint=0", "INSERT INTO t(b) VALUES('only in the wal')")
	hot := CopySet(t, path)
	require.NoError(t, db.Close())
	require.Greater(t, len(Read(t, hot+"-wal")), 32, "no more than a header")
	return hot, 501
}

// HotJournal returns a database in the middle of a transaction that has changed the file
// already. It also returns the content of the file before the transaction.
func HotJournal(t testing.TB, stmts ...string) (path string, before []byte) {
	t.Helper()
	if stmts == nil {
		// The first changes page 1, so the journal holds it.
		stmts = []string{"PRAGMA user_version=9", "DELETE FROM t WHERE a%3=0", "UPDATE t SET b=printf('%0120d', a)"}
	}
	path = New(t)
	before = Read(t, path)
	db := OpenSQL(t, path)
	// A cache of one page makes SQLite write to the file before the commit.
	MustExec(t, db, "PRAGMA cache_size=1", "PRAGMA cache_spill=1", "BEGIN")
	MustExec(t, db, stmts...)
	hot := CopySet(t, path)
	MustExec(t, db, "ROLLBACK")
	require.NoError(t, db.Close())
	require.NotEqual(t, before, Read(t, hot))
	require.NotZero(t, Read(t, hot+"-journal")[0])
	return hot, before
}

// Contents returns every regular file of a directory, by name.
func Contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	m := map[string]string{}
	for _, e := range entries {
		if e.Type().IsRegular() {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			require.NoError(t, err)
			m[e.Name()] = string(b)
		}
	}
	return m
}

func Names(m map[string]string) (s []string) {
	for n := range m {
		s = append(s, n)
	}
	return s
}

// WithConn runs f on a connection to path.
func WithConn(t testing.TB, path string, f func(*sqlite3.SQLiteConn)) {
	t.Helper()
	c, err := (&sqlite3.SQLiteDriver{}).Open(uri(path))
	require.NoError(t, err)
	defer c.Close()
	f(c.(*sqlite3.SQLiteConn))
}
