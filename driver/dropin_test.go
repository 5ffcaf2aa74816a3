//go:build cgo

package driver_test

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that every parameter of go-sqlite3 reaches each connection.
func TestDropIn_params(t *testing.T) {
	for params, want := range map[string]string{
		"_fk=1":                       "PRAGMA foreign_keys=1",
		"_foreign_keys=off":           "PRAGMA foreign_keys=0",
		"_cslike=1":                   "SELECT 'a' LIKE 'A'=0",
		"_defer_fk=1":                 "PRAGMA defer_foreign_keys=0", // until the end of the first transaction
		"_ignore_check_constraints=1": "PRAGMA ignore_check_constraints=1",
		"_query_only=1":               "PRAGMA query_only=1",
		"_rt=1":                       "PRAGMA recursive_triggers=1",
		"_secure_delete=fast":         "PRAGMA secure_delete=2",
		"_auto_vacuum=incremental":    "PRAGMA auto_vacuum=2",
		"_cache_size=-123":            "PRAGMA cache_size=-123",
		"_writable_schema=1":          "PRAGMA writable_schema=1",
		"_busy_timeout=77":            "PRAGMA busy_timeout=77",
		"_journal_mode=WAL":           "PRAGMA journal_mode=truncate",
		"_journal=OFF":                "PRAGMA journal_mode=truncate",
		"_locking=EXCLUSIVE":          "PRAGMA locking_mode=normal",
		"_sync=FULL":                  "PRAGMA synchronous=0",
		"_mutex=full":                 "SELECT 1=1",
	} {
		t.Run(params, func(t *testing.T) {
			db := testdb.Open(t, testdb.Path(t)+"?"+params)
			db.SetMaxIdleConns(3)
			var conns []*sql.Conn
			for range 3 {
				c, err := db.Conn(ctx)
				require.NoError(t, err)
				conns = append(conns, c)
				query, value, _ := strings.Cut(want, "=")
				if strings.HasPrefix(params, "_journal=OFF") || strings.HasPrefix(params, "_journal_mode") {
					testdb.Text(t, c, "PRAGMA user_version")
				}
				require.Equal(t, value, testdb.Text(t, c, query))
			}
			for _, c := range conns {
				require.NoError(t, c.Close())
			}
		})
	}
}

