//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// noMemory is set for the process in which SQLite's memory can be made to fail.
const noMemory = "SQLITE_MEM_TEST_NO_MEMORY"

// statementPath is a path of statements that runs while an allocation fails. It
// returns what it has read, which is right or comes with an error. It writes
// three rows at once, with an id over 1000. It leaves no transaction open if
// all is well.
type statementPath struct {
	name string
	run  func(db *sql.DB, c *sql.Conn) (told string, err error)
}

// queryText returns all rows of a query as text.
func queryText(c interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, text string, args ...any) (string, error) {
	rows, err := c.QueryContext(ctx, text, args...)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, col := range columns {
		b.WriteString(col.Name() + " " + col.DatabaseTypeName() + " ")
	}
	for rows.Next() {
		b.WriteString(row(rows, len(columns)))
	}
	return b.String(), errors.Join(rows.Err(), rows.Close())
}

// execText runs statements.
func execText(c interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, text string, args ...any) (string, error) {
	res, err := c.ExecContext(ctx, text, args...)
	if err != nil {
		return "", err
	}
	changes, err := res.RowsAffected()
	return fmt.Sprint(changes), err
}

const threeRows = "INSERT INTO t(id, n, s) SELECT 1000+value, value, ? FROM json_each('[1,2,3]')"

