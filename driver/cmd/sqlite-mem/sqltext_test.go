//go:build cgo

package main

import (
	"database/sql"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/sqltext"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that statements are split where SQLite would end them.
func TestStatements(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                 nil,
		" ; ;; -- x":                       nil,
		"a":                                {"a"},
		"a;b":                              {"a", "b"},
		"a 'x;''y' ; b \"c;\" [d;] `e;` f": {"a 'x;''y'", "b \"c;\" [d;] `e;` f"},
		"a /* ; */ b -- ;\n c; d":          {"a /* ; */ b -- ;\n c", "d"},
		"a 'open; b":                       {"a 'open; b"},
		"a /* open; b":                     {"a /* open; b"},
		"create trigger x begin y; end; z": {"create trigger x begin y; end", "z"},
		"EXPLAIN QUERY PLAN CREATE TEMP TRIGGER x BEGIN y; case 1 end; END ; z": {"EXPLAIN QUERY PLAN CREATE TEMP TRIGGER x BEGIN y; case 1 end; END", "z"},
		"create table trigger_x (a); z":                                         {"create table trigger_x (a)", "z"},
		"begin; x; end; y":                                                      {"begin", "x", "end", "y"},
	} {
		require.Equal(t, want, statements(text), text)
	}
}

// randomSQL puts pieces together that matter to where a statement ends.
func randomSQL(random *rand.Rand) string {
	pieces := []string{
		";", ";", ";", " ", "\n", "\t", "a", "create", "CREATE", "temp", "Temporary", "trigger", "end", "END", "explain", "query plan", "begin",
		"'", "'x;'", "''", `"`, `"y;"`, "`", "[", "]", "[z;]", "--", "-- c;\n", "-", "/", "*", "/*", "*/", "/* c; */", "$end", "endx", "é", "?", ":a",
	}
	var b strings.Builder
	for range random.IntN(20) {
		b.WriteString(pieces[random.IntN(len(pieces))])
		if random.IntN(2) == 0 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// Ensure that a text is complete for the splitter when it is complete for
// sqlite3_complete. The result is the same whether the text comes as a whole or line by
// line. The comparison is of whole lines: a comment that the text ends in is complete for
// some versions of SQLite only. It leaves out a text without a statement.
func TestSplitter_complete(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var texts []string
	for range 5000 {
		texts = append(texts, randomSQL(random))
	}
	ends := func(text string) bool { // and does nothing else than to end
		var s splitter
		s.add(text)
		return s.empty()
	}
	for _, text := range texts {
		var whole, lines splitter
		want := whole.add(text)
		var got []string
		for line := range strings.Lines(text) {
			got = append(got, lines.add(line)...)
		}
		require.Equal(t, want, got, text)
		require.Equal(t, whole.rest(), lines.rest(), text)
	}
	both := 0
	for _, text := range texts {
		if onlySpace(text) {
			continue // sqlite3_complete wants a semicolon
		}
		text += "\n"
		complete := memvfs.Complete(text)
		require.Equal(t, complete, ends(text), "%q", text)
		if complete {
			both++
		}
	}
	require.Greater(t, both, 200)
}

func onlySpace(text string) bool {
	for text != "" {
		kind, n := sqltext.Token(text)
		if kind != sqltext.Space {
			return false
		}
		text = text[n:]
	}
	return true
}

// Ensure that the number of parameters is that of SQLite.
func TestParameters(t *testing.T) {
	db := testdb.Plain(t, ":memory:")
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	for _, text := range []string{
		"SELECT 1", "SELECT ?", "SELECT ?, ?", "SELECT ?3", "SELECT ?3, ?", "SELECT ?, ?1, ?", "SELECT :a, :a, @a, $a", "SELECT :a, ?, :b, ?",
		"SELECT '?', \"?\", [?], `?` -- ?\n, ? /* ? */", "SELECT $a::b(c), $a::b", "SELECT a$b, ?1 FROM (SELECT 1 AS a$b)", "SELECT x'00', :é",
		"SELECT '{}' ->> '$.x', ?", "SELECT ?2, :a, ?1",
	} {
		text = strings.ReplaceAll(text, ", \"?\", [?], `?`", "")
		require.Equal(t, inputs(t, conn, text), parameters(text), text)
	}
	require.Equal(t, 1, parameters("SELECT \"?\", [?], `?`, ?"))
}

// inputs is the number of parameters as SQLite counts them.
func inputs(t *testing.T, conn *sql.Conn, text string) (n int) {
	require.NoError(t, conn.Raw(func(c any) error {
		s, err := c.(*sqlite3.SQLiteConn).Prepare(text)
		if err != nil {
			return err
		}
		n = s.NumInput()
		return s.Close()
	}), text)
	return n
}
