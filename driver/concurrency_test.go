//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// long is how long the tests run that find more the longer they do.
var long = flag.Duration("long", 3*time.Second, "length of the concurrency and crash tests; from 1m on, sweeps and storms are complete")

// thorough reports whether sweeps and storms are complete. Else they are a sample.
func thorough() bool { return *long >= time.Minute }

// Ensure that 64 goroutines that read, write and alter tables, with a save
// every few milliseconds, get no error of any kind. Money is neither made nor
// lost. A read-only transaction reads the same twice. Every saved file is sound
// and consistent.
func TestConcurrency_bank(t *testing.T) {
	const accounts, start = 200, 1000
	path := testdb.Path(t)
	var saves atomic.Int64
	cfg, err := driver.ParseDSN(path + "?sqlite_sync_interval=50ms")
	require.NoError(t, err)
	cfg.OnSync = func(e driver.SyncEvent) {
		if e.Err != nil {
			t.Errorf("save: %v", e.Err)
		}
		saves.Add(1)
	}
	connector, err := driver.NewConnector(cfg)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	defer testdb.Close(t, db)
	db.SetMaxIdleConns(64)
	testdb.Exec(t, db, "CREATE TABLE bank(id INTEGER PRIMARY KEY, money INT NOT NULL, note TEXT)")
	for i := range accounts {
		testdb.Exec(t, db, "INSERT INTO bank VALUES(?, ?, hex(randomblob(50)))", i, start)
	}

	run, cancel := context.WithTimeout(ctx, *long)
	defer cancel()
	var wg sync.WaitGroup
	var transfers, audits, changes atomic.Int64
	fail := func(what string, err error) bool {
		if err != nil {
			t.Errorf("%s: %v", what, err)
			cancel()
		}
		return err != nil
	}
	for g := range 64 {
		rnd := rand.New(rand.NewPCG(1, uint64(g)))
		wg.Go(func() {
			for run.Err() == nil {
				switch k := rnd.IntN(20); {
				case k == 0:
					// Schema changes beside everything else.
					name := fmt.Sprintf("side%d", g)
					_, err := db.Exec("CREATE TABLE " + name + "(a, b); CREATE INDEX i" + name + " ON " + name + "(b); INSERT INTO " + name +
						" SELECT id, note FROM bank; ALTER TABLE " + name + " ADD COLUMN c; DROP TABLE " + name)
					if fail("schema", err) {
						return
					}
					changes.Add(1)
				case k < 8:
					tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
					if fail("begin read-only", err) {
						return
					}
					var first, second int
					if fail("sum", tx.QueryRow("SELECT sum(money) FROM bank").Scan(&first)) ||
						fail("sum", tx.QueryRow("SELECT sum(money) FROM bank WHERE +id>=0").Scan(&second)) ||
						fail("end read-only", tx.Commit()) {
						return
					}
					if first != accounts*start || second != first {
						t.Errorf("sums %d and %d, want %d", first, second, accounts*start)
						cancel()
						return
					}
					audits.Add(1)
				default:
					from, to, amount := rnd.IntN(accounts), rnd.IntN(accounts), rnd.IntN(50)
					tx, err := db.Begin()
					if fail("begin", err) {
						return
					}
					_, err = tx.Exec("UPDATE bank SET money=money-? WHERE id=?", amount, from)
					if err == nil {
						_, err = tx.Exec("UPDATE bank SET money=money+?, note=hex(randomblob(?)) WHERE id=?", amount, rnd.IntN(500), to)
					}
					if fail("transfer", err) {
						return
					}
					if k == 8 {
						err = tx.Rollback()
					} else {
						err = tx.Commit()
					}
					if fail("end", err) {
						return
					}
					transfers.Add(1)
				}
			}
		})
	}
	// Each file that is seen on disk while this goes on is a whole database.
	seen := 0
	for run.Err() == nil {
		if saves.Load() == 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		file, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
		require.NoError(t, err)
		if got := testdb.Text(t, file, "PRAGMA integrity_check"); got != "ok" {
			t.Errorf("a saved file: %s", got)
		}
		if got := testdb.Text(t, file, "SELECT sum(money) FROM bank"); got != fmt.Sprint(accounts*start) {
			var n int
			require.NoError(t, file.QueryRow("SELECT count(*) FROM bank").Scan(&n))
			if n == accounts {
				t.Errorf("a saved file has %s", got)
			}
		}
		require.NoError(t, file.Close())
		seen++
		time.Sleep(10 * time.Millisecond)
	}
	wg.Wait()
	require.Equal(t, fmt.Sprint(accounts*start), testdb.Text(t, db, "SELECT sum(money) FROM bank"))
	t.Logf("%d transfers, %d audits, %d schema changes, %d saves, %d files looked at", transfers.Load(), audits.Load(), changes.Load(), saves.Load(), seen)
	require.Positive(t, transfers.Load()*audits.Load()*changes.Load()*saves.Load()*int64(seen))
}

// Ensure that a goroutine that has rows open and writes through another
// connection, while saves begin, waits for nobody.
func TestConcurrency_openRowsAndWrites(t *testing.T) {
	db := newTable(t, "?sqlite_sync_interval=1ms")
	testdb.Exec(t, db, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<500) INSERT INTO t(n) SELECT i FROM c")
	short, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	rows, err := db.QueryContext(short, "SELECT id, n FROM t ORDER BY id")
	require.NoError(t, err)
	n := 0
	for rows.Next() {
		var id, v int
		require.NoError(t, rows.Scan(&id, &v))
		require.Equal(t, id, v, "the rows are those of the beginning")
		_, err := db.ExecContext(short, "UPDATE t SET n=-n WHERE id>=?", id)
		require.NoError(t, err)
		if n%100 == 0 {
			require.NoError(t, driver.Sync(short, db))
		}
		n++
	}
	require.NoError(t, rows.Err())
	require.NoError(t, rows.Close())
	require.Equal(t, 500, n)
}

