//go:build cgo

package driver_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// mirror is a copy of a database that reads only what it is told has changed.
type mirror struct {
	*watching
	db     *sql.DB
	tables map[string]string // content by name
}

func newMirror(t *testing.T, db *sql.DB) *mirror {
	m := &mirror{watching: watch(t, db), db: db, tables: make(map[string]string)}
	for _, name := range tableNames(t, db) {
		m.tables[name] = content(t, db, name)
	}
	return m
}

// tableNames are those of a database, with sqlite_schema, shadow tables and SQLite's
// statistics. sqlite_sequence is not reported.
func tableNames(t *testing.T, db *sql.DB) []string {
	return append(strings.Fields(testdb.Text(t, db, "SELECT coalesce(group_concat(name, ' '), '') FROM sqlite_schema WHERE type='table' AND name<>'sqlite_sequence'")), "sqlite_schema")
}

// content is the content of a table, with rowids, empty if there is no such table.
func content(t *testing.T, db *sql.DB, table string) string {
	rows, err := db.Query("SELECT rowid, * FROM " + table)
	if err != nil { // WITHOUT ROWID
		if rows, err = db.Query("SELECT * FROM " + table); err != nil {
			return ""
		}
	}
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var b strings.Builder
	fmt.Fprintln(&b, columns)
	for rows.Next() {
		b.WriteString(row(rows, len(columns)) + "\n")
	}
	require.NoError(t, rows.Err())
	return b.String()
}

// check takes the commits so far, and compares the copy with the database.
func (m *mirror) check(history func() string) (reported string) {
	m.Helper()
	before := m.last
	reported = m.upTo(m.db)
	names := tableNames(m.T, m.db)
	if reported == "all" {
		clear(m.tables)
		for _, name := range names {
			m.tables[name] = content(m.T, m.db, name)
		}
	}
	for _, name := range strings.Fields(reported) {
		delete(m.tables, name)
		if now := content(m.T, m.db, name); now != "" && reported != "all" {
			m.tables[name] = now
		}
	}
	if m.last == before {
		return reported // there was no commit, and the comparison takes time
	}
	for _, name := range names {
		if now, copied := content(m.T, m.db, name), m.tables[name]; now != copied {
			m.Fatalf("%s has changed and was not reported, only %q\n%s", name, reported, history())
		}
	}
	return reported
}

// step is a statement that writes tables which others follow: by triggers, also on a virtual
// table, by foreign keys, and through a view.
func (g *generator) follow() (string, []any) {
	n := func() any { return g.IntN(9) }
	switch g.IntN(12) {
	case 0, 1:
		return "INSERT OR " + g.pick("REPLACE", "IGNORE", "ABORT") + " INTO p VALUES(?, ?)", []any{n(), n()}
	case 2, 3:
		return "INSERT OR IGNORE INTO c1 VALUES(?, (SELECT a FROM p WHERE a>? LIMIT 1))", []any{n(), n()}
	case 4:
		return "INSERT OR REPLACE INTO c2 VALUES(?, (SELECT a FROM c1 WHERE a>? LIMIT 1))", []any{n(), n()}
	case 5:
		return "DELETE FROM p WHERE a=?", []any{n()}
	case 6:
		return "UPDATE OR IGNORE p SET a=? WHERE a=?", []any{n(), n()}
	case 7:
		return "INSERT INTO vp VALUES(?, ?) RETURNING *", []any{n(), n()}
	case 8:
		return "INSERT INTO p VALUES(?, ?) ON CONFLICT(a) DO UPDATE SET a=excluded.a+1, b=?", []any{n(), n(), n()}
	case 9:
		return "DELETE FROM l", nil
	case 10:
		return "DELETE FROM c1 WHERE a>?", []any{n()}
	}
	return "INSERT INTO n VALUES(?)", []any{g.pick("quick", "brown", "fox")}
}

