//go:build cgo

package gormdialect_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/gormdialect"
)

// Ensure that rows which refer to a table survive its rebuild with any ON DELETE, or
// that the rebuild is refused before any change.
func TestSession_referred(t *testing.T) {
	type owner struct {
		ID   uint
		Name string `gorm:"type:varchar(50)"`
	}
	for _, action := range []string{"CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION", "CASCADE DEFERRABLE INITIALLY DEFERRED", "NO ACTION DEFERRABLE INITIALLY DEFERRED"} {
		for _, way := range ways {
			for _, on := range []bool{true, false} {
				if !on && action != "CASCADE" {
					continue // nothing enforces the action
				}
				for _, conns := range []int{1, 0} {
					t.Run(fmt.Sprintf("%s/%s/enforced=%t/conns=%d", action, way.name, on, conns), func(t *testing.T) {
						db := open(t, gormdialect.Open(fmt.Sprintf("%s?_foreign_keys=%t", file(t), on)), quiet())
						resize(t, db, conns)
						setup(t, db,
							"CREATE TABLE owners (id integer PRIMARY KEY AUTOINCREMENT, name text, boss integer REFERENCES owners)",
							"CREATE TABLE things (chip text PRIMARY KEY, owner_id integer DEFAULT 1 REFERENCES owners ON DELETE "+action+")",
							"CREATE TABLE empty (owner_id integer NOT NULL REFERENCES owners ON DELETE "+action+")",
							"INSERT INTO owners VALUES (1, 'a', NULL), (2, 'b', NULL)", "INSERT INTO things VALUES ('x', 2), ('y', 2), ('z', NULL)",
						)
						before := take(t, db)
						err := way.run(t, db, func(db *gorm.DB) error { return db.Table("owners").Migrator().AlterColumn(&owner{}, "Name") })
						after := take(t, db)
						if way.tx && on {
							require.ErrorContains(t, err, "rows of things refer to it")
							require.Equal(t, before, after)
							return
						}
						require.NoError(t, err)
						require.Equal(t, before.rows, after.rows)
						require.NotEqual(t, before.facts["owners"], after.facts["owners"])
						var still bool
						require.NoError(t, db.Raw("PRAGMA foreign_keys").Scan(&still).Error)
						require.Equal(t, on, still)
					})
				}
			}
		}
	}
}

// Ensure that rows which refer to rows of the same table survive its rebuild, or that
// the rebuild is refused.
func TestSession_selfReferred(t *testing.T) {
	type node struct {
		ID   uint
		Name string `gorm:"type:varchar(50)"`
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), quiet())
			require.NoError(t, db.Exec("CREATE TABLE nodes (id integer PRIMARY KEY, name text, parent integer REFERENCES nodes ON DELETE CASCADE)").Error)
			require.NoError(t, db.Exec("INSERT INTO nodes VALUES (1, 'a', NULL), (2, 'b', 1), (3, 'c', 2)").Error)
			before := take(t, db)
			err := way.run(t, db, func(db *gorm.DB) error { return db.Table("nodes").Migrator().AlterColumn(&node{}, "Name") })
			if way.tx {
				require.ErrorContains(t, err, "rows of nodes refer to it")
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, before.rows, take(t, db).rows)
		})
	}
}

// Ensure that a migration runs on every kind of Config.Conn: a pool that is no sql.DB,
// a connection, a transaction.
func TestSession_pools(t *testing.T) {
	type owner struct {
		ID   uint
		Name string `gorm:"type:varchar(50)"`
	}
	for _, name := range []string{"DB", "Conn", "Tx", "wrapped"} {
		t.Run(name, func(t *testing.T) {
			pool, err := sql.Open(driver.Name, file(t)+"?_foreign_keys=1")
			require.NoError(t, err)
			defer pool.Close()
			for _, statement := range owners {
				_, err := pool.Exec(statement)
				require.NoError(t, err)
			}
			conn, err := pool.Conn(t.Context())
			require.NoError(t, err)
			defer conn.Close()
			config := gormdialect.Config{}
			refused := false
			switch name {
			case "DB":
				config.Conn = pool
			case "Conn":
				config.Conn = conn
			case "Tx":
				tx, err := conn.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				defer tx.Rollback()
				config.Conn, refused = tx, true
			case "wrapped":
				config.Conn, refused = wrapped{pool}, true
			}
			db, err := gorm.Open(gormdialect.New(config), quiet())
			require.NoError(t, err)
			err = db.Table("owners").Migrator().AlterColumn(&owner{}, "Name")
			if refused {
				require.ErrorContains(t, err, "rows of things refer to it")
				require.NoError(t, db.Exec("DELETE FROM things").Error)
				require.NoError(t, db.Table("owners").Migrator().AlterColumn(&owner{}, "Name"))
			} else {
				require.NoError(t, err)
			}
			var dataType string
			require.NoError(t, db.Raw("SELECT type FROM pragma_table_info('owners') WHERE name = 'name'").Row().Scan(&dataType))
			require.Equal(t, "varchar(50)", dataType)
		})
	}
}

