//go:build cgo

package main

import (
	"bytes"
	"context"
	sqldriver "database/sql/driver"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// piped runs the shell on a script.
func piped(t testing.TB, script string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(context.Background(), append([]string{"shell"}, args...), stdio{strings.NewReader(script), &out, &errs})
	return status, out.String(), errs.String()
}

// Ensure that a script runs statement by statement, whatever lines and semicolons it has,
// and shows the rows of each without a prompt.
func TestShell_piped(t *testing.T) {
	path := file(t, "CREATE TABLE t (a, b)")
	status, stdout, stderr := piped(t, `
-- a comment; with a semicolon
.mode list
INSERT INTO t VALUES (1, 'x;
y'); SELECT count(*)
  FROM t /* ; */
; CREATE TRIGGER tr AFTER INSERT ON t
BEGIN
  UPDATE t SET b = 'seen;' WHERE a = new.a;
  SELECT CASE 1 WHEN 1 THEN 2 END;
END;
BEGIN; INSERT INTO t VALUES (2, NULL);
COMMIT; SELECT a, b FROM t ORDER BY a;
.mode csv
SELECT 1 AS one; ;; SELECT 2 AS two;`, path)
	require.Equal(t, exitOK, status, stderr)
	require.Empty(t, stderr)
	require.Equal(t, "1\n1|x;\ny\n2|seen;\none\n1\ntwo\n2\n", stdout)
}

// Ensure that a script ends at its first error, with status 1 and the place of the error,
// and that nothing behind it runs.
func TestShell_pipedErrors(t *testing.T) {
	path := file(t, "CREATE TABLE t (a UNIQUE)")
	for script, want := range map[string]string{
		"SELECT 1;\n\nSELECT *\nFROM u\n; INSERT INTO t VALUES (1);\n": "line 3: no such table: u",
		"SELECT 1; SELEC 2; INSERT INTO t VALUES (1);":                 `line 1: near "SELEC": syntax error (what follows on that line was not run)`,
		".tabels\nINSERT INTO t VALUES (1);":                           "line 1: there is no command .tabels",
		".mode\n.mode yaml\nINSERT INTO t VALUES (1);":                 "line 2: .mode yaml: want table, csv",
		".mode csv json":                      "line 1: usage: .mode [MODE]",
		".read":                               "line 1: usage: .read FILE",
		".read 'x":                            "line 1: ' is not closed",
		".schema nothing":                     "line 1: there is no table, index, view or trigger nothing",
		"SELECT 1;\nDELETE FROM t\n":          "line 2: not run, as its ; is missing: DELETE FROM t",
		"BEGIN;\nINSERT INTO t VALUES (1);\n": "ended without COMMIT: the open transaction was rolled back",
		"BEGIN;\nINSERT INTO t VALUES (1);\nSELECT x;\nCOMMIT;": "line 3: no such column: x",
		"SELECT ?;\n": "line 1: ",
	} {
		status, _, stderr := piped(t, script, path)
		require.Equal(t, exitFailed, status, script)
		require.Contains(t, stderr, want, script)
		require.Equal(t, "0", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"), script)
	}
	status, _, stderr := piped(t, "SELECT 1;", path+".missing")
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, ".missing")
	require.NoFileExists(t, path+".missing")
}

// Ensure that a transaction that SQLite rolls back by itself is told of.
func TestShell_rolledBack(t *testing.T) {
	path := file(t, "CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES (1)")
	status, _, stderr := piped(t, "BEGIN; INSERT INTO t VALUES (2);\nINSERT OR ROLLBACK INTO t VALUES (1);\n", path)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "UNIQUE constraint failed: t.a (the transaction was rolled back)")
	require.NotContains(t, stderr, "open transaction")
}

