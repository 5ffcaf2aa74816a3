//go:build cgo

package driver_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// The checks of theirTests that run statements: results, arguments, several in a
// string, transactions, the cache.

func checkInsert(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER)")
	p.result(db.Exec("INSERT INTO t(id) VALUES(123)"))
	p.rows(db.Query("SELECT id FROM t"))
	require.Equal(p, []string{"int64:123"}, all(p, db, "SELECT id FROM t"))
}

func checkUpsert(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(name string PRIMARY KEY, counter INTEGER)")
	for range 10 {
		res, err := db.Exec("INSERT INTO t(name, counter) VALUES('key', 1) ON CONFLICT(name) DO UPDATE SET counter=counter+1")
		require.NoError(p, err)
		n, err := res.RowsAffected()
		require.NoError(p, err)
		require.EqualValues(p, 1, n)
		p.result(res, nil)
	}
	require.Equal(p, []string{"string:key|int64:10"}, all(p, db, "SELECT * FROM t"))
}

// changed is what a result tells.
func (p *peer) changed(res sql.Result, err error) (id, rows int64) {
	p.Helper()
	require.NoError(p, err)
	id, err = res.LastInsertId()
	require.NoError(p, err)
	rows, err = res.RowsAffected()
	require.NoError(p, err)
	return id, rows
}

func checkUpdate(p *peer) { p.change("UPDATE t SET id=234", []string{"int64:234"}) }
func checkDelete(p *peer) { p.change("DELETE FROM t WHERE id=123", nil) }

// change inserts a row and changes it by query, behind which left is left.
func (p *peer) change(query string, left []string) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER)")
	inserted, rows := p.changed(db.Exec("INSERT INTO t(id) VALUES(123)"))
	require.EqualValues(p, 1, rows)
	id, rows := p.changed(db.Exec(query))
	require.EqualValues(p, 1, rows)
	require.Equal(p, inserted, id)
	require.Equal(p, left, all(p, db, "SELECT id FROM t"))
	p.result(db.Exec(query + " AND 0"))
}

func checkResult(p *peer) {
	conn := p.pinned("?_busy_timeout=99999")
	testdb.Exec(p, conn, "CREATE TEMPORARY TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(10))")
	for i := range int64(3) {
		id, rows := p.changed(conn.ExecContext(ctx, "INSERT INTO t(name) VALUES(?)", fmt.Sprint("row ", i)))
		require.Equal(p, i+1, id)
		require.EqualValues(p, 1, rows)
	}
	_, err := conn.ExecContext(ctx, "error!")
	require.Error(p, err)
	p.tell(err)
}

func checkManyQueries(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, name VARCHAR(50)); INSERT INTO t VALUES(1, 'bob')")
	for range 2000 {
		require.Equal(p, "bob", testdb.Text(p, db, "SELECT name FROM t WHERE id=?", 1))
	}
}

func checkExecComment(p *peer) {
	id, rows := p.changed(p.open("").Exec(" -- this is nothing but a comment "))
	p.tell(id, rows)
}

func checkSeveral(p *peer) {
	db := p.open("")
	// The result is that of the last statement here, of the comment in go-sqlite3.
	testdb.Exec(p, db, `
		CREATE TABLE t(id INTEGER); -- a comment
		INSERT INTO t(id) VALUES(?);
		INSERT INTO t(id) VALUES(?);
		INSERT INTO t(id) VALUES(?); -- and another
		`, 1, 2, 3)
	require.Equal(p, []string{"int64:1", "int64:2", "int64:3"}, all(p, db, "SELECT id FROM t"))
}

func checkBlanks(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "\n\t\tCREATE TABLE t(id INTEGER);\n\t")
	testdb.Exec(p, db, "\n\tINSERT INTO t(id) VALUES(?);\n\tINSERT INTO t(id) VALUES(?);\n\tINSERT INTO t(id) VALUES(?);\n", 3, 2, 1)
	p.rows(db.Query("\n\t\tSELECT id FROM t ORDER BY id;\n\t"))
	require.Equal(p, []string{"int64:1", "int64:2", "int64:3"}, all(p, db, "\n\t\tSELECT id FROM t ORDER BY id;\n\t"))
}

func checkComments(p *peer) {
	db := p.open("")
	for _, query := range []string{"", "   ", "-- comment", "---- comment\n", "/* block */", ";", "\ufeff", "-- a\n;-- b\n"} {
		var x int
		require.ErrorIs(p, db.QueryRow(query).Scan(&x), sql.ErrNoRows, "%q", query)
		rows, err := db.Query(query)
		require.NoError(p, err, "%q", query)
		require.False(p, rows.Next())
		p.tell(rows.Err())
		require.NoError(p, rows.Close())
		p.result(db.Exec(query))
	}
}

