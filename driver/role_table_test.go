//go:build cgo && unix

package driver_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// world is a state of affairs, made by another process, in which a process opens the
// database. It is a row of the table in internal/DESIGN.md, section 6. The file has
// one row at first.
type world struct {
	name string
	make func(t *testing.T, path string) (ends func())

	// expect has the expected result for each role asked for.
	expect map[string]seen
}

// seen is the result of a process that opens the database.
type seen struct {
	role  string // "" and failure if it cannot be opened
	rows  string
	write string // a part of the error of a write; "": it works
	fails string // a part of the error of opening
}

// roles returns the results of processes that ask for auto, server and tool.
// sqlite_in_memory=no is a tool like any other.
func roles(auto, server, tool seen) map[string]seen {
	return map[string]seen{"auto": auto, "server": server, "tool": tool, "direct": tool}
}

// allRoles returns the same result for every role asked for.
func allRoles(s seen) map[string]seen { return roles(s, s, s) }

// nobodyHasIt returns the results if no other process has the database.
func nobodyHasIt(rows string) map[string]seen {
	server := seen{role: "server", rows: rows}
	return roles(server, server, seen{role: "tool", rows: rows})
}

// start lets a child open path with parameters.
func start(t *testing.T, path, params string) *child {
	c := startChild(t)
	c.must("open " + path + params)
	return c
}

func quit(c *child) {
	_, _ = fmt.Fprintln(c.in, "close")
	_, _ = c.out.ReadString('\n')
	c.kill()
}

const shortly = "_busy_timeout=300"

var worlds = []world{
	{
		"nobody",
		func(*testing.T, string) func() { return func() {} },
		nobodyHasIt("1"),
	},
	{
		"a server, with a row that is not saved",
		func(t *testing.T, path string) func() {
			c := start(t, path, "?sqlite_role=server")
			c.must("exec INSERT INTO t VALUES(2)")
			return func() { quit(c) }
		},
		map[string]seen{
			"auto":   {role: "live", rows: "2"},
			"server": {fails: "is owned by process"},
			"tool":   {role: "live", rows: "2"},
			"direct": {role: "tool", rows: "1", write: "whose next save"},
		},
	},
	{
		"a server was killed that had a log",
		func(t *testing.T, path string) func() {
			c := start(t, path, "?sqlite_wal=commit")
			c.must("exec INSERT INTO t VALUES(2)")
			c.kill()
			return func() {}
		},
		nobodyHasIt("2"),
	},
	{
		"a server was killed that had no log",
		func(t *testing.T, path string) func() {
			c := start(t, path, "?sqlite_wal=off")
			c.must("exec INSERT INTO t VALUES(2)")
			c.kill()
			return func() {}
		},
		nobodyHasIt("1"),
	},
	{
		"a server was closed",
		func(t *testing.T, path string) func() {
			c := start(t, path, "")
			c.must("exec INSERT INTO t VALUES(2)")
			c.must("close")
			return c.kill
		},
		nobodyHasIt("2"),
	},
	{
		"a tool that has read and written",
		func(t *testing.T, path string) func() {
			c := start(t, path, "?sqlite_role=tool")
			c.must("text SELECT count(*) FROM t")
			c.must("exec INSERT INTO t VALUES(2)")
			return func() { quit(c) }
		},
		nobodyHasIt("2"),
	},
	{
		"a tool in a write transaction",
		func(t *testing.T, path string) func() {
			c := start(t, path, "?sqlite_in_memory=no")
			c.must("begin")
			c.must("exec INSERT INTO t VALUES(2)")
			return func() { quit(c) }
		},
		roles(seen{fails: "is writing to it"}, seen{fails: "is writing to it"}, seen{role: "tool", rows: "1", write: "locked"}),
	},
	{
		"a tool was killed in a write transaction",
		func(t *testing.T, path string) func() {
			c := start(t, path, "?sqlite_in_memory=no&_cache_size=1")
			c.must("begin")
			// More than the cache holds: there is a hot journal.
			c.must("exec WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<5000) INSERT INTO t SELECT randomblob(100) FROM c")
			c.kill()
			return func() {}
		},
		nobodyHasIt("1"),
	},
	{
		"a recovery, with a log that a crash has left",
		func(t *testing.T, path string) func() {
			c := start(t, path, "?sqlite_wal=commit")
			c.must("exec INSERT INTO t VALUES(2)")
			c.kill()
			r := startChild(t)
			r.must("recover " + path)
			return r.kill
		},
		allRoles(seen{fails: "is being recovered by process"}),
	},
	{
		"no file",
		func(t *testing.T, path string) func() {
			require.NoError(t, os.Remove(path))
			return func() {}
		},
		nobodyHasIt("no such table"),
	},
	{
		"a server that has not saved a new database yet",
		func(t *testing.T, path string) func() {
			require.NoError(t, os.Remove(path))
			c := start(t, path, "?sqlite_wal=off")
			c.must("exec CREATE TABLE t(n)")
			return func() { quit(c) }
		},
		map[string]seen{
			"auto":   {role: "live", rows: "0"},
			"server": {fails: "is owned by process"},
			"tool":   {role: "live", rows: "0"},
			"direct": {fails: "has not saved it yet"},
		},
	},
	{
		"a file that may not be written",
		func(t *testing.T, path string) func() {
			require.NoError(t, os.Chmod(path, 0o444))
			return func() {}
		},
		roles(seen{role: "tool", rows: "1", write: "readonly"}, seen{fails: "permission denied"}, seen{role: "tool", rows: "1", write: "readonly"}),
	},
	{
		"a directory that may not be written",
		func(t *testing.T, path string) func() {
			dir := filepath.Dir(path)
			require.NoError(t, os.Chmod(dir, 0o555))
			return func() { _ = os.Chmod(dir, 0o755) }
		},
		roles(seen{role: "tool", rows: "1", write: "readonly"}, seen{fails: "permission denied"}, seen{role: "tool", rows: "1", write: "readonly"}),
	},
}

