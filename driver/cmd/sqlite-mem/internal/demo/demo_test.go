//go:build cgo

package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// run runs a demo that has to work, and returns what it wrote.
func run(t testing.TB, o Options) string {
	t.Helper()
	require.NoError(t, o.Check())
	var out bytes.Buffer
	require.NoError(t, Run(t.Context(), o, &out), out.String())
	return out.String()
}

// narrow makes sure that a report fits the screen, but for lines that name a file.
func narrow(t testing.TB, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if !strings.Contains(line, "/") {
			require.LessOrEqual(t, utf8.RuneCountInString(line), show.Width, line)
		}
	}
}

// find1 returns what a pattern's group matches in a text.
func find1(t testing.TB, text, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	require.Len(t, found, 2, "%s in:\n%s", pattern, text)
	return found[1]
}

// number reads "1,234".
func number(t testing.TB, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.ReplaceAll(s, ",", ""), 10, 64)
	require.NoError(t, err)
	return n
}

// Ensure that plain SQLite finds in the file what the demo's report says of it.
// The role in the environment does not matter.
func TestDemo_mail(t *testing.T) {
	t.Setenv(driver.RoleEnv, "tool")
	dir := t.TempDir()
	report := run(t, Options{Accounts: 200, Goroutines: 8, Seconds: 0.8, Keep: dir})
	narrow(t, report)
	require.NotContains(t, report, "FAILED")
	require.Contains(t, report, "no errors")
	require.Contains(t, report, "200 accounts of 200")

	file := testdb.Plain(t, filepath.Join(dir, "mail.db"))
	require.Equal(t, "ok", testdb.Text(t, file, "PRAGMA integrity_check"))
	require.Equal(t, "200", testdb.Text(t, file, "SELECT count(*) FROM passwords"))
	delivered := number(t, find1(t, report, `messages: ([0-9,]+) bytes by the workers`))
	require.Positive(t, delivered)
	require.Equal(t, fmt.Sprint(delivered), testdb.Text(t, file, "SELECT sum(CAST(value AS INTEGER)) FROM used_storage"))

	// The operations are all accounted for, and were served in both ways.
	operations := number(t, find1(t, report, `served +([0-9,]+) operations`))
	sum := int64(0)
	for line := range strings.Lines(report) {
		if f := strings.Fields(line); len(f) > 2 && strings.HasPrefix(line, "  ") {
			switch f[0] {
			case "reads", "writes", "deliveries":
				sum += number(t, f[1])
			}
		}
	}
	require.Equal(t, operations, sum)
	require.Contains(t, report, "while a snapshot runs")
	require.Positive(t, number(t, find1(t, report, `saved +([0-9,]+) snapshots? under that load`)))
}

// Ensure that the demo overwrites no database, and says which.
func TestDemo_keepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	o := NewOptions()
	o.Keep = filepath.Dir(path)
	require.ErrorContains(t, Run(t.Context(), o, io.Discard), path)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "mine", string(content))
}

// trigger calls a function when a text is written.
type trigger struct {
	bytes.Buffer
	text string
	once sync.Once
	f    func()
}

func (w *trigger) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.text) {
		w.once.Do(w.f)
	}
	return n, err
}

// Ensure that Ctrl-C while it serves ends the demo with its report, and leaves
// nothing in the temporary folder.
func TestDemo_interrupted(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout := &trigger{text: "serve ", f: cancel}
	require.NoError(t, Run(ctx, Options{Accounts: 100, Goroutines: 4, Seconds: 1000}, stdout))
	require.Contains(t, stdout.String(), "REPORT (interrupted)")
	require.Contains(t, stdout.String(), "integrity_check by plain SQLite: ok")
	narrow(t, stdout.String())
	empty(t, temp)
}

// Ensure that Ctrl-C before it serves is a failure that says so, and leaves
// nothing in the temporary folder.
func TestDemo_interruptedEarly(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout bytes.Buffer
	require.ErrorContains(t, Run(ctx, NewOptions(), &stdout), "interrupted")
	require.NotContains(t, stdout.String(), "REPORT")
	empty(t, temp)
}