func checkNamed(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER, name TEXT, extra TEXT)")
	p.result(db.Exec("INSERT INTO t VALUES(:id, :name, :name)", sql.Named("name", "x"), sql.Named("id", 1)))
	p.rows(db.Query("SELECT id, extra FROM t WHERE id=:id AND extra=:extra", sql.Named("id", 1), sql.Named("extra", "x")))
	require.Equal(p, "x", testdb.Text(p, db, "SELECT extra FROM t WHERE id=:id AND extra=:extra", sql.Named("id", 1), sql.Named("extra", "x")))
}

func checkNamedAmongOthers(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER, name TEXT, amount INTEGER)")
	testdb.Exec(p, db, "INSERT INTO t VALUES(:id, @name, $amount)", sql.Named("bar", 42), sql.Named("baz", "quux"),
		sql.Named("amount", 123), sql.Named("corge", "waldo"), sql.Named("id", 2), sql.Named("name", "grault"))
	require.Equal(p, []string{"int64:2|string:grault|int64:123"}, all(p, db, "SELECT * FROM t"))
}

func checkNothingStays(p *peer) {
	db := p.open("")
	db.SetMaxOpenConns(1) // so that the cache has the statement
	testdb.Exec(p, db, "CREATE TABLE t(x INTEGER, y INTEGER, z TEXT)")
	const query = "INSERT INTO t VALUES($x, $y, $z)"
	testdb.Exec(p, db, query, sql.Named("x", 1), sql.Named("y", 2), sql.Named("z", "three"))
	testdb.Exec(p, db, query, sql.Named("x", 10), sql.Named("y", nil), sql.Named("z", nil))
	testdb.Exec(p, db, query, sql.Named("x", 20), sql.Named("q", 1), sql.Named("r", "no parameter"))
	require.Equal(p, []string{"int64:10|<nil>:<nil>|<nil>:<nil>", "int64:1|int64:2|string:three", "int64:20|<nil>:<nil>|<nil>:<nil>"}, all(p, db, "SELECT * FROM t"))
}

func checkMissingArgs(p *peer) {
	db := p.open("")
	const want = "not enough args to execute query: want 1 got 0"
	_, err := db.Exec("SELECT ?; SELECT ?", "hello")
	require.EqualError(p, err, want)
	p.tell(err)
	_, err = db.Exec("SELECT ?")
	require.EqualError(p, err, want)
	_, err = db.Query("SELECT ?; SELECT ?", "hello")
	require.EqualError(p, err, want)
	_, err = db.Query("SELECT ?, ?", "hello")
	p.tell(err)
}

func checkStopsAtMissingArgs(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(x INTEGER)")
	_, err := db.Exec("INSERT INTO t VALUES(7); INSERT INTO t VALUES(?); INSERT INTO t VALUES(9)")
	require.Error(p, err)
	p.tell(err)
	require.Equal(p, "7", testdb.Text(p, db, "SELECT group_concat(coalesce(x, 'NULL')) FROM t"))
}

func checkDeferredKey(p *peer) {
	db := p.open("?_foreign_keys=1")
	testdb.Exec(p, db, "CREATE TABLE bar(id INTEGER PRIMARY KEY)")
	testdb.Exec(p, db, "CREATE TABLE foo(bar_id INTEGER, FOREIGN KEY(bar_id) REFERENCES bar(id) DEFERRABLE INITIALLY DEFERRED)")
	tx, err := db.Begin()
	require.NoError(p, err)
	p.result(tx.Exec("INSERT INTO foo(bar_id) VALUES(123)"))
	err = tx.Commit()
	require.Error(p, err)
	p.tell(err)
	tx, err = db.Begin()
	require.NoError(p, err)
	p.rows(tx.Query("SELECT count(*) FROM foo"))
	require.NoError(p, tx.Rollback())
}

func checkTransaction(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER)")
	tx, err := db.Begin()
	require.NoError(p, err)
	testdb.Exec(p, tx, "INSERT INTO t VALUES(1)")
	rows, err := tx.Query("SELECT id FROM t")
	require.NoError(p, err)
	require.NoError(p, tx.Rollback())
	require.False(p, rows.Next())
	p.tell(rows.Err(), rows.Close())

	tx, err = db.Begin()
	require.NoError(p, err)
	testdb.Exec(p, tx, "INSERT INTO t VALUES(1)")
	require.NoError(p, tx.Commit())
	_, err = tx.Query("SELECT id FROM t")
	require.Error(p, err)
	p.tell(err, tx.Commit(), tx.Rollback())
	p.rows(db.Query("SELECT id FROM t"))
}

