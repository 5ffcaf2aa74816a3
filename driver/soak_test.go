//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

var soak = flag.Duration("soak", 0, "length of the soak test, an hour or more; 0: not run")

// sample is what the soak test looks at now and then.
type sample struct {
	resident   int64 // bytes of the process
	descripts  int   // open files
	statements int64 // since the sample before
	reads      int64 // time of some point reads, in thousandths of that of a database at rest
	held, data int64 // bytes, of Stats
}

// Ensure that a server can run for long, at a size that stays. It has a
// snapshot every second, readers that stay for seconds, and statements that are
// cancelled. Connections come and go, the schema changes, databases are
// attached, VACUUM runs. There is no error. In the last quarter of the time the
// process is no larger than in the second, and has no more open files. It is no
// slower, measured by a database at rest.
func TestSoak(t *testing.T) {
	if *soak == 0 {
		t.Skip("-soak is not given")
	}
	const users, keep = 500, 40
	path, otherPath := testdb.Path(t), testdb.Path(t)
	var saves, saveErrors atomic.Int64
	cfg, err := driver.ParseDSN(path + "?sqlite_sync_interval=1s&_fk=1")
	require.NoError(t, err)
	cfg.OnSync = func(e driver.SyncEvent) {
		saves.Add(1)
		if e.Err != nil {
			saveErrors.Add(1)
			t.Errorf("save: %v", e.Err)
		}
	}
	connector, err := driver.NewConnector(cfg)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	defer testdb.Close(t, db)
	other := testdb.Open(t, otherPath+"?sqlite_sync_interval=1s")
	testdb.Exec(t, other, "CREATE TABLE log(id INTEGER PRIMARY KEY, what TEXT)")
	db.SetMaxOpenConns(24)
	db.SetMaxIdleConns(12)
	db.SetConnMaxLifetime(300 * time.Millisecond)
	testdb.Exec(t, db, `CREATE TABLE users(id INTEGER PRIMARY KEY, sent INT NOT NULL DEFAULT 0, mails INT NOT NULL DEFAULT 0);
		CREATE TABLE mails(id INTEGER PRIMARY KEY, owner INT REFERENCES users(id), body BLOB);
		CREATE INDEX mails_owner ON mails(owner);`)
	testdb.Exec(t, db, fmt.Sprintf(`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d) INSERT INTO users SELECT i, 0, %d FROM c;
		WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d) INSERT INTO mails(owner, body) SELECT id, randomblob(abs(random())%%3000) FROM users, c`, users, keep, keep))

	var statements, cancelled, longReads, schemas, attaches, vacuums, opens atomic.Int64
	run, stop := context.WithTimeout(ctx, *soak)
	defer stop()
	jobs := []func(ctx context.Context, rnd *rand.Rand) error{
		func(ctx context.Context, rnd *rand.Rand) error { // deliver, and keep the size
			owner := rnd.IntN(users) + 1
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			for _, query := range []string{
				"INSERT INTO mails(owner, body) VALUES(?1, randomblob(abs(random())%3000))",
				"DELETE FROM mails WHERE id IN (SELECT id FROM mails WHERE owner=?1 ORDER BY id DESC LIMIT -1 OFFSET " + strconv.Itoa(keep) + ")",
				"UPDATE users SET sent=sent+1, mails=(SELECT count(*) FROM mails WHERE owner=?1) WHERE id=?1",
			} {
				statements.Add(1)
				if _, err := tx.ExecContext(ctx, query, owner); err != nil {
					return err
				}
			}
			return tx.Commit()
		},
		func(ctx context.Context, rnd *rand.Rand) error { // list
			statements.Add(1)
			rows, err := db.QueryContext(ctx, "SELECT id, length(body) FROM mails WHERE owner=? ORDER BY id", rnd.IntN(users)+1)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var id, n int
				if err := rows.Scan(&id, &n); err != nil {
					return err
				}
			}
			return rows.Err()
		},
		func(ctx context.Context, _ *rand.Rand) error { // audit
			statements.Add(1)
			var wrong int
			err := db.QueryRowContext(ctx, "SELECT count(*) FROM users u WHERE mails<>(SELECT count(*) FROM mails m WHERE m.owner=u.id)").Scan(&wrong)
			if err == nil && wrong > 0 {
				t.Errorf("%d users are counted wrong", wrong)
			}
			return err
		},
	}
	var wg sync.WaitGroup
	forever := func(n int, f func(rnd *rand.Rand) error) {
		for i := range n {
			rnd := rand.New(rand.NewPCG(5, uint64(i)))
			wg.Go(func() {
				for run.Err() == nil {
					if err := f(rnd); err != nil {
						t.Error(err)
						stop()
					}
				}
			})
		}
	}
	forever(12, func(rnd *rand.Rand) error {
		request, cancel := context.WithCancel(ctx)
		short := rnd.IntN(4) == 0
		if short {
			cancel()
			request, cancel = context.WithTimeout(ctx, time.Duration(rnd.IntN(3000))*time.Microsecond)
		}
		defer cancel()
		err := jobs[[]int{0, 0, 0, 1, 1, 1, 1, 1, 2}[rnd.IntN(9)]](request, rnd)
		if err != nil && short && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sql.ErrTxDone) || errors.Is(err, driver.ErrTxOver)) {
			cancelled.Add(1)
			return nil
		}
		time.Sleep(time.Duration(rnd.IntN(2000)) * time.Microsecond)
		return err
	})
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-run.Done():
		}
	}
	forever(2, func(rnd *rand.Rand) error { // a reader that stays
		tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer tx.Rollback()
		var first, second int
		if err := tx.QueryRow("SELECT sum(sent) FROM users").Scan(&first); err != nil {
			return err
		}
		pause(time.Duration(rnd.IntN(5000)) * time.Millisecond)
		if err := tx.QueryRow("SELECT sum(sent) FROM users").Scan(&second); err != nil {
			return err
		}
		if first != second {
			return fmt.Errorf("a snapshot has changed from %d to %d", first, second)
		}
		longReads.Add(1)
		return nil
	})
	forever(1, func(*rand.Rand) error { // schema changes
		_, err := db.Exec("CREATE TABLE side(a, b); CREATE INDEX ib ON side(b); INSERT INTO side SELECT id, sent FROM users; ALTER TABLE side ADD c; DROP TABLE side")
		schemas.Add(1)
		pause(50 * time.Millisecond)
		return err
	})
	forever(1, func(rnd *rand.Rand) error { // two databases, and sql.DBs that come and go
		again, err := sql.Open(driver.Name, path+"?sqlite_sync_interval=1s")
		if err != nil {
			return err
		}
		defer again.Close()
		opens.Add(1)
		conn, err := again.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		for _, query := range []string{
			"ATTACH '" + otherPath + "' AS o", "BEGIN IMMEDIATE", "INSERT INTO o.log(what) SELECT sum(sent) FROM users", "DELETE FROM o.log WHERE id<(SELECT max(id)-1000 FROM o.log)", "COMMIT",
		} {
			if _, err := conn.ExecContext(ctx, query); err != nil {
				return fmt.Errorf("%s: %w", query, err)
			}
		}
		attaches.Add(1)
		pause(20 * time.Millisecond)
		return nil
	})
	forever(1, func(*rand.Rand) error {
		pause(20 * time.Second)
		_, err := db.Exec("VACUUM")
		vacuums.Add(1)
		return err
	})

	// The samples: as many as there are, at most 400.
	var samples []sample
	last := int64(0)
	rest := testdb.Open(t, ":memory:")
	testdb.Exec(t, rest, "CREATE TABLE users(id INTEGER PRIMARY KEY, sent INT); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<500) INSERT INTO users SELECT i, 0 FROM c")
	pointReads := func(db *sql.DB) time.Duration {
		start := time.Now()
		for i := range users {
			if err := db.QueryRow("SELECT sent FROM users WHERE id=?", i+1).Scan(new(int)); err != nil {
				t.Error(err)
			}
		}
		return time.Since(start)
	}
	for run.Err() == nil {
		pause(max(*soak/400, 250*time.Millisecond))
		st, err := driver.ReadStats(db)
		require.NoError(t, err)
		n := statements.Load()
		reads := 1000 * pointReads(db) / pointReads(rest)
		samples = append(samples, sample{resident(t), descriptors(t), n - last, int64(reads), st.HeldBytes, st.DataBytes})
		last = n
	}
	wg.Wait()
	q := len(samples) / 4
	require.Positive(t, q, "too short")
	second, fourth := samples[q:2*q], samples[3*q:]
	t.Logf("%v: %d statements, %d cancelled, %d saves, %d long readers, %d schema changes, %d attached, %d sql.DBs, %d VACUUMs",
		*soak, statements.Load(), cancelled.Load(), saves.Load(), longReads.Load(), schemas.Load(), attaches.Load(), opens.Load(), vacuums.Load())
	for _, of := range []struct {
		what string
		get  func(sample) int64
		most float64 // ratio of the last quarter to the second; 0: not checked
	}{
		{"resident bytes", func(s sample) int64 { return s.resident }, 1.1},
		{"open files", func(s sample) int64 { return int64(s.descripts) }, 1.3},
		{"held bytes", func(s sample) int64 { return s.held }, 2},
		{"data bytes", func(s sample) int64 { return s.data }, 1.1},
		{"point reads, against at rest", func(s sample) int64 { return s.reads }, 1.5},
		{"statements per sample", func(s sample) int64 { return s.statements }, 0}, // as the machine has time for
	} {
		a, b := medianOf(second, of.get), medianOf(fourth, of.get)
		ratio := float64(b) / float64(a)
		t.Logf("%-28s second quarter %d, last %d, ratio %.3f", of.what, a, b, ratio)
		if of.most > 0 && ratio > of.most {
			t.Errorf("%s grow by %.3f, %.1f is too much", of.what, ratio, of.most)
		}
	}
	require.Positive(t, cancelled.Load()*saves.Load()*longReads.Load()*schemas.Load()*attaches.Load())
	require.Zero(t, saveErrors.Load())
	require.NoError(t, jobs[2](ctx, nil))
}

