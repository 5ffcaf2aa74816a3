//go:build cgo

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// Ensure that of several statements all are run, on one connection, and the rows
// of each are shown; that arguments go to them in order; and that what they
// changed is in the file.
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

// Ensure that what fails ends with status 1, a message that says why, and no
// file where there was none.
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

// Ensure that beside a server query reads what was saved last and is refused to
// write, with the server's process id; and that status tells who the server is.
func TestQuery_besideServer(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path)
	testdb.Exec(t, server, "CREATE TABLE t (a); INSERT INTO t VALUES ('saved')")

	out := succeed(t, "status", path) // not saved yet
	require.Contains(t, out, "not there yet")
	require.Contains(t, out, fmt.Sprintf("process %d since", os.Getpid()))

	require.NoError(t, driver.Sync(t.Context(), server))
	testdb.Exec(t, server, "INSERT INTO t VALUES ('in memory')")
	require.Equal(t, "a\nsaved\n", succeed(t, "query", "-csv", path, "SELECT a FROM t"))

	status, stdout, stderr := program(t, "query", path, "INSERT INTO t VALUES ('lost')")
	require.Equal(t, exitFailed, status)
	require.Empty(t, stdout)
	require.Contains(t, stderr, fmt.Sprintf("owned by process %d", os.Getpid()))

	var s struct {
		Owner struct {
			PID   int
			Since time.Time
		}
		Schema map[string]int
	}
	require.NoError(t, json.Unmarshal([]byte(succeed(t, "status", "-json", path)), &s))
	require.Equal(t, os.Getpid(), s.Owner.PID)
	require.WithinDuration(t, time.Now(), s.Owner.Since, time.Minute)
	require.Equal(t, 1, s.Schema["tables"])

	testdb.Close(t, server)
	require.Contains(t, succeed(t, "status", path), "nobody")
}

// Ensure that status tells what a file holds and what stands beside it, and
// changes nothing.
func TestStatus(t *testing.T) {
	path := file(t, `PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA user_version = 3; CREATE TABLE a (x UNIQUE);
		CREATE TABLE b (y); CREATE INDEX i ON b (y); CREATE VIEW v AS SELECT 1; CREATE TRIGGER tr AFTER DELETE ON a BEGIN SELECT 1; END`)
	base := filepath.Base(path)
	left := map[string]string{
		base + "-journal": "",
		"." + base + ".sqlite-mem-0123456789abcdef.tmp": "old",
		base + ".sqlite-mem-20260101T000000Z":           "aside",
		base + ".kept-1":                                "earlier",
		"other.db":                                      "not ours",
	}
	for name, content := range left {
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte(content), 0o600))
	}
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(path, link))

	out := succeed(t, "status", link)
	narrow(t, out)
	for _, want := range []string{
		path, "owner     nobody", "of 8,192 bytes, in WAL mode", "2 tables, 2 indexes, 1 view, 1 trigger", "user_version 3",
		base + "-journal\n            0 bytes", "0123456789abcdef.tmp\n            3 bytes", "20260101T000000Z\n            5 bytes", base + ".kept-1\n            7 bytes",
	} {
		require.Contains(t, out, want)
	}
	require.NotContains(t, out, "other.db")

	var s status
	require.NoError(t, json.Unmarshal([]byte(succeed(t, "status", "-json", path)), &s))
	require.Nil(t, s.Owner)
	require.Equal(t, 8192, s.File.PageSize)
	require.Equal(t, s.File.Size, s.File.Pages*8192)
	require.Len(t, s.Beside, 4)
	require.Equal(t, &schema{Tables: 2, Indexes: 2, Views: 1, Triggers: 1, UserVersion: 3}, s.Schema)

	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1+len(left))
}

// Ensure that status of a file that is not there, or no database, fails and names
// it, and that one whose schema is damaged is told as such.
func TestStatus_errors(t *testing.T) {
	path := testdb.Path(t)
	require.NoError(t, os.WriteFile(path, []byte("text"), 0o600))
	for _, name := range []string{path, path + ".missing", filepath.Dir(path), path + "/below"} {
		status, stdout, stderr := program(t, "status", name)
		require.Equal(t, exitFailed, status)
		require.Empty(t, stdout)
		require.Contains(t, stderr, filepath.Base(name))
	}
	damaged := file(t, "CREATE TABLE t (a)")
	content, err := os.ReadFile(damaged)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(damaged, append(content[:100], make([]byte, len(content)-100)...), 0o600))
	require.Contains(t, succeed(t, "status", damaged), "cannot be read: ")
}

// Ensure that the program itself, as a process, ends with the status of its
// command.
func TestMain_exitStatus(t *testing.T) {
	if os.Getenv("SQLITE_MEM_TEST_MAIN") != "" {
		os.Args = append([]string{"sqlite-mem"}, strings.Fields(os.Getenv("SQLITE_MEM_TEST_MAIN"))...)
		main()
	}
	for args, want := range map[string]int{"version": exitOK, "status /missing.db": exitFailed, "nonsense": exitUsage} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=TestMain_exitStatus")
		cmd.Env = append(os.Environ(), "SQLITE_MEM_TEST_MAIN="+args)
		_ = cmd.Run() // what counts is the status
		require.Equal(t, want, cmd.ProcessState.ExitCode(), args)
	}
}
