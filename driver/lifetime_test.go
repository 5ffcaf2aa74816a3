//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// rounds is the number of rounds of a storm that has n of them in a minute of -long.
func rounds(n int) int {
	if !thorough() {
		return n / 5
	}
	return n * int(*long/time.Minute)
}

// closed reports whether err is one that a closed sql.DB may give: its own, or that of
// database/sql.
func closed(err error) bool {
	return errors.Is(err, driver.ErrClosed) || err != nil && err.Error() == "sql: database is closed"
}

// Ensure that a call beside DB.Close either works or is refused as closed, on
// whatever number of handles. Nothing crashes, and nothing that was committed
// is lost. No connection of a closed store reaches the file on the disk.
func TestLifetime_storm(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "app.db"), filepath.Join(dir, "other.db")
	acknowledged := 0
	for round := range rounds(300) {
		dsn := path + "?sqlite_keep=1&_journal_mode=WAL"
		var dbs []*sql.DB
		for range 1 + round%3 {
			db, err := sql.Open(driver.Name, dsn)
			require.NoError(t, err)
			dbs = append(dbs, db)
		}
		if round == 0 {
			testdb.Exec(t, dbs[0], "CREATE TABLE t(x)")
		}
		if round%2 == 0 {
			require.NoError(t, dbs[0].Ping())
		}
		var committed atomic.Int64
		uses := []func(db *sql.DB) error{
			func(db *sql.DB) error {
				_, err := db.Exec("INSERT INTO t VALUES(1)")
				if err == nil {
					committed.Add(1)
				}
				return err
			},
			func(db *sql.DB) error {
				c, err := db.Conn(ctx)
				if err == nil {
					err = c.Close()
				}
				return err
			},
			func(db *sql.DB) error { _, err := driver.ReadStats(db); return err },
			func(db *sql.DB) error { return driver.Sync(ctx, db) },
			func(db *sql.DB) error { return driver.SyncAll(ctx) },
			func(db *sql.DB) error {
				to := filepath.Join(dir, fmt.Sprintf("backup-%d", rand.Uint64()))
				defer os.Remove(to)
				return driver.Backup(ctx, db, to)
			},
			func(db *sql.DB) error {
				c, err := db.Conn(ctx)
				if err != nil {
					return err
				}
				_, err = c.ExecContext(ctx, "ATTACH ? AS o; CREATE TABLE IF NOT EXISTS o.u(x); INSERT INTO o.u VALUES(1); DETACH o", other)
				return errors.Join(err, c.Close())
			},
			func(db *sql.DB) error {
				short, cancel := context.WithTimeout(ctx, time.Duration(rand.N(500))*time.Microsecond)
				defer cancel()
				if err := db.PingContext(short); err != nil && short.Err() == nil {
					return err
				}
				return nil
			},
		}
		var wg sync.WaitGroup
		for _, db := range dbs {
			db.SetMaxIdleConns(round % 3)
			for range 3 {
				wg.Go(func() {
					for {
						if err := uses[rand.N(len(uses))](db); err != nil {
							if !closed(err) {
								t.Error(err)
							}
							return
						}
					}
				})
			}
			time.Sleep(time.Duration(rand.N(2000)) * time.Microsecond)
		}
		for _, db := range dbs {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		acknowledged += int(committed.Load())
		// An open whose context has ended gives its store back behind its return.
		require.Eventually(t, func() bool { return store.Count() == 0 }, time.Minute, time.Millisecond)
	}
	db := testdb.Open(t, path)
	require.Equal(t, acknowledged, count(t, db))
	for _, suffix := range []string{"-journal", "-wal", "-shm"} {
		require.NoFileExists(t, path+suffix)
	}
}

