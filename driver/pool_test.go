//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that a pool whose users leave all kinds of state behind shows each next user the same
// as a pool of go-sqlite3. A connection that stayed in the pool shows what its last user has
// left; one that the pool has closed, and the driver has kept, looks new.
//
// Up to four users at a time create temporary objects, set pragmas, attach databases, use Raw,
// prepare statements, and leave transactions open. Other statements go to the pool itself. Some
// of its rows stay open meanwhile. The pool keeps no, one, two or many idle connections.
//
// It runs -programs random programs, and goes on until -long is over.
func TestDifferential_pool(t *testing.T) {
	begin, statements, kept, n := time.Now(), 0, 0, *seed
	for ; n < *seed+uint64(*programs) || time.Since(begin) < *long; n++ {
		ok := t.Run(fmt.Sprint(n), func(t *testing.T) {
			p := newPoolProgram(t, &generator{Rand: rand.New(rand.NewPCG(n, 19))})
			for range 60 + p.g.IntN(120) {
				p.step()
			}
			p.end()
			statements, kept = statements+len(p.done), kept+p.kept
		})
		if !ok {
			break
		}
	}
	t.Logf("%d programs, %d steps, %d users left a connection that was kept", n-*seed, statements, kept)
	if os.Getenv(testdb.LiveEnv) == "" {
		require.Greater(t, kept, int(n-*seed), "connections were kept")
	}
}

// poolProgram is a random program on two pools, while it runs.
type poolProgram struct {
	*testing.T
	g      *generator
	dir    [2]string
	db     [2]*sql.DB // of go-sqlite3, and of this driver
	other  [2]*sql.DB // a database that is attached
	users  []*poolUser
	stmts  []poolStmt
	rows   [][2]*sql.Rows
	called [2]int // how often code of the users was called, given through Raw

	// contend is true if several users may write at once. A write that does not get the lock
	// does not run here. In go-sqlite3 it does: changes() is 0, query_only refuses it first, and
	// what IF EXISTS or IF NOT EXISTS leaves out needs no lock.
	contend bool

	done []string
	kept int
}

// poolUser is somebody who has a connection.
type poolUser struct {
	conn [2]*sql.Conn
	tx   *[2]*sql.Tx // nil: none was begun by BeginTx
}

// poolStmt is a prepared statement that is run again.
type poolStmt struct {
	stmt  [2]*sql.Stmt
	query string
	user  *poolUser // nil: of the pool
}

// place is where a statement can run.
type place interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	PrepareContext(context.Context, string) (*sql.Stmt, error)
}

func newPoolProgram(t *testing.T, g *generator) *poolProgram {
	p := &poolProgram{T: t, g: g, dir: [2]string{t.TempDir(), t.TempDir()}, contend: g.IntN(3) == 0}
	params := "?_busy_timeout=0&_sync=off&_cache_size=50&" + g.pick("_fk=1&_txlock=deferred", "_fk=1&_txlock=immediate", "_rt=1&_txlock=immediate", "_cslike=1&_txlock=deferred")
	idle := g.pick("0", "0", "1", "2", "lifetime", "many")
	p.done = append(p.done, params, "idle: "+idle)
	for i, open := range []func(testing.TB, string) *sql.DB{testdb.Plain, testdb.Open} {
		db, other := open(t, filepath.Join(p.dir[i], "a.db")+params), open(t, filepath.Join(p.dir[i], "o.db")+params)
		if i == 0 {
			// Only so a reader of go-sqlite3 stops no writer.
			testdb.Exec(t, db, "PRAGMA journal_mode=WAL")
			testdb.Exec(t, other, "PRAGMA journal_mode=WAL")
		}
		p.db[i], p.other[i] = db, other
		testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, x REFERENCES t DEFERRABLE, y CHECK(y<>'bad')); CREATE TABLE log(c, n)")
		testdb.Exec(t, db, p.query("CREATE TRIGGER tr AFTER DELETE ON t BEGIN INSERT INTO log SELECT changes(), total_changes(); DELETE FROM log WHERE c<0; INSERT INTO log SELECT changes(), total_changes(); END"))
		testdb.Exec(t, other, "CREATE TABLE t(id INTEGER PRIMARY KEY, x, y)")
		switch idle {
		case "0":
			db.SetMaxIdleConns(0)
		case "1":
			db.SetMaxIdleConns(1)
		case "many":
			db.SetMaxIdleConns(10)
		case "lifetime":
			db.SetConnMaxLifetime(1)
		}
	}
	t.Cleanup(p.close) // after a failure, or the pools could not be closed
	return p
}

