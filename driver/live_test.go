//go:build cgo && linux

package driver_test

import (
	"bytes"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/live"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that a second process that opens the same name works on the server's memory. It
// sees the last commit, and the server sees its writes. Calls for the whole database act
// on the server's memory.
func TestLive(t *testing.T) {
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path)
	server.must("exec CREATE TABLE t(n)")
	server.must("exec INSERT INTO t VALUES(1)")

	tool, err := sql.Open(driver.Name, path)
	require.NoError(t, err)
	defer tool.Close()
	require.Equal(t, "1", testdb.Text(t, tool, "SELECT count(*) FROM t"))
	require.Equal(t, "live", testdb.Text(t, tool, "SELECT json_extract(sqlite_mem_stats(), '$.role')"))
	_, err = tool.Exec("INSERT INTO t VALUES(2)")
	require.NoError(t, err)
	require.Equal(t, "2", server.must("text SELECT count(*) FROM t"))

	st, err := driver.ReadStats(tool)
	require.NoError(t, err)
	require.Equal(t, driver.RoleLive, st.Role)
	require.Equal(t, path, st.Path)
	require.NotZero(t, st.Commits)

	require.NoError(t, driver.Sync(ctx, tool))
	require.Equal(t, "2", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"), "Sync saves the server's memory")
	_, err = tool.Exec("INSERT INTO t VALUES(3)")
	require.NoError(t, err)
	require.NoError(t, driver.SyncAll(ctx))
	copied := testdb.CrashCopy(t, path)
	require.Equal(t, "3", testdb.Text(t, testdb.Open(t, copied+"?sqlite_wal=off"), "SELECT count(*) FROM t"), "SyncAll makes it durable")

	backup := filepath.Join(t.TempDir(), "backup.db")
	require.NoError(t, driver.Backup(ctx, tool, backup))
	require.Equal(t, "3", testdb.Text(t, testdb.Plain(t, backup), "SELECT count(*) FROM t"))
	require.Error(t, driver.Backup(ctx, tool, backup), "nothing is replaced")

	_, err = tool.Exec("INSERT INTO missing VALUES(1)")
	require.Equal(t, "no such table: missing", err.Error())
	var e sqlite3.Error
	require.True(t, errors.As(err, &e))
	_, bare := err.(sqlite3.Error)
	require.True(t, bare, "errors of SQLite stay bare")
	require.Equal(t, sqlite3.ErrError, e.Code)
}

// Ensure that the writes of a tool and of the server queue with each other. The server's
// counters name the tool's process as the holder of the write lock.
func TestLive_writers(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path)
	_, err := server.Exec("CREATE TABLE t(n)")
	require.NoError(t, err)
	tool := startChild(t)
	tool.must("open " + path)
	tool.must("begin")
	tool.must("exec INSERT INTO t VALUES(1)")
	st, err := driver.ReadStats(server)
	require.NoError(t, err)
	require.Contains(t, st.WriterHolder, "process ")
	require.Equal(t, 1, st.Tools)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err = server.ExecContext(short, "INSERT INTO t VALUES(2)")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	tool.must("commit")
	_, err = server.Exec("INSERT INTO t VALUES(2)")
	require.NoError(t, err)

	tool.must("begin")
	tool.must("exec INSERT INTO t VALUES(3)")
	tool.kill()
	_, err = server.Exec("INSERT INTO t VALUES(4)")
	require.NoError(t, err, "the lock of a tool that was killed is free")
	require.Equal(t, "3", testdb.Text(t, server, "SELECT count(*) FROM t"))
}

