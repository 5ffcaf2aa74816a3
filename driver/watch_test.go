//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/live"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// watching is a loop over driver.Watch, a step at a time.
type watching struct {
	*testing.T
	next func() (driver.Change, error, bool)
	stop func()
	last uint64
}

// watch begins to watch, and takes the first Change.
func watch(t *testing.T, db *sql.DB) *watching {
	t.Helper()
	w := &watching{T: t}
	w.next, w.stop = iter.Pull2(driver.Watch(ctx, db))
	t.Cleanup(w.stop)
	first := w.change()
	require.True(t, first.All)
	return w
}

// change waits for the next Change.
func (w *watching) change() driver.Change {
	w.Helper()
	c, err, ok := w.next()
	require.NoError(w, err)
	require.True(w, ok)
	require.Equal(w, w.last+1, c.First)
	require.GreaterOrEqual(w, c.Last, c.First)
	if c.All {
		require.Empty(w, c.Tables)
	}
	require.True(w, slices.IsSorted(c.Tables), "%v", c.Tables)
	w.last = c.Last
	return c
}

// upTo waits for all commits that db has by now, as one Change.
func (w *watching) upTo(db *sql.DB) string {
	w.Helper()
	stats, err := driver.ReadStats(db)
	require.NoError(w, err)
	var all driver.Change
	for w.last < stats.Commits+1 { // the load is commit 1
		c := w.change()
		all.All = all.All || c.All
		all.Tables = append(all.Tables, c.Tables...)
	}
	if all.All {
		return "all"
	}
	slices.Sort(all.Tables)
	return strings.Join(slices.Compact(all.Tables), " ")
}