func empty(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// anySchema is a database with what is hard to copy or to read at random.
const anySchema = `
	PRAGMA user_version = 7;
	PRAGMA application_id = 1234;
	CREATE TABLE plain (a, b TEXT NOT NULL UNIQUE, at DATETIME, CHECK (a <> 5));
	CREATE TABLE keyed (k1 TEXT COLLATE NOCASE, k2 DATETIME, v BLOB, PRIMARY KEY (k2, k1)) WITHOUT ROWID;
	CREATE TABLE odd ("rowid" TEXT, "select" INTEGER, "a""b" GENERATED ALWAYS AS ("select" + 1));
	CREATE TABLE nameless (rowid, _rowid_, oid);
	CREATE TABLE demo_counters (id INTEGER PRIMARY KEY AUTOINCREMENT, n);
	CREATE TABLE log (what);
	CREATE TABLE empty (x);
	CREATE VIRTUAL TABLE docs USING fts4(body);
	CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1);
	CREATE VIEW every AS SELECT a FROM plain UNION ALL SELECT v FROM keyed;
	CREATE INDEX part ON plain (a) WHERE a > 3;
	CREATE TRIGGER noted AFTER INSERT ON plain BEGIN INSERT INTO log VALUES (new.a); END;
	WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
		INSERT INTO plain SELECT i, 'row ' || i, iif(i % 2, i, 'no date') FROM n;
	INSERT INTO keyed SELECT b, at, randomblob(20) FROM plain;
	INSERT INTO odd ("rowid", "select") SELECT 'same', i FROM (SELECT 1 AS i UNION SELECT 2);
	INSERT INTO nameless VALUES (1, 2, 3);
	INSERT INTO demo_counters (n) VALUES (1), (2);
	INSERT INTO docs VALUES ('some text'), ('more of it');
	INSERT INTO boxes VALUES (1, 0, 1), (2, 3, 4);
`

// Ensure that the demo accepts a database of any schema. The original and its
// -wal stay byte for byte as they are. The copy that it saves has the same rows,
// those in the -wal included.
func TestDemo_copy(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "some file?.db")
	writer, err := openPlain(path, "")
	require.NoError(t, err)
	defer func() { require.NoError(t, writer.Close()) }()
	testdb.Exec(t, writer, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
	testdb.Exec(t, writer, anySchema)
	before, err := gather(t.Context(), writer, 10)
	require.NoError(t, err)
	sums := func() (list [][32]byte) {
		for _, suffix := range []string{"", "-wal"} {
			content, err := os.ReadFile(path + suffix)
			require.NoError(t, err)
			require.NotEmpty(t, content)
			list = append(list, sha256.Sum256(content))
		}
		return list
	}
	bytesBefore := sums()

	keep := t.TempDir()
	report := run(t, Options{Goroutines: 8, Seconds: 0.4, Keep: keep, File: path})
	narrow(t, report)
	require.NotContains(t, report, "FAILED")
	require.NotContains(t, report, "left out")
	require.Contains(t, report, "and its -wal")
	require.Contains(t, report, "as in the original")
	require.Equal(t, bytesBefore, sums())

	entries, err := os.ReadDir(keep)
	require.NoError(t, err)
	for _, e := range entries {
		require.Contains(t, []string{"some file?.db", "some file?.db.lock"}, e.Name())
	}
	copied, err := openPlain(filepath.Join(keep, "some file?.db"), "mode=rw")
	require.NoError(t, err)
	defer func() { require.NoError(t, copied.Close()) }()
	after, err := gather(t.Context(), copied, 0)
	require.NoError(t, err)
	require.Empty(t, before.differences(after))
	require.Equal(t, "391", testdb.Text(t, copied, "SELECT count(*) FROM plain"))
}

// Ensure that the demo serves a database without a table, too.
func TestDemo_copyOfNothing(t *testing.T) {
	path := testdb.Path(t)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	report := run(t, Options{Goroutines: 2, Seconds: 0.1, File: path})
	require.Contains(t, report, "all 0 rows of 0 tables are")
}

// Ensure that the demo fails on a file that is no database, and names it.
func TestDemo_notADatabase(t *testing.T) {
	path := testdb.Path(t)
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600))
	for _, name := range []string{path, path + ".missing", filepath.Dir(path)} {
		o := NewOptions()
		o.File = name
		require.ErrorContains(t, Run(t.Context(), o, io.Discard), filepath.Base(name))
	}
}

// Ensure that a table which plain SQLite cannot read is named as left out, and
// the others are served.
func TestDemo_unreadableTable(t *testing.T) {
	path := testdb.Path(t)
	file, err := openPlain(path, "")
	require.NoError(t, err)
	testdb.Exec(t, file, "CREATE TABLE good (a); INSERT INTO good VALUES (1); CREATE TABLE strange (a, b)")
	testdb.Exec(t, file, "PRAGMA writable_schema = 1")
	testdb.Exec(t, file, "UPDATE sqlite_schema SET sql = 'CREATE TABLE strange (a, b AS (of_another_program(a)))' WHERE name = 'strange'")
	require.NoError(t, file.Close())
	report := run(t, Options{Goroutines: 2, Seconds: 0.1, File: path})
	require.Contains(t, report, "left out: strange (")
	require.Contains(t, report, "all 1 row of 1 table are")
}