func (p *poolProgram) history() string { return strings.Join(p.done, "\n") }

// both runs f on both sides, which must tell the same.
func (p *poolProgram) both(what string, f func(side int) string) {
	p.Helper()
	p.done = append(p.done, what)
	plain := f(0)
	require.Equal(p, plain, f(1), p.history())
	require.Equal(p, p.called[0], p.called[1], p.history())
}

// query is a query for this program.
func (p *poolProgram) query(query string) string {
	if p.contend {
		return strings.NewReplacer(" changes()", " 0", "query_only", "read_uncommitted", "IF NOT EXISTS main.", "main.", "IF NOT EXISTS i ", "i ", "IF EXISTS ", "").Replace(query)
	}
	return query
}

// run is the function run for this program.
func (p *poolProgram) run(side int, at place, how int, query string) string {
	query = strings.ReplaceAll(query, "DIR", p.dir[side])
	if strings.Contains(query, "RETURNING") {
		how |= 1 // Exec of go-sqlite3 ends with its first row, and tells no error of the commit
	}
	return p.comparable(query, run(at, how, query, nil))
}

// comparable is the part of an outcome in which the drivers agree.
func (p *poolProgram) comparable(query, text string) string {
	if row, err, found := strings.Cut(text, "\nerror "); found && strings.Contains(query, "RETURNING") && row != "" {
		return "error " + err // of the commit; here Query returns it
	}
	if changes, id, found := strings.Cut(text, " id "); found && p.contend && strings.HasPrefix(changes, "changes ") {
		return id
	}
	return text
}

// free reports whether nobody else has a transaction that the user would meet.
func (p *poolProgram) free(user *poolUser) bool {
	for _, u := range p.users {
		open := false
		require.NoError(p, u.conn[0].Raw(func(c any) error { open = !c.(*sqlite3.SQLiteConn).AutoCommit(); return nil }))
		if open && u != user && !p.contend {
			return false
		}
	}
	return true
}

func told(err error) string { return outcome(nil, nil, err, "") }

// step does one thing.
func (p *poolProgram) step() {
	g := p.g
	if len(p.users) == 0 || len(p.users) < 4 && g.IntN(10) == 0 {
		p.enter()
		return
	}
	u := g.IntN(len(p.users))
	user := p.users[u]
	switch g.IntN(16) {
	case 0, 1:
		p.leave(u)
	case 2:
		// The pool runs it on a connection of its choice, and takes that back at once.
		query := p.query(g.lasting())
		if !g.control(query) && p.free(nil) {
			how := g.IntN(4)
			p.both(fmt.Sprintf("pool, %d: %s", how, query), func(i int) string { return p.run(i, p.db[i], how, query) })
		}
	case 3:
		query := p.query(g.look())
		p.both("pool: "+query, func(i int) string { return p.run(i, p.db[i], 1, query) })
	case 4:
		p.begin(u, user)
	case 5:
		p.prepare(u, user)
	case 6, 7:
		p.prepared(user)
	case 8:
		p.read()
	case 9:
		if os.Getenv(testdb.LiveEnv) == "" {
			p.raw(u, user)
		}
	case 10:
		p.cancelled(u, user)
	case 11, 12:
		query := p.query(g.look())
		p.both(fmt.Sprintf("user %d: %s", u, query), func(i int) string { return p.run(i, user.place(i), 1, query) })
	default:
		query, how := p.query(g.lasting()), g.IntN(4)
		if user.tx != nil && (g.control(query) || strings.Contains(query, "ROLLBACK")) {
			return // a Tx that is over is told so here
		}
		if !p.free(user) {
			return
		}
		p.both(fmt.Sprintf("user %d, %d: %s", u, how, query), func(i int) string { return p.run(i, user.place(i), how, query) })
	}
}

// place is where the user's statements run.
func (u *poolUser) place(side int) place {
	if u.tx != nil {
		return u.tx[side]
	}
	return u.conn[side]
}

// enter takes a connection out of the pool, and looks at it most of the time.
func (p *poolProgram) enter() {
	user := &poolUser{}
	p.users = append(p.users, user)
	name := fmt.Sprintf("user %d", len(p.users)-1)
	p.both(name+" comes", func(i int) (text string) {
		var err error
		user.conn[i], err = p.db[i].Conn(ctx)
		return told(err)
	})
	for range p.g.IntN(4) {
		query := p.query(p.g.look())
		p.both(name+": "+query, func(i int) string { return p.run(i, user.conn[i], 1, query) })
	}
}

