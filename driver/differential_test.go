//go:build cgo

package driver_test

import (
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

var (
	programs = flag.Int("programs", 40, "random programs that the differential test runs")
	seed     = flag.Uint64("seed", 1, "seed of its first program")
)

// Ensure that random programs do the same on this driver as on go-sqlite3 with
// a file. Each row is compared with its column names, declared and Go types.
// Each error is compared with its codes and text, each result with its rows
// affected and last insert id. In the end all of the database is compared, and
// of its saved file.
//
// A statement runs by Exec or Query, prepared or not, alone, in a string of
// several, or in a transaction. Arguments are positional or named. Statements
// are kept across changes of the schema, and rows are read while others change
// them. The programs attach a file on the disk and one that is here in memory.
// Page sizes, encodings, vacuum modes and small caches differ between programs.
//
// It runs -programs of them, and goes on until -long is over.
func TestDifferential(t *testing.T) {
	begin, statements, n := time.Now(), 0, *seed
	for ; n < *seed+uint64(*programs) || time.Since(begin) < *long; n++ {
		ok := t.Run(fmt.Sprint(n), func(t *testing.T) {
			g := &generator{Rand: rand.New(rand.NewPCG(n, 7))}
			g.steps = 40 + g.IntN(80)
			statements += runProgram(t, g)
		})
		if !ok {
			break
		}
	}
	t.Logf("%d programs, %d statements", n-*seed, statements)
}

// FuzzDifferential is TestDifferential on programs that the bytes decide.
// What it begins with is in testdata.
func FuzzDifferential(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		runProgram(t, &generator{Rand: rand.New(&byteSource{rest: b}), steps: min(len(b)/8, 100)})
	})
}

// byteSource makes random numbers. While there are bytes of a fuzzer, these are
// the upper bits, by which IntN chooses.
type byteSource struct {
	rest []byte
	n    uint64
}

func (s *byteSource) Uint64() uint64 {
	s.n += 0x9e3779b97f4a7c15
	low := s.n ^ s.n>>29 // or IntN would reject too many
	if len(s.rest) == 0 {
		return low
	}
	b := s.rest[0]
	s.rest = s.rest[1:]
	return uint64(b)<<56 | low>>8
}

// runProgram runs a program and returns the number of its statements.
func runProgram(t *testing.T, g *generator) int {
	params := g.pick("_fk=1", "_fk=0&_cslike=1", "_loc=auto", "_auto_vacuum=1", "_rt=1", "_secure_delete=on", "_cache_size=1", "_auto_vacuum=2&_cache_size=3", "_stmt_cache_size=0", "_stmt_cache_size=3")
	setup := fmt.Sprintf("PRAGMA page_size=%d; PRAGMA encoding='%s'; PRAGMA cache_spill=%s", 512<<g.IntN(8), g.pick("UTF-8", "UTF-8", "UTF-16le", "UTF-16be"), g.pick("1", "1", "20", "0"))
	setupOther := setup + fmt.Sprintf("; PRAGMA page_size=%d; PRAGMA auto_vacuum=%s; CREATE TABLE o(a, b, c)", 512<<g.IntN(8), g.pick("0", "1", "2"))
	open := func(name, dir string) (db, other *sql.DB, conn *sql.Conn) {
		path, otherPath := filepath.Join(dir, "a.db"), filepath.Join(dir, "o.db")
		if name == driver.Name {
			db, other = testdb.Open(t, path+"?"+params), testdb.Open(t, otherPath)
		} else {
			db, other = testdb.Plain(t, path+"?_sync=off&_txlock=immediate&"+strings.ReplaceAll(params, "_stmt_cache_size=3", "_stmt_cache_size=0")), testdb.Plain(t, otherPath+"?_sync=off")
		}
		first, err := other.Conn(ctx)
		require.NoError(t, err)
		testdb.Exec(t, first, setupOther)
		require.NoError(t, first.Close())
		conn, err = db.Conn(ctx)
		require.NoError(t, err)
		testdb.Exec(t, conn, setup)
		testdb.Exec(t, conn, "ATTACH '"+filepath.Join(dir, "b.db")+"' AS att; ATTACH '"+otherPath+"' AS oth; PRAGMA att.synchronous=OFF; PRAGMA oth.synchronous=OFF")
		return db, other, conn
	}
	plainDir, memDir := t.TempDir(), t.TempDir()
	plainDB, plainOther, plain := open("sqlite3", plainDir)
	memDB, memOther, mem := open(driver.Name, memDir)

	p := &program{T: t, g: g, plain: plain, mem: mem}
	for range g.steps {
		p.step()
	}
	for _, k := range p.kept {
		require.NoError(t, errors.Join(k.plain.Close(), k.mem.Close()))
	}
	// go-sqlite3 leaves a transaction open in the connection that goes back.
	p.both("COMMIT", func(c *sql.Conn) string { return run(c, 0, "COMMIT", nil) })
	run(plain, 0, "ROLLBACK", nil)
	run(mem, 0, "ROLLBACK", nil)
	for _, schema := range []string{"main", "att", "oth"} {
		query := "SELECT * FROM pragma_integrity_check('" + schema + "')"
		p.both(query, func(c *sql.Conn) string { return run(c, 1, query, nil) })
	}
	require.NoError(t, plain.Close())
	require.NoError(t, mem.Close())
	require.Equal(t, dump(t, plainDB), dump(t, memDB), p.history())
	require.Equal(t, dump(t, plainOther), dump(t, memOther), p.history())
	testdb.Close(t, memDB)
	testdb.Close(t, memOther)
	for _, name := range []string{"a.db", "b.db", "o.db"} { // what was saved, and what was attached
		require.Equal(t, dump(t, testdb.Plain(t, filepath.Join(plainDir, name))), dump(t, testdb.Plain(t, filepath.Join(memDir, name))), name+"\n"+p.history())
	}
	return len(p.done)
}

