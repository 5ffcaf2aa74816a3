// Package contender has the drivers that are compared, one file for each family. Each
// contender spells out its data source name and says what a crash costs.
//
// Each is used in the way that is fastest for it and correct for a pool. Statements
// stay prepared, by the driver if it can, otherwise by the pool. Transactions that
// write begin IMMEDIATE. Contenders that answer SQLITE_BUSY or SQLITE_LOCKED to a pool
// get the lock that their users give them. A busy statement or transaction is retried,
// and the retries are counted.
package contender

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// Reference is the name of the contender that the others are compared with.
const Reference = "sqlite-mem"

// Contender is one driver with one set of options.
type Contender struct {
	Name       string
	DSN        string // PATH stands for the contender's file or name
	Durability string // what a crash of the process or the machine costs
	Pool       string // connections, and the lock around them
	Safe       bool   // several connections may use one database at once
	Own        bool   // sqlite-mem with other options, not a peer
	Bypass     string // the interface that replaces database/sql; empty: database/sql
	Empty      bool   // it runs no SQL, and so shows the cost of database/sql alone
	Worker     string // the command that opens and measures it; empty: this package opens it
	Save       string // how a save works while statements run; empty: it cannot save

	// Interval is how often commits are synced in the background. 0: never, or each
	// commit waits for its sync.
	Interval time.Duration

	// MailStore is the data source name for go-imap-sql. Empty: go-imap-sql is not
	// measured on this contender.
	MailStore string

	open func(c *Contender, path string) (*DB, error)
	rest func(ctx context.Context, pool *sql.DB) error // nil: it does nothing in the background
}

// All returns the contenders in the order of the report.
func All() []*Contender {
	return []*Contender{
		sqliteMem(),
		sqliteMemLog("1s", time.Second),
		sqliteMemLog("100ms", 100*time.Millisecond),
		sqliteMemLog("commit", 0),
		madmail(),
		madmailPlain(),
		mattnMemdb(),
		mattnMemory(),
		mattnDisk(),
		mattnDiskWAL(),
		mattnDiskWALFull(),
		mattnDiskMmap(),
		moderncMemory(),
		ncrucesMemdb(),
		ncrucesMVCC(),
		zombiezen(),
		crawshaw(),
		cLoop(),
		null(),
	}
}

// General returns the contenders that run every load. It leaves out two that differ
// from another one only in the cost of a crash.
func General() []*Contender {
	return only(func(c *Contender) bool { return c.Name != "sqlite-mem-wal-100ms" && c.Name != "mattn-disk-wal-full" })
}

// Compared returns the contenders that run the loads of workload.Users. These loads are
// large, so there is one contender for each way to keep a database.
func Compared() []*Contender {
	return only(func(c *Contender) bool {
		switch c.Name {
		case "sqlite-mem-wal-100ms", "sqlite-mem-wal-commit", "madmail-plain", "mattn-disk-rollback", "mattn-disk-wal-full", "mattn-disk-wal-off-mmap":
			return false
		}
		return true
	})
}

// Durable returns the contenders whose commits are compared by the cost of a crash,
// from everything since the last save to nothing.
func Durable() []*Contender {
	return only(func(c *Contender) bool {
		return c.Name == Reference || c.Own || c.Name == "mattn-disk-wal-normal" || c.Name == "mattn-disk-wal-full"
	})
}

func only(kind func(*Contender) bool) []*Contender {
	return slices.DeleteFunc(All(), func(c *Contender) bool { return !kind(c) })
}

