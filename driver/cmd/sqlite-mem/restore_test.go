//go:build cgo

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that restore replaces a file, from a file and from standard input, only if it is told what
// becomes of the old database. A file that is not there needs no word.
func TestRestore(t *testing.T) {
	from := file(t, "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
	path := filepath.Join(t.TempDir(), "app.db")
	require.Regexp(t, `^`+regexp.QuoteMeta(path)+`: [0-9.]+ kB in .*, from `+regexp.QuoteMeta(from)+`, in the file, which no server has in memory\n$`, succeed(t, "restore", path, from))
	rows := func(path string) string { return testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t") }
	require.Equal(t, "1", rows(path))

	more := file(t, "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")
	status, stdout, stderr := program(t, "restore", path, more)
	require.Equal(t, exitFailed, status)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "is there already: -keep NEW keeps")
	require.Equal(t, "1", rows(path))

	keep := filepath.Join(t.TempDir(), "old.db")
	require.Contains(t, succeed(t, "restore", "-keep", keep, path, more), "; the old one is "+keep)
	require.Equal(t, "2", rows(path))
	require.Equal(t, "1", rows(keep))
	status, _, stderr = program(t, "restore", "-keep", keep, path, from)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "choose another name for -keep")
	require.Equal(t, "2", rows(path))

	content, err := os.ReadFile(from)
	require.NoError(t, err)
	var out, errs bytes.Buffer
	require.Equal(t, exitOK, run(context.Background(), []string{"restore", "-overwrite", path, "-"}, stdio{bytes.NewReader(content), &out, &errs}), errs.String())
	require.Contains(t, out.String(), "from standard input")
	require.Equal(t, "1", rows(path))
}

// Ensure that restore works on the memory of a server that answers tools, and is refused beside one
// that does not. The server itself goes on.
func TestRestore_besideServer(t *testing.T) {
	from := file(t, "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3)")
	path := testdb.Path(t)
	server := testdb.Open(t, path)
	testdb.Exec(t, server, "CREATE TABLE t (a)")
	status, _, stderr := program(t, "restore", path, from)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "is there already", "though it may not be saved")
	if !live(t, path) {
		return
	}
	keep := filepath.Join(t.TempDir(), "old.db")
	require.Contains(t, succeed(t, "restore", "-keep", keep, path, from), fmt.Sprintf("in the memory of process %d (live); the old one is", os.Getpid()))
	require.Equal(t, "3", testdb.Text(t, server, "SELECT count(*) FROM t"))
	require.Equal(t, "0", testdb.Text(t, testdb.Plain(t, keep), "SELECT count(*) FROM t"))
	succeed(t, "restore", "-overwrite", path, keep)
	require.Equal(t, "0", testdb.Text(t, server, "SELECT count(*) FROM t"))

	silent := testdb.Path(t)
	other := testdb.Open(t, silent+"?sqlite_live=no")
	testdb.Exec(t, other, "CREATE TABLE t (a)")
	require.NoError(t, driver.Sync(t.Context(), other))
	status, _, stderr = program(t, "restore", "-overwrite", silent, from)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, fmt.Sprintf("process %d", os.Getpid()))
	require.Equal(t, "0", testdb.Text(t, other, "SELECT count(*) FROM t"))
}

// Ensure that an error of restore names the file at fault, and leaves the old database.
func TestRestore_errors(t *testing.T) {
	path := file(t, "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
	text := filepath.Join(t.TempDir(), "text.db")
	require.NoError(t, os.WriteFile(text, bytes.Repeat([]byte("hello "), 1000), 0o600))
	for from, want := range map[string]string{
		path + ".missing": "app.db.missing",
		text:              "restore from " + text + ": not a SQLite database",
		path:              path,
		"-":               "the stream has no bytes", // what a program that fails writes
	} {
		status, stdout, stderr := program(t, "restore", "-overwrite", path, from)
		require.Equal(t, exitFailed, status, from)
		require.Empty(t, stdout)
		require.Contains(t, stderr, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorContains(t, restoreError(ctx, path, "", ctx.Err()), "is as it was")
}
