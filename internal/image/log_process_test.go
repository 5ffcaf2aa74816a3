//go:build cgo

package image_test

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/crash"
	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// The tests here crash and fail a process that logs what it commits. Rows have the numbers 1,
// 2, 3 …, each in a transaction of its own. So the rows that are left are a prefix of the
// history if their number is the largest of them.

func init() { crash.Register("logging server", loggingServer) }

// logAhead is little. It is yet enough that the changes of one row find room that was written
// ahead.
const logAhead = 66_000

func loggingServer(c *crash.Child) error {
	defer image.SetPoints(c.Point)()
	defer image.SetLogAhead(logAhead)()
	path := filepath.Join(c.Dir, "app.db")
	ack := func(n int) { c.Ack(n) }
	switch c.Arg {
	case "endless":
		return logEndlessly(path, "commit", ack)
	case "interval":
		return logEndlessly(path, "5ms", ack)
	case "log before base":
		defer image.PlantLogBeforeBase()()
	}
	return logRows(path, ack)
}

func openLogging(path, wal string) (*sql.DB, error) {
	return sql.Open(driver.Name, path+"?sqlite_role=server&sqlite_sync_interval=1h&sqlite_wal="+wal)
}

const addRow = "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t(b) VALUES(hex(randomblob(300)))"

