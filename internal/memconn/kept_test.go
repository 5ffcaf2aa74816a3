//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"
	"log/slog"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// openDatabase opens a database of its own. The test closes it.
func openDatabase(t *testing.T, change func(*Options)) *Database {
	t.Helper()
	opts := Options{
		Store:         store.Options{Name: t.Name(), Logger: slog.Default()},
		TxLock:        "immediate",
		StmtCacheSize: 16,
		NamedMemory:   func(string) (store.Options, bool, error) { return store.Options{}, false, nil },
	}
	if change != nil {
		change(&opts)
	}
	db, err := Open(context.Background(), opts)
	require.NoError(t, err)
	return db
}

// get opens a connection, as a pool does.
func get(t *testing.T, db *Database) *conn {
	t.Helper()
	db.Acquire()
	c, err := db.connect(context.Background())
	require.NoError(t, err)
	return c
}

func execute(t *testing.T, c *conn, text string) *result {
	t.Helper()
	res, err := c.ExecContext(context.Background(), text, nil)
	require.NoError(t, err)
	return res.(*result)
}

// one returns the first value of a query.
func one(t *testing.T, c *conn, text string, args ...driver.Value) driver.Value {
	t.Helper()
	rows, err := c.QueryContext(context.Background(), text, named(args))
	require.NoError(t, err)
	row := make([]driver.Value, 1)
	require.NoError(t, rows.Next(row))
	require.NoError(t, rows.Close())
	return row[0]
}