// Ensure that a commit is reported with the tables that it may have changed, whatever the
// statement: triggers, foreign keys and changes of the schema included. Where SQLite does
// not tell, all tables are reported.
func TestWatch_tables(t *testing.T) {
	const setUp = `CREATE TABLE a(id INTEGER PRIMARY KEY, x); CREATE TABLE b(id INTEGER PRIMARY KEY, a REFERENCES a ON DELETE CASCADE ON UPDATE SET NULL);
		CREATE TABLE c(id INTEGER PRIMARY KEY, b REFERENCES b ON DELETE SET DEFAULT); CREATE TABLE w(id TEXT PRIMARY KEY, x) WITHOUT ROWID; CREATE TABLE Big(x, y AS (x+1));
		CREATE TABLE auto(id INTEGER PRIMARY KEY AUTOINCREMENT); CREATE TABLE loud(x UNIQUE, y); CREATE TABLE log(x); CREATE TABLE log2(x);
		CREATE TRIGGER tr1 AFTER INSERT ON loud BEGIN INSERT INTO log VALUES(new.x); END; CREATE TRIGGER tr2 AFTER INSERT ON log BEGIN DELETE FROM log2; END;
		CREATE TRIGGER tr3 AFTER DELETE ON loud BEGIN UPDATE w SET x=1; END;
		CREATE VIEW v AS SELECT * FROM a; CREATE TRIGGER tr4 INSTEAD OF INSERT ON v BEGIN INSERT INTO log VALUES(1); END;
		CREATE TABLE z(x); INSERT INTO Big VALUES(1); INSERT INTO a VALUES(1, 10), (2, 2); INSERT INTO b VALUES(1, 1); INSERT INTO w VALUES('k', 1); INSERT INTO loud VALUES(1, 2);`
	for _, test := range []struct{ do, want string }{
		{"INSERT INTO a VALUES(3, 3)", "a"},
		{"insert into A values(4, 4) returning id", "a"},
		{"INSERT INTO main.big VALUES(1)", "Big"},
		{"UPDATE bIG SET x=2", "Big"},
		{"INSERT INTO auto DEFAULT VALUES", "auto"},
		{"UPDATE a SET x=9", "a"}, // id is no parent that changes
		{"UPDATE a SET id=9 WHERE id=2", "a b"},
		{"DELETE FROM a WHERE id=1", "a b c"},
		{"DELETE FROM w", "w"}, // truncates
		{"INSERT INTO log2 VALUES(1); DELETE FROM log2", "log2"},
		{"INSERT INTO loud VALUES(5, 6)", "log log2 loud"},
		{"PRAGMA recursive_triggers=1; INSERT OR REPLACE INTO loud VALUES(1, 3)", "log log2 loud w"},
		{"INSERT INTO loud VALUES(1, 3) ON CONFLICT(x) DO UPDATE SET y=7", "log log2 loud"},
		{"REPLACE INTO a VALUES(1, 5)", "a b c"},
		{"UPDATE w SET x=a.x FROM a WHERE a.id=1", "w"},
		{"WITH n(i) AS (VALUES(7),(8)) INSERT INTO log2 SELECT i FROM n", "log2"},
		{"INSERT INTO v VALUES(1, 2)", "log log2 v"},
		{"CREATE TEMP TRIGGER tt AFTER INSERT ON log2 BEGIN INSERT INTO Big VALUES(3); END; INSERT INTO log2 VALUES(1)", "Big log2"},
		{"CREATE TEMP TABLE tmp(x); INSERT INTO tmp VALUES(1)", ""},
		{"CREATE TABLE n(x)", "n sqlite_schema"},
		{"CREATE TABLE n AS SELECT * FROM a", "n sqlite_schema"},
		{"CREATE INDEX i ON a(x)", "sqlite_schema"},
		{"CREATE TRIGGER tr9 AFTER INSERT ON a BEGIN SELECT 1; END", "sqlite_schema"},
		{"DROP TRIGGER tr1", "sqlite_schema"},
		{"CREATE VIEW v2 AS SELECT 1", "sqlite_schema v2"},
		{"DROP VIEW v", "sqlite_schema v"},
		{"DROP TABLE log2", "log2 sqlite_schema"},
		{"DROP TABLE b", "b c sqlite_schema"},
		{"DROP TABLE auto", "auto sqlite_schema sqlite_sequence"},
		{"ALTER TABLE a ADD COLUMN z DEFAULT 5", "a sqlite_schema"},
		{"ALTER TABLE a RENAME COLUMN x TO xx", "a sqlite_schema"},
		{"ALTER TABLE Big DROP COLUMN y", "Big sqlite_schema"},
		{"ALTER TABLE log2 RENAME TO log3", "all"},
		{"PRAGMA writable_schema=1; UPDATE sqlite_master SET sql=sql||' ' WHERE name='a'", "sqlite_schema"},
		{"REINDEX", ""},
		{"ANALYZE", "sqlite_schema sqlite_stat1 sqlite_stat4"},
		{"CREATE INDEX i ON a(x); SELECT * FROM a WHERE x=1; PRAGMA optimize", "all"}, // before SQLite 3.46 only tables that were queried
		{"PRAGMA user_version=7", ""},
		{"VACUUM", "all"},
		{"BEGIN; INSERT INTO a VALUES(5, 5); UPDATE w SET x=2; COMMIT", "a w"},
		{"BEGIN; INSERT INTO a VALUES(5, 5); SAVEPOINT s; DELETE FROM w; ROLLBACK TO s; COMMIT", "a w"},
		{"BEGIN; DELETE FROM w; ROLLBACK; INSERT INTO log2 VALUES(1)", "log2"},
		{"SAVEPOINT s; INSERT INTO log2 VALUES(1); RELEASE s", "log2"},
		{"BEGIN IMMEDIATE; COMMIT", ""},
		{"INSERT INTO a VALUES(1, 1)", ""}, // an error
		{"BEGIN; INSERT INTO log2 VALUES(1); INSERT OR ROLLBACK INTO a VALUES(1, 1)", ""},
		{"EXPLAIN INSERT INTO a VALUES(6, 6)", ""},
		{"CREATE VIRTUAL TABLE f USING fts3(body)", "all"},
		{"CREATE VIRTUAL TABLE f USING rtree(id, x0, x1)", "all"},
	} {
		t.Run(test.do, func(t *testing.T) {
			db := testdb.Open(t, ":memory:?_fk=1")
			testdb.Exec(t, db, setUp)
			w := watch(t, db)
			conn, err := db.Conn(ctx)
			require.NoError(t, err)
			defer conn.Close()
			_, err = conn.ExecContext(ctx, test.do)
			require.Equal(t, test.want, w.upTo(db), "%v", err)
			testdb.Exec(t, db, "INSERT INTO z VALUES(1)")
			require.Equal(t, "z", w.upTo(db), "of another connection")

			// Again, with statements that are prepared. There may be less to do.
			if _, err = conn.ExecContext(ctx, test.do); err == nil {
				for _, name := range strings.Fields(w.upTo(db)) {
					require.Contains(t, strings.Fields(test.want), name)
				}
			}
		})
	}
}