// Ensure that a difference of any kind between two databases is found.
func TestFacts_differences(t *testing.T) {
	facts := func(change string) *facts {
		file := testdb.Plain(t, ":memory:")
		file.SetMaxOpenConns(1)
		testdb.Exec(t, file, anySchema)
		testdb.Exec(t, file, "UPDATE keyed SET v = zeroblob(20);"+change)
		f, err := gather(t.Context(), file, 5)
		require.NoError(t, err)
		return f
	}
	original := facts("")
	require.Empty(t, original.differences(facts("")))
	for change, want := range map[string]string{
		"DELETE FROM plain WHERE a = 20":                      "plain had 391 rows and has 390",
		"UPDATE plain SET at = 'x' WHERE a = 20":              "plain has other values",
		"UPDATE plain SET a = 20.0 WHERE a = 20":              "plain has other values",
		"UPDATE keyed SET v = x'00' WHERE k1 = 'row 20'":      "keyed has other values",
		"UPDATE log SET rowid = 1000 WHERE rowid = 391":       "log has other values",
		"UPDATE docs SET body = 'other' WHERE docid = 1":      "docs_content has other values",
		"DROP INDEX part":                                     "gone from the schema: index part",
		"CREATE TABLE more (x)":                               "table more is new",
		"DROP TABLE empty":                                    "table empty is gone",
		"DROP VIEW every; CREATE VIEW every AS SELECT 1 AS a": "new in the schema: view every",
		"PRAGMA user_version = 8":                             "user_version=8",
		"PRAGMA application_id = 8":                           "application_id=8",
	} {
		require.Contains(t, strings.Join(original.differences(facts(change)), "\n"), want, change)
	}
}

// Ensure that the demo notices a commit that is not in the file.
func TestMail_verify(t *testing.T) {
	ctx := t.Context()
	path := testdb.Path(t)
	db := testdb.Open(t, path)
	m := newMail(10)
	require.NoError(t, m.fill(ctx, db, func(int) {}))
	require.NoError(t, m.prepare(ctx, db, 2))
	for _, w := range m.workers {
		for range 30 {
			require.NoError(t, errors.Join(w.read(ctx), w.write(ctx), w.transaction(ctx)))
		}
	}
	require.NoError(t, driver.Sync(ctx, db))

	file, err := openPlain(path, "mode=rw")
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	file.SetMaxOpenConns(1)
	for change, wrong := range map[string]int{
		"SELECT 1": -1,
		"DELETE FROM quotas WHERE username = 'u100003@chat.example'":                                                               0,
		"UPDATE used_storage SET value = value + 1 WHERE value > 0 AND key IN (SELECT max(key) FROM used_storage WHERE value > 0)": 1,
		"DELETE FROM server_counters WHERE key LIKE '% 1'":                                                                         1,
		"UPDATE passwords SET value = 'x' WHERE key = 'u100001@chat.example'":                                                      2,
	} {
		testdb.Exec(t, file, "BEGIN")
		testdb.Exec(t, file, change)
		findings, err := m.verify(ctx, file, func(string) {})
		require.NoError(t, err)
		testdb.Exec(t, file, "ROLLBACK")
		for i, f := range findings {
			if change == "DELETE FROM quotas WHERE username = 'u100003@chat.example'" && i == 2 {
				continue // the quota of that account may have been one that was changed
			}
			require.Equal(t, i != wrong, f.ok, "%s: %s", change, f.text)
		}
	}
}

// Ensure that a report with a finding that is not well, or with errors, says
// FAILED and is not taken for a success.
func TestReport_failed(t *testing.T) {
	for _, r := range []report{
		{times: new(times), findings: []finding{{true, "fine"}, {false, "rows are missing"}}},
		{times: new(times), failed: 3, firstErr: errors.New("database is locked")},
		{times: new(times), busy: 1},
	} {
		var out bytes.Buffer
		require.False(t, r.write(show.NewScreen(&out)))
		require.Contains(t, out.String(), "FAILED")
	}
	var out bytes.Buffer
	require.True(t, (&report{times: new(times), findings: []finding{{true, "fine"}}}).write(show.NewScreen(&out)))
	require.NotContains(t, out.String(), "FAILED")
}
