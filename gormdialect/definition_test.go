package gormdialect

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that SQL is split into tokens as SQLite does: four kinds of quotes, two kinds
// of comments, numbers, blobs, letters of any script.
func TestTokenize(t *testing.T) {
	for sql, want := range map[string][]string{
		"a b":                           {"a", "b"},
		"\ufeffa\t\n\f\r b":             {"a", "b"},
		"'it''s' x":                     {"'it''s'", "x"},
		`"a""b" x`:                      {`"a""b"`, "x"},
		"`a``b`x":                       {"`a``b`", "x"},
		"[a b]]x":                       {"[a b]", "]", "x"},
		"[a'b]'c]'":                     {"[a'b]", "'c]'"},
		"a--b'c\nd":                     {"a", "d"},
		"a - -b":                        {"a", "-", "-", "b"},
		"a/*b'*c/*d*/e":                 {"a", "e"},
		"a / *b":                        {"a", "/", "*", "b"},
		"a /* to the end":               {"a"},
		"a -- to the end":               {"a"},
		"'--' '/*'":                     {"'--'", "'/*'"},
		"/**/x":                         {"x"},
		"/*/x*/y":                       {"y"},
		"x'00ff' X'' xy":                {"x'00ff'", "X''", "xy"},
		"1 -2.5e-3 .5 0x1F 1_000 1e+5x": {"1", "-", "2.5e-3", ".5", "0x1F", "1_000", "1e+5x"},
		"1-2 0x1e-5":                    {"1", "-", "2", "0x1e", "-", "5"},
		"größe таблица _a$1":            {"größe", "таблица", "_a$1"},
		"(a,b);":                        {"(", "a", ",", "b", ")", ";"},
		"":                              nil,
	} {
		tokens, err := tokenize(sql)
		require.NoError(t, err, sql)
		var got []string
		for _, token := range tokens {
			got = append(got, token.text)
			require.Equal(t, token.text, sql[token.start:token.end])
		}
		require.Equal(t, want, got, sql)
	}
	for _, sql := range []string{"'a", `"a""`, "`a", "[a", "x'0", "a 'b''"} {
		_, err := tokenize(sql)
		require.ErrorContains(t, err, "unclosed", sql)
	}
}

// Ensure that a name is read from any quotes, and compared as SQLite compares it.
func TestToken_name(t *testing.T) {
	for sql, want := range map[string]string{
		"a": "a", `"a""b"`: `a"b`, "`a``b`": "a`b", "[a\"b]": `a"b`, "'a''b'": "a'b", `""`: "", "[]": "",
	} {
		tokens, err := tokenize(sql)
		require.NoError(t, err)
		require.Equal(t, want, tokens[0].name(), sql)
	}
	require.Equal(t, fold("ABCxyz_É"), fold("abcXYZ_É"))
	require.NotEqual(t, fold("É"), fold("é"), "SQLite folds ASCII only")
	require.NotEqual(t, fold("\xff"), fold("\xfe"))
}

