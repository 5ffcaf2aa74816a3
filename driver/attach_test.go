//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// attached returns two databases, each with a table, and a connection to the
// first that has the second attached as o.
func attached(t *testing.T) (db, other *sql.DB, conn *sql.Conn, otherPath string) {
	t.Helper()
	otherPath = testdb.Path(t)
	other = testdb.Open(t, otherPath)
	testdb.Exec(t, other, "CREATE TABLE u(x)")
	db = newTable(t, "")
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	testdb.Exec(t, conn, "ATTACH ? AS o", otherPath)
	return db, other, conn, otherPath
}

// Ensure that a transaction takes the write lock of each attached database, on a connection
// that has begun one before the ATTACH as well.
func TestAttach_begunBefore(t *testing.T) {
	for _, lock := range []string{"immediate", "exclusive"} {
		otherPath := testdb.Path(t)
		other := testdb.Open(t, otherPath+"?_busy_timeout=0")
		testdb.Exec(t, other, "CREATE TABLE u(x)")
		conn, err := newTable(t, "?_txlock="+lock).Conn(ctx)
		require.NoError(t, err)
		for _, query := range []string{"SELECT 1", "ATTACH '" + otherPath + "' AS o"} {
			tx, err := conn.BeginTx(ctx, nil)
			require.NoError(t, err)
			require.NoError(t, tx.Rollback())
			testdb.Exec(t, conn, query)
		}
		tx, err := conn.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = other.Exec("INSERT INTO u VALUES(1)")
		require.Equal(t, sqlite3.ErrBusy, code(err), lock)
		require.NoError(t, tx.Rollback())
		testdb.Exec(t, other, "INSERT INTO u VALUES(1)")
		require.NoError(t, conn.Close())
	}
}

// Ensure that an attached database is written under its own write lock. A
// writer waits in the queue of that database, and a context ends the wait at
// once.
func TestAttach_lock(t *testing.T) {
	db, other, conn, _ := attached(t)
	tx, err := other.Begin()
	require.NoError(t, err)
	for _, query := range []string{
		"INSERT INTO o.u VALUES(1)", "INSERT INTO o.u VALUES(1) RETURNING x", "SELECT 1; DELETE FROM o.u", "BEGIN IMMEDIATE", "CREATE TABLE o.v(x)", "VACUUM o",
		"WITH a AS (SELECT 1) INSERT INTO o.u SELECT * FROM a",
	} {
		wait, cancel := context.WithCancel(ctx)
		done := make(chan error)
		go func() {
			_, err := conn.ExecContext(wait, query)
			done <- err
		}()
		waiting(t, other, 1)
		if query != "BEGIN IMMEDIATE" { // which writes both
			free(t, db)
		}
		cancel()
		require.ErrorIs(t, <-done, context.Canceled, query)
		free(t, db)
	}
	done := make(chan error)
	go func() {
		_, err := conn.ExecContext(ctx, "INSERT INTO o.u VALUES(1)")
		done <- err
	}()
	waiting(t, other, 1)
	testdb.Exec(t, tx, "INSERT INTO u VALUES(2)")
	require.NoError(t, tx.Commit())
	require.NoError(t, <-done)
	require.Equal(t, "2", testdb.Text(t, other, "SELECT count(*) FROM u"))
	free(t, other)

	// Now the other way round. The attached database is locked as long as the transaction
	// lasts, and free after any end of it.
	for _, end := range []string{"COMMIT", "ROLLBACK", "close"} {
		testdb.Exec(t, conn, "BEGIN; INSERT INTO o.u VALUES(3)")
		st, err := driver.ReadStats(other)
		require.NoError(t, err)
		require.Contains(t, st.WriterHolder, "INSERT INTO o.u VALUES(?)")
		if end == "close" {
			require.NoError(t, conn.Close())
		} else {
			testdb.Exec(t, conn, end)
		}
		free(t, other)
		free(t, db)
	}
	require.Equal(t, "3", testdb.Text(t, other, "SELECT count(*) FROM u"))
}

