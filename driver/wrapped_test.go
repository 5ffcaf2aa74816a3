//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/live"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Small wrappers with the method sets of real ones. Module driver/clients has those.

// tracedDriver is as the driver of XSAM/otelsql.
type tracedDriver struct{ inner sqldriver.Driver }

func (d *tracedDriver) Open(name string) (sqldriver.Conn, error) {
	c, err := d.inner.Open(name)
	if err != nil {
		return nil, err
	}
	return &tracedConn{passingConn{c}}, nil
}

func (d *tracedDriver) OpenConnector(name string) (sqldriver.Connector, error) {
	c, err := d.inner.(sqldriver.DriverContext).OpenConnector(name)
	if err != nil {
		return nil, err
	}
	return &tracedConnector{c, d}, nil
}

type tracedConnector struct {
	sqldriver.Connector
	driver sqldriver.Driver
}

func (c *tracedConnector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &tracedConn{passingConn{conn}}, nil
}

func (c *tracedConnector) Driver() sqldriver.Driver { return c.driver }

func (c *tracedConnector) Close() error {
	if closer, ok := c.Connector.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

type tracedConn struct{ passingConn }

func (c *tracedConn) Raw() sqldriver.Conn { return c.Conn }

// hiddenDriver is as the driver of ngrok/sqlmw: its connector has no Close, and its
// connections show nothing, but pass each call on.
type hiddenDriver struct{ inner sqldriver.Driver }

func (d hiddenDriver) Open(name string) (sqldriver.Conn, error) { panic("has OpenConnector") }

func (d hiddenDriver) OpenConnector(name string) (sqldriver.Connector, error) {
	c, err := d.inner.(sqldriver.DriverContext).OpenConnector(name)
	if err != nil {
		return nil, err
	}
	return hiddenConnector{c, &d}, nil
}

type hiddenConnector struct {
	inner  sqldriver.Connector
	driver *hiddenDriver
}

func (c hiddenConnector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	conn, err := c.inner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return hiddenConn{passingConn{conn}}, nil
}

func (c hiddenConnector) Driver() sqldriver.Driver { return c.driver }

type hiddenConn struct{ passingConn }

// passingConn passes the calls with a context on.
type passingConn struct{ sqldriver.Conn }

func (c passingConn) Ping(ctx context.Context) error { return c.Conn.(sqldriver.Pinger).Ping(ctx) }

func (c passingConn) BeginTx(ctx context.Context, opts sqldriver.TxOptions) (sqldriver.Tx, error) {
	return c.Conn.(sqldriver.ConnBeginTx).BeginTx(ctx, opts)
}

func (c passingConn) ExecContext(ctx context.Context, query string, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	return c.Conn.(sqldriver.ExecerContext).ExecContext(ctx, query, args)
}

func (c passingConn) QueryContext(ctx context.Context, query string, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	return c.Conn.(sqldriver.QueryerContext).QueryContext(ctx, query, args)
}

func (c passingConn) ResetSession(ctx context.Context) error {
	return c.Conn.(sqldriver.SessionResetter).ResetSession(ctx)
}

func (c passingConn) IsValid() bool { return c.Conn.(sqldriver.Validator).IsValid() }

// plainDriver is a wrapper that knows neither connectors nor Ping. Its connections tell what
// they wrap.
type plainDriver struct{ inner sqldriver.Driver }

func (d plainDriver) Open(name string) (sqldriver.Conn, error) {
	c, err := d.inner.Open(name)
	if err != nil {
		return nil, err
	}
	return plainConn{c}, nil
}

type plainConn struct{ sqldriver.Conn }

func (c plainConn) Unwrap() sqldriver.Conn { return c.Conn }

// blindDriver is a wrapper with connections that show nothing and pass no Ping on.
type blindDriver struct{ inner sqldriver.Driver }

func (d blindDriver) Open(name string) (sqldriver.Conn, error) {
	c, err := d.inner.Open(name)
	if err != nil {
		return nil, err
	}
	return struct{ sqldriver.Conn }{c}, nil
}

var wrappers atomic.Int64

// openWrapped opens a database of the driver that wrap returns, by a name of its own. The
// driver below is what otelsql takes: that of an sql.DB opened without a name, and closed.
func openWrapped(t *testing.T, wrap func(sqldriver.Driver) sqldriver.Driver, dsn string) *sql.DB {
	t.Helper()
	first, err := sql.Open(driver.Name, "")
	require.NoError(t, err)
	require.NoError(t, first.Close())
	name := fmt.Sprintf("wrapped-%d", wrappers.Add(1))
	sql.Register(name, wrap(first.Driver()))
	db, err := sql.Open(name, dsn)
	require.NoError(t, err)
	t.Cleanup(func() {
		// The connector of some wrappers has no Close, so DB.Close is not enough.
		if err := driver.Close(db); err != nil {
			require.NoError(t, db.Close())
		}
	})
	return db
}

func traced(d sqldriver.Driver) sqldriver.Driver { return &tracedDriver{d} }
func hidden(d sqldriver.Driver) sqldriver.Driver { return hiddenDriver{d} }
func plain(d sqldriver.Driver) sqldriver.Driver  { return plainDriver{d} }

// Ensure that Sync, ReadStats, Backup and Watch find the driver behind wrappers of all kinds, and
// behind several at once. In the role of the server, and in that of a tool on the file.
func TestWrapped(t *testing.T) {
	for name, wrap := range map[string]func(sqldriver.Driver) sqldriver.Driver{
		"traced":        traced,
		"hidden":        hidden,
		"plain":         plain,
		"traced hidden": func(d sqldriver.Driver) sqldriver.Driver { return traced(hidden(d)) },
		"hidden traced": func(d sqldriver.Driver) sqldriver.Driver { return hidden(traced(d)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := testdb.Path(t)
			db := openWrapped(t, wrap, path+"?sqlite_sync_interval=never")
			testdb.Exec(t, db, "CREATE TABLE t(n)") // a wrapper that only prepares knows one statement
			testdb.Exec(t, db, "INSERT INTO t VALUES(7)")
			st, err := driver.ReadStats(db)
			require.NoError(t, err)
			require.Equal(t, driver.RoleServer, st.Role)
			require.Equal(t, path, st.Path)
			require.NotZero(t, st.Unsaved)

			require.NoError(t, driver.Sync(t.Context(), db))
			require.Equal(t, "7", testdb.Text(t, testdb.Plain(t, path), "SELECT n FROM t"))
			copied := filepath.Join(t.TempDir(), "copy.db")
			require.NoError(t, driver.Backup(t.Context(), db, copied))
			require.Equal(t, "7", testdb.Text(t, testdb.Plain(t, copied), "SELECT n FROM t"))
			require.Zero(t, db.Stats().InUse)

			watching, end := context.WithCancel(t.Context())
			defer end()
			var changes []driver.Change
			for change, err := range driver.Watch(watching, db) {
				if err != nil {
					require.ErrorIs(t, err, context.Canceled)
					continue
				}
				if changes = append(changes, change); len(changes) == 1 {
					testdb.Exec(t, db, "INSERT INTO t VALUES(8)")
					continue
				}
				end()
			}
			require.Len(t, changes, 2)
			require.Equal(t, []string{"t"}, changes[1].Tables)
			for range driver.Watch(t.Context(), db) {
				break
			}
			require.Zero(t, db.Stats().InUse)

			tool := openWrapped(t, wrap, copied+"?sqlite_in_memory=no")
			st, err = driver.ReadStats(tool)
			require.NoError(t, err)
			require.Equal(t, driver.RoleTool, st.Role)
			require.NoError(t, driver.Sync(t.Context(), tool))
		})
	}
}

// Ensure that a wrapped live connection is found too: the server's counters are read.
func TestWrapped_live(t *testing.T) {
	if !live.Supported {
		t.Skip("no live connections here")
	}
	path := testdb.Path(t)
	server := testdb.Open(t, path)
	testdb.Exec(t, server, "CREATE TABLE t(n)")
	for _, wrap := range []func(sqldriver.Driver) sqldriver.Driver{traced, hidden, plain} {
		tool := openWrapped(t, wrap, path+"?sqlite_role=tool")
		testdb.Exec(t, tool, "INSERT INTO t VALUES(1)")
		st, err := driver.ReadStats(tool)
		require.NoError(t, err)
		require.Equal(t, driver.RoleLive, st.Role)
		require.NoError(t, driver.Sync(t.Context(), tool))
		st, err = driver.ReadStats(server)
		require.NoError(t, err)
		require.Zero(t, st.Unsaved)
	}
}

// Ensure that after the first call none takes a connection of the pool. So the counters can
// be read while all connections wait.
func TestWrapped_busyPool(t *testing.T) {
	db := openWrapped(t, hidden, testdb.Path(t))
	db.SetMaxOpenConns(1)
	_, err := driver.ReadStats(db)
	require.NoError(t, err)
	tx, err := db.Begin()
	require.NoError(t, err)
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, "transaction", st.WriterHolder)
	require.NoError(t, driver.Sync(t.Context(), db))
	require.NoError(t, tx.Rollback())

	// The first call does take one, and its context ends the wait.
	other := openWrapped(t, hidden, testdb.Path(t))
	other.SetMaxOpenConns(1)
	tx, err = other.Begin()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, driver.Sync(ctx, other), context.DeadlineExceeded)
	require.NoError(t, tx.Rollback())
}