// Ensure that each part of a CREATE TABLE is found, with its name and its place in the
// text.
func TestParseDefinition(t *testing.T) {
	sql := "CREATE TABLE \"a b\" /* (x */ (\n" +
		"  id INTEGER PRIMARY KEY ASC ON CONFLICT ABORT AUTOINCREMENT, -- the key, (\n" +
		"  checksum TEXT,\n" +
		"  [primary] varchar ( 20 ) CONSTRAINT nn NOT NULL ON CONFLICT FAIL CONSTRAINT \"u q\" UNIQUE,\n" +
		"  `gen` AS (lower(\"checksum\") || ')') STORED,\n" +
		"  g2 generated always as (1) virtual NOT NULL,\n" +
		"  untyped,\n" +
		"  d1 double precision DEFAULT -1.5e3 COLLATE nocase CHECK (d1 > (0)),\n" +
		"  d2 DEFAULT (1 + (2)) NULL, d3 DEFAULT 'x, y', d4 DEFAULT true, d5 DEFAULT x'00',\n" +
		"  ref int REFERENCES other (a, b) ON DELETE SET NULL ON UPDATE NO ACTION MATCH FULL NOT DEFERRABLE INITIALLY IMMEDIATE NOT NULL,\n" +
		"  ref2 REFERENCES other DEFERRABLE CONSTRAINT dangling,\n" +
		"  CONSTRAINT ch CHECK (a IN (1, 2)) ON CONFLICT ROLLBACK UNIQUE (checksum COLLATE nocase DESC, [primary])\n" +
		"  , CONSTRAINT fk FOREIGN KEY (ref, 'ref2') REFERENCES \"x y\"(p, q) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED) STRICT"
	d, err := parseDefinition(sql)
	require.NoError(t, err)
	require.Equal(t, "a b", d.name.name())
	var columns, constraints []string
	for _, c := range d.columns {
		columns = append(columns, c.name.name()+":"+d.text(c.dataType))
	}
	d.all(func(column *columnDef, c *constraint) bool {
		on := "table"
		if column != nil {
			on = column.name.name()
		}
		constraints = append(constraints, strings.Join([]string{on, c.name, string(c.kind), strings.Join(c.columns, "+"), c.parent, sql[c.start:c.end]}, "|"))
		return true
	})
	require.Equal(t, []string{"id:INTEGER", "checksum:TEXT", "primary:varchar ( 20 )", "gen:", "g2:", "untyped:", "d1:double precision", "d2:", "d3:", "d4:", "d5:", "ref:int", "ref2:"}, columns)
	require.Equal(t, []string{
		"id||PRIMARY KEY|id||PRIMARY KEY ASC ON CONFLICT ABORT AUTOINCREMENT",
		"primary|nn|NOT NULL|primary||CONSTRAINT nn NOT NULL ON CONFLICT FAIL",
		`primary|u q|UNIQUE|primary||CONSTRAINT "u q" UNIQUE`,
		`gen||GENERATED|gen||AS (lower("checksum") || ')') STORED`,
		"g2||GENERATED|g2||generated always as (1) virtual",
		"g2||NOT NULL|g2||NOT NULL",
		"d1||DEFAULT|d1||DEFAULT -1.5e3",
		"d1||COLLATE|d1||COLLATE nocase",
		"d1||CHECK|||CHECK (d1 > (0))",
		"d2||DEFAULT|d2||DEFAULT (1 + (2))",
		"d2||NULL|d2||NULL",
		"d3||DEFAULT|d3||DEFAULT 'x, y'",
		"d4||DEFAULT|d4||DEFAULT true",
		"d5||DEFAULT|d5||DEFAULT x'00'",
		"ref||FOREIGN KEY|ref|other|REFERENCES other (a, b) ON DELETE SET NULL ON UPDATE NO ACTION MATCH FULL NOT DEFERRABLE INITIALLY IMMEDIATE",
		"ref||NOT NULL|ref||NOT NULL",
		"ref2||FOREIGN KEY|ref2|other|REFERENCES other DEFERRABLE",
		"ref2|dangling|CONSTRAINT|ref2||CONSTRAINT dangling",
		"table|ch|CHECK|||CONSTRAINT ch CHECK (a IN (1, 2)) ON CONFLICT ROLLBACK",
		"table||UNIQUE|checksum+primary||UNIQUE (checksum COLLATE nocase DESC, [primary])",
		`table|fk|FOREIGN KEY|ref+ref2|x y|CONSTRAINT fk FOREIGN KEY (ref, 'ref2') REFERENCES "x y"(p, q) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED`,
	}, constraints)
	require.True(t, d.hasOption("STRICT"))
	require.True(t, d.autoIncrement())
	require.Equal(t, "id", d.rowidAlias())
	require.Equal(t, "CREATE TABLE \"main\".\"n\"\"w\""+sql[len("CREATE TABLE \"a b\""):], d.withName("main", `n"w`))
}

// Ensure that a text that is no CREATE TABLE of SQLite is an error.
func TestParseDefinition_refused(t *testing.T) {
	for _, sql := range []string{
		"", "CREATE", "CREATE TABLE", "CREATE TABLE t", "CREATE TABLE t (", "CREATE TABLE t (a", "CREATE TABLE t (a,", "CREATE TABLE t (a))x(",
		"CREATE TABLE t (a CHECK (1)", "CREATE TABLE t (a CHECK", "CREATE TABLE t (a DEFAULT)", "CREATE TABLE t (a REFERENCES)", "CREATE TABLE t (a NOT)",
		"CREATE TABLE t (a GENERATED AS (1))", "CREATE TABLE t (a, FOREIGN KEY (a))", "CREATE TABLE t (a, UNIQUE ())", "CREATE TABLE t (a PRIMARY)",
		"CREATE TABLE t (a, CONSTRAINT)", "CREATE VIRTUAL TABLE t USING fts5(a)", "CREATE TABLE t AS SELECT 1", "CREATE TABLE IF NOT", "CREATE TABLE IF NOT EXISTS", "CREATE VIEW v AS SELECT 1",
	} {
		d, err := parseDefinition(sql)
		if err == nil {
			require.NotEmpty(t, d.options, "%s: the parser may leave only the options to SQLite", sql)
		}
	}
}

