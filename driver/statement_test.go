//go:build cgo

package driver_test

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// reading are queries that look as if they wrote.
var reading = []string{
	"WITH x AS (SELECT replace(n, 'a', 'b') AS n FROM t) SELECT n FROM x",
	"WITH x AS (SELECT 'please update' AS n) SELECT n FROM x -- insert, delete",
	"EXPLAIN INSERT INTO t(n) VALUES(1)",
	"EXPLAIN QUERY PLAN DELETE FROM t",
	"SELECT sql FROM sqlite_schema WHERE sql LIKE 'CREATE%'",
	"PRAGMA user_version",
	"PRAGMA journal_mode",
	"PRAGMA table_info(t)",
	"VACUUM INTO ':memory:'",
	"CREATE TEMP TABLE IF NOT EXISTS p(x)",
	"INSERT INTO temp.p VALUES(1)",
	"ATTACH ':memory:' AS m",
	"DETACH m",
	"BEGIN",
	"COMMIT",
}

// Ensure that a statement that does not write waits for no writer, whatever its
// words are, and in whichever way it is run.
func TestStatement_readsBesideWriter(t *testing.T) {
	db := newTable(t, "?_busy_timeout=0")
	writer, err := db.Begin()
	require.NoError(t, err)
	testdb.Exec(t, writer, "INSERT INTO t(n) VALUES(1)")
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	for range 2 { // the second time from the cache
		for _, query := range reading {
			_, err := conn.ExecContext(ctx, query)
			require.NoError(t, err, query)
		}
	}
	for _, query := range reading {
		s, err := conn.PrepareContext(ctx, query)
		require.NoError(t, err, query)
		rows, err := s.Query()
		require.NoError(t, err, query)
		for rows.Next() {
		}
		require.NoError(t, rows.Err(), query)
		require.NoError(t, s.Close())
	}
	for _, query := range []string{"UPDATE t SET n=n WHERE 0", "PRAGMA user_version=1", "VACUUM", "BEGIN IMMEDIATE", "REINDEX", "CREATE TABLE IF NOT EXISTS u(x)"} {
		_, err := conn.ExecContext(ctx, query)
		require.Equal(t, sqlite3.ErrBusy, code(err), query)
	}
	require.NoError(t, writer.Rollback())
	require.NoError(t, conn.Close())
}

// Ensure that a read-only transaction runs every statement that does not write to
// the database, whatever its words are. It may write to temporary tables.
func TestStatement_readsInReadOnly(t *testing.T) {
	db := newTable(t, "")
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	require.NoError(t, err)
	for _, query := range reading {
		if query == "BEGIN" || query == "COMMIT" || strings.HasPrefix(query, "VACUUM") {
			continue
		}
		_, err := tx.Exec(query)
		require.NoError(t, err, query)
	}
	require.Equal(t, "1", testdb.Text(t, tx, "SELECT count(*) FROM p"))
	require.NoError(t, tx.Commit())
	free(t, db)
}

// Ensure that the authorizer of a program judges its statements, and not the
// driver's: a read-only transaction begins without reading the schema. BEGIN and
// COMMIT are judged as by go-sqlite3.
func TestStatement_authorizer(t *testing.T) {
	denied := map[int]bool{}
	hook := func(c *sqlite3.SQLiteConn) error {
		c.RegisterAuthorizer(func(op int, table, _, _ string) int {
			if denied[op] && (op != sqlite3.SQLITE_READ || strings.HasPrefix(table, "sqlite_")) {
				return sqlite3.SQLITE_DENY
			}
			return sqlite3.SQLITE_OK
		})
		return nil
	}
	sql.Register("sqlite3-judged", &sqlite3.SQLiteDriver{ConnectHook: hook})
	sql.Register("sqlite-mem-judged", &driver.Driver{ConnectHook: hook})
	outcomes := map[string]string{}
	for _, name := range []string{"sqlite3-judged", "sqlite-mem-judged"} {
		clear(denied)
		db, err := sql.Open(name, testdb.Path(t))
		require.NoError(t, err)
		testdb.Exec(t, db, "CREATE TABLE t(x)")
		denied[sqlite3.SQLITE_READ] = true
		tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		require.NoError(t, err)
		require.Equal(t, "0", testdb.Text(t, tx, "SELECT count(*) FROM t"))
		_, err = tx.Exec("SELECT * FROM sqlite_schema")
		outcomes[name] += fmt.Sprintln(err, tx.Rollback())
		testdb.Exec(t, db, "INSERT INTO t VALUES(1)")
		require.Equal(t, "1", testdb.Text(t, db, "SELECT count(*) FROM t"))
		require.NoError(t, db.Close())

		clear(denied)
		denied[sqlite3.SQLITE_TRANSACTION] = true
		db, err = sql.Open(name, testdb.Path(t))
		require.NoError(t, err)
		_, err = db.Begin()
		outcomes[name] += fmt.Sprintln(code(err), err)
		_, err = db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		outcomes[name] += fmt.Sprintln(code(err), err)
		_, err = db.Exec("BEGIN")
		outcomes[name] += fmt.Sprintln(code(err), err)
		require.NoError(t, db.Close())
	}
	require.Equal(t, outcomes["sqlite3-judged"], outcomes["sqlite-mem-judged"])
}

