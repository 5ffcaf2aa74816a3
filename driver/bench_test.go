//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// benchRows is the size of the table that the benchmarks work on.
const benchRows = 100_000

func benchTable(b *testing.B, db *sql.DB, filler int) {
	b.Helper()
	testdb.Exec(b, db, fmt.Sprintf(`CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n INT, filler BLOB);
		WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d)
		INSERT INTO t SELECT i, 'account '||i, 0, randomblob(%d) FROM c`, benchRows, filler))
}

// BenchmarkWrapper compares this driver with go-sqlite3 on one connection to a
// database in memory: what it adds to each call, with a context that cannot be
// cancelled and with one that can.
func BenchmarkWrapper(b *testing.B) {
	cancellable, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, work := range []struct {
		name string
		run  func(ctx context.Context, db *sql.DB, i int) error
	}{
		{"read", func(ctx context.Context, db *sql.DB, i int) error {
			var s string
			return db.QueryRowContext(ctx, "SELECT name FROM t WHERE id=?", (i*7919)%benchRows+1).Scan(&s)
		}},
		{"write", func(ctx context.Context, db *sql.DB, i int) error {
			_, err := db.ExecContext(ctx, "UPDATE t SET n=n+1 WHERE id=?", (i*7919)%benchRows+1)
			return err
		}},
		{"scan1000", func(ctx context.Context, db *sql.DB, i int) error {
			rows, err := db.QueryContext(ctx, "SELECT id, name FROM t WHERE id>? LIMIT 1000", (i*7919)%(benchRows-1000))
			if err != nil {
				return err
			}
			defer rows.Close()
			var id int
			var name string
			for rows.Next() {
				if err := rows.Scan(&id, &name); err != nil {
					return err
				}
			}
			return rows.Err()
		}},
	} {
		for _, c := range []struct {
			name string
			ctx  context.Context
		}{{"background", ctx}, {"cancellable", cancellable}} {
			for _, name := range []string{driver.Name, "sqlite3"} {
				b.Run(work.name+"/"+c.name+"/"+name, func(b *testing.B) {
					db, err := sql.Open(name, ":memory:?_stmt_cache_size=128")
					require.NoError(b, err)
					defer db.Close()
					db.SetMaxOpenConns(1)
					benchTable(b, db, 20)
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						if err := work.run(c.ctx, db, i); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// BenchmarkPool runs point reads, point writes and mixes of them from many
// goroutines, as a server does.
func BenchmarkPool(b *testing.B) {
	for _, writes := range []int{0, 10, 50, 100} {
		for _, goroutines := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("writes=%d%%/goroutines=%d", writes, goroutines), func(b *testing.B) {
				db, err := sql.Open(driver.Name, ":memory:")
				require.NoError(b, err)
				defer db.Close()
				db.SetMaxIdleConns(goroutines)
				benchTable(b, db, 20)
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				b.ResetTimer()
				for g := range goroutines {
					rnd := rand.New(rand.NewPCG(1, uint64(g)))
					wg.Go(func() {
						var s string
						for left.Add(-1) >= 0 {
							id, err := rnd.IntN(benchRows)+1, error(nil)
							if rnd.IntN(100) < writes {
								_, err = db.Exec("UPDATE t SET n=n+1 WHERE id=?", id)
							} else {
								err = db.QueryRow("SELECT name FROM t WHERE id=?", id).Scan(&s)
							}
							if err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

// BenchmarkSnapshot reports the latencies of statements while a database of 300
// MB is saved every second, beside the same load without a save. The load is
// that of a server that is not saturated: four goroutines that pause between
// their statements, one in ten of which writes.
func BenchmarkSnapshot(b *testing.B) {
	for _, saving := range []bool{false, true} {
		b.Run(fmt.Sprintf("saving=%v", saving), func(b *testing.B) {
			var saves, saved atomic.Int64
			cfg := driver.Config{Path: testdb.Path(b), SyncInterval: -1, OnSync: func(e driver.SyncEvent) {
				saves.Add(1)
				saved.Add(int64(e.Duration))
			}}
			if saving {
				cfg.SyncInterval = time.Second
			}
			connector, err := driver.NewConnector(&cfg)
			require.NoError(b, err)
			db := sql.OpenDB(connector)
			defer db.Close()
			benchTable(b, db, 2900)
			require.NoError(b, driver.Sync(ctx, db))
			saves.Store(0)
			saved.Store(0)
			var all []time.Duration
			b.ResetTimer()
			for range b.N {
				run, cancel := context.WithTimeout(ctx, 5*time.Second)
				var mu sync.Mutex
				var wg sync.WaitGroup
				for g := range 4 {
					rnd := rand.New(rand.NewPCG(2, uint64(g)))
					wg.Go(func() {
						var s string
						var mine []time.Duration
						for run.Err() == nil {
							id, err := rnd.IntN(benchRows)+1, error(nil)
							start := time.Now()
							if rnd.IntN(10) == 0 {
								_, err = db.Exec("UPDATE t SET n=n+1 WHERE id=?", id)
							} else {
								err = db.QueryRow("SELECT name FROM t WHERE id=?", id).Scan(&s)
							}
							mine = append(mine, time.Since(start))
							if err != nil {
								b.Error(err)
								return
							}
							time.Sleep(200 * time.Microsecond)
						}
						mu.Lock()
						all = append(all, mine...)
						mu.Unlock()
					})
				}
				wg.Wait()
				cancel()
			}
			slices.Sort(all)
			at := func(p float64) float64 {
				return float64(all[int(p*float64(len(all)-1))].Microseconds()) / 1000
			}
			b.ReportMetric(at(0.5), "p50-ms")
			b.ReportMetric(at(0.99), "p99-ms")
			b.ReportMetric(at(0.999), "p99.9-ms")
			b.ReportMetric(at(1), "max-ms")
			b.ReportMetric(float64(len(all))/float64(b.N), "statements/op")
			if n := float64(saves.Load()); n > 0 {
				b.ReportMetric(n/float64(b.N), "saves/op")
				b.ReportMetric(time.Duration(saved.Load()).Seconds()/n, "s/save")
			}
		})
	}
}