// Ensure that every value of go-sqlite3's parameters, by each of their names,
// does the same here, on every connection of the pool. A value that it refuses
// is refused when the name is parsed. This test knows all of its parameters.
func TestDropIn_paramValues(t *testing.T) {
	yesNo, some := []string{"yes", "No", "TRUE", "false", "on", "off", "1", "0"}, []string{"on", "NO"}
	all := map[string][]string{
		"_auto_vacuum": {"0", "none", "1", "FULL", "2", "incremental"}, "_vacuum": {"full"},
		"_cache_size": {"100", "-3000", "0"}, "_loc": {"auto", "Asia/Tokyo", "UTC"}, "_mutex": {"no", "FULL"},
		"_case_sensitive_like": some, "_cslike": {"1"}, "_defer_foreign_keys": some, "_defer_fk": {"1"},
		"_foreign_keys": yesNo, "_fk": {"1"}, "_ignore_check_constraints": some, "_query_only": some,
		"_recursive_triggers": some, "_rt": {"1"}, "_secure_delete": {"fast", "on", "off"}, "_writable_schema": some,
		"_busy_timeout": {"0", "1234"}, "_timeout": {"88"}, "_txlock": {"deferred", "IMMEDIATE", "exclusive"}, "_stmt_cache_size": {"0", "5"},
		"_journal_mode": {"delete", "TRUNCATE", "persist", "memory", "wal", "off"}, "_journal": {"WAL"}, "_locking_mode": {"normal", "EXCLUSIVE"}, "_locking": {"EXCLUSIVE"},
		"_synchronous": {"0", "off", "1", "NORMAL", "2", "full", "3", "extra"}, "_sync": {"FULL"},
		"_auth": {""}, "_auth_user": {"u"}, "_auth_pass": {"p"}, "_auth_crypt": {"sha1"}, "_auth_salt": {"s"}, "mode": {"rwc"}, "psow": {"1"},
	}
	source, err := os.ReadFile(filepath.Join(goSQLiteDir(t), "sqlite3.go"))
	require.NoError(t, err)
	for _, match := range regexp.MustCompile(`(?:params\[|params\.Get\(|pkey = )"([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
		if key := match[1]; key != "vfs" {
			require.Contains(t, all, key, "a parameter of go-sqlite3 that is not tested")
		}
	}
	state := func(db *sql.DB, key string) string {
		var b strings.Builder
		var conns []*sql.Conn
		for range 2 {
			c, err := db.Conn(ctx)
			if err != nil {
				return err.Error()
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			for _, query := range []string{
				"PRAGMA defer_foreign_keys", "PRAGMA auto_vacuum", "PRAGMA cache_size", "SELECT 'a' LIKE 'A'", "PRAGMA foreign_keys", "PRAGMA ignore_check_constraints", "PRAGMA query_only",
				"PRAGMA recursive_triggers", "PRAGMA secure_delete", "PRAGMA writable_schema", "PRAGMA busy_timeout", "CREATE TABLE IF NOT EXISTS t(a DATETIME); SELECT 1", "INSERT INTO t VALUES(1763979072) RETURNING a", "SELECT authenticate('a', 'b')",
			} {
				if strings.HasSuffix(query, "busy_timeout") && !strings.HasSuffix(key, "timeout") ||
					strings.HasSuffix(query, "cache_size") && key != "_cache_size" {
					continue // the default is another
				}
				var v any
				err := c.QueryRowContext(ctx, query).Scan(&v)
				fmt.Fprintln(&b, query, v, err)
			}
		}
		for _, c := range conns {
			require.NoError(t, c.Close())
		}
		return b.String()
	}
	for key, values := range all {
		for _, value := range values {
			params := "?" + key + "=" + value
			if key == "_auth" {
				params = "?_auth=1&_auth_user=u&_auth_pass=p"
			}
			if canonical := strings.TrimSuffix(key, "hronous"); canonical != "_sync" {
				params += "&_sync=off" // the disk is not what is tested
			}
			mem := testdb.Open(t, testdb.Path(t)+params)
			if strings.EqualFold(value, "exclusive") && strings.HasPrefix(key, "_locking") {
				free(t, mem) // go-sqlite3's other connections are shut out
				continue
			}
			require.Equal(t, state(testdb.Plain(t, testdb.Path(t)+params), key), state(mem, key), params)
		}
		if values, checked := all[key]; checked && strings.HasPrefix(key, "_") && !strings.HasPrefix(key, "_auth") && len(values) > 0 {
			for _, bad := range []string{"2x", ""} {
				_, err := sql.Open(driver.Name, testdb.Path(t)+"?"+key+"="+bad)
				require.ErrorContains(t, err, key+"="+bad, "refused by name")
			}
		}
	}
}

// buildExtension builds an extension of SQLite's with a function seven, and returns its name.
func buildExtension(t *testing.T) string {
	t.Helper()
	cc, err := exec.Command("go", "env", "CC").Output() // which has built this test
	require.NoError(t, err)
	dir := t.TempDir()
	source, lib := filepath.Join(dir, "seven.c"), filepath.Join(dir, "seven.so")
	require.NoError(t, os.WriteFile(source, []byte(`#include "sqlite3ext.h"
SQLITE_EXTENSION_INIT1
static void seven(sqlite3_context *c, int n, sqlite3_value **a){ (void)n; (void)a; sqlite3_result_int(c, 7); }
int sqlite3_seven_init(sqlite3 *db, char **pz, const sqlite3_api_routines *p){
  (void)pz;
  SQLITE_EXTENSION_INIT2(p);
  return sqlite3_create_function(db, "seven", 0, SQLITE_UTF8, 0, seven, 0, 0);
}
`), 0o600))
	command := append(strings.Fields(string(cc)), "-shared", "-fPIC", "-I", goSQLiteDir(t), "-o", lib, source)
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return lib
}

// Ensure that extensions are loaded into every connection, and that one which
// is not there fails the connection.
func TestDropIn_extensions(t *testing.T) {
	lib := buildExtension(t)
	open := func(extension string) *sql.DB {
		c, err := driver.ParseDSN(testdb.Path(t))
		require.NoError(t, err)
		c.Extensions = []string{extension}
		connector, err := driver.NewConnector(c)
		require.NoError(t, err)
		return sql.OpenDB(connector)
	}
	db := open(lib)
	defer testdb.Close(t, db)
	one, err := db.Conn(ctx)
	require.NoError(t, err)
	require.Equal(t, "7", testdb.Text(t, one, "SELECT seven()"))
	require.Equal(t, "7", testdb.Text(t, db, "SELECT seven()"), "on another connection")
	require.NoError(t, one.Close())

	missing := open(filepath.Join(t.TempDir(), "missing"))
	require.ErrorContains(t, missing.Ping(), "missing")
	require.NoError(t, missing.Close())
}

// Ensure that pragmas which change how a file is locked and journalled do no
// harm. The other connections read and write, and nothing appears on the disk.
func TestDropIn_modes(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_wal=off") // so that nothing is saved
	testdb.Exec(t, db, "CREATE TABLE t(n INT)")
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	n := 0
	for _, pragma := range []string{
		"journal_mode=WAL", "journal_mode=OFF", "journal_mode=MEMORY", "journal_mode=DELETE", "journal_mode=PERSIST", "locking_mode=EXCLUSIVE", "main.locking_mode=EXCLUSIVE",
		"synchronous=EXTRA", "wal_checkpoint(TRUNCATE)", "wal_autocheckpoint=1", "locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL", "mmap_size=0", "cache_spill=1", "temp_store=1", "exclusive", "optimize", "shrink_memory", "journal_size_limit=10",
	} {
		for _, inTx := range []bool{false, true} {
			if inTx {
				testdb.Exec(t, conn, "BEGIN")
			}
			_, err := conn.ExecContext(ctx, "PRAGMA "+pragma) // some cannot be in a transaction
			require.True(t, err == nil || inTx, "%s: %v", pragma, err)
			testdb.Exec(t, conn, "INSERT INTO t VALUES(1)")
			if inTx {
				testdb.Exec(t, conn, "COMMIT")
			}
			n++
			free(t, db)
			require.Equal(t, fmt.Sprint(n), testdb.Text(t, db, "SELECT count(*) FROM t"), pragma)
			testdb.Exec(t, conn, "BEGIN; DELETE FROM t; ROLLBACK")
			require.Equal(t, fmt.Sprint(n), testdb.Text(t, conn, "SELECT count(*) FROM t"), pragma)
		}
	}
	require.NoError(t, conn.Close())
	files, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.Subset(t, []string{path + ".lock", path + ".sock"}, files, "nothing was saved yet")
}

// Ensure that connections that cannot write can begin a transaction.
func TestDropIn_cannotWrite(t *testing.T) {
	path := testdb.Path(t)
	db := testdb.Open(t, path)
	testdb.Exec(t, db, "CREATE TABLE t(x)")
	testdb.Close(t, db)
	for _, params := range []string{"?mode=ro", "?_query_only=1"} {
		db := testdb.Open(t, path+params)
		tx, err := db.Begin()
		require.NoError(t, err)
		require.Equal(t, "0", testdb.Text(t, tx, "SELECT count(*) FROM t"))
		_, err = tx.Exec("INSERT INTO t VALUES(1)")
		require.Equal(t, sqlite3.ErrReadonly, code(err))
		require.NoError(t, tx.Rollback())
		testdb.Close(t, db)
	}
	for _, mode := range []string{"ro", "rw"} {
		db, err := sql.Open(driver.Name, path+"x?mode="+mode)
		require.NoError(t, err)
		require.ErrorContains(t, db.Ping(), "mode="+mode)
		require.NoError(t, db.Close())
	}
}

// Ensure that times are written, read and placed in a location as go-sqlite3
// does it.
func TestDropIn_times(t *testing.T) {
	db := testdb.Open(t, testdb.Path(t)+"?_loc=America/New_York")
	testdb.Exec(t, db, "CREATE TABLE t(a DATETIME, b TIMESTAMP, c DATE, d BOOLEAN)")
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	testdb.Exec(t, db, "INSERT INTO t VALUES(?, ?, '2026-11-23', 1)", at, at.Unix())
	var a, b, c time.Time
	var d bool
	require.NoError(t, db.QueryRow("SELECT * FROM t").Scan(&a, &b, &c, &d))
	require.True(t, a.Equal(at) && b.Equal(at) && d)
	require.Equal(t, "America/New_York", a.Location().String())
	require.Equal(t, 22, c.Day())
}

// Ensure that Conn.Raw gives the connection below. Registering something on it
// works. Writing through it takes the write lock and gives it back.
func TestDropIn_raw(t *testing.T) {
	db := newTable(t, "")
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	var updates, commits int
	raw := func(f func(c *sqlite3.SQLiteConn) error) {
		t.Helper()
		require.NoError(t, conn.Raw(func(c any) error { return f(c.(driver.RawConn).Raw()) }))
	}
	raw(func(c *sqlite3.SQLiteConn) error {
		c.RegisterUpdateHook(func(int, string, string, int64) { updates++ })
		c.RegisterCommitHook(func() int { commits++; return 0 })
		if err := c.RegisterFunc("twice", func(n int64) int64 { return 2 * n }, true); err != nil {
			return err
		}
		if err := c.RegisterCollation("backwards", func(a, b string) int { return -strings.Compare(a, b) }); err != nil {
			return err
		}
		return c.RegisterAggregator("product", newProduct, true)
	})
	testdb.Exec(t, conn, "INSERT INTO t(n) VALUES(2), (3), (7)")
	require.Equal(t, 3, updates)
	require.Equal(t, 1, commits)
	require.Equal(t, "42", testdb.Text(t, conn, "SELECT product(n) FROM t"))
	require.Equal(t, "84", testdb.Text(t, conn, "SELECT twice(product(n)) FROM t"))
	require.Equal(t, "7", testdb.Text(t, conn, "SELECT n FROM t ORDER BY CAST(n AS TEXT) COLLATE backwards"))
	// A schema that needs the function and the collation is saved all the same.
	testdb.Exec(t, conn, "CREATE TABLE s(x TEXT COLLATE backwards); CREATE INDEX sx ON s(x); INSERT INTO s VALUES('a'), ('b'); CREATE INDEX tw ON t(twice(n))")
	require.NoError(t, driver.Sync(ctx, db))
	testdb.Exec(t, conn, "DROP INDEX tw; DROP TABLE s")

	raw(func(c *sqlite3.SQLiteConn) error {
		_, err := c.Exec("BEGIN; INSERT INTO t(n) VALUES(100)", nil)
		return err
	})
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.NotEmpty(t, st.WriterHolder, "the transaction is open")
	raw(func(c *sqlite3.SQLiteConn) error {
		_, err := c.Exec("COMMIT", nil)
		return err
	})
	free(t, db)
	raw(func(c *sqlite3.SQLiteConn) error {
		_, err := c.Exec("BEGIN; DELETE FROM t", nil)
		return err
	})
	raw(func(c *sqlite3.SQLiteConn) error {
		c.RegisterAuthorizer(func(op int, _, _, _ string) int {
			if op == sqlite3.SQLITE_DROP_TABLE {
				return sqlite3.SQLITE_DENY
			}
			return sqlite3.SQLITE_OK
		})
		return nil
	})
	_, err = conn.ExecContext(ctx, "DROP TABLE t")
	require.Equal(t, sqlite3.ErrAuth, code(err))
	require.NoError(t, conn.Close())
	free(t, db)
	require.Equal(t, "4", testdb.Text(t, db, "SELECT count(*) FROM t"), "what Raw left open was rolled back")
}

type product struct{ n int64 }

func newProduct() *product      { return &product{1} }
func (p *product) Step(n int64) { p.n *= n }
func (p *product) Done() int64  { return p.n }

// Ensure that SQLite's backup works out of a store and into one.
func TestDropIn_backup(t *testing.T) {
	db := newTable(t, "")
	testdb.Exec(t, db, "INSERT INTO t(n) VALUES(1), (2)")
	copyPath := filepath.Join(t.TempDir(), "copy.db")
	disk, err := (&sqlite3.SQLiteDriver{}).Open(copyPath)
	require.NoError(t, err)
	file := disk.(*sqlite3.SQLiteConn)
	defer func() { require.NoError(t, file.Close()) }()
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	backup := func(dst, src *sqlite3.SQLiteConn) error {
		b, err := dst.Backup("main", src, "main")
		if err != nil {
			return err
		}
		for done := false; !done; {
			if done, err = b.Step(1); err != nil {
				return err
			}
		}
		return b.Finish()
	}
	require.NoError(t, conn.Raw(func(c any) error { return backup(file, c.(driver.RawConn).Raw()) }))
	require.Equal(t, "2", testdb.Text(t, testdb.Plain(t, copyPath), "SELECT count(*) FROM t"))
	_, err = file.Exec("INSERT INTO t(n) VALUES(3); CREATE TABLE more(x)", nil)
	require.NoError(t, err)
	require.NoError(t, conn.Raw(func(c any) error { return backup(c.(driver.RawConn).Raw(), file) }))
	require.NoError(t, conn.Close())
	free(t, db)
	require.Equal(t, "3", testdb.Text(t, db, "SELECT count(*) FROM t"))
	require.Equal(t, "0", testdb.Text(t, db, "SELECT count(*) FROM more"))
}

// Ensure that a driver of one's own registers with a hook, as with go-sqlite3.
// A hook that fails or panics fails the connection and leaves nothing. The
// driver can have other names.
func TestDropIn_register(t *testing.T) {
	sql.Register("sqlite-mem-hook", &driver.Driver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		_, err := c.Exec("CREATE TABLE IF NOT EXISTS made_by_hook(x)", nil)
		if err != nil {
			return err
		}
		return c.RegisterFunc("seven", func() int { return 7 }, true)
	}})
	db := testdb.OpenWith(t, "sqlite-mem-hook", testdb.Path(t))
	require.Equal(t, "7", testdb.Text(t, db, "SELECT seven() FROM (SELECT count(*) FROM made_by_hook)"))
	free(t, db)

	fails := fmt.Errorf("no")
	sql.Register("sqlite-mem-fails", &driver.Driver{ConnectHook: func(*sqlite3.SQLiteConn) error { return fails }})
	db, err := sql.Open("sqlite-mem-fails", testdb.Path(t))
	require.NoError(t, err)
	require.ErrorIs(t, db.Ping(), fails)
	require.NoError(t, db.Close())

	path := testdb.Path(t)
	sql.Register("sqlite-mem-panics", &driver.Driver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		if _, err := c.Exec("BEGIN IMMEDIATE", nil); err != nil {
			return err
		}
		panic("hook")
	}})
	db, err = sql.Open("sqlite-mem-panics", path)
	require.NoError(t, err)
	require.PanicsWithValue(t, "hook", func() { _ = db.Ping() })
	other := testdb.Open(t, path)
	free(t, other)
	eventually(t, func() bool { // a flush is a connection, too
		st, err := driver.ReadStats(other)
		require.NoError(t, err)
		return st.Connections == 1
	}) // what the panic left is closed
	require.NoError(t, db.Close())

	require.NoError(t, driver.RegisterAs("sqlite-mem-alias"))
	require.ErrorContains(t, driver.RegisterAs("sqlite-mem-alias"), "sqlite-mem-alias")
	require.ErrorContains(t, driver.RegisterAs("sqlite3"), "-X github.com/mattn/go-sqlite3.driverName=")
	db = testdb.OpenWith(t, "sqlite-mem-alias", ":memory:")
	free(t, db)
}

// Ensure that a hook that fails leaves nothing, whatever it has begun: a statement that
// is not closed, a transaction, an attached store.
func TestDropIn_hookLeavesBehind(t *testing.T) {
	attached := testdb.Path(t)
	other := testdb.Open(t, attached)
	testdb.Exec(t, other, "CREATE TABLE t(x)")
	var kept []sqldriver.Rows // or a finalizer would close them
	fails := fmt.Errorf("no")
	const replaced = "CREATE TABLE h(x); "
	for _, begun := range []string{
		"SELECT 1", "BEGIN IMMEDIATE", "ATTACH '" + attached + "' AS a", "ATTACH '" + attached + "' AS a; BEGIN IMMEDIATE", replaced + "ATTACH '" + attached + "' AS a",
	} {
		for _, open := range []bool{false, true} {
			cfg, err := driver.ParseDSN(testdb.Path(t) + "?_busy_timeout=2000")
			require.NoError(t, err)
			hooked := false
			cfg.ConnectHook = func(c *sqlite3.SQLiteConn) error {
				if hooked {
					return nil
				}
				hooked = true
				_, err := c.Exec(begun, nil)
				if err == nil && strings.HasPrefix(begun, replaced) {
					var b []byte
					if b, err = c.Serialize("main"); err == nil {
						err = c.Deserialize(b, "main")
					}
				}
				if err == nil && open {
					var rows sqldriver.Rows
					rows, err = c.Query("SELECT count(*) FROM sqlite_schema UNION ALL SELECT 2", nil)
					kept = append(kept, rows)
				}
				return errors.Join(err, fails)
			}
			connector, err := driver.NewConnector(cfg)
			require.NoError(t, err)
			db := sql.OpenDB(connector)
			require.EqualError(t, db.Ping(), fails.Error(), begun)
			free(t, db)
			free(t, other)
			require.NoError(t, db.Close(), begun)
		}
	}
	testdb.Close(t, other)
	require.Zero(t, store.Count())
	runtime.KeepAlive(kept)
}

// Ensure that a store that the SQL function behind ATTACH has found ends with its
// connection, though nothing was attached.
func TestDropIn_attachFunction(t *testing.T) {
	const call = "SELECT sqlite_mem_attach('file:found?mode=memory&cache=shared')"
	for _, use := range []func(*sql.Conn) error{
		func(c *sql.Conn) error {
			return c.Raw(func(c any) error {
				_, err := c.(driver.RawConn).Raw().Exec(call, nil)
				return err
			})
		},
		func(c *sql.Conn) error {
			_, err := c.ExecContext(ctx, call+" FROM (VALUES(1), (2), (3))")
			return err
		},
		func(c *sql.Conn) error {
			rows, err := c.QueryContext(ctx, call+" FROM (VALUES(1), (2), (3))")
			if err != nil {
				return err
			}
			for rows.Next() {
			}
			return errors.Join(rows.Err(), rows.Close())
		},
	} {
		db, err := sql.Open(driver.Name, ":memory:")
		require.NoError(t, err)
		conn, err := db.Conn(ctx)
		require.NoError(t, err)
		require.NoError(t, use(conn))
		require.NoError(t, conn.Close())
		require.NoError(t, db.Close())
		require.Zero(t, store.Count())
	}
}

// Ensure that ATTACH of a file on disk attaches that file. If this process has
// the file in memory, ATTACH attaches the store. A transaction over both is
// one. VACUUM INTO writes to the file that it names.
func TestDropIn_attach(t *testing.T) {
	db := newTable(t, "")
	otherPath := testdb.Path(t)
	other := testdb.Open(t, otherPath+"?sqlite_wal=off") // so that it is not saved
	testdb.Exec(t, other, "CREATE TABLE o(x)")
	disk := testdb.Path(t)
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	testdb.Exec(t, conn, "ATTACH ? AS o; ATTACH ? AS d", otherPath, disk)
	testdb.Exec(t, conn, "CREATE TABLE d.t2(x)")
	testdb.Exec(t, conn, "BEGIN; INSERT INTO t(n) VALUES(1); INSERT INTO o.o VALUES(1); INSERT INTO d.t2 VALUES(1); COMMIT")
	require.Equal(t, "1", testdb.Text(t, other, "SELECT count(*) FROM o"))
	require.NoFileExists(t, otherPath)
	require.Equal(t, "1", testdb.Text(t, testdb.Plain(t, disk), "SELECT count(*) FROM t2"))
	testdb.Exec(t, conn, "BEGIN; DELETE FROM o.o; DELETE FROM d.t2; DELETE FROM t; ROLLBACK")
	require.Equal(t, "1", testdb.Text(t, other, "SELECT count(*) FROM o"))
	testdb.Exec(t, conn, "DETACH o; DETACH d")
	into := testdb.Path(t)
	testdb.Exec(t, conn, "VACUUM INTO ?", into)
	require.Equal(t, "1", testdb.Text(t, testdb.Plain(t, into), "SELECT count(*) FROM t"))
	testdb.Exec(t, conn, "PRAGMA page_size=8192; VACUUM")
	require.Equal(t, "8192", testdb.Text(t, db, "PRAGMA page_size"))
	require.NoError(t, conn.Close())
	free(t, db)
}

// Ensure that the connection implements what database/sql asks for.
func TestDropIn_interfaces(t *testing.T) {
	db := newTable(t, "")
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	require.NoError(t, conn.Raw(func(c any) error {
		require.Implements(t, (*sqldriver.SessionResetter)(nil), c)
		require.Implements(t, (*sqldriver.Validator)(nil), c)
		require.Implements(t, (*sqldriver.ConnBeginTx)(nil), c)
		return nil
	}))
	require.NoError(t, conn.Close())
}
