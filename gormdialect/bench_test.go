//go:build cgo

package gormdialect_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/gormdialect"
)

// median calls the functions in turn, several times, and returns the median time of
// each.
func median(rounds int, run ...func() time.Duration) []time.Duration {
	times := make([][]time.Duration, len(run))
	for range rounds {
		for i, fn := range run {
			times[i] = append(times[i], fn())
		}
	}
	medians := make([]time.Duration, len(run))
	for i := range run {
		slices.Sort(times[i])
		medians[i] = times[i][rounds/2]
	}
	return medians
}

// BenchmarkGuard rebuilds a table with the guard and without, and reports the ratio.
func BenchmarkGuard(b *testing.B) {
	for _, rows := range []int{1_000, 100_000} {
		for _, kind := range []struct{ name, table, values string }{
			{"rowid", "CREATE TABLE accounts (id integer PRIMARY KEY AUTOINCREMENT, name text, age int, note text)", "n, 'name ' || n, n % 100, hex(randomblob(100))"},
			{"index", "CREATE TABLE accounts (id integer PRIMARY KEY AUTOINCREMENT, name text UNIQUE, age int, note text, FOREIGN KEY (age) REFERENCES ages(age))", "n, 'name ' || n, n % 100, hex(randomblob(100))"},
			{"without rowid", "CREATE TABLE accounts (id integer, name text, age int, note text, PRIMARY KEY (name, id)) WITHOUT ROWID", "n, 'name ' || n, n % 100, hex(randomblob(100))"},
		} {
			b.Run(fmt.Sprintf("%s/rows=%d", kind.name, rows), func(b *testing.B) {
				alter := func(config gormdialect.Config) func() time.Duration {
					db, err := gorm.Open(gormdialect.New(config), quiet())
					require.NoError(b, err)
					b.Cleanup(func() {
						pool, err := db.DB()
						require.NoError(b, err)
						require.NoError(b, pool.Close())
					})
					for _, statement := range []string{
						"CREATE TABLE ages (age integer PRIMARY KEY)", kind.table,
						"WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < 99) INSERT INTO ages SELECT n FROM c",
						fmt.Sprintf("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %d) INSERT INTO accounts SELECT %s FROM c", rows, kind.values),
					} {
						require.NoError(b, db.Exec(statement).Error)
					}
					types := []any{
						&struct {
							Note string `gorm:"type:varchar(300)"`
						}{},
						&struct {
							Note string `gorm:"type:text"`
						}{},
					}
					n := 0
					return func() time.Duration {
						n++
						start := time.Now()
						require.NoError(b, db.Table("accounts").Migrator().AlterColumn(types[n%2], "Note"))
						return time.Since(start)
					}
				}
				times := median(max(b.N, 3), alter(gormdialect.Config{DSN: ":memory:"}), alter(gormdialect.Config{DSN: ":memory:", WithoutRebuildGuard: true}))
				b.ReportMetric(float64(times[0])/float64(times[1]), "with/without")
				b.ReportMetric(float64(times[0].Microseconds())/float64(rows), "µs/row")
			})
		}
	}
}

// BenchmarkIdleConns writes with 64 goroutines. It compares a pool that keeps
// MaxIdleConns with one that keeps the 2 of database/sql, and reports the ratio.
func BenchmarkIdleConns(b *testing.B) {
	write := func(idle int) func() time.Duration {
		db, err := gorm.Open(gormdialect.Open(":memory:"), quiet())
		require.NoError(b, err)
		pool, err := db.DB()
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, pool.Close()) })
		if idle > 0 {
			pool.SetMaxIdleConns(idle)
		}
		require.NoError(b, db.AutoMigrate(&User{}, &Pet{}))
		require.NoError(b, db.Create(&User{Name: "alice"}).Error)
		return func() time.Duration {
			start := time.Now()
			var group sync.WaitGroup
			for range 64 {
				group.Go(func() {
					for range 20 {
						if err := db.Model(&User{}).Where("name = ?", "alice").Update("age", gorm.Expr("age + 1")).Error; err != nil {
							b.Error(err)
						}
					}
				})
			}
			group.Wait()
			return time.Since(start)
		}
	}
	times := median(max(b.N, 5), write(0), write(2))
	b.ReportMetric(float64(times[1])/float64(times[0]), "two/many")
}
