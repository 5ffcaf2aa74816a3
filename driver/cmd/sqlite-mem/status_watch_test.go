//go:build cgo

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// watching runs status -watch in a process of its own, as a command sets the role of its
// process. It returns its lines. stop is Ctrl-C; it returns the exit status.
func watching(t *testing.T, args ...string) (lines *bufio.Scanner, stop func() int) {
	t.Helper()
	cmd := child(t, append([]string{"status", "-watch"}, args...)...)
	cmd.Env = append(cmd.Env, watchEveryEnv+"=10ms")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stop = func() int {
		_ = cmd.Process.Signal(os.Interrupt)
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // what counts is the status
		return cmd.ProcessState.ExitCode()
	}
	t.Cleanup(func() { stop() })
	return bufio.NewScanner(out), stop
}

// Ensure that status -watch off a terminal writes a line for each look. It survives the end
// of the server and finds the next one, and says both. Its rate of commits is that of the
// server. The end of its context is no failure.
func TestStatusWatch(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path+"?sqlite_sync_interval=1h")
	testdb.Exec(t, server, "CREATE TABLE t (a)")
	require.NoError(t, driver.Sync(t.Context(), server))
	lines, stop := watching(t, path)
	next := func(want ...string) string {
		for lines.Scan() {
			line, all := lines.Text(), true
			for _, text := range want {
				all = all && strings.Contains(line, text)
			}
			if all {
				return line
			}
		}
		require.Fail(t, "the watch has ended", want)
		return ""
	}
	me := fmt.Sprintf("process %d", os.Getpid())
	next(me)
	if live(t, path) {
		next("0.0 commits/s", "lock free", "queue 0", "saved 0 s ago", "a crash costs 0 commits", "log ", "held 0 bytes", "no reader", "1 connection")
		tx, err := server.Begin()
		require.NoError(t, err)
		next("lock held ", "holder: transaction")
		require.NoError(t, tx.Rollback())
		testdb.Exec(t, server, "INSERT INTO t VALUES (1)")
		for !strings.Contains(next("commits/s"), " 0.0 commits/s") { // the commit is seen once
		}
	}
	testdb.Close(t, server)
	next(me+" has ended", "file of ")
	next("no server")
	server = testdb.Open(t, path+"?sqlite_live=no")
	testdb.Exec(t, server, "INSERT INTO t VALUES (2)")
	next(me+" has begun", "its memory is not looked at")
	require.Equal(t, exitOK, stop())
}

// Ensure that status -watch -json writes one object a line, with the counters of the server.
func TestStatusWatch_json(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path)
	testdb.Exec(t, server, "CREATE TABLE t (a)")
	lines, stop := watching(t, "-json", path)
	for rates := 0; rates < 2; {
		require.True(t, lines.Scan())
		var m moment
		require.NoError(t, json.Unmarshal(lines.Bytes(), &m))
		require.Equal(t, os.Getpid(), m.Owner.PID)
		if !live(t, path) {
			break
		}
		require.Equal(t, "live", m.Looked)
		require.EqualValues(t, 1, m.Server.Commits)
		if m.CommitsPerSecond != nil {
			rates++
		}
	}
	require.Equal(t, exitOK, stop())
}

// Ensure that status -watch fails at once for a file that nobody has.
func TestStatusWatch_noFile(t *testing.T) {
	path := testdb.Path(t)
	status, stdout, stderr := program(t, "status", "-watch", path)
	require.Equal(t, exitFailed, status)
	require.Empty(t, stdout)
	require.Contains(t, stderr, path)
}

// Ensure that a frame fits its screen, however small that is, and says what it hides.
func TestStatusWatch_frame(t *testing.T) {
	lines := []string{"first", "a line that is long", "third"}
	require.Equal(t, "\x1b[Hfirst\x1b[K\r\na line that is long\x1b[K\r\nthird\x1b[K\x1b[J", frame(lines, 80, 24))
	require.Equal(t, "\x1b[Hfirst\x1b[K\r\na line …\x1b[K\r\nthird\x1b[K\x1b[J", frame(lines, 9, 3))
	require.Equal(t, "\x1b[Hfirst\x1b[K\r\n… and 2 more lines\x1b[K\x1b[J", frame(lines, 30, 2))
	for width := 1; width < 12; width++ {
		for height := 1; height < 5; height++ {
			text := frame(lines, width, height)
			require.LessOrEqual(t, strings.Count(text, "\n"), height-1)
			for row := range strings.SplitSeq(text, "\r\n") {
				row = strings.NewReplacer("\x1b[H", "", "\x1b[K", "", "\x1b[J", "").Replace(row)
				require.LessOrEqual(t, len([]rune(row)), max(width-1, 1))
			}
		}
	}
	require.Len(t, lines, 3)
	require.Equal(t, "third", lines[2])
}

// Ensure that a line of a watch tells failures, and that no text of the server's reaches a
// terminal as a control sequence.
func TestStatusWatch_line(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	rate := 1234.5
	m := &moment{Time: at, Path: "/x\x1b[31m.db", Owner: &owner{PID: 7}, Looked: "live", CommitsPerSecond: &rate, Server: &driver.Stats{
		WriterHolder: "DELETE \x1b[31m", WriterHeldFor: time.Second, WriterQueue: 3, LastSave: at.Add(-time.Hour), LastError: "disk full",
		Unlogged: 5, LossWindow: 2 * time.Second, LogLastError: "no space", HeldBytes: 4096, OldestReader: time.Minute, Connections: 9,
	}}
	for _, want := range []string{"process 7", "1,235 commits/s", "lock held 1.00 s", "queue 3", "save FAILED 1 h ago", "a crash costs 5 commits of 2.00 s", "log FAILED",
		"held 4.10 kB", "oldest reader 60.0 s", "9 connections", `holder: DELETE \x1b[31m`} {
		require.Contains(t, m.line(), want)
	}
	all := strings.Join(m.lines("12:00:00: process 6 has ended"), "\n")
	require.NotContains(t, all+m.line(), "\x1b")
	for _, want := range []string{`/x\x1b[31m.db`, "process 7 has it in memory", "12:00:00: process 6 has ended", "1,235 commits/s", "a crash now would cost 5 commits", "no file yet"} {
		require.Contains(t, all, want)
	}
	m.Server, m.ServerErr = nil, "deadline"
	require.Contains(t, m.line(), "does not answer: deadline")
	m.Owner, m.ServerErr, m.Looked, m.FileErr = nil, "", "file", "gone bad"
	require.Contains(t, m.line(), "no server  file: gone bad")
}
