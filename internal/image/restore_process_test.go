//go:build cgo

package image_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/crash"
	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
)

// The tests here crash a process that restores databases while it serves one. The table g says
// how many restores there were, and t has the rows 1, 2, 3 … So a state is two numbers, and the
// states of a history grow: each row is a commit, and so is a restore.

func init() {
	crash.Register("restoring server", restoringServer)
	crash.Register("restoring tool", restoringTool)
}

// history is a state.
type history struct{ restores, rows int }

func (h history) before(other history) bool {
	return h.restores < other.restores || h.restores == other.restores && h.rows < other.rows
}

// restorable makes the files that are restored: the one of number i has been restored i times, and
// has 10*i rows.
func restorable(t testing.TB, dir string) {
	for i, pragma := range []string{"", "PRAGMA page_size=512", "PRAGMA encoding='UTF-16le'"} {
		db, err := sql.Open("sqlite3", restorableName(dir, i))
		require.NoError(t, err)
		_, err = db.Exec(pragma + fmt.Sprintf("; CREATE TABLE g(n); CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); INSERT INTO g VALUES(%d);"+
			"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d) INSERT INTO t SELECT i, hex(randomblob(300)) FROM c", i, 10*i))
		require.NoError(t, err)
		if i == 0 {
			_, err = db.Exec("DELETE FROM t")
			require.NoError(t, err)
		}
		require.NoError(t, db.Close())
	}
}

func restorableName(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("from%d.db", i)) }

// addRowTo adds a row and returns the state.
func addRowTo(db *sql.DB) (h history, err error) {
	tx, err := db.Begin()
	if err != nil {
		return h, err
	}
	_, err = tx.Exec("INSERT INTO t(b) VALUES(hex(randomblob(300)))")
	if err == nil {
		err = tx.QueryRow("SELECT (SELECT n FROM g), count(*) FROM t").Scan(&h.restores, &h.rows)
	}
	if err != nil {
		return h, errors.Join(err, tx.Rollback())
	}
	return h, tx.Commit()
}

// restoringServer restores the files in the directory one after the other. In between it adds
// rows and saves. It acknowledges a state when its commit is durable. If it is endless, several
// goroutines add rows meanwhile, and it goes on until it is killed.
func restoringServer(c *crash.Child) error {
	defer image.SetPoints(c.Point)()
	defer image.SetLogAhead(logAhead)()
	ack := func(h history) { c.Ack(h.restores, h.rows) }
	if c.Arg == "endless" {
		return restoreEndlessly(c.Dir, ack)
	}
	return restoreAll(c.Dir, c.Arg, ack)
}

func openRestoring(dir, wal string) (*sql.DB, error) {
	return sql.Open(driver.Name, filepath.Join(dir, "app.db")+"?sqlite_role=server&sqlite_sync_interval=1h&sqlite_keep=20&sqlite_wal="+wal)
}

func restoreAll(dir, wal string, ack func(history)) (err error) {
	ctx := context.Background()
	db, err := openRestoring(dir, wal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for i := range 3 {
		if err := driver.Restore(ctx, db, restorableName(dir, i), nil); err != nil {
			return err
		}
		ack(history{i, 10 * i})
		for j := range 2 {
			h, err := addRowTo(db)
			if err == nil && wal == "off" && j == 0 {
				err = driver.Sync(ctx, db)
			}
			if err != nil {
				return err
			}
			if wal == "commit" || j == 0 {
				ack(h)
			}
		}
	}
	return nil
}

// restoreEndlessly numbers the databases that it restores itself.
func restoreEndlessly(dir string, ack func(history)) error {
	db, err := openRestoring(dir, "commit")
	if err != nil {
		return err
	}
	if _, err := db.Exec("CREATE TABLE IF NOT EXISTS g(n); CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b TEXT); INSERT INTO g SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM g)"); err != nil {
		return err
	}
	fail := make(chan error)
	for range 3 {
		go func() {
			for {
				h, err := addRowTo(db)
				if err != nil {
					fail <- err
					return
				}
				ack(h)
			}
		}()
	}
	go func() {
		for {
			var n int
			err := db.QueryRow("SELECT n FROM g").Scan(&n)
			name := filepath.Join(dir, "next.db")
			if err == nil {
				err = nextRestorable(name, n+1)
			}
			if err == nil {
				err = driver.Restore(context.Background(), db, name, nil)
			}
			if err == nil {
				ack(history{n + 1, 5})
				err = os.Remove(name)
			}
			if err != nil {
				fail <- err
				return
			}
		}
	}()
	return <-fail
}

// nextRestorable makes a file that has been restored n times.
func nextRestorable(name string, n int) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := sql.Open("sqlite3", name)
	if err != nil {
		return err
	}
	_, err = db.Exec(fmt.Sprintf("PRAGMA page_size=%d; PRAGMA encoding='%s'; CREATE TABLE g(n); CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); INSERT INTO g VALUES(%d); INSERT INTO t VALUES(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)",
		512<<(n%4), []string{"UTF-8", "UTF-16be"}[n%2], n))
	return errors.Join(err, db.Close())
}

// restoringTool restores the files in the directory without a server.
func restoringTool(c *crash.Child) (err error) {
	defer image.SetPoints(c.Point)()
	db, err := sql.Open(driver.Name, filepath.Join(c.Dir, "app.db")+"?sqlite_role=tool&sqlite_keep=20")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for i := range 3 {
		if err := driver.Restore(context.Background(), db, restorableName(c.Dir, i), nil); err != nil {
			return err
		}
		c.Ack(i, 10*i)
	}
	return nil
}

