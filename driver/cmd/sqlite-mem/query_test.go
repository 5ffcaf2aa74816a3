//go:build cgo

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// file makes a database file with plain SQLite.
func file(t testing.TB, script string) string {
	t.Helper()
	path := testdb.Path(t)
	db := testdb.Plain(t, path)
	db.SetMaxOpenConns(1)
	testdb.Exec(t, db, script)
	require.NoError(t, db.Close())
	return path
}

const valuesScript = `CREATE TABLE v (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, at DATETIME, yes BOOLEAN);
	INSERT INTO v VALUES (1, -5, 2, 'a "b", c', x'00ff', '2026-11-23', 7), (2, NULL, 1e300, '', x'', 'soon', NULL), (3, 9007199254740993, -0.5, 'two
lines', NULL, 1700000000, 0)`

// Ensure that values of each type are shown as they are stored, in each format.
func TestQuery_formats(t *testing.T) {
	path := file(t, valuesScript)
	require.Equal(t, `
id                 i       r  t           b        at           yes
--  ----------------  ------  ----------  -------  ----------  ----
 1                -5     2.0  a "b", c    x'00ff'  2026-11-23     7
 2              NULL  1e+300              x''      soon        NULL
 3  9007199254740993    -0.5  two\nlines  NULL     1700000000     0
`[1:], succeed(t, "query", path, "SELECT * FROM v -- all"))
	require.Equal(t, `
id,i,r,t,b,at,yes
1,-5,2.0,"a ""b"", c",x'00ff',2026-11-23,7
2,,1e+300,,x'',soon,
3,9007199254740993,-0.5,"two
lines",,1700000000,0
`[1:], succeed(t, "query", "-csv", path, "SELECT * FROM v"))
	require.Equal(t, `
{"id": 1, "i": -5, "r": 2.0, "t": "a \"b\", c", "b": "00ff", "at": "2026-11-23", "yes": 7}
{"id": 2, "i": null, "r": 1e+300, "t": "", "b": "", "at": "soon", "yes": null}
{"id": 3, "i": 9007199254740993, "r": -0.5, "t": "two\nlines", "b": null, "at": 1700000000, "yes": 0}
`[1:], succeed(t, "query", "-json", path, "WITH w AS (SELECT * FROM v) SELECT * FROM w"))
	require.Equal(t, "id,at\n3,1700000000\n2,soon\n", succeed(t, "query", "-csv", path, "SELECT id, at FROM v WHERE id > ? ORDER BY id DESC LIMIT ?", "1", "2"))
	require.Equal(t, `{"a": 1, "a:2": 2}`+"\n", succeed(t, "query", "-json", path, "SELECT 1 AS a, 2 AS a"))
	require.Equal(t, "a\n-\n", succeed(t, "query", path, "SELECT 1 AS a WHERE 0"))
	require.Equal(t, `\x1b[31m`, strings.Split(succeed(t, "query", path, "SELECT char(27) || '[31m' AS red"), "\n")[2])
}

// Ensure that columns of more rows than are kept come out whole and in order.
func TestQuery_manyRows(t *testing.T) {
	path := file(t, "CREATE TABLE t (a)")
	out := succeed(t, "query", path, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) SELECT i, 'x' AS x FROM n")
	lines := strings.Split(strings.TrimSpace(out), "\n")[2:]
	require.Len(t, lines, 2500)
	for i, line := range lines {
		require.Equal(t, []string{fmt.Sprint(i + 1), "x"}, strings.Fields(line))
	}
}

