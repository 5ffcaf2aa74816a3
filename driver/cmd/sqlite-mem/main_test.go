//go:build cgo

package main

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// program runs the program and returns its exit status and what it wrote.
func program(t testing.TB, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(context.Background(), args, stdio{strings.NewReader(""), &out, &errs})
	return status, out.String(), errs.String()
}

// succeed is program for a command that has to succeed.
func succeed(t testing.TB, args ...string) string {
	t.Helper()
	status, stdout, stderr := program(t, args...)
	require.Equal(t, exitOK, status, stderr+stdout)
	require.Empty(t, stderr)
	return stdout
}

// Ensure that a wrong command line ends with status 2 and a message that names
// the mistake. Standard output stays empty.
func TestRun_usageErrors(t *testing.T) {
	for _, test := range []struct{ args, names string }{
		{"", "usage:"},
		{"serve", `"serve"`},
		{"help serve", `"serve"`},
		{"version x", "x"},
		{"demo -speed 3", "-speed"},
		{"demo a b", "b"},
		{"demo a -seconds 1", "flags go before FILE"},
		{"demo -goroutines 0", "-goroutines 0"},
		{"demo -goroutines many", "many"},
		{"demo -seconds 0", "-seconds 0"},
		{"demo -seconds NaN", "-seconds NaN"},
		{"demo -interval -1s", "-interval -1s"},
		{"demo -rate -1", "-rate -1"},
		{"demo -accounts 10", "-accounts 10"},
		{"demo -accounts 100 x.db", "-accounts"},
		{"query", "FILE is missing"},
		{"query x.db", "SQL is missing"},
		{"query -csv -json x.db SELECT", "-csv and -json"},
		{"status", "FILE is missing"},
		{"recover", "FILE is missing"},
		{"recover x.db y.db", "y.db"},
		{"status x.db y.db", "y.db"},
		{"verify", "FILE is missing"},
		{"verify x.db y.db", "y.db"},
		{"sync", "FILE is missing"},
		{"sync x.db y.db", "y.db"},
		{"backup", "FILE is missing"},
		{"backup x.db", "NEW is missing"},
		{"backup x.db y.db z.db", "z.db"},
		{"restore", "FILE is missing"},
		{"restore x.db", "FROM is missing"},
		{"restore x.db y.db z.db", "z.db"},
		{"restore -keep a.db -overwrite x.db y.db", "-keep and -overwrite"},
		{"shell", "FILE is missing"},
		{"shell x.db SELECT", "SELECT"},
		{"shell -mode yaml x.db", "want table, csv, json, line, list"},
	} {
		status, stdout, stderr := program(t, strings.Fields(test.args)...)
		require.Equal(t, exitUsage, status, test.args)
		require.Contains(t, stderr, test.names, test.args)
		require.Empty(t, stdout, test.args)
	}
}

// Ensure that help fits a screen of 80 columns and 24 lines, and tells of every
// command, flag and exit status.
func TestRun_help(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"help", `sqlite-mem shell sqlite-mem query sqlite-mem status sqlite-mem verify sqlite-mem sync sqlite-mem backup sqlite-mem restore sqlite-mem recover sqlite-mem demo sqlite-mem version Exit 0 1 2`},
		{"-h", `sqlite-mem demo`},
		{"help shell", `FILE -saved -readonly -no-history -mode table csv json line list .help Ctrl-C`},
		{"help sync", `sqlite-mem sync FILE`},
		{"help backup", `FILE NEW -saved`},
		{"help restore", `FILE FROM -keep -overwrite kept-1`},
		{"help demo", `[flags] [FILE] -accounts -goroutines -interval -keep -rate -seconds`},
		{"demo -h", `-seconds`},
		{"help query", `FILE SQL [ARG...] -csv -json -readonly -saved`},
		{"help status", `FILE -json -saved -watch`},
		{"help verify", `FILE -json -saved integrity_check foreign_key_check WRONG 1`},
		{"help recover", `usage: sqlite-mem recover FILE moved aside`},
		{"help version", `usage: sqlite-mem version`},
	} {
		help := succeed(t, strings.Fields(test.args)...)
		for _, word := range strings.Fields(test.want) {
			require.Contains(t, help, word, test.args)
		}
		require.Less(t, strings.Count(help, "\n"), 24, test.args)
		narrow(t, help)
	}
}