// wrapped is a pool with only the methods that GORM needs.
type wrapped struct{ pool *sql.DB }

func (w wrapped) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	return w.pool.PrepareContext(ctx, query)
}

func (w wrapped) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return w.pool.ExecContext(ctx, query, args...)
}

func (w wrapped) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return w.pool.QueryContext(ctx, query, args...)
}

func (w wrapped) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return w.pool.QueryRowContext(ctx, query, args...)
}

func (w wrapped) BeginTx(ctx context.Context, opts *sql.TxOptions) (gorm.ConnPool, error) {
	return w.pool.BeginTx(ctx, opts)
}

// Ensure that a migration which fails at any statement changes nothing. The database,
// the connection's settings and earlier work of the caller's transaction stay as they
// are.
func TestSession_everyStatementFails(t *testing.T) {
	type owner struct {
		ID   uint
		Name string `gorm:"type:varchar(50)"`
	}
	for _, migration := range []struct {
		name string
		// tolerant is true if the migration has another way when a statement fails.
		tolerant bool
		run      func(db *gorm.DB) error
	}{
		{"AlterColumn", false, func(db *gorm.DB) error { return db.Table("owners").Migrator().AlterColumn(&owner{}, "Name") }},
		{"DropColumn", true, func(db *gorm.DB) error { return db.Migrator().DropColumn("owners", "extra") }},
		{"DropColumn, unique", true, func(db *gorm.DB) error { return db.Migrator().DropColumn("owners", "code") }},
		{"AddColumn", true, func(db *gorm.DB) error {
			return db.Table("owners").Migrator().AddColumn(model("column:made;type:datetime;default:CURRENT_TIMESTAMP;unique"), "made")
		}},
	} {
		for _, way := range ways {
			if migration.tolerant && !slices.Contains([]string{"pool", "error not returned", "BEGIN"}, way.name) {
				continue
			}
			t.Run(migration.name+"/"+way.name, func(t *testing.T) {
				db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), quiet())
				resize(t, db, 1)
				statements := []string{
					"DROP TABLE IF EXISTS owners", "DROP VIEW IF EXISTS v", "DROP VIEW IF EXISTS broken",
					"CREATE TABLE owners (id integer PRIMARY KEY AUTOINCREMENT, name text, extra text, code text UNIQUE)", "INSERT INTO owners (name) VALUES ('a')",
					"CREATE INDEX i ON owners (name)", "CREATE INDEX e ON owners (extra)", "ANALYZE",
					"CREATE TRIGGER tr AFTER INSERT ON owners BEGIN SELECT 1; END", "CREATE VIEW v AS SELECT * FROM owners", "CREATE VIEW broken AS SELECT 1 FROM nowhere",
				}
				reset := func() {
					setup(t, db, statements...)
				}
				reset()
				before := take(t, db)
				fail, n, failed := 0, 0, ""
				injected := errors.New("injected")
				hook := func(tx *gorm.DB) {
					statement := tx.Statement.SQL.String()
					if fail == 0 || strings.HasPrefix(statement, "COMMIT") || strings.HasPrefix(statement, "BEGIN") ||
						strings.HasPrefix(statement, "ROLLBACK") || strings.HasSuffix(statement, " = ON") || strings.HasPrefix(statement, "RELEASE") {
						return
					}
					if n++; n == fail {
						failed = statement
						tx.AddError(injected)
					}
				}
				require.NoError(t, db.Callback().Raw().Before("gorm:raw").Register("fail", hook))
				require.NoError(t, db.Callback().Row().Before("gorm:row").Register("fail", hook))
				for point := 1; ; point++ {
					fail, n = point, 0
					err := way.run(t, db, migration.run)
					reached := n
					fail = 0
					after := take(t, db)
					requireSettings(t, db, true, "after statement %d", point)
					if err == nil {
						// The last question is whether foreign keys are on again.
						require.True(t, migration.tolerant || reached < point || failed == "PRAGMA foreign_keys", "statement %d: %s", point, failed)
						require.Len(t, after.rows["owners"], 1)
						require.NotEqual(t, before.facts, after.facts)
						require.Subset(t, after.schema, slices.DeleteFunc(slices.Clone(before.schema), func(o string) bool { return strings.HasPrefix(o, "index | e ") }))
						if reached < point {
							require.Greater(t, point, 15)
							return
						}
						fail = 0
						reset()
						continue
					}
					require.ErrorIs(t, err, injected, "statement %d", point)
					require.Equal(t, before, after, "statement %d", point)
				}
			})
		}
	}
}