var statementPaths = []statementPath{
	{"open", func(db *sql.DB, _ *sql.Conn) (string, error) {
		c, err := db.Conn(ctx)
		if err != nil {
			return "", err
		}
		told, err := queryText(c, "SELECT count(*) FROM t")
		return told, errors.Join(err, c.Close())
	}},
	{"prepare", func(_ *sql.DB, c *sql.Conn) (string, error) {
		s, err := c.PrepareContext(ctx, "SELECT a.n, b.s FROM t a JOIN t b ON a.id=b.n WHERE a.n>? AND b.s LIKE :s ORDER BY b.s")
		if err != nil {
			return "", err
		}
		told, err := "", error(nil)
		for range 2 {
			var more string
			if more, err = queryText(stmtOf{s}, "", 190, sql.Named("s", "text%")); err != nil {
				break
			}
			told += more
		}
		return told, errors.Join(err, s.Close())
	}},
	{"bind", func(_ *sql.DB, c *sql.Conn) (string, error) {
		long := strings.Repeat("é", 100_000)
		return queryText(c, "SELECT length(?), ?, ?, hex(?), typeof(:n), length(:l)||:l", long, 1.5, []byte{}, "short", sql.Named("n", nil), sql.Named("l", long[:5000]))
	}},
	{"step and batches", func(_ *sql.DB, c *sql.Conn) (string, error) {
		return queryText(c, "SELECT * FROM t ORDER BY s DESC, id")
	}},
	{"large values", func(_ *sql.DB, c *sql.Conn) (string, error) {
		return queryText(c, "SELECT id, printf('%.*c', id*50, 'x'), zeroblob(id*10) FROM t WHERE id<60")
	}},
	{"exec", func(_ *sql.DB, c *sql.Conn) (string, error) { return execText(c, threeRows, strings.Repeat("s", 3000)) }},
	{"several", func(_ *sql.DB, c *sql.Conn) (string, error) {
		return queryText(c, "UPDATE t SET n=n WHERE id<?; "+threeRows+"; DELETE FROM t WHERE id>1000; SELECT count(*), ? FROM t", 10, "x", "y")
	}},
	{"returning", func(_ *sql.DB, c *sql.Conn) (string, error) { return queryText(c, threeRows+" RETURNING *", "x") }},
	{"rows are closed early", func(_ *sql.DB, c *sql.Conn) (string, error) {
		rows, err := c.QueryContext(ctx, "SELECT s, randomblob(2000) FROM t")
		if err != nil {
			return "", err
		}
		rows.Next()
		return "", errors.Join(rows.Err(), rows.Close())
	}},
	{"in use", func(_ *sql.DB, c *sql.Conn) (string, error) {
		const text = "SELECT id, s FROM t ORDER BY id"
		rows, err := c.QueryContext(ctx, text)
		if err != nil {
			return "", err
		}
		defer rows.Close()
		rows.Next()
		told, err := queryText(c, text)
		return told, errors.Join(err, rows.Err(), rows.Close())
	}},
	{"cache", func(_ *sql.DB, c *sql.Conn) (string, error) {
		for i := range 12 { // more than it keeps
			if told, err := queryText(c, fmt.Sprintf("SELECT id+%d FROM t WHERE id=?", i%6), 7); err != nil || !strings.Contains(told, fmt.Sprint(7+i%6)) {
				return told, err
			}
		}
		return "", nil
	}},
	{"columns", func(_ *sql.DB, c *sql.Conn) (string, error) {
		first, err := queryText(c, "SELECT * FROM t WHERE id<3")
		if err != nil {
			return "", err
		}
		for _, text := range []string{"BEGIN", "ALTER TABLE t ADD COLUMN more DATETIME DEFAULT '2026-11-24'"} {
			if _, err := execText(c, text); err != nil {
				return "", err
			}
		}
		second, err := queryText(c, "SELECT * FROM t WHERE id<3")
		if err != nil {
			return "", err
		}
		_, err = execText(c, "ROLLBACK")
		return first + second, err
	}},
	{"errors", func(_ *sql.DB, c *sql.Conn) (string, error) {
		var told strings.Builder
		for _, text := range []string{"INSERT INTO t(id) VALUES(1)", "SELECT * FROM a_table_that_is_not_there", "SELECT abs(-9223372036854775808)", "nonsense"} {
			_, err := c.ExecContext(ctx, text)
			if err == nil {
				return "", errors.New("no error: " + text)
			}
			if isNoMemory(err) {
				return "", err
			}
			fmt.Fprint(&told, code(err)) // the text may be one that needs no memory
		}
		return told.String(), nil
	}},
	{"transactions", func(_ *sql.DB, c *sql.Conn) (string, error) {
		for i := range 3 {
			tx, err := c.BeginTx(ctx, &sql.TxOptions{ReadOnly: i == 0})
			if err != nil {
				return "", err
			}
			_, err = queryText(tx, "SELECT count(*) FROM t")
			if err == nil && i > 0 {
				_, err = execText(tx, threeRows, "x")
			}
			if err == nil && i > 0 {
				_, err = execText(tx, "SAVEPOINT s; UPDATE t SET s='changed' WHERE id>1000; ROLLBACK TO s; RELEASE s")
			}
			if err != nil || i < 2 {
				err = errors.Join(err, tx.Rollback())
			} else {
				err = tx.Commit()
			}
			if err != nil {
				return "", err
			}
		}
		return "", nil
	}},
	{"prepared in a transaction", func(_ *sql.DB, c *sql.Conn) (string, error) {
		tx, err := c.BeginTx(ctx, nil)
		if err != nil {
			return "", err
		}
		defer func() { _ = tx.Rollback() }()
		s, err := tx.Prepare("DELETE FROM t WHERE id>? RETURNING *")
		if err != nil {
			return "", err
		}
		if _, err = s.Exec(150); err != nil {
			return "", err
		}
		rows, err := s.Query(100)
		if err != nil {
			return "", err
		}
		rows.Next()
		return "", errors.Join(rows.Err(), rows.Close(), s.Close(), tx.Rollback())
	}},
	{"cancellable", func(_ *sql.DB, c *sql.Conn) (string, error) {
		over, cancel := context.WithCancel(ctx)
		defer cancel()
		tx, err := c.BeginTx(over, nil)
		if err != nil {
			return "", err
		}
		_, err = execText(tx, threeRows, "x")
		return "", errors.Join(err, tx.Rollback())
	}},
	{"attach", func(_ *sql.DB, c *sql.Conn) (string, error) {
		_, err := execText(c, "ATTACH ? AS o; CREATE TABLE o.u(x); INSERT INTO o.u VALUES(1); DROP TABLE o.u", "file:nomemory?mode=memory&cache=shared")
		if err != nil {
			return "", err
		}
		_, err = c.ExecContext(ctx, "DETACH o")
		return "", err
	}},
	{"pragmas and functions", func(_ *sql.DB, c *sql.Conn) (string, error) {
		if _, err := execText(c, "PRAGMA user_version=5; PRAGMA cache_size=10; SELECT sqlite_mem_stats()"); err != nil {
			return "", err
		}
		return queryText(c, "SELECT json_extract(sqlite_mem_stats(), '$.role'), (SELECT group_concat(name) FROM pragma_table_info('t'))")
	}},
	{"watched", func(db *sql.DB, c *sql.Conn) (string, error) {
		next, stop := iter.Pull2(driver.Watch(ctx, db))
		defer stop()
		_, err, _ := next()
		if err == nil {
			_, err = execText(c, "BEGIN; "+threeRows+"; CREATE TABLE watched(x); DROP TABLE watched; DELETE FROM t WHERE id>1000; COMMIT", "x")
		}
		if err != nil {
			_, _ = c.ExecContext(ctx, "ROLLBACK")
			return "", err
		}
		change, err, _ := next()
		if err == nil && !change.Has("t") {
			err = fmt.Errorf("not reported: %v", change)
		}
		return "", err
	}},
	{"temporary tables", func(_ *sql.DB, c *sql.Conn) (string, error) {
		return queryText(c, "CREATE TEMP TABLE IF NOT EXISTS p(x); DELETE FROM p; INSERT INTO p SELECT s FROM t; SELECT count(*), max(x) FROM p")
	}},
}