// Ensure that no command writes a control character of a file's name, or of an error that
// has it.
func TestRun_controlCharacters(t *testing.T) {
	path := filepath.Join(filepath.Dir(file(t, "CREATE TABLE t (a)")), "\x1b[31m.db")
	require.NoError(t, os.Rename(filepath.Join(filepath.Dir(path), "app.db"), path))
	require.NoError(t, os.WriteFile(path+".kept-1\x1b[32m", nil, 0o600))
	for _, args := range [][]string{
		{"status", path}, {"verify", path}, {"sync", path}, {"recover", path}, {"backup", path, path + "-copy.db"}, {"backup", path, path + "-copy.db"},
		{"query", path, "SELECT missing"}, {"query", path + ".missing", "SELECT 1"}, {"query", "-readonly", path, "DELETE FROM t"}, {"status", path, "\x1b[33m"},
	} {
		_, stdout, stderr := program(t, args...)
		require.NotEmpty(t, stdout+stderr, args)
		require.NotContains(t, stdout+stderr, "\x1b", args)
	}
	server := testdb.Open(t, "file:"+url.PathEscape(path)+"?sqlite_live=no")
	testdb.Exec(t, server, "INSERT INTO t VALUES (1)")
	for _, args := range [][]string{{"status", path}, {"verify", path}, {"sync", path}, {"recover", path}, {"query", path, "SELECT 1"}, {"shell", path}} {
		_, stdout, stderr := program(t, args...)
		require.NotEmpty(t, stdout+stderr, args)
		require.NotContains(t, stdout+stderr, "\x1b", args)
	}
}

// Ensure that version tells the version of SQLite that is linked.
func TestRun_version(t *testing.T) {
	require.Regexp(t, `(?m)^SQLite 3\.\d+\.\d+$`, succeed(t, "version"))
}

// Ensure that the program itself, as a process, ends with the status of its
// command.
func TestMain_exitStatus(t *testing.T) {
	if os.Getenv("SQLITE_MEM_TEST_MAIN") != "" {
		os.Args = append([]string{"sqlite-mem"}, strings.Fields(os.Getenv("SQLITE_MEM_TEST_MAIN"))...)
		if every, err := time.ParseDuration(os.Getenv(watchEveryEnv)); err == nil {
			watchEvery = every
		}
		main()
	}
	for args, want := range map[string]int{"version": exitOK, "status /missing.db": exitFailed, "nonsense": exitUsage} {
		cmd := child(t, args)
		_ = cmd.Run() // what counts is the status
		require.Equal(t, want, cmd.ProcessState.ExitCode(), args)
	}
}

// Ensure that the defaults of the environment reach a command's connections, and that those
// for a server neither change what a command does nor make it say anything.
func TestMain_defaults(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path)
	testdb.Exec(t, db, "CREATE TABLE t(x REFERENCES t)")
	t.Setenv(driver.DefaultsEnv, "sqlite_wal=commit&sqlite_keep=3&sqlite_in_memory=no&sqlite_live=no&sqlite_role=auto&_foreign_keys=on")
	cmd := child(t, "query", path, "PRAGMA/**/foreign_keys")
	var told strings.Builder
	cmd.Stderr = &told
	out, err := cmd.Output()
	require.NoError(t, err, told.String())
	require.Contains(t, string(out), "1")
	require.NotContains(t, told.String(), "INFO")
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, "1s", st.WAL)

	other := filepath.Join(t.TempDir(), "other.db")
	testdb.Exec(t, testdb.Plain(t, other), "CREATE TABLE restored(x)")
	cmd = child(t, "restore", "-overwrite", path, other)
	told.Reset()
	cmd.Stderr = &told
	require.NoError(t, cmd.Run(), told.String())
	require.Equal(t, "0", testdb.Text(t, db, "SELECT count(*) FROM restored"))

	t.Setenv(driver.DefaultsEnv, "nonsense=1")
	cmd = child(t, "query", path, "SELECT/**/1")
	told.Reset()
	cmd.Stderr = &told
	require.Error(t, cmd.Run())
	require.Contains(t, told.String(), driver.DefaultsEnv)
}

// watchEveryEnv is an environment variable that shortens watchEvery of a child.
const watchEveryEnv = "SQLITE_MEM_TEST_WATCH"

// child is the program as a process of its own.
func child(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=TestMain_exitStatus")
	cmd.Env = append(os.Environ(), "SQLITE_MEM_TEST_MAIN="+strings.Join(args, " "))
	return cmd
}

// narrow makes sure that a text fits 80 columns, but for lines that name a file.
func narrow(t testing.TB, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if !strings.Contains(line, "/") {
			require.LessOrEqual(t, utf8.RuneCountInString(line), show.Width, line)
		}
	}
}

// full is a standard output on a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// Ensure that a command whose result cannot be written has failed, and tells why.
func TestRun_outputFails(t *testing.T) {
	path := file(t, "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
	dir := t.TempDir()
	source := filepath.Join(dir, "source.db")
	succeed(t, "backup", path, source)
	for _, args := range [][]string{
		{"help"}, {"help", "query"}, {"query", "-h"}, {"version"},
		{"query", path, "SELECT a FROM t"}, {"status", path}, {"status", "-json", path}, {"verify", path},
		{"sync", path}, {"backup", path, filepath.Join(dir, "new.db")}, {"recover", path}, {"restore", "-overwrite", path, source},
	} {
		var errs bytes.Buffer
		require.Equal(t, exitFailed, run(t.Context(), args, stdio{strings.NewReader(""), full{}, &errs}), "%q", args)
		require.Contains(t, errs.String(), syscall.ENOSPC.Error(), "%q", args)
	}
}