// Ensure that a closed connection is given out again only if nobody can tell it from a new
// one.
func TestKept(t *testing.T) {
	ctx := context.Background()
	for name, test := range map[string]struct {
		kept    bool
		content bool // the database has a table before
		change  func(*Options)
		use     func(t *testing.T, c *conn)
	}{
		"a query":       {kept: true, use: func(t *testing.T, c *conn) { one(t, c, "SELECT 1") }},
		"a write":       {kept: true, use: func(t *testing.T, c *conn) { execute(t, c, "CREATE TABLE t(x); INSERT INTO t VALUES(1)") }},
		"an error":      {kept: true, use: func(_ *testing.T, c *conn) { _, _ = c.ExecContext(ctx, "SELECT * FROM nowhere", nil) }},
		"an open BEGIN": {kept: true, use: func(t *testing.T, c *conn) { execute(t, c, "BEGIN; CREATE TABLE t(x)") }},
		"an open tx":    {kept: true, use: func(t *testing.T, c *conn) { _, err := c.Begin(); require.NoError(t, err) }},
		"a read-only tx": {kept: true, use: func(t *testing.T, c *conn) {
			_, err := c.BeginTx(ctx, driver.TxOptions{ReadOnly: true})
			require.NoError(t, err)
		}},
		"a closed statement": {kept: true, use: func(t *testing.T, c *conn) {
			s, err := c.Prepare("SELECT 1")
			require.NoError(t, err)
			require.NoError(t, s.Close())
		}},
		"no cache":               {kept: true, change: func(o *Options) { o.StmtCacheSize = 0 }, use: func(t *testing.T, c *conn) { one(t, c, "SELECT 1") }},
		"auto_vacuum as it is":   {kept: true, content: true, change: func(o *Options) { o.Params = map[string]string{"_auto_vacuum": "none"} }},
		"auto_vacuum still open": {change: func(o *Options) { o.Params = map[string]string{"_auto_vacuum": "none"} }},
		"auto_vacuum to be set":  {change: func(o *Options) { o.Params = map[string]string{"_auto_vacuum": "full"} }},

		"a search": {kept: true, use: func(t *testing.T, c *conn) {
			execute(t, c, "CREATE VIRTUAL TABLE f USING fts4(a); INSERT INTO f VALUES('one two')")
			require.EqualValues(t, 1, one(t, c, "SELECT count(*) FROM f WHERE f MATCH 'two'"))
			execute(t, c, "BEGIN; INSERT INTO f VALUES('two three')")
		}},
		"a page size that is set": {use: func(t *testing.T, c *conn) { execute(t, c, "PRAGMA page_size=512") }},
		"a pragma":                {use: func(t *testing.T, c *conn) { execute(t, c, "PRAGMA foreign_keys=on") }},
		"a pragma that reads":     {use: func(t *testing.T, c *conn) { one(t, c, "PRAGMA user_version") }},
		"a pragma as a table":     {use: func(t *testing.T, c *conn) { one(t, c, "SELECT * FROM pragma_user_version") }},
		"a prepared pragma": {use: func(t *testing.T, c *conn) {
			s, err := c.Prepare("PRAGMA case_sensitive_like=1")
			require.NoError(t, err)
			require.NoError(t, s.Close())
		}},
		"ATTACH":            {use: func(t *testing.T, c *conn) { execute(t, c, "ATTACH ':memory:' AS o") }},
		"ATTACH and DETACH": {use: func(t *testing.T, c *conn) { execute(t, c, "ATTACH ':memory:' AS o; DETACH o") }},
		"VACUUM":            {use: func(t *testing.T, c *conn) { execute(t, c, "VACUUM") }},
		"a temporary table": {use: func(t *testing.T, c *conn) { execute(t, c, "CREATE TEMP TABLE x(a)") }},
		"a temporary view":  {use: func(t *testing.T, c *conn) { execute(t, c, "CREATE TEMP VIEW x AS SELECT 1") }},
		"a temporary trigger": {use: func(t *testing.T, c *conn) {
			execute(t, c, "CREATE TABLE t(x); CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END")
		}},
		"a temporary vtable":        {use: func(t *testing.T, c *conn) { execute(t, c, "CREATE VIRTUAL TABLE temp.x USING rtree(a, b, c)") }},
		"a read of temporary names": {use: func(t *testing.T, c *conn) { one(t, c, "SELECT count(*) FROM sqlite_temp_schema") }},
		"a tokenizer": {use: func(t *testing.T, c *conn) {
			tokenizer := one(t, c, "SELECT fts3_tokenizer(?)", "simple")
			require.NotNil(t, tokenizer)
			one(t, c, "SELECT fts3_tokenizer('mine', ?)", tokenizer)
		}},
		"its end":           {use: func(t *testing.T, c *conn) { execute(t, c, "CREATE TABLE temp.x(a); DROP TABLE x") }},
		"Raw":               {use: func(_ *testing.T, c *conn) { c.Raw() }},
		"an open statement": {use: func(t *testing.T, c *conn) { _, err := c.Prepare("SELECT 1"); require.NoError(t, err) }},
		"open rows": {use: func(t *testing.T, c *conn) {
			_, err := c.QueryContext(ctx, "SELECT 1 UNION SELECT 2", nil)
			require.NoError(t, err)
		}},
		"the end of open rows": {use: func(t *testing.T, c *conn) { _, err := c.QueryContext(ctx, "SELECT 1", nil); require.NoError(t, err) }},
		"a ConnectHook":        {change: func(o *Options) { o.ConnectHook = func(*sqlite3.SQLiteConn) error { return nil } }},
		"another process":      {change: func(o *Options) { o.Guest = 1 }},
		"age":                  {use: func(_ *testing.T, c *conn) { c.opened = c.opened.Add(-keepAge) }},
		"a broken connection":  {use: func(_ *testing.T, c *conn) { c.broken = true }},
	} {
		t.Run(name, func(t *testing.T) {
			db := openDatabase(t, test.change)
			if test.content {
				c := get(t, db)
				execute(t, c, "CREATE TABLE content(a)")
				require.NoError(t, c.Close())
			}
			c := get(t, db)
			if test.use != nil {
				test.use(t, c)
			}
			require.NoError(t, c.Close())
			require.EqualValues(t, btoi(test.kept), db.store.Kept.Load())
			next, other := get(t, db), get(t, db)
			require.Equal(t, test.kept, next == c)
			require.NotSame(t, next, other, "a connection has one user")
			require.Zero(t, db.store.Kept.Load())
			require.False(t, next.InTransaction() || next.locked || next.reading())
			require.Equal(t, !test.kept, c.link == nil, "it is closed in SQLite, or given out")
			require.NoError(t, other.Close())
			require.NoError(t, next.Close())
			require.NoError(t, db.Close())
			require.Nil(t, next.link, "the database's Close closes what is kept")
			require.Zero(t, db.users)
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Ensure that the counters of a connection begin at 0 for its next user, in SQL, in
// triggers and in results.
func TestKept_counters(t *testing.T) {
	db := openDatabase(t, nil)
	const counters = "SELECT last_insert_rowid() || ' ' || changes() || ' ' || total_changes()"
	c := get(t, db)
	execute(t, c, "CREATE TABLE t(x); CREATE TABLE seen(c, total); CREATE TRIGGER tr AFTER INSERT ON t BEGIN"+
		" INSERT INTO seen VALUES(changes(), total_changes()); INSERT INTO seen VALUES(changes(), total_changes()); END")
	for range 3 {
		require.Equal(t, "0 0 0", one(t, c, counters))
		require.Equal(t, result{}, *execute(t, c, "SELECT 1"))
		require.Equal(t, result{}, *execute(t, c, "CREATE TABLE IF NOT EXISTS t(x)"))
		require.Equal(t, int64(1), execute(t, c, "INSERT INTO t VALUES(1)").changes)
		require.Equal(t, "0 0,1 1", one(t, c, "SELECT group_concat(c || ' ' || total) FROM seen"))
		require.Equal(t, result{id: 1, changes: 1}, *execute(t, c, "DELETE FROM t"))
		require.Equal(t, "1 1 4", one(t, c, counters))
		execute(t, c, "DELETE FROM seen")
		require.Equal(t, int64(2), one(t, c, "SELECT changes()"))
		require.Equal(t, int64(0), execute(t, c, "DELETE FROM t").changes)
		execute(t, c, "INSERT INTO t SELECT 1 UNION SELECT 2 UNION SELECT 3; DELETE FROM t; DELETE FROM seen")
		require.NoError(t, c.Close())
		require.Same(t, c, get(t, db))
	}
	require.NoError(t, c.Close())
	require.NoError(t, db.Close())
}

// Ensure that a user who goes on with a closed connection does not reach that of the next.
func TestKept_lease(t *testing.T) {
	ctx := context.Background()
	db := openDatabase(t, nil)
	db.Acquire()
	first, err := db.Connect(ctx)
	require.NoError(t, err)
	c := first.(*lease).conn
	require.NoError(t, first.Close())
	db.Acquire()
	second, err := db.Connect(ctx)
	require.NoError(t, err)
	require.Same(t, c, second.(*lease).conn)
	require.NoError(t, first.Close())
	_, err = first.(driver.ExecerContext).ExecContext(ctx, "SELECT 1", nil)
	require.Equal(t, driver.ErrBadConn, err)
	_, err = first.(driver.ConnBeginTx).BeginTx(ctx, driver.TxOptions{})
	require.Equal(t, driver.ErrBadConn, err)
	_, err = first.(driver.QueryerContext).QueryContext(ctx, "SELECT 1", nil)
	require.Equal(t, driver.ErrBadConn, err)
	_, err = first.Prepare("")
	require.Equal(t, driver.ErrBadConn, err)
	//lint:ignore SA1019 a caller may
	_, err = first.Begin()
	require.Equal(t, driver.ErrBadConn, err)
	require.Equal(t, driver.ErrBadConn, first.(driver.Pinger).Ping(ctx))
	require.Equal(t, driver.ErrBadConn, first.(driver.SessionResetter).ResetSession(ctx))
	require.NoError(t, first.(driver.NamedValueChecker).CheckNamedValue(&driver.NamedValue{Value: 1}))
	require.Nil(t, first.(interface{ Raw() *sqlite3.SQLiteConn }).Raw())
	require.False(t, first.(*lease).InTransaction() || first.(*lease).KeepsWaiting())
	require.False(t, first.(driver.Validator).IsValid())
	require.True(t, second.(driver.Validator).IsValid())
	require.NoError(t, second.Close())
	require.NoError(t, db.Close())
}

// Ensure that what a user has left open on a closed connection does not reach the next user's
// transaction, whatever it is called for.
func TestKept_leftOpen(t *testing.T) {
	ctx := context.Background()
	begin := func(t *testing.T, c driver.Conn) driver.Tx {
		tx, err := c.(driver.ConnBeginTx).BeginTx(ctx, driver.TxOptions{})
		require.NoError(t, err)
		return tx
	}
	for name, test := range map[string]struct {
		kept  bool
		leave func(t *testing.T, c driver.Conn) (late func() error)
	}{
		"a transaction, rolled back": {kept: true, leave: func(t *testing.T, c driver.Conn) func() error { return begin(t, c).Rollback }},
		"a transaction, committed":   {kept: true, leave: func(t *testing.T, c driver.Conn) func() error { return begin(t, c).Commit }},
		"a transaction that is over": {kept: true, leave: func(t *testing.T, c driver.Conn) func() error {
			tx := begin(t, c)
			require.True(t, c.(driver.Validator).IsValid())
			return tx.Rollback
		}},
		"a transaction of Begin": {kept: true, leave: func(t *testing.T, c driver.Conn) func() error {
			//lint:ignore SA1019 a caller may
			tx, err := c.Begin()
			require.NoError(t, err)
			return tx.Rollback
		}},
		"a statement": {leave: func(t *testing.T, c driver.Conn) func() error {
			s, err := c.Prepare("ROLLBACK")
			require.NoError(t, err)
			return func() error { _, err := s.(driver.StmtExecContext).ExecContext(ctx, nil); return err }
		}},
		"an empty statement": {leave: func(t *testing.T, c driver.Conn) func() error {
			s, err := c.Prepare("-- nothing")
			require.NoError(t, err)
			return func() error { _, err := s.(driver.StmtExecContext).ExecContext(ctx, nil); return err }
		}},
		"a closed statement": {kept: true, leave: func(t *testing.T, c driver.Conn) func() error {
			s, err := c.Prepare("ROLLBACK")
			require.NoError(t, err)
			require.NoError(t, s.Close())
			require.NoError(t, s.Close())
			return func() error { _, err := s.(driver.StmtQueryContext).QueryContext(ctx, nil); return err }
		}},
		"rows": {leave: func(t *testing.T, c driver.Conn) func() error {
			rows, err := c.(driver.QueryerContext).QueryContext(ctx, "SELECT 1 UNION SELECT 2", nil)
			require.NoError(t, err)
			return func() error { require.NoError(t, rows.Close()); return driver.ErrBadConn }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			db := openDatabase(t, nil)
			connect := func() driver.Conn {
				db.Acquire()
				c, err := db.Connect(ctx)
				require.NoError(t, err)
				return c
			}
			first := connect()
			c := first.(*lease).conn
			execute(t, c, "CREATE TABLE t(x)")
			late := test.leave(t, first)
			require.NoError(t, first.Close())
			second := connect()
			require.Equal(t, test.kept, c == second.(*lease).conn)
			tx := begin(t, second)
			execute(t, second.(*lease).conn, "INSERT INTO t VALUES(1)")
			require.Equal(t, driver.ErrBadConn, late())
			require.NoError(t, tx.Commit())
			require.Equal(t, int64(1), one(t, second.(*lease).conn, "SELECT count(*) FROM t"))
			require.NoError(t, second.Close())
			require.NoError(t, db.Close())
		})
	}
}

// Ensure that statements that were prepared for one user serve the next.
func TestKept_statements(t *testing.T) {
	db := openDatabase(t, nil)
	c := get(t, db)
	execute(t, c, "CREATE TABLE t(x)")
	execute(t, c, "INSERT INTO t VALUES(1)")
	want := c.cached(t)
	require.NotEmpty(t, want)
	require.NoError(t, c.Close())
	require.Same(t, c, get(t, db))
	require.Equal(t, want, c.cached(t))
	require.NoError(t, c.Close())
	require.NoError(t, db.Close())
}

// Ensure that a query which looks for databases in memory row by row leaves none of them open,
// on a connection that is kept as on any other.
func TestKept_attaching(t *testing.T) {
	name := t.Name() + " found"
	db := openDatabase(t, func(o *Options) {
		o.NamedMemory = func(string) (store.Options, bool, error) { return store.Options{Name: name}, true, nil }
	})
	c := get(t, db)
	rows, err := c.QueryContext(context.Background(), "SELECT sqlite_mem_attach('file:found') FROM (VALUES(1), (2), (3))", nil)
	require.NoError(t, err)
	n, row := 0, make([]driver.Value, 1)
	for ; rows.Next(row) == nil; n++ {
		found, err := store.FindMemory(context.Background(), name)
		require.NoError(t, err)
		require.Nil(t, found)
	}
	require.Equal(t, 3, n)
	require.NoError(t, rows.Close())
	require.NoError(t, c.Close())
	require.Same(t, c, get(t, db))
	require.NoError(t, c.Close())
	require.NoError(t, db.Close())
}

// Ensure that kept connections are bounded in number and in age, and that none is kept once
// the database was closed.
func TestKept_bounds(t *testing.T) {
	db := openDatabase(t, nil)
	conns := make([]*conn, keepMax+3)
	for i := range conns {
		conns[i] = get(t, db)
	}
	late := get(t, db)
	for _, c := range conns {
		require.NoError(t, c.Close())
	}
	require.EqualValues(t, keepMax, db.store.Kept.Load())
	old, young := conns[0], conns[1]
	old.opened, late.opened = old.opened.Add(-keepAge), late.opened.Add(-keepAge)
	db.kept.expire() // as the timer does
	require.Nil(t, old.link)
	require.NotNil(t, young.link)
	require.NotNil(t, late.link, "it is in use")
	require.EqualValues(t, keepMax-1, db.store.Kept.Load())

	// The timer is set again for the next one that comes to its age.
	young = get(t, db)
	young.opened = young.opened.Add(time.Millisecond - keepAge)
	require.NoError(t, young.Close())
	require.Eventually(t, func() bool { return db.store.Kept.Load() == keepMax-2 }, time.Minute, time.Millisecond)
	require.Nil(t, young.link)
	db.kept.mu.Lock()
	require.False(t, db.kept.due.IsZero())
	db.kept.mu.Unlock()

	require.NoError(t, db.Close())
	require.Zero(t, db.store.Kept.Load())
	require.NotNil(t, late.link)
	require.NoError(t, late.Close())
	require.Nil(t, late.link)
}

// Ensure that connections which many goroutines close and open at once have one user at a
// time. When the database stops keeping them meanwhile, none is left.
func TestKept_storm(t *testing.T) {
	ctx := context.Background()
	for range 20 {
		db := openDatabase(t, func(o *Options) { o.BusyTimeout = time.Minute })
		c := get(t, db)
		execute(t, c, "CREATE TABLE t(x)")
		done := make(chan error, 8)
		for range cap(done) {
			go func() {
				var err error
				for i := 0; i < 50 && err == nil; i++ {
					db.Acquire()
					var c *conn
					if c, err = db.connect(ctx); err != nil {
						break
					}
					if i%10 == 9 {
						c.opened = c.opened.Add(-keepAge)
					}
					if _, err = c.ExecContext(ctx, "INSERT INTO t VALUES(1)", nil); err == nil {
						err = c.Close()
					}
				}
				done <- err
			}()
		}
		for range cap(done) - 3 {
			require.NoError(t, <-done)
		}
		db.kept.end() // beside those that go on
		for range 3 {
			require.NoError(t, <-done)
		}
		require.Equal(t, int64(8*50), one(t, c, "SELECT count(*) FROM t"))
		require.NoError(t, c.Close())
		require.NoError(t, db.Close())
		require.Zero(t, db.users)
		require.Zero(t, db.store.Kept.Load())
	}
}
