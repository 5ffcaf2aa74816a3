//go:build cgo

package driver_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// restored is a database under random statements and restores, and what it should be: a file of
// plain SQLite, which is opened afresh after each restore.
type restored struct {
	t        *testing.T
	r        *rand.Rand
	dir      string
	db       *sql.DB
	plain    *sql.DB
	files    []string // that can be restored
	prepared map[string]*sql.Stmt
	n        int
}

var restoredQueries = []string{
	"SELECT a, b, typeof(b) FROM t ORDER BY a", "SELECT count(*), sum(length(b)) FROM t", "SELECT a FROM u ORDER BY a", "SELECT b FROM t WHERE b>='é' ORDER BY b",
	"SELECT max(a) FROM u", "SELECT name, sql FROM sqlite_schema ORDER BY name", "SELECT * FROM pragma_user_version", "SELECT * FROM pragma_encoding",
	"SELECT * FROM pragma_page_size", "SELECT * FROM pragma_auto_vacuum", "SELECT count(*) FROM v",
}

// both runs a statement on both sides, and compares the errors.
func (x *restored) both(query string, args ...any) {
	_, err := x.db.Exec(query, args...)
	_, want := x.plain.Exec(query, args...)
	require.Equal(x.t, fmt.Sprint(want), fmt.Sprint(err), query)
}

// resultOf is what a query gives: its rows, or its error.
func resultOf(rows *sql.Rows, err error) string {
	if err != nil {
		return err.Error()
	}
	defer rows.Close()
	out := ""
	columns, _ := rows.Columns()
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			return err.Error()
		}
		for _, v := range values {
			out += fmt.Sprintf("%v|", *v.(*any))
		}
		out += "\n"
	}
	if err := rows.Err(); err != nil {
		return err.Error()
	}
	return out
}

// look compares a query on both sides, run directly or prepared long ago.
func (x *restored) look(query string) {
	want := resultOf(x.plain.Query(query))
	require.Equal(x.t, want, resultOf(x.db.Query(query)), query)
	stmt := x.prepared[query]
	if stmt == nil {
		stmt, _ = x.db.Prepare(query) // an error was compared above
		x.prepared[query] = stmt
	}
	if stmt != nil {
		require.Equal(x.t, want, resultOf(stmt.Query()), "prepared: %s", query)
	}
}

// change is a random change of either side.
func (x *restored) change() {
	n := x.r.IntN(1000)
	switch x.r.IntN(10) {
	case 0:
		x.both("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
	case 1:
		x.both("CREATE TABLE u(c, a)")
	case 2:
		x.both("DROP TABLE u")
	case 3:
		x.both("CREATE INDEX IF NOT EXISTS tb ON t(b)") // without the IF, SQLite does not look whether its schema is stale
	case 4:
		x.both("DROP INDEX tb")
	case 5:
		x.both("CREATE VIEW v AS SELECT a FROM u JOIN t USING(a)")
	case 6:
		x.both(fmt.Sprintf("PRAGMA user_version=%d", n))
	case 7:
		x.both("DELETE FROM t WHERE a%3=?", n%3)
	case 8:
		x.both("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<60) INSERT INTO t(b) SELECT 'é'||i||? FROM c", n)
	default:
		x.both("INSERT INTO u VALUES(?, ?)", "ü", n)
	}
}

// file makes another file that can be restored: a new database, or a backup.
func (x *restored) file() {
	x.n++
	path := filepath.Join(x.dir, fmt.Sprintf("from%d.db", x.n))
	if x.r.IntN(2) == 0 {
		require.NoError(x.t, driver.Backup(ctx, x.db, path))
	} else {
		db, err := sql.Open("sqlite3", path+"?_sync=0")
		require.NoError(x.t, err)
		_, err = db.Exec(fmt.Sprintf("PRAGMA page_size=%d; PRAGMA encoding='%s'; PRAGMA auto_vacuum=%d; CREATE TABLE u(a, c); CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO u VALUES(%d, 'é')",
			512<<x.r.IntN(8), []string{"UTF-8", "UTF-16le", "UTF-16be"}[x.r.IntN(3)], x.r.IntN(3), x.n))
		require.NoError(x.t, err)
		require.NoError(x.t, db.Close())
	}
	x.files = append(x.files, path)
}

// restore restores a file. A transaction that has begun before keeps what it reads.
func (x *restored) restore() {
	path := x.files[x.r.IntN(len(x.files))]
	query := restoredQueries[x.r.IntN(len(restoredQueries))]
	tx, err := x.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	require.NoError(x.t, err)
	want := resultOf(x.plain.Query(query))
	if x.r.IntN(2) == 0 {
		// Not at any other time: it misleads the connections of a pool, as in SQLite.
		testdb.Exec(x.t, x.db, fmt.Sprintf("PRAGMA schema_version=%d", x.r.IntN(20)))
	}
	if x.r.IntN(2) == 0 {
		require.NoError(x.t, driver.Restore(ctx, x.db, path, nil))
	} else {
		f, err := os.Open(path)
		require.NoError(x.t, err)
		if info, err := f.Stat(); err == nil && info.Size() > 0 {
			require.NoError(x.t, driver.RestoreFrom(ctx, x.db, f, nil))
		} else {
			require.NoError(x.t, driver.Restore(ctx, x.db, path, nil))
		}
		require.NoError(x.t, f.Close())
	}
	require.Equal(x.t, want, resultOf(tx.Query(query)), "in a transaction: %s", query)
	require.NoError(x.t, tx.Rollback())

	require.NoError(x.t, x.plain.Close())
	x.open(path)
}

// open opens a copy of path, or a new file, as the other side.
func (x *restored) open(path string) {
	x.n++
	to := filepath.Join(x.dir, fmt.Sprintf("plain%d.db", x.n))
	if path != "" {
		b, err := os.ReadFile(path)
		require.NoError(x.t, err)
		require.NoError(x.t, os.WriteFile(to, b, 0o600))
	}
	var err error
	x.plain, err = sql.Open("sqlite3", to+"?_sync=0")
	require.NoError(x.t, err)
	x.plain.SetMaxOpenConns(1)
}

// Ensure that after any statements and restores a pool, with all statements that it has ever
// prepared, sees what a fresh SQLite sees in the file that was restored last.
func TestRestore_random(t *testing.T) {
	for seed := range uint64(max(5, *programs/20)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			x := &restored{t: t, r: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(), prepared: map[string]*sql.Stmt{}}
			x.db = testdb.Open(t, []string{":memory:", ":memory:", filepath.Join(x.dir, "app.db") + "?sqlite_wal=off"}[seed%3])
			x.db.SetMaxIdleConns(int(seed % 4))
			x.open("")
			defer func() { require.NoError(t, x.plain.Close()) }()
			defer func() {
				for _, stmt := range x.prepared {
					if stmt != nil {
						require.NoError(t, stmt.Close())
					}
				}
			}()
			x.both("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
			x.file()
			for range 60 {
				switch n := x.r.IntN(20); {
				case n == 0:
					x.file()
				case n < 4:
					x.restore()
				case n < 14:
					x.change()
				default:
					x.look(restoredQueries[x.r.IntN(len(restoredQueries))])
				}
			}
			for _, query := range restoredQueries {
				x.look(query)
			}
			require.Equal(t, dump(t, x.plain), dump(t, x.db))
			require.Equal(t, "ok", testdb.Text(t, x.db, "PRAGMA integrity_check"))
		})
	}
}
