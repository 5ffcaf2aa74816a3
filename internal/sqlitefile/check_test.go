//go:build cgo

package sqlitefile

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

func checkFile(t *testing.T, path string) (err error) {
	t.Helper()
	testfile.WithConn(t, path, func(c *sqlite3.SQLiteConn) { err = Check(c) })
	return err
}

// Ensure that damage to the structure is found, wherever it is.
func TestCheck_damage(t *testing.T) {
	tests := map[string]func(b []byte){
		"page of a table":    func(b []byte) { clear(b[4*4096 : 5*4096]) },
		"all after page 1":   func(b []byte) { clear(b[4096:]) },
		"child pointer":      func(b []byte) { b[4096+8] ^= 0x40 },
		"schema page":        func(b []byte) { clear(b[100:4096]) },
		"free list":          func(b []byte) { b[35] = 3; b[39] = 1 },
		"cell of the schema": func(b []byte) { copy(b[4000:4096], make([]byte, 96)) },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			path := testfile.New(t)
			require.NoError(t, checkFile(t, path))
			b := testfile.Read(t, path)
			damage(b)
			testfile.Write(t, path, b)
			c, err := (&sqlite3.SQLiteDriver{}).Open(URI(path))
			if err != nil {
				// So bad that it cannot even be opened.
				require.ErrorIs(t, classify(err), ErrCorrupt)
				return
			}
			defer c.Close()
			err = Check(c.(*sqlite3.SQLiteConn))
			require.ErrorIs(t, err, ErrCorrupt)
		})
	}
}

// Ensure that an index with too few entries is damage.
func TestCheck_indexCount(t *testing.T) {
	path := testfile.New(t, "CREATE TABLE u(x)", "CREATE INDEX u_x ON u(x)", "INSERT INTO u VALUES(1),(2)")
	db := testfile.OpenSQL(t, path)
	testfile.MustExec(t, db, "PRAGMA writable_schema=ON", "DELETE FROM sqlite_schema WHERE name='u_x'")
	require.NoError(t, db.Close())
	db = testfile.OpenSQL(t, path)
	testfile.MustExec(t, db, "INSERT INTO u VALUES(3)", "PRAGMA writable_schema=ON",
		"INSERT INTO sqlite_schema VALUES('index','u_x','u',(SELECT rootpage+1 FROM sqlite_schema WHERE name='u'),'CREATE INDEX u_x ON u(x)')")
	require.NoError(t, db.Close())
	if err := checkFile(t, path); err == nil && testfile.SystemSQLite {
		t.Skip("the quick_check of this SQLite does not count")
	} else {
		require.ErrorIs(t, err, ErrCorrupt)
	}
}

// Ensure that values that SQLite itself accepts are not damage, however many there are.
func TestCheck_values(t *testing.T) {
	path := testfile.New(t,
		"CREATE TABLE c(x CHECK(x>0), y INT, z TEXT, n TEXT)",
		"PRAGMA ignore_check_constraints=ON",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500) INSERT INTO c SELECT -1, 'abc'||i, 'x', NULL FROM n",
		"INSERT INTO c VALUES(-1, 'MARKER', 'x', NULL)",
		"CREATE TABLE s(x ANY) STRICT", "INSERT INTO s VALUES('a'),(1.5)",
		"PRAGMA writable_schema=ON",
		"UPDATE sqlite_schema SET sql='CREATE TABLE c(x CHECK(x>0), y INT, z INT, n TEXT NOT NULL)' WHERE name='c'",
		"UPDATE sqlite_schema SET sql='CREATE TABLE s(x INTEGER) STRICT' WHERE name='s'",
	)
	// That there is something to overlook:
	testfile.WithConn(t, path, func(c *sqlite3.SQLiteConn) {
		d := &Conn{c}
		seen := map[string]bool{}
		_, err := d.Find(context.Background(), "PRAGMA quick_check(5000)", func(s string) bool { seen[s] = true; return false })
		require.NoError(t, err)
		require.Contains(t, seen, "CHECK constraint failed in c")
		require.Contains(t, seen, "NULL value in c.n")
		require.Contains(t, seen, "non-INTEGER value in s.x")
	})
	require.NoError(t, checkFile(t, path))

	// Damage behind them is found all the same. One is in a record, and only reading the row
	// finds it. The other is in a page.
	b := testfile.Read(t, path)
	i := bytes.Index(b, []byte("MARKER"))
	require.EqualValues(t, []byte{5, 1, 25, 15, 0}, b[i-6:i-1], "the header of the record")
	b[i-2] = 0x7f // a text longer than the record
	damaged := filepath.Join(t.TempDir(), "damaged.db")
	testfile.Write(t, damaged, b)
	require.ErrorIs(t, checkFile(t, damaged), ErrCorrupt)

	b = testfile.Read(t, path)
	require.Contains(t, []byte{0x0a, 0x0d}, b[len(b)-4096], "the last page is a leaf")
	clear(b[len(b)-2048:])
	testfile.Write(t, path, b)
	require.ErrorIs(t, checkFile(t, path), ErrCorrupt)
}