// Ensure that two connections never wait for each other for ever. The second is
// refused at once with a bare SQLITE_BUSY, and the first goes on.
func TestAttach_deadlock(t *testing.T) {
	db, other, a, _ := attached(t)
	b, err := other.Conn(ctx)
	require.NoError(t, err)
	testdb.Exec(t, b, "ATTACH ? AS o", testdb.Text(t, db, "SELECT file FROM pragma_database_list"))
	testdb.Exec(t, a, "BEGIN; INSERT INTO t(n) VALUES(1)")
	testdb.Exec(t, b, "BEGIN; INSERT INTO u VALUES(1)")
	done := make(chan error)
	go func() {
		_, err := a.ExecContext(ctx, "INSERT INTO o.u VALUES(2)")
		done <- err
	}()
	waiting(t, other, 1)
	for range 2 {
		_, err = b.ExecContext(ctx, "INSERT INTO o.t(n) VALUES(2)")
		e, ok := err.(sqlite3.Error)
		require.True(t, ok, "%T %v", err, err)
		require.Equal(t, sqlite3.ErrBusy, e.Code)
	}
	testdb.Exec(t, b, "INSERT INTO u VALUES(7); ROLLBACK") // the transaction is as it was
	require.NoError(t, <-done)
	testdb.Exec(t, a, "COMMIT")
	require.Equal(t, "1", testdb.Text(t, db, "SELECT count(*) FROM t"))
	require.Equal(t, "2", testdb.Text(t, other, "SELECT x FROM u"))

	// A database that is attached to itself: the same, alone.
	testdb.Exec(t, a, "ATTACH ? AS me", testdb.Text(t, db, "SELECT file FROM pragma_database_list"))
	_, err = a.ExecContext(ctx, "BEGIN IMMEDIATE")
	require.Equal(t, sqlite3.ErrBusy, code(err))
	testdb.Exec(t, a, "INSERT INTO me.t(n) VALUES(50); INSERT INTO t(n) VALUES(51)")
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	free(t, db)
	free(t, other)
}