// Ensure that a watcher that comes late misses nothing: statements are prepared, one of
// them writes a virtual table by a trigger, and a transaction is open.
func TestWatch_late(t *testing.T) {
	db := testdb.Open(t, testdb.Path(t)+"?_fk=1")
	testdb.Exec(t, db, `CREATE TABLE a(x); CREATE TABLE b(x); CREATE TABLE c(x); CREATE VIRTUAL TABLE f USING fts3(x); CREATE TABLE parent(id INTEGER PRIMARY KEY);
		CREATE TRIGGER tr AFTER INSERT ON b BEGIN INSERT INTO f VALUES(new.x); END`)
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	defer conn.Close()
	insert := func(table string) { testdb.Exec(t, conn, "INSERT INTO "+table+" VALUES(1)") }
	prepared, err := conn.PrepareContext(ctx, "INSERT INTO c VALUES(2)")
	require.NoError(t, err)
	defer prepared.Close()
	for range 3 {
		insert("a")
		insert("b")
		testdb.Exec(t, conn, "BEGIN")
		insert("c")
		w := watch(t, db)
		insert("a")
		testdb.Exec(t, conn, "COMMIT")
		require.Equal(t, "all", w.upTo(db), "a transaction that began before")
		_, err = prepared.Exec()
		require.NoError(t, err)
		require.Equal(t, "c", w.upTo(db))
		insert("a")
		require.Equal(t, "a", w.upTo(db))
		insert("b")
		require.Equal(t, "all", w.upTo(db), "a virtual table, whose statements are prepared")
		insert("a")
		require.Equal(t, "a", w.upTo(db))
		testdb.Text(t, conn, "SELECT count(*) FROM f WHERE f MATCH '1'")
		insert("a")
		require.Equal(t, "a", w.upTo(db), "a virtual table was read")

		// A statement that SQLite prepares again gains a table, in a transaction and alone.
		for _, begin := range []string{"SELECT 1", "BEGIN"} {
			testdb.Exec(t, db, "CREATE TRIGGER gain AFTER INSERT ON c BEGIN INSERT INTO a VALUES(3); END")
			require.Equal(t, "sqlite_schema", w.upTo(db))
			testdb.Exec(t, conn, begin)
			_, err = prepared.Exec()
			require.NoError(t, err)
			if begin == "BEGIN" {
				testdb.Exec(t, conn, "COMMIT")
			}
			require.Equal(t, "a c", w.upTo(db))
			testdb.Exec(t, db, "DROP TRIGGER gain")
			require.Equal(t, "sqlite_schema", w.upTo(db))
			testdb.Text(t, conn, "SELECT count(*) FROM c") // it reads the schema
			prepared, err = conn.PrepareContext(ctx, "INSERT INTO c VALUES(2)")
			require.NoError(t, err)
			defer prepared.Close()
		}

		// It gains a foreign key, whose actions SQLite does not trace.
		cascade, err := conn.PrepareContext(ctx, "DELETE FROM parent")
		require.NoError(t, err)
		defer cascade.Close()
		testdb.Exec(t, db, "CREATE TABLE child(p REFERENCES parent ON DELETE CASCADE); INSERT INTO parent VALUES(1); INSERT INTO child VALUES(1)")
		require.Equal(t, "child parent sqlite_schema", w.upTo(db))
		_, err = cascade.Exec()
		require.NoError(t, err)
		require.Equal(t, "child parent", w.upTo(db))
		testdb.Exec(t, db, "DROP TABLE child")

		// A second ANALYZE empties its tables without a word to the authorizer.
		testdb.Exec(t, db, "CREATE INDEX IF NOT EXISTS ai ON a(x); ANALYZE; INSERT INTO a VALUES(7)")
		w.upTo(db)
		testdb.Exec(t, db, "ANALYZE")
		require.Equal(t, "sqlite_stat1 sqlite_stat4", w.upTo(db))
		w.stop()
	}
}

