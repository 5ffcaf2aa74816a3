//go:build cgo

package driver_test

import (
	"bytes"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that a database which cannot be opened gives the code that go-sqlite3
// gives, in every role. The error names the file, and has the number of the
// system's error where go-sqlite3's has one.
func TestOpen_errorCodes(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	sound := filepath.Join(dir, "sound.db")
	plain, err := sql.Open("sqlite3", sound)
	require.NoError(t, err)
	testdb.Exec(t, plain, "CREATE TABLE a(x); CREATE TABLE b(x); INSERT INTO a VALUES(zeroblob(20000))")
	require.NoError(t, plain.Close())
	content, err := os.ReadFile(sound)
	require.NoError(t, err)
	damaged := bytes.Clone(content)
	copy(damaged[100:4096], bytes.Repeat([]byte{0xff}, 4096))
	none := filepath.Join(dir, "none.db")

	for name, c := range map[string]struct {
		path, params string
		code         sqlite3.ErrNo
		missing      bool
	}{
		"mode=ro, no file":     {none, "mode=ro", sqlite3.ErrCantOpen, true},
		"mode=rw, no file":     {none, "mode=rw", sqlite3.ErrCantOpen, true},
		"no directory":         {filepath.Join(dir, "no", "such", "dir.db"), "", sqlite3.ErrCantOpen, true},
		"below a file":         {filepath.Join(sound, "x.db"), "", sqlite3.ErrCantOpen, false},
		"a directory":          {dir, "", sqlite3.ErrCantOpen, false},
		"no database":          {file("short.db", []byte{1, 2, 3, 4, 5}), "", sqlite3.ErrNotADB, false},
		"zeros":                {file("zeros.db", make([]byte, 8192)), "", sqlite3.ErrNotADB, false},
		"text":                 {file("text.db", bytes.Repeat([]byte("no database "), 1000)), "", sqlite3.ErrNotADB, false},
		"a damaged first page": {file("damaged.db", damaged), "", sqlite3.ErrCorrupt, false},
		"truncated":            {file("truncated.db", content[:8192]), "", sqlite3.ErrCorrupt, false},
	} {
		for _, role := range []string{"", "sqlite_role=server", "sqlite_role=tool", "sqlite_in_memory=no"} {
			t.Run(name+" "+role, func(t *testing.T) {
				var stock sqlite3.Error
				require.ErrorAs(t, use(t, "sqlite3", "file:"+c.path+"?"+c.params), &stock)
				require.Equal(t, c.code, stock.Code, "go-sqlite3")

				err := use(t, driver.Name, "file:"+c.path+"?"+c.params+"&"+role)
				var e sqlite3.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, c.code, e.Code, err)
				if c.missing {
					require.ErrorIs(t, err, fs.ErrNotExist)
				}
				if stock.SystemErrno != 0 && c.missing {
					require.Equal(t, stock.SystemErrno, e.SystemErrno)
				}
				if name != "a damaged first page" || role == "" {
					require.ErrorContains(t, err, c.path)
				}
			})
		}
	}
}

// Ensure that the error of opening a database that is only in memory names it, as that of
// a file does.
func TestOpen_memoryNamed(t *testing.T) {
	const name = "file:named-error?mode=memory&cache=shared"
	require.NoError(t, testdb.Open(t, name).Ping())
	other, err := sql.Open(driver.Name, name+"&sqlite_max_memory=1MiB")
	require.NoError(t, err)
	err = other.Ping()
	require.ErrorIs(t, err, driver.ErrOptions)
	require.ErrorContains(t, err, "sqlite-mem: open named-error: ")
	require.NoError(t, other.Close())
}

// use opens a database and writes to it, and returns what goes wrong with that.
func use(t *testing.T, name, dsn string) error {
	db, err := sql.Open(name, dsn)
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE IF NOT EXISTS t(x)")
	return errors.Join(err, db.Close())
}