// Ensure that a connection keeps the database if it is being opened while its
// sql.DB is closed. Its commit is saved, and a call which comes later is
// refused.
func TestLifetime_connectBesideClose(t *testing.T) {
	for _, params := range []string{"", "?sqlite_role=tool"} {
		path := testdb.Path(t)
		cfg, err := driver.ParseDSN(path + params)
		require.NoError(t, err)
		opening, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		cfg.ConnectHook = func(*sqlite3.SQLiteConn) error {
			once.Do(func() { close(opening); <-goOn })
			return nil
		}
		connector, err := driver.NewConnector(cfg)
		require.NoError(t, err)
		db := sql.OpenDB(connector)
		done := make(chan error, 1)
		go func() {
			conn, err := connector.Connect(ctx)
			if err == nil {
				err = conn.Close()
			}
			done <- err
		}()
		<-opening
		closing := make(chan error, 1)
		go func() { closing <- db.Close() }()
		require.NoError(t, <-closing)
		_, err = connector.Connect(ctx)
		require.ErrorIs(t, err, driver.ErrClosed)
		_, err = driver.ReadStats(db)
		require.ErrorIs(t, err, driver.ErrClosed)
		require.ErrorIs(t, driver.Sync(ctx, db), driver.ErrClosed)
		require.ErrorIs(t, driver.Backup(ctx, db, path+".copy"), driver.ErrClosed)
		if params == "" {
			require.Equal(t, 1, store.Count(), "the connection keeps the store")
		}
		close(goOn)
		require.NoError(t, <-done)
		require.Zero(t, store.Count())
	}
}

// loadThatWaits begins to load a file that another program uses, and returns when
// the load waits for it. Its error comes by loading.
func loadThatWaits(t *testing.T) (db *sql.DB, loading <-chan error) {
	t.Helper()
	path := testdb.Path(t)
	testdb.Exec(t, testdb.Plain(t, path), "PRAGMA journal_mode=WAL; CREATE TABLE t(x)")
	db, err := sql.Open(driver.Name, path)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- db.Ping() }()
	eventually(t, func() bool { return store.Count() == 1 })
	return db, done
}

// Ensure that DB.Close does not wait for a load that is under way, but ends it.
func TestLifetime_closeEndsLoad(t *testing.T) {
	db, loading := loadThatWaits(t)
	require.NoError(t, db.Close())
	err := <-loading
	require.True(t, closed(err), "%v", err)
	eventually(t, func() bool { return store.Count() == 0 })
}

// Ensure that the end of its context ends a Sync that waits for a load.
func TestSync_contextBesideLoad(t *testing.T) {
	db, loading := loadThatWaits(t)
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, driver.Sync(short, db), context.DeadlineExceeded)
	require.NoError(t, db.Close())
	require.True(t, closed(<-loading))
	eventually(t, func() bool { return store.Count() == 0 })
}

// Ensure that OnSync may call anything, ReadStats, Backup, Sync, writing statements
// and Close among them, at the save that Close makes as well.
func TestOnSync_callsAnything(t *testing.T) {
	for name, use := range map[string]func(db *sql.DB, dir string) error{
		"ReadStats": func(db *sql.DB, _ string) error { _, err := driver.ReadStats(db); return err },
		"Backup": func(db *sql.DB, dir string) error {
			return driver.Backup(ctx, db, filepath.Join(dir, fmt.Sprint(rand.Uint64())))
		},
		"Sync":  func(db *sql.DB, _ string) error { return driver.Sync(ctx, db) },
		"write": func(db *sql.DB, _ string) error { _, err := db.Exec("INSERT INTO t VALUES(2)"); return err },
		"page size": func(db *sql.DB, _ string) error {
			_, err := db.Exec("PRAGMA page_size=1024; VACUUM")
			return err
		},
		"Close": func(db *sql.DB, _ string) error { return db.Close() },
	} {
		for _, wal := range []string{"off", "1s", "commit"} {
			t.Run(name+" "+wal, func(t *testing.T) {
				dir := t.TempDir()
				cfg, err := driver.ParseDSN(filepath.Join(dir, "app.db") + "?sqlite_wal=" + wal)
				require.NoError(t, err)
				var db *sql.DB
				var called atomic.Int32
				// The Close of OnSync itself outlasts that of the test, and so may an event.
				var running atomic.Int32
				failed := make(chan error, 100)
				cfg.OnSync = func(driver.SyncEvent) {
					running.Add(1)
					defer running.Add(-1)
					if called.Add(1) > 3 {
						return // what it writes asks for more saves
					}
					if err := use(db, dir); err != nil && !closed(err) {
						failed <- err
					}
				}
				connector, err := driver.NewConnector(cfg)
				require.NoError(t, err)
				db = sql.OpenDB(connector)
				if _, err := db.Exec("CREATE TABLE t(x)"); !closed(err) {
					require.NoError(t, err)
				}
				if err := driver.Sync(ctx, db); !closed(err) {
					require.NoError(t, err)
				}
				if _, err := db.Exec("INSERT INTO t VALUES(1)"); !closed(err) {
					require.NoError(t, err)
				}
				require.NoError(t, db.Close())
				eventually(t, func() bool { return called.Load() > 0 && store.Count() == 0 && running.Load() == 0 })
				select {
				case err := <-failed:
					require.NoError(t, err, "in OnSync")
				default:
				}
			})
		}
	}
}

