//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// records keeps what a logger gets.
type records struct {
	mu   sync.Mutex
	list []string
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *records) WithGroup(string) slog.Handler            { return r }
func (r *records) Handle(_ context.Context, rec slog.Record) error {
	text := rec.Message
	rec.Attrs(func(a slog.Attr) bool {
		text += " " + a.Key + "=" + a.Value.String()
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, text)
	return nil
}

// with returns the records that contain all texts.
func (r *records) with(texts ...string) (found []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.list {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(rec, text)
		}
		if all {
			found = append(found, rec)
		}
	}
	return found
}

// await waits for a record.
func (r *records) await(t *testing.T, texts ...string) string {
	t.Helper()
	require.Eventually(t, func() bool { return len(r.with(texts...)) > 0 }, time.Minute, time.Millisecond, texts)
	return r.with(texts...)[0]
}

// openSlow opens a database whose slow writers and readers are logged.
func openSlow(t *testing.T, cfg driver.Config) (*sql.DB, *records) {
	t.Helper()
	logged := &records{}
	cfg.Logger = slog.New(logged)
	connector, err := driver.NewConnector(&cfg)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	testdb.Exec(t, db, "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x')")
	return db, logged
}

const (
	slowWriter = "a writer holds the write lock for long"
	slowReader = "a reader keeps an old state for long"
)

// Ensure that a writer that holds the lock for long is logged once, while it holds it, with
// its last statement and without a value of it. The counters show the same text. With
// SlowStacks the log has the place where it began.
func TestSlow_writer(t *testing.T) {
	db, logged := openSlow(t, driver.Config{SlowWriter: time.Millisecond, SlowStacks: driver.On})
	tx, err := db.Begin()
	require.NoError(t, err)
	testdb.Exec(t, tx, "UPDATE t SET b = 'secret' WHERE a = 4711 -- secret")
	rec := logged.await(t, slowWriter, "statement=transaction")
	require.Contains(t, rec, "TestSlow_writer")
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, "transaction; last statement: UPDATE t SET b = ? WHERE a = ?", st.WriterHolder)
	testdb.Exec(t, tx, "DELETE FROM t WHERE b = 'secret'")
	st, err = driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, "transaction; last statement: DELETE FROM t WHERE b = ?", st.WriterHolder)
	require.NoError(t, tx.Rollback())
	require.Len(t, logged.with(slowWriter, "statement=transaction"), 1)

	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	testdb.Exec(t, conn, "BEGIN IMMEDIATE; INSERT INTO t VALUES (2, 'secret')")
	logged.await(t, slowWriter, "statement=BEGIN IMMEDIATE")
	st, err = driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, "BEGIN IMMEDIATE; last statement: INSERT INTO t VALUES (?, ?)", st.WriterHolder)
	testdb.Exec(t, conn, "ROLLBACK")
	require.NoError(t, conn.Close())
	require.Empty(t, logged.with("secret"))
	require.Empty(t, logged.with("4711"))
	require.Empty(t, logged.with(slowReader))
}

// Ensure that a writer in vain is logged without a value, its own or the holder's.
func TestSlow_busy(t *testing.T) {
	db, logged := openSlow(t, driver.Config{BusyTimeout: driver.NoWait})
	tx, err := db.Begin()
	require.NoError(t, err)
	testdb.Exec(t, tx, "UPDATE t SET b = 'secret'")
	_, err = db.Exec("INSERT INTO t VALUES (3, 'secret')")
	require.ErrorContains(t, err, "locked")
	require.NotContains(t, err.Error(), "secret")
	rec := logged.await(t, "a writer did not get its turn")
	require.Contains(t, rec, "statement=INSERT INTO t VALUES (?, ?) holder=transaction; last statement: UPDATE t SET b = ? ")
	_, err = db.Begin()
	require.ErrorContains(t, err, "locked")
	logged.await(t, "statement=transaction holder=transaction; last statement: UPDATE t SET b = ? ")
	require.NoError(t, tx.Rollback())
	require.Empty(t, logged.with("secret"))
	require.Empty(t, logged.with(slowWriter))
}

