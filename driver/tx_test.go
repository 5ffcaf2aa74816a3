//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// free reports whether the write lock is free: another connection writes at
// once.
func free(t testing.TB, db *sql.DB) {
	t.Helper()
	short, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := db.ExecContext(short, "CREATE TABLE IF NOT EXISTS free_test(x); INSERT INTO free_test VALUES(1)")
	require.NoError(t, err, "the write lock is not free")
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Empty(t, st.WriterHolder)
}

func newTable(t testing.TB, params string) *sql.DB {
	t.Helper()
	db := testdb.Open(t, testdb.Path(t)+params)
	testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT UNIQUE)")
	return db
}

// Ensure that the write lock is held while a statement's transaction lasts and
// free after, whatever the statement does and however it ends.
func TestLock_everyWay(t *testing.T) {
	for _, query := range []string{
		"INSERT INTO t(n) VALUES(1)",
		"INSERT INTO t(n) VALUES(1) RETURNING id",
		"INSERT INTO nowhere VALUES(1)",
		"INSERT INTO t(n) VALUES(1), (1)",
		"SELECT 1; INSERT INTO t(n) VALUES(2)",
		"PRAGMA user_version=5",
		"PRAGMA incremental_vacuum",
		"WITH x AS (SELECT 7 AS n) INSERT INTO t(n) SELECT n FROM x",
		"CREATE TABLE u(x); ALTER TABLE u ADD y; DROP TABLE u",
		"DROP TABLE IF EXISTS nothing",
		"CREATE TEMP TABLE tt(x); INSERT INTO tt VALUES(1)",
		"VACUUM",
		"REINDEX; ANALYZE",
		"BEGIN; INSERT INTO t(n) VALUES(3); COMMIT",
		"BEGIN IMMEDIATE; ROLLBACK",
		"BEGIN; INSERT INTO t(n) VALUES(3); nonsense",
		"SAVEPOINT a; INSERT INTO t(n) VALUES(4); RELEASE a",
		"ATTACH ':memory:' AS m; CREATE TABLE m.x(y); DETACH m",
		"SELECT count(*) FROM t",
	} {
		t.Run(query, func(t *testing.T) {
			db := newTable(t, "")
			for _, how := range []string{"exec", "query", "prepared exec", "prepared query", "abandoned rows"} {
				conn, err := db.Conn(ctx)
				require.NoError(t, err)
				switch how {
				case "exec":
					_, _ = conn.ExecContext(ctx, query)
				case "query":
					if rows, err := conn.QueryContext(ctx, query); err == nil {
						for rows.Next() {
						}
						require.NoError(t, rows.Close())
					}
				case "prepared exec", "prepared query":
					if s, err := conn.PrepareContext(ctx, query); err == nil {
						if how == "prepared exec" {
							_, _ = s.Exec()
						} else if rows, err := s.Query(); err == nil {
							rows.Next()
							require.NoError(t, rows.Close())
						}
						require.NoError(t, s.Close())
					}
				case "abandoned rows":
					rows, err := conn.QueryContext(ctx, query)
					if err == nil && !strings.HasPrefix(query, "BEGIN; INSERT INTO t(n) VALUES(3); n") {
						free(t, db) // while the rows are open
						require.NoError(t, rows.Close())
					}
				}
				require.NoError(t, conn.Close()) // rolls back what is open
				free(t, db)
			}
		})
	}
}

// Ensure that INSERT … RETURNING through Query gives all its rows with their
// types, and does not hold up others while they are read.
func TestReturning(t *testing.T) {
	db := newTable(t, "")
	rows, err := db.Query("INSERT INTO t(n) VALUES(10), (20), (30) RETURNING id, n")
	require.NoError(t, err)
	free(t, db)
	types, err := rows.ColumnTypes()
	require.NoError(t, err)
	require.Equal(t, "INTEGER", types[0].DatabaseTypeName())
	require.Equal(t, "INT", types[1].DatabaseTypeName())
	var got [][2]int
	for rows.Next() {
		var r [2]int
		require.NoError(t, rows.Scan(&r[0], &r[1]))
		got = append(got, r)
	}
	require.NoError(t, rows.Err())
	require.NoError(t, rows.Close())
	require.Equal(t, [][2]int{{1, 10}, {2, 20}, {3, 30}}, got)

	s, err := db.Prepare("INSERT INTO t(n) VALUES(?) RETURNING id")
	require.NoError(t, err)
	defer s.Close()
	res, err := s.Exec(40)
	require.NoError(t, err)
	n, err := res.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	id, err := res.LastInsertId()
	require.NoError(t, err)
	require.EqualValues(t, 4, id)
	free(t, db)
	_, err = db.Query("INSERT INTO t(n) VALUES(40) RETURNING id")
	require.Equal(t, sqlite3.ErrConstraint, code(err))
	free(t, db)
}