// Ensure that a read-only transaction writes to no file on the disk that a
// ConnectHook has attached. A pragma does not either, also if the program has
// set an authorizer.
func TestStatement_readOnlyHooked(t *testing.T) {
	disk := testdb.Path(t)
	testdb.Exec(t, testdb.Plain(t, disk), "CREATE TABLE d(x)")
	for i, judged := range []bool{false, true} {
		name := fmt.Sprint("sqlite-mem-attached-", i)
		sql.Register(name, &driver.Driver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
			if judged {
				c.RegisterAuthorizer(func(int, string, string, string) int { return sqlite3.SQLITE_OK })
			}
			_, err := c.Exec("ATTACH '"+disk+"' AS d", nil)
			return err
		}})
		db := testdb.OpenWith(t, name, testdb.Path(t))
		for _, query := range []string{"PRAGMA d.user_version=7", "INSERT INTO d VALUES(1)", "SELECT 1; DELETE FROM d", "CREATE TABLE d.x(y)"} {
			tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
			require.NoError(t, err)
			require.Equal(t, "0", testdb.Text(t, tx, "SELECT count(*) FROM d"))
			_, err = tx.Exec(query)
			require.Equal(t, sqlite3.ErrReadonly, code(err), query)
			_ = tx.Rollback()
		}
		require.Equal(t, "0", testdb.Text(t, db, "PRAGMA d.user_version"))
		require.Equal(t, "0", testdb.Text(t, db, "SELECT count(*) FROM d"))
		testdb.Close(t, db)
	}
}

// Ensure that Exec runs a statement to its end, and returns an error that comes
// there. The error is that of a deferred constraint behind RETURNING, or of a
// later row. The statement runs alone, prepared, and in a string.
func TestExec_toTheEnd(t *testing.T) {
	db := testdb.Open(t, testdb.Path(t)+"?_foreign_keys=1")
	testdb.Exec(t, db, "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p DEFERRABLE INITIALLY DEFERRED); CREATE TABLE n(x)")
	const returning = "INSERT INTO c VALUES(9) reTURNING p"
	fails := func(err error) {
		t.Helper()
		require.Equal(t, sqlite3.ErrConstraint, code(err))
		require.ErrorContains(t, err, "FOREIGN KEY")
		free(t, db)
		require.Equal(t, "0", testdb.Text(t, db, "SELECT count(*) FROM c"))
	}
	_, err := db.Exec(returning)
	fails(err)
	_, err = db.Exec("SELECT 1; " + returning + "; SELECT 2")
	fails(err)
	_, err = db.Query(returning + "; SELECT 2")
	fails(err)
	_, err = db.Query(returning)
	fails(err)
	s, err := db.Prepare(returning)
	require.NoError(t, err)
	_, err = s.Exec()
	fails(err)
	testdb.Exec(t, db, "INSERT INTO p VALUES(9)")
	res, err := s.Exec()
	require.NoError(t, err)
	n, err := res.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.NoError(t, s.Close())
	free(t, db)

	_, err = db.Exec("SELECT abs(x) FROM (SELECT 1 AS x UNION ALL SELECT -9223372036854775808)")
	require.ErrorContains(t, err, "integer overflow")
	testdb.Exec(t, db, "PRAGMA auto_vacuum=2; VACUUM; INSERT INTO n SELECT zeroblob(100000); DELETE FROM n")
	require.NotEqual(t, "0", testdb.Text(t, db, "PRAGMA freelist_count"))
	testdb.Exec(t, db, "PRAGMA incremental_vacuum")
	require.Equal(t, "0", testdb.Text(t, db, "PRAGMA freelist_count"))
}