// program is a random program while it runs.
type program struct {
	*testing.T
	g          *generator
	plain, mem *sql.Conn
	kept       []keptStmt
	done       []string // what was run, for the message of a failure
}

// keptStmt is a statement that was prepared, and is run again later on.
type keptStmt struct {
	plain, mem *sql.Stmt
	query      string
	args       []any
}

func (p *program) history() string { return strings.Join(p.done, "\n") }

// both runs f on both drivers, which must tell the same.
func (p *program) both(what string, f func(c *sql.Conn) string) {
	p.Helper()
	p.done = append(p.done, what)
	plain := f(p.plain)
	require.Equal(p, plain, f(p.mem), p.history())
}

// step runs the next statement in some way.
func (p *program) step() {
	g := p.g
	query, args := g.statement()
	how := g.IntN(10)
	if g.IntN(3) == 0 {
		query, args = g.name(query, args)
	}
	switch {
	case nothing(query):
		how = 0 // go-sqlite3 crashes when one is prepared and queried
	case how == 6 && (g.control(query) || strings.Contains(query, "ROLLBACK")):
		how = 0 // a Tx that is over is told so here
	case strings.Contains(query, "incremental_vacuum"):
		how = 1 // Exec of go-sqlite3 ends with its first row, which is the first page
	}
	what := fmt.Sprintf("%d: %s %.60q", how, query, args)
	switch how {
	case 5:
		p.prepared(query, args)
	case 6:
		commit, more := g.steps%2 == 0, g.IntN(3)
		queries, list := []string{query}, [][]any{args}
		for range more {
			q, a := g.statement()
			if !g.control(q) && !strings.Contains(q, "ROLLBACK") && !strings.Contains(q, "incremental_vacuum") {
				queries, list = append(queries, q), append(list, a)
				what += fmt.Sprintf("\n   then %s %.60q", q, a)
			}
		}
		p.both(what, func(c *sql.Conn) string { return runTx(c, queries, list, commit) })
	case 7:
		p.several(query, args)
	case 8:
		p.whileReading()
	default:
		p.both(what, func(c *sql.Conn) string { return run(c, how, query, args) })
	}
}