func medianOf(samples []sample, get func(sample) int64) int64 {
	var list []int64
	for _, s := range samples {
		list = append(list, get(s))
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// resident is the memory of the process that is in RAM.
func resident(t testing.TB) int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("there is no /proc: ", err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	require.NoError(t, err)
	return pages * int64(os.Getpagesize())
}

// descriptors is the number of open files of the process.
func descriptors(t testing.TB) int {
	list, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	return len(list)
}

// many is for tests of limits whose full size takes long.
var many = flag.Bool("many", false, "the tests of limits at their full size")

// Ensure that tables are created, filled and dropped by the thousand (a million
// with -many) by several connections. The schemas of all the others are out of
// date each time. Neither the database nor the process grows with their number:
// only the tables that are there at a time count. They are saved in the end,
// and the next open of the file finds them.
//
// SQLite looks through the whole schema for each table that it creates or
// drops. A million tables at a time would take hours, in go-sqlite3 as well.
func TestLimits_schemaChurn(t *testing.T) {
	const users = 4
	rounds, tables := 20, 50 // of each user
	if *many {
		rounds, tables = 1000, 250
	}
	path := testdb.Path(t)
	db := testdb.Open(t, path+"?sqlite_sync_interval=1s")
	testdb.Exec(t, db, "CREATE TABLE counter(n); INSERT INTO counter VALUES(0)")
	all := strconv.Itoa(users * rounds * tables)
	start, begin := time.Now(), resident(t)

	var early driver.Stats
	var earlyResident int64
	var first sync.WaitGroup // until all tables are there that are there at a time
	first.Add(users)
	churn := func(u int) error {
		came := sync.OnceFunc(first.Done)
		defer came()
		var create, drop strings.Builder
		for i := range tables {
			fmt.Fprintf(&create, "CREATE TABLE t%d_%d(a INTEGER PRIMARY KEY, b); INSERT INTO t%d_%d VALUES(%d, 'x');", u, i, u, i, i)
			if i%10 == 0 {
				fmt.Fprintf(&create, "CREATE INDEX i%d_%d ON t%d_%d(b);", u, i, u, i)
			}
			fmt.Fprintf(&drop, "DROP TABLE t%d_%d;", u, i)
		}
		fmt.Fprintf(&create, "UPDATE counter SET n=n+%d;", tables)
		writer, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer writer.Close()
		reader, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer reader.Close()
		for i := range rounds {
			if i > 0 {
				if _, err := writer.ExecContext(ctx, "BEGIN IMMEDIATE;"+drop.String()+"COMMIT"); err != nil {
					return err
				}
			}
			if _, err := writer.ExecContext(ctx, "BEGIN IMMEDIATE;"+create.String()+"COMMIT"); err != nil {
				return err
			}
			var got string
			if err := reader.QueryRowContext(ctx, fmt.Sprintf("SELECT b FROM t%d_%d WHERE a=%d", u, i%tables, i%tables)).Scan(&got); err != nil {
				return err
			}
			if i == 0 {
				came()
				first.Wait()
			}
			if u == 0 && i == rounds/4 {
				if early, err = driver.ReadStats(db); err != nil {
					return err
				}
				earlyResident = resident(t)
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	for u := range users {
		wg.Go(func() {
			if err := churn(u); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	require.NoError(t, driver.Sync(ctx, db))
	late, err := driver.ReadStats(db)
	require.NoError(t, err)
	lateResident := resident(t)
	require.Zero(t, late.HeldBytes)
	require.LessOrEqual(t, late.DataBytes, early.DataBytes*3/2)
	testdb.Close(t, db)

	db = testdb.Open(t, path+"?sqlite_sync_interval=1s")
	require.Equal(t, all, testdb.Text(t, db, "SELECT n FROM counter"))
	require.Equal(t, strconv.Itoa(users*tables+1), testdb.Text(t, db, "SELECT count(*) FROM sqlite_schema WHERE type='table'"))
	var drop strings.Builder
	for u := range users {
		for i := range tables {
			require.Equal(t, "x", testdb.Text(t, db, fmt.Sprintf("SELECT b FROM t%d_%d WHERE a=%d", u, i, i)))
			fmt.Fprintf(&drop, "DROP TABLE t%d_%d;", u, i)
		}
	}
	testdb.Healthy(t, db)
	testdb.Exec(t, db, "BEGIN IMMEDIATE;"+drop.String()+"COMMIT")
	testdb.Exec(t, db, "VACUUM")
	require.NoError(t, driver.Sync(ctx, db))
	end, err := driver.ReadStats(db)
	require.NoError(t, err)
	endResident := resident(t)
	t.Logf("%s tables in %v: %d KiB of data after a quarter, %d at the end, %d when all was dropped; %d MiB resident at the beginning, %d after a quarter, %d at the end, %d when all was dropped",
		all, took.Round(time.Second/10), early.DataBytes>>10, late.DataBytes>>10, end.DataBytes>>10,
		begin>>20, earlyResident>>20, lateResident>>20, endResident>>20)
	require.Zero(t, end.HeldBytes)
	require.LessOrEqual(t, end.DataBytes, int64(64<<10))
	require.LessOrEqual(t, lateResident, earlyResident+16<<20)
	require.LessOrEqual(t, endResident, begin+64<<20) // of which most is the runtime's, and malloc's
}

// Ensure that 10,000 connections that are opened and closed, a hundred at a
// time, each of which has written, leave nothing behind.
func TestLimits_connections(t *testing.T) {
	total, at := 1_000, 50
	if *many {
		total, at = 10_000, 1_000
	}
	db := newTable(t, "?sqlite_wal=off") // a save or flush is a connection too
	db.SetMaxIdleConns(0)
	before := 0
	for done := 0; done < total; done += at {
		var wg sync.WaitGroup
		conns := make([]*sql.Conn, at)
		for i := range conns {
			wg.Go(func() {
				var err error
				if conns[i], err = db.Conn(ctx); err != nil {
					t.Error(err)
					return
				}
				if _, err = conns[i].ExecContext(ctx, "INSERT INTO t DEFAULT VALUES"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		st, err := driver.ReadStats(db)
		require.NoError(t, err)
		require.Equal(t, at, st.Connections)
		for i := range conns {
			wg.Go(func() { _ = conns[i].Close() })
		}
		wg.Wait()
		if done == 0 {
			before = descriptors(t)
		}
	}
	require.LessOrEqual(t, descriptors(t), before+5)
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Zero(t, st.Connections)
	require.Equal(t, fmt.Sprint(total), testdb.Text(t, db, "SELECT count(*) FROM t"))
}

// Ensure that the counters tell what a reader that is left open holds, and that
// sqlite_max_memory bounds it. Then writers are refused with SQLITE_FULL, and
// the reader and all others go on to read. When the reader has ended, writers
// go on too.
func TestLimits_readerLeftOpen(t *testing.T) {
	const limit = 8 << 20
	// A save reads as well, and what it holds counts. It comes here when it is
	// asked for, and not while the last statement needs all the room there is.
	db := testdb.Open(t, testdb.Path(t)+"?sqlite_sync_interval=1h&sqlite_wal=off&sqlite_max_memory=8MiB")
	testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, b); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<2000) INSERT INTO t SELECT i, zeroblob(3000) FROM c")
	reader, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	require.NoError(t, err)
	sum := testdb.Text(t, reader, "SELECT sum(length(b)) FROM t")
	last, full := int64(0), 0
	for i := range 60 {
		_, err := db.Exec("UPDATE t SET b=zeroblob(?) WHERE id%4=?", 2900+i, i%4)
		st, statsErr := driver.ReadStats(db)
		require.NoError(t, statsErr)
		require.LessOrEqual(t, st.DataBytes, int64(limit))
		require.LessOrEqual(t, st.DataBytes+st.HeldBytes, int64(2*limit))
		if err != nil {
			require.Equal(t, sqlite3.ErrFull, code(err))
			full++
		}
		if i < 4 {
			require.Greater(t, st.HeldBytes, last, "what the reader holds is told")
			last = st.HeldBytes
		}
		if i > 0 { // it is told in milliseconds
			require.Positive(t, st.OldestReader)
		}
		if i%10 == 0 {
			require.NoError(t, driver.Sync(ctx, db))
		}
		require.Equal(t, sum, testdb.Text(t, reader, "SELECT sum(length(b)) FROM t"))
		require.Equal(t, "2000", testdb.Text(t, db, "SELECT count(*) FROM t"))
	}
	// Two readers at different states need more than the cap allows.
	second, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	require.NoError(t, err)
	testdb.Text(t, second, "SELECT count(*) FROM t")
	for i := range 8 {
		if _, err := db.Exec("UPDATE t SET b=zeroblob(?) WHERE id%4=?", 2800+i, i%4); err != nil {
			require.Equal(t, sqlite3.ErrFull, code(err))
			full++
		}
	}
	require.Positive(t, full, "the cap is never reached")
	require.Equal(t, sum, testdb.Text(t, reader, "SELECT sum(length(b)) FROM t"))
	require.NoError(t, reader.Rollback())
	require.NoError(t, second.Rollback())
	testdb.Exec(t, db, "UPDATE t SET b=zeroblob(1)")
	require.NoError(t, driver.Sync(ctx, db))
}

// Ensure that a database of more than 2 GiB (20 MiB without -many) goes to the
// disk and comes back whole. It has the page at 1 GiB that SQLite leaves out.
// It goes by a save and by a log, and is read by SQLite alone.
func TestLimits_size(t *testing.T) {
	rows := 20
	if *many {
		rows = 2300
	}
	const fill = `WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<?)
		INSERT INTO t SELECT i, CAST(printf('%08d', i) AS BLOB)||randomblob(1048576) FROM c`
	const count = "SELECT count(*)||' '||sum(length(b))||' '||sum(CAST(substr(b, 1, 8) AS INT)) FROM t"
	path := testdb.Path(t)
	dsn := path + "?sqlite_wal=commit&sqlite_sync_interval=1h"
	db := testdb.Open(t, dsn)
	testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, b)")
	_, err := db.Exec(fill, rows)
	require.NoError(t, err)
	testdb.Close(t, db)

	db = testdb.Open(t, dsn)
	testdb.Exec(t, db, "UPDATE t SET b=CAST(printf('%08d', id+1) AS BLOB)||substr(b, 9) WHERE id%10=0")
	want := testdb.Text(t, db, count)
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	if *many {
		require.Greater(t, st.DataBytes, int64(2)<<30)
	}
	crashed := testdb.CrashCopy(t, path)
	testdb.Close(t, db)

	for _, path := range []string{path, crashed} {
		db = testdb.Open(t, path)
		require.Equal(t, want, testdb.Text(t, db, count))
		testdb.Close(t, db)
		require.Equal(t, want, testdb.Text(t, testdb.Plain(t, path), count))
		require.NoError(t, os.Remove(path))
	}
}