// Ensure that a tool follows its server. A server ends by a kill or a Close, and
// another one starts. When there is none, the tool becomes the server. Inside a
// transaction a lost server is an error.
func TestLive_servers(t *testing.T) {
	path := testdb.Path(t)
	first := startChild(t)
	first.must("open " + path + "?sqlite_wal=commit")
	first.must("exec CREATE TABLE t(n)")
	tool := testdb.Open(t, path)
	_, err := tool.Exec("INSERT INTO t VALUES(1)")
	require.NoError(t, err)
	tx, err := tool.Begin()
	require.NoError(t, err)
	_, err = tx.Exec("INSERT INTO t VALUES(2)")
	require.NoError(t, err)
	first.kill()
	_, err = tx.Exec("INSERT INTO t VALUES(3)")
	require.Error(t, err)
	require.NotErrorIs(t, err, sqldriver.ErrBadConn)
	require.Error(t, tx.Commit())

	second := startChild(t)
	second.must("open " + path)
	second.must("exec INSERT INTO t VALUES(4)")
	require.Equal(t, "2", testdb.Text(t, tool, "SELECT count(*) FROM t"), "what was acknowledged is there")
	second.must("close")
	require.Equal(t, "2", testdb.Text(t, tool, "SELECT count(*) FROM t"))
	st, err := driver.ReadStats(tool)
	require.NoError(t, err)
	require.Equal(t, driver.RoleServer, st.Role)
	_, err = os.Lstat(path + ".sock")
	require.NoError(t, err, "it serves tools itself now")
}

// Ensure that the last Close of a server ends its tools, and leaves no socket.
func TestLive_close(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path)
	_, err := server.Exec("CREATE TABLE t(n)")
	require.NoError(t, err)
	tool := startChild(t)
	tool.must("open " + path)
	selfish := startChild(t)
	selfish.must("open " + path)
	selfish.must("exec ATTACH '" + path + "' AS self") // it does not keep the store open
	tool.must("begin")
	tool.must("exec INSERT INTO t VALUES(1)")
	require.NoError(t, server.Close())
	_, err = os.Lstat(path + ".sock")
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = tool.ask("exec INSERT INTO t VALUES(2)")
	require.ErrorContains(t, err, "the connection to the server is lost")
	require.Equal(t, "0", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"), "its transaction was rolled back")
}

// Ensure that a live connection behaves like one in the server. Tests of statements,
// transactions and contexts pass over live connections as well. Tests that look at the
// roles, or at the connection of go-sqlite3, are left out.
func TestLive_again(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run", liveRun, "-test.skip", liveSkip,
		"-programs", fmt.Sprint(*programs/2), "-long", (*long / 3).String())
	cmd.Env = append(os.Environ(), testdb.LiveEnv+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// liveRun are the tests that run again, and liveSkip those of them that need go-sqlite3's
// connection, or Go code in the server.
const (
	liveRun  = "^Test(Differential|Parity|Concurrency|History|Tx|Cancel|Returning|Prepare|BusyTimeout|Exec|Statement|Rows|DropIn_(paramValues|cannotWrite|times|modes))"
	liveSkip = "^Test(Statement_(names|authorizer|readOnlyHooked)|Rows_(changedWhileRead|functionCalled)|Parity_authorizer)"
)

// Ensure that a tool's ATTACH and VACUUM INTO refuse a relative path, in whatever form it
// comes. The error names the path and the remedy, and nothing is created in the server's
// directory. Absolute paths, and names in memory, work as in the server.
func TestLive_relativePaths(t *testing.T) {
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path)
	server.must("exec CREATE TABLE t(n); INSERT INTO t VALUES(1)")
	tool := testdb.Open(t, path)
	tool.SetMaxOpenConns(1)
	here, err := os.Getwd()
	require.NoError(t, err)
	for query, arg := range map[string]any{
		"ATTACH 'rel.db' AS o":                               nil,
		"ATTACH rel AS o":                                    nil,
		"ATTACH DATABASE \"rel.db\" AS o":                    nil,
		"ATTACH [rel.db] AS o":                               nil,
		"ATTACH 'r' || 'el.db' AS o":                         nil,
		"/* c */ attach ? as o":                              "rel.db",
		"ATTACH ?1 AS o":                                     "./rel.db",
		"ATTACH 'file:rel.db' AS o":                          nil,
		"ATTACH 'file:rel.db?mode=rwc' AS o":                 nil,
		"ATTACH 'file:%72el.db#x?mode=memory' AS o":          nil,
		"SELECT 1; ATTACH '../rel.db' AS o":                  nil,
		"VACUUM INTO 'rel.db'":                               nil,
		"VACUUM main INTO 'rel.db'":                          nil,
		"vacuum \"main\" -- c\n into 'rel.db' /* c */; -- c": nil,
		"VACUUM INTO ?":                                      "rel.db",
		"VACUUM INTO 'file:rel.db'":                          nil,
	} {
		args := []any{arg}
		if arg == nil {
			args = nil
		}
		_, err := tool.Exec(query, args...)
		require.ErrorContains(t, err, "rel", query)
		require.ErrorContains(t, err, "give an absolute path", query)
		for _, dir := range []string{here, filepath.Dir(here), filepath.Dir(path)} {
			left, err := filepath.Glob(filepath.Join(dir, "rel*"))
			require.NoError(t, err)
			require.Empty(t, left)
		}
	}
	other := filepath.Join(t.TempDir(), "other.db")
	for _, query := range []string{
		"VACUUM", "VACUUM ; INSERT INTO t(n) VALUES(2); DELETE FROM t WHERE n=2", "VACUUM INTO '" + other + "' -- c", "VACUUM main INTO '" + other + "2'; SELECT 1", "ATTACH '" + other + "' AS o", "ATTACH 'file:" + other + "?mode=ro' AS o", "ATTACH 'file://" + other + "' AS o",
		"ATTACH '' AS o", "ATTACH NULL AS o", "ATTACH ':memory:' AS o", "ATTACH \":memory:\" AS o", "ATTACH 'file::memory:' AS o", "ATTACH 'file:name?mode=memory&cache=shared' AS o -- c",
	} {
		_, err := tool.Exec(query)
		require.NoError(t, err, query)
		if strings.HasPrefix(query, "ATTACH") {
			testdb.Exec(t, tool, "DETACH o")
		}
	}
	require.Equal(t, "1", testdb.Text(t, testdb.Plain(t, other), "SELECT count(*) FROM t"))
	require.FileExists(t, other+"2")
}

