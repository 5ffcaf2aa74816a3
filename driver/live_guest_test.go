//go:build cgo && linux

package driver_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// served opens a database with a table t in this process, which serves it.
func served(t *testing.T, params string) (*sql.DB, string) {
	t.Helper()
	path := testdb.Path(t)
	db := testdb.Open(t, path+params)
	testdb.Exec(t, db, "CREATE TABLE t(n)")
	return db, path
}

// notOwned makes sure that no process has the database.
func notOwned(t *testing.T, path string) {
	t.Helper()
	_, owned, err := proclock.OwnerOf(path)
	require.NoError(t, err)
	require.False(t, owned, path)
}

// Ensure that a tool's ATTACH of another database of the server does not keep that open. Its
// last Close ends the tool's connection and rolls back. The tool's own database goes on.
func TestLiveGuest_attached(t *testing.T) {
	a, pathA := served(t, "")
	b, pathB := served(t, "")
	idle, busy, waiting := startChild(t), startChild(t), startChild(t)
	for _, tool := range []*child{idle, busy, waiting} {
		tool.must("open " + pathA)
		tool.must("exec ATTACH '" + pathB + "' AS b")
		require.Equal(t, "0", tool.must("text SELECT count(*) FROM b.t"))
	}
	idle.must("exec INSERT INTO b.t VALUES(1)")
	busy.must("begin")
	busy.must("exec INSERT INTO b.t VALUES(2)")
	waiting.send("exec INSERT INTO b.t VALUES(3)")
	queued(t, b)

	require.NoError(t, b.Close())
	notOwned(t, pathB)
	require.Equal(t, "1", testdb.Text(t, testdb.Plain(t, pathB), "SELECT group_concat(n) FROM t"))
	busy.send("exec INSERT INTO b.t VALUES(4)")
	for _, tool := range []*child{busy, waiting} {
		answer, err := tool.out.ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, answer, "the connection to the server is lost")
		require.Contains(t, answer, "the server is closing "+pathB)
	}
	require.Equal(t, "0", idle.must("text SELECT count(*) FROM t"), "a new connection to the first database")
	_, err := idle.ask("text SELECT count(*) FROM b.t")
	require.ErrorContains(t, err, "no such table: b.t")
	require.NoError(t, driver.Sync(ctx, a))
}

