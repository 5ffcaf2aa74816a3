//go:build cgo

package image_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/crash"
	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
)

// The tests here crash the process as a whole, with driver, store, process lock, load and
// save.

func init() { crash.Register("server", server) }

// server opens the database app.db, adds rows and saves them, and closes it. It
// acknowledges the number of rows that are saved. If it is endless, it goes on until it is
// killed.
func server(c *crash.Child) error {
	defer image.SetPoints(c.Point)()
	if c.Arg == "in place" {
		defer image.PlantInPlace()()
	}
	return serve(filepath.Join(c.Dir, "app.db"), c.Arg == "endless", func(n int) { c.Ack(n) })
}

func serve(path string, endless bool, ack func(rows int)) (err error) {
	ctx := context.Background()
	db, err := sql.Open(driver.Name, path+"?sqlite_role=server&sqlite_sync_interval=1h&sqlite_wal=off") // the log has its own: see log_process_test.go
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var n int
	add := func() error {
		_, err := db.Exec("CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t(b) VALUES(hex(randomblob(300)))")
		if err == nil {
			err = db.QueryRow("SELECT count(*) FROM t").Scan(&n)
		}
		return err
	}
	for i := 0; i < 2 || endless; i++ {
		if err := add(); err != nil {
			return err
		}
		if err := driver.Sync(ctx, db); err != nil {
			return err
		}
		ack(n)
	}
	if err := add(); err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	ack(n)
	return nil
}

// afterCrash makes sure that the database at path is whole, for SQLite and for the driver.
// It has at least the rows that were acknowledged, and at most most rows. The next server
// finds nothing in its way. It returns the number of rows.
func afterCrash(t testing.TB, path string, acked, most int) (rows int) {
	t.Helper()
	count := func(name string) (n int) {
		db, err := sql.Open(name, path)
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		var result string
		require.NoError(t, db.QueryRow("PRAGMA integrity_check").Scan(&result))
		require.Equal(t, "ok", result)
		var tables int
		require.NoError(t, db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name='t'").Scan(&tables))
		if tables > 0 {
			require.NoError(t, db.QueryRow("SELECT count(*) FROM t").Scan(&n))
		}
		return n
	}
	rows = count(driver.Name)
	require.GreaterOrEqual(t, rows, acked, "rows that were acknowledged are gone")
	require.LessOrEqual(t, rows, most)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		require.Equal(t, rows, count("sqlite3"))
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "temporary files that the next owner has not removed")
	return rows
}

// last returns the last number that was acknowledged, or n if there is none.
func last(t testing.TB, res crash.Result, n int) int {
	t.Helper()
	if len(res.Acked) > 0 {
		var err error
		n, err = strconv.Atoi(res.Acked[len(res.Acked)-1])
		require.NoError(t, err)
	}
	return n
}

// before are the states that a server may find. Each returns the rows in t after the
// recovery.
var before = map[string]func(t *testing.T, path string) (rows int){
	"no file": func(t *testing.T, path string) int { return 0 },
	"a database": func(t *testing.T, path string) int {
		require.NoError(t, serve(path, false, func(int) {}))
		return 3
	},
	"a hot journal": func(t *testing.T, path string) int {
		return hot(t, path, "-journal", "PRAGMA cache_size=1", "BEGIN", "UPDATE t SET b=randomblob(900)", "INSERT INTO t(b) SELECT b FROM t")
	},
	"a wal": func(t *testing.T, path string) int {
		return hot(t, path, "-wal", "PRAGMA journal_mode=WAL", "UPDATE t SET b=randomblob(900)")
	},
	"leftovers": func(t *testing.T, path string) int {
		for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
			require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), ".app.db.sqlite-mem-0123456789abcdef.tmp"+suffix), []byte("x"), 0o600))
		}
		return 0
	},
}