// Ensure that a prepared statement of nothing does nothing.
func TestPrepare_empty(t *testing.T) {
	db := newTable(t, "")
	for _, query := range []string{"", "  ", "-- nothing", "/* nothing */ ;"} {
		s, err := db.Prepare(query)
		require.NoError(t, err)
		_, err = s.Exec()
		require.NoError(t, err)
		require.ErrorIs(t, s.QueryRow().Scan(new(int)), sql.ErrNoRows)
		require.NoError(t, s.Close())
	}
	s, err := db.Prepare("; SELECT 5")
	require.NoError(t, err)
	var n int
	require.NoError(t, s.QueryRow().Scan(&n))
	require.Equal(t, 5, n)
	require.NoError(t, s.Close())
}

// Ensure that a transaction has the write lock from its beginning to its end
// by default, and that others wait for it in their order.
func TestTx_immediate(t *testing.T) {
	db := newTable(t, "")
	tx, err := db.Begin()
	require.NoError(t, err)
	testdb.Exec(t, tx, "INSERT INTO t(n) VALUES(1)")

	waitCtx, cancel := context.WithCancel(ctx)
	failed := make(chan error)
	go func() {
		_, err := db.ExecContext(waitCtx, "INSERT INTO t(n) VALUES(2)")
		failed <- err
	}()
	waiting(t, db, 1)
	done := make(chan error)
	go func() {
		_, err := db.Exec("INSERT INTO t(n) SELECT max(n)+1 FROM t")
		done <- err
	}()
	waiting(t, db, 2)
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	waiting(t, db, 1)
	require.Equal(t, "0", testdb.Text(t, db, "SELECT count(*) FROM t"), "readers do not wait")
	require.NoError(t, tx.Commit())
	require.NoError(t, <-done)
	require.Equal(t, "2", testdb.Text(t, db, "SELECT max(n) FROM t"))
	free(t, db)
}

// waiting waits until n writers wait.
func waiting(t testing.TB, db *sql.DB, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		st, err := driver.ReadStats(db)
		return err == nil && st.WriterQueue == n
	}, 10*time.Second, time.Millisecond)
}

// Ensure that a wait that is longer than _busy_timeout, or than a PRAGMA
// busy_timeout, ends in a bare sqlite3.Error. The log and the counters tell who
// was in the way.
func TestBusyTimeout(t *testing.T) {
	db, log := openLogged(t, testdb.Path(t)+"?_busy_timeout=30")
	testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT)")

	tx, err := db.Begin()
	require.NoError(t, err)
	_, err = db.Exec("INSERT INTO t(n) VALUES(1)")
	e, ok := err.(sqlite3.Error)
	require.True(t, ok, "%T", err)
	require.Equal(t, sqlite3.ErrBusy, e.Code)
	require.Equal(t, "database is locked", e.Error())
	require.Contains(t, log.String(), "holder=transaction")
	require.Contains(t, log.String(), "INSERT INTO t")
	_, err = db.Begin()
	require.Equal(t, sqlite3.ErrBusy, code(err))
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.EqualValues(t, 2, st.BusyErrors)
	require.Equal(t, "transaction", st.WriterHolder)
	require.Positive(t, st.WriterHeldFor)

	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	testdb.Exec(t, conn, "PRAGMA busy_timeout=0")
	_, err = conn.ExecContext(ctx, "INSERT INTO t(n) VALUES(1)")
	require.Equal(t, sqlite3.ErrBusy, code(err))
	testdb.Exec(t, conn, "PRAGMA busy_timeout=60000")
	done := make(chan error)
	go func() {
		_, err := conn.ExecContext(ctx, "INSERT INTO t(n) VALUES(1)")
		done <- err
	}()
	waiting(t, db, 1)
	require.NoError(t, tx.Rollback())
	require.NoError(t, <-done)
	require.NoError(t, conn.Close())
}