// Ensure that mode=ro and mode=rw ask for a file or a server. A server that has not saved
// yet has no file, and has the database all the same.
func TestLive_modes(t *testing.T) {
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path + "?sqlite_wal=off")
	server.must("exec CREATE TABLE t(n)")
	require.NoFileExists(t, path)
	for _, role := range []string{"", "&sqlite_role=tool"} {
		rw := testdb.Open(t, path+"?mode=rw"+role)
		testdb.Exec(t, rw, "INSERT INTO t VALUES(1)")
		ro := testdb.Open(t, path+"?mode=ro"+role)
		require.Equal(t, server.must("text SELECT count(*) FROM t"), testdb.Text(t, ro, "SELECT count(*) FROM t"))
		_, err := ro.Exec("INSERT INTO t VALUES(2)")
		require.Equal(t, sqlite3.ErrReadonly, code(err))
	}
	path = testdb.Path(t)
	for _, mode := range []string{"?mode=rw", "?mode=ro"} {
		db, err := sql.Open(driver.Name, path+mode)
		require.NoError(t, err)
		require.ErrorIs(t, db.Ping(), os.ErrNotExist, "no server, no file")
		require.NoError(t, db.Close())
	}
	require.NoFileExists(t, path)
}

// Ensure that a tool does not take the file for all there is if the owner could not write
// its record, as on a full disk. It uses a server that answers, and waits
// for any other owner.
func TestLive_noRecord(t *testing.T) {
	for _, roles := range []string{"", "&sqlite_role=tool"} {
		path := testdb.Path(t)
		testdb.Exec(t, testdb.Plain(t, path), "CREATE TABLE t(n)")
		server := startChild(t)
		server.must("open " + path + "?sqlite_wal=off")
		server.must("exec INSERT INTO t VALUES(1)")
		require.NoError(t, os.Truncate(path+".lock", 0))
		tool := testdb.Open(t, path+"?_busy_timeout=50"+roles)
		require.Equal(t, "1", testdb.Text(t, tool, "SELECT count(*) FROM t"))
		require.Equal(t, driver.RoleLive, role(t, tool))
		server.must("close")

		lock, err := proclock.Acquire(ctx, path, proclock.Server) // nobody knows what it does
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path+".lock", 0))
		_, err = tool.Exec("SELECT count(*) FROM t")
		require.Equal(t, sqlite3.ErrBusy, code(err))
		require.NoError(t, lock.Release())
		require.Equal(t, "1", testdb.Text(t, tool, "SELECT count(*) FROM t"))
	}
}