// Ensure that CreateTable creates all tables with their indexes, or none, in every way to
// call it. A later attempt succeeds when the cause is gone.
func TestSession_createTable(t *testing.T) {
	type Fruit struct {
		ID   uint
		Name string `gorm:"uniqueIndex:by_name;index:fruit_name"`
	}
	type Crate struct {
		ID      uint
		Name    string `gorm:"index:by_name"`
		FruitID uint
		Fruit   Fruit
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), quiet())
			setup(t, db, "CREATE TABLE x (a)", "CREATE INDEX fruit_name ON x (a)")
			before := take(t, db)
			for _, create := range []func(db *gorm.DB) error{
				func(db *gorm.DB) error { return db.Migrator().CreateTable(&Fruit{}) },
				func(db *gorm.DB) error { return db.Table("apples").Migrator().CreateTable(&Fruit{}) },
				func(db *gorm.DB) error { return db.AutoMigrate(&Fruit{}) },
				func(db *gorm.DB) error { return db.Migrator().CreateTable(&Crate{}, &Fruit{}) },
			} {
				require.ErrorContains(t, way.run(t, db, create), "already exists")
				require.Equal(t, before, take(t, db))
				requireSettings(t, db, true)
			}
			setup(t, db, "DROP TABLE x")
			require.ErrorContains(t, way.run(t, db, func(db *gorm.DB) error { return db.Migrator().CreateTable(&Fruit{}, &Crate{}) }), "by_name already exists")
			require.False(t, db.Migrator().HasTable(&Fruit{}))
			require.False(t, db.Migrator().HasTable(&Crate{}))
			require.NoError(t, way.run(t, db, func(db *gorm.DB) error {
				return db.Table("apples").Set("gorm:table_options", " STRICT").Migrator().CreateTable(&Fruit{})
			}))
			setup(t, db, "DROP INDEX by_name", "DROP INDEX fruit_name", "INSERT INTO apples (name) VALUES ('a')")
			require.ErrorContains(t, db.Exec("INSERT INTO apples (name) VALUES (x'00')").Error, "cannot store", "the table is STRICT")
			require.NoError(t, way.run(t, db, func(db *gorm.DB) error { return db.Migrator().CreateTable(&Fruit{}) }))
			require.True(t, db.Migrator().HasIndex(&Fruit{}, "by_name"))
			require.True(t, db.Migrator().HasIndex(&Fruit{}, "fruit_name"))
			requireSettings(t, db, true)
		})
	}
}

// Ensure that CreateTable is an error, and creates nothing, on a Config.Conn that begins
// no transactions.
func TestSession_noTransactions(t *testing.T) {
	pool, err := open(t, gormdialect.Open(file(t)), quiet()).DB()
	require.NoError(t, err)
	db, err := gorm.Open(gormdialect.New(gormdialect.Config{Conn: struct{ gorm.ConnPool }{pool}}), quiet())
	require.NoError(t, err)
	require.ErrorIs(t, db.Migrator().CreateTable(&User{}, &Pet{}), gorm.ErrInvalidTransaction)
	require.False(t, db.Migrator().HasTable(&User{}))
}

// Ensure that rows which a transaction has open end with an error when CreateTable fails
// in it. They must not look complete.
func TestSession_createTableOpenRows(t *testing.T) {
	db := open(t, gormdialect.Open(file(t)), quiet())
	setup(t, db, "CREATE TABLE x (a)", "CREATE INDEX by_name ON x (a)", "INSERT INTO x VALUES (1), (2), (3)")
	type Crate struct {
		ID   uint
		Name string `gorm:"index:by_name"`
	}
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		rows, err := tx.Raw("SELECT a FROM x").Rows()
		require.NoError(t, err)
		defer rows.Close()
		require.True(t, rows.Next())
		require.ErrorContains(t, tx.Migrator().CreateTable(&Crate{}), "by_name already exists")
		require.False(t, rows.Next())
		require.ErrorContains(t, rows.Err(), "abort due to ROLLBACK")
		return nil
	}))
}