// Ensure that a read-only transaction sees the state of its beginning, takes no
// lock, and refuses to write in every way. Its connection can write afterwards.
func TestTx_readOnly(t *testing.T) {
	db := newTable(t, "")
	db.SetMaxOpenConns(2)
	testdb.Exec(t, db, "INSERT INTO t(n) VALUES(1)")
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelReadCommitted})
	require.NoError(t, err)
	testdb.Exec(t, db, "INSERT INTO t(n) VALUES(2)")
	require.Equal(t, "1", testdb.Text(t, tx, "SELECT count(*) FROM t"))
	for _, query := range []string{
		"INSERT INTO t(n) VALUES(3)", "DELETE FROM t", "CREATE TABLE u(x)", "PRAGMA user_version=1",
		"WITH x AS (SELECT 1) INSERT INTO t(n) SELECT 9", "SELECT 1; DELETE FROM t",
	} {
		_, err := tx.Exec(query)
		require.Equal(t, sqlite3.ErrReadonly, code(err), query)
		require.Equal(t, "attempt to write a readonly database", err.Error())
	}
	s, err := tx.Prepare("DELETE FROM t")
	require.NoError(t, err)
	_, err = s.Exec()
	require.Equal(t, sqlite3.ErrReadonly, code(err))
	require.Equal(t, "1", testdb.Text(t, tx, "SELECT count(*) FROM t"))
	require.NoError(t, tx.Commit())
	require.Equal(t, "2", testdb.Text(t, db, "SELECT count(*) FROM t"))
	for range 4 {
		free(t, db)
	}
	_, err = db.BeginTx(ctx, &sql.TxOptions{Isolation: 99})
	require.ErrorContains(t, err, "99")
}

// Ensure that a deferred transaction with a stale snapshot gets an error when
// it comes to write. A retry cures it.
func TestTx_deferred(t *testing.T) {
	db := newTable(t, "?_txlock=deferred")
	testdb.Exec(t, db, "INSERT INTO t(n) VALUES(1)")
	tx, err := db.Begin()
	require.NoError(t, err)
	require.Equal(t, "1", testdb.Text(t, tx, "SELECT max(n) FROM t"))
	testdb.Exec(t, db, "INSERT INTO t(n) VALUES(2)")
	require.Equal(t, "1", testdb.Text(t, tx, "SELECT max(n) FROM t"))
	_, err = tx.Exec("UPDATE t SET n=n+100")
	require.True(t, driver.IsStaleSnapshot(err), "%v", err)
	require.Equal(t, sqlite3.ErrBusy, code(err))
	require.False(t, driver.IsStaleSnapshot(errors.New("x")))
	free(t, db)
	require.NoError(t, tx.Rollback())

	tx, err = db.Begin()
	require.NoError(t, err)
	testdb.Exec(t, tx, "UPDATE t SET n=n+100")
	require.Equal(t, "102", testdb.Text(t, tx, "SELECT max(n) FROM t"))
	require.NoError(t, tx.Commit())
	free(t, db)
}

// Ensure that transactions begun by words on a connection work as the words
// say. One that is left open is rolled back when the connection goes back.
func TestTx_typed(t *testing.T) {
	db := newTable(t, "")
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	exec := func(query string) {
		t.Helper()
		testdb.Exec(t, conn, query)
	}
	exec("BEGIN")
	exec("INSERT INTO t(n) VALUES(1)")
	require.Equal(t, "0", testdb.Text(t, db, "SELECT count(*) FROM t"))
	exec("SAVEPOINT a")
	exec("INSERT INTO t(n) VALUES(2)")
	exec("ROLLBACK TO a")
	exec("RELEASE a")
	exec("END")
	free(t, db)
	require.Equal(t, "1", testdb.Text(t, db, "SELECT count(*) FROM t"))

	exec("SAVEPOINT outer")
	exec("DELETE FROM t")
	exec("ROLLBACK TO outer")
	exec("RELEASE outer")
	free(t, db)
	exec("BEGIN IMMEDIATE")
	exec("DELETE FROM t")
	require.NoError(t, conn.Close())
	free(t, db)
	require.Equal(t, "1", testdb.Text(t, db, "SELECT count(*) FROM t"))
}

