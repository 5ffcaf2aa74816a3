//go:build cgo

package gormdialect_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	sqlite3 "github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/gormdialect"
)

// registered registers the driver under another name, once for the process.
var registered = sync.OnceValue(func() error { return driver.RegisterAs("gormdialect-test") })

// Ensure that each kind of data source name opens a working database, and that a wrong
// one is an error of gorm.Open.
func TestOpen(t *testing.T) {
	connector, err := driver.NewConnector(&driver.Config{Path: file(t)})
	require.NoError(t, err)
	require.NoError(t, registered())
	for name, dialector := range map[string]gorm.Dialector{
		"file":   gormdialect.Open(file(t)),
		"URI":    gormdialect.Open("file:" + file(t) + "?sqlite_sync_interval=1m"),
		"memory": gormdialect.Open(":memory:"),
		"shared": gormdialect.Open("file:gormdialect?mode=memory&cache=shared"),
		"direct": gormdialect.Open(file(t) + "?sqlite_in_memory=no"),
		"New":    gormdialect.New(gormdialect.Config{DSN: file(t)}),
		"name":   gormdialect.New(gormdialect.Config{DriverName: "gormdialect-test", DSN: file(t)}),
		"pool":   gormdialect.New(gormdialect.Config{Conn: sql.OpenDB(connector)}),
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, dialector, quiet())
			require.Equal(t, "sqlite", db.Name())
			require.NoError(t, db.AutoMigrate(&User{}, &Pet{}))
			require.NoError(t, db.Create(&User{Name: "alice"}).Error)
			var user User
			require.NoError(t, db.First(&user, "name = ?", "alice").Error)
		})
	}
	_, err = gorm.Open(gormdialect.Open(file(t)+"?sqlite_nonsense=1"), quiet())
	require.ErrorContains(t, err, "sqlite_nonsense")
}

// Ensure that a pool opened here keeps MaxIdleConns, and that a pool given as
// Config.Conn keeps its own limit.
func TestOpen_idleConns(t *testing.T) {
	own, err := sql.Open(driver.Name, file(t))
	require.NoError(t, err)
	for want, dialector := range map[int]gorm.Dialector{
		gormdialect.MaxIdleConns: gormdialect.Open(file(t)),
		2:                        gormdialect.New(gormdialect.Config{Conn: own}),
	} {
		pool, err := open(t, dialector, quiet()).DB()
		require.NoError(t, err)
		var conns []*sql.Conn
		for range gormdialect.MaxIdleConns + 5 {
			conn, err := pool.Conn(t.Context())
			require.NoError(t, err)
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			require.NoError(t, conn.Close())
		}
		require.Equal(t, want, pool.Stats().Idle)
	}
}

// Ensure that a second AutoMigrate executes nothing but queries, and that the
// schema is the one that the official dialect makes.
func TestAutoMigrate(t *testing.T) {
	recorder := &statements{Interface: logger.Discard}
	db := migrated(t, &gorm.Config{Logger: recorder})
	require.NotEmpty(t, recorder.all)
	recorder.all = nil
	require.NoError(t, db.AutoMigrate(&User{}, &Pet{}))
	require.NotEmpty(t, recorder.all)
	recorder.requireQueries(t)

	official := open(t, sqlite.Open(file(t)), quiet())
	require.NoError(t, official.AutoMigrate(&User{}, &Pet{}))
	require.Equal(t, schema(t, official), schema(t, db))
}

func schema(t *testing.T, db *gorm.DB) (out []map[string]any) {
	t.Helper()
	require.NoError(t, db.Raw("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").Scan(&out).Error)
	require.NotEmpty(t, out)
	return out
}

// Ensure that a file written with the official dialect opens with this one, and the
// other way round. Content and schema are equal, and nothing is left to migrate.
func TestInterchange(t *testing.T) {
	dialects := map[string]func(string) gorm.Dialector{"official": sqlite.Open, "sqlite-mem": gormdialect.Open}
	for writer, write := range dialects {
		for reader, read := range dialects {
			t.Run(writer+" to "+reader, func(t *testing.T) {
				path := file(t)
				users := []User{{Name: "alice", Age: 1, Pets: []Pet{{Chip: "a"}, {Chip: "b"}}}, {Name: "bob", Age: 2}}
				var before []map[string]any
				func() {
					db, err := gorm.Open(write(path), quiet())
					require.NoError(t, err)
					require.NoError(t, db.AutoMigrate(&User{}, &Pet{}))
					require.NoError(t, db.Create(&users).Error)
					before = schema(t, db)
					pool, err := db.DB()
					require.NoError(t, err)
					require.NoError(t, pool.Close())
				}()
				recorder := &statements{Interface: logger.Discard}
				db := open(t, read(path), &gorm.Config{Logger: recorder, TranslateError: true})
				require.NoError(t, db.AutoMigrate(&User{}, &Pet{}))
				recorder.requireQueries(t)
				require.Equal(t, before, schema(t, db))
				var back []User
				require.NoError(t, db.Preload("Pets").Order("id").Find(&back).Error)
				require.Len(t, back, 2)
				require.Len(t, back[0].Pets, 2)
				for i := range back {
					require.Equal(t, users[i].Token, back[i].Token)
					require.True(t, users[i].Created.Equal(back[i].Created))
				}
				require.ErrorIs(t, db.Create(&User{Name: "alice"}).Error, gorm.ErrDuplicatedKey)
				require.NoError(t, db.Create(&User{Name: "carol"}).Error)
			})
		}
	}
}