// Ensure that Check goes as far as possible if a schema needs something unregistered. Damage
// elsewhere is still found.
func TestCheck_missingParts(t *testing.T) {
	path := testfile.New(t,
		"CREATE TABLE f(x CHECK(x>0), y AS (x+1))", "INSERT INTO f VALUES(1)",
		"CREATE TABLE k(x TEXT)", "CREATE INDEX k_x ON k(x)", "INSERT INTO k VALUES('a')",
		"CREATE TABLE v(x)",
		"PRAGMA writable_schema=ON",
		"UPDATE sqlite_schema SET sql='CREATE TABLE f(x CHECK(nofunc(x)), y AS (nofunc(x)) NOT NULL)' WHERE name='f'",
		"UPDATE sqlite_schema SET sql='CREATE INDEX k_x ON k(x COLLATE nocoll)' WHERE name='k_x'",
		"UPDATE sqlite_schema SET sql='CREATE VIRTUAL TABLE v USING nomodule(x)', rootpage=0 WHERE name='v'",
		// The page that v had.
		"INSERT INTO sqlite_schema SELECT 'table','w','w',(SELECT max(rootpage)+1 FROM sqlite_schema),'CREATE TABLE w(x)'",
	)
	testfile.WithConn(t, path, func(c *sqlite3.SQLiteConn) {
		_, err := (&Conn{c}).Find(context.Background(), "PRAGMA quick_check", func(string) bool { return false })
		require.True(t, isSQLError(err), "%v", err)
		require.NoError(t, Check(c))
		n, err := (&Conn{c}).QueryInt("PRAGMA ignore_check_constraints")
		require.NoError(t, err)
		require.Zero(t, n, "the setting must be put back")
	})
	b := testfile.Read(t, path)
	require.Contains(t, []byte{0x0a, 0x0d}, b[len(b)-4096], "the last page is a leaf")
	clear(b[len(b)-4096:])
	testfile.Write(t, path, b)
	require.ErrorIs(t, checkFile(t, path), ErrCorrupt)
}

// Ensure that a full-text index that does not match its content is not damage.
func TestCheck_fts(t *testing.T) {
	path := testfile.New(t, "CREATE VIRTUAL TABLE m USING fts4(x)", "INSERT INTO m VALUES('hello')",
		"UPDATE m_content SET c0x='goodbye'")
	testfile.WithConn(t, path, func(c *sqlite3.SQLiteConn) {
		row, err := (&Conn{c}).Find(context.Background(), "PRAGMA quick_check", func(s string) bool { return s != "ok" })
		require.NoError(t, err)
		if !testfile.SystemSQLite { // SQLite before 3.44 does not look
			require.Contains(t, row, "FTS")
		}
		require.NoError(t, Check(c))
	})
}

// Ensure that an error that is not about the database is not called damage.
func TestCheck_otherError(t *testing.T) {
	path := testfile.New(t)
	testfile.WithConn(t, path, func(c *sqlite3.SQLiteConn) {
		require.NoError(t, (&Conn{c}).Exec("PRAGMA busy_timeout=0"))
		testfile.MustExec(t, testfile.OpenSQL(t, path), "BEGIN EXCLUSIVE")
		err := Check(c)
		require.ErrorIs(t, err, ErrBusy)
		require.NotErrorIs(t, err, ErrCorrupt)
	})
}