// Ensure that a transaction that SQLite or a statement has ended behind the
// caller's back takes no more statements. So nothing is committed by itself.
func TestTx_over(t *testing.T) {
	db := newTable(t, "")
	testdb.Exec(t, db, "INSERT INTO t(n) VALUES(1)")
	deferred := testdb.Open(t, testdb.Path(t)+"?_txlock=deferred")
	testdb.Exec(t, deferred, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT UNIQUE); INSERT INTO t(n) VALUES(1)")
	for _, tt := range []struct {
		db   *sql.DB
		opts sql.TxOptions
		end  string
	}{
		{db, sql.TxOptions{}, "INSERT OR ROLLBACK INTO t(n) VALUES(1)"},
		{db, sql.TxOptions{}, "ROLLBACK"},
		{db, sql.TxOptions{}, "COMMIT"},
		{db, sql.TxOptions{}, "SELECT 1; COMMIT"},
		{db, sql.TxOptions{ReadOnly: true}, "COMMIT"},
		{db, sql.TxOptions{ReadOnly: true}, "ROLLBACK"},
		{deferred, sql.TxOptions{}, "COMMIT"},
		{deferred, sql.TxOptions{}, "INSERT OR ROLLBACK INTO t(n) VALUES(1)"},
	} {
		db, end := tt.db, tt.end
		tx, err := db.BeginTx(ctx, &tt.opts)
		require.NoError(t, err)
		testdb.Exec(t, tx, "SAVEPOINT s; RELEASE s")
		require.Equal(t, "1", testdb.Text(t, tx, "SELECT n FROM t"))
		_, _ = tx.Exec(end)
		free(t, db)
		before := testdb.Text(t, db, "SELECT count(*) FROM t")
		_, err = tx.Exec("INSERT INTO t(n) VALUES(555)")
		require.ErrorIs(t, err, driver.ErrTxOver, end)
		_, err = tx.Query("SELECT 1")
		require.ErrorIs(t, err, driver.ErrTxOver)
		_, err = tx.Prepare("SELECT 1")
		require.ErrorIs(t, err, driver.ErrTxOver)
		if end == "COMMIT" {
			require.ErrorIs(t, tx.Commit(), driver.ErrTxOver)
		} else {
			require.NoError(t, tx.Rollback())
		}
		require.Equal(t, before, testdb.Text(t, db, "SELECT count(*) FROM t"))
		testdb.Exec(t, db, "UPDATE t SET n=n")
		free(t, db)
	}
}

// Ensure that a commit that fails, by a deferred constraint, leaves nothing of
// the transaction and the lock free.
func TestTx_commitFails(t *testing.T) {
	db := testdb.Open(t, testdb.Path(t)+"?_fk=1")
	testdb.Exec(t, db, "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
	tx, err := db.Begin()
	require.NoError(t, err)
	testdb.Exec(t, tx, "INSERT INTO c VALUES(1)")
	require.Equal(t, sqlite3.ErrConstraint, code(tx.Commit()))
	free(t, db)
	require.Equal(t, "0", testdb.Text(t, db, "SELECT count(*) FROM c"))
}

const forever = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c) "

