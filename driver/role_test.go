//go:build cgo

package driver_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// runChild is what this test binary does as a child process. It obeys lines on
// its standard input: "open DSN", "exec SQL", "text SQL", "sync", "close" and
// others. It answers each with "ok TEXT" or "error TEXT". After "begin" it has
// one connection.
func runChild(string) {
	var db *sql.DB
	var held *sql.Conn
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		verb, arg, _ := strings.Cut(in.Text(), " ")
		var answer string
		var err error
		var q interface {
			ExecContext(context.Context, string, ...any) (sql.Result, error)
			QueryRowContext(context.Context, string, ...any) *sql.Row
		} = db
		if held != nil {
			q = held
		}
		switch verb {
		case "open":
			if db, err = sql.Open(driver.Name, arg); err == nil {
				err = db.Ping()
			}
		case "exec":
			_, err = q.ExecContext(ctx, arg)
		case "text":
			err = q.QueryRowContext(ctx, arg).Scan(&answer)
		case "role":
			err = q.QueryRowContext(ctx, "SELECT json_extract(sqlite_mem_stats(), '$.role')").Scan(&answer)
		case "begin":
			if held, err = db.Conn(ctx); err == nil {
				_, err = held.ExecContext(ctx, "BEGIN IMMEDIATE")
			}
		case "commit":
			_, err = held.ExecContext(ctx, "COMMIT")
			err = errors.Join(err, held.Close())
			held = nil
		case "sync":
			err = driver.Sync(ctx, db)
		case "restore": // FILE, or FILE KEEP
			from, keep, _ := strings.Cut(arg, " ")
			err = driver.Restore(ctx, db, from, &driver.RestoreOptions{Keep: keep})
		case "recover":
			_, err = proclock.Acquire(ctx, arg, proclock.Recovery)
		case "descriptors":
			time.Sleep(time.Millisecond) // Go's own are open then
			var n uint64
			if n, err = strconv.ParseUint(arg, 10, 64); err == nil {
				err = limitDescriptors(n)
			}
		case "close":
			err = db.Close()
		case "exit":
			os.Exit(0) // without Close
		case "churn":
			// Commit and save without end, telling of each save.
			for i := 1; err == nil; i++ {
				if _, err = db.Exec("INSERT INTO t(n) VALUES(?)", i); err == nil {
					err = driver.Sync(ctx, db)
				}
				fmt.Println("saved", i)
			}
		}
		if err != nil {
			fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok", answer)
		}
	}
}

// childBinary is the program that the children of a test run, and childAttr the user
// that they run as.
var (
	childBinary = os.Args[0]
	childAttr   *syscall.SysProcAttr
)

type child struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startChild(t testing.TB, env ...string) *child {
	t.Helper()
	cmd := exec.Command(childBinary)
	cmd.SysProcAttr = childAttr
	cmd.Env = append(os.Environ(), "SQLITE_MEM_TEST_CHILD=1")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	c := &child{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(c.kill)
	return c
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func (c *child) send(line string) {
	c.t.Helper()
	_, err := fmt.Fprintln(c.in, line)
	require.NoError(c.t, err)
}

// ask sends a line and returns the answer.
func (c *child) ask(line string) (string, error) {
	c.t.Helper()
	c.send(line)
	answer, err := c.out.ReadString('\n')
	require.NoError(c.t, err)
	verb, text, _ := strings.Cut(strings.TrimSuffix(answer, "\n"), " ")
	if verb != "ok" {
		return "", errors.New(text)
	}
	return text, nil
}

func (c *child) must(line string) string {
	c.t.Helper()
	answer, err := c.ask(line)
	require.NoError(c.t, err, line)
	return answer
}

// Ensure that the first process is the server. A second one without a live connection
// reads the last save, and follows each save. Its writes are refused with the owner's
// process id. It can be the server after the first was killed.
func TestRoles(t *testing.T) {
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path + "?sqlite_wal=off") // so that it saves when it is told to
	server.must("exec CREATE TABLE t(n); INSERT INTO t VALUES(1)")

	// Before the first save there is no file.
	for _, params := range []string{"?sqlite_live=no", "?sqlite_live=no&mode=rw", "?sqlite_in_memory=no&mode=ro", "?sqlite_role=tool&sqlite_live=no"} {
		db, err := sql.Open(driver.Name, path+params)
		require.NoError(t, err)
		err = db.Ping()
		require.NoError(t, db.Close())
		require.ErrorIs(t, err, fs.ErrNotExist, params)
		require.ErrorContains(t, err, "has not saved it")
	}
	server.must("sync")

	db := testdb.Open(t, path+"?sqlite_live=no")
	require.Equal(t, "1", testdb.Text(t, db, "SELECT count(*) FROM t"))
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, driver.RoleTool, st.Role)
	for _, write := range []func() error{
		func() error { _, err := db.Exec("INSERT INTO t VALUES(2)"); return err },
		func() error { _, err := db.Query("INSERT INTO t VALUES(2) RETURNING n"); return err },
		func() error {
			s, err := db.Prepare("DELETE FROM t")
			if err == nil {
				defer s.Close()
				_, err = s.Exec()
			}
			return err
		},
		func() error {
			tx, err := db.Begin()
			require.NoError(t, err, "a transaction that only reads is fine")
			defer func() { require.NoError(t, tx.Rollback()) }()
			require.Equal(t, "1", testdb.Text(t, tx, "SELECT count(*) FROM t"))
			_, err = tx.Exec("DROP TABLE t")
			return err
		},
	} {
		err := write()
		var owned *driver.OwnedError
		require.ErrorAs(t, err, &owned)
		require.Equal(t, server.cmd.Process.Pid, owned.PID)
		require.WithinDuration(t, time.Now(), owned.Since, time.Minute)
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, fmt.Sprint(owned.PID))
	}
	server.must("exec INSERT INTO t VALUES(2)")
	require.Equal(t, "1", testdb.Text(t, db, "SELECT count(*) FROM t"), "not saved yet")
	server.must("sync")
	require.Equal(t, "2", testdb.Text(t, db, "SELECT count(*) FROM t"))
	ro, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	require.NoError(t, err)
	require.Equal(t, "2", testdb.Text(t, ro, "SELECT count(*) FROM t"))
	require.NoError(t, ro.Commit())

	only, err := sql.Open(driver.Name, path+"?sqlite_role=server")
	require.NoError(t, err)
	var owned *driver.OwnedError
	require.ErrorAs(t, only.Ping(), &owned)
	require.Equal(t, server.cmd.Process.Pid, owned.PID)

	server.must("exec INSERT INTO t VALUES(3)")
	server.kill()
	require.Equal(t, "2", testdb.Text(t, only, "SELECT count(*) FROM t"), "what was saved last")
	testdb.Exec(t, only, "INSERT INTO t VALUES(33)")
	testdb.Close(t, only)
	require.Equal(t, "3", testdb.Text(t, db, "SELECT count(*) FROM t"))
}

