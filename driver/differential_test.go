//go:build cgo

package driver_test

import (
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

var (
	programs = flag.Int("programs", 150, "random programs that the differential test runs")
	seed     = flag.Uint64("seed", 1, "seed of its first program")
)

// Ensure that random programs do the same on this driver as on go-sqlite3 with
// a file: each row with its column names, declared and Go types, each error
// with its codes and text, the rows affected and the last insert id of each
// statement, and in the end everything in the database and in its saved file.
func TestDifferential(t *testing.T) {
	statements := 0
	for i := range *programs {
		n := *seed + uint64(i)
		ok := t.Run(fmt.Sprint(n), func(t *testing.T) { statements += runProgram(t, n) })
		if !ok {
			break
		}
	}
	t.Logf("%d programs, %d statements", *programs, statements)
}

func runProgram(t *testing.T, n uint64) int {
	g := &generator{Rand: rand.New(rand.NewPCG(n, 7))}
	params := []string{"_fk=1", "_fk=0&_cslike=1", "_loc=auto", "_auto_vacuum=1", "_rt=1", "_secure_delete=on", "_cache_size=1"}[g.IntN(7)]
	setup := fmt.Sprintf("PRAGMA page_size=%d", 512<<g.IntN(8))
	open := func(name, dir string) (*sql.DB, *sql.Conn) {
		var db *sql.DB
		if name == driver.Name {
			db = testdb.Open(t, filepath.Join(dir, "a.db")+"?"+params)
		} else {
			// With the statement cache that this driver has by default: a cached
			// statement goes on meaning the table that it was prepared for, when
			// one of that name is created in a database that comes first.
			db = testdb.Plain(t, filepath.Join(dir, "a.db")+"?_stmt_cache_size=128&"+params)
		}
		conn, err := db.Conn(ctx)
		require.NoError(t, err)
		testdb.Exec(t, conn, setup)
		testdb.Exec(t, conn, "ATTACH '"+filepath.Join(dir, "b.db")+"' AS att")
		return db, conn
	}
	plainDir, memDir := t.TempDir(), t.TempDir()
	plainDB, plain := open("sqlite3", plainDir)
	memDB, mem := open(driver.Name, memDir)

	steps := 40 + g.IntN(80)
	var history []string
	for range steps {
		query, args := g.statement()
		how := g.IntN(4)
		if skipped := strings.TrimSpace(query); skipped == "" || strings.HasPrefix(skipped, "--") {
			how = 0 // go-sqlite3 crashes when one is prepared and queried
		}
		history = append(history, fmt.Sprintf("%d: %s %v", how, query, args))
		a, b := run(plain, how, query, args), run(mem, how, query, args)
		require.Equal(t, a, b, "program %d\n%s", n, strings.Join(history, "\n"))
	}
	// go-sqlite3 leaves a transaction open in the connection that goes back.
	require.Equal(t, run(plain, 0, "COMMIT", nil), run(mem, 0, "COMMIT", nil))
	run(plain, 0, "ROLLBACK", nil)
	run(mem, 0, "ROLLBACK", nil)
	require.NoError(t, plain.Close())
	require.NoError(t, mem.Close())
	want := dump(t, plainDB)
	require.Equal(t, want, dump(t, memDB), "program %d\n%s", n, strings.Join(history, "\n"))
	testdb.Close(t, memDB)
	for _, name := range []string{"a.db", "b.db"} { // what was saved, and what was attached
		require.Equal(t, dump(t, testdb.Plain(t, filepath.Join(plainDir, name))), dump(t, testdb.Plain(t, filepath.Join(memDir, name))), name)
	}
	return steps
}

// run runs a statement in one of four ways and tells all that can be seen of it.
func run(c *sql.Conn, how int, query string, args []any) string {
	var b strings.Builder
	fail := func(err error) string {
		var e sqlite3.Error
		if errors.As(err, &e) {
			fmt.Fprintf(&b, "error %d/%d %s", e.Code, e.ExtendedCode, e.Error())
		} else {
			fmt.Fprintf(&b, "error %v", err)
		}
		return b.String()
	}
	var res sql.Result
	var rows *sql.Rows
	var err error
	switch how {
	case 0:
		res, err = c.ExecContext(ctx, query, args...)
	case 1:
		rows, err = c.QueryContext(ctx, query, args...)
	default:
		s, prepareErr := c.PrepareContext(ctx, query)
		if prepareErr != nil {
			return fail(prepareErr)
		}
		defer s.Close()
		if how == 2 {
			res, err = s.ExecContext(ctx, args...)
		} else {
			rows, err = s.QueryContext(ctx, args...)
		}
	}
	if err != nil {
		return fail(err)
	}
	if res != nil {
		changes, err1 := res.RowsAffected()
		id, err2 := res.LastInsertId()
		if strings.Contains(query, "RETURNING") {
			changes = -1 // go-sqlite3 asks before SQLite has counted
		}
		fmt.Fprintf(&b, "changes %d id %d %v", changes, id, errors.Join(err1, err2))
		return b.String()
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	if err != nil {
		return fail(err)
	}
	for _, col := range columns {
		fmt.Fprintf(&b, "%s %s %v, ", col.Name(), col.DatabaseTypeName(), col.ScanType())
	}
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			return fail(err)
		}
		for _, v := range values {
			fmt.Fprintf(&b, "%T:%v|", *v.(*any), *v.(*any))
		}
		b.WriteByte('\n')
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	return b.String()
}

// generator makes statements over a few names, so that they meet.
type generator struct{ *rand.Rand }

func (g *generator) pick(s ...string) string { return s[g.IntN(len(s))] }

func (g *generator) table() string {
	return g.pick("t1", "t2", "t3", "t4", "main.t1", "att.t1", "temp.t9", "v1")
}

func (g *generator) value() any {
	switch g.IntN(9) {
	case 0:
		return nil
	case 1:
		return g.IntN(20) - 5
	case 2:
		return g.Float64() * 100
	case 3:
		return g.pick("a", "b", "é", "", "it's", "a\x00b", "2026-11-23 10:00:00")
	case 4:
		return []byte(g.pick("", "x", "\x00\xff"))
	case 5:
		return g.IntN(2) == 0
	case 6:
		return time.Unix(int64(g.IntN(1e9)), 0).UTC()
	case 7:
		return strings.Repeat(g.pick("z", "yx"), g.IntN(9000))
	}
	return g.Int64()
}

func (g *generator) statement() (string, []any) {
	table := g.table()
	cond := g.pick("1", "a=?", "b>?", "a IS NULL", "rowid<5", "c LIKE 'A%'", "a IN (SELECT b FROM t2)")
	var args []any
	if strings.Contains(cond, "?") {
		args = append(args, g.value())
	}
	switch g.IntN(30) {
	case 0, 1, 2:
		return fmt.Sprintf("CREATE TABLE %s %s(%s)%s", g.pick("", "IF NOT EXISTS"), table, g.pick(
			"a INTEGER PRIMARY KEY, b INT, c TEXT", "a INTEGER PRIMARY KEY AUTOINCREMENT, b DATETIME UNIQUE, c BOOLEAN",
			"a TEXT PRIMARY KEY, b REFERENCES t1(a) ON DELETE CASCADE, c CHECK(c IS NOT 'b')", "a, b, c NOT NULL DEFAULT 'd'",
			"a BLOB, b REAL, c AS (a||b)", "a INT, b TIMESTAMP, c DATE"), g.pick("", "", "", " STRICT")), nil
	case 3:
		return fmt.Sprintf("CREATE TABLE %s(a PRIMARY KEY, b, c) WITHOUT ROWID", table), nil
	case 4:
		return fmt.Sprintf("CREATE %s INDEX i%d ON %s(%s) %s", g.pick("", "UNIQUE"), g.IntN(4), g.pick("t1", "t2", "t3"),
			g.pick("a", "b", "c, a", "a+b", "b DESC"), g.pick("", "WHERE b>3")), nil
	case 5:
		return fmt.Sprintf("CREATE TRIGGER tr%d %s ON %s BEGIN %s; END", g.IntN(3), g.pick("AFTER INSERT", "BEFORE DELETE", "AFTER UPDATE OF b"),
			g.pick("t1", "t2"), g.pick("INSERT INTO t3(a, b) VALUES(1, 2)", "DELETE FROM t2 WHERE a=5", "SELECT RAISE(ABORT, 'no')", "UPDATE t1 SET b=b+1 WHERE a=1")), nil
	case 6:
		return g.pick("DROP TABLE "+table, "DROP TABLE IF EXISTS "+table, "DROP INDEX IF EXISTS i1", "DROP TRIGGER tr1", "DROP VIEW v1",
			"ALTER TABLE t1 ADD COLUMN d DEFAULT 7", "ALTER TABLE t2 RENAME COLUMN b TO bb", "ALTER TABLE t3 RENAME TO t4", "CREATE VIEW v1 AS SELECT a, b, c FROM t1"), nil
	case 7:
		return g.pick("BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "COMMIT", "END", "ROLLBACK"), nil
	case 8:
		return g.pick("SAVEPOINT s1", "SAVEPOINT s2", "RELEASE s1", "RELEASE s2", "ROLLBACK TO s1", "ROLLBACK TO s2"), nil
	case 9:
		return g.pick("PRAGMA user_version", "PRAGMA user_version=9", "PRAGMA foreign_keys", "PRAGMA foreign_keys=1", "PRAGMA table_info(t1)",
			"PRAGMA integrity_check", "PRAGMA application_id=3", "PRAGMA foreign_key_check", "PRAGMA cache_size=1", "PRAGMA freelist_count", "PRAGMA incremental_vacuum", "PRAGMA nonsense", "PRAGMA page_count"), nil
	case 10:
		return g.pick("VACUUM", "ANALYZE", "REINDEX", "VACUUM att", "SELECT changes(), total_changes(), last_insert_rowid()", "", "  -- nothing", "nonsense", "SELECT ?", "SELECT 1; SELECT 2"), nil
	case 11:
		return fmt.Sprintf("INSERT INTO %s(a, b, c) VALUES(1, 2, 3); UPDATE t1 SET b=? WHERE a=?; SELECT count(*) FROM t1", g.pick("t1", "t2")), []any{g.value(), g.value()}
	case 12, 13:
		return fmt.Sprintf("INSERT INTO %s(a, b, c) VALUES(?, ?, ?), (?, ?, ?) RETURNING *, a||'x' AS y", table),
			[]any{g.value(), g.value(), g.value(), g.value(), g.value(), g.value()}
	case 14:
		return fmt.Sprintf("INSERT INTO %s(a, b, c) VALUES(?, ?, ?) ON CONFLICT%s", table, g.pick("(a) DO UPDATE SET b=excluded.b", " DO NOTHING", "(b) DO UPDATE SET a=a")),
			[]any{g.value(), g.value(), g.value()}
	case 15:
		return fmt.Sprintf("WITH x(i) AS (VALUES(1),(2),(3)) INSERT OR %s INTO %s(a, b, c) SELECT i, i*2, 'w' FROM x", g.pick("IGNORE", "REPLACE", "FAIL", "ROLLBACK", "ABORT"), table), nil
	case 16, 17:
		return fmt.Sprintf("UPDATE %s SET b=b%s WHERE %s", table, g.pick("+1", "||'k'", "", "+a"), cond), args
	case 18:
		return fmt.Sprintf("DELETE FROM %s WHERE %s RETURNING a", table, cond), args
	case 19:
		return fmt.Sprintf("DELETE FROM %s WHERE %s", table, cond), args
	case 20, 21, 22:
		return fmt.Sprintf("SELECT *, typeof(a), length(c) FROM %s WHERE %s", table, cond), args
	case 23:
		return "SELECT x.a, y.b, count(*) FROM t1 x LEFT JOIN t2 y ON x.a=y.a GROUP BY 1, 2 ORDER BY 1, 2", nil
	case 24:
		return "SELECT :a, @b, $c, ?1", []any{sql.Named("a", g.value()), sql.Named("b", g.value()), sql.Named("c", g.value())}
	}
	return fmt.Sprintf("INSERT OR %s INTO %s(a, b, c) VALUES(?, ?, ?)", g.pick("ABORT", "IGNORE", "REPLACE", "FAIL", "ROLLBACK"), table),
		[]any{g.value(), g.value(), g.value()}
}