// Ensure that savepoints are transactions too, and that temporary tables and pragmas last
// from one statement to the next.
func TestShell_session(t *testing.T) {
	path := file(t, "CREATE TABLE t (a)")
	status, stdout, stderr := piped(t, `.mode list
		CREATE TEMP TABLE temporary_one (x); INSERT INTO temporary_one VALUES (3);
		PRAGMA foreign_keys = ON;
		SAVEPOINT s; INSERT INTO t VALUES (1); ROLLBACK TO s; INSERT INTO t VALUES (2); RELEASE s;
		SELECT a FROM t; SELECT x FROM temporary_one; PRAGMA foreign_keys;`, path)
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, "2\n3\n1\n", stdout)
}

// Ensure that each mode shows what it is for.
func TestShell_modes(t *testing.T) {
	path := file(t, "CREATE TABLE t (id, name); INSERT INTO t VALUES (1, 'a|b'), (22, NULL)")
	for mode, want := range map[string]string{
		"table": "id  name\n--  ----\n 1  a|b\n22  NULL\n",
		"csv":   "id,name\n1,a|b\n22,\n",
		"json":  `{"id": 1, "name": "a|b"}` + "\n" + `{"id": 22, "name": null}` + "\n",
		"line":  "  id = 1\nname = a|b\n\n  id = 22\nname = NULL\n",
		"list":  "1|a|b\n22|\n",
	} {
		_, stdout, stderr := piped(t, "SELECT * FROM t;", "-mode", mode, path)
		require.Equal(t, want, stdout, mode)
		require.Empty(t, stderr)
		_, stdout, _ = piped(t, ".mode "+mode+"\n.mode\n", path)
		require.Equal(t, mode+"\n", stdout)
	}
}

// Ensure that .tables and .schema show all objects, also those of attached databases. A
// pattern selects among them.
func TestShell_tablesAndSchema(t *testing.T) {
	path := file(t, `CREATE TABLE one (a UNIQUE); CREATE TABLE two (b); CREATE VIEW eye AS SELECT 1;
		CREATE INDEX two_b ON two (b); CREATE TABLE "odd
name" (c)`)
	other := file(t, "CREATE TABLE three (c)")
	_, stdout, stderr := piped(t, ".tables\n.tables t%\n.schema two\nATTACH '"+other+"' AS att;\n.tables thr%\n.schema thr%\n", path)
	require.Empty(t, stderr)
	require.Equal(t, `eye        odd\nname  one        two
two
CREATE TABLE two (b);
CREATE INDEX two_b ON two (b);
att.three
-- in att
CREATE TABLE three (c);
`, stdout)
	_, stdout, _ = piped(t, ".tables nothing\n", path)
	require.Empty(t, stdout)
}

// Ensure that .timer tells the time of each statement apart from its rows.
func TestShell_timer(t *testing.T) {
	_, stdout, stderr := piped(t, ".timer\n.timer on\nSELECT 1 AS a;\n.timer\n.timer off\nSELECT 2 AS b;", file(t, "CREATE TABLE t (a)"))
	require.Equal(t, "off\na\n-\n1\non\nb\n-\n2\n", stdout)
	require.Regexp(t, `^time: [0-9.]+ (ns|µs|ms|s)\n$`, stderr)
}

// Ensure that .read runs a file, and that an error names its place in the file. A .quit
// in the file ends the shell. A file that reads itself comes to an end.
func TestShell_read(t *testing.T) {
	path := file(t, "CREATE TABLE t (a)")
	write := func(name, content string) string {
		name = filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
		return name
	}
	good := write("my file.sql", ".mode list\r\nINSERT INTO t VALUES (7);\r\nSELECT a\r\nFROM t;")
	status, stdout, stderr := piped(t, ".read '"+good+"'\nSELECT 8;", path)
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, "7\n8\n", stdout)

	bad := write("bad.sql", "\nSELECT\nx;")
	status, _, stderr = piped(t, "\n.read "+bad+"\n", path)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "line 2: "+bad+":2: no such column: x")

	quit := write("quit.sql", ".quit\nSELECT x;")
	status, stdout, stderr = piped(t, ".read "+quit+"\nSELECT y;", path)
	require.Equal(t, exitOK, status, stderr)
	require.Empty(t, stdout)

	self := write("self.sql", "")
	require.NoError(t, os.WriteFile(self, []byte(".read "+self), 0o600))
	status, _, stderr = piped(t, ".read "+self, path)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "16 deep and no deeper")
}