// Ensure that a reader that keeps a state for long is logged once, while it does, whatever it
// is: rows that are left open, a read-only transaction, a BEGIN as text, and one statement
// that runs for long.
func TestSlow_reader(t *testing.T) {
	many := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e5) SELECT i, 'secret' FROM n, (SELECT 1 FROM t LIMIT 1)"
	for name, test := range map[string]struct {
		begin func(*testing.T, *sql.DB) (end func() error)
		want  string
	}{
		"rows": {func(t *testing.T, db *sql.DB) func() error {
			rows, err := db.Query(many)
			require.NoError(t, err)
			require.True(t, rows.Next())
			return rows.Close
		}, "statement=WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + ? FROM n WHERE i < ?) SELECT i, ? FROM n, (SELECT ? FROM t LIMIT ?) stack="},
		"read-only transaction": {func(t *testing.T, db *sql.DB) func() error {
			tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
			require.NoError(t, err)
			require.Equal(t, "1", testdb.Text(t, tx, "SELECT count(*) FROM t WHERE b <> 'secret'"))
			return tx.Rollback
		}, "statement=read-only transaction last_statement=SELECT count(*) FROM t WHERE b <> ? stack="},
		"BEGIN": {func(t *testing.T, db *sql.DB) func() error {
			conn, err := db.Conn(t.Context())
			require.NoError(t, err)
			testdb.Exec(t, conn, "BEGIN")
			require.Equal(t, "1", testdb.Text(t, conn, "SELECT count(*) FROM t"))
			require.Equal(t, "1", testdb.Text(t, conn, "SELECT 1 FROM t"))
			return func() error {
				testdb.Exec(t, conn, "ROLLBACK")
				return conn.Close()
			}
		}, "statement=SELECT count(*) FROM t last_statement=SELECT ? FROM t stack="},
		"one statement": {func(t *testing.T, db *sql.DB) func() error {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				_, err := db.ExecContext(ctx, strings.Replace(many, " WHERE i < 1e5", "", 1))
				done <- err
			}()
			return func() error {
				cancel()
				require.ErrorIs(t, <-done, context.Canceled)
				return nil
			}
		}, "statement=WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + ? FROM n) SELECT i, ? FROM n, (SELECT ? FROM t LIMIT ?) stack="},
	} {
		t.Run(name, func(t *testing.T) {
			db, logged := openSlow(t, driver.Config{SlowReader: 20 * time.Millisecond, SlowStacks: driver.On})
			end := test.begin(t, db)
			rec := logged.await(t, slowReader, test.want)
			require.NoError(t, end())
			require.Contains(t, rec, "TestSlow_reader")
			require.Empty(t, logged.with("secret"))
			require.Len(t, logged.with(slowReader, test.want), 1)
		})
	}
}

// Ensure that quick statements, and connections without a transaction, are never logged, and
// that nothing is without an option.
func TestSlow_quick(t *testing.T) {
	db, logged := openSlow(t, driver.Config{SlowReader: time.Hour, SlowWriter: time.Hour})
	none, noneLogged := openSlow(t, driver.Config{})
	for _, db := range []*sql.DB{db, none} {
		for range 100 {
			testdb.Exec(t, db, "INSERT INTO t VALUES (1, 2)")
			testdb.Text(t, db, "SELECT count(*) FROM t")
		}
	}
	require.Empty(t, append(logged.with("for long"), noneLogged.with("for long")...))
}

// Ensure that a backup is a reader, which is logged if it takes long.
func TestSlow_backup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	db, logged := openSlow(t, driver.Config{Path: path, SlowReader: time.Millisecond})
	testdb.Exec(t, db, "INSERT INTO t SELECT 1, zeroblob(30000000)")
	require.NoError(t, driver.Backup(t.Context(), db, path+".backup"))
	logged.await(t, slowReader, "statement=a backup to ")
}

// Ensure that a live tool that is slow is logged by the server, with its process.
func TestSlow_tool(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	_, logged := openSlow(t, driver.Config{Path: path, SlowReader: time.Millisecond, SlowWriter: time.Millisecond})
	tool, err := sql.Open(driver.Name, path+"?sqlite_role=tool")
	require.NoError(t, err)
	defer func() { require.NoError(t, tool.Close()) }()
	if st, err := driver.ReadStats(tool); err != nil || st.Role != driver.RoleLive {
		t.Skip("no live connections here")
	}
	who := "statement=process " + strconv.Itoa(os.Getpid()) + ": "
	tx, err := tool.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	require.NoError(t, err)
	testdb.Text(t, tx, "SELECT 'secret' FROM t")
	logged.await(t, slowReader, who+"read-only transaction")
	require.NoError(t, tx.Rollback())
	tx, err = tool.Begin()
	require.NoError(t, err)
	testdb.Exec(t, tx, "UPDATE t SET b = 'secret'")
	logged.await(t, slowWriter, who+"transaction")
	st, err := driver.ReadStats(tool)
	require.NoError(t, err)
	require.Equal(t, strings.TrimPrefix(who, "statement=")+"transaction; last statement: UPDATE t SET b = ?", st.WriterHolder)
	require.NoError(t, tx.Rollback())
	require.Empty(t, logged.with("secret"))
}