// Ensure that a database whose connections cannot be looked through is ErrNotOurs, and that
// Close leaves it open.
func TestWrapped_blind(t *testing.T) {
	db := openWrapped(t, func(d sqldriver.Driver) sqldriver.Driver { return blindDriver{d} }, testdb.Path(t))
	require.ErrorIs(t, driver.Sync(t.Context(), db), driver.ErrNotOurs)
	require.ErrorIs(t, driver.Close(db), driver.ErrNotOurs)
	require.NoError(t, db.Ping())
}

// Ensure that Close saves and lets go of the file also if the wrapper's connector has no
// Close. DB.Close alone does not reach the driver then. Afterwards the database is closed.
func TestClose_wrapped(t *testing.T) {
	for name, wrap := range map[string]func(sqldriver.Driver) sqldriver.Driver{
		"none": nil, "traced": traced, "hidden": hidden, "plain": plain,
	} {
		t.Run(name, func(t *testing.T) {
			stores := store.Count()
			path := testdb.Path(t)
			var db *sql.DB
			if wrap != nil {
				db = openWrapped(t, wrap, path+"?sqlite_wal=off")
			} else {
				var err error
				db, err = sql.Open(driver.Name, path+"?sqlite_wal=off")
				require.NoError(t, err)
			}
			testdb.Exec(t, db, "CREATE TABLE t(n)") // a wrapper that only prepares knows one statement
			testdb.Exec(t, db, "INSERT INTO t VALUES(7)")
			require.NoError(t, driver.Close(db))
			require.Equal(t, stores, store.Count())
			require.Equal(t, "7", testdb.Text(t, testdb.Plain(t, path), "SELECT n FROM t"))
			require.Error(t, db.Ping())
			if wrap == nil || name != "plain" { // each of its connections was a database of its own
				require.ErrorIs(t, driver.Sync(t.Context(), db), driver.ErrClosed)
				require.NoError(t, driver.Close(db))
			}
		})
	}
}

// Ensure that two names of one wrapper are two databases, also if the wrapper was made of the
// driver of one of them.
func TestWrapped_driverOfOther(t *testing.T) {
	a := testdb.Open(t, testdb.Path(t))
	testdb.Exec(t, a, "CREATE TABLE t(n)")
	name := fmt.Sprintf("wrapped-%d", wrappers.Add(1))
	sql.Register(name, &tracedDriver{a.Driver()})
	path := testdb.Path(t)
	b, err := sql.Open(name, path)
	require.NoError(t, err)
	st, err := driver.ReadStats(b)
	require.NoError(t, err)
	require.Equal(t, path, st.Path)
	require.NoError(t, b.Close())
	_, err = driver.ReadStats(b)
	require.ErrorIs(t, err, driver.ErrClosed)
}