// stateOf returns the state of the database at path, zero if it has no tables. It is sound.
func stateOf(t testing.TB, name, path string) (h history) {
	t.Helper()
	db, err := sql.Open(name, path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var sound string
	require.NoError(t, db.QueryRow("PRAGMA integrity_check").Scan(&sound))
	require.Equal(t, "ok", sound)
	var tables, most int
	require.NoError(t, db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE type='table'").Scan(&tables))
	if tables > 0 {
		require.NoError(t, db.QueryRow("SELECT (SELECT n FROM g), count(*), coalesce(max(a), 0) FROM t").Scan(&h.restores, &h.rows, &most))
		require.Equal(t, most, h.rows, "not a prefix of the history")
	}
	return h
}

// acknowledged returns the last state that was acknowledged, and the last of each number of
// restores.
func acknowledged(t testing.TB, res crash.Result, h history) (last history, rows map[int]int) {
	rows = map[int]int{h.restores: h.rows}
	for _, line := range res.Acked {
		var next history
		_, err := fmt.Sscan(line, &next.restores, &next.rows)
		require.NoError(t, err)
		if h.before(next) {
			h = next
		}
		rows[next.restores] = max(rows[next.restores], next.rows)
	}
	return h, rows
}

// afterRestoreCrash makes sure that the file in dir has a state that is no older than acked. Each
// state that a restore has replaced must be kept, with at least the rows that were acknowledged.
func afterRestoreCrash(t testing.TB, dir string, acked history, rows map[int]int) history {
	t.Helper()
	path := filepath.Join(dir, "app.db")
	kept := map[int]int{}
	found := stateOf(t, driver.Name, path)
	names, err := filepath.Glob(path + ".kept-*")
	require.NoError(t, err)
	for _, name := range names {
		h := stateOf(t, "sqlite3", name)
		kept[h.restores] = max(kept[h.restores], h.rows)
	}
	require.False(t, found.before(acked), "found %v, acknowledged %v", found, acked)
	require.LessOrEqual(t, found.restores, acked.restores+1)
	if found.restores > 0 {
		require.GreaterOrEqual(t, kept[found.restores-1], rows[found.restores-1], "the state that was replaced is not kept")
	}
	if _, err := os.Stat(path); err == nil {
		require.Equal(t, found, stateOf(t, "sqlite3", path))
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "temporary files that the next owner has not removed")
	require.NoFileExists(t, path+"-memwal")
	require.NoFileExists(t, path+"-memwal-new")
	return found
}

// Ensure that a process that is killed before any file operation of restores leaves the state
// before or the new one, whole, with all that was acknowledged. The state that was replaced is kept.
// This holds for a server with a log and without, and for a tool.
func TestRestoreCrash_points(t *testing.T) {
	for _, run := range []crash.Run{
		{Program: "restoring server", Arg: "commit"}, {Program: "restoring server", Arg: "off"}, {Program: "restoring tool"},
	} {
		run.Step = image.Sample(20)
		prepare := func() string {
			dir := t.TempDir()
			restorable(t, dir)
			return dir
		}
		kills := crash.Sweep(t, run, prepare, func(dir string, res crash.Result) {
			acked, rows := acknowledged(t, res, history{})
			got := afterRestoreCrash(t, dir, acked, rows)
			if !res.Killed {
				require.Equal(t, 2, got.restores)
			}
		})
		t.Logf("%s %s: %d kills", run.Program, run.Arg, kills)
	}
}

// Ensure the same of servers under load that are killed at random, one after the other.
func TestRestoreCrash_random(t *testing.T) {
	start, kills := time.Now(), 0
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(uint64(start.UnixNano()), 0))
	var at history
	for ; kills < 5 || time.Since(start) < *image.Long; kills++ {
		res := crash.Run{
			Program: "restoring server", Dir: dir, Arg: "endless",
			Kill: true, Acks: r.IntN(60), Delay: time.Duration(r.IntN(30_000)) * time.Microsecond,
		}.Do(t)
		acked, rows := acknowledged(t, res, at)
		at = afterRestoreCrash(t, dir, acked, rows)
	}
	t.Logf("%d kills, %d restores", kills, at.restores)
}

// Ensure that after a power failure at any moment of restores the next server finds the state
// before or the new one, with all that was acknowledged.
func TestRestorePowerLoss(t *testing.T) {
	start, states := time.Now(), 0
	defer image.SetLogAhead(8192)()
	for seed := uint64(0); seed == 0 || time.Since(start) < *image.Long; seed++ {
		for _, wal := range []string{"commit", "off"} {
			dir := t.TempDir()
			restorable(t, dir)
			rec, restore := image.RecordSystem(t, dir)
			var mu sync.Mutex
			acked := []history{{}}
			err := restoreAll(dir, wal, func(h history) {
				mu.Lock()
				defer mu.Unlock()
				acked = append(acked, h)
				rec.Tell()
			})
			restore()
			require.NoError(t, err)
			n := 0
			rec.PowerStates(t, image.ServerStates(seed), func(s osfiletest.PowerState) bool {
				if n++; n%image.Sample(14) != 0 {
					return true
				}
				states++
				defer func() {
					if t.Failed() {
						t.Logf("%s, seed %d: %s", wal, seed, s)
					}
				}()
				found := stateOf(t, driver.Name, filepath.Join(s.Dir, "app.db"))
				require.False(t, found.before(acked[s.Told]), "found %v, acknowledged %v", found, acked[s.Told])
				require.LessOrEqual(t, found.restores, acked[s.Told].restores+1)
				return true
			})
		}
	}
	t.Logf("%d states", states)
}