// Ensure that a program that opens one file in several places, by bare names, has the options
// that SetDefaults or the environment sets. Every handle then commits durably.
func TestDefaults_everywhere(t *testing.T) {
	for name, set := range map[string]func(*testing.T){
		"SetDefaults": func(t *testing.T) {
			require.NoError(t, driver.SetDefaults(driver.Config{WAL: driver.WALCommit}))
			t.Cleanup(func() { require.NoError(t, driver.SetDefaults(driver.Config{})) })
		},
		"environment": func(t *testing.T) { t.Setenv(driver.DefaultsEnv, "sqlite_wal=commit") },
	} {
		t.Run(name, func(t *testing.T) {
			set(t)
			path := testdb.Path(t)
			a, b := testdb.Open(t, path), testdb.Open(t, path+"?sqlite_keep=1")
			testdb.Exec(t, a, "CREATE TABLE t(x)")
			for i, db := range []*sql.DB{a, b} {
				testdb.Exec(t, db, "INSERT INTO t VALUES(1)")
				crashed := testdb.Open(t, testdb.CrashCopy(t, path))
				require.Equal(t, strconv.Itoa(i+1), testdb.Text(t, crashed, "SELECT count(*) FROM t"))
			}
			require.NoError(t, testdb.Open(t, ":memory:").Ping())
		})
	}
}

// Ensure that the defaults of the process hold for a database in memory that ATTACH makes, as for
// one that an open makes, so that either can be first. What its name says wins.
func TestDefaults_attached(t *testing.T) {
	for name, set := range map[string]func(*testing.T){
		"SetDefaults": func(t *testing.T) {
			require.NoError(t, driver.SetDefaults(driver.Config{MaxMemory: 1 << 20}))
			t.Cleanup(func() { require.NoError(t, driver.SetDefaults(driver.Config{})) })
		},
		"environment": func(t *testing.T) { t.Setenv(driver.DefaultsEnv, "sqlite_max_memory=1MiB") },
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := testdb.Open(t, ":memory:").Conn(ctx)
			require.NoError(t, err)
			defer conn.Close()
			const large = "INSERT INTO m.t VALUES(zeroblob(2000000))"
			set(t)
			name := "file:attached-" + name + "?mode=memory&cache=shared"
			testdb.Exec(t, conn, "ATTACH '"+name+"' AS m; CREATE TABLE m.t(x)")
			_, err = conn.ExecContext(ctx, large)
			require.Equal(t, sqlite3.ErrFull, code(err))
			opened := testdb.Open(t, name)
			require.NoError(t, opened.Ping(), "it is the same database, with the same options")
			testdb.Close(t, opened)
			testdb.Exec(t, conn, "DETACH m")

			testdb.Exec(t, conn, "ATTACH '"+name+"&sqlite_max_memory=0' AS m; CREATE TABLE m.t(x); "+large+"; DETACH m")

			t.Setenv(driver.DefaultsEnv, "no_such=1")
			_, err = conn.ExecContext(ctx, "ATTACH '"+name+"' AS m")
			require.ErrorContains(t, err, driver.DefaultsEnv)
		})
	}
}

// Ensure that an option that a later open adds holds for the handles that are open already,
// and that one that it leaves out is no conflict. A second value is ErrOptions, and says how
// two opens come to agree.
func TestOpen_addsOption(t *testing.T) {
	path := testdb.Path(t)
	first := testdb.Open(t, path)
	testdb.Exec(t, first, "CREATE TABLE t(x)")
	second := testdb.Open(t, path+"?sqlite_wal=commit")
	require.NoError(t, second.Ping())
	for i := range 3 {
		testdb.Exec(t, first, "INSERT INTO t VALUES(1)")
		crashed := testdb.Open(t, testdb.CrashCopy(t, path))
		require.Equal(t, strconv.Itoa(i+1), testdb.Text(t, crashed, "SELECT count(*) FROM t"))
	}
	st, err := driver.ReadStats(first)
	require.NoError(t, err)
	require.Equal(t, "commit", st.WAL)
	require.NoError(t, testdb.Open(t, path).Ping())

	err = use(t, driver.Name, path+"?sqlite_wal=1s")
	require.ErrorIs(t, err, driver.ErrOptions)
	require.ErrorContains(t, err, "sqlite_wal is commit, not 1s")
	require.ErrorContains(t, err, "driver.SetDefaults")
}