// Ensure that a tool waits for a server that is loading, and is told when it waits in vain;
// it does not take the file for all there is.
func TestLive_waits(t *testing.T) {
	path := testdb.Path(t)
	testdb.Exec(t, testdb.Plain(t, path), "CREATE TABLE t(n)")
	lock, err := proclock.AcquireLive(ctx, path) // a server before its load
	require.NoError(t, err)
	for _, params := range []string{"?_busy_timeout=50", "?_busy_timeout=50&sqlite_role=tool"} {
		tool, err := sql.Open(driver.Name, path+params)
		require.NoError(t, err)
		require.Equal(t, sqlite3.ErrBusy, code(tool.Ping()))
		require.NoError(t, tool.Close())
	}
	tool, err := sql.Open(driver.Name, path+"?sqlite_role=tool")
	require.NoError(t, err)
	defer tool.Close()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, tool.PingContext(short), context.DeadlineExceeded)
	lock.SetLive(false)
	require.NoError(t, tool.Ping(), "a server that serves no tools after all")
	require.NoError(t, lock.Release())
}

// Ensure that _busy_timeout=0 does not shut a tool out of a server that has loaded.
func TestLive_noWait(t *testing.T) {
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path)
	server.must("exec CREATE TABLE t(n)")
	tool, err := sql.Open(driver.Name, path+"?_busy_timeout=0")
	require.NoError(t, err)
	defer tool.Close()
	require.Equal(t, "0", testdb.Text(t, tool, "SELECT count(*) FROM t"))
}

// Ensure that Sync and SyncAll of a tool do not report success while the server saves
// for the last time. That save may fail.
func TestLive_syncWaits(t *testing.T) {
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path)
	server.must("exec CREATE TABLE t(n)")
	tool, err := sql.Open(driver.Name, path+"?_busy_timeout=50")
	require.NoError(t, err)
	defer tool.Close()
	testdb.Exec(t, tool, "INSERT INTO t VALUES(1)")
	server.must("close")
	lock, err := proclock.AcquireLive(ctx, path) // a server that has removed its socket
	require.NoError(t, err)
	require.Equal(t, sqlite3.ErrBusy, code(driver.Sync(ctx, tool)))
	require.Equal(t, sqlite3.ErrBusy, code(driver.SyncAll(ctx)))
	require.NoError(t, lock.Release())
	require.NoError(t, driver.Sync(ctx, tool), "it has ended, and had saved")
	require.NoError(t, driver.SyncAll(ctx))
}

// Ensure that Sync, SyncAll and the Close of a tool wait for the last save of a server that
// closes while it does what they ask, also if the connection breaks. Then they judge.
func TestLive_syncInterrupted(t *testing.T) {
	for _, how := range []string{"interrupted", "broken"} {
		for _, saved := range []bool{true, false} {
			for what, sync := range map[string]func(*sql.DB) error{
				"Sync":    func(tool *sql.DB) error { return driver.Sync(ctx, tool) },
				"SyncAll": func(*sql.DB) error { return driver.SyncAll(ctx) },
				"Close":   (*sql.DB).Close,
			} {
				if what == "Close" && saved {
					continue // it sees that without asking
				}
				t.Run(fmt.Sprint(how, ", saved ", saved, ", ", what), func(t *testing.T) {
					path := testdb.Path(t)
					server := startChild(t)
					server.must("open " + path)
					server.must("exec CREATE TABLE t(n)")
					tool, err := sql.Open(driver.Name, path+"?sqlite_role=tool")
					require.NoError(t, err)
					defer tool.Close()
					testdb.Exec(t, tool, "INSERT INTO t VALUES(1)")
					if saved {
						server.must("close")
					} else {
						server.kill()
					}
					// Another server closes as soon as it is asked to save.
					lock, err := proclock.AcquireLive(ctx, path)
					require.NoError(t, err)
					asked, cut := make(chan struct{}), make(chan struct{})
					closing, err := live.Listen(live.ServerConfig{
						Path: path,
						Control: func(ctx context.Context, _ live.Peer, _ string, _ []byte, _ io.Reader, _ io.Writer) ([]byte, error) {
							close(asked)
							<-ctx.Done()
							if how == "broken" {
								<-cut
							}
							return nil, ctx.Err()
						},
					})
					require.NoError(t, err)
					result := make(chan error, 1)
					go func() { result <- sync(tool) }()
					select {
					case <-asked:
					case err := <-result:
						require.FailNow(t, "it was not asked", err)
					}
					if how == "broken" {
						now, cancel := context.WithCancel(ctx)
						cancel()
						require.ErrorIs(t, closing.Close(now), context.Canceled)
						close(cut)
					}
					require.NoError(t, closing.Close(ctx))
					require.NoError(t, lock.Release())
					if err = <-result; saved {
						require.NoError(t, err)
					} else {
						require.ErrorIs(t, err, driver.ErrUnsaved)
					}
				})
			}
		}
	}
}