// Ensure that commits are reported with all tables where user code may write in ways that
// nobody sees: connections of Raw, of a ConnectHook, a backup into the database, Deserialize.
func TestWatch_userCode(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path)
	testdb.Exec(t, db, "CREATE TABLE a(x); CREATE TABLE b(x)")
	w := watch(t, db)
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	testdb.Exec(t, conn, "INSERT INTO a VALUES(1)")
	require.Equal(t, "a", w.upTo(db))
	var kept *sqlite3.SQLiteConn
	raw := func(f func(*sqlite3.SQLiteConn) error) {
		t.Helper()
		require.NoError(t, conn.Raw(func(c any) error { return f(c.(driver.RawConn).Raw()) }))
	}
	raw(func(c *sqlite3.SQLiteConn) error {
		kept = c
		_, err := c.Exec("INSERT INTO b VALUES(1)", nil)
		return err
	})
	require.Equal(t, "all", w.upTo(db))
	testdb.Exec(t, conn, "INSERT INTO a VALUES(1)")
	require.Equal(t, "all", w.upTo(db), "the user may have left something")
	testdb.Exec(t, conn, "BEGIN; INSERT INTO a VALUES(1)")
	_, err = kept.Exec("INSERT INTO b VALUES(2)", nil)
	require.NoError(t, err)
	testdb.Exec(t, conn, "COMMIT")
	require.Equal(t, "all", w.upTo(db))
	testdb.Exec(t, db, "INSERT INTO b VALUES(1)")
	require.Equal(t, "b", w.upTo(db), "of another connection")

	from, err := (&sqlite3.SQLiteDriver{}).Open(":memory:")
	require.NoError(t, err)
	_, err = from.(*sqlite3.SQLiteConn).Exec("CREATE TABLE copied(x)", nil)
	require.NoError(t, err)
	raw(func(c *sqlite3.SQLiteConn) error {
		b, err := c.Backup("main", from.(*sqlite3.SQLiteConn), "main")
		if err == nil {
			_, err = b.Step(-1)
			err = errors.Join(err, b.Finish())
		}
		return err
	})
	require.Equal(t, "all", w.upTo(db))
	image, err := from.(*sqlite3.SQLiteConn).Serialize("main")
	require.NoError(t, errors.Join(err, from.Close()))
	raw(func(c *sqlite3.SQLiteConn) error { return c.Deserialize(image, "main") })
	require.NoError(t, conn.Close())
	require.Equal(t, "all", w.upTo(db))

	cfg := &driver.Config{Path: path, ConnectHook: func(*sqlite3.SQLiteConn) error { return nil }}
	connector, err := driver.NewConnector(cfg)
	require.NoError(t, err)
	hooked := sql.OpenDB(connector)
	testdb.Exec(t, hooked, "INSERT INTO copied VALUES(1)")
	require.Equal(t, "all", w.upTo(db))
	require.NoError(t, hooked.Close())
}

