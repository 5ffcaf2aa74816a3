//go:build cgo

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// tty is the user's end of the terminal of a child.
type tty struct {
	t      testing.TB
	master *os.File
	cmd    *exec.Cmd
	shown  bytes.Buffer // not yet waited for
}

// patience bounds each wait, so that a test that fails ends.
const patience = time.Minute

// onTerminal runs the program on a terminal of 100 columns.
func onTerminal(t testing.TB, args ...string) *tty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = master.Close() })
	raw, err := master.SyscallConn()
	require.NoError(t, err)
	var n int
	require.NoError(t, raw.Control(func(fd uintptr) {
		size := unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100})
		unlock := unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		err = errors.Join(err, size, unlock)
	}))
	require.NoError(t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	cmd := child(t, args...)
	if !slices.Contains(cmd.Env, "TERM=dumb") {
		cmd.Env = append(cmd.Env, "TERM=xterm")
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Start())
	require.NoError(t, slave.Close())
	t.Cleanup(func() {
		if cmd.ProcessState == nil { // the test has failed
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return &tty{t: t, master: master, cmd: cmd}
}

// send types.
func (y *tty) send(keys string) {
	y.t.Helper()
	_, err := y.master.WriteString(keys)
	require.NoError(y.t, err)
}

// wait waits for a text, and returns what was shown up to its end.
func (y *tty) wait(text string) string {
	y.t.Helper()
	require.NoError(y.t, y.master.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 4096)
	for {
		if i := bytes.Index(y.shown.Bytes(), []byte(text)); i >= 0 {
			return string(y.shown.Next(i + len(text)))
		}
		n, err := y.master.Read(buf)
		y.shown.Write(buf[:n])
		require.NoError(y.t, err, "waiting for %q, seen: %q", text, y.shown.String())
	}
}

// end waits for the end of the program, and returns its status and the rest that was
// shown.
func (y *tty) end() (status int, rest string) {
	y.t.Helper()
	require.NoError(y.t, y.master.SetReadDeadline(time.Now().Add(patience)))
	_, err := y.shown.ReadFrom(y.master)
	require.ErrorIs(y.t, err, syscall.EIO, "the other side is not closed")
	_ = y.cmd.Wait() // what counts is the status
	return y.cmd.ProcessState.ExitCode(), y.shown.String()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// endless is a statement that does not end by itself.
const endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"

// Ensure that the prompt shows how the database is seen, an unfinished statement, and an
// open transaction. An error does not end the shell. Ctrl-D rolls back the open
// transaction, says so, and is no failure.
func TestShellTerminal_prompt(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	path := file(t, "CREATE TABLE t (a)")
	y := onTerminal(t, "shell", path)
	require.Contains(t, y.wait("app.db (file)> "), "no server has in memory")
	y.send("SELECT 'two\r")
	y.wait("\x1b[?2004h          ...> ")
	y.send("lines' AS x;\r")
	y.wait(`two\nlines`)
	y.wait("app.db (file)> ")
	y.send("SELECT missing;\r")
	y.wait("error: no such column: missing")
	y.wait("app.db (file)> ")
	y.send("BEGIN; INSERT INTO t VALUES (1);\r")
	y.wait("app.db (file, transaction)> ")
	y.send("SELECT count(*) AS n FROM t;\r")
	y.wait("n\r\n-\r\n1\r\n")
	y.wait("app.db (file, transaction)> ")
	y.send("UNFINISHED\r")
	y.wait("...> ")
	y.send("\x04")
	status, rest := y.end()
	require.Equal(t, exitOK, status)
	require.Contains(t, rest, "not run, as its ; is missing: UNFINISHED")
	require.Contains(t, rest, "the open transaction was rolled back")
	require.Equal(t, "0", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
}

// Ensure that Ctrl-C stops the running statement and not the shell, and that the error
// says what became of the transaction. At the prompt it clears the line, and the
// statement that the line continues.
func TestShellTerminal_interrupt(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	path := file(t, "CREATE TABLE t (a)")
	y := onTerminal(t, "shell", path)
	y.wait("> ")
	y.send("BEGIN;\r")
	y.wait("transaction)> ")
	y.send("SELECT 'now' AS x; SELECT count(*) FROM (" + endless + ");\r")
	y.wait("---\r\nnow\r\n")
	y.send("\x03")
	y.wait("error: interrupted")
	y.wait("transaction)> ")
	y.send("INSERT INTO t " + endless + ";\r")
	require.Eventually(t, func() bool { return exists(path + "-journal") }, patience, time.Millisecond, "it does not write")
	y.send("\x03")
	y.wait("error: interrupted (the transaction was rolled back)")
	y.wait("(file)> ")
	y.send("SELECT\r")
	y.wait("...> ")
	y.send("nothing\x03SELECT 5 AS five;\r")
	y.wait("^C")
	y.wait("five\r\n----\r\n   5\r\n")
	y.wait("(file)> ")
	y.send(".quit\r")
	status, _ := y.end()
	require.Equal(t, exitOK, status)
}

// Ensure that Ctrl-C ends the wait for a lock of another program. The statement runs once
// the lock is free. PRAGMA busy_timeout limits the wait.
func TestShellTerminal_locked(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	path := file(t, "CREATE TABLE t (a)")
	other := testdb.Plain(t, path)
	other.SetMaxOpenConns(1)
	testdb.Exec(t, other, "BEGIN IMMEDIATE")
	y := onTerminal(t, "shell", path)
	y.wait("> ")
	y.send("SELECT 'now' AS x; INSERT INTO t VALUES (1);\r")
	y.wait("---\r\nnow\r\n")
	y.send("\x03")
	y.wait("error: interrupted")
	y.wait("> ")
	y.send("PRAGMA busy_timeout = 0; INSERT INTO t VALUES (2);\r")
	y.wait("error: database is locked")
	y.wait("> ")
	y.send("PRAGMA busy_timeout = 200; SELECT 'now' AS x; INSERT INTO t VALUES (3);\r")
	y.wait("---\r\nnow\r\n")
	testdb.Exec(t, other, "COMMIT")
	y.wait("(file)> ")
	y.send("SELECT sum(a) AS sum FROM t;\r")
	y.wait("sum\r\n---\r\n  3\r\n")
	y.wait("> ")
	y.send("\x04")
	y.end()
}

// Ensure that Tab completes a unique name and lists several. A pasted Tab does not
// complete.
func TestShellTerminal_completion(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	path := file(t, `CREATE TABLE accounts (account_name, quota); INSERT INTO accounts VALUES ('ann', 5);
		CREATE TABLE "ac`+"\x1b"+`[31m" (x)`)
	y := onTerminal(t, "shell", path)
	y.wait("> ")
	y.send("SELECT quo\t FROM acco\t")
	y.wait("FROM account")
	y.send("\t")
	y.wait("account_name  accounts")
	y.send("s;\r")
	y.wait("quota\r\n-----\r\n    5\r\n")
	y.wait("> ")
	y.send("SELECT ac\t")
	require.NotContains(t, y.wait("accounts"), "\x1b[31m")
	y.send("\x15.mo\t li\t")
	y.wait("line  list")
	y.send("st\r")
	y.wait("> ")
	y.send("\x1b[200~SELECT 'a\tb';\r\x1b[201~")
	y.wait(`a\tb` + "\r\n")
	y.wait("> ")
	y.send("\x04")
	status, _ := y.end()
	require.Equal(t, exitOK, status)
}

// Ensure that the next shell has the lines typed before, and a shell without a history
// has none. .timer works at the prompt, and a line that is too long is an error.
func TestShellTerminal_history(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	path := file(t, "CREATE TABLE t (a)")
	y := onTerminal(t, "shell", path)
	y.wait("> ")
	y.send("SELECT 'kept' AS kept;\r")
	y.wait("----\r\nkept\r\n")
	y.send(" SELECT 'space';\r")
	y.wait("-----\r\nspace\r\n")
	y.wait("> ")
	y.send("\x04")
	y.end()

	y = onTerminal(t, "shell", path)
	y.wait("> ")
	y.send("\x1b[A\r")
	y.wait("----\r\nkept\r\n")
	y.send(".timer on\r")
	y.wait("> ")
	y.send("SELECT 1;\r")
	y.wait("time: ")
	y.wait("> ") // before, the terminal itself would take the line, and cut it
	y.send(strings.Repeat("x", maxLine) + "\r")
	y.wait("error: a line at the prompt has at most 4095 characters")
	y.wait("> ")
	y.send("\x04")
	y.end()

	y = onTerminal(t, "shell", "-no-history", path)
	y.wait("> ")
	y.send("\x1b[ASELECT 'none' AS none;\r")
	y.wait("none\r\n----\r\nnone\r\n")
	y.wait("> ")
	y.send("\x04")
	y.end()
	content, err := os.ReadFile(filepath.Join(os.Getenv("XDG_STATE_HOME"), "sqlite-mem", "history"))
	require.NoError(t, err)
	require.Contains(t, string(content), "SELECT 'kept' AS kept;\n.timer on\n")
	require.NotContains(t, string(content), "space")
	require.NotContains(t, string(content), "none")
}

// Ensure that no value, name, error or file name sends control characters to the
// terminal, in any mode.
func TestShellTerminal_escapes(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	dir := filepath.Join(t.TempDir(), "d\x1b[35m")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "a\x1b[36m.db")
	db := testdb.Plain(t, path)
	testdb.Exec(t, db, "CREATE TABLE \"n\x1b[31m\" (\"c\x1b[32m\"); INSERT INTO \"n\x1b[31m\" VALUES ('v\x1b[33m\u009b34m')")
	require.NoError(t, db.Close())
	y := onTerminal(t, "shell", path)
	seen := y.wait("(file)> ")
	for _, mode := range formatNames() {
		y.send(".mode " + mode + "\r")
		seen += y.wait("(file)> ")
		y.send("SELECT * FROM \"n\\x1b[31m\";\r") // is no such table
		seen += y.wait("(file)> ")
		y.send("SELECT * FROM temp.sqlite_schema, main.sqlite_schema; SELECT 'v' || char(27) || '[33m' || char(155) || '34m' AS \"c\";\r")
		seen += y.wait("(file)> ")
	}
	for _, text := range []string{".tables\r", ".schema\r", "SELECT \"x\"(1);\r", ".read nothing\r"} {
		y.send(text)
		seen += y.wait("(file)> ")
	}
	y.send("\x04")
	_, rest := y.end()
	seen += rest
	for _, color := range []string{"31", "32", "33", "34", "35", "36"} {
		require.NotContains(t, seen, "\x1b["+color+"m")
		require.NotContains(t, seen, "\u009b"+color+"m")
	}
	require.Contains(t, seen, `\x1b[33m`)
	require.Contains(t, seen, `\u001b[33m\u009b34m`) // JSON
	require.Contains(t, seen, `\x1b[36m.db (file)> `)
}

// Ensure that a terminal on which nothing can be edited has a prompt, too, and that an
// error ends nothing there.
func TestShellTerminal_dumb(t *testing.T) {
	t.Setenv("TERM", "dumb")
	y := onTerminal(t, "shell", file(t, "CREATE TABLE t (a)"))
	y.wait("app.db (file)> ")
	y.send("SELECT missing;\r")
	y.wait("error: no such column: missing")
	y.wait("app.db (file)> ")
	y.send("BEGIN;\r")
	y.wait("app.db (file, transaction)> ")
	y.send("SELECT 'now' AS x; SELECT count(*) FROM (" + endless + ");\r")
	y.wait("---\r\nnow\r\n")
	y.send("\x03")
	y.wait("error: interrupted")
	y.wait("app.db (file, transaction)> ")
	y.send("\x04")
	status, rest := y.end()
	require.Equal(t, exitOK, status)
	require.Contains(t, rest, "the open transaction was rolled back")
	require.NotContains(t, rest, "\x1b")
}

// Ensure that SIGTERM ends the shell at its prompt, with status 1, the transaction rolled
// back and the terminal as it was.
func TestShellTerminal_terminated(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	path := file(t, "CREATE TABLE t (a)")
	y := onTerminal(t, "shell", path)
	y.wait("> ")
	y.send("BEGIN; INSERT INTO t VALUES (1);\r")
	y.wait("transaction)> ")
	require.NoError(t, y.cmd.Process.Signal(syscall.SIGTERM))
	status, rest := y.end()
	require.Equal(t, exitFailed, status)
	require.Contains(t, rest, "the open transaction was rolled back")
	require.Contains(t, rest, "ended by a signal")
	require.Contains(t, rest, "\x1b[?2004l")
	require.Equal(t, "0", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
}

// Ensure that beside a server the prompt says what the shell sees. Live it sees a row
// that the server has committed. With -saved it sees the file as saved last.
func TestShellTerminal_besideServer(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	path := testdb.Path(t)
	server := testdb.Open(t, path+"?sqlite_wal=off") // it saves when it is told to
	testdb.Exec(t, server, "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
	require.NoError(t, driver.Sync(t.Context(), server))
	testdb.Exec(t, server, "INSERT INTO t VALUES (2)")

	y := onTerminal(t, "shell", "-saved", path)
	y.wait(fmt.Sprintf("the file as process %d saved it last", os.Getpid()))
	y.wait("app.db (saved)> ")
	y.send("SELECT count(*) AS n FROM t;\r")
	y.wait("n\r\n-\r\n1\r\n")
	y.send("INSERT INTO t VALUES (3);\r")
	y.wait("owned by process")
	y.wait("app.db (saved)> ")
	y.send("\x04")
	status, _ := y.end()
	require.Equal(t, exitOK, status)

	if !live(t, path) {
		return // the rest is that of a server which answers tools
	}
	y = onTerminal(t, "shell", path)
	y.wait(fmt.Sprintf("the memory of process %d (live)", os.Getpid()))
	y.wait("app.db (live)> ")
	y.send("INSERT INTO t VALUES (3);\r")
	y.wait("app.db (live)> ")
	require.Equal(t, "3", testdb.Text(t, server, "SELECT count(*) FROM t"))
	y.send("BEGIN; DELETE FROM t;\r")
	y.wait("app.db (live, transaction)> ")
	y.send("\x04")
	_, rest := y.end()
	require.Contains(t, rest, "the open transaction was rolled back")
	require.Equal(t, "3", testdb.Text(t, server, "SELECT count(*) FROM t"))
}