// Ensure that many connections come to an end which attach three databases in a
// circle and write in any order. A connection that is refused tries again, and
// all databases tell the same number.
func TestAttach_storm(t *testing.T) {
	const n, rounds = 3, 10
	var dbs [n]*sql.DB
	var paths [n]string
	for i := range dbs {
		paths[i] = testdb.Path(t)
		dbs[i] = testdb.Open(t, paths[i])
		testdb.Exec(t, dbs[i], "CREATE TABLE c(n INT); INSERT INTO c VALUES(0)")
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	refused := 0
	for g := range 4 * n {
		wg.Go(func() {
			home := g % n
			conn, err := dbs[home].Conn(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for i := range paths {
				if i != home {
					if _, err := conn.ExecContext(ctx, fmt.Sprintf("ATTACH ? AS d%d", i), paths[i]); err != nil {
						t.Error(err)
					}
				}
			}
			for done := 0; done < rounds; {
				queries := []string{"BEGIN"}
				if g >= 2*n {
					queries = []string{"BEGIN IMMEDIATE"} // takes them all
				}
				for k := range n {
					i := (home + k) % n
					if g%2 == 1 {
						i = (home + n - k) % n
					}
					name := fmt.Sprintf("d%d", i)
					if i == home {
						name = "main"
					}
					queries = append(queries, "UPDATE "+name+".c SET n=n+1")
				}
				var err error
				for _, query := range append(queries, "COMMIT") {
					if _, err = conn.ExecContext(ctx, query); err != nil {
						break
					}
				}
				if err == nil {
					done++
					continue
				}
				if code(err) != sqlite3.ErrBusy {
					t.Error(err)
					return
				}
				_, _ = conn.ExecContext(ctx, "ROLLBACK") // there may be none
				mu.Lock()
				refused++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i := range dbs {
		require.Equal(t, fmt.Sprint(4*n*rounds), testdb.Text(t, dbs[i], "SELECT n FROM c"))
		free(t, dbs[i])
	}
	require.Positive(t, refused)
	t.Logf("%d transactions, %d refused", 4*n*rounds, refused)
}

// Ensure that rows of RETURNING, unclosed, hold up no writer of the attached
// database.
func TestAttach_returning(t *testing.T) {
	_, other, conn, _ := attached(t)
	rows, err := conn.QueryContext(ctx, "INSERT INTO o.u VALUES(1), (2), (3) RETURNING x")
	require.NoError(t, err)
	free(t, other)
	n := 0
	for rows.Next() {
		n++
	}
	require.NoError(t, rows.Err())
	require.Equal(t, 3, n)
	require.NoError(t, rows.Close())
	require.NoError(t, conn.Close())
}

// Ensure that a read-only transaction writes no attached database either,
// neither in memory nor on the disk, in whichever way it is tried.
func TestAttach_readOnly(t *testing.T) {
	db, other, conn, otherPath := attached(t)
	require.NoError(t, conn.Close())
	disk := testdb.Path(t)
	testdb.Exec(t, testdb.Plain(t, disk), "CREATE TABLE d(x)")
	for _, query := range []string{
		"INSERT INTO o.u VALUES(1)", "SELECT 1; INSERT INTO o.u VALUES(1)", "PRAGMA o.user_version=4",
		"INSERT INTO d.d VALUES(1)", "SELECT 1; INSERT INTO d.d VALUES(1)", "PRAGMA d.user_version=4",
	} {
		tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		require.NoError(t, err)
		for name, path := range map[string]string{"o": otherPath, "d": disk} {
			_, err = tx.Exec("ATTACH ? AS "+name, path)
			if err != nil { // by the transaction before
				require.ErrorContains(t, err, "already in use")
			}
		}
		_, err = tx.Exec(query)
		require.Equal(t, sqlite3.ErrReadonly, code(err), query)
		_ = tx.Commit()
	}
	require.Equal(t, "0", testdb.Text(t, other, "SELECT count(*) FROM u"))
	require.Equal(t, "0", testdb.Text(t, testdb.Plain(t, disk), "SELECT count(*) FROM d"))
	require.Equal(t, "0", testdb.Text(t, testdb.Plain(t, disk), "PRAGMA user_version"))
	free(t, db)
	free(t, other)
}

// Ensure that a panic in the middle of a write to an attached database gives
// that back as well, its lock and its life.
func TestAttach_panic(t *testing.T) {
	_, other, conn, otherPath := attached(t)
	require.NoError(t, conn.Close())
	path := testdb.Path(t)
	c, err := (&driver.Driver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		return c.RegisterFunc("boom", func() int { panic("boom") }, false)
	}}).Open(path)
	require.NoError(t, err)
	exec := c.(sqldriver.ExecerContext).ExecContext
	_, err = exec(ctx, "ATTACH '"+otherPath+"' AS o; BEGIN; INSERT INTO o.u VALUES(5)", nil)
	require.NoError(t, err)
	require.PanicsWithValue(t, "boom", func() { _, _ = exec(ctx, "INSERT INTO o.u VALUES(boom())", nil) })
	free(t, other)
	require.NoError(t, c.Close())
	require.Equal(t, "0", testdb.Text(t, other, "SELECT count(*) FROM u"))
}

// Ensure that an attached database lives as long as it is attached. Closing its last
// sql.DB saves it. Later writes are saved too, and the database can be opened again at
// any time.
func TestAttach_life(t *testing.T) {
	count := func(path string) string {
		t.Helper()
		return testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM u")
	}
	for _, end := range []string{"DETACH", "close", "close all"} {
		db, other, conn, path := attached(t)
		testdb.Exec(t, other, "INSERT INTO u VALUES(1)")
		testdb.Close(t, other)
		require.Equal(t, "1", count(path), "DB.Close has saved it")
		testdb.Exec(t, conn, "INSERT INTO o.u VALUES(2)")
		again := testdb.Open(t, path)
		require.Equal(t, "2", testdb.Text(t, again, "SELECT count(*) FROM u"))
		testdb.Close(t, again)
		require.Equal(t, "2", count(path))
		testdb.Exec(t, conn, "INSERT INTO o.u VALUES(3)")
		stores := store.Count()
		switch end {
		case "DETACH":
			testdb.Exec(t, conn, "DETACH o")
			require.Equal(t, stores-1, store.Count())
			require.NoError(t, conn.Close())
		case "close":
			db.SetMaxIdleConns(0)
			require.NoError(t, conn.Close())
			require.Equal(t, stores-1, store.Count())
		case "close all":
			require.NoError(t, conn.Close()) // to the pool, where it stays as it is
			testdb.Close(t, db)
			require.Equal(t, stores-2, store.Count())
		}
		require.Equal(t, "3", count(path), end)
	}
}

// blocking is a logger that waits.
type blocking struct {
	slog.Handler
	began, end chan struct{}
}

func (b blocking) Handle(context.Context, slog.Record) error {
	b.began <- struct{}{}
	<-b.end
	return nil
}

// Ensure that an ATTACH of a database that is being saved for the last time waits no longer than
// its context allows, also in a transaction, which goes on.
func TestAttach_lastSave(t *testing.T) {
	path := testdb.Path(t)
	db := newTable(t, "")
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	log := blocking{slog.Default().Handler(), make(chan struct{}), make(chan struct{})}
	c, err := driver.NewConnector(&driver.Config{Path: path, Keep: 1, Logger: slog.New(log)})
	require.NoError(t, err)
	other := sql.OpenDB(c)
	testdb.Exec(t, other, "CREATE TABLE u(x)")
	require.NoError(t, driver.Sync(ctx, other))
	require.NoError(t, os.MkdirAll(path+".kept-new/x", 0o700)) // the save tells the logger
	testdb.Exec(t, other, "INSERT INTO u VALUES(1)")
	closed := make(chan error)
	go func() { closed <- other.Close() }()
	<-log.began

	testdb.Exec(t, conn, "BEGIN IMMEDIATE; INSERT INTO t(n) VALUES(1)")
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	attach := make(chan error)
	go func() {
		_, err := conn.ExecContext(short, "ATTACH ? AS o", path)
		attach <- err
	}()
	select {
	case err := <-attach:
		require.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(20 * time.Second):
		t.Error("the ATTACH waits for the save")
		close(log.end)
		<-attach
	}
	testdb.Exec(t, conn, "INSERT INTO t(n) VALUES(2); COMMIT")
	if !t.Failed() {
		close(log.end)
	}
	require.NoError(t, <-closed)
	require.NoError(t, os.RemoveAll(path+".kept-new"))
	testdb.Exec(t, conn, "ATTACH ? AS o", path)
	require.Equal(t, "1 2", testdb.Text(t, conn, "SELECT (SELECT count(*) FROM o.u) || ' ' || (SELECT count(*) FROM t)"))
	testdb.Exec(t, conn, "DETACH o")
	require.NoError(t, conn.Close())
}

// Ensure that a database is attached and detached at any moment of the life of
// its own sql.DB, and nothing that was committed is lost.
func TestAttach_comingAndGoing(t *testing.T) {
	db := newTable(t, "")
	path := testdb.Path(t)
	testdb.Exec(t, testdb.Plain(t, path), "CREATE TABLE u(x)")
	const goroutines, rounds = 4, 30
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range rounds {
				err := func() error {
					other, err := sql.Open(driver.Name, path)
					if err != nil {
						return err
					}
					defer other.Close()
					if _, err = other.Exec("INSERT INTO u VALUES(1)"); err != nil {
						return err
					}
					conn, err := db.Conn(ctx)
					if err != nil {
						return err
					}
					defer conn.Close()
					if _, err = conn.ExecContext(ctx, "ATTACH ? AS o", path); err != nil {
						return err
					}
					if (g+i)%2 == 0 {
						if err := other.Close(); err != nil {
							return err
						}
					}
					_, err = conn.ExecContext(ctx, "INSERT INTO o.u VALUES(2); DETACH o")
					return err
				}()
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, fmt.Sprint(2*goroutines*rounds), testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM u"))
}

// Ensure that a statement waits like any other if it needs the write lock on
// its way. It waits once, until its context ends or for _busy_timeout. The
// errors are the same, and its transaction goes on.
func TestLock_onTheWay(t *testing.T) {
	db, log := openLogged(t, testdb.Path(t)+"?_busy_timeout=100")
	testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT UNIQUE)")
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	holder, err := db.Begin()
	require.NoError(t, err)

	busy := uint64(0)
	for _, begin := range []string{"SELECT 1", "BEGIN", "BEGIN; SELECT * FROM t"} {
		testdb.Exec(t, conn, begin)
		for _, query := range []string{"SELECT 1; INSERT INTO t(n) VALUES(1)", "PRAGMA user_version=3", "INSERT INTO t(n) VALUES(1)"} {
			_, err := conn.ExecContext(ctx, query)
			e, ok := err.(sqlite3.Error)
			require.True(t, ok, "%T", err)
			require.Equal(t, sqlite3.ErrBusy, e.Code, query)
			require.Equal(t, "database is locked", e.Error())
			busy++
			st, err := driver.ReadStats(db)
			require.NoError(t, err)
			require.Equal(t, busy, st.BusyErrors, "%s; %s", begin, query)
			require.EqualValues(t, busy, strings.Count(log.String(), "did not get its turn"))
			require.Equal(t, "0", testdb.Text(t, conn, "SELECT count(*) FROM t"), "the transaction is as it was")
		}
		if strings.HasPrefix(begin, "BEGIN") {
			testdb.Exec(t, conn, "COMMIT")
		}
	}
	// Nothing translates the SQL that goes through Raw.
	require.NoError(t, conn.Raw(func(c any) error {
		_, err := c.(driver.RawConn).Raw().Exec("INSERT INTO t(n) VALUES(1)", nil)
		require.Equal(t, sqlite3.ErrLocked, code(err))
		return nil
	}))
	busy++

	testdb.Exec(t, conn, "PRAGMA busy_timeout=60000")
	for _, query := range []string{"SELECT 1; INSERT INTO t(n) VALUES(1)", "PRAGMA user_version=3", "INSERT INTO t(n) VALUES(1) RETURNING id"} {
		wait, cancel := context.WithCancel(ctx)
		done := make(chan error)
		go func() {
			rows, err := conn.QueryContext(wait, query)
			if err == nil {
				for rows.Next() {
				}
				err = rows.Err()
				_ = rows.Close()
			}
			done <- err
		}()
		waiting(t, db, 1)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled, query)
	}
	require.NoError(t, holder.Rollback())
	testdb.Exec(t, conn, "SELECT 1; INSERT INTO t(n) VALUES(1)")
	require.NoError(t, conn.Close())
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, busy, st.BusyErrors)
}

// Ensure that an attached file which another process serves can be read and not
// written. The server's saves go on. The file can be written when the server
// has gone.
func TestAttach_served(t *testing.T) {
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path)
	server.must("exec CREATE TABLE u(x); INSERT INTO u VALUES(1)")
	server.must("sync")
	db := newTable(t, "")
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	testdb.Exec(t, conn, "ATTACH ? AS o", path)
	require.Equal(t, "1", testdb.Text(t, conn, "SELECT count(*) FROM o.u"))
	for _, q := range []string{"INSERT INTO o.u VALUES(2)", "BEGIN; INSERT INTO t(n) VALUES(7); INSERT INTO o.u VALUES(2); COMMIT", "PRAGMA o.user_version=3"} {
		_, err = conn.ExecContext(ctx, q)
		require.Equal(t, sqlite3.ErrReadonly, code(err), q)
		var owned *driver.OwnedError
		require.ErrorAs(t, err, &owned, q)
		require.Equal(t, path, owned.Path)
		require.Equal(t, server.cmd.Process.Pid, owned.PID)
		require.ErrorContains(t, err, "next save would undo this change")
		_, _ = conn.ExecContext(ctx, "ROLLBACK")
	}
	require.Equal(t, "0", testdb.Text(t, conn, "SELECT count(*) FROM t"))
	server.must("exec INSERT INTO u VALUES(2)")
	server.must("sync")
	server.must("close")
	testdb.Exec(t, conn, "DETACH o")
	testdb.Exec(t, conn, "ATTACH ? AS o", path)
	testdb.Exec(t, conn, "INSERT INTO o.u VALUES(3)")
	require.NoError(t, conn.Close())
	require.Equal(t, "3", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM u"))
}

// Ensure that a server keeps its name until its first save. Neither ATTACH nor VACUUM INTO
// creates the file or one beside it, on any kind of connection, in the server's process or
// in another. The error names the server. After the save the file is attached.
func TestAttach_servedNotSaved(t *testing.T) {
	for _, where := range []string{"this process", "another process"} {
		for _, params := range []string{"", "?sqlite_role=tool", "?sqlite_in_memory=no"} {
			t.Run(where+params, func(t *testing.T) {
				path := testdb.Path(t)
				pid := os.Getpid()
				var save func()
				if where == "this process" {
					server := testdb.Open(t, path+"?sqlite_wal=off")
					testdb.Exec(t, server, "CREATE TABLE u(x)")
					save = func() { require.NoError(t, driver.Sync(ctx, server)) }
				} else {
					server := startChild(t)
					server.must("open " + path + "?sqlite_sync_interval=0")
					server.must("exec CREATE TABLE u(x)")
					pid = server.cmd.Process.Pid
					save = func() { server.must("sync") }
				}
				db := testdb.Open(t, testdb.Path(t)+params)
				testdb.Exec(t, db, "CREATE TABLE t(n)")
				conn, err := db.Conn(ctx)
				require.NoError(t, err)
				defer conn.Close()
				before := files(t, path)
				require.NotContains(t, before, "app.db")
				for _, name := range []string{path, "file:" + path, "file:" + path + "?cache=private", path + "-memwal", path + "-journal", "file:" + path + ".kept-1"} {
					for _, query := range []string{"ATTACH ? AS o", "SELECT 1; VACUUM INTO ?"} {
						if where == "this process" && params == "" && !strings.Contains(name, "-") && !strings.Contains(name, "kept") {
							continue // that is the store
						}
						_, err := conn.ExecContext(ctx, query, name)
						require.Equal(t, sqlite3.ErrCantOpen, code(err), "%s %s: %v", query, name, err)
						var owned *driver.OwnedError
						require.ErrorAs(t, err, &owned)
						require.Equal(t, path, owned.Path)
						require.Equal(t, pid, owned.PID)
						require.ErrorContains(t, err, "try again when it is saved")
						require.Equal(t, before, files(t, path))
					}
				}
				save()
				testdb.Exec(t, conn, "ATTACH ? AS o", path)
				require.Equal(t, "0", testdb.Text(t, conn, "SELECT count(*) FROM o.u"))
				require.NoFileExists(t, path+"-journal")
			})
		}
	}
}

// Ensure that an ATTACH of a file that cannot be opened returns the file's own error,
// whichever process serves the name.
func TestAttach_cannotOpen(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path)
	testdb.Exec(t, server, "CREATE TABLE u(x)")
	require.NoError(t, driver.Sync(ctx, server))
	tool := testdb.Open(t, testdb.Path(t)+"?sqlite_role=tool")
	testdb.Exec(t, tool, "CREATE TABLE t(n)")
	dir := t.TempDir()
	for name, reason := range map[string]string{
		dir:                              "",
		filepath.Join(dir, "no", "x.db"): "no such file",
		path + "/x.db":                   "not a directory",
	} {
		for _, db := range []*sql.DB{server, tool} {
			_, err := db.Exec("ATTACH ? AS o", name)
			e, ok := err.(sqlite3.Error)
			require.True(t, ok, "%T %v", err, err)
			require.Equal(t, sqlite3.ErrCantOpen, e.Code)
			require.ErrorContains(t, err, reason)
		}
	}
}

// Ensure that a file which is attached from the disk is not loaded meanwhile.
// The load waits for the DETACH as long as _busy_timeout allows, and then is
// refused. No commit to either is lost, whatever the journal mode of the file.
func TestAttach_thenLoad(t *testing.T) {
	for _, mode := range []string{"DELETE", "PERSIST", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			path := testdb.Path(t)
			plain, err := sql.Open("sqlite3", path)
			require.NoError(t, err)
			testdb.Exec(t, plain, "PRAGMA journal_mode="+mode+"; CREATE TABLE u(x); INSERT INTO u VALUES(1)")
			require.NoError(t, plain.Close())
			db := newTable(t, "")
			conn, err := db.Conn(ctx)
			require.NoError(t, err)
			testdb.Exec(t, conn, "ATTACH ? AS o", path)

			refused, err := sql.Open(driver.Name, path+"?_busy_timeout=30")
			require.NoError(t, err)
			err = refused.Ping()
			require.Equal(t, sqlite3.ErrBusy, code(err), "%v", err)
			require.ErrorContains(t, err, "attached")
			require.ErrorContains(t, err, path)
			require.NoError(t, refused.Close())

			testdb.Exec(t, conn, "UPDATE o.u SET x=2")
			loading := make(chan error, 1)
			served := testdb.Open(t, path)
			go func() { loading <- served.Ping() }()
			testdb.Exec(t, conn, "INSERT INTO o.u VALUES(3)")
			testdb.Exec(t, conn, "DETACH o")
			require.NoError(t, <-loading)
			testdb.Exec(t, served, "INSERT INTO u VALUES(4)")
			testdb.Exec(t, conn, "ATTACH ? AS o", path) // that is the store now
			testdb.Exec(t, conn, "INSERT INTO o.u VALUES(5)")
			require.NoError(t, conn.Close())
			testdb.Close(t, db)
			testdb.Close(t, served)
			require.Equal(t, []string{"int64:2", "int64:3", "int64:4", "int64:5"}, all(t, testdb.Plain(t, path), "SELECT x FROM u"))
			require.NoFileExists(t, path+"-journal")
		})
	}
}

