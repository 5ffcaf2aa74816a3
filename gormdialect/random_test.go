//go:build cgo

package gormdialect_test

import (
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/gormdialect"
)

var (
	long = flag.Duration("long", 3*time.Second, "how long TestRandom runs")
	seed = flag.Uint64("seed", 0, "the only seed that TestRandom tries; 0 means many")
)

// Ensure that the mistakes which TestRandom has found stay fixed. They are written out,
// because a seed means something else when the generator changes.
func TestRandom_found(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup []string
		run   func(m gorm.Migrator) error
		query string // one value
		want  any
	}{
		{
			"a type in quotes, which SQLite tells of without",
			[]string{`CREATE TABLE t (a "my type", b [other type] DEFAULT "x")`, "INSERT INTO t VALUES (1, 2)"},
			func(m gorm.Migrator) error { return m.AlterColumn(model("column:a;type:text"), "a") },
			"SELECT typeof(a) || b FROM t", "text2",
		},
		{
			"the index of a constraint has another number when the key gets one",
			[]string{"CREATE TABLE t (a INTEGER PRIMARY KEY, b, UNIQUE (b, a))", "INSERT INTO t VALUES (1, 2)", "ANALYZE"},
			func(m gorm.Migrator) error { return m.AlterColumn(model("column:a;type:real;primaryKey"), "a") },
			"SELECT group_concat(idx) FROM sqlite_stat1", "sqlite_autoindex_t_2",
		},
		{
			"a key that becomes the rowid",
			[]string{"CREATE TABLE t (a INT PRIMARY KEY COLLATE NOCASE, b)", "INSERT INTO t VALUES (70, 1), (7, 2)"},
			func(m gorm.Migrator) error { return m.AlterColumn(model("column:a;type:integer;primaryKey"), "a") },
			"SELECT group_concat(rowid || '=' || b) FROM t", "7=2,70=1",
		},
		{
			"a name in double quotes in a trigger of another table",
			[]string{"CREATE TABLE t (a, b)", "CREATE TABLE log (x)", `CREATE TRIGGER tr AFTER UPDATE ON log BEGIN DELETE FROM t WHERE "b" = 'gone'; END`},
			func(m gorm.Migrator) error {
				if m.DropColumn("t", "b") == nil {
					return errors.New("dropped")
				}
				return nil
			},
			"SELECT count(*) FROM pragma_table_info('t')", int64(2),
		},
		{
			"a foreign key of the table itself",
			[]string{"CREATE TABLE t (a, b, FOREIGN KEY (b) REFERENCES t (a))"},
			func(m gorm.Migrator) error {
				if m.DropColumn("t", "a") == nil {
					return errors.New("dropped")
				}
				return nil
			},
			"SELECT count(*) FROM pragma_table_info('t')", int64(2),
		},
		{
			"the last name of the rowid becomes free",
			[]string{"CREATE TABLE t (rowid UNIQUE, oid, _rowid_)", "INSERT INTO t VALUES (3, 'x', 1), (1, 'y', 2)"},
			func(m gorm.Migrator) error { return m.DropColumn("t", "rowid") },
			"SELECT group_concat(rowid || oid || _rowid_) FROM t", "1x1,2y2",
		},
		{
			"a constraint that has no comma before it",
			[]string{"CREATE TABLE t (a, b, CONSTRAINT c CHECK (a <> 1) CONSTRAINT d CHECK (b <> 1))"},
			func(m gorm.Migrator) error { return errors.Join(m.DropConstraint("t", "c"), m.DropColumn("t", "b")) },
			"SELECT sql FROM sqlite_master WHERE name = 't'", `CREATE TABLE "t" (a )`,
		},
	} {
		db := open(t, gormdialect.Open(file(t)), quiet())
		for _, statement := range c.setup {
			require.NoError(t, db.Exec(statement).Error, c.name)
		}
		require.NoError(t, c.run(db.Table("t").Migrator()), c.name)
		var got any
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.QueryRow(c.query).Scan(&got))
		if s, ok := got.(string); ok {
			got = strings.Join(strings.Fields(s), " ")
		}
		require.Equal(t, c.want, got, c.name)
	}
}

