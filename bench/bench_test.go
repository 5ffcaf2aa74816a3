// Package bench measures sqlite-mem side by side with its peers; see README.md.
package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

var opened atomic.Int64

// open opens a contender and fills it.
func open(tb testing.TB, c *contender.Contender, accounts int) *contender.DB {
	tb.Helper()
	db, err := c.Open(filepath.Join(tb.TempDir(), fmt.Sprintf("bench%d.db", opened.Add(1))))
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

// BenchmarkContenders runs each workload on each contender. ns/op is throughput;
// the percentiles are of single operations. Contenders stand one behind the other
// here; cmd/report takes turns with them.
func BenchmarkContenders(b *testing.B) {
	for _, c := range contender.All() {
		b.Run(c.Name, func(b *testing.B) {
			db := open(b, c, size())
			for _, w := range workload.All() {
				for _, cancellable := range []bool{false, true} {
					for _, goroutines := range []int{1, 2, 8, 64} {
						b.Run(fmt.Sprintf("%s/cancellable=%v/goroutines=%d", w.Name, cancellable, goroutines), func(b *testing.B) {
							before := db.Retries()
							b.ResetTimer()
							r, err := measure.Run(db, w.Op(size()), measure.Load{Goroutines: goroutines, Ops: int64(b.N), Cancellable: cancellable})
							b.StopTimer()
							if err != nil {
								b.Fatal(err)
							}
							for _, p := range measure.Percentiles {
								b.ReportMetric(float64(r.Latencies.Percentile(p.Share)), p.Unit)
							}
							b.ReportMetric(float64(db.Retries()-before)/float64(b.N), "retries/op")
						})
					}
				}
			}
		})
	}
}