// Ensure that a context stops the statement that runs under it, in every way to
// run one, and nothing else. It stops neither the next one nor other rows of
// the same transaction.
func TestCancel_statement(t *testing.T) {
	db := newTable(t, "")
	testdb.Exec(t, db, "INSERT INTO t(n) SELECT value FROM json_each('[1,2,3,4,5,6,7,8]')")
	tx, err := db.Begin()
	require.NoError(t, err)
	open, err := tx.Query("SELECT n FROM t ORDER BY n")
	require.NoError(t, err)
	defer open.Close()
	require.True(t, open.Next())

	for _, run := range []func(context.Context) error{
		func(ctx context.Context) error {
			return tx.QueryRowContext(ctx, forever+"SELECT count(*) FROM c").Scan(new(int))
		},
		func(ctx context.Context) error {
			rows, err := tx.QueryContext(ctx, forever+"SELECT i FROM c WHERE i=1 OR i<0")
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
			}
			return rows.Err()
		},
		func(ctx context.Context) error {
			_, err := tx.ExecContext(ctx, forever+"SELECT count(*) FROM c")
			return err
		},
		func(ctx context.Context) error {
			s, err := tx.PrepareContext(ctx, forever+"SELECT count(*) FROM c WHERE i<?")
			if err != nil {
				return err
			}
			defer s.Close()
			return s.QueryRowContext(ctx, 0).Scan(new(int))
		},
	} {
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		require.ErrorIs(t, run(short), context.DeadlineExceeded)
		cancel()
		require.Equal(t, "8", testdb.Text(t, tx, "SELECT count(*) FROM t"))
	}
	n := 1
	for open.Next() {
		n++
	}
	require.NoError(t, open.Err())
	require.Equal(t, 8, n)
	testdb.Exec(t, tx, "INSERT INTO t(n) VALUES(9)")
	require.NoError(t, tx.Commit())
	require.Equal(t, "9", testdb.Text(t, db, "SELECT count(*) FROM t"))
}

// Ensure that a context that ends reaches no statement that comes after its own,
// whether that ran to its end or not.
func TestCancel_next(t *testing.T) {
	db := newTable(t, "")
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	defer conn.Close()
	for name, run := range map[string]func(context.Context) error{
		"query": func(ctx context.Context) error { return conn.QueryRowContext(ctx, "SELECT 1").Scan(new(int)) },
		"exec":  func(ctx context.Context) error { _, err := conn.ExecContext(ctx, "SELECT 1"); return err },
		"write": func(ctx context.Context) error { _, err := conn.ExecContext(ctx, "DELETE FROM t"); return err },
		"returning": func(ctx context.Context) error {
			return conn.QueryRowContext(ctx, "INSERT INTO t DEFAULT VALUES RETURNING 1").Scan(new(int))
		},
		"error": func(ctx context.Context) error { _, err := conn.ExecContext(ctx, "SELECT nothing"); return ignore(err) },
		"rows left": func(ctx context.Context) error {
			rows, err := conn.QueryContext(ctx, "SELECT 1 UNION ALL SELECT 2")
			require.NoError(t, err)
			require.True(t, rows.Next())
			return rows.Close()
		},
	} {
		short, cancel := context.WithCancel(ctx)
		require.NoError(t, run(short), name)
		cancel()
		var n int
		// Long enough for SQLite to ask whether it is to stop.
		require.NoError(t, conn.QueryRowContext(ctx, forever+"SELECT count(*) FROM (SELECT i FROM c LIMIT 30000)").Scan(&n), name)
		require.Equal(t, 30000, n)
	}
}

func ignore(error) error { return nil }

// Ensure that an interrupted write in a transaction ends the transaction. Later
// statements are refused instead of committed by themselves.
func TestCancel_writeInTx(t *testing.T) {
	db := newTable(t, "")
	tx, err := db.Begin()
	require.NoError(t, err)
	testdb.Exec(t, tx, "INSERT INTO t(n) VALUES(1)")
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = tx.ExecContext(short, forever+"INSERT INTO t(n) SELECT i+10 FROM c")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	free(t, db)
	_, err = tx.Exec("INSERT INTO t(n) VALUES(2)")
	require.ErrorIs(t, err, driver.ErrTxOver)
	require.ErrorIs(t, tx.Commit(), driver.ErrTxOver)
	require.Equal(t, "0", testdb.Text(t, db, "SELECT count(*) FROM t"))
	free(t, db)
}

