//go:build cgo

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that on a terminal status -watch rewrites another screen and fits a window that has
// become small. Ctrl-C ends it with status 0. The terminal is as before then, with the
// last look on it.
func TestStatusWatch_terminal(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path)
	testdb.Exec(t, server, "CREATE TABLE t (a)")
	y := onTerminal(t, "status", "-watch", path)
	first := y.wait(screenRest)
	require.Contains(t, first, screenOther+screenTop)
	require.Contains(t, first, path)
	raw, err := y.master.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 3, Col: 30})
	}))
	require.NoError(t, err)
	y.wait("more lines" + lineRest + screenRest)
	y.send("\x03")
	status, rest := y.end()
	require.Equal(t, exitOK, status)
	require.Contains(t, rest, screenOwn+path)
}

// Ensure that verify shows its progress on a terminal, by table, and that the progress is
// gone when the result stands there.
func TestVerifyTerminal(t *testing.T) {
	y := onTerminal(t, "verify", file(t, "CREATE TABLE one (a); CREATE TABLE two (a)"))
	seen := y.wait("in order")
	require.Contains(t, seen, "file: integrity of table 1 of 3: one")
	require.Contains(t, seen, "\rpath ")
	status, _ := y.end()
	require.Equal(t, exitOK, status)
}