// params are the data source names' parameters by the role that is asked for.
var roleParams = map[string]string{
	"auto":   "?" + shortly,
	"server": "?sqlite_role=server&" + shortly,
	"tool":   "?sqlite_role=tool&" + shortly,
	"direct": "?sqlite_in_memory=no&" + shortly,
}

// needsUser reports whether permissions decide in a world. Root is above them.
func needsUser(w world) bool { return strings.Contains(w.name, "may not be written") }

// Ensure that the table of states and roles in internal/DESIGN.md is true. It lists
// the role, the rows and the permitted writes of a process. They depend on the role
// that it asks for and on the process that has the database. The process is the owner
// of the file, and root where that makes a difference.
func TestRoles_table(t *testing.T) {
	for _, w := range worlds {
		for asked, want := range w.expect {
			for _, user := range users(w) {
				t.Run(fmt.Sprintf("%s/%s/%s", w.name, asked, user), func(t *testing.T) {
					path := rolePath(t, user)
					asUser(t, user, func() {
						ends := w.make(t, path)
						defer ends()
						expectSeen(t, startChild(t), path, roleParams[asked], want)
					})
				})
			}
		}
	}
}

// Ensure that a process follows when the other ends, by a close or by a kill.
// It sees all that was committed and not lost with that. It may write, with its
// next connection at the latest.
func TestRoles_otherEnds(t *testing.T) {
	for _, asked := range []string{"auto", "tool", "direct"} {
		for _, end := range []string{"close", "kill"} {
			for _, wal := range []string{"commit", "off"} {
				t.Run(asked+"/"+end+"/"+wal, func(t *testing.T) {
					path := rolePath(t, "")
					server := start(t, path, "?sqlite_wal="+wal)
					server.must("exec INSERT INTO t VALUES(2)")
					p := start(t, path, roleParams[asked])
					rows, role := "2", "tool"
					if asked == "direct" {
						require.Equal(t, "1", p.must("text SELECT count(*) FROM t"))
						require.Equal(t, "tool", p.must("role"))
						_, err := p.ask("exec INSERT INTO t VALUES(3)")
						require.ErrorContains(t, err, "whose next save")
					} else {
						require.Equal(t, "2", p.must("text SELECT count(*) FROM t"))
						require.Equal(t, "live", p.must("role"))
						p.must("exec INSERT INTO t VALUES(3)")
						rows = "3"
					}
					if end == "close" {
						server.must("close")
					} else {
						server.kill()
						if wal == "off" {
							rows = "1"
						}
					}
					if asked == "auto" {
						role = "server"
					}
					require.Equal(t, rows, p.must("text SELECT count(*) FROM t"))
					require.Equal(t, role, p.must("role"))
					p.must("exec INSERT INTO t VALUES(4)")
					if _, err := p.ask("close"); rows == "1" && asked != "direct" {
						require.ErrorContains(t, err, "did not record that everything was saved", "its row 3 is lost")
					} else {
						require.NoError(t, err)
					}
					after := startChild(t)
					after.must("open " + path)
					require.Equal(t, fmt.Sprint(1+map[string]int{"1": 1, "2": 2, "3": 3}[rows]), after.must("text SELECT count(*) FROM t"))
				})
			}
		}
	}
}