// prepared prepares a statement to be kept, or runs one that was.
func (p *program) prepared(query string, args []any) {
	g := p.g
	if len(p.kept) < 5 {
		plain, errA := p.plain.PrepareContext(ctx, query)
		mem, errB := p.mem.PrepareContext(ctx, query)
		require.Equal(p, fmt.Sprint(errA), fmt.Sprint(errB), p.history())
		if errA == nil {
			p.kept = append(p.kept, keptStmt{plain, mem, query, args})
		}
		return
	}
	k := p.kept[g.IntN(len(p.kept))]
	// A prepared statement that has rows is left open by Exec of go-sqlite3.
	exec := g.IntN(2) == 0 && !strings.Contains(k.query, "RETURNING") && !strings.HasPrefix(k.query, "SELECT") && !strings.HasPrefix(k.query, "PRAGMA")
	args = nil
	for _, arg := range k.args {
		value := g.value()
		if named, is := arg.(sql.NamedArg); is {
			args = append(args, sql.Named(named.Name, value))
		} else {
			args = append(args, value)
		}
	}
	p.both(fmt.Sprintf("kept, exec %v: %s %.60q", exec, k.query, args), func(c *sql.Conn) string {
		s := k.plain
		if c == p.mem {
			s = k.mem
		}
		if exec {
			res, err := s.ExecContext(ctx, args...)
			return outcome(res, nil, err, k.query)
		}
		rows, err := s.QueryContext(ctx, args...)
		return outcome(nil, rows, err, k.query)
	})
}

// several runs some statements as one string.
func (p *program) several(query string, args []any) {
	g := p.g
	how, queries := g.IntN(2), []string{query}
	args = slices.Clone(args)
	for range 1 + g.IntN(3) {
		q, a := g.statement()
		if g.IntN(3) == 0 {
			q, a = g.name(q, a)
		}
		// go-sqlite3 takes the result of the empty text behind a statement. It ends a
		// statement that it does not query at its first row.
		if !nothing(q) && !strings.Contains(q, "incremental_vacuum") {
			queries, args = append(queries, q), append(args, a...)
		}
	}
	query = strings.Join(queries, g.pick("; ", ";", ";\n-- and\n", " ;; "))
	p.both(fmt.Sprintf("several, %d: %s %.60q", how, query, args), func(c *sql.Conn) string { return run(c, how, query, args) })
}

// whileReading opens rows in a transaction and runs statements between them.
func (p *program) whileReading() {
	g := p.g
	p.both("BEGIN", func(c *sql.Conn) string { return run(c, 0, "BEGIN", nil) })
	type reader struct{ plain, mem *sql.Rows }
	var readers []reader
	open := func(query string, args []any) {
		p.done = append(p.done, fmt.Sprintf("open %d: %s %.60q", len(readers), query, args))
		plain, errA := p.plain.QueryContext(ctx, query, args...)
		mem, errB := p.mem.QueryContext(ctx, query, args...)
		require.Equal(p, outcome(nil, nil, errA, query), outcome(nil, nil, errB, query), p.history())
		if errA == nil {
			readers = append(readers, reader{plain, mem})
		}
	}
	for range 1 + g.IntN(2) {
		query := fmt.Sprintf("SELECT %s FROM %s%s", g.pick("*", "a, b, c", "rowid, a", "a, changes()"), g.table(), g.pick("", " ORDER BY a", " WHERE a>0", " ORDER BY b DESC"))
		open(query, nil)
		if g.IntN(3) == 0 {
			open(query, nil) // in use
		}
	}
	for range g.IntN(12) {
		query, args := g.statement()
		if len(readers) > 0 && g.IntN(2) == 0 {
			i := g.IntN(len(readers))
			p.done = append(p.done, fmt.Sprintf("next %d", i))
			require.Equal(p, nextRow(readers[i].plain), nextRow(readers[i].mem), p.history())
			continue
		}
		if nothing(query) || g.control(query) || strings.Contains(query, "ROLLBACK") || strings.Contains(query, "BEGIN;") || strings.Contains(query, "incremental_vacuum") {
			continue // behind the transaction rows are read ahead
		}
		how := g.IntN(4)
		p.both(fmt.Sprintf("%d, reading: %s %.60q", how, query, args), func(c *sql.Conn) string { return run(c, how, query, args) })
	}
	for i, r := range readers {
		p.done = append(p.done, fmt.Sprintf("rest of %d", i))
		for {
			plain := nextRow(r.plain)
			require.Equal(p, plain, nextRow(r.mem), p.history())
			if !strings.HasPrefix(plain, "row ") || g.IntN(40) == 0 {
				break
			}
		}
		require.Equal(p, fmt.Sprint(r.plain.Close()), fmt.Sprint(r.mem.Close()), p.history())
	}
	end := g.pick("COMMIT", "ROLLBACK")
	p.both(end, func(c *sql.Conn) string { return run(c, 0, end, nil) })
}