// hot leaves at path the files of a program that was killed after stmts.
func hot(t *testing.T, path, suffix string, stmts ...string) (rows int) {
	t.Helper()
	from := filepath.Join(t.TempDir(), "from.db")
	require.NoError(t, serve(from, false, func(n int) { rows = n }))
	db, err := sql.Open("sqlite3", from)
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, s := range append([]string{"INSERT INTO t(b) SELECT hex(randomblob(300)) FROM t, t a, t b", "INSERT INTO t(b) SELECT b FROM t"}, stmts...) {
		if s == "BEGIN" || strings.HasSuffix(s, "=WAL") {
			require.NoError(t, db.QueryRow("SELECT count(*) FROM t").Scan(&rows))
		}
		_, err := db.Exec(s)
		require.NoError(t, err)
	}
	for _, suffix := range []string{"", suffix} {
		b, err := os.ReadFile(from + suffix)
		require.NoError(t, err)
		require.NotEmpty(t, b)
		require.NoError(t, os.WriteFile(path+suffix, b, 0o600))
	}
	return rows
}

// Ensure that a server that is killed before any file operation, or at its end, loses nothing
// that it has acknowledged. The operations are all from load to close. The next server opens
// the files that it leaves.
func TestCrash_points(t *testing.T) {
	kills := 0
	for name, begin := range before {
		if *image.Long == 0 && (name == "a database" || name == "leftovers") {
			continue // little that the others have not
		}
		var rows int
		prepare := func() string {
			dir := t.TempDir()
			rows = begin(t, filepath.Join(dir, "app.db"))
			return dir
		}
		kills += crash.Sweep(t, crash.Run{Program: "server", Step: image.Sample(2)}, prepare, func(dir string, res crash.Result) {
			acked := last(t, res, rows)
			got := afterCrash(t, filepath.Join(dir, "app.db"), acked, acked+1)
			if !res.Killed {
				require.Equal(t, rows+3, got, name)
			}
		})
	}
	t.Logf("%d kills", kills)
}

// Ensure that the test finds a save that is not atomic.
func TestCrash_planted(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.db")
	rows := before["a database"](t, path)
	res := crash.Run{Program: "server", Dir: dir, Arg: "in place", Point: "create app.db", Nth: 1}.Do(t)
	require.True(t, res.Killed)
	require.True(t, osfiletest.Finds(t, func(t testing.TB) { afterCrash(t, path, rows, rows+1) }))
}

// Ensure the same of servers that are killed at random, one after the other.
func TestCrash_random(t *testing.T) {
	start, kills, rows := time.Now(), 0, 0
	path := filepath.Join(t.TempDir(), "app.db")
	r := rand.New(rand.NewPCG(uint64(start.UnixNano()), 0))
	for ; kills < 20 || time.Since(start) < *image.Long; kills++ {
		res := crash.Run{
			Program: "server", Dir: filepath.Dir(path), Arg: "endless",
			Kill: true, Acks: r.IntN(8), Delay: time.Duration(r.IntN(20_000)) * time.Microsecond,
		}.Do(t)
		rows = last(t, res, rows)
		rows = afterCrash(t, path, rows, rows+1)
	}
	t.Logf("%d kills, %d rows", kills, rows)
}

// Ensure that after a power failure at any moment of a server, the next one finds
// everything that was acknowledged.
func TestPowerLoss_process(t *testing.T) {
	start, states := time.Now(), 0
	for seed := uint64(0); seed == 0 || time.Since(start) < *image.Long; seed++ {
		for name, begin := range before {
			dir := t.TempDir()
			rows := begin(t, filepath.Join(dir, "app.db"))
			rec, restore := image.RecordSystem(t, dir)
			acked := []int{rows}
			err := serve(filepath.Join(dir, "app.db"), false, func(n int) {
				acked = append(acked, n)
				rec.Tell()
			})
			restore()
			require.NoError(t, err)
			states += rec.PowerStates(t, image.ServerStates(seed), func(s osfiletest.PowerState) bool {
				defer func() {
					if t.Failed() {
						t.Logf("%s, seed %d: %s", name, seed, s)
					}
				}()
				n := acked[s.Told]
				afterCrash(t, filepath.Join(s.Dir, "app.db"), n, n+1)
				return true
			})
		}
	}
	t.Logf("%d states", states)
}
