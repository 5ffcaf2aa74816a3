// Package bench measures sqlite-mem side by side with its peers; see README.md.
package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/mailstore"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

var opened atomic.Int64

func path(tb testing.TB) string {
	return filepath.Join(tb.TempDir(), fmt.Sprintf("bench%d.db", opened.Add(1)))
}

// open opens a contender and fills it.
func open(tb testing.TB, c *contender.Contender, accounts int) *contender.DB {
	tb.Helper()
	db, err := c.Open(path(tb))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	ctx := context.Background()
	require.NoError(tb, workload.Fill(ctx, db, accounts, 0))
	require.NoError(tb, workload.Prepare(ctx, db))
	require.NoError(tb, db.Connect(ctx, contender.MaxGoroutines))
	return db
}

func size() int {
	if testing.Short() {
		return 2000
	}
	return workload.Accounts
}

// run runs an operation b.N times. ns/op is throughput; the percentiles are of
// single operations.
func run(b *testing.B, db workload.DB, op workload.Op, goroutines int, cancellable bool, retries func() int64) {
	runBatch(b, db, op, 1, goroutines, cancellable, retries)
}

// runBatch is run for an operation that makes a batch of operations in a call.
func runBatch(b *testing.B, db workload.DB, op workload.Op, batch, goroutines int, cancellable bool, retries func() int64) {
	b.Run(fmt.Sprintf("cancellable=%v/goroutines=%d", cancellable, goroutines), func(b *testing.B) {
		before := retries()
		b.ResetTimer()
		r, err := measure.Run(db, op, measure.Load{Goroutines: goroutines, Ops: int64(b.N), Batch: batch, Cancellable: cancellable})
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(r.NsPerOp(), "ns/op") // whole batches may make more than b.N
		for _, p := range measure.Percentiles {
			b.ReportMetric(float64(r.Latencies.Percentile(p.Share)), p.Unit)
		}
		b.ReportMetric(float64(retries()-before)/float64(b.N), "retries/op")
	})
}

// BenchmarkContenders runs each workload on each contender, one contender after the
// other. In cmd/report they take turns.
func BenchmarkContenders(b *testing.B) {
	for _, c := range contender.General() {
		if c.Worker != "" {
			continue // cmd/report runs it, in a program of its own
		}
		b.Run(c.Name, func(b *testing.B) {
			db := open(b, c, size())
			for _, w := range db.Works() {
				b.Run(w.Name, func(b *testing.B) {
					for _, cancellable := range []bool{false, true} {
						if cancellable && c.Bypass != "" {
							continue
						}
						for _, goroutines := range []int{1, 2, 8, 64} {
							runBatch(b, db, w.Op(size()), w.Batch, goroutines, cancellable, db.Retries)
						}
					}
				})
			}
			if !c.HasGorm() {
				return
			}
			g, err := c.Gorm(db)
			require.NoError(b, err)
			for _, w := range workload.Gorm(g) {
				b.Run(w.Name, func(b *testing.B) {
					for _, goroutines := range []int{1, 8} {
						run(b, db, w.Op(size()), goroutines, false, db.Retries)
					}
				})
			}
		})
	}
}

// BenchmarkUsers runs loads like those of the comparison that users of SQLite in Go
// quote.
func BenchmarkUsers(b *testing.B) {
	for _, c := range contender.Compared() {
		if c.Worker != "" {
			continue // cmd/report runs it, in a program of its own
		}
		b.Run(c.Name, func(b *testing.B) {
			db, err := c.Open(path(b))
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, db.Close()) })
			ctx := context.Background()
			require.NoError(b, workload.UserSchema(ctx, db))
			require.NoError(b, workload.PrepareUsers(ctx, db))
			for _, u := range workload.Users(workload.UserSizesOf(testing.Short()), db.Users()) {
				b.Run(fmt.Sprintf("%s/goroutines=%d", u.Name, u.Goroutines), func(b *testing.B) {
					for range b.N {
						b.StopTimer()
						require.NoError(b, u.Before(ctx, db))
						b.StartTimer()
						_, err := measure.Run(db, u.Op, measure.Load{Goroutines: u.Goroutines, Ops: u.Ops})
						require.NoError(b, err)
					}
				})
			}
		})
	}
}

// BenchmarkCommits runs point writes on a disk, by the cost of a crash.
func BenchmarkCommits(b *testing.B) {
	for _, c := range contender.Durable() {
		b.Run(c.Name, func(b *testing.B) {
			db := open(b, c, size())
			for _, writers := range []int{1, 8, 64} {
				run(b, db, workload.Named("PointWrite").Op(size()), writers, false, db.Retries)
			}
		})
	}
}

// BenchmarkMailStore runs go-imap-sql.
func BenchmarkMailStore(b *testing.B) {
	users := mailstore.Users
	if testing.Short() {
		users = 20
	}
	for _, c := range contender.General() {
		if c.MailStore == "" {
			continue
		}
		b.Run(c.Name, func(b *testing.B) {
			s, err := mailstore.Open(strings.Replace(c.MailStore, "PATH", path(b), 1), "", users)
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, s.Close()) })
			for _, w := range mailstore.Workloads(false) {
				b.Run(w.Name, func(b *testing.B) {
					for _, goroutines := range []int{1, 8, 64} {
						run(b, nil, w.Op(s), goroutines, false, s.Retries)
					}
				})
			}
		})
	}
}
