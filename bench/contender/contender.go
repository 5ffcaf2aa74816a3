// Package contender holds the drivers that are compared: one file for each
// family, with the data source name spelled out and the durability in words.
//
// All of them are used in the way that is fastest for them and correct for a
// pool: statements are kept prepared, by the driver where it can and by the pool
// where it cannot; transactions that write begin IMMEDIATE; and those that
// answer SQLITE_BUSY or SQLITE_LOCKED to a pool get the lock that their users
// give them. What is busy nevertheless is tried again, and counted.
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
	DSN        string // PATH stands for a file or name of its own
	Durability string // what a crash of the process or the machine costs
	Pool       string // connections, and the lock around them
	Safe       bool   // several connections may use one database at a time
	Own        bool   // sqlite-mem with other options: not a peer that it has to beat
	Bypass     string // what it is used by instead of database/sql; empty: it is behind database/sql
	Empty      bool   // it runs no SQL: what database/sql costs by itself
	Worker     string // the command that opens and measures it; empty: this package opens it
	Save       string // how the state is written to a file while it is served; empty: it is not

	// Interval is how often what was committed is synced behind the committers'
	// backs; 0: it is not, or they wait for it.
	Interval time.Duration

	// MailStore is the data source name that go-imap-sql is given; empty: it is not
	// measured on this contender.
	MailStore string

	open func(c *Contender, path string) (*DB, error)
	rest func(ctx context.Context, pool *sql.DB) error // nil: it does nothing behind one's back
}

// All are the contenders, in the order of the report.
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

// General are those that are measured under each load: all but two that differ from
// another by what a crash costs, and not under most loads.
func General() []*Contender {
	return only(func(c *Contender) bool { return c.Name != "sqlite-mem-wal-100ms" && c.Name != "mattn-disk-wal-full" })
}

// Compared are those that are measured under the loads of workload.Users: one for
// each way in which a driver keeps a database, as these loads are large.
func Compared() []*Contender {
	return only(func(c *Contender) bool {
		switch c.Name {
		case "sqlite-mem-wal-100ms", "sqlite-mem-wal-commit", "madmail-plain", "mattn-disk-rollback", "mattn-disk-wal-full", "mattn-disk-wal-off-mmap":
			return false
		}
		return true
	})
}

// Durable are those whose commits are compared by what a crash costs: from
// everything since the last save to nothing.
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
	return nil, fmt.Errorf("contender: no %q", name)
}

// Open opens an empty database at path, which does not exist; those that are
// only in memory use it as a name.
func (c *Contender) Open(path string) (*DB, error) {
	db, err := c.open(c, path)
	if err != nil {
		return nil, fmt.Errorf("contender %s: %w", c.Name, err)
	}
	return db, nil
}

// Rest finishes what would be written later in the background, so that nobody else
// pays for it. It takes any pool that the contender has been opened with.
func (c *Contender) Rest(ctx context.Context, pool *sql.DB) error {
	if c.rest == nil {
		return nil
	}
	return c.rest(ctx, pool)
}

// maxIdle keeps connections from being closed and opened again between
// statements: as many as the most goroutines of a workload.
const maxIdle = MaxGoroutines

// MaxGoroutines is the most that use a contender at a time without opening and
// closing connections.
const MaxGoroutines = 64

// DB is an open database of a contender. It is a workload.DB, unless the contender
// bypasses database/sql.
type DB struct {
	Pool *sql.DB // nil: it bypasses database/sql

	bypass bypass                                        // instead of Pool
	exec   func(ctx context.Context, query string) error // instead of a transaction of Pool; nil: that

	lock    *sync.RWMutex    // nil: the contender needs none
	busy    func(error) bool // the statement or transaction may be tried again
	prepare bool             // the driver does not keep statements prepared: the pool has to
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

// Works are the loads of workload.All, as the contender does them.
func (d *DB) Works() []workload.Workload {
	if d.bypass != nil {
		return d.bypass.Works()
	}
	return workload.All()
}

// Users are the operations of workload.Users, as the contender does them.
func (d *DB) Users() workload.UserOps {
	if d.bypass != nil {
		return d.bypass.Users()
	}
	return workload.SQLUsers(d)
}

// Exec runs a statement in a transaction of its own, outside of what is measured.
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

// Ints is the first row of a query, whose columns are n integers.
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

// Retries is how often something was busy and tried again.
func (d *DB) Retries() int64 { return d.retries.Load() }

// Save writes the present state to a file while statements run: to the
// contender's own file where it has one, else to path.
func (d *DB) Save(ctx context.Context, path string) error {
	if d.save == nil {
		return errors.New("contender: it has no way to save")
	}
	return d.save(ctx, path)
}

// Connect opens so many connections, or as many as the contender may have, so that
// none is opened while something is measured.
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

// Read runs fn, which only reads, under the lock for readers.
func (d *DB) Read(ctx context.Context, fn func(context.Context, workload.Conn) error) error {
	return d.again(ctx, func() error {
		if d.lock != nil {
			d.lock.RLock()
			defer d.lock.RUnlock()
		}
		return fn(ctx, d.conn())
	})
}

// Write runs fn, a single statement that writes, under the lock for writers.
func (d *DB) Write(ctx context.Context, fn func(context.Context, workload.Conn) error) error {
	return d.again(ctx, func() error {
		if d.lock != nil {
			d.lock.Lock()
			defer d.lock.Unlock()
		}
		return fn(ctx, d.conn())
	})
}

// Tx runs fn in a transaction that writes, under the lock for writers.
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

// errBypass is why a contender that bypasses database/sql runs only what it has of its own.
var errBypass = errors.New("contender: it bypasses database/sql; see Works, Users and Ints")

// again runs fn until it is not busy.
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