// stmtOf is a statement as queryText wants it.
type stmtOf struct{ *sql.Stmt }

func (s stmtOf) QueryContext(ctx context.Context, _ string, args ...any) (*sql.Rows, error) {
	return s.Stmt.QueryContext(ctx, args...)
}

// isNoMemory reports whether err says that memory has failed, or that the
// connection or its transaction was given up for it.
func isNoMemory(err error) bool {
	var e sqlite3.Error
	if errors.As(err, &e) && (e.Code == sqlite3.ErrNomem || e.ExtendedCode == sqlite3.ErrIoErr.Extend(12)) {
		return true
	}
	if e.ExtendedCode == sqlite3.ErrAbortRollback {
		return true // the statement has lost its transaction
	}
	// A Go function, as the one in an ATTACH, can give SQLite a text only.
	return strings.Contains(err.Error(), "out of memory") || errors.Is(err, sqldriver.ErrBadConn) || errors.Is(err, driver.ErrTxOver) || errors.Is(err, sql.ErrTxDone)
}

// Ensure that an allocation that fails is the error of a call, and no wrong
// result. It may be any of SQLite's or of this project's, and fail once or from
// then on. Then no lock is held and no block of memory is lost. Three rows are
// written or none, and the connection works or was given up.
func TestNoMemory(t *testing.T) {
	if os.Getenv(noMemory) == "" {
		// SQLite must not have been used before its memory can fail.
		cmd := exec.Command(os.Args[0], "-test.run=^TestNoMemory$", "-test.v", "-long", long.String())
		cmd.Env = append(os.Environ(), noMemory+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		t.Logf("%s", out)
		return
	}
	t.Run("stale schema", testStaleSchema)
	for _, whose := range []struct {
		name string
		fail func(n int64, forever bool) int64
	}{{"SQLite", memvfs.FailSQLite}, {"engine", memvfs.FailAlloc}} {
		failed := 0
		for _, encoding := range []string{"UTF-8", "UTF-16"} {
			for _, path := range statementPaths {
				for _, forever := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%s/%s/forever=%v", whose.name, encoding, path.name, forever), func(t *testing.T) {
						failed += sweepMemory(t, encoding, path, forever, whose.fail)
					})
				}
			}
		}
		require.Positive(t, failed, whose.name)
	}
}

// testStaleSchema ensures that no statement runs outside of the transaction in which it began. If
// another connection has changed the schema, SQLite ends a statement that was prepared before, and
// runs it again. If an allocation of that end fails, it first rolls back the transaction.
func testStaleSchema(t *testing.T) {
	defer memvfs.FailSQLite(0, false)
	db := testdb.Open(t, ":memory:")
	testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, s TEXT)")
	c, err := db.Conn(ctx)
	require.NoError(t, err)
	for name, run := range map[string]func() error{
		"typed": func() error {
			_, err := c.ExecContext(ctx, "BEGIN; "+threeRows+"; COMMIT", "x")
			return err
		},
		"query": func() error {
			if _, err := c.ExecContext(ctx, "BEGIN"); err != nil {
				return err
			}
			if _, err := queryText(c, threeRows+" RETURNING id", "x"); err != nil {
				return err
			}
			_, err := c.ExecContext(ctx, "COMMIT")
			return err
		},
		"Tx": func() error {
			tx, err := c.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			if _, err = tx.Exec(threeRows, "x"); err != nil {
				return errors.Join(err, tx.Rollback())
			}
			return tx.Commit()
		},
	} {
		testdb.Exec(t, c, "DELETE FROM t")
		require.NoError(t, run()) // the connection keeps the statement
		lost := 0
		for n, done := int64(1), false; !done; n++ {
			testdb.Exec(t, c, "DELETE FROM t")
			testdb.Exec(t, db, "DROP TABLE IF EXISTS stale; CREATE TABLE stale(x)")
			memvfs.FailSQLite(n, false)
			err := run()
			done = memvfs.FailSQLite(0, false) < n
			want := "3"
			if err != nil {
				want = "0"
				require.Truef(t, isNoMemory(err), "%s: allocation %d: %s", name, n, tellError(err))
				_, _ = c.ExecContext(ctx, "ROLLBACK")
			}
			if code(err) == sqlite3.ErrAbort {
				lost++
			}
			require.Equal(t, want, testdb.Text(t, db, "SELECT count(*) FROM t"), "%s: allocation %d: %v", name, n, err)
			require.True(t, err == nil || !done)
		}
		require.Equal(t, 1, lost, name)
	}
	require.NoError(t, c.Close())
}