// Ensure that a transaction over two databases is a commit of each that it has changed, with
// the tables of that one.
func TestWatch_attached(t *testing.T) {
	pathA, pathB := testdb.Path(t), testdb.Path(t)
	a, b := testdb.Open(t, pathA), testdb.Open(t, pathB)
	testdb.Exec(t, a, "CREATE TABLE x(n); CREATE TABLE onlyA(n)")
	testdb.Exec(t, b, "CREATE TABLE x(n); CREATE TABLE onlyB(n)")
	wa, wb := watch(t, a), watch(t, b)
	conn, err := a.Conn(ctx)
	require.NoError(t, err)
	defer conn.Close()
	testdb.Exec(t, conn, "ATTACH '"+pathB+"' AS other; ATTACH '"+filepath.Join(t.TempDir(), "disk.db")+"' AS disk; CREATE TABLE disk.d(n)")
	for _, test := range []struct{ do, inA, inB string }{
		{"INSERT INTO x VALUES(1)", "x", ""},
		{"INSERT INTO other.x VALUES(1)", "", "x"},
		{"BEGIN; INSERT INTO onlyA VALUES(1); INSERT INTO onlyB VALUES(1); INSERT INTO other.x VALUES(1); INSERT INTO d VALUES(1); COMMIT", "onlyA", "onlyB x"},
		{"BEGIN; INSERT INTO onlyA VALUES(1); INSERT INTO onlyB VALUES(1); ROLLBACK", "", ""},
		{"INSERT INTO d VALUES(1)", "", ""},
		{"CREATE TABLE other.y AS SELECT * FROM onlyA", "", "sqlite_schema y"},
		{"VACUUM other", "", "all"},
		{"DETACH other; ATTACH '" + pathB + "' AS again; INSERT INTO again.x VALUES(1)", "", "x"},
	} {
		testdb.Exec(t, conn, test.do)
		require.Equal(t, test.inA, wa.upTo(a), test.do)
		require.Equal(t, test.inB, wb.upTo(b), test.do)
	}

	// A statement that SQLite prepares again as it runs finds its table in another database.
	testdb.Exec(t, b, "CREATE TABLE moved(n)")
	moving, err := conn.PrepareContext(ctx, "INSERT INTO moved VALUES(1)")
	require.NoError(t, err)
	defer moving.Close()
	testdb.Exec(t, a, "CREATE TABLE moved(n)")
	testdb.Text(t, conn, "SELECT count(*) FROM onlyA") // it reads the schema
	testdb.Exec(t, b, "CREATE TABLE more(n)")
	wa.upTo(a)
	wb.upTo(b)
	_, err = moving.Exec()
	require.NoError(t, err)
	require.Equal(t, "moved", wa.upTo(a))
	require.Equal(t, "", wb.upTo(b))
}

// Ensure that a watcher that does not ask for long gets all commits as one, that memory and
// names are bounded, and that others are not delayed.
func TestWatch_slow(t *testing.T) {
	db := testdb.Open(t, ":memory:")
	slow := watch(t, db)
	var created strings.Builder
	for i := range 1500 {
		fmt.Fprintf(&created, "CREATE TABLE t%04d(x);", i)
	}
	testdb.Exec(t, db, "BEGIN; "+created.String()+" COMMIT")
	require.True(t, slow.change().All, "too many tables in a transaction")
	first := slow.last
	for i := range 10 {
		testdb.Exec(t, db, fmt.Sprintf("INSERT INTO t%04d VALUES(1); DELETE FROM t0003", i))
	}
	w := watch(t, db) // knows nothing of these
	c := slow.change()
	for c.Last < first+20 { // what was announced is merged a moment later
		more := slow.change()
		c.Last, c.Tables = more.Last, append(c.Tables, more.Tables...)
	}
	slices.Sort(c.Tables)
	require.Equal(t, driver.Change{First: first + 1, Last: first + 20, Tables: strings.Fields("t0000 t0001 t0002 t0003 t0004 t0005 t0006 t0007 t0008 t0009")},
		driver.Change{First: c.First, Last: c.Last, Tables: slices.Compact(c.Tables)})
	require.True(t, c.Has("x", "T0003"))
	require.False(t, c.Has("t0010"))

	for i := range 1500 {
		testdb.Exec(t, db, fmt.Sprintf("INSERT INTO t%04d VALUES(1)", i))
	}
	require.Equal(t, "all", slow.upTo(db))
	require.Equal(t, "all", w.upTo(db))
	testdb.Exec(t, db, "INSERT INTO t0000 VALUES(1)")
	require.Equal(t, "t0000", slow.upTo(db))
	require.Equal(t, "t0000", w.upTo(db))
}