// Ensure that a migration leaves no statement in GORM's cache of prepared statements.
func TestSession_prepared(t *testing.T) {
	config := quiet()
	config.PrepareStmt = true
	db := open(t, gormdialect.Open(file(t)), config)
	setup(t, db, owners...)
	cache := db.ConnPool.(*gorm.PreparedStmtDB).Stmts
	before := len(cache.Keys())
	require.NotZero(t, before)
	for _, run := range outsideAndInside {
		require.NoError(t, run(db, func(db *gorm.DB) error {
			return db.Table("things").Migrator().AlterColumn(model("column:owner_id;type:bigint"), "owner_id")
		}))
		require.NoError(t, run(db, func(db *gorm.DB) error {
			return db.Table("things").Migrator().AlterColumn(model("column:owner_id;type:int"), "owner_id")
		}))
	}
	require.Len(t, cache.Keys(), before)
}

// Ensure that a migration whose context ends after any statement is complete or changes
// nothing, and restores the connection's settings.
func TestSession_cancelledAnywhere(t *testing.T) {
	for _, way := range ways {
		if way.name == "BEGIN" || way.name == "error not returned" {
			continue // they need the context for what they do afterwards
		}
		t.Run(way.name, func(t *testing.T) {
			db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), quiet())
			resize(t, db, 1)
			setup(t, db, owners[0], "INSERT INTO owners (name) VALUES ('a'), ('b')", "CREATE INDEX i ON owners (name)", "CREATE VIEW v AS SELECT * FROM owners")
			end, n := 0, 0
			var cancel context.CancelFunc
			hook := func(*gorm.DB) {
				if n++; n == end {
					cancel()
				}
			}
			require.NoError(t, db.Callback().Raw().After("gorm:raw").Register("cancel", hook))
			require.NoError(t, db.Callback().Row().After("gorm:row").Register("cancel", hook))
			types := []string{"varchar(50)", "text"}
			for point := 1; ; point++ {
				end = 0
				before := take(t, db)
				var ctx context.Context
				ctx, cancel = context.WithCancel(t.Context())
				end, n = point, 0
				err := way.run(t, db.WithContext(ctx), func(db *gorm.DB) error {
					return db.WithContext(ctx).Table("owners").Migrator().AlterColumn(model("column:name;type:"+types[0]), "name")
				})
				end = 0
				cancel()
				after := take(t, db)
				requireSettings(t, db, true, "after statement %d", point)
				require.Equal(t, before.rows, after.rows)
				require.Equal(t, before.schema, after.schema)
				if err != nil {
					// A transaction of the caller's may be over before it is asked why.
					require.True(t, errors.Is(err, context.Canceled) || way.tx && errors.Is(err, sql.ErrTxDone), "statement %d: %v", point, err)
					require.Equal(t, before, after, "statement %d", point)
					continue
				}
				require.Contains(t, strings.Join(after.facts["owners"], "\n"), "name | "+types[0])
				types[0], types[1] = types[1], types[0]
				if n < point {
					require.Greater(t, point, 15)
					return
				}
			}
		})
	}
}

// Ensure that a dropped column whose context ends after any statement is gone, or that
// nothing has changed and the error is that of the context.
func TestSession_cancelledDrop(t *testing.T) {
	for point := 1; ; point++ {
		db := open(t, gormdialect.Open(file(t)), quiet())
		setup(t, db, "CREATE TABLE owners (id integer PRIMARY KEY, name text, note text)", "INSERT INTO owners VALUES (1, 'a', 'b')", "CREATE VIEW v AS SELECT name FROM owners")
		before := take(t, db)
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		hook := func(*gorm.DB) {
			if n++; n == point {
				cancel()
			}
		}
		require.NoError(t, db.Callback().Raw().After("gorm:raw").Register("cancel", hook))
		require.NoError(t, db.Callback().Row().After("gorm:row").Register("cancel", hook))
		err := db.WithContext(ctx).Table("owners").Migrator().DropColumn("owners", "note")
		reached := n
		cancel()
		after := take(t, db)
		if err != nil {
			require.ErrorIs(t, err, context.Canceled, "statement %d", point)
			require.Equal(t, before, after, "statement %d", point)
			continue
		}
		require.NotEqual(t, before.facts, after.facts, "statement %d", point)
		if reached < point {
			require.Greater(t, point, 15)
			return
		}
	}
}