// Ensure that comments, semicolons and text after a NUL do not change the rows and
// the result of the statement before them.
func TestStatement_nothingBehind(t *testing.T) {
	db := newTable(t, "")
	for i, behind := range []string{"", ";", "; ", ";;\n", "; -- done", "; /* done */ ;", " -- done", "\x00nonsense"} {
		require.Equal(t, fmt.Sprint(i), testdb.Text(t, db, fmt.Sprintf("INSERT INTO t(n) VALUES(%d) RETURNING n%s", i, behind)), behind)
		res, err := db.Exec(fmt.Sprintf("UPDATE t SET n=n WHERE n=%d%s", i, behind))
		require.NoError(t, err)
		n, err := res.RowsAffected()
		require.NoError(t, err)
		require.EqualValues(t, 1, n, behind)
	}
	_, err := db.Exec("SELECT 1; /* open")
	require.NoError(t, err)
	_, err = db.Exec("SELECT 1; nonsense")
	require.ErrorContains(t, err, "syntax error")
	_, err = db.Exec("SELECT 1; /*")
	require.ErrorContains(t, err, "syntax error", "as SQLite has it")
}

// Ensure that a statement whose rows are open can run again, from the cache or
// prepared, and each reader has its own rows.
func TestStatement_inUse(t *testing.T) {
	db := newTable(t, "")
	testdb.Exec(t, db, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<300) INSERT INTO t(n) SELECT i FROM c")
	tx, err := db.Begin()
	require.NoError(t, err)
	const query = "SELECT n FROM t WHERE n>? ORDER BY n"
	s, err := tx.Prepare(query)
	require.NoError(t, err)
	for _, open := range []func(from int) (*sql.Rows, error){
		func(from int) (*sql.Rows, error) { return tx.Query(query, from) },
		func(from int) (*sql.Rows, error) { return s.Query(from) },
	} {
		var all []*sql.Rows
		for i := range 5 {
			rows, err := open(i)
			require.NoError(t, err)
			all = append(all, rows)
		}
		for step := range 290 {
			for i, rows := range all {
				require.True(t, rows.Next())
				var n int
				require.NoError(t, rows.Scan(&n))
				require.Equal(t, i+step+1, n)
			}
		}
		for _, rows := range all {
			require.NoError(t, rows.Close())
		}
	}
	require.NoError(t, s.Close())
	require.NoError(t, tx.Rollback())
}

// Ensure that a cached statement means what it would mean if it were prepared
// now. A table of the same name may have come, gone or been renamed in a
// database that comes first. This connection or another may have done that.
func TestStatement_names(t *testing.T) {
	db := testdb.Open(t, testdb.Path(t))
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	testdb.Exec(t, conn, "ATTACH ':memory:' AS att; CREATE TABLE att.t(x); INSERT INTO att.t VALUES('att')")
	const query = "SELECT x FROM t"
	raw := func(text string) {
		require.NoError(t, conn.Raw(func(c any) error {
			_, err := c.(driver.RawConn).Raw().Exec(text, nil)
			return err
		}))
	}
	own := func(text string) { testdb.Exec(t, conn, text) }
	other := func(text string) { testdb.Exec(t, db, text) }
	for _, step := range []struct {
		by         func(text string)
		text, want string
	}{
		{own, "", "att"},
		{own, "CREATE TABLE main.t AS SELECT 'main' AS x", "main"},
		{own, "CREATE TEMP TABLE t AS SELECT 'temp' AS x", "temp"},
		{own, "DROP TABLE temp.t", "main"},
		{own, "ALTER TABLE main.t RENAME TO u", "att"},
		{own, "BEGIN; ALTER TABLE main.u RENAME TO t", "main"},
		{own, "ROLLBACK", "att"},
		{raw, "ALTER TABLE main.u RENAME TO t", "main"},
		{own, "DROP TABLE main.t", "att"},
		// A change by another connection is seen when this one next looks at that
		// database.
		{other, "CREATE TABLE t AS SELECT 'main' AS x", ""},
		{own, "SELECT * FROM main.t", "main"},
		{other, "DROP TABLE t; CREATE TABLE other(x)", ""},
		{own, "SELECT * FROM other", "att"},
		{own, "SELECT * FROM other", "att"},
		{other, "CREATE TABLE t AS SELECT 'main' AS x", ""},
		{own, "SELECT * FROM other", "main"}, // from the cache
		{other, "DROP TABLE t", ""},
		{own, "SELECT * FROM other", "att"},
	} {
		step.by(step.text)
		for range 2 {
			if step.want != "" {
				require.Equal(t, step.want, testdb.Text(t, conn, query), step.text)
			}
		}
	}
	testdb.Exec(t, conn, "DETACH att")
	_, err = conn.QueryContext(ctx, query)
	require.ErrorContains(t, err, "no such table")
	require.NoError(t, conn.Close())
}