// Ensure that removing a column or a constraint removes one comma, and leaves comments
// and the rest of the text as they are.
func TestDefinition_remove(t *testing.T) {
	for _, c := range []struct{ sql, column, constraint, want string }{
		{"CREATE TABLE t (a, b -- of b\n, c)", "b", "", "CREATE TABLE t (a  -- of b\n, c)"},
		{"CREATE TABLE t (a /* 1 */, /* 2 */ b, c)", "a", "", "CREATE TABLE t ( /* 1 */ /* 2 */ b, c)"},
		{"CREATE TABLE t (a, b, c)", "c", "", "CREATE TABLE t (a, b )"},
		{"CREATE TABLE t (a, b, CHECK (1))", "b", "", "CREATE TABLE t (a , CHECK (1))"},
		{"CREATE TABLE t (a, CONSTRAINT x CHECK (1))", "", "x", "CREATE TABLE t (a )"},
		{"CREATE TABLE t (a, CONSTRAINT x CHECK (1) UNIQUE (a))", "", "x", "CREATE TABLE t (a,  UNIQUE (a))"},
		{"CREATE TABLE t (a, UNIQUE (a) CONSTRAINT x CHECK (1))", "", "x", "CREATE TABLE t (a, UNIQUE (a) )"},
		{"CREATE TABLE t (a, UNIQUE (a) CONSTRAINT x CHECK (1), CHECK (2))", "", "x", "CREATE TABLE t (a, UNIQUE (a)  CHECK (2))"},
		{"CREATE TABLE t (a, CONSTRAINT x CHECK (1), CHECK (2))", "", "x", "CREATE TABLE t (a , CHECK (2))"},
		{"CREATE TABLE t (a CONSTRAINT x NOT NULL DEFAULT 1)", "", "x", "CREATE TABLE t (a  DEFAULT 1)"},
	} {
		d, err := parseDefinition(c.sql)
		require.NoError(t, err)
		var edits []edit
		if c.column != "" {
			edits = d.removeColumn(d.column(c.column))
		} else {
			_, found := d.named(c.constraint)
			edits = d.remove(found)
		}
		got := apply(c.sql, edits)
		require.Equal(t, c.want, got, c.sql)
		_, err = parseDefinition(got)
		require.NoError(t, err)
	}
}

// Ensure that an edit merges no two tokens into one.
func TestApply(t *testing.T) {
	for _, c := range []struct{ sql, old, text, want string }{
		{"a VARCHAR(10)NOT NULL", "VARCHAR(10)", "text", "a text NOT NULL"},
		{`"a"NOT NULL`, `"a"`, "b", "b NOT NULL"},
		{"DEFAULT(0)NOT NULL", "(0)", "true", "DEFAULT true NOT NULL"},
		{"DEFAULT(0)NOT NULL", "(0)", "(1)", "DEFAULT(1)NOT NULL"},
		{`"a"'b'UNIQUE`, "'b'", "", `"a" UNIQUE`},
		{`"a"'b'"c"`, "'b'", "", `"a" "c"`},
		{"DEFAULT(x)'", "(x)", "x", "DEFAULT x '"},
		{"DEFAULT(0)", "(0)", "é", "DEFAULT é"},
		{"a int,b int", "int", "", "a ,b int"},
	} {
		at := strings.Index(c.sql, c.old)
		require.Equal(t, c.want, apply(c.sql, []edit{{span{at, at + len(c.old)}, c.text}}), c.sql)
	}
}

// Ensure that only INTEGER PRIMARY KEY is an alias of the rowid, with SQLite's
// exceptions.
func TestDefinition_rowidAlias(t *testing.T) {
	for sql, want := range map[string]string{
		"CREATE TABLE t (a INTEGER PRIMARY KEY)":                     "a",
		"CREATE TABLE t (a integer primary key asc)":                 "a",
		"CREATE TABLE t (a INTEGER PRIMARY KEY DESC)":                "",
		"CREATE TABLE t (a INTEGER, PRIMARY KEY (a DESC))":           "a",
		"CREATE TABLE t (a \"INTEGER\", PRIMARY KEY ('a'))":          "a",
		"CREATE TABLE t (a INT PRIMARY KEY)":                         "",
		"CREATE TABLE t (a INTEGER(8) PRIMARY KEY)":                  "",
		"CREATE TABLE t (a INTEGER PRIMARY KEY) WITHOUT ROWID":       "",
		"CREATE TABLE t (a INTEGER, b INTEGER, PRIMARY KEY (a, b))":  "",
		"CREATE TABLE t (a INTEGER, b)":                              "",
		"CREATE TABLE t (a INTEGER CONSTRAINT pk PRIMARY KEY, desc)": "a",
	} {
		d, err := parseDefinition(sql)
		require.NoError(t, err, sql)
		require.Equal(t, want, d.rowidAlias(), sql)
	}
}

// FuzzParseDefinition ensures that parsing any text ends, and that every part lies in
// the text.
func FuzzParseDefinition(f *testing.F) {
	f.Add("CREATE TABLE t (a INT DEFAULT (1), UNIQUE (a) CHECK (a > 0)) STRICT")
	f.Add("CREATE TABLE [t] (a REFERENCES b ON DELETE SET NULL NOT DEFERRABLE, -- \n 'c' AS (1))")
	f.Fuzz(func(t *testing.T, sql string) {
		d, err := parseDefinition(sql)
		if err != nil {
			return
		}
		d.all(func(_ *columnDef, c *constraint) bool {
			_, err := tokenize(sql[c.start:c.end])
			require.NoError(t, err)
			apply(sql, d.remove(c))
			return true
		})
		for i := range d.columns {
			apply(sql, d.removeColumn(&d.columns[i]))
		}
	})
}