// Ensure how a watch ends: with its context, with the close of its database, which it does
// not delay, and by leaving the loop. An error says what to do.
func TestWatch_end(t *testing.T) {
	last := func(ctx context.Context, db *sql.DB, body func()) (n int, err error) {
		for _, err = range driver.Watch(ctx, db) {
			if err == nil {
				n++
				body()
			}
		}
		return n, err
	}
	plain, err := sql.Open("sqlite3", ":memory:")
	require.NoError(t, err)
	defer plain.Close()
	_, err = last(ctx, plain, nil)
	require.ErrorIs(t, err, driver.ErrNotOurs)

	path := testdb.Path(t)
	db, err := sql.Open(driver.Name, path)
	require.NoError(t, err)
	ending, cancel := context.WithCancel(ctx)
	n, err := last(ending, db, func() { time.AfterFunc(time.Millisecond, cancel) }) // it opens the database
	require.Equal(t, 1, n)
	require.ErrorIs(t, err, context.Canceled)

	testdb.Exec(t, db, "CREATE TABLE t(x)")
	n, err = last(ctx, db, func() { require.NoError(t, db.Close()) }) // in the loop
	require.Equal(t, 1, n)
	require.ErrorIs(t, err, driver.ErrClosed)
	require.Equal(t, "1", testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM sqlite_schema"), "the close has saved")
	_, err = last(ctx, db, nil)
	require.ErrorIs(t, err, driver.ErrClosed)

	// Another handle, and a connection that is in use, outlive the close. The watch does not.
	db, err = sql.Open(driver.Name, path)
	require.NoError(t, err)
	other := testdb.Open(t, path)
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	ended := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		_, err := last(ctx, db, func() { close(begun) })
		ended <- err
	}()
	<-begun
	require.NoError(t, db.Close())
	require.ErrorIs(t, <-ended, driver.ErrClosed)
	w := watch(t, other)
	testdb.Exec(t, conn, "INSERT INTO t VALUES(1)")
	require.Equal(t, "t", w.upTo(other))
	require.NoError(t, conn.Close())

	for _, name := range []string{testdb.Path(t) + "?sqlite_role=tool", testdb.Path(t) + "?sqlite_in_memory=no", path + "?sqlite_role=tool&sqlite_live=no"} {
		tool, err := sql.Open(driver.Name, name)
		require.NoError(t, err)
		n, err = last(ctx, tool, nil)
		require.Zero(t, n)
		require.ErrorIs(t, err, driver.ErrNotServed)
		require.ErrorContains(t, err, "start one")
		require.NoError(t, tool.Close())
	}
}

// Ensure that a tool hears of the server's commits over a live connection, and the server of
// the tool's. The end of the server ends the watch, and a new one finds the next server.
func TestWatch_live(t *testing.T) {
	if !live.Supported {
		t.Skip("no live connections here")
	}
	path := testdb.Path(t)
	server := testdb.Open(t, path)
	testdb.Exec(t, server, "CREATE TABLE t(n); CREATE TABLE u(n)")
	tool := testdb.Open(t, path+"?sqlite_role=tool")
	ws, wt := watch(t, server), watch(t, tool)
	for range 3 {
		testdb.Exec(t, server, "INSERT INTO t VALUES(1)")
		require.Equal(t, "t", ws.upTo(server))
		require.Equal(t, "t", wt.upTo(server))
		testdb.Exec(t, tool, "BEGIN; INSERT INTO u VALUES(1); COMMIT")
		require.Equal(t, "u", ws.upTo(server))
		require.Equal(t, "u", wt.upTo(server))
		testdb.Exec(t, tool, "VACUUM")
		require.Equal(t, "all", ws.upTo(server))
		require.Equal(t, "all", wt.upTo(server))
	}
	for i := range 1500 {
		testdb.Exec(t, server, fmt.Sprintf("CREATE TABLE t%d(x)", i))
	}
	ws.upTo(server)
	wt.upTo(server)

	ending, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, err := range driver.Watch(ending, tool) {
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
	}
	require.NoError(t, server.Close())
	_, err, ok := wt.next()
	require.True(t, ok)
	require.ErrorContains(t, err, "the server is closing")
	_, _, ok = wt.next()
	require.False(t, ok)
	next := testdb.Open(t, path)
	testdb.Exec(t, next, "INSERT INTO t VALUES(1)")
	wt = watch(t, tool)
	testdb.Exec(t, next, "INSERT INTO t VALUES(1)")
	require.Equal(t, "t", wt.upTo(next))
}