// Ensure that a pragma is answered as by go-sqlite3 each time, though it acts
// when it is prepared. mmap_size has a row.
func TestStatement_pragmas(t *testing.T) {
	both(t, "", func(db *sql.DB) string {
		db.SetMaxOpenConns(1)
		var b strings.Builder
		for range 3 {
			for _, pragma := range []string{"foreign_keys=1", "foreign_keys", "foreign_keys=0", "foreign_keys", "recursive_triggers=1", "recursive_triggers", "cache_size=7", "cache_size",
				"busy_timeout=77", "busy_timeout", "busy_timeout=0", "busy_timeout", "mmap_size=65536", "mmap_size", "mmap_size=0", "mmap_size", "case_sensitive_like=1", "case_sensitive_like=0", "query_only=1", "query_only", "query_only=0"} {
				rows, err := db.Query("PRAGMA " + pragma)
				require.NoError(t, err)
				columns, err := rows.Columns()
				require.NoError(t, err)
				fmt.Fprintf(&b, "%s %v:", pragma, columns)
				for rows.Next() {
					var v any
					require.NoError(t, rows.Scan(&v))
					fmt.Fprintf(&b, " %T %v", v, v)
				}
				require.NoError(t, rows.Err())
				fmt.Fprintln(&b)
			}
			fmt.Fprintln(&b, testdb.Text(t, db, "SELECT 'A' LIKE 'a'"))
		}
		return b.String()
	})
}

// Ensure that a loop in a transaction that changes the rows it still reads gets
// the same rows as with go-sqlite3.
func TestRows_changedWhileRead(t *testing.T) {
	both(t, "", func(db *sql.DB) string {
		var b strings.Builder
		testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, n); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<50) INSERT INTO t SELECT i, i FROM c")
		for _, change := range []string{
			"DELETE FROM t WHERE id=?+1", "UPDATE t SET n=-n WHERE id>?", "INSERT OR IGNORE INTO t SELECT 100+?1, 'new' WHERE ?1<100", "DELETE FROM t WHERE id>40+?%5", "UPDATE t SET id=id+1000 WHERE id=?+3 AND id<100",
		} {
			for range 2 {
				tx, err := db.Begin()
				require.NoError(t, err)
				rows, err := tx.Query("SELECT id, n, changes() FROM t")
				require.NoError(t, err)
				for rows.Next() {
					var id, changes int
					var n any
					require.NoError(t, rows.Scan(&id, &n, &changes))
					fmt.Fprint(&b, id, n, changes, " ")
					testdb.Exec(t, tx, change, id)
				}
				require.NoError(t, rows.Err())
				require.NoError(t, tx.Rollback())
				fmt.Fprintln(&b)
			}
		}
		return b.String()
	})
}

// Ensure that a function of the program is called for a row when that row is
// fetched, and not before. That is so with a ConnectHook and after Raw.
func TestRows_functionCalled(t *testing.T) {
	calls := 0
	register := func(c *sqlite3.SQLiteConn) error {
		return c.RegisterFunc("counted", func() int { calls++; return calls }, false)
	}
	sql.Register("sqlite-mem-counted", &driver.Driver{ConnectHook: register})
	for _, name := range []string{"sqlite-mem-counted", driver.Name} {
		db := testdb.OpenWith(t, name, testdb.Path(t))
		conn, err := db.Conn(ctx)
		require.NoError(t, err)
		if name == driver.Name {
			require.NoError(t, conn.Raw(func(c any) error { return register(c.(driver.RawConn).Raw()) }))
		}
		for range 3 {
			calls = 0
			rows, err := conn.QueryContext(ctx, "SELECT counted() FROM json_each('[1,2,3,4,5,6]')")
			require.NoError(t, err)
			for i := 1; i <= 6; i++ {
				require.True(t, rows.Next())
				require.Equal(t, i, calls)
			}
			require.NoError(t, rows.Close())
		}
		require.NoError(t, conn.Close())
	}
}