// Ensure that a random migration of a random schema makes its change and no other, or
// is an error and changes nothing.
func TestRandom(t *testing.T) {
	counts := map[string]int{}
	run := func(seed uint64) {
		if !t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { randomMigrations(t, seed, counts) }) {
			t.Logf("again: go test ./gormdialect -run 'TestRandom$' -seed %d", seed)
		}
	}
	if *seed != 0 {
		run(*seed)
		t.Log(counts)
		return
	}
	end, tried := time.Now().Add(*long), 0
	for s := rand.Uint64() >> 16; time.Now().Before(end) && !t.Failed(); s++ {
		run(s)
		tried++
	}
	t.Logf("%d seeds, outcomes: %v", tried, counts)
	require.Greater(t, counts["done"], counts["refused"]/2, "most migrations are refused: %v", counts)
}

// refusals are the errors that an operation may return, as regular expressions. Either
// something is in its way that it must not remove, or the rows violate a new rule. An
// error of the guard is never one, except for an integer that a real cannot hold.
var refusals = map[string][]string{
	"": {
		"(UNIQUE|NOT NULL|CHECK|FOREIGN KEY) constraint failed", "datatype mismatch", "cannot store", "rows of .* refer to it",
		"a foreign key would be violated", "foreign key mismatch",
	},
	"AlterColumn": {
		"cannot have a default", "missing datatype", "unknown datatype", "more than one primary key", "AUTOINCREMENT is only allowed",
		"non-deterministic", "cannot use DEFAULT on a generated column",
	},
	"AutoMigrate":    {"cannot have a default", "unknown datatype"},
	"AddColumn":      {"unknown datatype"},
	"DropColumn":     {"drop that first", "there are no other columns", "would no longer work", "PRIMARY KEY missing"},
	"DropConstraint": {"has no constraint", "PRIMARY KEY missing"},
	// SQLite does this one alone.
	"RenameColumn": {"error in (view|trigger|index|table)", "cannot rename from rowid alias"},
}

// mayRefuse reports whether an error is one of the refusals of an operation.
func mayRefuse(op operation, err error) bool {
	// The error of ALTER TABLE, which was tried first, does not count.
	text, _, _ := strings.Cut(err.Error(), " (ALTER TABLE was tried first: ")
	patterns := slices.Concat(refusals[""], refusals[strings.Fields(op.name)[0]])
	switch {
	case op.to == "real":
		patterns = append(patterns, "(a row|column .*) would not be as before") // a row if the column is in the key
	case strings.HasPrefix(op.to, "int"):
		patterns = append(patterns, "a row would not be as before") // NULL in a column that becomes the rowid
	}
	return slices.ContainsFunc(patterns, func(p string) bool { return regexp.MustCompile("(?s)" + p).MatchString(text) })
}

