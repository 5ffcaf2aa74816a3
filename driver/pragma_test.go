//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/live"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that the pragmas of a name are run on each connection, in their order, before the
// ConnectHook; in every role that may write.
func TestPragma(t *testing.T) {
	const params = "_pragma=foreign_keys(1)&_pragma=case_sensitive_like=1&_pragma=user_version(7)&_pragma=user_version(8)&_pragma=cache_size(-123)&_pragma=temp_store('memory')"
	for name, role := range map[string]string{"server": "", "file": "&sqlite_in_memory=no", "memory": "memory", "live": "&sqlite_role=tool"} {
		t.Run(name, func(t *testing.T) {
			dsn := testdb.Path(t) + "?" + params + role
			switch role {
			case "memory":
				dsn = ":memory:?" + params
			case "&sqlite_role=tool":
				if !live.Supported {
					t.Skip("no live connections here")
				}
				path, _, _ := strings.Cut(dsn, "?")
				testdb.Exec(t, testdb.Open(t, path), "CREATE TABLE t(x)")
			}
			db := testdb.Open(t, dsn)
			db.SetMaxIdleConns(0)
			for range 3 { // new connections, and such as are kept
				for query, want := range map[string]string{
					"PRAGMA foreign_keys":                     "1",
					"SELECT 'a' LIKE 'A'":                     "0",
					"PRAGMA user_version":                     "8",
					"PRAGMA cache_size":                       "-123",
					"PRAGMA temp_store":                       "2",
					"SELECT count(*) FROM sqlite_temp_schema": "0",
				} {
					require.Equal(t, want, testdb.Text(t, db, query), query)
				}
			}
		})
	}

	seen := make(chan string, 1)
	cfg, err := driver.ParseDSN(testdb.Path(t) + "?_pragma=user_version(5)")
	require.NoError(t, err)
	cfg.ConnectHook = func(c *sqlite3.SQLiteConn) error {
		rows, err := c.Query("PRAGMA user_version", nil)
		if err != nil {
			return err
		}
		row := make([]sqldriver.Value, 1)
		err = rows.Next(row)
		select {
		case seen <- fmt.Sprint(row[0]):
		default:
		}
		return errors.Join(err, rows.Close())
	}
	connector, err := driver.NewConnector(cfg)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	require.NoError(t, db.Ping())
	require.Equal(t, "5", <-seen)
	require.NoError(t, db.Close())
}

// Ensure that the pragmas that a server has no use for change nothing: neither the journal,
// nor the locks, nor how readers get their pages.
func TestPragma_withoutEffect(t *testing.T) {
	db := testdb.Open(t, testdb.Path(t)+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=locking_mode(normal)&_pragma=mmap_size(0)&_pragma=journal_size_limit(1)&_pragma=wal_autocheckpoint(0)&_pragma=wal_checkpoint(TRUNCATE)")
	require.Equal(t, "truncate", testdb.Text(t, db, "PRAGMA journal_mode"))
	require.Equal(t, "0", testdb.Text(t, db, "PRAGMA synchronous"))
	require.Equal(t, "1073741824", testdb.Text(t, db, "PRAGMA mmap_size"))

	file := testdb.Open(t, testdb.Path(t)+"?sqlite_in_memory=no&_pragma=journal_mode(WAL)&_pragma=synchronous(EXTRA)")
	require.Equal(t, "delete", testdb.Text(t, file, "PRAGMA journal_mode"))
	require.Equal(t, "3", testdb.Text(t, file, "PRAGMA synchronous"))
}

// Ensure that busy_timeout is the wait of a writer for its turn.
func TestPragma_busyTimeout(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?_pragma=busy_timeout(0)")
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	tx, err := db.Begin()
	require.NoError(t, err)
	_, err = db.Exec("INSERT INTO t VALUES(1)")
	require.ErrorContains(t, err, "database is locked")
	require.NoError(t, tx.Rollback())
}

// Ensure that no pragma reaches a tool that only reads: beside a server, and with mode=ro.
func TestPragma_readOnlyTool(t *testing.T) {
	const params = "&_pragma=user_version(9)&_pragma=foreign_keys(1)&_pragma=incremental_vacuum(1)"
	path := testdb.Path(t)
	server := testdb.Open(t, path+"?sqlite_live=no")
	testdb.Exec(t, server, "CREATE TABLE t(x)")
	require.NoError(t, driver.Sync(ctx, server))
	tool := testdb.Open(t, path+"?sqlite_role=tool&sqlite_live=no"+params)
	require.Equal(t, "0", testdb.Text(t, tool, "PRAGMA user_version"))
	require.Equal(t, "0", testdb.Text(t, tool, "PRAGMA foreign_keys"))
	testdb.Close(t, tool)
	testdb.Close(t, server)

	before, err := os.ReadFile(path)
	require.NoError(t, err)
	reader := testdb.Open(t, path+"?sqlite_in_memory=no&mode=ro"+params)
	require.Equal(t, "0", testdb.Text(t, reader, "PRAGMA user_version"))
	testdb.Close(t, reader)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// Ensure that a pragma that writes waits for the write lock as a statement does, is durable
// with sqlite_wal=commit, and leaves no lock. One that fails, fails the connection by name.
func TestPragma_writes(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=commit")
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	tx, err := db.Begin()
	require.NoError(t, err)
	other := testdb.Open(t, path+"?_pragma=user_version(3)&_busy_timeout=1")
	err = other.Ping()
	require.ErrorContains(t, err, "PRAGMA user_version(3)")
	var e sqlite3.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, sqlite3.ErrBusy, e.Code)
	require.NoError(t, tx.Rollback())

	require.NoError(t, other.Ping())
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Empty(t, st.WriterHolder)
	require.Zero(t, st.Unlogged)
	crashed := testdb.Open(t, testdb.CrashCopy(t, path))
	require.Equal(t, "3", testdb.Text(t, crashed, "PRAGMA user_version"))

	ended, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	tx, err = db.Begin()
	require.NoError(t, err)
	waits := testdb.Open(t, path+"?_pragma=user_version(4)")
	require.Error(t, waits.PingContext(ended))
	require.NoError(t, tx.Rollback())
	require.NoError(t, waits.Ping())
}

// Ensure that a live tool's pragmas are checked by the server too, which runs them.
func TestPragma_liveReadOnly(t *testing.T) {
	if !live.Supported {
		t.Skip("no live connections here")
	}
	path := testdb.Path(t)
	testdb.Exec(t, testdb.Open(t, path), "CREATE TABLE t(x)")
	tool := testdb.Open(t, path+"?sqlite_role=tool&_pragma=query_only(1)")
	_, err := tool.Exec("INSERT INTO t VALUES(1)")
	require.ErrorContains(t, err, "readonly")
}