// leave gives the connection back. The driver then rolls back what is open, go-sqlite3 does not.
func (p *poolProgram) leave(u int) {
	user := p.users[u]
	if user.tx != nil {
		p.begin(u, user)
	}
	p.users = append(p.users[:u:u], p.users[u+1:]...)
	p.both(fmt.Sprintf("user %d leaves", u), func(i int) string {
		if i == 0 {
			run(user.conn[i], 0, "ROLLBACK", nil)
		}
		return told(user.conn[i].Close())
	})
	st, err := driver.ReadStats(p.db[1])
	require.NoError(p, err)
	if st.Kept > 0 {
		p.kept++
	}
}

// begin begins a transaction, or ends it.
func (p *poolProgram) begin(u int, user *poolUser) {
	name := fmt.Sprintf("user %d: ", u)
	if user.tx == nil {
		if !p.free(user) {
			return
		}
		tx := &[2]*sql.Tx{}
		user.tx = tx
		p.both(name+"BeginTx", func(i int) (text string) {
			var err error
			tx[i], err = user.conn[i].BeginTx(ctx, nil)
			return told(err)
		})
		if tx[0] == nil {
			user.tx = nil
		}
		return
	}
	commit := p.g.IntN(3) > 0
	p.both(fmt.Sprintf("%sends, commit %v", name, commit), func(i int) string {
		if commit {
			return told(user.tx[i].Commit())
		}
		return told(user.tx[i].Rollback())
	})
	user.tx = nil
}

// prepare prepares a statement of the pool, of a user's connection or of his transaction.
func (p *poolProgram) prepare(u int, user *poolUser) {
	query := p.query(p.g.lasting())
	if p.g.control(query) || strings.Contains(query, "ROLLBACK") || strings.Contains(query, "DIR") || p.contend && !strings.Contains(query, "main.t") {
		query = p.query(p.g.look()) // without the lock SQLite does not see that names have changed
	}
	if len(p.stmts) == 6 {
		s := p.stmts[0]
		p.stmts = p.stmts[1:]
		p.both("close the oldest statement", func(i int) string {
			_ = s.stmt[i].Close() // go-sqlite3 fails if the pool has closed its connection
			return ""
		})
	}
	s, what := poolStmt{query: query}, "pool"
	if p.g.IntN(3) > 0 {
		s.user, what = user, fmt.Sprintf("user %d", u)
	}
	p.both(what+" prepares "+query, func(i int) (text string) {
		var at place = p.db[i]
		if s.user != nil {
			at = user.place(i)
		}
		var err error
		s.stmt[i], err = at.PrepareContext(ctx, query)
		return told(err)
	})
	if s.stmt[0] != nil {
		p.stmts = append(p.stmts, s)
	}
}

// prepared runs a prepared statement. Its user may have left, or have a transaction now.
func (p *poolProgram) prepared(user *poolUser) {
	if len(p.stmts) == 0 {
		return
	}
	n := p.g.IntN(len(p.stmts))
	s, inTx := p.stmts[n], user.tx != nil && p.g.IntN(2) == 0
	at := s.user
	if inTx {
		at = user
	}
	if !p.free(at) {
		return
	}
	p.both(fmt.Sprintf("run statement %d, by Tx.Stmt %v", n, inTx), func(i int) string {
		stmt := s.stmt[i]
		if inTx {
			stmt = user.tx[i].StmtContext(ctx, stmt)
			defer stmt.Close()
		}
		rows, err := stmt.QueryContext(ctx)
		return p.comparable(s.query, outcome(nil, rows, err, s.query))
	})
}

// read opens rows of the pool, goes on with some, or closes them.
func (p *poolProgram) read() {
	g := p.g
	if len(p.rows) < 2 {
		rows := [2]*sql.Rows{}
		query := g.pick("SELECT id, x FROM main.t", "SELECT * FROM main.log ORDER BY n", "SELECT id FROM main.t WHERE id%2")
		p.both("pool, rows of "+query, func(i int) (text string) {
			var err error
			rows[i], err = p.db[i].QueryContext(ctx, query)
			return told(err)
		})
		if rows[0] != nil {
			p.rows = append(p.rows, rows)
		}
		return
	}
	n := g.IntN(len(p.rows))
	rows := p.rows[n]
	for range g.IntN(4) {
		p.both(fmt.Sprintf("next of rows %d", n), func(i int) string { return nextRow(rows[i]) })
	}
	if g.IntN(2) == 0 {
		p.rows = append(p.rows[:n:n], p.rows[n+1:]...)
		p.both(fmt.Sprintf("close rows %d", n), func(i int) string { return told(rows[i].Close()) })
	}
}