// Ensure that .help lists every command.
func TestShell_help(t *testing.T) {
	_, stdout, _ := piped(t, ".help", file(t, "CREATE TABLE t (a)"))
	for _, c := range []string{".help", ".mode [MODE]", ".quit", ".read FILE", ".schema [NAME]", ".tables [PATTERN]", ".timer [on|off]"} {
		require.Contains(t, stdout, c)
	}
	narrow(t, stdout)
}

// Ensure that the shell is never the server, whatever the environment says.
func TestShell_neverServer(t *testing.T) {
	t.Setenv(driver.RoleEnv, "server")
	path := file(t, "CREATE TABLE t (a)")
	_, stdout, stderr := piped(t, ".mode list\nINSERT INTO t VALUES (1); SELECT sqlite_mem_stats() ->> 'role';", path)
	require.Empty(t, stderr)
	require.Equal(t, "tool\n", stdout)
	require.NoFileExists(t, path+"-memwal")
}

// Ensure that a server that comes, saves and goes while the shell runs is told of, and
// that the shell sees each save.
func TestShell_followsServer(t *testing.T) {
	path := file(t, "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
	cmd := child(t, "shell", "-saved", "-mode", "list", path)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	ask := func() (n string) {
		_, err := io.WriteString(in, "SELECT count(*) FROM t;\n")
		require.NoError(t, err)
		_, err = fmt.Fscanln(out, &n)
		require.NoError(t, err)
		return n
	}
	require.Equal(t, "1", ask())
	server := testdb.Open(t, path+"?sqlite_role=server")
	testdb.Exec(t, server, "INSERT INTO t VALUES (2)")
	require.Equal(t, "1", ask())
	require.NoError(t, driver.Sync(t.Context(), server))
	require.Equal(t, "2", ask())
	testdb.Close(t, server)
	require.Equal(t, "2", ask())
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
	require.Contains(t, errs.String(), fmt.Sprintf("from here on the file as process %d saved it last", os.Getpid()))
	require.Contains(t, errs.String(), "connected anew (the file as process")
	require.Contains(t, errs.String(), "from here on the file, which no server has in memory")
}

// badConnector makes connections that are bad for so many statements.
type badConnector struct {
	sqldriver.Connector
	bad     *atomic.Int64
	queries *atomic.Int64 // that were tried
}

func (c badConnector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return badConn{conn.(wholeConn), c}, nil
}

type wholeConn interface {
	sqldriver.Conn
	sqldriver.ExecerContext
	sqldriver.QueryerContext
}

type badConn struct {
	wholeConn
	of badConnector
}

func (c badConn) QueryContext(ctx context.Context, query string, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	if strings.HasPrefix(query, "INSERT") {
		c.of.queries.Add(1)
	}
	if c.of.bad.Add(-1) >= 0 {
		return nil, sqldriver.ErrBadConn
	}
	return c.wholeConn.QueryContext(ctx, query, args)
}

// Ensure that a statement outside of a transaction begins anew when its connection is
// bad. A transaction on a bad connection is over, and the error says so.
func TestShell_badConnection(t *testing.T) {
	path := file(t, "CREATE TABLE t (a)")
	db, err := openTarget(path, access{})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var bad atomic.Int64
	db.opened.Connector = badConnector{db.opened.Connector, &bad, new(atomic.Int64)}
	var out, errs bytes.Buffer
	s := &shell{db: db, std: stdio{strings.NewReader(""), &out, &errs}, mode: formatNamed("list")}
	ctx := t.Context()

	bad.Store(maxTries - 1)
	require.NoError(t, s.statement(ctx, "SELECT 5"))
	require.Equal(t, "5\n", out.String())
	require.Contains(t, errs.String(), "connected anew")
	bad.Store(maxTries)
	require.ErrorIs(t, s.statement(ctx, "SELECT 6"), sqldriver.ErrBadConn)
	require.NoError(t, s.statement(ctx, "BEGIN"))
	require.NotNil(t, s.conn)
	bad.Store(1)
	require.ErrorContains(t, s.statement(ctx, "INSERT INTO t VALUES (1)"), "(the connection is lost, and the transaction with it)")
	require.Nil(t, s.conn)
	require.NoError(t, s.statement(ctx, "BEGIN"))
	bad.Store(1)
	err = s.statement(ctx, "COMMIT")
	require.ErrorIs(t, err, sqldriver.ErrBadConn)
	require.NotContains(t, err.Error(), "transaction", "what became of it is not known")
	require.NoError(t, s.statement(ctx, "SELECT count(*) FROM t"))
	require.Equal(t, "5\n0\n", out.String())
}

// Ensure that a statement waits for a lock of another program, in a transaction and
// outside of one. The wait ends when the lock is free or the context ends.
func TestShell_locked(t *testing.T) {
	defer func(wait time.Duration) { lockWait = wait }(lockWait)
	lockWait = time.Millisecond
	path := file(t, "CREATE TABLE t (a)")
	other := testdb.Plain(t, path)
	other.SetMaxOpenConns(1)
	db, err := openTarget(path, access{})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var queries atomic.Int64
	db.opened.Connector = badConnector{db.opened.Connector, new(atomic.Int64), &queries}
	var out, errs bytes.Buffer
	s := &shell{db: db, std: stdio{strings.NewReader(""), &out, &errs}, mode: formatNamed("list")}

	for _, begin := range []string{"SELECT 1", "BEGIN"} {
		for _, interrupt := range []bool{true, false} {
			require.NoError(t, s.statement(t.Context(), begin))
			testdb.Exec(t, other, "BEGIN IMMEDIATE")
			queries.Store(0)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- s.statement(ctx, "INSERT INTO t VALUES (1)") }()
			require.Eventually(t, func() bool { return queries.Load() > 3 }, time.Minute, time.Millisecond, "it does not try again")
			if interrupt {
				cancel()
				require.ErrorIs(t, <-ended, errInterrupted)
			}
			testdb.Exec(t, other, "ROLLBACK")
			if !interrupt {
				require.NoError(t, <-ended)
			}
			cancel()
			if begin == "BEGIN" {
				require.NoError(t, s.statement(t.Context(), "ROLLBACK"))
			}
		}
	}
	require.Empty(t, errs.String())
}