// Ensure that a statement returns the values that the database computed: for one row,
// for many rows, and for updates and deletes.
func TestReturning(t *testing.T) {
	db := migrated(t, quiet())
	one := User{Name: "alice"}
	require.NoError(t, db.Create(&one).Error)
	require.NotZero(t, one.ID)
	require.Equal(t, "fresh", one.Token)
	require.False(t, one.Created.IsZero())

	many := make([]User, 250)
	for i := range many {
		many[i] = User{Name: fmt.Sprint("user", i), Age: i}
	}
	require.NoError(t, db.CreateInBatches(&many, 100).Error)
	var ids []uint
	require.NoError(t, db.Model(&User{}).Where("name LIKE 'user%'").Order("age").Pluck("id", &ids).Error)
	for i := range many {
		require.Equal(t, ids[i], many[i].ID)
		require.Equal(t, "fresh", many[i].Token)
		require.False(t, many[i].Created.IsZero())
	}

	var updated []User
	require.NoError(t, db.Model(&updated).Clauses(clause.Returning{}).Where("age >= ?", 248).Update("age", gorm.Expr("age + 1000")).Error)
	require.Len(t, updated, 2)
	require.EqualValues(t, 2497, updated[0].Age+updated[1].Age)
	var deleted []User
	require.NoError(t, db.Clauses(clause.Returning{Columns: []clause.Column{{Name: "name"}}}).Where("age >= 1000").Delete(&deleted).Error)
	require.Len(t, deleted, 2)
	require.NotEmpty(t, deleted[0].Name)

	require.NoError(t, db.Model(&one).Update("created", time.Unix(1e9, 0)).Error)
	upsert := User{Name: "alice", Age: 9}
	require.NoError(t, db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "name"}}, DoUpdates: clause.AssignmentColumns([]string{"age"})}).Create(&upsert).Error)
	require.Equal(t, one.ID, upsert.ID)
	require.EqualValues(t, 1e9, upsert.Created.Unix())
}

// Ensure that a violated constraint is both GORM's error and SQLite's with
// TranslateError, and only SQLite's without.
func TestTranslate(t *testing.T) {
	for _, translate := range []bool{true, false} {
		config := quiet()
		config.TranslateError = translate
		db := migrated(t, config)
		alice := User{Name: "alice", Pets: []Pet{{Chip: "a"}}}
		require.NoError(t, db.Create(&alice).Error)
		require.NoError(t, db.Exec("CREATE TABLE deferred (user_id int REFERENCES users DEFERRABLE INITIALLY DEFERRED)").Error)
		for _, c := range []struct {
			name string
			err  error
			want error
			code sqlite3.ErrNoExtended
		}{
			{"unique", db.Create(&User{Name: "alice"}).Error, gorm.ErrDuplicatedKey, sqlite3.ErrConstraintUnique},
			{"primary key", db.Create(&Pet{Chip: "a", UserID: alice.ID}).Error, gorm.ErrDuplicatedKey, sqlite3.ErrConstraintPrimaryKey},
			{"integer key", db.Create(&User{ID: alice.ID, Name: "x"}).Error, gorm.ErrDuplicatedKey, sqlite3.ErrConstraintPrimaryKey},
			{"rowid", db.Exec("INSERT INTO pets (rowid, chip, user_id) SELECT rowid, 'z', user_id FROM pets").Error, gorm.ErrDuplicatedKey, sqlite3.ErrConstraintRowID},
			{"foreign key", db.Create(&Pet{Chip: "b", UserID: 999}).Error, gorm.ErrForeignKeyViolated, sqlite3.ErrConstraintForeignKey},
			{"at commit", db.Transaction(func(tx *gorm.DB) error { return tx.Exec("INSERT INTO deferred VALUES (999)").Error }), gorm.ErrForeignKeyViolated, sqlite3.ErrConstraintForeignKey},
			{"check", db.Create(&User{Name: "young", Age: -1}).Error, gorm.ErrCheckConstraintViolated, sqlite3.ErrConstraintCheck},
			{"update", db.Model(&alice).Update("age", -1).Error, gorm.ErrCheckConstraintViolated, sqlite3.ErrConstraintCheck},
			{"not null", db.Exec("INSERT INTO users (name) VALUES (NULL)").Error, nil, sqlite3.ErrConstraintNotNull},
		} {
			var sqliteErr sqlite3.Error
			require.ErrorAs(t, c.err, &sqliteErr, c.name)
			require.Equal(t, c.code, sqliteErr.ExtendedCode, c.name)
			require.Equal(t, translate && c.want != nil, c.want != nil && errors.Is(c.err, c.want), c.name)
		}
	}
}

