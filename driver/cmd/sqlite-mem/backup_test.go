//go:build cgo

package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that a backup is a database with the rows of the file. The command's last line
// says whether the backup is of the file or of a server's memory. A pipe gets only that
// line.
func TestBackup(t *testing.T) {
	path := file(t, "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
	to := filepath.Join(t.TempDir(), "new.db")
	out := succeed(t, "backup", path, to)
	require.Regexp(t, `^`+regexp.QuoteMeta(to)+`: [0-9.]+ kB in .*, from the file, which no server has in memory\n$`, out)
	require.Equal(t, "1", testdb.Text(t, testdb.Plain(t, to), "SELECT count(*) FROM t"))
}

// Ensure that beside a server a backup has all that is committed if the server answers
// tools, and with -saved what was saved last.
func TestBackup_besideServer(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path+"?sqlite_wal=off") // it saves when it is told to
	testdb.Exec(t, server, "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
	require.NoError(t, driver.Sync(t.Context(), server))
	testdb.Exec(t, server, "INSERT INTO t VALUES (2)")
	to := filepath.Join(t.TempDir(), "saved.db")
	require.Contains(t, succeed(t, "backup", "-saved", path, to), fmt.Sprintf("from the file as process %d saved it last", os.Getpid()))
	require.Equal(t, "1", testdb.Text(t, testdb.Plain(t, to), "SELECT count(*) FROM t"))
	if !live(t, path) {
		return // the rest is that of a server which answers tools
	}
	to = filepath.Join(t.TempDir(), "live.db")
	require.Contains(t, succeed(t, "backup", path, to), fmt.Sprintf("from the memory of process %d (live)", os.Getpid()))
	require.Equal(t, "2", testdb.Text(t, testdb.Plain(t, to), "SELECT count(*) FROM t"))
}

// Ensure that an error of backup says what to do, and that the exit status is 1. Files
// that exist are left alone.
func TestBackup_errors(t *testing.T) {
	path := file(t, "CREATE TABLE t (a)")
	dir := t.TempDir()
	there := filepath.Join(dir, "there.db")
	require.NoError(t, os.WriteFile(there, []byte("mine"), 0o600))
	for _, test := range []struct{ from, to, want string }{
		{path, there, "there.db is there already, and a backup replaces nothing: remove it, or choose another name"},
		{path, path, "is there already"},
		{path, path + "-journal", "choose another name"},
		{path, filepath.Join(dir, "no", "new.db"), "the directory " + filepath.Join(dir, "no") + " is not there: make it first"},
		{path + ".missing", filepath.Join(dir, "new.db"), "missing"},
	} {
		status, stdout, stderr := program(t, "backup", test.from, test.to)
		require.Equal(t, exitFailed, status, test.to)
		require.Empty(t, stdout)
		require.Contains(t, stderr, test.want)
	}
	content, err := os.ReadFile(there)
	require.NoError(t, err)
	require.Equal(t, "mine", string(content))

	full := fmt.Errorf("sqlite-mem: back up to x: %w", &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
	require.ErrorContains(t, backupError(t.Context(), filepath.Join(dir, "x"), full), "is full")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorContains(t, backupError(ctx, filepath.Join(dir, "x"), ctx.Err()), "interrupted: there is no ")
	require.NotContains(t, backupError(ctx, there, ctx.Err()).Error(), "there is no")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// Ensure that the progress shows bytes, total and rate of the temporary file that grows
// beside the new one. A temporary file that was left there before does not count.
func TestBackup_progress(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "new.db")
	temp := func(i int) string { return filepath.Join(dir, fmt.Sprintf(".new.db.sqlite-mem-%016x.tmp", i)) }
	require.NoError(t, os.WriteFile(temp(1), make([]byte, 5000), 0o600))
	g := newGrowth(to, 4000)
	at := g.start.Add(2 * time.Second)
	require.Empty(t, g.line(at))
	require.NoError(t, os.WriteFile(temp(2), nil, 0o600))
	require.Empty(t, g.line(at))
	require.NoError(t, os.WriteFile(temp(2)+"-journal", make([]byte, 10), 0o600))
	require.NoError(t, os.WriteFile(temp(2), make([]byte, 3000), 0o600))
	require.Equal(t, "3.00 kB of 4.00 kB, 75 %, 1.50 kB a second", g.line(at))
}