// Ensure that a database of another SQLite is read and changed so that it sees the change.
func TestShell_otherSQLite(t *testing.T) {
	path := file(t, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT) STRICT; INSERT INTO t VALUES (1, 'ä')")
	changedInShell(t, path)
	require.Equal(t, "ö", testdb.Text(t, testdb.Plain(t, path), "SELECT b FROM t WHERE a = 2"))
}

// changedInShell reads the row 1 of a table in the shell, and adds the row 2.
func changedInShell(t *testing.T, path string) {
	t.Helper()
	status, stdout, stderr := piped(t, ".mode list\nSELECT b FROM t;\nINSERT INTO t VALUES (2, 'ö');\n", path)
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, "ä\n", stdout)
}

// Ensure that a completion offers the names that begin with the word, quoted where SQL
// needs it. After a table and a dot it offers the columns of that table. It also offers
// the commands and their values.
func TestShell_complete(t *testing.T) {
	path := file(t, `CREATE TABLE lost (x); CREATE TABLE users (user_id, "e-mail" TEXT, Quota); CREATE TABLE used_storage (bytes);
		CREATE VIEW broken AS SELECT * FROM gone; CREATE TABLE "sp ace" (user_x); CREATE TABLE "1st" (y);
		PRAGMA writable_schema = 1;
		UPDATE sqlite_schema SET sql = 'CREATE VIRTUAL TABLE lost USING gone(x)', rootpage = 0 WHERE name = 'lost'`)
	db, err := openTarget(path, access{})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	s := &shell{db: db, std: stdio{err: io.Discard}}
	for _, test := range []struct {
		line   string // | is where the cursor is
		inside bool
		want   string
		from   int
	}{
		{"SELECT us|", false, "used_storage user_id user_x users", 7},
		{"SELECT US| FROM users", false, "used_storage user_id user_x users", 7},
		{"SELECT users.us|", false, "user_id", 13},
		{`SELECT "users"."e|`, false, `"e-mail"`, 15},
		{"SELECT e|", false, `"e-mail"`, 7},
		{`SELECT * FROM "s|`, false, `"sp ace"`, 14},
		{"SELECT u.quo|", false, "Quota", 9},
		{"qu|", true, "Quota", 0},
		{"SELECT zz|", false, "", 7},
		{".t|", false, ".tables .timer", 0},
		{"  .sch|", false, ".schema", 2},
		{".t|", true, `"1st" "e-mail" "sp ace" Quota broken bytes lost used_storage user_id user_x users y`, 0},
		{".mode l|", false, "line list", 6},
		{".timer |", false, "off on", 7},
		{".schema use|", false, "used_storage user_id user_x users", 8},
		{".nothing x|", false, "", 9},
	} {
		before, after, _ := strings.Cut(test.line, "|")
		if test.line == ".t|" && test.inside {
			before = "SELECT "
			test.from = 7
		}
		c := s.complete(before+after, len(before), test.inside)
		require.Equal(t, test.want, strings.Join(c.words, " "), test.line)
		require.Equal(t, test.from, c.from, test.line)
	}
	require.Equal(t, "use", commonPrefix([]string{"used_storage", "User_id", "users"}))
	require.Equal(t, "ä", commonPrefix([]string{"äö", "äü"}))
}