func checkTxQuery(p *peer) {
	db := p.open("?_busy_timeout=99999")
	tx, err := db.Begin()
	require.NoError(p, err)
	testdb.Exec(p, tx, "CREATE TABLE t(id INTEGER PRIMARY KEY, name VARCHAR(50))")
	testdb.Exec(p, tx, "INSERT INTO t VALUES(?, ?)", 1, "bob")
	p.rows(tx.Query("SELECT name FROM t WHERE id=?", 1))
	require.Equal(p, "bob", testdb.Text(p, tx, "SELECT name FROM t WHERE id=?", 1))
	require.NoError(p, tx.Rollback())
	_, err = db.Query("SELECT name FROM t")
	p.tell(err)
}

func checkPrepared(p *peer) {
	db := p.open("?_busy_timeout=99999")
	testdb.Exec(p, db, "CREATE TABLE t(count INT)")
	query, err := db.Prepare("SELECT count FROM t ORDER BY count DESC")
	require.NoError(p, err)
	insert, err := db.Prepare("INSERT INTO t VALUES(?)")
	require.NoError(p, err)
	for n := range 3 {
		p.result(insert.Exec(n + 1))
	}
	var all sync.WaitGroup
	failed := make(chan error, 200)
	for i := range 10 {
		all.Go(func() {
			for j := range 10 {
				var n int
				err := query.QueryRow().Scan(&n)
				_, insertErr := insert.Exec((i*10 + j) % 97)
				if err = errors.Join(err, insertErr); err != nil {
					failed <- err
				}
			}
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		require.NoError(p, err)
	}
	require.NoError(p, query.Close())
	require.NoError(p, insert.Close())
	require.Equal(p, "103", testdb.Text(p, db, "SELECT count(*) FROM t"))
}

func checkRawReadOnly(p *peer) {
	conn := p.pinned("")
	testdb.Exec(p, conn, "CREATE TABLE t(count INT)")
	for query, want := range map[string]bool{"SELECT * FROM t": true, "INSERT INTO t VALUES(1), (2)": false} {
		p.rawOf(conn, func(c *sqlite3.SQLiteConn) error {
			s, err := c.Prepare(query)
			require.NoError(p, err)
			require.Equal(p, want, s.(*sqlite3.SQLiteStmt).Readonly(), query)
			return s.Close()
		})
	}
}

// columnsOf are the columns of a query.
func (p *peer) columnsOf(rows *sql.Rows, err error) string {
	p.Helper()
	require.NoError(p, err)
	columns, err := rows.Columns()
	require.NoError(p, err)
	require.NoError(p, rows.Close())
	return strings.Join(columns, " ")
}

func checkCacheSchema(p *peer) {
	path := testdb.Path(p)
	db := p.openAt("file:" + path + "?_stmt_cache_size=8")
	db.SetMaxOpenConns(1)
	testdb.Exec(p, db, "CREATE TABLE t(a TEXT); INSERT INTO t VALUES('x')")
	const query = "SELECT * FROM t"
	require.Equal(p, "a", p.columnsOf(db.Query(query)))
	testdb.Exec(p, db, "ALTER TABLE t ADD COLUMN b TEXT")
	require.Equal(p, "a b", p.columnsOf(db.Query(query)))
	other := p.openAt("file:" + path)
	testdb.Exec(p, other, "ALTER TABLE t ADD COLUMN c TEXT")
	require.NoError(p, other.Close())
	require.Equal(p, "a b c", p.columnsOf(db.Query(query)))
	require.Equal(p, []string{"string:x|<nil>:<nil>|<nil>:<nil>"}, all(p, db, query))
}

func checkCacheTempSchema(p *peer) {
	db := p.open("?_stmt_cache_size=8")
	db.SetMaxOpenConns(1)
	testdb.Exec(p, db, "CREATE TEMP TABLE t(a TEXT)")
	require.Equal(p, "a", p.columnsOf(db.Query("SELECT * FROM t")))
	testdb.Exec(p, db, "ALTER TABLE t ADD COLUMN b TEXT")
	require.Equal(p, "a b", p.columnsOf(db.Query("SELECT * FROM t")))
}

func checkCacheInTx(p *peer) {
	db := p.open("?_stmt_cache_size=8")
	db.SetMaxOpenConns(1)
	testdb.Exec(p, db, "CREATE TABLE t(a TEXT)")
	require.Equal(p, "a", p.columnsOf(db.Query("SELECT * FROM t")))
	tx, err := db.Begin()
	require.NoError(p, err)
	testdb.Exec(p, tx, "ALTER TABLE t ADD COLUMN b TEXT")
	require.Equal(p, "a b", p.columnsOf(tx.Query("SELECT * FROM t")))
	require.NoError(p, tx.Commit())
	require.Equal(p, "a b", p.columnsOf(db.Query("SELECT * FROM t")))
}