// raw does something by go-sqlite3's connection.
func (p *poolProgram) raw(u int, user *poolUser) {
	g := p.g
	what, n := g.pick("function", "collation", "authorizer", "commit hook", "rollback hook", "update hook", "limit", "INSERT INTO log VALUES(-5, -5)", "CREATE TEMP TABLE IF NOT EXISTS own(x)", "BEGIN", "PRAGMA case_sensitive_like=1"), g.IntN(3)
	if user.tx != nil && what == "BEGIN" || !p.free(user) || p.contend && (what == "authorizer" || strings.HasPrefix(what, "INSERT")) {
		return // without the lock the INSERT is SQLITE_LOCKED here; behind an authorizer each write takes it
	}
	p.both(fmt.Sprintf("user %d, Raw: %s %d", u, what, n), func(i int) string {
		called := func() int { p.called[i]++; return n }
		return told(user.conn[i].Raw(func(c any) error {
			raw, is := c.(*sqlite3.SQLiteConn)
			if !is {
				raw = c.(driver.RawConn).Raw()
			}
			switch what {
			case "function":
				return raw.RegisterFunc("f", called, false)
			case "collation":
				return raw.RegisterCollation("c", func(a, b string) int { return called() - 1 })
			case "authorizer":
				raw.RegisterAuthorizer(func(op int, table, _, _ string) int {
					if op == sqlite3.SQLITE_DELETE && table == "t" {
						return n // ok, deny or ignore
					}
					return sqlite3.SQLITE_OK
				})
			case "commit hook":
				raw.RegisterCommitHook(called) // which refuses the commit
			case "rollback hook":
				raw.RegisterRollbackHook(func() { called() })
			case "update hook":
				raw.RegisterUpdateHook(func(int, string, string, int64) { called() })
			case "limit":
				raw.SetLimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 3+n)
			default:
				_, err := raw.Exec(what, nil)
				return err
			}
			return nil
		}))
	})
}

// cancelled runs a statement whose context ends before, or while it runs.
func (p *poolProgram) cancelled(u int, user *poolUser) {
	query, wait := "INSERT INTO main.t(x) VALUES(NULL) RETURNING id", time.Duration(0)
	if p.g.IntN(4) == 0 {
		query, wait = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 2000000) SELECT max(i) FROM n", time.Millisecond // go-sqlite3 does not always stop it
	}
	inPool := wait == 0 && p.g.IntN(3) == 0 // or its new connection may not be open in time
	p.both(fmt.Sprintf("user %d, in the pool %v, cancelled after %v: %s", u, inPool, wait, query), func(i int) string {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		var at place = p.db[i]
		if !inPool {
			at = user.place(i)
		}
		rows, err := at.QueryContext(ctx, query)
		return outcome(nil, rows, err, query)
	})
}

// close ends all that is open.
func (p *poolProgram) close() {
	for i := range p.db {
		for _, r := range p.rows {
			if r[i] != nil {
				_ = r[i].Close()
			}
		}
		for _, u := range p.users {
			if u.tx != nil && u.tx[i] != nil {
				_ = u.tx[i].Rollback()
			}
			if u.conn[i] != nil {
				run(u.conn[i], 0, "ROLLBACK", nil)
				_ = u.conn[i].Close()
			}
		}
		for _, s := range p.stmts {
			_ = s.stmt[i].Close()
		}
	}
}

// end ends all that is open, and compares the databases.
func (p *poolProgram) end() {
	p.close()
	for i := range p.db {
		p.db[i].SetMaxIdleConns(0) // so that the next connections are new
	}
	require.Equal(p, dump(p.T, p.db[0]), dump(p.T, p.db[1]), p.history())
	require.Equal(p, dump(p.T, p.other[0]), dump(p.T, p.other[1]), p.history())
	disk := func(i int) string { return dump(p.T, testdb.Plain(p.T, filepath.Join(p.dir[i], "disk.db"))) }
	require.Equal(p, disk(0), disk(1), p.history())
}

// settings are pragmas that last as long as their connection, and those that the database keeps.
var settings = []string{"foreign_keys", "recursive_triggers", "case_sensitive_like", "defer_foreign_keys", "cache_size", "cache_spill", "query_only", "synchronous", "busy_timeout", "temp_store",
	"reverse_unordered_selects", "secure_delete", "automatic_index", "legacy_alter_table", "trusted_schema", "full_column_names", "short_column_names",
	"read_uncommitted", "writable_schema", "user_version", "application_id"}