// sweepMemory runs a path with the n-th allocation failing, on a new connection
// and on one that has run it before. It tries each n with -long 1m, and some
// without. It returns the number of errors.
func sweepMemory(t *testing.T, encoding string, path statementPath, forever bool, fail func(n int64, forever bool) int64) (failed int) {
	defer fail(0, false)
	step := func(n int64) int64 {
		if thorough() {
			return 1
		}
		return 1 + n/6
	}
	reached := int64(0)
	open := func() (db *sql.DB, want string) {
		db, err := sql.Open(driver.Name, ":memory:?_stmt_cache_size=4")
		require.NoError(t, err)
		conn, err := db.Conn(ctx)
		require.NoError(t, err)
		testdb.Exec(t, conn, "PRAGMA encoding='"+encoding+"'; CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, s TEXT, at DATETIME); CREATE INDEX ts ON t(s)")
		testdb.Exec(t, conn, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<200) INSERT INTO t SELECT i, i*1000, 'text '||i, 1763979072+i FROM c")
		want, err = path.run(db, conn)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		return db, want
	}
	back := func(c *sql.Conn) { // to what it was
		testdb.Exec(t, c, "DELETE FROM t WHERE id>1000; DROP TABLE IF EXISTS temp.p; PRAGMA user_version=0")
	}
	// Some memory is kept for ever by its first use.
	db, _ := open()
	require.NoError(t, db.Close())
	liveSQLite, live := memvfs.LiveSQLite(), memvfs.Live()
	db, want := open()
	db.SetMaxIdleConns(0) // each connection is new
	keep, err := db.Conn(ctx)
	require.NoError(t, err)
	back(keep)
	for _, warm := range []bool{false, true} {
		for n, done := int64(1), false; !done; n += step(n) {
			conn, err := db.Conn(ctx)
			require.NoError(t, err)
			if warm {
				told, err := path.run(db, conn)
				require.NoError(t, err)
				require.Equal(t, want, told)
				back(conn)
			}
			fail(n, forever)
			told, err := path.run(db, conn)
			done = fail(0, false) < n
			reached = max(reached, n)
			switch {
			case err == nil:
				require.Equal(t, want, told, "allocation %d", n)
			case done:
				require.NoError(t, err)
			default:
				failed++
				require.True(t, isNoMemory(err), "allocation %d: %s", n, tellError(err))
				require.Truef(t, strings.HasPrefix(want, told), "allocation %d: the rows before the error are wrong: %.300s", n, told)
			}
			// A transaction that is left open is the user's to end.
			_, err = conn.ExecContext(ctx, "ROLLBACK")
			broken := errors.Is(err, sqldriver.ErrBadConn)
			require.Contains(t, []string{"200", "203"}, testdb.Text(t, keep, "SELECT count(*) FROM t"), "allocation %d", n)
			free(t, db)
			back(keep)
			if !broken {
				_, _ = conn.ExecContext(ctx, "DETACH o")
				told, err = path.run(db, conn)
				require.NoError(t, err, "after allocation %d", n)
				require.Equal(t, want, told, "after allocation %d", n)
				back(keep)
			}
			require.NoError(t, conn.Close())
		}
	}
	require.NoError(t, keep.Close())
	testdb.Healthy(t, db)
	require.NoError(t, db.Close())
	require.Equal(t, liveSQLite, memvfs.LiveSQLite(), "blocks of SQLite are lost")
	require.Equal(t, live, memvfs.Live(), "blocks of the engine are lost")
	t.Logf("%d allocations, %d errors", reached-1, failed)
	return failed
}