// Ensure that a transaction whose context ends is rolled back, and that its
// connection, the only one, is as good as new.
func TestCancel_tx(t *testing.T) {
	db := newTable(t, "")
	db.SetMaxOpenConns(1)
	for i := range 50 {
		txCtx, cancel := context.WithCancel(ctx)
		tx, err := db.BeginTx(txCtx, &sql.TxOptions{ReadOnly: i%3 == 0})
		require.NoError(t, err)
		if i%3 != 0 {
			testdb.Exec(t, tx, "INSERT INTO t(n) VALUES(?)", i)
		}
		cancel()
		require.Error(t, tx.Commit())
		free(t, db)
		require.Equal(t, "0", testdb.Text(t, db, "SELECT count(*) FROM t"))
	}
}

// Ensure that contexts that end at any moment, of statements, rows and
// transactions, disturb no other: no lost update, no leaked lock.
func TestCancel_storm(t *testing.T) {
	db := newTable(t, "")
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	testdb.Exec(t, db, "INSERT INTO t(id, n) VALUES(1, 0)")
	var wg sync.WaitGroup
	var mu sync.Mutex
	committed := 0
	deadline := time.Now().Add(1500 * time.Millisecond)
	for g := range 16 {
		wg.Go(func() {
			for i := 0; time.Now().Before(deadline); i++ {
				c, cancel := context.WithTimeout(ctx, time.Duration((i*37+g*101)%700)*time.Microsecond)
				switch i % 4 {
				case 0:
					tx, err := db.BeginTx(c, nil)
					if err != nil {
						break
					}
					_, err = tx.ExecContext(c, "UPDATE t SET n=n+1 WHERE id=1")
					if err == nil {
						err = tx.Commit()
					} else {
						_ = tx.Rollback()
					}
					if err == nil {
						mu.Lock()
						committed++
						mu.Unlock()
					}
				case 1:
					if _, err := db.ExecContext(c, "UPDATE t SET n=n+1 WHERE id=1"); err == nil {
						mu.Lock()
						committed++
						mu.Unlock()
					}
				case 2:
					rows, err := db.QueryContext(c, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<2000) SELECT i FROM c")
					if err != nil {
						break
					}
					for rows.Next() {
					}
					_ = rows.Close()
				case 3:
					if err := db.QueryRowContext(ctx, "SELECT n FROM t WHERE id=1").Scan(new(int)); err != nil {
						t.Errorf("a statement without a context failed: %v", err)
					}
				}
				cancel()
			}
		})
	}
	wg.Wait()
	var n int
	require.NoError(t, db.QueryRow("SELECT n FROM t WHERE id=1").Scan(&n))
	require.Positive(t, committed)
	require.Equal(t, committed, n, "commits that were reported and commits that were made")
	free(t, db)
}

// Ensure that a panic in a function of the user's, in the middle of a
// transaction, reaches the caller and gives the lock back. Only the uncommitted
// changes and that connection are lost.
func TestPanic(t *testing.T) {
	path := testdb.Path(t)
	name := "sqlite-mem-panic"
	sql.Register(name, &driver.Driver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		return c.RegisterFunc("boom", func() int { panic("boom") }, false)
	}})
	db := testdb.OpenWith(t, name, path)
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	require.PanicsWithValue(t, "boom", func() { _, _ = db.Exec("INSERT INTO t VALUES(boom())") })
	free(t, db)

	// By the interfaces of the driver: database/sql itself loses a connection
	// in which a query panics.
	c, err := db.Driver().Open(path)
	require.NoError(t, err)
	tx, err := c.(sqldriver.ConnBeginTx).BeginTx(ctx, sqldriver.TxOptions{})
	require.NoError(t, err)
	_, err = c.(sqldriver.ExecerContext).ExecContext(ctx, "INSERT INTO t VALUES(1)", nil)
	require.NoError(t, err)
	require.PanicsWithValue(t, "boom", func() { _, _ = c.(sqldriver.QueryerContext).QueryContext(ctx, "SELECT boom()", nil) })
	free(t, db)
	require.ErrorIs(t, tx.Rollback(), sqldriver.ErrBadConn)
	require.False(t, c.(sqldriver.Validator).IsValid())
	require.NoError(t, c.Close())
	free(t, db)
	require.Equal(t, "0", testdb.Text(t, db, "SELECT count(*) FROM t"))
}