// Ensure that Sync and SyncAll of a tool return nil only if what it committed is known to be
// saved. They say so if its server was killed, or ended without a save, whatever has come
// since: nobody, another server, or this process as the server.
func TestLive_syncLost(t *testing.T) {
	for name, world := range map[string]struct {
		params string
		end    func(*child)
	}{
		"killed":         {"", (*child).kill},
		"killed, no log": {"?sqlite_wal=off", (*child).kill},
		"never saves":    {"?sqlite_sync_interval=never", func(c *child) { c.must("close") }},
	} {
		t.Run(name, func(t *testing.T) {
			path := testdb.Path(t)
			server := startChild(t)
			server.must("open " + path + world.params)
			server.must("exec CREATE TABLE t(n)")
			server.must("sync")
			tool, err := sql.Open(driver.Name, path+"?sqlite_role=tool&_busy_timeout=100")
			require.NoError(t, err)
			defer tool.Close()
			reader, err := sql.Open(driver.Name, path)
			require.NoError(t, err)
			defer reader.Close()
			require.Equal(t, "0", testdb.Text(t, reader, "SELECT count(*) FROM t"))
			testdb.Exec(t, tool, "INSERT INTO t VALUES(1)")
			lost := func(what string) {
				t.Helper()
				for _, err := range []error{driver.Sync(ctx, tool), driver.Sync(ctx, reader), driver.SyncAll(ctx)} {
					require.ErrorIs(t, err, driver.ErrUnsaved, what)
					require.ErrorContains(t, err, path)
					require.ErrorContains(t, err, fmt.Sprintf("process %d", server.cmd.Process.Pid))
					require.ErrorContains(t, err, "may be lost")
				}
			}
			world.end(server)
			lost("nobody serves it")
			second := startChild(t)
			second.must("open " + path)
			lost("the server after it has nothing of it")
			testdb.Exec(t, tool, "CREATE TABLE IF NOT EXISTS u(n)")
			lost("and another commit was saved")
			second.must("close")
			require.NoError(t, reader.Ping())
			require.Equal(t, driver.RoleServer, role(t, reader))
			lost("this process serves it")
			require.NoError(t, reader.Close())
			require.ErrorIs(t, tool.Close(), driver.ErrUnsaved)
			require.NoError(t, driver.SyncAll(ctx), "it was reported to the last that knew")
		})
	}
}

// Ensure that Sync and SyncAll of a tool succeed if its server had saved what the tool had
// committed, whatever its end. They also do if the tool has committed nothing.
func TestLive_syncSaved(t *testing.T) {
	for _, how := range []string{"closed", "closed, and another was killed", "closed, and others too", "closed, and this process serves it", "saved and killed", "not written"} {
		t.Run(how, func(t *testing.T) {
			path := testdb.Path(t)
			server := startChild(t)
			server.must("open " + path + "?sqlite_wal=off")
			server.must("exec CREATE TABLE t(n)")
			tool, err := sql.Open(driver.Name, path+"?sqlite_role=tool")
			require.NoError(t, err)
			defer tool.Close()
			require.Equal(t, "0", testdb.Text(t, tool, "SELECT count(*) FROM t"))
			if how == "not written" {
				server.kill()
			} else {
				testdb.Exec(t, tool, "INSERT INTO t VALUES(1)")
			}
			switch how {
			case "saved and killed":
				require.NoError(t, driver.Sync(ctx, tool))
				server.kill()
			case "closed":
				server.must("close")
			case "closed, and another was killed":
				server.must("close")
				server.must("open " + path)
				require.Equal(t, "1", testdb.Text(t, tool, "SELECT count(*) FROM t"))
				server.kill()
			case "closed, and others too":
				for range 2 {
					server.must("close")
					server.must("open " + path)
					require.Equal(t, "1", testdb.Text(t, tool, "SELECT count(*) FROM t"))
				}
			case "closed, and this process serves it":
				server.must("close")
				testdb.Exec(t, tool, "INSERT INTO t VALUES(2)") // into the file
				db := testdb.Open(t, path)
				testdb.Exec(t, db, "INSERT INTO t VALUES(2)")
				testdb.Close(t, db)
			}
			require.NoError(t, driver.Sync(ctx, tool))
			require.NoError(t, driver.SyncAll(ctx))
		})
	}
}