// Ensure that a file that is only attached, or made by VACUUM INTO, gets no lock file.
func TestAttach_noLockFile(t *testing.T) {
	db := newTable(t, "")
	disk, into := testdb.Path(t), testdb.Path(t)
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	testdb.Exec(t, conn, "ATTACH ? AS o; CREATE TABLE o.u(x); DETACH o", disk)
	testdb.Exec(t, conn, "VACUUM INTO ?", into)
	require.NoError(t, conn.Close())
	tool := testdb.Open(t, testdb.Path(t)+"?sqlite_role=tool")
	tool.SetMaxOpenConns(1)
	testdb.Exec(t, tool, "CREATE TABLE t(x)")
	testdb.Exec(t, tool, "ATTACH ? AS o", disk)
	testdb.Exec(t, tool, "INSERT INTO o.u VALUES(1)")
	testdb.Exec(t, tool, "VACUUM INTO ?", into+"2")
	for _, path := range []string{disk, into, into + "2"} {
		require.FileExists(t, path)
		require.NoFileExists(t, path+".lock")
	}
}

// Ensure that a named database in memory is attached by its name, however the
// name is written. It is the one that others have, and is made if there is
// none. Any other ATTACH is left to SQLite.
func TestAttach_namedMemory(t *testing.T) {
	const name = "file:named?mode=memory&cache=shared"
	named := testdb.Open(t, name)
	testdb.Exec(t, named, "CREATE TABLE u(x); INSERT INTO u VALUES(1)")
	conn, err := newTable(t, "").Conn(ctx)
	require.NoError(t, err)
	for i, attach := range []string{
		"ATTACH '" + name + "' AS m",
		"attach database '" + name + "' as m",
		`/* c */ ATTACH "` + name + `" AS m`,
		"ATTACH ('file:na' || 'med?mode=memory&cache=shared') AS m -- as",
		"SELECT 1; ATTACH/**/'" + name + "'AS m; SELECT 2",
	} {
		testdb.Exec(t, conn, attach)
		testdb.Exec(t, conn, "INSERT INTO m.u VALUES(2)")
		require.Equal(t, fmt.Sprint(i+2), testdb.Text(t, named, "SELECT count(*) FROM u"), attach)
		testdb.Exec(t, conn, "DETACH m")
	}
	st, err := conn.PrepareContext(ctx, "ATTACH ? AS m")
	require.NoError(t, err)
	for range 2 {
		_, err = st.ExecContext(ctx, name)
		require.NoError(t, err)
		require.Equal(t, "6", testdb.Text(t, conn, "SELECT count(*) FROM m.u"))
		testdb.Exec(t, conn, "DETACH m")
	}
	require.NoError(t, st.Close())

	// One that nobody has lives as long as it is attached.
	stores := store.Count()
	testdb.Exec(t, conn, "ATTACH ? AS m", "file:fresh?mode=memory&cache=shared")
	testdb.Exec(t, conn, "CREATE TABLE m.v(x)")
	fresh := testdb.Open(t, "file:fresh?mode=memory&cache=shared")
	testdb.Exec(t, fresh, "INSERT INTO v VALUES(1)")
	require.Equal(t, stores+1, store.Count())
	testdb.Close(t, fresh)
	require.Equal(t, "1", testdb.Text(t, conn, "SELECT count(*) FROM m.v"))
	testdb.Exec(t, conn, "DETACH m")
	require.Equal(t, stores, store.Count())
	_, err = conn.ExecContext(ctx, "ATTACH ? AS main", "file:fresh?mode=memory&cache=shared") // the name is taken
	require.Error(t, err)
	require.Equal(t, stores, store.Count(), "an ATTACH that fails keeps nothing")

	for _, attach := range []string{"ATTACH ':memory:' AS m", "ATTACH '' AS m", "ATTACH 'file:x?mode=memory' AS m", "ATTACH NULL AS m"} {
		testdb.Exec(t, conn, attach+"; CREATE TABLE m.w(x); DETACH m")
	}
	_, err = conn.ExecContext(ctx, "ATTACH AS m")
	require.Error(t, err)
	require.NoError(t, conn.Close())
}