// logRows adds rows by every way that a log can take. Rows are appended. A save begins the
// log anew while one more row is added. A new page size forces a save. A row is acknowledged
// when its commit has returned.
func logRows(path string, ack func(rows int)) (err error) {
	var db *sql.DB
	add := func() error {
		var n int
		_, err := db.Exec(addRow)
		if err == nil {
			err = db.QueryRow("SELECT count(*) FROM t").Scan(&n)
		}
		if err == nil {
			ack(n)
		}
		return err
	}
	// While a save is at it, a row is committed.
	saving := false
	defer image.SetPoints(func(op string) {
		if saving && strings.HasPrefix(op, "sync .app.db") {
			saving = false
			if err := add(); err != nil {
				panic(err)
			}
		}
	})()
	if db, err = openLogging(path, "commit"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, step := range []string{"add", "add", "save", "add", "save", "add", "pages", "add", "save", "add"} {
		switch step {
		case "save":
			saving = true
			err = driver.Sync(context.Background(), db)
		case "pages":
			_, err = db.Exec("PRAGMA page_size=512; VACUUM")
		case "add":
			err = add()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// logEndlessly adds rows, and saves now and then, until it is killed. Rows are
// acknowledged when the counters say that all are durable.
func logEndlessly(path, wal string, ack func(rows int)) error {
	db, err := openLogging(path, wal)
	if err != nil {
		return err
	}
	for i := 1; ; i++ {
		var n int
		if _, err = db.Exec(addRow); err == nil {
			err = db.QueryRow("SELECT count(*) FROM t").Scan(&n)
		}
		if err == nil && i%7 == 0 {
			err = driver.Sync(context.Background(), db)
		}
		if err != nil {
			return err
		}
		if s, err := driver.ReadStats(db); err != nil {
			return err
		} else if s.Unlogged == 0 {
			ack(n)
		}
	}
}

// afterLogCrash is afterCrash with three more checks. SQLite alone recovers as much, the rows
// are a prefix of the history, and no log is left.
func afterLogCrash(t testing.TB, path string, acked, most int) (rows int) {
	t.Helper()
	alone := sqliteAlone(t, path)
	rows = afterCrash(t, path, acked, most)
	if alone >= 0 {
		require.Equal(t, rows, alone, "SQLite alone recovers another number of rows")
	}
	require.NoFileExists(t, path+"-memwal")
	require.NoFileExists(t, path+"-memwal-new")
	if _, err := os.Stat(path); err == nil {
		db, err := sql.Open("sqlite3", path)
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		var ok bool
		if err := db.QueryRow("SELECT coalesce(max(a), 0)=count(*) FROM t").Scan(&ok); rows > 0 {
			require.NoError(t, err)
			require.True(t, ok, "not a prefix of the history")
		}
	}
	return rows
}

// sqliteAlone renames the log of a copy to FILE-wal, and counts the rows that SQLite finds.
// It returns -1 if the crash came between the two renames of a save. Only sqlite-mem knows
// then which log is meant.
func sqliteAlone(t testing.TB, path string) (rows int) {
	t.Helper()
	if _, err := os.Stat(path + "-memwal-new"); err == nil {
		return -1
	}
	copied := testdb.CrashCopy(t, path)
	if err := os.Rename(copied+"-memwal", copied+"-wal"); err != nil {
		return -1 // nothing to recover
	}
	db, err := sql.Open("sqlite3", copied)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.QueryRow("SELECT count(*) FROM t").Scan(&rows))
	return rows
}

// Ensure that a server that is killed before any file operation loses no row whose commit has
// returned. The operations are those of flushes, saves, the change of the log and the close.
func TestLogCrash_points(t *testing.T) {
	kills := crash.Sweep(t, crash.Run{Program: "logging server", Step: image.Sample(3)}, t.TempDir, func(dir string, res crash.Result) {
		acked := last(t, res, 0)
		got := afterLogCrash(t, filepath.Join(dir, "app.db"), acked, acked+1)
		if !res.Killed {
			require.Equal(t, 9, got)
		}
	})
	t.Logf("%d kills", kills)
}

// Ensure that the test finds a server that renames the new log before the new base. If it is
// killed in between, it leaves files that nobody can open.
func TestLogCrash_planted(t *testing.T) {
	for n := 1; ; n++ {
		dir := t.TempDir()
		res := crash.Run{Program: "logging server", Dir: dir, Arg: "log before base", Point: "rename app.db", Nth: n}.Do(t)
		acked := last(t, res, 0)
		if acked > 0 && osfiletest.Finds(t, func(t testing.TB) { afterLogCrash(t, filepath.Join(dir, "app.db"), acked, acked+1) }) {
			t.Logf("found at point %d", n)
			return
		}
		require.True(t, res.Killed, "not found")
	}
}

// Ensure that servers that are killed at random lose no such row either. With an interval
// they lose none that the counters have called durable.
func TestLogCrash_random(t *testing.T) {
	for _, arg := range []string{"endless", "interval"} {
		start, kills, rows := time.Now(), 0, 0
		path := filepath.Join(t.TempDir(), "app.db")
		r := rand.New(rand.NewPCG(uint64(start.UnixNano()), 0))
		for ; kills < 12 || time.Since(start) < *image.Long/2; kills++ {
			res := crash.Run{
				Program: "logging server", Dir: filepath.Dir(path), Arg: arg,
				Kill: true, Acks: r.IntN(15), Delay: time.Duration(r.IntN(20_000)) * time.Microsecond,
			}.Do(t)
			rows = last(t, res, rows)
			most := rows + 1
			if arg == "interval" {
				most = rows + 1_000_000 // commits that are not called durable yet may be
			}
			rows = afterLogCrash(t, path, rows, most)
		}
		t.Logf("%s: %d kills, %d rows", arg, kills, rows)
	}
}

// Ensure that after a power failure at any moment of a logging server, the next one finds
// every row whose commit has returned. It finds no file that should not be there.
func TestLogPowerLoss(t *testing.T) {
	start, states := time.Now(), 0
	for seed := uint64(0); seed == 0 || time.Since(start) < *image.Long; seed++ {
		states += logPowerStates(t, seed, nil, func(path string, acked int, s osfiletest.PowerState) bool {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d: %s", seed, s)
				}
			}()
			afterLogCrash(t, path, acked, acked+1)
			return true
		})
	}
	t.Logf("%d states", states)
}

// logPowerStates calls check until it returns false. It gives check each state that a power
// failure may leave in the life of a logging server, and the rows acknowledged by then. If
// plant is nil, no fault is planted.
func logPowerStates(t *testing.T, seed uint64, plant func() func(), check func(path string, acked int, s osfiletest.PowerState) bool) int {
	t.Helper()
	defer image.SetLogAhead(8192)() // less than would be written: TestPowerLoss has that
	dir := t.TempDir()
	rec, restore := image.RecordSystem(t, dir)
	if plant != nil {
		plant() // restore undoes it as well
	}
	acked := []int{0}
	err := logRows(filepath.Join(dir, "app.db"), func(n int) {
		acked = append(acked, n)
		rec.Tell()
	})
	restore()
	require.NoError(t, err)
	return rec.PowerStates(t, image.ServerStates(seed), func(s osfiletest.PowerState) bool {
		return check(filepath.Join(s.Dir, "app.db"), acked[s.Told], s)
	})
}

// Ensure that the test finds a server that never syncs its log. It loses rows that it has
// acknowledged.
func TestLogPowerLoss_planted(t *testing.T) {
	found := false
	states := logPowerStates(t, 0, image.PlantUnsyncedLog, func(path string, acked int, _ osfiletest.PowerState) bool {
		found = osfiletest.Finds(t, func(t testing.TB) { afterLogCrash(t, path, acked, acked+1) })
		return !found
	})
	require.True(t, found)
	t.Logf("found in the last of %d states", states)
}

// Ensure that whichever operation of the file system fails, once or for good, only durable
// commits are called durable. A commit that is not durable returns an error. Service resumes
// when the disk is back.
func TestLogFaults(t *testing.T) {
	defer image.SetLogAhead(logAhead)()
	for _, forever := range []bool{false, true} {
		n := 1
		for ; logFault(t, n, forever); n += image.Sample(5) {
		}
		t.Logf("forever=%v: %d operations", forever, n)
	}
}

// logFault runs a logging server whose operation number n fails. It returns false if there
// were fewer operations.
func logFault(t *testing.T, n int, forever bool) bool {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "app.db")
	failing, restore := image.SetFault(n, forever)
	defer restore()
	db, err := openLogging(path, "commit")
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	rows := 0 // that are committed in memory
	acked := 0
	for i := range 8 {
		_, err := db.Exec(addRow)
		var e *driver.NotDurableError
		switch {
		case err == nil:
			rows++
			acked = rows
		case errors.As(err, &e):
			// The table and the row are two commits of one string.
			if err := db.QueryRow("SELECT count(*) FROM t").Scan(&rows); err != nil {
				rows = 0
			}
			require.NotEmpty(t, failing.Failed())
		default:
			require.NotEmpty(t, failing.Failed(), err)
			require.Zero(t, rows, err) // it could not be opened
		}
		if i == 3 || i == 5 {
			if err := driver.Sync(context.Background(), db); err == nil && db.Ping() == nil {
				acked = rows
			} else {
				require.NotEmpty(t, failing.Failed(), err)
			}
		}
	}
	failed := failing.Failed()
	failing.Cease()
	// After a crash of the machine now, the acknowledged rows are there.
	check := func() {
		t.Helper()
		copied := testdb.CrashCopy(t, path)
		defer func() {
			if t.Failed() {
				t.Logf("operation %d, forever=%v: %v", n, forever, failed)
			}
		}()
		afterLogCrash(t, copied, acked, rows)
	}
	check()
	// The disk is back.
	require.Eventually(t, func() bool {
		_, err := db.Exec(addRow)
		var e *driver.NotDurableError
		if err == nil || errors.As(err, &e) && e.Committed {
			rows++
		}
		if err == nil {
			acked = rows
		}
		return err == nil
	}, 20*time.Second, time.Millisecond, "service does not resume after %v", failed)
	check()
	require.NoError(t, db.Close())
	restore()
	check()
	return len(failed) > 0
}