// Ensure that Close of a tool's sql.DB makes its commits durable, as that of any other
// handle does, and returns an error if they may be lost.
func TestLive_closeDurable(t *testing.T) {
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path + "?sqlite_wal=1h")
	server.must("exec CREATE TABLE t(n)")
	server.must("sync")
	server.must("exec INSERT INTO t VALUES(0)") // the first is flushed at once
	for _, killed := range []bool{false, true} {
		tool, err := sql.Open(driver.Name, path+"?sqlite_role=tool")
		require.NoError(t, err)
		testdb.Exec(t, tool, "INSERT INTO t VALUES(1)")
		if killed {
			server.kill()
			require.ErrorIs(t, tool.Close(), driver.ErrUnsaved)
			continue
		}
		require.NoError(t, tool.Close())
		copied := testdb.CrashCopy(t, path)
		require.Equal(t, "2", testdb.Text(t, testdb.Open(t, copied+"?sqlite_wal=off"), "SELECT count(*) FROM t"))
	}
	require.NoError(t, driver.SyncAll(ctx))
}

// Ensure that what a tool commits behind its DB.Close, or on a connection of Driver.Open, is
// durable when that connection has closed. The Close of a later handle does its part too.
func TestLive_closeDurable_behind(t *testing.T) {
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path + "?sqlite_wal=1h")
	server.must("exec CREATE TABLE t(n)")
	server.must("sync")
	server.must("exec INSERT INTO t VALUES(0)") // the first is flushed at once
	const name = "?sqlite_role=tool"
	want := 1
	durable := func(what string) {
		t.Helper()
		want++
		copied := testdb.CrashCopy(t, path)
		require.Equal(t, fmt.Sprint(want), testdb.Text(t, testdb.Open(t, copied+"?sqlite_wal=off"), "SELECT count(*) FROM t"), what)
	}
	handle := func(what string) {
		t.Helper()
		tool, err := sql.Open(driver.Name, path+name)
		require.NoError(t, err)
		testdb.Exec(t, tool, "INSERT INTO t VALUES(1)")
		require.NoError(t, tool.Close())
		durable(what)
	}
	tool, err := sql.Open(driver.Name, path+name)
	require.NoError(t, err)
	tx, err := tool.Begin()
	require.NoError(t, err)
	testdb.Exec(t, tx, "INSERT INTO t VALUES(1)")
	require.NoError(t, tool.Close())
	require.NoError(t, tx.Commit())
	durable("a transaction behind DB.Close")
	handle("a handle after it")

	for range 2 {
		c, err := (&driver.Driver{}).Open(path + name)
		require.NoError(t, err)
		_, err = c.(sqldriver.ExecerContext).ExecContext(ctx, "INSERT INTO t VALUES(1)", nil)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		durable("a connection by itself")
		handle("a handle after it")
	}

	c, err := (&driver.Driver{}).Open(path + name)
	require.NoError(t, err)
	_, err = c.(sqldriver.ExecerContext).ExecContext(ctx, "INSERT INTO t VALUES(1)", nil)
	require.NoError(t, err)
	server.kill()
	require.ErrorIs(t, c.Close(), driver.ErrUnsaved)
}