// Ensure that a reader that stays costs each page once that was rewritten
// since. The counters tell of it, and the memory comes back.
func TestLongReader(t *testing.T) {
	db := newTable(t, "?sqlite_wal=off") // a flush or save is a reader, too
	testdb.Exec(t, db, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<50000) INSERT INTO t(n) SELECT i FROM c")
	reader, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	require.NoError(t, err)
	for i := range 2000 {
		testdb.Exec(t, db, "UPDATE t SET n=-n WHERE id=?", i%20+1)
	}
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Less(t, st.HeldBytes, st.DataBytes/2)
	require.Positive(t, st.OldestReader)
	testdb.Exec(t, db, "UPDATE t SET n=n-1000000")
	st, err = driver.ReadStats(db)
	require.NoError(t, err)
	require.Greater(t, st.HeldBytes, st.DataBytes/2)
	require.Equal(t, "50000", testdb.Text(t, reader, "SELECT max(n) FROM t"))
	require.NoError(t, reader.Rollback())
	require.NoError(t, driver.Sync(ctx, db))
	st, err = driver.ReadStats(db)
	require.NoError(t, err)
	require.Zero(t, st.OldestReader)
	require.Less(t, st.HeldBytes, st.DataBytes/10)
}

// Ensure that a server's life leaves everything in order. 200 goroutines have a
// context for each request. A third of the contexts end at a random moment.
// Every commit that was reported was made, once. No lock, goroutine, statement
// or connection is left, and the database is sound.
func TestServerLife(t *testing.T) {
	db := testdb.Open(t, testdb.Path(t)+"?sqlite_sync_interval=200ms&_fk=1")
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(8)
	db.SetConnMaxLifetime(50 * time.Millisecond)
	testdb.Exec(t, db, `CREATE TABLE users(id INTEGER PRIMARY KEY, messages INT NOT NULL DEFAULT 0);
		CREATE TABLE messages(id INTEGER PRIMARY KEY, owner INT REFERENCES users(id), body TEXT);
		CREATE INDEX messages_owner ON messages(owner);
		WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<100) INSERT INTO users(id) SELECT i FROM c`)

	deliver := func(ctx context.Context, owner int) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "INSERT INTO messages(owner, body) VALUES(?, hex(randomblob(100)))", owner); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE users SET messages=messages+1 WHERE id=?", owner); err != nil {
			return err
		}
		return tx.Commit()
	}
	list := func(ctx context.Context, owner int) error {
		rows, err := db.QueryContext(ctx, "SELECT id, body FROM messages WHERE owner=? ORDER BY id", owner)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id int
			var body string
			if err := rows.Scan(&id, &body); err != nil {
				return err
			}
		}
		return rows.Err()
	}
	audit := func(ctx context.Context, _ int) error {
		tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer tx.Rollback()
		var counted, stored int
		if err := tx.QueryRowContext(ctx, "SELECT sum(messages) FROM users").Scan(&counted); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM messages").Scan(&stored); err != nil {
			return err
		}
		if counted != stored {
			return fmt.Errorf("%d messages are counted, %d stored", counted, stored)
		}
		return nil
	}
	update := func(ctx context.Context, owner int) error {
		s, err := db.PrepareContext(ctx, "UPDATE users SET messages=messages WHERE id=? RETURNING messages")
		if err != nil {
			return err
		}
		defer s.Close()
		return s.QueryRowContext(ctx, owner).Scan(new(int))
	}

	// A commit whose context ends while it is made may have been made or not;
	// database/sql then reports either.
	var delivered, unsure, cancelled, requests atomic.Int64
	var wg sync.WaitGroup
	deadline := time.Now().Add(*long)
	for g := range 200 {
		rnd := rand.New(rand.NewPCG(3, uint64(g)))
		wg.Go(func() {
			for time.Now().Before(deadline) {
				request, cancel := context.WithCancel(ctx)
				short := rnd.IntN(3) == 0
				if short {
					cancel()
					request, cancel = context.WithTimeout(ctx, time.Duration(rnd.IntN(5000))*time.Microsecond)
				}
				kind := rnd.IntN(6)
				err := []func(context.Context, int) error{deliver, deliver, list, list, audit, update}[kind](request, rnd.IntN(100)+1)
				cancel()
				requests.Add(1)
				switch {
				case err == nil && kind < 2:
					delivered.Add(1)
				case err != nil && !short:
					t.Errorf("a request whose context did not end: %v", err)
					return
				case err != nil:
					cancelled.Add(1)
					if kind < 2 {
						unsure.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, audit(ctx, 0))
	var stored int64
	require.NoError(t, db.QueryRow("SELECT count(*) FROM messages").Scan(&stored))
	require.GreaterOrEqual(t, stored, delivered.Load(), "a delivery that was reported is lost")
	require.LessOrEqual(t, stored, delivered.Load()+unsure.Load(), "a delivery was made twice")
	require.Positive(t, cancelled.Load())
	t.Logf("%d requests, %d cancelled, %d deliveries, %d messages", requests.Load(), cancelled.Load(), delivered.Load(), stored)
}