const followSetUp = `CREATE TABLE p(a INTEGER PRIMARY KEY, b); CREATE TABLE c1(a INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE);
	CREATE TABLE c2(a PRIMARY KEY, c REFERENCES c1 ON DELETE SET NULL) WITHOUT ROWID; CREATE TABLE l(x); CREATE TABLE m(x UNIQUE);
	CREATE TRIGGER tp AFTER INSERT ON p BEGIN INSERT INTO l VALUES(new.a); END; CREATE TRIGGER tl AFTER DELETE ON l BEGIN INSERT OR REPLACE INTO m VALUES(old.x); END;
	CREATE VIEW vp AS SELECT a, b FROM p; CREATE TRIGGER tv INSTEAD OF INSERT ON vp BEGIN UPDATE m SET x=x+100 WHERE x=new.a; INSERT OR IGNORE INTO p VALUES(new.a, new.b); END;
	CREATE TABLE n(x); CREATE VIRTUAL TABLE ft USING fts3(x); CREATE TRIGGER tn AFTER INSERT ON n BEGIN INSERT INTO ft VALUES(new.x); END`

// Ensure that a copy which reads again only the tables that are reported equals the database
// after each commit of random programs. They run the statements of TestDifferential, and
// others whose triggers and foreign keys write more. Two connections run them, each with
// a second store attached, alone, prepared, and in transactions.
//
// It runs a third of -programs, and goes on until a third of -long is over.
func TestWatch_mirror(t *testing.T) {
	begin, all, named := time.Now(), 0, 0
	for n := *seed; n < *seed+uint64(max(*programs/3, 1)) || time.Since(begin) < *long/3; n++ {
		ok := t.Run(fmt.Sprint(n), func(t *testing.T) {
			a, b := runMirrored(t, &generator{Rand: rand.New(rand.NewPCG(n, 9))})
			all, named = all+a, named+b
		})
		if !ok {
			return
		}
	}
	require.Greater(t, named, all, "most commits name their tables")
	t.Logf("%d changes with all tables, %d with their names", all, named)
}

// runMirrored runs a program and counts the changes.
func runMirrored(t *testing.T, g *generator) (all, named int) {
	db := testdb.Open(t, testdb.Path(t)+"?_fk=1&_busy_timeout=1000&"+g.pick("_stmt_cache_size=off", "_auto_vacuum=1", "_recursive_triggers=1", "_txlock=deferred"))
	otherPath := testdb.Path(t)
	other := testdb.Open(t, otherPath)
	testdb.Exec(t, db, followSetUp)
	testdb.Exec(t, other, "CREATE TABLE o(a, b, c)")
	var conns []*sql.Conn
	for range 2 {
		c, err := db.Conn(ctx)
		require.NoError(t, err)
		defer c.Close()
		testdb.Exec(t, c, "ATTACH '"+otherPath+"' AS oth")
		conns = append(conns, c)
	}
	mirrors := []*mirror{newMirror(t, db), newMirror(t, other)}
	kept := make(map[*sql.Conn][]*sql.Stmt)
	var done []string
	c := conns[0]
	for range 100 {
		how := g.IntN(6)
		query, args := g.statement()
		if g.IntN(2) == 0 {
			query, args = g.follow()
		}
		switch {
		case g.IntN(8) == 0:
			end := g.pick("COMMIT", "COMMIT", "ROLLBACK") // there may be no transaction
			run(c, 0, end, nil)
			run(c, 0, "ROLLBACK", nil) // a constraint may have refused the COMMIT
			c = conns[g.IntN(len(conns))]
			done = append(done, end)
		case strings.Contains(query, "incremental_vacuum") || nothing(query):
			continue
		case how == 5 && !g.control(query) && !strings.Contains(query, "ROLLBACK"):
			more, moreArgs := g.follow()
			done = append(done, fmt.Sprintf("tx: %s %.60q; %s %.60q", query, args, more, moreArgs))
			runTx(c, []string{query, more}, [][]any{args, moreArgs}, g.IntN(3) > 0)
		case how == 4 && len(args) == 0:
			if s, err := c.PrepareContext(ctx, query); err == nil {
				defer s.Close()
				kept[c] = append(kept[c], s)
			}
		case how == 4 && len(kept[c]) > 0:
			k := g.IntN(len(kept[c]))
			done = append(done, fmt.Sprintf("kept %d", k))
			_, _ = kept[c][k].Exec()
		default:
			done = append(done, fmt.Sprintf("%d: %s %.60q", how%4, query, args))
			run(c, how%4, query, args)
		}
		for _, m := range mirrors {
			switch m.check(func() string { return strings.Join(done, "\n") }) {
			case "":
			case "all":
				all++
			default:
				named++
			}
		}
	}
	for _, c := range conns {
		run(c, 0, "ROLLBACK", nil)
	}
	return all, named
}