// Named returns the contender of that name.
func Named(name string) (*Contender, error) {
	for _, c := range All() {
		if c.Name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("contender: there is no %q", name)
}

// Open opens an empty database at path, which must not exist. A contender without a
// file uses path as a name.
func (c *Contender) Open(path string) (*DB, error) {
	db, err := c.open(c, path)
	if err != nil {
		return nil, fmt.Errorf("contender %s: %w", c.Name, err)
	}
	return db, nil
}

// pinged returns a database that can be reached. Otherwise it closes it.
func pinged(db *DB) (*DB, error) {
	if err := db.Pool.Ping(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Rest finishes writes that would happen later in the background. So the next
// contender does not pay for them. pool is any pool of the contender.
func (c *Contender) Rest(ctx context.Context, pool *sql.DB) error {
	if c.rest == nil {
		return nil
	}
	return c.rest(ctx, pool)
}

// maxIdle keeps the pool from closing and reopening connections between statements. No
// workload has more goroutines.
const maxIdle = MaxGoroutines

// MaxGoroutines is how many goroutines can use a contender at once without opening and
// closing connections.
const MaxGoroutines = 64

// DB is an open database of a contender. It is a workload.DB, unless the contender
// bypasses database/sql.
type DB struct {
	Pool *sql.DB // nil: it bypasses database/sql

	bypass bypass                                        // instead of Pool
	exec   func(ctx context.Context, query string) error // replaces a transaction of Pool; nil: Pool is used

	lock    *sync.RWMutex    // nil: the contender needs none
	busy    func(error) bool // reports whether the statement or transaction can be retried
	prepare bool             // the pool keeps statements prepared, because the driver does not
	save    func(ctx context.Context, path string) error
	close   func() error // after the pool

	stmts   sync.Map // SQL text → *sql.Stmt
	retries atomic.Int64
}

var _ workload.DB = (*DB)(nil)

// bypass is a database whose driver bypasses database/sql.
type bypass interface {
	workload.Execer
	Connect(ctx context.Context, n int) error
	Ints(ctx context.Context, query string, n int) ([]int64, error)
	Works() []workload.Workload
	Users() workload.UserOps
	Close() error
}

// Works returns the loads of workload.All with the operations of this contender.
func (d *DB) Works() []workload.Workload {
	if d.bypass != nil {
		return d.bypass.Works()
	}
	return workload.All()
}

// Users returns the operations of workload.Users for this contender.
func (d *DB) Users() workload.UserOps {
	if d.bypass != nil {
		return d.bypass.Users()
	}
	return workload.SQLUsers(d)
}

// Exec runs a statement in a transaction of its own. It is not measured.
func (d *DB) Exec(ctx context.Context, query string) error {
	switch {
	case d.bypass != nil:
		return d.bypass.Exec(ctx, query)
	case d.exec != nil:
		return d.exec(ctx, query)
	}
	return d.Tx(ctx, func(ctx context.Context, c workload.Conn) error {
		_, err := c.ExecContext(ctx, query)
		return err
	})
}

// Ints returns the first row of a query, as n integers.
func (d *DB) Ints(ctx context.Context, query string, n int) (values []int64, err error) {
	if d.bypass != nil {
		return d.bypass.Ints(ctx, query, n)
	}
	err = d.Read(ctx, func(ctx context.Context, c workload.Conn) error {
		values, err = ints(ctx, c, query, n)
		return err
	})
	return values, err
}

func ints(ctx context.Context, c workload.Conn, query string, n int) ([]int64, error) {
	values, dest := make([]int64, n), make([]any, n)
	for i := range dest {
		dest[i] = &values[i]
	}
	return values, c.QueryRowContext(ctx, query).Scan(dest...)
}

// Retries returns how often a busy statement or transaction was retried.
func (d *DB) Retries() int64 { return d.retries.Load() }

// Save writes the current state to a file while statements run: to the contender's own
// file if it has one, else to path.
func (d *DB) Save(ctx context.Context, path string) error {
	if d.save == nil {
		return errors.New("contender: it cannot save")
	}
	return d.save(ctx, path)
}

// Connect opens n connections, or as many as the contender may have, so that no
// measured operation opens one.
func (d *DB) Connect(ctx context.Context, n int) error {
	if d.bypass != nil {
		return d.bypass.Connect(ctx, n)
	}
	if most := d.Pool.Stats().MaxOpenConnections; most > 0 {
		n = min(n, most)
	}
	var errs []error
	var conns []*sql.Conn
	for range n {
		c, err := d.Pool.Conn(ctx)
		if err != nil {
			errs = append(errs, err)
			break
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Close closes the pool.
func (d *DB) Close() error {
	if d.bypass != nil {
		return d.bypass.Close()
	}
	var errs []error
	d.stmts.Range(func(_, s any) bool {
		errs = append(errs, s.(*sql.Stmt).Close())
		return true
	})
	errs = append(errs, d.Pool.Close())
	if d.close != nil {
		errs = append(errs, d.close())
	}
	return errors.Join(errs...)
}

// Read runs fn, which only reads, under the read lock.
func (d *DB) Read(ctx context.Context, fn func(context.Context, workload.Conn) error) error {
	return d.again(ctx, func() error {
		if d.lock != nil {
			d.lock.RLock()
			defer d.lock.RUnlock()
		}
		return fn(ctx, d.conn())
	})
}

// Write runs fn, a single statement that writes, under the write lock.
func (d *DB) Write(ctx context.Context, fn func(context.Context, workload.Conn) error) error {
	return d.again(ctx, func() error {
		if d.lock != nil {
			d.lock.Lock()
			defer d.lock.Unlock()
		}
		return fn(ctx, d.conn())
	})
}

// Tx runs fn in a transaction that writes, under the write lock.
func (d *DB) Tx(ctx context.Context, fn func(context.Context, workload.Conn) error) error {
	return d.again(ctx, func() error {
		if d.lock != nil {
			d.lock.Lock()
			defer d.lock.Unlock()
		}
		tx, err := d.Pool.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		var conn workload.Conn = tx
		if d.prepare {
			conn = preparedTx{d, tx}
		}
		if err := fn(ctx, conn); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			if rollback := tx.Rollback(); !errors.Is(rollback, sql.ErrTxDone) {
				err = errors.Join(err, rollback)
			}
			return err
		}
		return nil
	})
}

// errBypass: a contender that bypasses database/sql has no pool; it has Works, Users
// and Ints of its own.
var errBypass = errors.New("contender: it bypasses database/sql; use Works, Users or Ints")

// again retries fn while it is busy.
func (d *DB) again(ctx context.Context, fn func() error) error {
	if d.bypass != nil {
		return errBypass
	}
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 5*time.Millisecond) {
		err := fn()
		if err == nil || d.busy == nil || !d.busy(err) || ctx.Err() != nil {
			return err
		}
		d.retries.Add(1)
		time.Sleep(wait)
	}
}

func (d *DB) conn() workload.Conn {
	if d.prepare {
		return prepared{d}
	}
	return d.Pool
}