func randomMigrations(t *testing.T, seed uint64, counts map[string]int) {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	enforce := g.chance(60)
	config := quiet()
	config.PrepareStmt = g.chance(30)
	name := ""
	if g.chance(15) {
		name = "sqlite3" // the dialect works on the plain driver as well
	}
	db := open(t, gormdialect.New(gormdialect.Config{DriverName: name, DSN: fmt.Sprintf("%s?_foreign_keys=%t", file(t), enforce)}), config)
	conns := pick(g, 0, 1, 1, 2)
	resize(t, db, conns)

	require.NoError(t, db.Exec("CREATE TABLE parents (id PRIMARY KEY, x)").Error)
	require.NoError(t, db.Exec("CREATE TABLE log (entry)").Error)
	require.NoError(t, db.Exec("INSERT INTO parents VALUES (1, 2), ('abc', 3), (7, 1), (NULL, 9)").Error)
	table, statements := g.table()
	if err := db.Exec(statements[0]).Error; err != nil {
		counts["no table"]++
		return // a generated combination that SQLite refuses
	}
	for _, statement := range g.around(table) {
		db.Exec(statement)
	}
	g.fill(db, table)
	if key := table.columns[0]; key.key && g.chance(50) {
		require.NoError(t, db.Exec("CREATE TABLE children (ref REFERENCES "+g.quoted(table.name)+" "+pick(g, "ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE RESTRICT", "ON DELETE SET DEFAULT", "")+pick(g, "", " DEFERRABLE INITIALLY DEFERRED")+")").Error)
		db.Exec("INSERT INTO children SELECT " + ident(key.name) + " FROM " + ident(table.name))
	}
	if g.chance(20) {
		require.NoError(t, db.Exec("ANALYZE").Error)
	}
	if conns == 1 && g.chance(30) {
		db.Exec("CREATE TEMP TRIGGER tt AFTER INSERT ON main." + g.quoted(table.name) + " BEGIN SELECT 1; END")
	}

	for step := range 1 + g.IntN(4) {
		before := take(t, db)
		beforeSQL := before.sql(t, db, table.name)
		op := g.operation(table)
		runOn := func(fn func(db *gorm.DB) error) error {
			switch g.IntN(4) {
			case 0:
				counts["in Connection"]++
				return db.Connection(fn)
			case 1:
				counts["in a transaction"]++
				return db.Transaction(fn)
			default:
				return fn(db)
			}
		}
		err := runOn(op.run)
		t.Logf("step %d: %s: %v\nof %s", step, op.name, err, beforeSQL)
		after := take(t, db)
		context := fmt.Sprintf("step %d: %s\nof %s", step, op.name, beforeSQL)
		if err != nil {
			counts["refused"]++
			require.True(t, mayRefuse(op, err), "%s\n%v", context, err)
			require.Equal(t, before, after, "%s\n%v: nothing may change", context, err)
		} else {
			counts["done"]++
			counts[strings.Fields(op.name)[0]]++
			compare(t, table, before, after, op, context, beforeSQL, after.sql(t, db, table.name))
			op.done()
		}
		// The settings are as before, on every connection.
		pool, poolErr := db.DB()
		require.NoError(t, poolErr)
		conn, poolErr := pool.Conn(t.Context())
		require.NoError(t, poolErr)
		var on, legacy bool
		require.NoError(t, conn.QueryRowContext(t.Context(), "PRAGMA foreign_keys").Scan(&on))
		require.NoError(t, conn.QueryRowContext(t.Context(), "PRAGMA legacy_alter_table").Scan(&legacy))
		require.NoError(t, conn.Close())
		require.Equal(t, enforce, on, context)
		require.False(t, legacy, context)
	}
}