// nextRow tells the next row, the end or the error.
func nextRow(rows *sql.Rows) string {
	if !rows.Next() {
		return "end " + outcome(nil, nil, rows.Err(), "")
	}
	columns, err := rows.Columns()
	if err != nil {
		return "error " + err.Error()
	}
	return "row " + row(rows, len(columns))
}

// row tells the current row.
func row(rows *sql.Rows, columns int) string {
	values := make([]any, columns)
	for i := range values {
		values[i] = new(any)
	}
	if err := rows.Scan(values...); err != nil {
		return "error " + err.Error()
	}
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, "%T:%v|", *v.(*any), *v.(*any))
	}
	return b.String()
}

// nothing reports whether a text has no statement.
func nothing(query string) bool {
	query = strings.TrimSpace(query)
	return query == "" || strings.HasPrefix(query, "--")
}

// runTx runs statements in a transaction of their own, which is committed or
// rolled back.
func runTx(c *sql.Conn, queries []string, args [][]any, commit bool) string {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return outcome(nil, nil, err, queries[0])
	}
	var told strings.Builder
	for i, query := range queries {
		if i%2 == 0 {
			res, err := tx.ExecContext(ctx, query, args[i]...)
			fmt.Fprintln(&told, outcome(res, nil, err, query))
		} else {
			rows, err := tx.QueryContext(ctx, query, args[i]...)
			fmt.Fprintln(&told, outcome(nil, rows, err, query))
		}
	}
	if commit {
		return told.String() + " commit " + outcome(nil, nil, tx.Commit(), "")
	}
	return told.String() + " rollback " + outcome(nil, nil, tx.Rollback(), "")
}

// run runs a statement in one of four ways and tells all that can be seen of it.
func run(c place, how int, query string, args []any) string {
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
			return outcome(nil, nil, prepareErr, query)
		}
		defer s.Close()
		if how == 2 {
			res, err = s.ExecContext(ctx, args...)
		} else {
			rows, err = s.QueryContext(ctx, args...)
		}
	}
	return outcome(res, rows, err, query)
}