// Ensure that ATTACH with cache=shared is refused with the reason.
// It is so for a database in memory, for a file, and in the role of a tool. The
// connection works on.
func TestAttach_sharedCache(t *testing.T) {
	_, _, conn, inMemory := attached(t)
	defer conn.Close()
	require.NoError(t, driver.SyncAll(ctx)) // a tool reads what was saved
	require.FileExists(t, inMemory)
	disk := testdb.Path(t)
	testdb.Exec(t, testdb.Plain(t, disk), "CREATE TABLE u(x)")
	toolDB := testdb.Open(t, testdb.Path(t)+"?sqlite_role=tool")
	testdb.Exec(t, toolDB, "CREATE TABLE t(x)")
	tool, err := toolDB.Conn(ctx)
	require.NoError(t, err)
	defer tool.Close()
	for _, c := range []*sql.Conn{conn, tool} {
		for _, path := range []string{inMemory, disk} {
			for _, query := range []string{"ATTACH ? AS x", "SELECT 1; ATTACH ? AS x"} {
				_, err := c.ExecContext(ctx, query, "file:"+path+"?cache=shared")
				require.Equal(t, sqlite3.ErrCantOpen, code(err), "%v", err)
				require.ErrorContains(t, err, "cache=shared is refused")
			}
			testdb.Exec(t, c, "ATTACH ? AS x", "file:"+path+"?cache=private")
			testdb.Exec(t, c, "SELECT count(*) FROM x.u; DETACH x")
		}
	}
}

