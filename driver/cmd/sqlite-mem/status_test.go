//go:build cgo

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that status names the process that has the database, before its first save and
// after. It says whether it looked at the memory or at the file. If the server answers
// tools, it has the server's counters.
func TestStatus_besideServer(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path+"?sqlite_wal=off") // it saves when it is told to
	testdb.Exec(t, server, "CREATE TABLE t (a); INSERT INTO t VALUES ('saved')")

	type answer struct {
		Owner struct {
			PID   int
			Since time.Time
		}
		Looked string
		Server *driver.Stats
		Schema map[string]int
	}
	ask := func(args ...string) (a answer) {
		require.NoError(t, json.Unmarshal([]byte(succeed(t, append([]string{"status", "-json"}, args...)...)), &a))
		require.Equal(t, os.Getpid(), a.Owner.PID)
		require.WithinDuration(t, time.Now(), a.Owner.Since, time.Minute)
		return a
	}
	out := succeed(t, "status", path)
	require.Contains(t, out, "not there yet")
	require.Contains(t, out, fmt.Sprintf("process %d since", os.Getpid()))

	require.NoError(t, driver.Sync(t.Context(), server))
	testdb.Exec(t, server, "CREATE TABLE u (a)")
	a := ask("-saved", path)
	require.Equal(t, "saved", a.Looked)
	require.Nil(t, a.Server)
	require.Equal(t, 1, a.Schema["tables"])
	out = succeed(t, "status", "-saved", path)
	narrow(t, out)
	require.Contains(t, out, "looked    at the file as that process saved it last")

	if live(t, path) {
		a = ask(path)
		require.Equal(t, "live", a.Looked)
		require.EqualValues(t, 1, a.Server.Unsaved)
		require.Equal(t, 2, a.Schema["tables"])
		out = succeed(t, "status", path)
		narrow(t, out)
		require.Contains(t, out, "looked    live, into the memory of that process")
		require.Contains(t, out, "1 commit since")
	}
	testdb.Close(t, server)
	out = succeed(t, "status", path)
	require.Contains(t, out, "owner     nobody")
	require.Contains(t, out, "looked    at the file")
}

// Ensure that status describes the contents of a file and the files beside it. It
// changes nothing.
func TestStatus(t *testing.T) {
	path := file(t, `PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA user_version = 3; CREATE TABLE a (x UNIQUE);
		CREATE TABLE b (y); CREATE INDEX i ON b (y); CREATE VIEW v AS SELECT 1; CREATE TRIGGER tr AFTER DELETE ON a BEGIN SELECT 1; END`)
	base := filepath.Base(path)
	left := map[string]string{
		base + "-journal": "",
		base + ".sock":    "",
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
		base + "-journal\n            0 bytes", base + ".sock\n            0 bytes", "0123456789abcdef.tmp\n            3 bytes", "20260101T000000Z\n            5 bytes", base + ".kept-1\n            7 bytes",
	} {
		require.Contains(t, out, want)
	}
	require.NotContains(t, out, "other.db")

	var s status
	require.NoError(t, json.Unmarshal([]byte(succeed(t, "status", "-json", path)), &s))
	require.Nil(t, s.Owner)
	require.Equal(t, 8192, s.File.PageSize)
	require.Equal(t, s.File.Size, s.File.Pages*8192)
	require.Len(t, s.Beside, 5)
	require.Equal(t, &schema{Tables: 2, Indexes: 2, Views: 1, Triggers: 1, UserVersion: 3}, s.Schema)

	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1+len(left))
}

// Ensure that status fails and names the file if the file is missing or is no
// database. Of a database with a damaged schema it says that the schema cannot be
// read.
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

// Ensure that the counters of a server are shown in lines that fit the screen. Failures
// are among them.
func TestStatus_counters(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	s := status{Path: "/x.db", Looked: "live", Owner: &owner{PID: 7, Since: at}, Server: &driver.Stats{WAL: "1s"}}
	write := func() string {
		var b bytes.Buffer
		require.NoError(t, s.write(&b, at.Add(time.Hour)))
		narrow(t, b.String())
		return b.String()
	}
	for _, want := range []string{"looked    live, into the memory of that process", "write lock: free", "queue: 0 writers", "oldest reader: none",
		"last save: none; 0 commits since the load", "log: 0 bytes (sqlite_wal=1s)", "a crash now would cost 0 commits"} {
		require.Contains(t, write(), want)
	}
	*s.Server = driver.Stats{
		MemoryLimit: 16e9, MemoryAvailable: 1e9, MaxMemory: 6_000_000, MemoryWarnings: 1,
		DataBytes: 5_000_000, HeldBytes: 4096, Connections: 3, OldestReader: 2 * time.Second,
		WriterHolder: "a transaction of process 9\x1b[31m", WriterHeldFor: time.Second, WriterQueue: 2, WriterWaits: driver.Histogram{Count: 1234, Sum: time.Minute}, BusyErrors: 1,
		LastSave: at, LastBytes: 12_000, LastDuration: time.Millisecond, Unsaved: 4,
		WAL: "off", Unlogged: 4, UncleanStart: true, RecoveredCommits: 2, TornBytes: 10, Restores: 3,
	}
	for _, want := range []string{"data: 5.00 MB; 4.10 kB held for older readers; 3 connections", `held for 1.00 s by a transaction of process 9\x1b[31m`,
		"memory: 1.00 GB of 16.0 GB left in the system; so far 1 warning", "cap: 6.00 MB (sqlite_max_memory)", "queue: 2 writers; so far 1,234 waits, 60.0 s in all, 1 in vain", "oldest reader: since 2.00 s", "(1 h ago)", "12.0 kB in 1.00 ms; 4 commits since",
		"log: none (sqlite_wal=off)", "a crash now would cost 4 commits", "restored: 3 times since the start", "ended uncleanly; its log had 2 commits", "10 bytes of one more"} {
		require.Contains(t, write(), want)
	}
	s.Server.LastError, s.Server.SaveFailures = "the disk is full", 3
	s.Server.WAL, s.Server.LogLastError, s.Server.LogLastFlush, s.Server.LogFailures = "commit", "no space", at, 1
	for _, want := range []string{"last save: FAILED", "3 failures in a row", "the disk is full", "log: FAILED", "1 failure in a row", "no space"} {
		require.Contains(t, write(), want)
	}
	s.Looked, s.Server, s.ServerErr = "saved", nil, "context deadline exceeded"
	require.Contains(t, write(), "does not answer:\n          context deadline exceeded")
}