// Ensure that a commit does not hang when the first save of a new database
// fails and OnSync writes. Both work again when the disk does.
func TestOnSync_writesWhileSavesFail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Mkdir(dir, 0o700))
	cfg, err := driver.ParseDSN(filepath.Join(dir, "app.db") + "?sqlite_wal=commit")
	require.NoError(t, err)
	var db *sql.DB
	told := make(chan error, 100)
	cfg.OnSync = func(e driver.SyncEvent) {
		if e.Err != nil {
			_, err := db.Exec("INSERT INTO t VALUES('save failed')")
			told <- err
		}
	}
	connector, err := driver.NewConnector(cfg)
	require.NoError(t, err)
	db = sql.OpenDB(connector)
	require.NoError(t, db.Ping())
	// Another program has made the file, so it is not saved over.
	require.NoError(t, os.WriteFile(cfg.Path, []byte("theirs"), 0o600))
	_, err = db.Exec("CREATE TABLE t(x)")
	require.ErrorIs(t, err, driver.ErrNotDurable)
	require.ErrorIs(t, <-told, driver.ErrNotDurable)
	require.NoError(t, os.Remove(cfg.Path))
	require.NoError(t, driver.Sync(ctx, db))
	testdb.Exec(t, db, "INSERT INTO t VALUES('works')") // at once: the save has reached the disk
	require.NoError(t, db.Close())
}

// Ensure that Sync of an unused sql.DB saves the commits of the process's other
// handles to the file. That includes commits that a Close could not save. It opens
// nothing. If it cannot save, it returns an error that says why.
func TestSync_unused(t *testing.T) {
	path := testdb.Path(t)
	used := testdb.Open(t, path)
	testdb.Exec(t, used, "CREATE TABLE t(x); INSERT INTO t VALUES(1)")
	fresh := testdb.Open(t, path)
	require.NoError(t, driver.Sync(ctx, fresh))
	require.Equal(t, 1, count(t, testdb.Plain(t, path)))

	nobody := filepath.Join(t.TempDir(), "none.db")
	unopened, err := sql.Open(driver.Name, nobody)
	require.NoError(t, err)
	require.NoError(t, driver.Sync(ctx, unopened))
	require.NoFileExists(t, nobody)
	require.NoFileExists(t, nobody+".lock")
	require.NoError(t, unopened.Close())
	require.ErrorIs(t, driver.Sync(ctx, unopened), driver.ErrClosed)

	memory, err := sql.Open(driver.Name, ":memory:")
	require.NoError(t, err)
	require.ErrorIs(t, driver.Sync(ctx, memory), driver.ErrNoFile)
	require.NoError(t, memory.Close())
}

// Ensure that commits which a Close could not save are kept for every later handle,
// for Sync and for SyncAll. A handle may have other options, or a context that ends.
func TestClose_notSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "app.db")
	db, err := sql.Open(driver.Name, path)
	require.NoError(t, err)
	require.NoError(t, db.Ping())
	require.NoError(t, os.Rename(dir, dir+"-away"))
	testdb.Exec(t, db, "CREATE TABLE t(x); INSERT INTO t VALUES('kept')")
	require.Error(t, db.Close())
	require.Error(t, driver.SyncAll(ctx))
	require.NoError(t, os.Rename(dir+"-away", dir))

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	other, err := sql.Open(driver.Name, path+"?sqlite_max_memory=1GiB")
	require.NoError(t, err)
	require.Error(t, other.PingContext(cancelled))
	require.Equal(t, "kept", testdb.Text(t, other, "SELECT x FROM t"))
	st, err := driver.ReadStats(other)
	require.NoError(t, err)
	require.Zero(t, st.Unsaved, "it was saved before it was loaded with other options")
	testdb.Close(t, other)
	require.Equal(t, "kept", testdb.Text(t, testdb.Plain(t, path), "SELECT x FROM t"))
}

