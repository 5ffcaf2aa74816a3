//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/memconn"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
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

// BenchmarkWrapper compares this driver with go-sqlite3 on one connection, with
// a context that cannot be cancelled and with one that can. "sql" goes through
// database/sql, which starts a goroutine for each query under a context that
// can be cancelled. "driver" calls the drivers themselves.
//
// go-sqlite3 is there twice: on its own ":memory:" (sqlite3-), and on a
// database of this project's engine (engine-). The second tells what this
// package adds to each call. They take turns, a batch each, so that a
// disturbance of the machine disturbs all. The times and the speedups (how many
// times faster than go-sqlite3) are medians over the batches.
func BenchmarkWrapper(b *testing.B) {
	cancellable, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, work := range []struct {
		name  string
		batch int
		run   func(ctx context.Context, c benchConn, i int) error
	}{
		{"read", 100, func(ctx context.Context, c benchConn, i int) error {
			return c.query(ctx, "SELECT name FROM t WHERE id=?", (i*7919)%benchRows+1)
		}},
		{"write", 100, func(ctx context.Context, c benchConn, i int) error {
			return c.exec(ctx, "UPDATE t SET n=n+1 WHERE id=?", (i*7919)%benchRows+1)
		}},
		{"scan1000", 2, func(ctx context.Context, c benchConn, i int) error {
			return c.query(ctx, "SELECT name FROM t WHERE id>? LIMIT 1000", (i*7919)%(benchRows-1000))
		}},
	} {
		for _, level := range []string{"sql", "driver"} {
			for _, c := range []struct {
				name string
				ctx  context.Context
			}{{"background", ctx}, {"cancellable", cancellable}} {
				b.Run(work.name+"/"+level+"/"+c.name, func(b *testing.B) {
					const memory = ":memory:?_stmt_cache_size=128&_mutex=no"
					names := [3]string{"own", "sqlite3", "engine"}
					var conns [3]benchConn
					for i, db := range [3]*sql.DB{openOne(b, driver.Name, memory), openOne(b, "sqlite3", memory), openEngine(b)} {
						benchTable(b, db, 20)
						conns[i] = benchPool{db}
						if level == "driver" {
							conn, err := db.Conn(ctx)
							require.NoError(b, err)
							defer conn.Close()
							require.NoError(b, conn.Raw(func(dc any) error {
								conns[i] = benchDirect{dc.(benchDriverConn)}
								return nil
							}))
						}
					}
					var took [3][]float64
					var allocs [3]uint64
					var before, after runtime.MemStats
					batch := min(work.batch, b.N)
					rounds := b.N / batch
					for round := range rounds {
						for turn := range 3 {
							which := (round + turn) % 3
							count := round%64 == 0 // reading the counters stops the world
							if count {
								runtime.ReadMemStats(&before)
							}
							start := time.Now()
							for i := range batch {
								if err := work.run(c.ctx, conns[which], round*batch+i); err != nil {
									b.Fatal(err)
								}
							}
							took[which] = append(took[which], float64(time.Since(start).Nanoseconds())/float64(batch))
							if count {
								runtime.ReadMemStats(&after)
								allocs[which] += after.Mallocs - before.Mallocs
							}
						}
					}
					b.ReportMetric(median(took[0]), "ns/op")
					for which, name := range names {
						b.ReportMetric(float64(allocs[which])/float64((rounds+63)/64*batch), name+"-allocs/op")
						if which == 0 {
							continue
						}
						speedup := make([]float64, rounds)
						for i := range speedup {
							speedup[i] = took[which][i] / took[0][i]
						}
						b.ReportMetric(median(speedup), name+"-speedup")
					}
				})
			}
		}
	}
}

// BenchmarkWatch measures commits while nobody watches, and beside watchers: one that does
// not ask, one that does, and a hundred. They take turns, a batch each. The ratios to
// nobody are medians over the rounds. A busy watcher needs a processor of its own.
func BenchmarkWatch(b *testing.B) {
	const batch = 200
	db := openOne(b, driver.Name, ":memory:")
	benchTable(b, db, 20)
	cases := []struct {
		name     string
		watchers int
		asks     bool
	}{{"nobody", 0, false}, {"idle", 1, false}, {"one", 1, true}, {"hundred", 100, true}}
	took := make([][]float64, len(cases))
	rounds := max(b.N/batch/len(cases), 1)
	for round := range rounds {
		for turn := range cases {
			which := (round + turn) % len(cases)
			c := cases[which]
			watching, stop := context.WithCancel(ctx)
			var begun, ended sync.WaitGroup
			begun.Add(c.watchers)
			for range c.watchers {
				ended.Go(func() {
					first := true
					for range driver.Watch(watching, db) {
						if first {
							begun.Done()
						}
						if first = false; !c.asks {
							<-watching.Done()
						}
					}
				})
			}
			begun.Wait()
			start := time.Now()
			for i := range batch {
				testdb.Exec(b, db, fmt.Sprintf("UPDATE t SET n=n+1 WHERE id=%d", i%100+1))
			}
			took[which] = append(took[which], float64(time.Since(start).Nanoseconds())/batch)
			stop()
			ended.Wait()
		}
	}
	b.ReportMetric(median(took[0]), "ns/op")
	for which, c := range cases[1:] {
		ratio := make([]float64, rounds)
		for i := range ratio {
			ratio[i] = took[which+1][i] / took[0][i]
		}
		b.ReportMetric(median(ratio), c.name+"-ratio")
	}
}

