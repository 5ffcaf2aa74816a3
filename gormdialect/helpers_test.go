//go:build cgo

package gormdialect_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/gormdialect"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

func TestMain(m *testing.M) {
	if live() {
		return
	}
	// GORM's cache of prepared statements keeps a goroutine when its pool closes.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
}

// User and Pet use every feature of a dialect. They have two kinds of keys, a
// unique index, a CHECK, defaults that the database computes, and a foreign key.
type User struct {
	ID      uint
	Name    string    `gorm:"uniqueIndex;not null"`
	Age     int       `gorm:"check:age_check,age >= 0"`
	Token   string    `gorm:"default:fresh"`
	Created time.Time `gorm:"default:CURRENT_TIMESTAMP"`
	Pets    []Pet     `gorm:"constraint:OnDelete:CASCADE"`
}

type Pet struct {
	Chip   string `gorm:"primaryKey"`
	UserID uint
}

func quiet() *gorm.Config { return &gorm.Config{Logger: logger.Discard} }

func file(t *testing.T) string {
	t.Helper()
	return servedLive(t, filepath.Join(t.TempDir(), "test.db"))
}

// open opens a database and closes it with the test.
func open(t *testing.T, dialector gorm.Dialector, config *gorm.Config) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(dialector, config)
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() {
		if _, err := driver.ReadStats(pool); errors.Is(err, driver.ErrNotOurs) {
			require.NoError(t, pool.Close())
			return
		}
		testdb.Close(t, pool)
	})
	return db
}

// migrated opens a new file with foreign keys on and creates the tables of User and
// Pet.
func migrated(t *testing.T, config *gorm.Config) *gorm.DB {
	t.Helper()
	db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), config)
	require.NoError(t, db.AutoMigrate(&User{}, &Pet{}))
	return db
}

func resize(t *testing.T, db *gorm.DB, conns int) {
	t.Helper()
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(conns)
}

// setup executes statements.
func setup(t *testing.T, db *gorm.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		require.NoError(t, db.Exec(statement).Error, statement)
	}
}

// requireSettings wants foreign keys as given and legacy_alter_table off, on the
// connection that db uses next.
func requireSettings(t *testing.T, db *gorm.DB, foreignKeys bool, context ...any) {
	t.Helper()
	var on, legacy bool
	require.NoError(t, db.Raw("PRAGMA foreign_keys").Scan(&on).Error)
	require.NoError(t, db.Raw("PRAGMA legacy_alter_table").Scan(&legacy).Error)
	require.Equal(t, foreignKeys, on, context...)
	require.False(t, legacy, context...)
}

// eachPool runs a test on a database of User and Pet. It uses each size of the
// pool (0 means no limit), with prepared statements and without.
func eachPool(t *testing.T, sizes []int, test func(t *testing.T, db *gorm.DB, size int)) {
	for _, prepare := range []bool{false, true} {
		for _, size := range sizes {
			t.Run(fmt.Sprintf("prepare=%t conns=%d", prepare, size), func(t *testing.T) {
				config := quiet()
				config.PrepareStmt = prepare
				db := migrated(t, config)
				resize(t, db, size)
				test(t, db, size)
			})
		}
	}
}

// model returns a model with one text field for each tag.
func model(tags ...string) any {
	var fields []reflect.StructField
	for i, tag := range tags {
		fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: reflect.TypeFor[string](), Tag: reflect.StructTag("gorm:" + strconv.Quote(tag))})
	}
	return reflect.New(reflect.StructOf(fields)).Interface()
}

// createTable returns the CREATE TABLE of a table.
func createTable(t *testing.T, db *gorm.DB, name string) (sql string) {
	t.Helper()
	require.NoError(t, db.Raw("SELECT sql FROM sqlite_master WHERE name = ?", name).Row().Scan(&sql))
	return sql
}

// outsideAndInside run a migration outside of a transaction and inside one.
var outsideAndInside = []func(db *gorm.DB, fn func(db *gorm.DB) error) error{
	func(db *gorm.DB, fn func(db *gorm.DB) error) error { return fn(db) },
	func(db *gorm.DB, fn func(db *gorm.DB) error) error { return db.Transaction(fn) },
}

// ways are the ways in which a program may call the migrator.
var ways = []struct {
	name string
	tx   bool // inside a transaction
	run  func(t *testing.T, db *gorm.DB, fn func(db *gorm.DB) error) error
}{
	{"pool", false, func(_ *testing.T, db *gorm.DB, fn func(db *gorm.DB) error) error { return fn(db) }},
	{"Connection", false, func(_ *testing.T, db *gorm.DB, fn func(db *gorm.DB) error) error { return db.Connection(fn) }},
	{"session", false, func(_ *testing.T, db *gorm.DB, fn func(db *gorm.DB) error) error {
		return fn(db.Session(&gorm.Session{PrepareStmt: true, Context: context.Background()}))
	}},
	{"Transaction", true, func(_ *testing.T, db *gorm.DB, fn func(db *gorm.DB) error) error { return db.Transaction(fn) }},
	{"nested", true, func(_ *testing.T, db *gorm.DB, fn func(db *gorm.DB) error) error {
		return db.Transaction(func(tx *gorm.DB) error { return tx.Transaction(fn) })
	}},
	{"prepared transaction", true, func(_ *testing.T, db *gorm.DB, fn func(db *gorm.DB) error) error {
		return db.Session(&gorm.Session{PrepareStmt: true}).Transaction(fn)
	}},
	{"no nesting", true, func(_ *testing.T, db *gorm.DB, fn func(db *gorm.DB) error) error {
		return db.Session(&gorm.Session{DisableNestedTransaction: true}).Transaction(fn)
	}},
	{"error not returned", true, func(t *testing.T, db *gorm.DB, fn func(db *gorm.DB) error) (err error) {
		require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
			err = fn(tx)
			return nil
		}))
		return err
	}},
	{"BEGIN", true, func(t *testing.T, db *gorm.DB, fn func(db *gorm.DB) error) error {
		return db.Connection(func(db *gorm.DB) error {
			db = db.Session(&gorm.Session{NewDB: true})
			require.NoError(t, db.Exec("BEGIN").Error)
			err := fn(db)
			require.NoError(t, db.Exec("COMMIT").Error, "the transaction is still open, whatever the migration did")
			return err
		})
	}},
}

// statements is a logger that records statements.
type statements struct {
	logger.Interface

	mu  sync.Mutex
	all []string
}

func (s *statements) LogMode(logger.LogLevel) logger.Interface { return s }

func (s *statements) Trace(_ context.Context, _ time.Time, fc func() (string, int64), _ error) {
	statement, _ := fc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, statement)
}

// requireQueries wants that all recorded statements are queries, and that there are
// some.
func (s *statements) requireQueries(t *testing.T, context ...any) {
	t.Helper()
	require.NotEmpty(t, s.all, context...)
	for _, statement := range s.all {
		require.Regexp(t, "(?i)^(SELECT|PRAGMA) ", strings.TrimSpace(statement), context...)
	}
}