// Ensure that a commit beside the beginning of a watch is part of what is reported, although
// no other commit follows.
func TestWatch_begin(t *testing.T) {
	db := testdb.Open(t, ":memory:")
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	for range 300 {
		var committed sync.WaitGroup
		committed.Go(func() { testdb.Exec(t, db, "INSERT INTO t VALUES(1)") })
		w := watch(t, db)
		committed.Wait()
		require.Contains(t, []string{"", "t", "all"}, w.upTo(db))
		w.stop()
	}
}

// comeAndGo watches for a while, which some way ends. The numbers of commits have no gap.
func comeAndGo(t *testing.T, db *sql.DB, r *rand.Rand) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(20))*time.Millisecond)
	defer cancel()
	var closed sync.WaitGroup
	defer closed.Wait()
	changes, last := r.IntN(30), uint64(0)
	for change, err := range driver.Watch(ctx, db) {
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, driver.ErrClosed) {
				t.Error(err)
			}
			return
		}
		if change.First != last+1 {
			t.Errorf("commit %d behind %d", change.First, last)
		}
		last = change.Last
		if changes--; changes == 0 {
			if r.IntN(2) == 0 {
				return
			}
			closed.Go(func() { _ = db.Close() }) // beside Next; the caller closes it too
		}
	}
}

// Ensure that watchers that come and go, closes and commits at the same time leave nothing
// behind, and that no watcher misses a commit: what it was told is what the writers did.
func TestWatch_storm(t *testing.T) {
	const tables, writers, watchers = 6, 3, 8
	path := testdb.Path(t)
	db := testdb.Open(t, path)
	for i := range tables {
		testdb.Exec(t, db, fmt.Sprintf("CREATE TABLE t%d(id INTEGER PRIMARY KEY, n); INSERT INTO t%d VALUES(1, 0)", i, i))
	}
	writing, stop := context.WithCancel(ctx)
	var group, writerGroup sync.WaitGroup
	for n := range writers {
		r := rand.New(rand.NewPCG(uint64(n), 1))
		writerGroup.Go(func() {
			for range 150 {
				i, j := r.IntN(tables), r.IntN(tables)
				_, err := db.Exec(fmt.Sprintf("BEGIN IMMEDIATE; UPDATE t%d SET n=n+1; UPDATE t%d SET n=n+1; COMMIT", i, j))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		writerGroup.Wait()
		stop()
	}()
	for n := range watchers {
		r := rand.New(rand.NewPCG(uint64(n), 2))
		group.Go(func() {
			for writing.Err() == nil {
				handle, err := sql.Open(driver.Name, path)
				if err != nil {
					t.Error(err)
					return
				}
				comeAndGo(t, handle, r)
				if err := handle.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	// One stays to the end. What it has read when it was told is what there is.
	stays := map[string]string{}
	done := context.AfterFunc(writing, func() { testdb.Exec(t, db, "CREATE TABLE done(x)") })
	defer done()
	for change, err := range driver.Watch(ctx, db) {
		require.NoError(t, err)
		for i := range tables {
			if name := fmt.Sprintf("t%d", i); change.Has(name) {
				stays[name] = testdb.Text(t, db, "SELECT n FROM "+name)
			}
		}
		if change.Has("done") && testdb.Text(t, db, "SELECT count(*) FROM sqlite_schema WHERE name='done'") == "1" {
			break
		}
	}
	group.Wait()
	sum := 0
	for i := range tables {
		name := fmt.Sprintf("t%d", i)
		now := testdb.Text(t, db, "SELECT n FROM "+name)
		require.Equal(t, now, stays[name], name)
		var n int
		_, err := fmt.Sscan(now, &n)
		require.NoError(t, err)
		sum += n
	}
	require.Equal(t, 2*150*writers, sum)
}