// Ensure that a tool without a server writes to the file itself, and that SetRole and
// the environment win over the DSN, in that order.
func TestRoles_tool(t *testing.T) {
	path := testdb.Path(t)
	tool := testdb.Open(t, path+"?sqlite_in_memory=no")
	testdb.Exec(t, tool, "CREATE TABLE t(n); INSERT INTO t VALUES(1)")
	require.Equal(t, "1", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"), "written at once")
	require.NoError(t, driver.Sync(ctx, tool))
	require.Equal(t, "0", testdb.Text(t, tool, "SELECT sqlite_mem_sync()"))
	other := startChild(t, driver.RoleEnv+"=server")
	other.must("open " + path + "x?sqlite_role=tool") // the environment wins: it is the server of another file
	require.Equal(t, "server", other.must("role"))
	testdb.Close(t, tool)

	t.Setenv(driver.RoleEnv, "tool")
	db := testdb.Open(t, path)
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, driver.RoleTool, st.Role)
	testdb.Close(t, db)
	require.NoError(t, driver.SetRole(driver.RoleServer))
	defer func() { require.NoError(t, driver.SetRole("")) }()
	db = testdb.Open(t, path+"?sqlite_role=tool")
	st, err = driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, driver.RoleServer, st.Role)
	testdb.Close(t, db)
	require.Error(t, driver.SetRole("boss"))
	require.NoError(t, driver.SetRole(""))
	t.Setenv(driver.RoleEnv, "boss")
	db, err = sql.Open(driver.Name, path)
	require.NoError(t, err)
	require.ErrorContains(t, db.Ping(), "SQLITE_MEM_ROLE=boss")
	require.NoError(t, db.Close())
}

// Ensure that a file in the place of the lock file that is none is left alone.
// It is an error that names it, and decides no role.
func TestRoles_noLockFile(t *testing.T) {
	path := testdb.Path(t)
	plain, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	testdb.Exec(t, plain, "CREATE TABLE t(n); INSERT INTO t VALUES(1)")
	require.NoError(t, plain.Close())
	require.NoError(t, os.Mkdir(path+".lock", 0o700))
	for _, params := range []string{"", "?sqlite_role=server", "?sqlite_role=tool"} {
		db, err := sql.Open(driver.Name, path+params)
		require.NoError(t, err)
		err = db.Ping()
		require.ErrorIs(t, err, driver.ErrLockFile)
		require.ErrorContains(t, err, path+".lock")
		require.NoError(t, db.Close())
	}
	require.NoError(t, os.Remove(path+".lock"))
	testdb.Exec(t, testdb.Open(t, path), "INSERT INTO t VALUES(2)")
}

// Ensure that a process that is killed while it saves, again and again, leaves
// a sound file. The file has everything of the last save that was reported.
func TestCrash_whileSaving(t *testing.T) {
	path := testdb.Path(t)
	deadline := time.Now().Add(*long)
	kills, last := 0, 0
	for ; kills < 5 || time.Now().Before(deadline); kills++ {
		c := startChild(t)
		c.must("open " + path)
		if kills == 0 {
			c.must("exec CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, filler DEFAULT (randomblob(2000)))")
			c.must("sync")
		}
		c.send("churn")
		reported := 0
		for range kills%13 + 1 {
			line, err := c.out.ReadString('\n')
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(line, "saved "), line)
			reported++
		}
		c.kill()
		for { // what it said before it died
			line, err := c.out.ReadString('\n')
			if err != nil {
				break
			}
			if strings.HasPrefix(line, "saved ") {
				reported++
			}
		}
		plain, err := sql.Open("sqlite3", path)
		require.NoError(t, err)
		require.Equal(t, "ok", testdb.Text(t, plain, "PRAGMA integrity_check"))
		var n int
		require.NoError(t, plain.QueryRow("SELECT count(*) FROM t").Scan(&n))
		require.GreaterOrEqual(t, n, last+reported)
		require.LessOrEqual(t, n, last+reported+1, "at most the save that was not reported any more")
		last = n
		require.NoError(t, plain.Close())
	}
	db := testdb.Open(t, path)
	require.Equal(t, fmt.Sprint(last), testdb.Text(t, db, "SELECT count(*) FROM t"))
	testdb.Close(t, db)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "temporary files are removed by the next owner")
	t.Logf("%d kills, %d rows", kills, last)
}