// Ensure that Sync and SyncAll of a tool say that everything is in the log, after the kill
// of a server with sqlite_wal=commit. They do until the log is written into the file.
func TestLive_syncLogged(t *testing.T) {
	for _, then := range []string{"?sqlite_role=tool", ""} {
		path := testdb.Path(t)
		server := startChild(t)
		server.must("open " + path + "?sqlite_wal=commit")
		server.must("exec CREATE TABLE t(n)")
		server.must("sync")
		tool, err := sql.Open(driver.Name, path+"?sqlite_role=tool")
		require.NoError(t, err)
		testdb.Exec(t, tool, "INSERT INTO t VALUES(1)")
		server.kill()
		require.ErrorContains(t, driver.Sync(ctx, tool), "all that it had acknowledged is in the log")
		err = driver.SyncAll(ctx)
		require.ErrorIs(t, err, driver.ErrUnsaved)
		require.ErrorContains(t, err, "sqlite-mem recover")
		db := testdb.Open(t, path+then)
		require.Equal(t, "1", testdb.Text(t, db, "SELECT count(*) FROM t"))
		require.NoError(t, driver.Sync(ctx, db))
		require.NoError(t, driver.SyncAll(ctx))
		require.NoError(t, tool.Close())
		require.Equal(t, "1", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM t"))
	}
}

// Ensure that a server that cannot serve tools says so once, however often it is opened.
func TestLive_cannotServe(t *testing.T) {
	path := testdb.Path(t)
	require.NoError(t, os.WriteFile(path+".sock", nil, 0o600))
	var log bytes.Buffer
	for range 2 {
		c, err := driver.NewConnector(&driver.Config{Path: path, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		server := sql.OpenDB(c)
		defer server.Close()
		require.NoError(t, server.Ping())
		require.NoError(t, driver.SyncAll(ctx))
	}
	require.Equal(t, 1, strings.Count(log.String(), "tools of other processes see the file as last saved"))
}

// Ensure that a tool without a live connection reads the file as last saved. The causes
// are sqlite_live=no on either side, Go code that cannot run in the server, and a file
// in the place of the socket.
func TestLive_file(t *testing.T) {
	for name, world := range map[string]struct{ server, tool, socket string }{
		"no at the server": {server: "?sqlite_live=no"},
		"no at the tool":   {tool: "?sqlite_live=no"},
		"a file":           {socket: "precious"},
	} {
		t.Run(name, func(t *testing.T) {
			path := testdb.Path(t)
			if world.socket != "" {
				require.NoError(t, os.WriteFile(path+".sock", []byte(world.socket), 0o600))
			}
			server := startChild(t)
			server.must("open " + path + world.server)
			server.must("exec CREATE TABLE t(n)")
			server.must("sync")
			server.must("exec INSERT INTO t VALUES(1)")
			tool, err := sql.Open(driver.Name, path+world.tool)
			require.NoError(t, err)
			defer tool.Close()
			require.Equal(t, "0", testdb.Text(t, tool, "SELECT count(*) FROM t"))
			_, err = tool.Exec("INSERT INTO t VALUES(2)")
			var owned *driver.OwnedError
			require.ErrorAs(t, err, &owned)
			owner, _, err := proclock.OwnerOf(path)
			require.NoError(t, err)
			require.Equal(t, world.tool != "", owner.Live, "the record says whether the server serves tools")
			if world.socket != "" {
				b, err := os.ReadFile(path + ".sock")
				require.NoError(t, err)
				require.Equal(t, world.socket, string(b))
			}
		})
	}
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path)
	server.must("exec CREATE TABLE t(n)")
	server.must("sync")
	server.must("exec INSERT INTO t VALUES(1)")
	for _, role := range []driver.Role{driver.RoleAuto, driver.RoleTool} {
		var log bytes.Buffer
		c, err := driver.NewConnector(&driver.Config{Path: path, Role: role, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			ConnectHook: func(*sqlite3.SQLiteConn) error { return nil }})
		require.NoError(t, err)
		tool := sql.OpenDB(c)
		require.Equal(t, "0", testdb.Text(t, tool, "SELECT count(*) FROM t"))
		require.NoError(t, tool.Close())
		require.Equal(t, 1, strings.Count(log.String(), "the file is read as last saved"), "the logger is told once")
	}
}