// Ensure that repeated rebuilds of a table lose no write of other connections.
func TestSession_concurrent(t *testing.T) {
	db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), quiet())
	require.NoError(t, db.Exec("CREATE TABLE counters (id integer PRIMARY KEY, n integer, note text)").Error)
	require.NoError(t, db.Exec("INSERT INTO counters VALUES (1, 0, 'x')").Error)
	const writers, rounds = 8, 60
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range rounds {
				if err := db.Exec("UPDATE counters SET n = n + 1").Error; err != nil {
					t.Error(err)
				}
				if err := db.Exec("INSERT INTO counters (n, note) VALUES (0, 'more')").Error; err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	migrations := 0
	for running := true; running; migrations++ {
		select {
		case <-done:
			running = false
		default:
		}
		to := []string{"varchar(9)", "text"}[migrations%2]
		require.NoError(t, db.Table("counters").Migrator().AlterColumn(model("column:note;type:"+to), "note"))
	}
	var n, rows int
	require.NoError(t, db.Raw("SELECT n, (SELECT count(*) FROM counters) FROM counters WHERE id = 1").Row().Scan(&n, &rows))
	require.Equal(t, writers*rounds, n)
	require.Equal(t, writers*rounds+1, rows)
	t.Logf("%d migrations", migrations)
}

// Ensure that another migration may commit while a table is read without the write
// lock. The table is then read again.
func TestSession_changedWhileRead(t *testing.T) {
	db := open(t, gormdialect.Open(file(t)), quiet())
	require.NoError(t, db.Exec("CREATE TABLE t (id integer PRIMARY KEY, name text)").Error)
	require.NoError(t, db.Exec("INSERT INTO t VALUES (1, 'a')").Error)
	pool, err := db.DB()
	require.NoError(t, err)
	changed := false
	require.NoError(t, db.Callback().Row().Before("gorm:row").Register("other", func(tx *gorm.DB) {
		if !changed && strings.Contains(tx.Statement.SQL.String(), "pragma_table_xinfo") {
			changed = true
			_, err := pool.Exec("ALTER TABLE t ADD COLUMN other text DEFAULT 'kept'")
			require.NoError(t, err)
		}
	}))
	require.NoError(t, db.Table("t").Migrator().AlterColumn(model("column:name;type:varchar(9)"), "name"))
	require.True(t, changed)
	var row string
	require.NoError(t, db.Raw("SELECT name || ' ' || other FROM t").Row().Scan(&row))
	require.Equal(t, "a kept", row)
}

// Ensure that a migration stays on its connection with a plugin that chooses a pool for
// each statement, like gorm.io/plugin/dbresolver.
func TestSession_plugin(t *testing.T) {
	db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), quiet())
	setup(t, db, owners...)
	pool, err := db.DB()
	require.NoError(t, err)
	sent := 0
	send := func(tx *gorm.DB) {
		if _, ok := tx.Statement.ConnPool.(gorm.TxCommitter); !ok {
			tx.Statement.ConnPool = pool
			sent++
		}
	}
	require.NoError(t, db.Callback().Raw().Before("*").Register("send", send))
	require.NoError(t, db.Callback().Row().Before("*").Register("send", send))
	for _, way := range ways[:2] {
		before := take(t, db)
		to := []string{"varchar(50)", "text"}
		for _, to := range to {
			require.NoError(t, way.run(t, db, func(db *gorm.DB) error {
				return db.Table("owners").Migrator().AlterColumn(model("column:name;type:"+to), "name")
			}), way.name)
		}
		require.Equal(t, before.rows, take(t, db).rows)
	}
	require.NotZero(t, sent)
}

// changed gives columns of User and Pet other types, which needs a rebuild.
type changed struct {
	ID     uint
	Age    float64
	UserID int64 `gorm:"type:bigint"`
}

// Ensure that a connection on which foreign keys cannot be switched on again is
// discarded.
func TestSession_discarded(t *testing.T) {
	db := migrated(t, quiet())
	resize(t, db, 1)
	require.NoError(t, db.Callback().Raw().Before("gorm:raw").Register("fail", func(tx *gorm.DB) {
		if tx.Statement.SQL.String() == "PRAGMA foreign_keys = ON" {
			tx.AddError(errors.New("no"))
		}
	}))
	require.NoError(t, db.Table("users").Migrator().AlterColumn(&changed{}, "Age"))
	require.Error(t, db.Create(&Pet{Chip: "c", UserID: 999}).Error, "foreign keys are enforced")
}