// Ensure that Translate finds SQLite's error inside others, translates it once, and
// returns other errors unchanged.
func TestTranslate_wrapped(t *testing.T) {
	translator := gormdialect.Open("").(gorm.ErrorTranslator)
	unique := sqlite3.Error{Code: sqlite3.ErrConstraint, ExtendedCode: sqlite3.ErrConstraintUnique}
	for _, err := range []error{unique, fmt.Errorf("insert: %w", unique), errors.Join(errors.New("x"), fmt.Errorf("y: %w", unique))} {
		translated := translator.Translate(err)
		require.ErrorIs(t, translated, gorm.ErrDuplicatedKey)
		require.ErrorIs(t, translated, unique)
		require.Equal(t, translated, translator.Translate(translated))
	}
	for _, err := range []error{nil, errors.New("x"), sqlite3.Error{Code: sqlite3.ErrBusy}, gorm.ErrRecordNotFound, context.Canceled} {
		require.Equal(t, err, translator.Translate(err))
	}
}

// Ensure that a rollback to a savepoint undoes the statements after it, by name and in
// nested transactions, and that savepoints return their errors.
func TestSavepoints(t *testing.T) {
	eachPool(t, []int{1, 0}, func(t *testing.T, db *gorm.DB, _ int) {
		create := func(tx *gorm.DB, name string) {
			require.NoError(t, tx.Create(&User{Name: name}).Error)
		}
		names := func() (names []string) {
			require.NoError(t, db.Model(&User{}).Order("id").Pluck("name", &names).Error)
			return names
		}
		undo := errors.New("undo")

		require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
			create(tx, "kept")
			require.ErrorIs(t, tx.Transaction(func(tx *gorm.DB) error {
				create(tx, "undone")
				require.NoError(t, tx.Transaction(func(tx *gorm.DB) error {
					create(tx, "undone with it")
					return nil
				}))
				return undo
			}), undo)
			require.NoError(t, tx.Transaction(func(tx *gorm.DB) error {
				create(tx, "kept too")
				return nil
			}))
			require.Panics(t, func() {
				_ = tx.Transaction(func(tx *gorm.DB) error {
					create(tx, "undone by panic")
					panic("x")
				})
			})
			return nil
		}))
		require.Equal(t, []string{"kept", "kept too"}, names())

		for _, name := range []string{"point", "select", "a b", `a"b`, "a.b", "a;b", "?", "@x", "naïve"} {
			tx := db.Begin()
			create(tx, "before")
			require.NoError(t, tx.SavePoint(name).Error, name)
			create(tx, "after")
			require.NoError(t, tx.RollbackTo(name).Error, name)
			create(tx, "later")
			require.NoError(t, tx.RollbackTo(name).Error, "%s, again", name)
			require.ErrorContains(t, tx.Session(&gorm.Session{}).RollbackTo(name+" of another name").Error, "no such savepoint")
			require.NoError(t, tx.Commit().Error)
			require.Equal(t, []string{"kept", "kept too", "before"}, names())
			require.NoError(t, db.Where("name = ?", "before").Delete(&User{}).Error)

			require.ErrorIs(t, tx.SavePoint(name).Error, sql.ErrTxDone)
			require.ErrorIs(t, tx.RollbackTo(name).Error, sql.ErrTxDone)
		}

		// A handle that carries an error can roll back all the same.
		tx := db.Begin()
		tx.SavePoint("point")
		create(tx, "after")
		failed := tx.Where("nonsense = 1").Find(&[]User{})
		require.Error(t, failed.Error)
		failed.RollbackTo("point")
		require.NoError(t, tx.Commit().Error)
		require.Equal(t, []string{"kept", "kept too"}, names())

		// A transaction that SQLite has ended cannot begin a nested one.
		ctx, cancel := context.WithCancel(t.Context())
		tx = db.WithContext(ctx).Begin()
		cancel()
		require.Error(t, tx.Transaction(func(*gorm.DB) error {
			t.Error("a nested transaction began without a savepoint")
			return nil
		}))
		tx.Rollback()
	})
}