// openOne opens a database with one connection, until the benchmark ends.
func openOne(b *testing.B, name, dsn string) *sql.DB {
	b.Helper()
	db, err := sql.Open(name, dsn)
	require.NoError(b, err)
	db.SetMaxOpenConns(1)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	return db
}

// openEngine opens an empty database of this project's engine by go-sqlite3, set up as
// this driver sets up its own.
func openEngine(b *testing.B) *sql.DB {
	b.Helper()
	s, err := store.Open(ctx, store.Options{Name: b.Name(), Logger: slog.Default()})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Release()) })
	db := openOne(b, "sqlite3", s.URI(url.Values{"_stmt_cache_size": {"128"}, "_mutex": {"no"}}))
	testdb.Exec(b, db, memconn.SetUp+"; "+memconn.SetUpCache)
	return db
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// benchConn runs statements whose one column is a text.
type benchConn interface {
	exec(ctx context.Context, query string, arg int) error
	query(ctx context.Context, query string, arg int) error
}

// benchPool is a benchConn by way of database/sql.
type benchPool struct{ *sql.DB }

func (p benchPool) exec(ctx context.Context, query string, arg int) error {
	_, err := p.ExecContext(ctx, query, arg)
	return err
}

func (p benchPool) query(ctx context.Context, query string, arg int) error {
	rows, err := p.QueryContext(ctx, query, arg)
	if err != nil {
		return err
	}
	defer rows.Close()
	var s string
	for rows.Next() {
		if err := rows.Scan(&s); err != nil {
			return err
		}
	}
	return rows.Err()
}

// benchDirect is a benchConn without database/sql.
type benchDirect struct{ benchDriverConn }

type benchDriverConn interface {
	sqldriver.ExecerContext
	sqldriver.QueryerContext
}

func (c benchDirect) exec(ctx context.Context, query string, arg int) error {
	_, err := c.ExecContext(ctx, query, []sqldriver.NamedValue{{Ordinal: 1, Value: int64(arg)}})
	return err
}

func (c benchDirect) query(ctx context.Context, query string, arg int) error {
	rows, err := c.QueryContext(ctx, query, []sqldriver.NamedValue{{Ordinal: 1, Value: int64(arg)}})
	if err != nil {
		return err
	}
	defer rows.Close()
	dest := make([]sqldriver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(dest); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
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
				b.ResetTimer()
				benchStatements(b, db, goroutines, writes, b.N)
			})
		}
	}
}

// BenchmarkIdleConns runs statements on a pool with database/sql's default of 2 idle
// connections, and on one that keeps all, by turns. "of-all" is the median
// of the ratios of their times: 1.1 is 10 % longer with the default.
func BenchmarkIdleConns(b *testing.B) {
	for _, writes := range []int{0, 10, 100} {
		for _, goroutines := range []int{16, 64} {
			b.Run(fmt.Sprintf("writes=%d%%/goroutines=%d", writes, goroutines), func(b *testing.B) {
				few, err := sql.Open(driver.Name, testdb.Path(b))
				require.NoError(b, err)
				defer few.Close()
				all, err := sql.Open(driver.Name, testdb.Path(b))
				require.NoError(b, err)
				defer all.Close()
				all.SetMaxIdleConns(goroutines)
				benchTable(b, few, 20)
				benchTable(b, all, 20)
				var ratios []float64
				b.ResetTimer()
				for range max(b.N, 1) {
					var took [2]time.Duration
					for i, db := range []*sql.DB{few, all} {
						start := time.Now()
						benchStatements(b, db, goroutines, writes, 5000)
						took[i] = time.Since(start)
					}
					ratios = append(ratios, float64(took[0])/float64(took[1]))
				}
				b.ReportMetric(median(ratios), "of-all")
			})
		}
	}
}

// benchStatements runs n statements from many goroutines. So many percent of them write.
func benchStatements(b *testing.B, db *sql.DB, goroutines, writes, n int) {
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
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
}

// BenchmarkSnapshot reports the latencies of statements while a database of 300 MB is
// saved every second, beside the same load without a save. The load is that of a
// server that is not saturated. Four goroutines pause between their statements. One
// statement in ten writes.
func BenchmarkSnapshot(b *testing.B) {
	for _, saving := range []bool{false, true} {
		b.Run(fmt.Sprintf("saving=%v", saving), func(b *testing.B) {
			var saves, saved atomic.Int64
			cfg := driver.Config{Path: testdb.Path(b), SyncInterval: driver.Never, OnSync: func(e driver.SyncEvent) {
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