// Ensure that an error comes behind the rows before it. The values of a row
// stay what they were while the next are read.
func TestRows_values(t *testing.T) {
	db := testdb.Open(t, testdb.Path(t))
	testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, s TEXT, b BLOB)")
	want := make([]string, 500)
	for i := range want {
		s := strings.Repeat(string(rune('a'+i%26)), i*i%3000)
		testdb.Exec(t, db, "INSERT INTO t VALUES(?, ?, ?, ?)", i+1, i*1000, s, []byte(s))
		want[i] = fmt.Sprint(i*1000, s, []byte(s))
	}
	for range 3 {
		rows, err := db.Query("SELECT n, s, b FROM t ORDER BY id")
		require.NoError(t, err)
		var got [][3]any
		for rows.Next() {
			var v [3]any
			require.NoError(t, rows.Scan(&v[0], &v[1], &v[2]))
			got = append(got, v)
		}
		require.NoError(t, rows.Err())
		require.Len(t, got, len(want))
		runtime.GC()
		for i, v := range got {
			require.Equal(t, want[i], fmt.Sprint(v[0], v[1], v[2]))
		}
		for n := range 6 {
			rows, err := db.Query("SELECT abs(CASE WHEN id>? THEN -9223372036854775808 ELSE id END) FROM t ORDER BY id", n*50)
			if err == nil {
				got := 0
				for rows.Next() {
					got++
				}
				require.Equal(t, n*50, got)
				err = rows.Err()
			} else {
				require.Zero(t, n)
			}
			require.EqualError(t, err, "integer overflow")
		}
	}
}

// Ensure that a column of times reads the texts that time.Time.String and
// modernc.org/sqlite write. For a text that is no time it gives the zero time, as
// go-sqlite3 does.
func TestRows_timeFormats(t *testing.T) {
	db := testdb.Open(t, testdb.Path(t))
	testdb.Exec(t, db, "CREATE TABLE t(at DATETIME, d DATE, s TEXT)")
	zone := time.FixedZone("CEST", 7200)
	for text, want := range map[string]time.Time{
		"2026-07-01 02:03:04.000005 +0200 CEST":                time.Date(2026, 7, 1, 2, 3, 4, 5000, zone),
		"2026-07-01 02:03:04.000005 +0200 CEST m=+0.012345678": time.Date(2026, 7, 1, 2, 3, 4, 5000, zone),
		"2026-07-01 02:03:04 +0000 UTC":                        time.Date(2026, 7, 1, 2, 3, 4, 0, time.UTC),
		"2026-07-01 02:03:04.123456789 +0000 UTC m=-1.5":       time.Date(2026, 7, 1, 2, 3, 4, 123456789, time.UTC),
		"2026-07-01 02:03:04 -0330 -0330":                      time.Date(2026, 7, 1, 2, 3, 4, 0, time.FixedZone("", -12600)),
		"2026-07-01 02:03:04+02:00":                            time.Date(2026, 7, 1, 2, 3, 4, 0, zone),
		"2026-07-01T02:03:04Z":                                 time.Date(2026, 7, 1, 2, 3, 4, 0, time.UTC),
		time.Date(2026, 7, 1, 2, 3, 4, 5, time.UTC).String():   time.Date(2026, 7, 1, 2, 3, 4, 5, time.UTC),
		"yesterday": {}, "": {}, " m=+1": {}, "2026-07-01 02:03:04 CEST": {},
	} {
		testdb.Exec(t, db, "DELETE FROM t")
		testdb.Exec(t, db, "INSERT INTO t VALUES(?, ?, ?)", text, text, text)
		var at, d time.Time
		var s string
		require.NoError(t, db.QueryRow("SELECT * FROM t").Scan(&at, &d, &s))
		require.True(t, want.Equal(at), "%s: %v", text, at)
		require.True(t, want.Equal(d), text)
		require.Equal(t, text, s, "only in columns that are declared as times")
	}
}

