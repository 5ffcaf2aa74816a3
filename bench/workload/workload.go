// Package workload has the loads for the contenders: a schema, its contents, and
// operations on it, the same for each run. It imports no driver.
package workload

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
)

// Accounts is the number of accounts of the full size.
const Accounts = 100_000

// Seed is the seed of all random numbers.
const Seed = 20

// Conn runs statements: a pool or a transaction.
type Conn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// DB is a database under test. If the database is busy, it may run a function again.
type DB interface {
	// Read runs fn, which only reads and leaves no rows open.
	Read(ctx context.Context, fn func(context.Context, Conn) error) error
	// Write runs fn, which is one statement.
	Write(ctx context.Context, fn func(context.Context, Conn) error) error
	// Tx runs fn in a transaction and commits it if fn returns nil.
	Tx(ctx context.Context, fn func(context.Context, Conn) error) error
	// Prepare announces the statements of transactions.
	Prepare(ctx context.Context, queries ...string) error
}

// Execer runs a statement in a transaction of its own. It is not measured.
type Execer interface {
	Exec(ctx context.Context, query string) error
}

// schema has one statement per call, because not every driver takes several.
var schema = []string{
	"CREATE TABLE accounts(id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE, used INTEGER NOT NULL, quota INTEGER NOT NULL, filler BLOB)",
	"CREATE TABLE mailboxes(account INTEGER PRIMARY KEY, uid_next INTEGER NOT NULL, unseen INTEGER NOT NULL)",
	"CREATE TABLE messages(id INTEGER PRIMARY KEY, account INTEGER NOT NULL, uid INTEGER NOT NULL, size INTEGER NOT NULL, head TEXT NOT NULL)",
	"CREATE UNIQUE INDEX messages_account ON messages(account, uid)",
}

// Fill creates the tables and inserts accounts, whose rows have about 60 bytes and
// filler more. An account's number is its rowid, from 1.
func Fill(ctx context.Context, db Execer, accounts, filler int) error {
	if err := execAll(ctx, db, schema...); err != nil {
		return err
	}
	// Transactions of some MB keep journals and caches as small as in normal use.
	step := max(1000, 16<<20/(filler+60))
	for from := 0; from < accounts; from += step {
		end := min(from+step, accounts)
		if err := execAll(ctx, db, fmt.Sprintf(`WITH RECURSIVE c(i) AS (SELECT %d UNION ALL SELECT i+1 FROM c WHERE i<%d)
			INSERT INTO accounts SELECT i, 'account'||i||'@example.org', 0, 1000000+i%%1000, randomblob(%d) FROM c`, from+1, end, filler),
			fmt.Sprintf(`WITH RECURSIVE c(i) AS (SELECT %d UNION ALL SELECT i+1 FROM c WHERE i<%d)
			INSERT INTO mailboxes SELECT i, 1, 0 FROM c`, from+1, end)); err != nil {
			return err
		}
	}
	return nil
}

