package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
)

// Direct is a database under test whose driver bypasses database/sql. If the database
// is busy, it may run a function again.
type Direct interface {
	// Read runs fn, which only reads, on one connection.
	Read(ctx context.Context, fn func(DirectConn) error) error
	// Write runs fn, a single statement, on one connection.
	Write(ctx context.Context, fn func(DirectConn) error) error
	// Tx runs fn in a transaction and commits it if fn returns nil.
	Tx(ctx context.Context, fn func(DirectConn) error) error
}

// DirectConn is one connection. It keeps statements prepared.
type DirectConn interface {
	// Stmt returns the statement of a text. It is not running.
	Stmt(query string) (DirectStmt, error)
}

// DirectStmt is a prepared statement. Parameters count from 1, columns from 0.
// zombiezen.com/go/sqlite and crawshaw.io/sqlite both have these methods.
type DirectStmt interface {
	BindInt64(param int, value int64)
	BindText(param int, value string)
	Step() (row bool, err error)
	ColumnInt64(column int) int64
	ColumnText(column int) string
	Reset() error
}

// ofDirect are the operations of [All] on a Direct.
type ofDirect struct{ db Direct }

// DirectAll returns the workloads of [All], in the same order, for a driver that
// bypasses database/sql. Their operations ignore their DB argument.
func DirectAll(db Direct) []Workload {
	d := ofDirect{db}
	ops := map[string]func(int) Op{
		"PointRead": d.pointRead, "PointWrite": d.pointWrite, "Mix90": Mix(10, d.pointRead, d.pointWrite), "Mix50": Mix(50, d.pointRead, d.pointWrite),
		"Deliver": d.deliver, "Scan1000": d.scan, "Aggregate": d.aggregate,
	}
	return Replace(ops, nil)
}

// Replace returns the workloads of [All] with other operations and batches, by name. A
// missing batch is 0.
func Replace(ops map[string]func(int) Op, batches map[string]int) []Workload {
	all := All()
	for i, w := range all {
		op := ops[w.Name]
		if op == nil {
			panic("workload: no operation for " + w.Name)
		}
		all[i].Op, all[i].Batch = op, batches[w.Name]
	}
	return all
}

// step is steps for a statement that must have a row.
func step(c DirectConn, query string, bind func(DirectStmt), row func(DirectStmt)) error {
	n, err := steps(c, query, bind, row)
	if err == nil && n == 0 {
		err = fmt.Errorf("the query has no row: %s", query)
	}
	return err
}

// steps runs a statement to its end, calls row with each row, and counts the rows. bind
// and row may be nil.
func steps(c DirectConn, query string, bind func(DirectStmt), row func(DirectStmt)) (n int, err error) {
	s, err := c.Stmt(query)
	if err != nil {
		return 0, err
	}
	if bind != nil {
		bind(s)
	}
	for {
		more, err := s.Step()
		if err != nil {
			_ = s.Reset() // returns the same error again
			return n, err
		}
		if !more {
			return n, s.Reset()
		}
		n++
		if row != nil {
			row(s)
		}
	}
}

func (d ofDirect) pointRead(accounts int) Op {
	return func(ctx context.Context, _ DB, rnd *rand.Rand) error {
		id := int64(rnd.IntN(accounts) + 1)
		return d.db.Read(ctx, func(c DirectConn) error {
			var address string
			var used int64
			err := step(c, ReadAccount, func(s DirectStmt) { s.BindInt64(1, id) },
				func(s DirectStmt) { address, used = s.ColumnText(0), s.ColumnInt64(1) })
			keep(address, used)
			return err
		})
	}
}

func (d ofDirect) pointWrite(accounts int) Op {
	return func(ctx context.Context, _ DB, rnd *rand.Rand) error {
		id := int64(rnd.IntN(accounts) + 1)
		return d.db.Write(ctx, func(c DirectConn) error {
			_, err := steps(c, WriteAccount, func(s DirectStmt) { s.BindInt64(1, id) }, nil)
			return err
		})
	}
}

func (d ofDirect) deliver(accounts int) Op {
	return func(ctx context.Context, _ DB, rnd *rand.Rand) error {
		address, size := fmt.Sprintf("account%d@example.org", rnd.IntN(accounts)+1), int64(1000+rnd.IntN(9000))
		return d.db.Tx(ctx, func(c DirectConn) error {
			var id, used, quota, uid int64
			ofID := func(s DirectStmt) { s.BindInt64(1, id) }
			if err := step(c, FindAccount, func(s DirectStmt) { s.BindText(1, address) }, func(s DirectStmt) { id = s.ColumnInt64(0) }); err != nil {
				return err
			}
			if err := step(c, ReadQuota, ofID, func(s DirectStmt) { used, quota = s.ColumnInt64(0), s.ColumnInt64(1) }); err != nil {
				return err
			}
			keep("", used+quota)
			if err := step(c, ReadMailbox, ofID, func(s DirectStmt) { uid = s.ColumnInt64(0) }); err != nil {
				return err
			}
			if _, err := steps(c, InsertMessage, func(s DirectStmt) {
				s.BindInt64(1, id)
				s.BindInt64(2, uid)
				s.BindInt64(3, size)
				s.BindText(4, Head)
			}, nil); err != nil {
				return err
			}
			_, err := steps(c, UpdateMailbox, ofID, nil)
			return err
		})
	}
}

func (d ofDirect) scan(accounts int) Op {
	return func(ctx context.Context, _ DB, rnd *rand.Rand) error {
		from := int64(rnd.IntN(max(accounts-1000, 1)))
		return d.db.Read(ctx, func(c DirectConn) error {
			n, err := steps(c, ScanAccounts, func(s DirectStmt) { s.BindInt64(1, from) },
				func(s DirectStmt) { keep(s.ColumnText(1), s.ColumnInt64(0)) })
			return rows(n, min(1000, accounts), err)
		})
	}
}

func (d ofDirect) aggregate(accounts int) Op {
	return func(ctx context.Context, _ DB, _ *rand.Rand) error {
		return d.db.Read(ctx, func(c DirectConn) error {
			var n int64
			if err := step(c, SumAccounts, nil, func(s DirectStmt) { n = s.ColumnInt64(0); keep("", s.ColumnInt64(1)+s.ColumnInt64(2)) }); err != nil {
				return err
			}
			return rows(int(n), accounts, nil)
		})
	}
}

// keep uses the values of a row, so that the compiler cannot leave out their fetch.
//
//go:noinline
func keep(string, int64) {}

// rows returns an error if a query found n rows and not want.
func rows(n, want int, err error) error {
	if err == nil && n != want {
		err = fmt.Errorf("%d rows instead of %d", n, want)
	}
	return err
}