// Ensure that by default a program that ends without Close loses nothing that
// was committed an interval ago. With sqlite_wal=commit it does not lose the
// last commit either. The next program can tell that the end was unclean.
func TestExit_withoutClose(t *testing.T) {
	for params, wait := range map[string]bool{"": true, "?sqlite_wal=commit": false} {
		path := testdb.Path(t)
		c := startChild(t)
		c.must("open " + path + params)
		c.must("exec CREATE TABLE t(x)")
		c.must("exec INSERT INTO t VALUES(1)")
		for wait && c.must("text SELECT json_extract(sqlite_mem_stats(), '$.unlogged')") != "0" {
			time.Sleep(time.Millisecond)
		}
		c.send("exit")
		require.NoError(t, c.cmd.Wait())
		db := testdb.Open(t, path)
		require.Equal(t, 1, count(t, db), params)
		st, err := driver.ReadStats(db)
		require.NoError(t, err)
		require.True(t, st.UncleanStart)
		if !wait { // else the first save may have both
			require.Equal(t, 1, st.RecoveredCommits)
		}
		testdb.Close(t, db)
		db = testdb.Open(t, path)
		st, err = driver.ReadStats(db)
		require.NoError(t, err)
		require.False(t, st.UncleanStart)
		require.Zero(t, st.RecoveredCommits)
		testdb.Close(t, db)
	}
}

// Ensure that DB.Close of a handle that is not the last makes durable what was
// committed.
func TestClose_flushes(t *testing.T) {
	path := testdb.Path(t)
	a := testdb.Open(t, path+"?sqlite_wal=1h")
	b := testdb.Open(t, path+"?sqlite_wal=1h")
	require.NoError(t, b.Ping())
	testdb.Exec(t, a, "CREATE TABLE t(x)")
	require.NoError(t, driver.Sync(ctx, a))
	testdb.Exec(t, a, "INSERT INTO t VALUES(1)")
	testdb.Exec(t, a, "INSERT INTO t VALUES(2)")
	testdb.Close(t, a)
	require.Equal(t, 2, count(t, testdb.Open(t, testdb.CrashCopy(t, path))))
}

// Ensure that DB.Close of the last handle saves, and returns after the event of
// that. A connection of a handle that was closed before may still be in use.
func TestClose_lastBesideLateConnection(t *testing.T) {
	path := testdb.Path(t)
	cfg, err := driver.ParseDSN(path + "?sqlite_wal=off")
	require.NoError(t, err)
	var saves atomic.Int32
	cfg.OnSync = func(driver.SyncEvent) {
		time.Sleep(10 * time.Millisecond) // a Close that does not wait is faster
		saves.Add(1)
	}
	connector, err := driver.NewConnector(cfg)
	require.NoError(t, err)
	early := sql.OpenDB(connector)
	last := testdb.Open(t, path+"?sqlite_wal=off")
	late, err := early.Conn(ctx)
	require.NoError(t, err)
	require.NoError(t, early.Close())
	testdb.Exec(t, last, "CREATE TABLE t(x); INSERT INTO t VALUES(1)")
	testdb.Close(t, last)
	require.EqualValues(t, 1, saves.Load())
	saved := testdb.Open(t, testdb.CrashCopy(t, path))
	require.Equal(t, 1, count(t, saved))
	testdb.Close(t, saved)
	_, err = late.ExecContext(ctx, "INSERT INTO t VALUES(2)")
	require.NoError(t, err)
	require.NoError(t, late.Close())
	require.Zero(t, store.Count())
	require.Equal(t, 2, count(t, testdb.Open(t, path)))
}