// Ensure that a text over SQLite's limit is refused with its error before it is
// copied. An argument can be as long as the limit.
func TestBind_tooLong(t *testing.T) {
	db := testdb.Open(t, testdb.Path(t))
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	require.NoError(t, conn.Raw(func(c any) error {
		c.(driver.RawConn).Raw().SetLimit(sqlite3.SQLITE_LIMIT_LENGTH, 300_000)
		return nil
	}))
	for _, arg := range []any{strings.Repeat("x", 300_001), make([]byte, 300_001)} {
		_, err = conn.ExecContext(ctx, "SELECT ?", arg)
		require.Equal(t, sqlite3.ErrTooBig, code(err))
		require.EqualError(t, err, "string or blob too big")
	}
	require.Equal(t, "300000 0 7", testdb.Text(t, conn, "SELECT length(?)||' '||length(?)||' '||length(?)", strings.Repeat("x", 300_000), "", "1234567"))
	require.NoError(t, conn.Close())
}

// Ensure that a writer that gets its lock in the middle of a statement is the
// next to write. It writes through Raw, by a pragma, by VACUUM, or to an
// attached store. The writer behind it finds its work done.
func TestLock_keptOnTheWay(t *testing.T) {
	for _, params := range []string{"", "?_busy_timeout=60000"} {
		for _, what := range []string{"raw", "raw, timeout set", "PRAGMA user_version=1", "VACUUM", "SELECT 1; PRAGMA user_version=1"} {
			t.Run(what+params, func(t *testing.T) {
				db := newTable(t, params)
				holder, err := db.Begin()
				require.NoError(t, err)
				testdb.Exec(t, holder, "INSERT INTO t(n) VALUES(1)")
				conn, err := db.Conn(ctx)
				require.NoError(t, err)
				behind, err := db.Conn(ctx)
				require.NoError(t, err)
				first, second := make(chan error, 1), make(chan error, 1)
				order := make(chan string, 2)
				go func() {
					var err error
					if strings.HasPrefix(what, "raw") {
						err = conn.Raw(func(c any) error {
							raw := c.(driver.RawConn).Raw()
							if strings.HasSuffix(what, "set") {
								if _, err := raw.Exec("PRAGMA busy_timeout=50000", nil); err != nil {
									return err
								}
							}
							raw.RegisterCommitHook(func() int { order <- "first"; return 0 })
							_, err := raw.Exec("UPDATE t SET n=n+1", nil)
							return err
						})
					} else {
						_ = conn.Raw(func(c any) error {
							c.(driver.RawConn).Raw().RegisterCommitHook(func() int { order <- "first"; return 0 })
							return nil
						})
						_, err = conn.ExecContext(ctx, what)
					}
					first <- err
				}()
				waiting(t, db, 1)
				require.NoError(t, behind.Raw(func(c any) error {
					c.(driver.RawConn).Raw().RegisterCommitHook(func() int { order <- "second"; return 0 })
					return nil
				}))
				go func() {
					_, err := behind.ExecContext(ctx, "UPDATE t SET n=n+10")
					second <- err
				}()
				waiting(t, db, 2)
				require.NoError(t, holder.Commit())
				require.NoError(t, <-first)
				require.NoError(t, <-second)
				if what != "VACUUM" { // which calls no hook
					require.Equal(t, "first", <-order)
				}
				require.Equal(t, "second", <-order)
				if what == "raw, timeout set" {
					require.Equal(t, "50000", testdb.Text(t, conn, "PRAGMA busy_timeout"))
				}
				require.NoError(t, conn.Close())
				require.NoError(t, behind.Close())
			})
		}
	}
}

// Ensure that a lock that came too late is given back at once, though the
// transaction stays open. It is too late if the transaction has read a state
// that is no longer the last.
func TestLock_givenBackOnTheWay(t *testing.T) {
	for _, timeout := range []string{"0", "60000"} {
		db := newTable(t, "?_busy_timeout="+timeout)
		conn, err := db.Conn(ctx)
		require.NoError(t, err)
		require.NoError(t, conn.Raw(func(c any) error {
			raw := c.(driver.RawConn).Raw()
			_, err := raw.Exec("BEGIN; SELECT * FROM t", nil)
			require.NoError(t, err)
			testdb.Exec(t, db, "INSERT INTO t(n) VALUES(1)")
			_, err = raw.Exec("UPDATE t SET n=n+1", nil)
			require.True(t, driver.IsStaleSnapshot(err), "%v", err)
			free(t, db)
			_, err = raw.Exec("ROLLBACK; UPDATE t SET n=n+1", nil)
			require.NoError(t, err)
			return nil
		}))
		free(t, db)
		require.NoError(t, conn.Close())
	}
}