// Ensure that a transaction begun with BEGIN IMMEDIATE reads all attached databases as of
// one moment, while transactions change them together. (A transaction that only reads
// sees each at a moment of its own.)
func TestAttach_oneMoment(t *testing.T) {
	_, _, writer, otherPath := attached(t)
	mainPath := testdb.Text(t, writer, "SELECT file FROM pragma_database_list WHERE name='main'")
	testdb.Exec(t, writer, "CREATE TABLE main.n(x); CREATE TABLE o.n(x); INSERT INTO main.n VALUES(0); INSERT INTO o.n VALUES(0)")
	again := testdb.Open(t, mainPath)
	reader, err := again.Conn(ctx)
	require.NoError(t, err)
	testdb.Exec(t, reader, "ATTACH ? AS o", otherPath)

	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := writer.ExecContext(ctx, "BEGIN IMMEDIATE; UPDATE main.n SET x=x+1; UPDATE o.n SET x=x+1; COMMIT"); err != nil {
				done <- err
				return
			}
		}
	}()
	last := ""
	changes := 0
	for i := range 300 {
		var tx *sql.Tx
		if i%2 == 0 {
			testdb.Exec(t, reader, "BEGIN IMMEDIATE")
		} else {
			tx, err = reader.BeginTx(ctx, nil)
			require.NoError(t, err)
		}
		x := testdb.Text(t, reader, "SELECT x FROM main.n")
		require.Equal(t, x, testdb.Text(t, reader, "SELECT x FROM o.n"))
		if tx != nil {
			require.NoError(t, tx.Commit())
		} else {
			testdb.Exec(t, reader, "COMMIT")
		}
		if x != last {
			changes++
		}
		last = x
	}
	close(stop)
	require.NoError(t, <-done)
	require.Positive(t, changes)
	require.NoError(t, reader.Close())
	require.NoError(t, writer.Close())
}
