//go:build cgo

package main

import (
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that sync without a server says that the file has every commit, and folds a
// log that a crash has left. Beside a server that does not answer tools it fails, and
// names its process id. A server that answers tools saves.
func TestSync(t *testing.T) {
	path := crashed(t)
	require.Equal(t, 3, rowsOf(t, path))
	require.Equal(t, "No server has "+path+" in memory: the file holds every commit.\n", succeed(t, "sync", path))
	require.Equal(t, 5, rowsOf(t, path))

	server := testdb.Open(t, path+"?sqlite_wal=off")
	testdb.Exec(t, server, "INSERT INTO t VALUES (6)")
	isLive := live(t, path)
	status, stdout, stderr := program(t, "sync", path)
	if isLive {
		require.Equal(t, exitOK, status, stderr)
		require.Regexp(t, `^`+regexp.QuoteMeta(path)+` holds every commit: .* saved in .*\n$`, stdout)
		require.Equal(t, 6, rowsOf(t, path))
	} else {
		require.Equal(t, exitFailed, status)
		require.Contains(t, stderr, fmt.Sprintf("process %d has it in memory and does not answer tools, so nothing was saved", os.Getpid()))
		require.Empty(t, stdout)
	}
	testdb.Close(t, server)

	status, _, stderr = program(t, "sync", path+".missing")
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, ".missing")
	require.NoFileExists(t, path+".missing")
}

// Ensure that sync tells whether the server had anything to save.
func TestSync_text(t *testing.T) {
	before := driver.Stats{Saves: driver.Histogram{Count: 1}, LastBytes: 5000, LastDuration: time.Second}
	after := driver.Stats{Saves: driver.Histogram{Count: 2}, LastBytes: 12_000, LastDuration: 3 * time.Millisecond}
	require.Equal(t, "x holds every commit: 12.0 kB saved in 3.00 ms.\n", synced("x", before, after))
	require.Equal(t, "x holds every commit: nothing had changed since the last save.\n", synced("x", before, before))
}