func init() {
	sql.Register("sqlite-mem-boom", &driver.Driver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		return c.RegisterFunc("boom", func(i int64) int64 {
			if i > 1 {
				panic("boom")
			}
			return i
		}, false)
	}})
}

// Ensure that rows left open in Raw, and a panic in the middle of a statement
// of Raw's, cost that connection and nothing else. Others write, and the
// database closes.
func TestRaw_leftBehind(t *testing.T) {
	query := func(raw *sqlite3.SQLiteConn, query string, args ...sqldriver.Value) {
		named := make([]sqldriver.NamedValue, len(args))
		for i, a := range args {
			named[i] = sqldriver.NamedValue{Ordinal: i + 1, Value: a}
		}
		_, err := raw.QueryContext(ctx, query, named)
		require.NoError(t, err)
	}
	var kept []sqldriver.Stmt // or a finalizer would close it
	for name, use := range map[string]func(*sqlite3.SQLiteConn){
		"rows":           func(c *sqlite3.SQLiteConn) { query(c, "SELECT n FROM t") },
		"rows, no table": func(c *sqlite3.SQLiteConn) { query(c, "SELECT 1 UNION ALL SELECT 2") },
		"returning":      func(c *sqlite3.SQLiteConn) { query(c, "INSERT INTO t(n) VALUES(?), (101) RETURNING n", int64(100)) },
		"panic":          func(c *sqlite3.SQLiteConn) { _, _ = c.Exec("UPDATE t SET n=-boom(n)", nil) },
		"panic, arguments": func(c *sqlite3.SQLiteConn) {
			_, _ = c.Exec("UPDATE t SET n=-boom(n) WHERE n<?", []sqldriver.Value{int64(50)})
		},
		"panic, reading":  func(c *sqlite3.SQLiteConn) { _, _ = c.Exec("SELECT boom(n) FROM t", nil) },
		"panic, no table": func(c *sqlite3.SQLiteConn) { _, _ = c.Exec("SELECT boom(5)", nil) },
		"statement": func(c *sqlite3.SQLiteConn) {
			s, err := c.Prepare("SELECT * FROM t")
			require.NoError(t, err)
			kept = append(kept, s)
		},
		"transaction": func(c *sqlite3.SQLiteConn) { _, err := c.Exec("BEGIN; DELETE FROM t", nil); require.NoError(t, err) },
	} {
		for _, params := range []string{"?_busy_timeout=2000&sqlite_sync_interval=0", "?_busy_timeout=2000&sqlite_sync_interval=0&_mutex=full"} {
			if name == "panic, arguments" && strings.Contains(params, "full") {
				continue // go-sqlite3's finalizer of the statement waits for its mutex, for ever
			}
			t.Run(name+params, func(t *testing.T) {
				db := testdb.OpenWith(t, "sqlite-mem-boom", testdb.Path(t)+params)
				testdb.Exec(t, db, "CREATE TABLE t(n); INSERT INTO t VALUES(1), (2), (3)")
				for range 3 {
					func() {
						defer func() { _ = recover() }()
						conn, err := db.Conn(ctx)
						require.NoError(t, err)
						defer conn.Close()
						_ = conn.Raw(func(c any) error {
							use(c.(driver.RawConn).Raw())
							return nil
						})
					}()
					runtime.GC()
					free(t, db)
					require.Equal(t, "3", testdb.Text(t, db, "SELECT count(*) FROM t"))
					st, err := driver.ReadStats(db)
					require.NoError(t, err)
					require.LessOrEqual(t, st.Connections, 1, "nothing of a connection is left in the store")
				}
				testdb.Close(t, db)
			})
		}
	}
	runtime.KeepAlive(kept)
}

// Ensure that another thread can close a connection in which Raw has panicked.
// SQLite's mutex may be held for ever by the thread that panicked.
func TestRaw_panicOnAnotherThread(t *testing.T) {
	path := testdb.Path(t) + "?_mutex=full"
	db := testdb.OpenWith(t, "sqlite-mem-boom", path)
	testdb.Exec(t, db, "CREATE TABLE t(n); INSERT INTO t VALUES(5)")
	c, err := db.Driver().Open(path)
	require.NoError(t, err)
	panicked := make(chan any)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		defer func() { panicked <- recover() }()
		_, _ = c.(driver.RawConn).Raw().Exec("UPDATE t SET n=-boom(n)", nil)
	}()
	require.Equal(t, "boom", <-panicked)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	require.NoError(t, c.Close())
	free(t, db)
}