func execAll(ctx context.Context, db Execer, queries ...string) error {
	for _, q := range queries {
		if err := db.Exec(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// Op is one operation, as a goroutine of a server would run it.
type Op func(ctx context.Context, db DB, rnd *rand.Rand) error

// Workload is a kind of load.
type Workload struct {
	Name string
	What string // in words, for the report
	Op   func(accounts int) Op

	// Batch is how many operations a call of Op makes. 0 means 1.
	Batch int
}

// All returns the workloads in the order of the report.
func All() []Workload {
	return []Workload{
		{Name: "PointRead", What: "one account by its number", Op: pointRead},
		{Name: "PointWrite", What: "one column of one account, in a transaction of its own", Op: pointWrite},
		{Name: "Mix90", What: "90 % point reads, 10 % point writes", Op: Mix(10, pointRead, pointWrite)},
		{Name: "Mix50", What: "50 % point reads, 50 % point writes", Op: Mix(50, pointRead, pointWrite)},
		{Name: "Deliver", What: "a mail is delivered: one transaction of three reads and two writes", Op: deliver},
		{Name: "Scan1000", What: "1000 accounts in a row", Op: scan},
		{Name: "Aggregate", What: "count, sum and maximum over all accounts", Op: aggregate},
	}
}

// Named returns the workload of that name.
func Named(name string) Workload {
	w, err := Find(All(), name)
	if err != nil {
		panic(err)
	}
	return w
}

// Find returns the workload of that name in works.
func Find(works []Workload, name string) (Workload, error) {
	for _, w := range works {
		if w.Name == name {
			return w, nil
		}
	}
	return Workload{}, fmt.Errorf("workload: there is no %q", name)
}

// The statements of the loads. [DirectAll] and the loop in C run the same ones.
const (
	ReadAccount  = "SELECT address, used FROM accounts WHERE id=?"
	WriteAccount = "UPDATE accounts SET used=used+1 WHERE id=?"

	FindAccount   = "SELECT id FROM accounts WHERE address=?"
	ReadQuota     = "SELECT used, quota FROM accounts WHERE id=?"
	ReadMailbox   = "SELECT uid_next FROM mailboxes WHERE account=?"
	InsertMessage = "INSERT INTO messages(account, uid, size, head) VALUES(?,?,?,?)"
	UpdateMailbox = "UPDATE mailboxes SET uid_next=uid_next+1, unseen=unseen+1 WHERE account=?"

	ScanAccounts = "SELECT id, address FROM accounts WHERE id>? ORDER BY id LIMIT 1000"
	SumAccounts  = "SELECT count(*), sum(used), max(quota) FROM accounts"
)

// Prepare announces the statements of the transactions.
func Prepare(ctx context.Context, db DB) error {
	return db.Prepare(ctx, FindAccount, ReadQuota, ReadMailbox, InsertMessage, UpdateMailbox)
}

func pointRead(accounts int) Op {
	return func(ctx context.Context, db DB, rnd *rand.Rand) error {
		id := rnd.IntN(accounts) + 1
		return db.Read(ctx, func(ctx context.Context, c Conn) error {
			var address string
			var used int64
			return c.QueryRowContext(ctx, ReadAccount, id).Scan(&address, &used)
		})
	}
}

func pointWrite(accounts int) Op {
	return func(ctx context.Context, db DB, rnd *rand.Rand) error {
		id := rnd.IntN(accounts) + 1
		return db.Write(ctx, func(ctx context.Context, c Conn) error {
			_, err := c.ExecContext(ctx, WriteAccount, id)
			return err
		})
	}
}

// Mix returns a load in which writes of 100 operations write.
func Mix(writes int, read, write func(accounts int) Op) func(accounts int) Op {
	return func(accounts int) Op {
		read, write := read(accounts), write(accounts)
		return func(ctx context.Context, db DB, rnd *rand.Rand) error {
			if rnd.IntN(100) < writes {
				return write(ctx, db, rnd)
			}
			return read(ctx, db, rnd)
		}
	}
}

// Head is the part of a message that a mail store keeps beside the body.
const Head = "From: sender@example.org\r\nTo: receiver@example.org\r\nSubject: a message of the bench\r\nMessage-ID: <12345@example.org>\r\n"

func deliver(accounts int) Op {
	return func(ctx context.Context, db DB, rnd *rand.Rand) error {
		address, size := fmt.Sprintf("account%d@example.org", rnd.IntN(accounts)+1), 1000+rnd.IntN(9000)
		return db.Tx(ctx, func(ctx context.Context, c Conn) error {
			var id, used, quota, uid int64
			if err := c.QueryRowContext(ctx, FindAccount, address).Scan(&id); err != nil {
				return err
			}
			if err := c.QueryRowContext(ctx, ReadQuota, id).Scan(&used, &quota); err != nil {
				return err
			}
			if err := c.QueryRowContext(ctx, ReadMailbox, id).Scan(&uid); err != nil {
				return err
			}
			if _, err := c.ExecContext(ctx, InsertMessage, id, uid, size, Head); err != nil {
				return err
			}
			_, err := c.ExecContext(ctx, UpdateMailbox, id)
			return err
		})
	}
}

func scan(accounts int) Op {
	return func(ctx context.Context, db DB, rnd *rand.Rand) error {
		from := rnd.IntN(max(accounts-1000, 1))
		return db.Read(ctx, func(ctx context.Context, c Conn) error {
			rows, err := c.QueryContext(ctx, ScanAccounts, from)
			if err != nil {
				return err
			}
			defer rows.Close()
			n := 0
			for ; rows.Next(); n++ {
				var id int64
				var address string
				if err := rows.Scan(&id, &address); err != nil {
					return err
				}
			}
			if want := min(1000, accounts); n != want {
				return fmt.Errorf("a scan of %d rows found %d: %w", want, n, rows.Err())
			}
			return rows.Err()
		})
	}
}

func aggregate(accounts int) Op {
	return func(ctx context.Context, db DB, _ *rand.Rand) error {
		return db.Read(ctx, func(ctx context.Context, c Conn) error {
			var n, used, quota int64
			if err := c.QueryRowContext(ctx, SumAccounts).Scan(&n, &used, &quota); err != nil {
				return err
			}
			if n != int64(accounts) {
				return fmt.Errorf("found %d accounts instead of %d", n, accounts)
			}
			return nil
		})
	}
}
