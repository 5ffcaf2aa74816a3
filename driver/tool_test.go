//go:build cgo

package driver_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/fileconn"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

func role(t testing.TB, db *sql.DB) driver.Role {
	t.Helper()
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	return st.Role
}

// openLogged opens dsn and returns what its log gets.
func openLogged(t testing.TB, dsn string) (*sql.DB, *lockedBuffer) {
	t.Helper()
	cfg, err := driver.ParseDSN(dsn)
	require.NoError(t, err)
	log := new(lockedBuffer)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	connector, err := driver.NewConnector(cfg)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { testdb.Close(t, db) })
	return db, log
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Ensure that several sql.DBs of one process work on one file as with
// go-sqlite3, in the role of a tool and with sqlite_in_memory=no. All write,
// also at the same time.
func TestTool_sameProcess(t *testing.T) {
	for _, params := range []string{"?sqlite_role=tool", "?sqlite_in_memory=no"} {
		path := testdb.Path(t)
		a, b := testdb.Open(t, path+params), testdb.Open(t, path+params)
		testdb.Exec(t, a, "CREATE TABLE t(x)")
		testdb.Exec(t, b, "INSERT INTO t VALUES(1)")
		var wg sync.WaitGroup
		for range 4 {
			for _, db := range []*sql.DB{a, b} {
				wg.Go(func() {
					for range 10 {
						if _, err := db.Exec("INSERT INTO t VALUES(1)"); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		require.Equal(t, 81, count(t, a))
	}
}

// Ensure that a tool which looks does not keep this process, or another pool of
// it, from serving the file. From then on the tool is refused to write. It
// writes again when the server is closed.
func TestTool_besideServer(t *testing.T) {
	path := testdb.Path(t)
	tool := testdb.Open(t, path+"?sqlite_role=tool&sqlite_live=no&_busy_timeout=200")
	testdb.Exec(t, tool, "CREATE TABLE t(x); INSERT INTO t VALUES(1)")
	server := testdb.Open(t, path)
	require.Equal(t, driver.RoleServer, role(t, server))
	testdb.Exec(t, server, "INSERT INTO t VALUES(2)")
	_, err := tool.Exec("INSERT INTO t VALUES(3)")
	var owned *driver.OwnedError
	require.ErrorAs(t, err, &owned)
	require.Equal(t, os.Getpid(), owned.PID)
	require.Equal(t, sqlite3.ErrReadonly, code(err))
	require.NoError(t, driver.Sync(ctx, server))
	require.Equal(t, 2, count(t, tool), "it follows the saves")
	testdb.Close(t, server)
	testdb.Exec(t, tool, "INSERT INTO t VALUES(3)")
	again := testdb.Open(t, path)
	require.Equal(t, 3, count(t, again))
}

// Ensure that a tool which finds no file creates none if a server comes before it opens the
// file. The error names the server. After the server has saved or closed, the tool has the
// file.
func TestTool_serverComesBeforeFile(t *testing.T) {
	for _, params := range []string{"?sqlite_role=tool&sqlite_live=no", "?sqlite_in_memory=no"} {
		for _, then := range []string{"", "saves", "closes"} {
			path := testdb.Path(t)
			tool := testdb.Open(t, path+params)
			server := testdb.Open(t, path+"?sqlite_wal=off")
			var once sync.Once
			fileconn.Inspected = func() {
				once.Do(func() { testdb.Exec(t, server, "CREATE TABLE u(x); INSERT INTO u VALUES(1)") })
			}
			_, err := tool.Exec("SELECT 1")
			fileconn.Inspected = func() {}
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
			require.ErrorContains(t, err, "has not saved it yet")
			require.NoFileExists(t, path)
			switch then {
			case "saves":
				require.NoError(t, driver.Sync(ctx, server))
			case "closes":
				testdb.Close(t, server)
			default:
				continue
			}
			require.Equal(t, "1", testdb.Text(t, tool, "SELECT count(*) FROM u"))
		}
	}
}

// Ensure that a tool does not open the file if a server comes before that which serves
// tools. It uses that server, whether or not there is a file and however long it may wait.
func TestTool_serverComesToServe(t *testing.T) {
	for _, params := range []string{"", "&_busy_timeout=0"} {
		for _, exists := range []bool{false, true} {
			path := testdb.Path(t)
			if exists {
				testdb.Exec(t, testdb.Plain(t, path), "CREATE TABLE u(x)")
			}
			tool := testdb.Open(t, path+"?sqlite_role=tool"+params)
			server := testdb.Open(t, path)
			var once sync.Once
			fileconn.Inspected = func() {
				once.Do(func() { testdb.Exec(t, server, "CREATE TABLE IF NOT EXISTS u(x); INSERT INTO u VALUES(1)") })
			}
			fileconn.Inspecting = fileconn.Inspected
			got := testdb.Text(t, tool, "SELECT count(*) FROM u")
			fileconn.Inspected, fileconn.Inspecting = func() {}, func() {}
			require.Equal(t, "1", got)
			require.Equal(t, driver.RoleLive, role(t, tool))
		}
	}
}

// Ensure that a transaction of a tool is refused when it comes to write if a
// server has come since it began. Its connection then follows.
func TestTool_transactionOverTaken(t *testing.T) {
	path := testdb.Path(t)
	tool := testdb.Open(t, path+"?sqlite_role=tool&_txlock=deferred&_busy_timeout=200")
	testdb.Exec(t, tool, "CREATE TABLE t(x); INSERT INTO t VALUES(1)")
	conn, err := tool.Conn(ctx)
	require.NoError(t, err)
	server := testdb.Open(t, path)
	testdb.Exec(t, server, "INSERT INTO t VALUES(2)")
	tx, err := conn.BeginTx(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, "1", testdb.Text(t, tx, "SELECT count(*) FROM t"))
	testdb.Close(t, server) // and what it saved is another file
	_, err = tx.Exec("INSERT INTO t VALUES(3)")
	require.Equal(t, sqlite3.ErrReadonly, code(err))
	require.ErrorContains(t, err, "begin it again")
	require.NoError(t, tx.Rollback())
	require.NoError(t, conn.Close())
	testdb.Exec(t, tool, "INSERT INTO t VALUES(3)")
	require.Equal(t, 3, count(t, tool))
}

// Ensure that a tool beside a server reads with every data source name that the server
// uses, those of go-imap-sql among them.
func TestTool_serversName(t *testing.T) {
	const params = "?_auto_vacuum=FULL&_journal_mode=WAL&_fk=1&_sync=NORMAL&_busy_timeout=500&_locking_mode=EXCLUSIVE&_txlock=immediate&_secure_delete=true&_cache_size=100&_rt=1&_loc=auto"
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path + params)
	server.must("exec CREATE TABLE t(x); INSERT INTO t VALUES(1)")
	server.must("sync")
	for _, role := range []string{"", "&sqlite_role=tool", "&sqlite_in_memory=no"} {
		db := testdb.Open(t, path+params+role)
		require.Equal(t, 1, count(t, db))
		tx, err := db.Begin()
		require.NoError(t, err)
		require.Equal(t, "1", testdb.Text(t, tx, "SELECT count(*) FROM t"))
		require.NoError(t, tx.Commit())
	}
}

// Ensure that a tool never leaves the file in WAL mode, however it is asked
// for. It takes the file out of that mode when nobody else has it open.
func TestTool_noWAL(t *testing.T) {
	path := testdb.Path(t)
	plain, err := sql.Open("sqlite3", path+"?_journal_mode=WAL")
	require.NoError(t, err)
	testdb.Exec(t, plain, "CREATE TABLE t(x); INSERT INTO t VALUES(1)")

	tool := testdb.Open(t, path+"?sqlite_role=tool&_journal_mode=WAL&_busy_timeout=100")
	testdb.Exec(t, tool, "INSERT INTO t VALUES(2)") // in WAL mode, as the other has it open
	require.Equal(t, "2", testdb.Text(t, plain, "SELECT count(*) FROM t"))
	require.NoError(t, plain.Close())
	tool.SetMaxIdleConns(0)
	tool.SetMaxIdleConns(2)
	require.Equal(t, "delete", testdb.Text(t, tool, "PRAGMA journal_mode"))
	require.NotEqual(t, "wal", testdb.Text(t, tool, "PRAGMA journal_mode=WAL"))
	testdb.Exec(t, tool, "INSERT INTO t VALUES(3)")
	server := testdb.Open(t, path) // beside the idle connection
	require.Equal(t, driver.RoleServer, role(t, server))
	require.Equal(t, 3, count(t, server))
}

// Ensure that a tool that may not write logs that it cannot read a log that a crash has
// left. A tool that may write sees the commits in the log.
func TestTool_logOfCrash(t *testing.T) {
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path + "?sqlite_wal=commit")
	server.must("exec CREATE TABLE t(x)")
	server.must("sync")
	server.must("exec INSERT INTO t VALUES(1)")
	server.kill()
	for _, params := range []string{"?sqlite_role=tool&mode=ro", "?sqlite_in_memory=no&_query_only=1"} {
		db, log := openLogged(t, path+params)
		require.Equal(t, 0, count(t, db))
		require.Equal(t, 1, strings.Count(log.String(), "sqlite-mem recover"), log.String())
		testdb.Close(t, db)
	}
	require.Equal(t, 1, count(t, testdb.Open(t, path+"?sqlite_role=tool")))
}

// Ensure that a tool's pool may stay open while servers come, crash and go. It never
// reads or writes the file without the commits in their logs.
func TestTool_crashMeanwhile(t *testing.T) {
	path := testdb.Path(t)
	tool := testdb.Open(t, path+"?sqlite_role=tool")
	testdb.Exec(t, tool, "CREATE TABLE t(x)")
	for round := range 5 {
		server := startChild(t)
		server.must("open " + path + "?sqlite_wal=commit")
		server.must("exec INSERT INTO t VALUES(1)")
		if round%2 == 0 {
			server.must("sync")
			server.must("exec INSERT INTO t VALUES(1)")
		} else {
			server.must("exec INSERT INTO t VALUES(1)")
		}
		server.kill()
		if round > 1 { // a read finds the log as well as a write
			require.Equal(t, 3*round+2, count(t, tool))
		}
		testdb.Exec(t, tool, "INSERT INTO t VALUES(1)")
		require.Equal(t, 3*(round+1), count(t, tool))
	}
}

// Ensure that an error speaks of the owner's next save only if that is a server.
func TestOwnedError_nextSave(t *testing.T) {
	for role, says := range map[proclock.Role]bool{proclock.Server: true, proclock.Recovery: false, "": false} {
		err := connerr.NewOwned(&proclock.OwnedError{Path: "app.db", Role: role}, sqlite3.Error{Code: sqlite3.ErrReadonly})
		require.Equal(t, says, strings.Contains(err.Error(), "next save"), "%q: %v", role, err)
		require.Equal(t, sqlite3.ErrReadonly, code(err))
	}
}

// Ensure that the error of an open tells what a tool finds: the server's memory if that
// serves tools, else what was saved last.
func TestOwnedError_asTool(t *testing.T) {
	for params, says := range map[string]string{"": "to work on it there", "?sqlite_live=no": "to read what was saved last"} {
		path := testdb.Path(t)
		server := startChild(t)
		server.must("open " + path + params)
		other, err := sql.Open(driver.Name, path+"?sqlite_role=server")
		require.NoError(t, err)
		err = other.Ping()
		var owned *driver.OwnedError
		require.ErrorAs(t, err, &owned)
		require.ErrorContains(t, err, says)
		require.NoError(t, other.Close())
	}
}

// Ensure that auto becomes the server though transactions were in the way when the
// server went: the connections that were opened then give way, too.
func TestRoles_becomesServerLater(t *testing.T) {
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path)
	server.must("exec CREATE TABLE t(x)")
	server.must("exec INSERT INTO t VALUES(1),(2)")
	server.must("sync")
	db := testdb.Open(t, path+"?sqlite_live=no")
	require.Equal(t, driver.RoleTool, role(t, db))
	rows, err := db.Query("SELECT x FROM t")
	require.NoError(t, err)
	require.True(t, rows.Next())
	server.must("close")
	// Not by ReadStats, which looks whether the file can be served by now.
	const roleOfConn = "SELECT json_extract(sqlite_mem_stats(), '$.role')"
	require.Equal(t, "tool", testdb.Text(t, db, roleOfConn), "rows are open")
	require.NoError(t, rows.Close())
	eventually(t, func() bool { return testdb.Text(t, db, roleOfConn) == "server" })
	require.Equal(t, 2, count(t, db))
}

// Ensure that a tool keeps no other process from serving the file while it
// waits for a transaction of its own process. It waits to write the log of a
// crash into the file.
func TestTool_waitsWithoutLock(t *testing.T) {
	path := testdb.Path(t)
	tool := testdb.Open(t, path+"?sqlite_role=tool&_busy_timeout=2000")
	testdb.Exec(t, tool, "CREATE TABLE t(x); INSERT INTO t VALUES(1)")
	tx, err := tool.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	require.NoError(t, err)
	server := startChild(t)
	server.must("open " + path + "?sqlite_wal=commit")
	server.must("exec INSERT INTO t VALUES(2)")
	server.kill()
	waiting := make(chan error, 1)
	go func() { waiting <- tool.Ping() }()
	time.Sleep(50 * time.Millisecond)
	next := startChild(t)
	next.must("open " + path + "?_busy_timeout=200")
	require.Equal(t, "2", next.must("text SELECT count(*) FROM t"))
	require.NoError(t, tx.Rollback())
	require.NoError(t, <-waiting)
}

// Ensure that a tool's write works, or is an error that names the owner of the file or
// asks for a retry. Servers may come and go faster than the tool can read the owner.
func TestTool_serversComeAndGo(t *testing.T) {
	path := testdb.Path(t)
	tool := testdb.Open(t, path+"?sqlite_role=tool")
	testdb.Exec(t, tool, "CREATE TABLE t(x)")
	end := make(chan struct{})
	var servers sync.WaitGroup
	servers.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
			}
			lock, err := proclock.Acquire(ctx, path, proclock.Server)
			if err == nil {
				err = lock.Release()
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	written := 0
	for range rounds(3000) {
		_, err := tool.Exec("INSERT INTO t VALUES(1)")
		if err == nil {
			written++
			continue
		}
		var owned *driver.OwnedError
		if !errors.As(err, &owned) && (code(err) != sqlite3.ErrBusy || !strings.Contains(err.Error(), "try again")) {
			t.Error(err)
		}
	}
	close(end)
	servers.Wait()
	require.Equal(t, written, count(t, tool))
}

// Ensure that an option without effect under sqlite_in_memory=no is told once.
func TestTool_optionsWithoutEffect(t *testing.T) {
	db, log := openLogged(t, testdb.Path(t)+"?sqlite_in_memory=no&sqlite_wal=commit&sqlite_max_memory=1MiB&sqlite_sync_interval=5m")
	db.SetMaxIdleConns(0)
	for range 3 {
		testdb.Exec(t, db, "CREATE TABLE IF NOT EXISTS t(x)")
	}
	require.Equal(t, 1, strings.Count(log.String(), "without effect"))
	for _, option := range []string{"sqlite_wal=commit", "sqlite_max_memory=1MiB", "sqlite_sync_interval=5m"} {
		require.Contains(t, log.String(), option)
	}
}

// Ensure that a failure which may pass, such as no free descriptor, is an error
// of that connection. It decides no role: the next connection is the server.
func TestRoles_passingFailure(t *testing.T) {
	path := testdb.Path(t)
	plain, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	testdb.Exec(t, plain, "CREATE TABLE t(x)")
	require.NoError(t, plain.Close())
	c := startChild(t)
	c.must("descriptors 0")
	_, err = c.ask("open " + path)
	require.ErrorContains(t, err, "too many open files")
	c.must("descriptors 1000")
	require.Equal(t, "server", c.must("role"))
	c.must("exec INSERT INTO t VALUES(1)")
	c.must("close")
}

// Ensure that a server waits for a tool's transaction no longer than its context and
// _busy_timeout allow, and that the error is SQLITE_BUSY then.
func TestRoles_waitEnds(t *testing.T) {
	path := testdb.Path(t)
	tool := testdb.Open(t, path+"?sqlite_role=tool")
	testdb.Exec(t, tool, "CREATE TABLE t(x)")
	tx, err := tool.Begin()
	require.NoError(t, err)
	testdb.Exec(t, tx, "INSERT INTO t VALUES(1)")
	for _, params := range []string{"?_busy_timeout=50", "?_busy_timeout=0&sqlite_role=server"} {
		db, err := sql.Open(driver.Name, path+params)
		require.NoError(t, err)
		start := time.Now()
		err = db.Ping()
		require.Equal(t, sqlite3.ErrBusy, code(err), "%v", err)
		require.ErrorContains(t, err, path)
		require.Less(t, time.Since(start), driver.DefaultBusyTimeout/2)
		require.NoError(t, db.Close())
	}
	require.NoError(t, tx.Commit())
	db := testdb.Open(t, path)
	require.Equal(t, driver.RoleServer, role(t, db))
	require.Equal(t, 1, count(t, db))
}
