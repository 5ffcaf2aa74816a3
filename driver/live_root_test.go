//go:build cgo && linux && root

package driver_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that the owner of the file may use a server of root, but not have it open files.
func TestLive_untrusted(t *testing.T) {
	path := rolePath(t, "nobody")
	server := startChild(t)
	server.must("open " + path)
	asUser(t, "nobody", func() {
		tool := startChild(t)
		tool.must("open " + path)
		require.Equal(t, "live", tool.must("role"))
		tool.must("exec INSERT INTO t VALUES(2)")
		tool.must("exec VACUUM")
		other := filepath.Join(filepath.Dir(path), "other.db")
		for _, query := range []string{"ATTACH '" + other + "' AS o", "ATTACH ':memory:' AS o", "VACUUM INTO '" + other + "'", "SELECT load_extension('" + other + "')",
			"PRAGMA temp_store_directory = '" + filepath.Dir(path) + "'", "PRAGMA Hard_Heap_Limit = 1000", "PRAGMA soft_heap_limit = 1000"} {
			_, err := tool.ask("exec " + query)
			require.ErrorContains(t, err, "auth", query)
		}
		require.NoFileExists(t, other)
	})
	server.must("exec VACUUM INTO '" + filepath.Join(t.TempDir(), "own.db") + "'")
}

// Ensure that the server writes no file under a name that a tool of another user gives: a restore of
// that tool is refused if it names a file for the state before, and nothing is restored. Without
// that it is allowed, as it changes no more than SQL could. A tool of root may name the file.
func TestLive_untrustedRestore(t *testing.T) {
	path := rolePath(t, "nobody")
	from := rolePath(t, "nobody")
	server := startChild(t)
	server.must("open " + path)
	server.must("exec INSERT INTO t VALUES(2)")
	keep := filepath.Join(filepath.Dir(path), "before.db")
	asUser(t, "nobody", func() {
		tool := startChild(t)
		tool.must("open " + path)
		require.Equal(t, "live", tool.must("role"))
		_, err := tool.ask("restore " + from + " " + keep)
		require.ErrorContains(t, err, "the server keeps no state under a name that another user gives")
		require.Equal(t, "2", tool.must("text SELECT count(*) FROM t"))
		require.NoFileExists(t, keep)
		tool.must("restore " + from)
		require.Equal(t, "1", tool.must("text SELECT count(*) FROM t"))
		require.NoFileExists(t, keep)
	})
	tool := startChild(t)
	tool.must("open " + path)
	tool.must("exec INSERT INTO t VALUES(3)")
	tool.must("restore " + from + " " + keep)
	require.Equal(t, "1", tool.must("text SELECT count(*) FROM t"))
	require.Equal(t, "2", testdb.Text(t, testdb.Plain(t, keep), "SELECT count(*) FROM t"))
}

// Ensure that a tool of another user may use what the server's ConnectHook has made, files
// included, and may not name files itself. If the hook takes the means to keep it from that,
// it is turned away, and a tool of root is not.
func TestLiveGuest_hookUntrusted(t *testing.T) {
	path := rolePath(t, "nobody")
	other := filepath.Join(t.TempDir(), "other.db")
	server := hooked(t, path, func(c *sqlite3.SQLiteConn) error {
		_, err := c.Exec("ATTACH '"+other+"' AS o; CREATE TABLE IF NOT EXISTS o.t(n)", nil)
		return errors.Join(err, c.RegisterFunc("twice", func(n int64) int64 { return 2 * n }, true))
	})
	asUser(t, "nobody", func() {
		tool := startChild(t)
		tool.must("open " + path)
		require.Equal(t, "live", tool.must("role"))
		require.Equal(t, "6", tool.must("text SELECT twice(3)"))
		require.Equal(t, "0", tool.must("text SELECT count(*) FROM o.t"))
		for _, query := range []string{"ATTACH '" + other + "' AS p", "VACUUM INTO '" + other + "2'", "SELECT load_extension('" + other + "')"} {
			_, err := tool.ask("exec " + query)
			require.ErrorContains(t, err, "auth", query)
		}
		tool.kill()
	})
	require.NoError(t, server.Close())

	hooked(t, path, func(c *sqlite3.SQLiteConn) error {
		c.RegisterAuthorizer(func(int, string, string, string) int { return sqlite3.SQLITE_OK })
		return nil
	})
	asUser(t, "nobody", func() {
		_, err := startChild(t).ask("open " + path)
		require.ErrorContains(t, err, "sets an authorizer")
	})
	tool := startChild(t)
	tool.must("open " + path)
	require.Equal(t, "live", tool.must("role"))
}