// lasting makes a statement that changes a database, or what its connection shows later.
func (g *generator) lasting() string {
	table := g.pick("t", "t", "main.t", "temp.t", "att.t")
	switch g.IntN(20) {
	case 0, 1:
		return g.pick("BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "COMMIT", "COMMIT", "ROLLBACK", "SAVEPOINT s", "SAVEPOINT s2", "RELEASE s", "ROLLBACK TO s")
	case 2, 3:
		return fmt.Sprintf("PRAGMA %s=%d", g.pick(settings...), g.IntN(3))
	case 4, 5:
		return g.pick("CREATE TEMP TABLE t(id INTEGER PRIMARY KEY, x, y)", "CREATE TEMP TABLE IF NOT EXISTS own(x)", "DROP TABLE temp.t", "DROP TABLE own", "CREATE TEMP VIEW v AS SELECT count(*) AS n FROM t", "DROP VIEW v",
			"CREATE TEMP TRIGGER tt AFTER INSERT ON main.t BEGIN INSERT INTO log VALUES(-1, new.id); END", "DROP TRIGGER tt")
	case 6, 7:
		return g.pick("ATTACH ':memory:' AS att", "ATTACH 'DIR/disk.db' AS att", "ATTACH 'DIR/o.db' AS att", "DETACH att", "DETACH att", "CREATE TABLE IF NOT EXISTS att.t(id INTEGER PRIMARY KEY, x, y)", "ATTACH 'DIR/o.db' AS oth", "DETACH oth", "INSERT INTO oth.t(x) VALUES(1)")
	case 8:
		return g.pick("CREATE TABLE IF NOT EXISTS main.n(a)", "DROP TABLE IF EXISTS main.n", "ALTER TABLE main.n ADD COLUMN b DEFAULT 7", "INSERT INTO n SELECT 1", "CREATE INDEX IF NOT EXISTS i ON t(x)", "DROP INDEX IF EXISTS i", "CREATE VIEW IF NOT EXISTS main.v AS SELECT 'main' AS n")
	case 9:
		return g.pick("SELECT nonsense FROM t", "nonsense", "INSERT INTO "+table+"(y) VALUES('bad')", "INSERT INTO main.t(x) VALUES(-1)", "INSERT OR ROLLBACK INTO "+table+"(id) SELECT min(id) FROM t")
	case 10, 11:
		return fmt.Sprintf("DELETE FROM %s WHERE id=(SELECT max(id) FROM t WHERE id NOT IN (SELECT x FROM t WHERE x IS NOT NULL))", table)
	case 12:
		return fmt.Sprintf("UPDATE %s SET x=NULL WHERE id%%3=%d", table, g.IntN(4))
	case 13:
		return fmt.Sprintf("REPLACE INTO %s(id, x) SELECT max(id), NULL FROM t", table)
	case 14:
		return fmt.Sprintf("INSERT INTO %s(x) VALUES(NULL) RETURNING id", table)
	case 15:
		return fmt.Sprintf("INSERT INTO %s(x) SELECT max(id) FROM t", table)
	case 16:
		return "INSERT INTO log SELECT changes(), total_changes()"
	}
	return fmt.Sprintf("INSERT INTO %s(x) VALUES(NULL), (NULL)", table)
}

// look makes a query that shows the state of its connection. Most do not change it: a pragma
// and a name in temp are reason enough for the driver not to keep the connection.
func (g *generator) look() string {
	switch g.IntN(12) {
	case 0, 1, 2:
		return "SELECT last_insert_rowid(), changes(), total_changes()"
	case 3:
		return "SELECT changes()+total_changes() FROM t LIMIT 1"
	case 4:
		return "SELECT 'a' LIKE 'A'"
	case 5:
		return g.pick("SELECT f()", "SELECT 'a'<'B' COLLATE c", "SELECT ((((((1+1)+1)+1)+1)+1)+1)+count(*) FROM log")
	case 6:
		return "SELECT name, sql FROM temp.sqlite_schema"
	case 7:
		return "SELECT name FROM pragma_database_list"
	case 8:
		return "PRAGMA " + g.pick(settings...)
	case 9:
		return g.pick("SELECT * FROM own", "SELECT * FROM v", "SELECT count(*) FROM att.t", "SELECT * FROM n")
	case 10:
		return "SELECT count(*), sum(c), sum(n) FROM log"
	}
	return "SELECT id, x, y FROM t"
}