// Ensure that query runs several statements on one connection, and shows the rows of
// each. Arguments go to them in order. Their changes are in the file.
func TestQuery_statements(t *testing.T) {
	path := file(t, "CREATE TABLE t (a, b)")
	out := succeed(t, "query", "-csv", path, `
		CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET b = b || ';' WHERE a = new.a; SELECT CASE 1 WHEN 1 THEN 2 END; END;
		BEGIN; INSERT INTO t VALUES (?, ?); INSERT INTO t VALUES (?, 'x;y') RETURNING a; COMMIT;
		SELECT a, typeof(a), b FROM t ORDER BY rowid; -- that is all;
		SELECT count(*) AS n FROM t`, "1", "0123", "1.5")
	require.Equal(t, "a\n1.5\na,typeof(a),b\n1,integer,0123;\n1.5,real,x;y;\nn\n2\n", out)
	require.Equal(t, "2", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
}

// Ensure that a failure ends with status 1 and a message that says why. A missing file
// is not created.
func TestQuery_errors(t *testing.T) {
	path := file(t, "CREATE TABLE t (a)")
	missing := filepath.Join(t.TempDir(), "missing.db")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{missing, "SELECT 1"}, "missing.db"},
		{[]string{path, "SELEC 1"}, `"SELEC": syntax error`},
		{[]string{path, "SELECT * FROM u"}, "no such table: u"},
		{[]string{path, "SELECT ?, ?", "1"}, "2 values"},
		{[]string{path, "SELECT ?", "1", "2"}, "1 argument"},
		{[]string{path, "SELECT ?1, :a, ?", "1", "2"}, "3 values"},
		{[]string{"-readonly", path, "INSERT INTO t VALUES (1)"}, "readonly"},
	} {
		status, _, stderr := program(t, append([]string{"query"}, test.args...)...)
		require.Equal(t, exitFailed, status, test.args)
		require.Contains(t, stderr, test.want)
		require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	}
	entries, err := os.ReadDir(filepath.Dir(missing))
	require.NoError(t, err)
	require.Empty(t, entries)
}

// Ensure that -readonly leaves nothing beside the file.
func TestQuery_readOnly(t *testing.T) {
	path := file(t, "CREATE TABLE t (a); INSERT INTO t VALUES (5)")
	require.Equal(t, "a\n5\n", succeed(t, "query", "-readonly", "-csv", path, "SELECT a FROM t"))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// live reports whether a tool sees the memory of the server of path.
func live(t testing.TB, path string) bool {
	t.Helper()
	db, err := openTarget(path, access{})
	require.NoError(t, err)
	v, _, err := db.view(t.Context())
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return v.live
}

// Ensure that query sees the memory of a server that answers tools. Otherwise, or with
// -saved, it sees the file as saved last. It says which one it sees. Beside a server it
// writes nothing to the file.
func TestQuery_besideServer(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path+"?sqlite_wal=off") // it saves when it is told to
	testdb.Exec(t, server, "CREATE TABLE t (a); INSERT INTO t VALUES ('saved')")
	require.NoError(t, driver.Sync(t.Context(), server))
	testdb.Exec(t, server, "INSERT INTO t VALUES ('in memory')")
	isLive := live(t, path)

	status, stdout, stderr := program(t, "query", "-saved", "-csv", path, "SELECT a FROM t")
	require.Equal(t, exitOK, status)
	require.Equal(t, "a\nsaved\n", stdout)
	require.Equal(t, fmt.Sprintf("sqlite-mem: %s: the file as process %d saved it last\n", path, os.Getpid()), stderr)

	status, stdout, stderr = program(t, "query", "-csv", path, "SELECT a FROM t")
	require.Equal(t, exitOK, status)
	if isLive {
		require.Equal(t, "a\nsaved\nin memory\n", stdout)
		require.Equal(t, fmt.Sprintf("sqlite-mem: %s: the memory of process %d (live)\n", path, os.Getpid()), stderr)
	} else {
		require.Equal(t, "a\nsaved\n", stdout)
	}

	status, stdout, stderr = program(t, "query", "-saved", path, "INSERT INTO t VALUES ('lost')")
	require.Equal(t, exitFailed, status)
	require.Empty(t, stdout)
	require.Contains(t, stderr, fmt.Sprintf("owned by process %d", os.Getpid()))

	testdb.Close(t, server)
	require.Equal(t, "n\n2\n", succeed(t, "query", "-csv", path, "SELECT count(*) AS n FROM t"))
}