// Ensure that two databases whose tools have attached each other's can be closed, one after
// the other and at the same time. One tool holds the write locks, the other waits for them.
func TestLiveGuest_crosswise(t *testing.T) {
	for _, together := range []bool{false, true} {
		a, pathA := served(t, "")
		b, pathB := served(t, "")
		attach := func(own, other string) *child {
			tool := startChild(t)
			tool.must("open " + own)
			tool.must("exec ATTACH '" + other + "' AS other")
			require.Equal(t, "0", tool.must("text SELECT count(*) FROM other.t"))
			return tool
		}
		holds, waits := attach(pathA, pathB), attach(pathB, pathA)
		holds.must("begin")
		holds.must("exec INSERT INTO other.t VALUES(1)")
		waits.send("exec INSERT INTO other.t VALUES(2)")
		queued(t, a)
		var wg sync.WaitGroup
		for _, db := range []*sql.DB{b, a} {
			wg.Go(func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			if !together {
				wg.Wait()
			}
		}
		wg.Wait()
		notOwned(t, pathA)
		notOwned(t, pathB)
		require.Zero(t, store.Count())
	}
}

// queued waits until a writer waits for the write lock of db.
func queued(t *testing.T, db *sql.DB) {
	t.Helper()
	require.Eventually(t, func() bool {
		st, err := driver.ReadStats(db)
		return err == nil && st.WriterQueue == 1
	}, time.Minute, time.Millisecond)
}

// Ensure that a tool's ATTACH of a database that is only in memory lives as long as the
// attachment.
func TestLiveGuest_memory(t *testing.T) {
	a, path := served(t, "")
	tool := startChild(t)
	tool.must("open " + path)
	tool.must("exec ATTACH 'file:TestLiveGuest?mode=memory&cache=shared' AS m")
	tool.must("exec CREATE TABLE m.t(n)")
	other, err := sql.Open(driver.Name, "file:TestLiveGuest?mode=memory&cache=shared")
	require.NoError(t, err)
	require.Equal(t, "0", testdb.Text(t, other, "SELECT count(*) FROM t"))
	require.NoError(t, other.Close())
	tool.must("exec INSERT INTO m.t VALUES(1)")
	require.NoError(t, a.Close())
	require.Zero(t, store.Count())
}

// hooked opens path with a connect hook and extensions in this process, which serves it.
func hooked(t *testing.T, path string, hook func(*sqlite3.SQLiteConn) error, extensions ...string) *sql.DB {
	t.Helper()
	c, err := driver.NewConnector(&driver.Config{Path: path, Extensions: extensions, ConnectHook: hook, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	db := sql.OpenDB(c)
	require.NoError(t, db.Ping())
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// Ensure that a tool sees what the server's ConnectHook gives to a connection: functions,
// collations, hooks, attached databases and extensions. The hook of the sql.DB that opened the file
// counts, and its error is the tool's.
func TestLiveGuest_hook(t *testing.T) {
	_, attached := served(t, "")
	path := testdb.Path(t)
	var commits atomic.Int32
	var fails atomic.Bool
	server := hooked(t, path, func(c *sqlite3.SQLiteConn) error {
		if fails.Load() {
			return errors.New("the hook fails")
		}
		c.RegisterCommitHook(func() int { commits.Add(1); return 0 })
		_, err := c.Exec("ATTACH '"+attached+"' AS o", nil)
		return errors.Join(err,
			c.RegisterFunc("twice", func(n int64) int64 { return 2 * n }, true),
			c.RegisterCollation("backwards", func(a, b string) int { return strings.Compare(b, a) }))
	}, buildExtension(t))
	second, err := driver.NewConnector(&driver.Config{Path: path, ConnectHook: func(*sqlite3.SQLiteConn) error {
		return errors.New("not called for tools")
	}})
	require.NoError(t, err)
	other := sql.OpenDB(second)
	require.ErrorContains(t, other.Ping(), "not called for tools")
	require.NoError(t, other.Close())
	testdb.Exec(t, server, "CREATE TABLE t(n, s TEXT COLLATE backwards CHECK(twice(n) < 10)); CREATE INDEX i ON t(s)")
	tool := startChild(t)
	tool.must("open " + path)
	require.Equal(t, "live", tool.must("role"))
	before := commits.Load()
	tool.must("exec INSERT INTO t VALUES(1, 'a'), (2, 'b')")
	require.Equal(t, before+1, commits.Load())
	require.Equal(t, "b,a", tool.must("text SELECT group_concat(s) FROM (SELECT s FROM t ORDER BY s)"))
	require.Equal(t, "6", tool.must("text SELECT twice(3)"))
	require.Equal(t, "7", tool.must("text SELECT seven()"))
	require.Equal(t, "0", tool.must("text SELECT count(*) FROM o.t"))
	_, err = tool.ask("exec INSERT INTO t VALUES(5, 'c')")
	require.ErrorContains(t, err, "CHECK constraint failed")

	fails.Store(true)
	_, err = startChild(t).ask("open " + path)
	require.ErrorContains(t, err, "the hook fails")
}

// Ensure that the end of a connection's context interrupts the ConnectHook.
func TestConnectHook_context(t *testing.T) {
	path := testdb.Path(t)
	began := make(chan struct{})
	var slow atomic.Bool
	db := hooked(t, path, func(c *sqlite3.SQLiteConn) error {
		if !slow.Load() {
			return nil
		}
		close(began)
		_, err := c.Exec("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT count(*) FROM r", nil)
		return err
	})
	held, err := db.Conn(ctx)
	require.NoError(t, err)
	slow.Store(true)
	short, cancel := context.WithCancel(ctx)
	go func() { <-began; cancel() }()
	_, err = db.Conn(short)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, held.Close())
}

// Ensure that two opens in one process whose options of live connections differ are an
// error that names the option. The default is the same as its value.
func TestLive_options(t *testing.T) {
	_, path := served(t, "")
	for params, want := range map[string]string{
		"?sqlite_live=no":       "sqlite_live is yes since the first open",
		"?sqlite_live_limit=1":  "sqlite_live_limit is 64 since the first open",
		"?sqlite_live_idle=1ms": "sqlite_live_idle is 30s since the first open",
	} {
		db, err := sql.Open(driver.Name, path+params)
		require.NoError(t, err)
		require.ErrorContains(t, db.Ping(), want)
		require.NoError(t, db.Close())
	}
	same, err := sql.Open(driver.Name, path+"?sqlite_live=yes&sqlite_live_limit=64&sqlite_live_idle=30s")
	require.NoError(t, err)
	require.NoError(t, same.Ping())
	require.NoError(t, same.Close())
}

// Ensure that a server whose socket was removed serves tools again after its next commit or
// save. The tools that it has go on.
func TestLive_socketRemoved(t *testing.T) {
	server, path := served(t, "?sqlite_wal=commit")
	before := startChild(t)
	before.must("open " + path)
	for _, does := range []func(){
		func() { require.NoError(t, driver.Sync(ctx, server)) },
		func() { testdb.Exec(t, server, "INSERT INTO t VALUES(1)") },
		func() { before.must("exec INSERT INTO t VALUES(1)") },
	} {
		testdb.Exec(t, server, "INSERT INTO t VALUES(1)") // so that Sync saves
		require.NoError(t, os.Remove(path+".sock"))
		does()
		tool := startChild(t)
		tool.must("open " + path + "?_busy_timeout=0")
		require.Equal(t, "live", tool.must("role"))
	}
}

// Ensure that a server whose last save failed serves tools again, as its memory is the only
// place of their commits.
func TestLive_notSaved(t *testing.T) {
	server, path := served(t, "")
	require.NoError(t, driver.Sync(ctx, server))
	testdb.Exec(t, server, "INSERT INTO t VALUES(1)")
	require.NoError(t, os.Rename(path, path+"-away"))
	require.NoError(t, os.WriteFile(path, []byte("another file"), 0o600))
	var foreign *driver.ForeignChangeError
	require.ErrorAs(t, server.Close(), &foreign)
	require.NoError(t, os.Rename(path+"-away", path))

	tool := startChild(t)
	tool.must("open " + path)
	require.Equal(t, "live", tool.must("role"))
	tool.must("exec INSERT INTO t VALUES(2)")
	tool.must("sync")
	require.Equal(t, "1,2", testdb.Text(t, testdb.Plain(t, path), "SELECT group_concat(n) FROM t"))
	require.NoError(t, driver.SyncAll(ctx))
	require.Zero(t, store.Count())
}

// Ensure that databases can be closed and opened while tools come and go that have attached
// each other's. No Close waits in vain, and no acknowledged commit is lost.
func TestLiveGuest_storm(t *testing.T) {
	var dbs [2]*sql.DB
	var paths [2]string
	for i := range dbs {
		dbs[i], paths[i] = served(t, "")
	}
	done := make(chan struct{})
	var acknowledged [2]atomic.Int64
	var wg sync.WaitGroup
	for g := range 4 {
		own, other := g%2, 1-g%2
		tool, err := sql.Open(driver.Name, paths[own]+"?sqlite_role=tool")
		require.NoError(t, err)
		tool.SetMaxIdleConns(0) // on the file itself it would be in the way of a load
		wg.Go(func() {
			for {
				select {
				case <-done:
					if err := tool.Close(); err != nil {
						t.Error(err)
					}
					return
				default:
				}
				c, err := tool.Conn(ctx)
				if err != nil {
					continue
				}
				// The errors are those of servers that have gone.
				if _, err = c.ExecContext(ctx, "ATTACH '"+paths[other]+"' AS other"); err == nil {
					if _, err = c.ExecContext(ctx, "INSERT INTO other.t VALUES(1)"); err == nil {
						acknowledged[other].Add(1)
					}
				}
				_ = c.Close()
			}
		})
	}
	for n := range 8 {
		i := n % 2
		before := acknowledged[i].Load()
		require.Eventually(t, func() bool { return acknowledged[i].Load() > before }, time.Minute, time.Millisecond)
		require.NoError(t, dbs[i].Close())
		dbs[i] = testdb.Open(t, paths[i])
		require.NoError(t, dbs[i].Ping())
	}
	close(done)
	wg.Wait()
	for i, db := range dbs {
		var n int64
		require.NoError(t, db.QueryRow("SELECT count(*) FROM t").Scan(&n))
		require.GreaterOrEqual(t, n, acknowledged[i].Load())
		require.NoError(t, db.Close())
		notOwned(t, paths[i])
	}
	require.Zero(t, store.Count())
}