// Ensure that the history lasts from one shell to the next, and that only the user may
// read it. It has no repetitions and no line that begins with a space. Its length is
// bounded.
func TestHistory(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	path := filepath.Join(os.Getenv("XDG_STATE_HOME"), "sqlite-mem", "history")
	failed := func(format string, args ...any) { t.Errorf(format, args...) }

	h := openHistory(failed)
	for _, line := range []string{"first", "", " secret", "second", "second"} {
		h.Add(line)
	}
	require.NoError(t, h.close())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "first\nsecond\n", string(content))
	for _, name := range []string{path, filepath.Dir(path)} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, name)
	}

	// Others may have written to it, and more than is kept.
	require.NoError(t, os.Chmod(path, 0o644))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	for i := range maxHistory {
		_, err = fmt.Fprintf(f, "line %d\n", i)
		require.NoError(t, err)
	}
	_, err = io.WriteString(f, "bad \x1b[31m\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	h = openHistory(failed)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	require.Equal(t, maxHistory, h.Len())
	require.Equal(t, "line 999", h.At(0))
	h.Add("last")
	require.Equal(t, maxHistory, h.Len())
	require.Equal(t, "last", h.At(0))
	require.Equal(t, "line 1", h.At(maxHistory-1))
	require.NoError(t, h.close())
	content, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, maxHistory, bytes.Count(content, []byte("\n")))
	info, err = os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// Ensure that a history that cannot be kept is told of once, and serves this run.
func TestHistory_cannotBeKept(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	require.NoError(t, os.WriteFile(filepath.Join(os.Getenv("XDG_STATE_HOME"), "sqlite-mem"), nil, 0o600))
	var notes []string
	h := openHistory(func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) })
	h.Add("line")
	require.Equal(t, "line", h.At(0))
	require.NoError(t, h.close())
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], "the history is not kept")
}
