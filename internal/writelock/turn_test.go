//go:build cgo && unix

package writelock_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/latency"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
	"github.com/sqlite-mem/sqlite-mem/internal/writelock"
)

// BenchmarkTurn runs point writes from many goroutines with turns of several lengths, by
// turns, in rounds of 120 ms: -benchtime 20x is 20 rounds. Of each turn it reports medians
// of ratios to 1 ms (over 1: better): of the throughput, and of the writes in a second of
// processor time. The latter stands some other work on the machine. It also reports two
// percentiles of the latencies in all rounds.
func BenchmarkTurn(b *testing.B) {
	const rows, round = 100_000, 120 * time.Millisecond
	turns := []time.Duration{time.Millisecond, 500 * time.Microsecond, 250 * time.Microsecond, 100 * time.Microsecond}
	defer writelock.SetTurn(writelock.SetTurn(turns[0]))
	for _, goroutines := range []int{2, 8, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			db, err := sql.Open(driver.Name, testdb.Path(b)+"?sqlite_sync_interval=never")
			require.NoError(b, err)
			defer db.Close()
			db.SetMaxIdleConns(goroutines)
			_, err = db.Exec("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n INT); "+
				"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<?) INSERT INTO t SELECT i, 'account'||i||'@example.org', 0 FROM c", rows)
			require.NoError(b, err)
			write := func(i int) (done, perCPU float64, all latency.Histogram) {
				var mu sync.Mutex // guards all
				var wg sync.WaitGroup
				start, used := time.Now(), processTime(b)
				for g := range goroutines {
					wg.Go(func() {
						var mine latency.Histogram
						rnd := rand.New(rand.NewPCG(uint64(i), uint64(g)))
						for before := time.Now(); before.Sub(start) < round; {
							if _, err := db.Exec("UPDATE t SET n=n+1 WHERE id=?", rnd.IntN(rows)+1); err != nil {
								b.Error(err)
								return
							}
							now := time.Now()
							mine.Add(now.Sub(before))
							before = now
						}
						mu.Lock()
						all.Merge(&mine)
						mu.Unlock()
					})
				}
				wg.Wait()
				n := float64(all.Count())
				return n / float64(time.Since(start)), n / float64(processTime(b)-used), all
			}
			write(0)
			latencies := make([]latency.Histogram, len(turns))
			speed, perCPU := make([][]float64, len(turns)), make([][]float64, len(turns))
			b.ResetTimer()
			for n := range max(b.N, 1) {
				done, cpu := make([]float64, len(turns)), make([]float64, len(turns))
				for _, i := range rand.Perm(len(turns)) {
					writelock.SetTurn(turns[i])
					var l latency.Histogram
					done[i], cpu[i], l = write(n)
					latencies[i].Merge(&l)
				}
				for i := range turns {
					speed[i] = append(speed[i], done[i]/done[0])
					perCPU[i] = append(perCPU[i], cpu[i]/cpu[0])
				}
			}
			for i, turn := range turns {
				b.ReportMetric(median(speed[i]), fmt.Sprint(turn, "-speed"))
				b.ReportMetric(median(perCPU[i]), fmt.Sprint(turn, "-per-cpu"))
				b.ReportMetric(float64(latencies[i].Percentile(0.5).Microseconds()), fmt.Sprint(turn, "-p50-µs"))
				b.ReportMetric(float64(latencies[i].Percentile(0.99).Microseconds()), fmt.Sprint(turn, "-p99-µs"))
			}
		})
	}
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// processTime is the processor time of this process.
func processTime(b *testing.B) time.Duration {
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