// outcome tells what a statement has done: its result, or all its rows, or its
// error.
func outcome(res sql.Result, rows *sql.Rows, err error, query string) string {
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
	if err != nil {
		return fail(err)
	}
	if rows == nil && res == nil {
		return "ok"
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
		b.WriteString(row(rows, len(columns)) + "\n")
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	return b.String()
}

// generator makes statements over a few names, so that they meet.
type generator struct {
	*rand.Rand
	steps int
}

func (g *generator) pick(s ...string) string { return s[g.IntN(len(s))] }

func (g *generator) table() string {
	return g.pick("t1", "t2", "t3", "t4", "main.t1", "att.t1", "temp.t9", "v1", "oth.o", "oth.t2")
}

// control reports whether a statement begins or ends a transaction.
func (g *generator) control(query string) bool {
	for _, word := range []string{"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"} {
		if strings.HasPrefix(query, word) {
			return true
		}
	}
	return false
}

// name gives names to arguments, most often to all, shuffles those, and adds one
// that no parameter has.
func (g *generator) name(query string, args []any) (string, []any) {
	if len(args) == 0 || strings.Count(query, "?") != len(args) {
		return query, args // named already
	}
	var b strings.Builder
	var named, list []any
	all := g.IntN(3) > 0
	for i, arg := range args {
		before, behind, _ := strings.Cut(query, "?")
		query = behind
		b.WriteString(before)
		if !all && g.IntN(2) == 0 {
			b.WriteString("?")
			list = append(list, arg)
			continue
		}
		name := fmt.Sprintf("n%d", i)
		b.WriteString(g.pick(":", "@", "$") + name)
		if all {
			named = append(named, sql.Named(name, arg))
		} else {
			list = append(list, sql.Named(name, arg)) // the place counts for the others
		}
	}
	b.WriteString(query)
	if all {
		g.Shuffle(len(named), func(i, j int) { named[i], named[j] = named[j], named[i] })
		list = named
		if g.IntN(4) == 0 {
			list = append(list, sql.Named("unknown", 1))
		}
	}
	return b.String(), list
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
	switch g.IntN(40) {
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
	case 30, 31:
		// Many rows, more than a small cache can hold.
		return fmt.Sprintf("WITH RECURSIVE x(i) AS (SELECT %d UNION ALL SELECT i+1 FROM x LIMIT %d) INSERT OR IGNORE INTO %s(a, b, c) SELECT i, i%%7, hex(zeroblob(%d)) FROM x",
			g.IntN(300), g.IntN(300), table, g.IntN(300)), nil
	case 32:
		return g.pick(fmt.Sprintf("PRAGMA page_size=%d; VACUUM", 512<<g.IntN(8)), "PRAGMA auto_vacuum=0; VACUUM", "PRAGMA auto_vacuum=1; VACUUM", "PRAGMA auto_vacuum=2; VACUUM",
			"PRAGMA incremental_vacuum(3)", "PRAGMA att.incremental_vacuum", "VACUUM oth", "PRAGMA auto_vacuum", "PRAGMA page_size", "PRAGMA oth.page_count", "PRAGMA encoding", "PRAGMA oth.user_version=3"), nil
	case 33:
		return g.pick("PRAGMA cache_size=1", "PRAGMA cache_size=-2000", "PRAGMA cache_spill=1", "PRAGMA cache_spill=0", "PRAGMA temp_store=2", "PRAGMA recursive_triggers=1", "PRAGMA defer_foreign_keys=1",
			"PRAGMA ignore_check_constraints", "PRAGMA secure_delete=1", "PRAGMA reverse_unordered_selects=1", "PRAGMA count_changes", "PRAGMA query_only=1", "PRAGMA query_only=0", "PRAGMA shrink_memory", "PRAGMA optimize"), nil
	case 34:
		return g.pick("CREATE VIRTUAL TABLE f USING fts3(body)", "INSERT INTO f VALUES('the quick fox')", "INSERT INTO f SELECT c FROM t1", "SELECT * FROM f WHERE f MATCH 'quick'", "DELETE FROM f", "DROP TABLE f", "INSERT INTO f(f) VALUES('optimize')",
			"CREATE VIRTUAL TABLE r USING rtree(id, x0, x1)", "INSERT INTO r VALUES(1, 2, 3)", "SELECT * FROM r WHERE x0<5", "DROP TABLE r"), nil
	case 35:
		return g.pick("BEGIN; SAVEPOINT s1; INSERT INTO t1(a) VALUES(77); ROLLBACK TO s1; RELEASE s1; COMMIT", "SAVEPOINT s1; SAVEPOINT s1; DELETE FROM t2; ROLLBACK TO s1; RELEASE s1", "BEGIN; DELETE FROM t1; INSERT INTO oth.o VALUES(1, 2, 3); ROLLBACK",
			"BEGIN; INSERT INTO oth.o VALUES(1, 2, 3); UPDATE t1 SET b=b; COMMIT", "SAVEPOINT s3; DELETE FROM oth.o; ROLLBACK TO s3; RELEASE s3", "BEGIN; BEGIN", "INSERT INTO t1(a) VALUES(5); nonsense", "DETACH att", "DETACH nothing"), nil
	case 36:
		return fmt.Sprintf("UPDATE %s SET b=x.b FROM (SELECT a, b FROM t2) AS x WHERE %s.a=x.a RETURNING *", g.pick("t1", "t3"), g.pick("t1", "t3")), nil
	case 37:
		return fmt.Sprintf("REPLACE INTO %s(a, b, c) VALUES(?, ?, ?) RETURNING rowid, a", table), []any{g.value(), g.value(), g.value()}
	case 38:
		return fmt.Sprintf("SELECT a, row_number() OVER (ORDER BY a, b, c), sum(b) OVER (PARTITION BY b) FROM %s ORDER BY 1, 2, 3", table), nil
	case 39:
		return fmt.Sprintf("CREATE TABLE %s AS SELECT * FROM %s", g.pick("t3", "t4", "oth.t2", "att.t1"), g.pick("t1", "t2", "oth.o")), nil
	case 24:
		return "SELECT :a, @b, $c, ?1", []any{sql.Named("a", g.value()), sql.Named("b", g.value()), sql.Named("c", g.value())}
	}
	return fmt.Sprintf("INSERT OR %s INTO %s(a, b, c) VALUES(?, ?, ?)", g.pick("ABORT", "IGNORE", "REPLACE", "FAIL", "ROLLBACK"), table),
		[]any{g.value(), g.value(), g.value()}
}