// compare requires that an operation has made its change and no other.
func compare(t *testing.T, table *randomTable, before, after *dump, op operation, context, beforeSQL, afterSQL string) {
	t.Helper()
	context += "\nnow " + afterSQL
	for name := range before.rows {
		if name != table.name {
			require.Equal(t, before.rows[name], after.rows[name], "%s: rows of %s", context, name)
			require.Equal(t, before.facts[name], after.facts[name], "%s: %s", context, name)
		}
	}
	require.Len(t, after.rows, len(before.rows), context)

	// Rows: the rowids, and each column that remains.
	require.Equal(t, len(before.rows[table.name]), len(after.rows[table.name]), "%s: rows", context)
	wantColumns := slices.DeleteFunc(slices.Clone(before.cols[table.name]), func(c string) bool { return c == op.dropped && op.dropped != "" })
	if n := slices.Index(wantColumns, op.renamed[0]); n > 0 {
		wantColumns[n] = op.renamed[1]
	}
	if op.added != "" {
		wantColumns = append(wantColumns, op.added)
	}
	require.Equal(t, wantColumns, after.cols[table.name], context)
	want, got := make([][]string, len(before.rows[table.name])), make([][]string, len(before.rows[table.name]))
	// A key that becomes an INTEGER is the rowid. GORM turns type:int into integer. Rows
	// whose rowid has no name are sorted by their text.
	unnamed := slices.Contains(before.column(table.name, "<rowid>"), "-") || slices.Contains(after.column(table.name, "<rowid>"), "-")
	reordered := unnamed || op.altered != "" && strings.HasPrefix(op.to, "int")
	for _, c := range before.cols[table.name] {
		o := table.column(c)
		if c == op.dropped || op.altered != "" && o != nil && o.generated || c == "<rowid>" && reordered {
			continue
		}
		now := c
		if c == op.renamed[0] {
			now = op.renamed[1]
		}
		was, is := before.column(table.name, c), after.column(table.name, now)
		if c == op.altered && !(op.maybe && slices.Equal(was, is)) {
			was = convert(t, was, op.to, table.strict)
		}
		for i := range was {
			want[i], got[i] = append(want[i], was[i]), append(got[i], is[i])
		}
	}
	if reordered {
		slices.SortFunc(want, slices.Compare)
		slices.SortFunc(got, slices.Compare)
	}
	require.Equal(t, want, got, context)

	// Indexes, triggers and views.
	for _, o := range before.schema {
		if !slices.Contains(after.schema, o) {
			// SQLite also renames a column that is the rowid where it is called rowid.
			gone := op.dropped != "" && strings.HasPrefix(o, "index") && strings.Contains(unquoted(o), unquoted(op.dropped)) ||
				op.renamed[0] != "" && (strings.Contains(unquoted(o), unquoted(op.renamed[0])) || strings.Contains(o, "*") || strings.Contains(o, "rowid"))
			require.True(t, gone, "%s: lost %s", context, o)
		}
	}
	if op.renamed[0] == "" && op.added == "" {
		for _, o := range after.schema {
			require.Contains(t, before.schema, o, context)
		}
	}

	// The text of CREATE TABLE.
	for _, k := range table.keeps {
		touched := op.dropped != "" && slices.Contains(k.columns, op.dropped) || op.renamed[0] != "" && slices.Contains(k.columns, op.renamed[0]) ||
			op.without != "" && k.name == op.without
		if !touched {
			require.Contains(t, afterSQL, k.text, context)
		}
	}
	if op.with != "" {
		require.Contains(t, afterSQL, op.with, context)
	}
	if op.without != "" {
		require.NotEqual(t, beforeSQL, afterSQL, context)
	}

	// The answers of the PRAGMAs.
	if op.renamed[0] == "" {
		for _, f := range before.facts[table.name] {
			kind := strings.SplitN(f, " | ", 2)[0]
			about := func(c string) bool { return c != "" && strings.Contains(f, c) }
			if slices.Contains(after.facts[table.name], f) || about(op.altered) || about(op.dropped) || op.without != "" {
				continue
			}
			if op.dropped != "" && (kind == "column" || strings.Contains(f, " | c | ")) {
				continue // its position in the key may change; indexes are compared above
			}
			require.Contains(t, after.facts[table.name], f, context)
		}
	}

	// Sequences; statistics of other indexes.
	for _, o := range before.other {
		if strings.HasPrefix(o, "works true") {
			require.Contains(t, after.other, o, context)
		} else if strings.HasPrefix(o, "works") {
			continue // the operation may repair it
		} else if strings.HasPrefix(o, "sequence") {
			// The sequence goes with the key.
			if op.without == "" && (table.column(op.dropped) == nil || !table.column(op.dropped).key) {
				require.Contains(t, after.other, o, context)
			}
		} else if op.altered != "" && op.added == "" {
			require.Contains(t, after.other, o, context)
		}
	}
}

// unquoted returns a text without the quotes that names may double.
func unquoted(s string) string {
	return strings.NewReplacer(`""`, `"`, "``", "`", "[", "", "]", "").Replace(s)
}

// convert returns values as SQLite converts them for a column of a type.
func convert(t *testing.T, values []string, to string, strict bool) (out []string) {
	t.Helper()
	pool, err := sql.Open("sqlite3", ":memory:")
	require.NoError(t, err)
	defer pool.Close()
	pool.SetMaxOpenConns(1)
	_, err = pool.Exec("CREATE TABLE c (v " + to + ")" + map[bool]string{true: "STRICT"}[strict])
	require.NoError(t, err)
	for _, value := range values {
		kind, hex, _ := strings.Cut(value, ":")
		literal := "NULL"
		switch kind {
		case "integer":
			literal = "CAST(CAST(x'" + hex + "' AS TEXT) AS INTEGER)"
		case "real":
			literal = hex
		case "text":
			literal = "CAST(x'" + hex + "' AS TEXT)"
		case "blob":
			literal = "x'" + hex + "'"
		}
		_, err := pool.Exec("DELETE FROM c; INSERT INTO c VALUES (" + literal + ")")
		require.NoError(t, err)
		var got string
		err = pool.QueryRow("SELECT coalesce(typeof(v) || ':' || CASE typeof(v) WHEN 'real' THEN format('%!.20e', v) ELSE hex(v) END, '<NULL>') FROM c").Scan(&got)
		if !errors.Is(err, sql.ErrNoRows) {
			require.NoError(t, err)
		}
		out = append(out, got)
	}
	return out
}
