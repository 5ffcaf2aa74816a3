//go:build cgo

// Package testdb opens databases for tests, and proves at the end of each test
// that they are healthy and that nothing was left behind.
package testdb

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3" // the plain driver, "sqlite3"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// Open opens dsn by the driver's name. At the end of the test it checks the database and
// closes it. The database must be sound, the write lock free and without waiters, and no
// connection in use. After the last database no goroutine is left.
func Open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	return OpenWith(t, driver.Name, dsn)
}

// OpenWith is Open for another name of the driver.
func OpenWith(t testing.TB, name, dsn string) *sql.DB {
	t.Helper()
	tool, server := throughServer(t, name, dsn)
	db, err := sql.Open(name, tool)
	require.NoError(t, err)
	if server != nil {
		servers.Store(db, server)
	}
	opened.Add(1)
	t.Cleanup(func() {
		Close(t, db)
		if opened.Add(-1) == 0 {
			goleak.VerifyNone(t)
		}
	})
	return db
}

// LiveEnv is an environment variable. If it is set, Open opens a server in this process
// and returns a live connection to it. It has no effect on names without a file, or on
// names that choose a role or a way to connect. Tests of everything but roles then prove
// that a live connection behaves like one in the server.
const LiveEnv = "SQLITE_MEM_TEST_LIVE"

// servers maps the pool of a live connection to the pool of its server.
var servers sync.Map

// closeBoth closes a pool, and the server that was opened for it.
func closeBoth(t testing.TB, db *sql.DB) {
	t.Helper()
	require.NoError(t, db.Close())
	if server, ok := servers.LoadAndDelete(db); ok {
		require.NoError(t, server.(*sql.DB).Close())
	}
}

// throughServer opens the server of a live connection, and returns its name for tools.
func throughServer(t testing.TB, name, dsn string) (tool string, server *sql.DB) {
	t.Helper()
	if os.Getenv(LiveEnv) == "" {
		return dsn, nil
	}
	cfg, err := driver.ParseDSN(dsn)
	if err != nil || cfg.Path == "" || cfg.Path == ":memory:" || cfg.Role != "" || cfg.InMemory != "" || cfg.Live != "" {
		return dsn, nil
	}
	server, err = sql.Open(name, dsn)
	require.NoError(t, err)
	_, err = driver.ReadStats(server) // opens the database, and no connection
	require.NoError(t, err)
	cfg.Role = driver.RoleTool
	return cfg.FormatDSN(), server
}

// opened counts the databases that tests have opened and not closed yet.
var opened atomic.Int32

// Close does now what Open does at the end of the test. It may be called again, also for a
// closed database.
func Close(t testing.TB, db *sql.DB) {
	t.Helper()
	ping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := db.PingContext(ping); err != nil {
		require.NotErrorIs(t, err, context.DeadlineExceeded, "all connections are in use")
		_, closed := driver.ReadStats(db)
		require.Error(t, closed, "the database is open, but cannot be used: %v", err)
		closeBoth(t, db)
		return
	}
	// database/sql ends a transaction with an ended context by itself, a moment after its
	// user got the error.
	require.Eventually(t, func() bool { return db.Stats().InUse == 0 }, 10*time.Second, time.Millisecond, "connections left in use")
	Healthy(t, db)
	closeBoth(t, db)
}

// Healthy makes sure that an idle open database is sound and its write lock free.
func Healthy(t testing.TB, db *sql.DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var result string
	require.NoError(t, db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&result))
	require.Equal(t, "ok", result)
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Empty(t, st.WriterHolder, "the write lock is held")
	require.Zero(t, st.WriterQueue, "somebody waits for the write lock")
}

// Main runs the tests of a package and fails if goroutines or stores are left.
func Main(m *testing.M) {
	code := m.Run()
	if n := store.Count(); code == 0 && n > 0 {
		println("stores left open:", n)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

// Plain opens a file with go-sqlite3 only.
func Plain(t testing.TB, path string) *sql.DB {
	t.Helper()
	return PlainWith(t, "sqlite3", path)
}

// PlainWith is Plain for another name of go-sqlite3.
func PlainWith(t testing.TB, name, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open(name, path)
	require.NoError(t, err)
	opened.Add(1)
	t.Cleanup(func() {
		require.NoError(t, db.Close())
		opened.Add(-1)
	})
	return db
}

// Path is the path of a file that does not exist, in a directory of its own.
func Path(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "app.db")
}

// CrashCopy copies a database, in use or not, with its logs, as a crash would leave them
// now. It returns the new path.
func CrashCopy(t testing.TB, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	for _, suffix := range []string{"", "-memwal", "-memwal-new"} {
		b, err := os.ReadFile(path + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to+suffix, b, 0o600))
	}
	return to
}

// Text runs a query that returns one value, and returns it as text.
func Text(t testing.TB, db interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, query string, args ...any) string {
	t.Helper()
	var s sql.NullString
	require.NoError(t, db.QueryRowContext(context.Background(), query, args...).Scan(&s), query)
	return s.String
}

// Exec runs statements that must succeed.
func Exec(t testing.TB, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, query string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(context.Background(), query, args...)
	require.NoError(t, err, query)
}