// Ensure that a program may write inside FindInBatches, and while rows are open.
func TestReadingWhileWriting(t *testing.T) {
	eachPool(t, []int{1, 2, 0}, func(t *testing.T, db *gorm.DB, conns int) {
		users := make([]User, 100)
		for i := range users {
			users[i].Name = fmt.Sprint("user", i)
		}
		require.NoError(t, db.CreateInBatches(&users, 30).Error)

		var batch []User
		require.NoError(t, db.FindInBatches(&batch, 7, func(tx *gorm.DB, _ int) error {
			for i := range batch {
				batch[i].Age++
			}
			if err := tx.Save(&batch).Error; err != nil {
				return err
			}
			return db.Create(&Pet{Chip: batch[0].Name, UserID: batch[0].ID}).Error
		}).Error)

		// A pool of one connection has none left beside open rows: there it
		// is the same transaction that reads and writes.
		inside := func(tx *gorm.DB) error {
			rows, err := tx.Model(&User{}).Order("id").Rows()
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var user User
				if err := tx.ScanRows(rows, &user); err != nil {
					return err
				}
				if err := tx.Model(&User{}).Where("id = ?", user.ID).Update("age", gorm.Expr("age + 10")).Error; err != nil {
					return err
				}
			}
			return rows.Err()
		}
		require.NoError(t, db.Transaction(inside))
		want := 11
		if conns != 1 {
			require.NoError(t, inside(db))
			want = 21
		}
		var ages []int
		require.NoError(t, db.Model(&User{}).Distinct().Pluck("age", &ages).Error)
		require.Equal(t, []int{want}, ages)
	})
}

// Ensure that concurrent transactions lose no update and see no SQLITE_BUSY.
func TestConcurrency(t *testing.T) {
	const goroutines, rounds = 32, 10
	eachPool(t, []int{1, 4, 0}, func(t *testing.T, db *gorm.DB, _ int) {
		require.NoError(t, db.Create(&User{Name: "counter"}).Error)
		var group sync.WaitGroup
		errs := make(chan error, goroutines)
		for i := range goroutines {
			group.Go(func() {
				for j := range rounds {
					if err := db.Transaction(func(tx *gorm.DB) error {
						var counter User
						if err := tx.Where("name = ?", "counter").Take(&counter).Error; err != nil {
							return err
						}
						if err := tx.Create(&Pet{Chip: fmt.Sprint(i, "-", j), UserID: counter.ID}).Error; err != nil {
							return err
						}
						return tx.Model(&counter).Update("age", counter.Age+1).Error
					}); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		group.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		var counter User
		require.NoError(t, db.Preload("Pets").Take(&counter).Error)
		require.Equal(t, goroutines*rounds, counter.Age)
		require.Len(t, counter.Pets, goroutines*rounds)
	})
}

// Ensure that Sync saves what was committed and that Stats counts it, through any
// handle. A handle of another driver is an error.
func TestSyncAndStats(t *testing.T) {
	path := file(t)
	config := quiet()
	config.PrepareStmt = true
	db := open(t, gormdialect.Open(path+"?sqlite_sync_interval=0"), config)
	require.NoError(t, db.AutoMigrate(&User{}, &Pet{}))
	require.NoError(t, db.Create(&User{Name: "alice"}).Error)
	stats, err := gormdialect.Stats(db)
	require.NoError(t, err)
	require.NotZero(t, stats.Unsaved)
	require.Equal(t, driver.RoleServer, stats.Role)

	require.NoError(t, gormdialect.Sync(t.Context(), db.Where("1 = 0")))
	stats, err = gormdialect.Stats(db.Session(&gorm.Session{}))
	require.NoError(t, err)
	require.Zero(t, stats.Unsaved)
	require.EqualValues(t, 1, stats.Saves.Count)
	var n int64
	require.NoError(t, open(t, sqlite.Open(path), quiet()).Model(&User{}).Count(&n).Error)
	require.EqualValues(t, 1, n)
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		_, err := gormdialect.Stats(tx)
		return err
	}))

	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, db.Create(&User{Name: "bob"}).Error)
	require.ErrorIs(t, gormdialect.Sync(over, db), context.Canceled)

	other := open(t, sqlite.Open(file(t)), quiet())
	require.ErrorIs(t, gormdialect.Sync(t.Context(), other), driver.ErrNotOurs)
	_, err = gormdialect.Stats(other)
	require.ErrorIs(t, err, driver.ErrNotOurs)
	require.ErrorIs(t, gormdialect.Sync(t.Context(), open(t, gormdialect.Open(":memory:"), quiet())), driver.ErrNoFile)
}