// Ensure that tools and servers come and go beside each other in any order. An
// idle tool keeps no server out, is refused while there is one, and follows its
// saves. It writes again when the server has gone, and a third process sees
// what both have written.
func TestRoles_three(t *testing.T) {
	path := rolePath(t, "")
	tool := start(t, path, "?sqlite_role=tool&sqlite_live=no")
	require.Equal(t, "1", tool.must("text SELECT count(*) FROM t"))
	tool.must("exec INSERT INTO t VALUES('tool')")
	for round := range 3 {
		rows := 2 + 2*round
		server := start(t, path, "?sqlite_role=server&sqlite_wal=commit")
		second := start(t, path, "?sqlite_live=no")
		require.Equal(t, "tool", second.must("role"))
		require.Equal(t, fmt.Sprint(rows), server.must("text SELECT count(*) FROM t"))
		server.must("exec INSERT INTO t VALUES('server')")
		_, err := tool.ask("exec INSERT INTO t VALUES('tool')")
		require.ErrorContains(t, err, fmt.Sprint(server.cmd.Process.Pid))
		require.Equal(t, fmt.Sprint(rows), tool.must("text SELECT count(*) FROM t"), "not saved yet")
		server.must("sync")
		require.Equal(t, fmt.Sprint(rows+1), tool.must("text SELECT count(*) FROM t"))
		require.Equal(t, fmt.Sprint(rows+1), second.must("text SELECT count(*) FROM t"))
		if round%2 == 0 {
			server.must("close")
		} else {
			server.kill()
		}
		second.kill()
		tool.must("exec INSERT INTO t VALUES('tool')")
	}
	tool.must("close")
	last := start(t, path, "")
	require.Equal(t, "8", last.must("text SELECT count(*) FROM t"))
	require.Equal(t, "ok", last.must("text PRAGMA integrity_check"))
}

// Ensure that a server which starts beside a tool in a write transaction waits for its
// end and then has what it committed.
func TestRoles_serverWaitsForTool(t *testing.T) {
	path := rolePath(t, "")
	tool := start(t, path, "?sqlite_role=tool&sqlite_live=no")
	tool.must("begin")
	tool.must("exec INSERT INTO t VALUES(2)")
	server := startChild(t)
	server.send("open " + path)
	time.Sleep(50 * time.Millisecond)
	tool.must("commit")
	line, err := server.out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ok \n", line)
	require.Equal(t, "server", server.must("role"))
	require.Equal(t, "2", server.must("text SELECT count(*) FROM t"))
	_, err = tool.ask("exec INSERT INTO t VALUES(3)")
	require.ErrorContains(t, err, "whose next save")
}

func expectSeen(t *testing.T, c *child, path, params string, want seen) {
	_, err := c.ask("open " + path + params)
	if want.fails != "" {
		require.ErrorContains(t, err, want.fails)
		return
	}
	require.NoError(t, err)
	require.Equal(t, want.role, c.must("role"))
	rows, err := c.ask("text SELECT count(*) FROM t")
	if err != nil {
		rows = err.Error()
	}
	require.Contains(t, rows, want.rows)
	_, err = c.ask("exec CREATE TABLE u(x)")
	if want.write != "" {
		require.ErrorContains(t, err, want.write)
		return
	}
	require.NoError(t, err)
	require.Equal(t, "ok", c.must("text PRAGMA integrity_check"))
	if want.role == "live" {
		c.must("sync") // the server has the table, and goes on
	}
	c.must("close")
	plain := testdb.Plain(t, path)
	testdb.Exec(t, plain, "SELECT * FROM u")
	require.Equal(t, "ok", testdb.Text(t, plain, "PRAGMA integrity_check"))
}

const nobody = 65534

// users are those as whom the processes of a world run. Where permissions decide nothing,
// the second one is for a complete run.
func users(w world) []string {
	if os.Getuid() != 0 {
		return []string{""}
	}
	switch {
	case needsUser(w):
		return []string{"nobody"}
	case thorough():
		return []string{"", "nobody"}
	}
	return []string{""}
}

// rolePath makes a database with one row, which belongs to user.
func rolePath(t *testing.T, user string) string {
	// Not t.TempDir: another user has to reach it.
	dir, err := os.MkdirTemp("", "roles")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	path := filepath.Join(dir, "app.db")
	plain := testdb.Plain(t, path)
	testdb.Exec(t, plain, "CREATE TABLE t(n); INSERT INTO t VALUES(1)")
	require.NoError(t, plain.Close())
	if user == "nobody" {
		require.NoError(t, os.Chmod(dir, 0o755))
		require.NoError(t, os.Chown(dir, nobody, nobody))
		require.NoError(t, os.Chown(path, nobody, nobody))
	}
	return path
}

// asUser runs f with children that are of user.
func asUser(t *testing.T, user string, f func()) {
	if user == "nobody" {
		binary := childBinary
		// The folder in which Go has built it is for its owner alone.
		dir, err := os.MkdirTemp("", "roles")
		require.NoError(t, err)
		defer func() { require.NoError(t, os.RemoveAll(dir)) }()
		require.NoError(t, os.Chmod(dir, 0o755))
		b, err := os.ReadFile(binary)
		require.NoError(t, err)
		open := filepath.Join(dir, "child") // a copy, as a link would need the same file system
		require.NoError(t, os.WriteFile(open, b, 0o755))
		childBinary = open
		childAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		defer func() { childBinary, childAttr = binary, nil }()
	}
	f()
}