// Ensure that a prepared statement that is not closed before its connection
// keeps nothing alive: database/sql loses some when connections expire.
func TestClose_openStatement(t *testing.T) {
	path := testdb.Path(t)
	c, err := (&driver.Driver{}).Open(path)
	require.NoError(t, err)
	s, err := c.(sqldriver.ConnPrepareContext).PrepareContext(ctx, "CREATE TABLE t(x)")
	require.NoError(t, err)
	_, err = s.(sqldriver.StmtExecContext).ExecContext(ctx, nil)
	require.NoError(t, err)
	require.NoError(t, c.Close(), "the store is closed, so it is not in use any more")
	require.NoError(t, s.Close())
	_, err = s.(sqldriver.StmtExecContext).ExecContext(ctx, nil)
	require.ErrorIs(t, err, sqldriver.ErrBadConn)
	require.Equal(t, "0", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
}

// Ensure that the write locks are free and no epoch is pinned after a
// connection ends, in any state and by any end. No uncommitted change is there.
// The connection is as good as new or not used again.
func TestLock_everyEnd(t *testing.T) {
	name := "sqlite-mem-ends"
	sql.Register(name, &driver.Driver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		return c.RegisterFunc("boom", func() int { panic("boom") }, false)
	}})
	middles := map[string]func(t *testing.T, c *sql.Conn) (close func()){
		"nothing": nil,
		"typed immediate": func(t *testing.T, c *sql.Conn) func() {
			testdb.Exec(t, c, "BEGIN IMMEDIATE; INSERT INTO t VALUES(1)")
			return nil
		},
		"typed deferred": func(t *testing.T, c *sql.Conn) func() {
			testdb.Exec(t, c, "BEGIN; INSERT INTO t VALUES(1)")
			return nil
		},
		"typed reading": func(t *testing.T, c *sql.Conn) func() { testdb.Exec(t, c, "BEGIN; SELECT * FROM t"); return nil },
		"savepoint": func(t *testing.T, c *sql.Conn) func() {
			testdb.Exec(t, c, "SAVEPOINT a; INSERT INTO t VALUES(1)")
			return nil
		},
		"attached": func(t *testing.T, c *sql.Conn) func() {
			testdb.Exec(t, c, "BEGIN; INSERT INTO o.t VALUES(1)")
			return nil
		},
		"both": func(t *testing.T, c *sql.Conn) func() {
			testdb.Exec(t, c, "BEGIN IMMEDIATE; INSERT INTO t VALUES(1); INSERT INTO o.t VALUES(1)")
			return nil
		},
		"attached reading": func(t *testing.T, c *sql.Conn) func() { testdb.Exec(t, c, "BEGIN; SELECT * FROM o.t"); return nil },
		"rows": func(t *testing.T, c *sql.Conn) func() {
			rows, err := c.QueryContext(ctx, "SELECT value FROM json_each('[1,2,3]'), (SELECT count(*) FROM t)")
			require.NoError(t, err)
			require.True(t, rows.Next())
			return func() { _ = rows.Close() }
		},
		"returning in a transaction": func(t *testing.T, c *sql.Conn) func() {
			testdb.Exec(t, c, "BEGIN")
			rows, err := c.QueryContext(ctx, "INSERT INTO t VALUES(1), (2) RETURNING x")
			require.NoError(t, err)
			require.True(t, rows.Next())
			return func() { _ = rows.Close() }
		},
		"raw": func(t *testing.T, c *sql.Conn) func() {
			require.NoError(t, c.Raw(func(c any) error {
				_, err := c.(driver.RawConn).Raw().Exec("BEGIN; INSERT INTO t VALUES(1)", nil)
				return err
			}))
			return nil
		},
		"BeginTx": func(t *testing.T, c *sql.Conn) func() {
			tx, err := c.BeginTx(ctx, nil)
			require.NoError(t, err)
			testdb.Exec(t, tx, "INSERT INTO t VALUES(1)")
			return func() { _ = tx.Rollback() }
		},
		"BeginTx read-only": func(t *testing.T, c *sql.Conn) func() {
			tx, err := c.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
			require.NoError(t, err)
			return func() { _ = tx.Rollback() }
		},
	}
	ends := map[string]func(t *testing.T, db *sql.DB, c *sql.Conn){
		"close": func(*testing.T, *sql.DB, *sql.Conn) {},
		"error": func(t *testing.T, _ *sql.DB, c *sql.Conn) {
			_, err := c.ExecContext(ctx, "SELECT * FROM t; nonsense")
			require.Error(t, err)
		},
		"cancel": func(t *testing.T, _ *sql.DB, c *sql.Conn) {
			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			defer cancel()
			_, err := c.ExecContext(short, forever+"SELECT count(*) FROM c")
			require.ErrorIs(t, err, context.DeadlineExceeded)
		},
		"panic": func(t *testing.T, _ *sql.DB, c *sql.Conn) {
			require.PanicsWithValue(t, "boom", func() { _, _ = c.ExecContext(ctx, "SELECT boom()") })
		},
		"ErrBadConn": func(t *testing.T, _ *sql.DB, c *sql.Conn) {
			require.ErrorIs(t, c.Raw(func(any) error { return sqldriver.ErrBadConn }), sqldriver.ErrBadConn)
		},
		"panic in Raw": func(t *testing.T, _ *sql.DB, c *sql.Conn) {
			require.PanicsWithValue(t, "boom", func() { _ = c.Raw(func(any) error { panic("boom") }) })
		},
		"close the DB": func(t *testing.T, db *sql.DB, c *sql.Conn) { require.NoError(t, db.Close()) },
	}
	for middle, begin := range middles {
		for end, finish := range ends {
			t.Run(middle+", "+end, func(t *testing.T) {
				const noSaves = "?sqlite_sync_interval=0" // which take time
				path, otherPath := testdb.Path(t), testdb.Path(t)
				db, watch, other := testdb.OpenWith(t, name, path+noSaves), testdb.Open(t, path+noSaves), testdb.Open(t, otherPath+noSaves)
				testdb.Exec(t, watch, "CREATE TABLE t(x)")
				testdb.Exec(t, other, "CREATE TABLE t(x)")
				db.SetMaxOpenConns(1)
				c, err := db.Conn(ctx)
				require.NoError(t, err)
				testdb.Exec(t, c, "ATTACH ? AS o", otherPath)
				var stop func()
				if begin != nil {
					stop = begin(t, c)
				}
				if stop != nil && (end == "ErrBadConn" || end == "panic in Raw") {
					stop() // database/sql waits for that, for ever
					stop = nil
				}
				finish(t, db, c)
				if stop != nil {
					stop()
				}
				_ = c.Close() // of a bad connection, an error
				for _, left := range []*sql.DB{watch, other} {
					free(t, left)
					require.Equal(t, "0", testdb.Text(t, left, "SELECT count(*) FROM t"))
					st, err := driver.ReadStats(left)
					require.NoError(t, err)
					require.Zero(t, st.OldestReader, "a state is held")
				}
				if end != "close the DB" {
					testdb.Exec(t, db, "INSERT INTO t VALUES(5)") // by the only connection
				}
			})
		}
	}
}

// Ensure that a database which Deserialize loads through Raw becomes that of
// all connections once the connection goes back. It has the changes made to it
// meanwhile. The connection is not used again.
func TestRaw_deserialize(t *testing.T) {
	db := newTable(t, "?sqlite_wal=off") // a save or flush is a connection too
	db.SetMaxOpenConns(1)
	testdb.Exec(t, db, "INSERT INTO t(n) VALUES(1)")
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	require.NoError(t, conn.Raw(func(c any) error {
		raw := c.(driver.RawConn).Raw()
		b, err := raw.Serialize("main")
		if err != nil {
			return err
		}
		if err = raw.Deserialize(b, "main"); err != nil {
			return err
		}
		_, err = raw.Exec("INSERT INTO t(n) VALUES(5)", nil)
		return err
	}))
	testdb.Exec(t, conn, "INSERT INTO t(n) VALUES(6)")
	require.NoError(t, conn.Close())
	require.Equal(t, "1,5,6", testdb.Text(t, db, "SELECT group_concat(n) FROM t"))
	testdb.Exec(t, db, "INSERT INTO t(n) VALUES(2)")
	free(t, db)
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, 1, st.Connections)
}
