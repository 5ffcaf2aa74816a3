//go:build cgo

package gormdialect_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that a model can be migrated step by step, method by method, with any size of
// the pool.
func TestMigrator(t *testing.T) {
	for _, conns := range []int{1, 0} {
		t.Run(fmt.Sprintf("conns=%d", conns), func(t *testing.T) {
			db := migrated(t, quiet())
			resize(t, db, conns)
			require.NoError(t, db.Create(&User{Name: "alice", Age: 7}).Error)
			m := db.Migrator()
			require.Equal(t, "main", m.CurrentDatabase())
			tables, err := m.GetTables()
			require.NoError(t, err)
			require.Subset(t, tables, []string{"users", "pets"})

			type User struct {
				ID       uint
				Name     string `gorm:"uniqueIndex;not null"`
				Age      string `gorm:"check:age_check,age <> 'x'"`
				Nickname string `gorm:"index"`
			}
			require.False(t, m.HasColumn(&User{}, "Nickname"))
			require.NoError(t, m.AddColumn(&User{}, "Nickname"))
			require.True(t, m.HasColumn(&User{}, "nickname"))
			require.NoError(t, m.CreateIndex(&User{}, "Nickname"))
			require.True(t, m.HasIndex(&User{}, "idx_users_nickname"))
			require.NoError(t, m.RenameIndex(&User{}, "idx_users_nickname", "idx_other"))
			require.True(t, m.HasIndex(&User{}, "idx_other"))
			require.NoError(t, m.AlterColumn(&User{}, "Age"))
			types, err := m.ColumnTypes(&User{})
			require.NoError(t, err)
			found := map[string]string{}
			for _, c := range types {
				found[c.Name()] = c.DatabaseTypeName()
			}
			require.Equal(t, "text", found["age"])
			require.True(t, m.HasIndex(&User{}, "idx_other"), "kept by AlterColumn")
			require.True(t, m.HasIndex(&User{}, "idx_users_name"), "kept by AlterColumn")
			require.NoError(t, m.DropIndex(&User{}, "idx_other"))
			require.False(t, m.HasIndex(&User{}, "idx_other"))

			require.True(t, m.HasConstraint(&User{}, "age_check"))
			require.NoError(t, m.DropConstraint(&User{}, "age_check"))
			require.False(t, m.HasConstraint(&User{}, "age_check"))
			require.NoError(t, db.Exec("UPDATE users SET age = -1").Error)
			require.NoError(t, m.CreateConstraint(&User{}, "age_check"))
			require.True(t, m.HasConstraint(&User{}, "age_check"))
			require.Error(t, db.Exec("UPDATE users SET age = 'x'").Error)

			require.NoError(t, m.CreateIndex(&User{}, "Nickname"))
			require.NoError(t, m.DropColumn(&User{}, "Nickname"))
			require.False(t, m.HasColumn(&User{}, "nickname"))
			require.False(t, m.HasIndex(&User{}, "idx_users_nickname"))
			require.True(t, m.HasIndex(&User{}, "idx_users_name"), "kept by DropColumn")
			require.NoError(t, m.RenameColumn(&User{}, "age", "years"))
			require.True(t, m.HasColumn("users", "years"))
			require.NoError(t, m.RenameTable("users", "people"))
			require.True(t, m.HasTable("people"))
			var name string
			require.NoError(t, db.Table("people").Where("years = -1").Pluck("name", &name).Error)
			require.Equal(t, "alice", name)
			require.NoError(t, m.DropTable("people", "pets"))
			require.False(t, m.HasTable("people"))
			require.False(t, m.HasTable("pets"))
		})
	}
}

// Ensure that a rebuild loses no row that refers to the table, no index and no trigger.
// Foreign keys stay enforced, with any limits of the pool.
func TestMigrator_rebuildLosesNothing(t *testing.T) {
	for _, pool := range []struct {
		name                string
		maxOpen, maxIdle    int
		prepare, inBackward bool
	}{
		{name: "one", maxOpen: 1, maxIdle: 1},
		{name: "none idle", maxOpen: 0, maxIdle: -1},
		{name: "prepared", maxOpen: 0, maxIdle: -1, prepare: true},
		{name: "many", maxOpen: 0, maxIdle: 10},
	} {
		t.Run(pool.name, func(t *testing.T) {
			config := quiet()
			config.PrepareStmt = pool.prepare
			db := migrated(t, config)
			sqlDB, err := db.DB()
			require.NoError(t, err)
			sqlDB.SetMaxOpenConns(pool.maxOpen)
			sqlDB.SetMaxIdleConns(pool.maxIdle)
			require.NoError(t, db.Create(&User{Name: "alice", Pets: []Pet{{Chip: "a"}, {Chip: "b"}}}).Error)
			require.NoError(t, db.Exec("CREATE INDEX by_age ON users (age DESC) WHERE age > 3").Error)
			require.NoError(t, db.Exec("CREATE TABLE log (entry text)").Error)
			require.NoError(t, db.Exec("CREATE TRIGGER renamed AFTER UPDATE OF name ON users BEGIN INSERT INTO log VALUES (new.name || '@?'); END").Error)

			type User struct {
				ID   uint
				Name string `gorm:"uniqueIndex;not null"`
				Age  string `gorm:"check:age_check,age >= 0"`
			}
			type wide struct {
				ID   uint
				Name string `gorm:"type:varchar(99)"`
				Age  string `gorm:"unique;check:age_check,age >= 0"`
			}
			m := db.Migrator()
			for _, change := range []struct {
				name string
				run  func() error
			}{
				{"AutoMigrate", func() error { return db.AutoMigrate(&User{}) }},
				{"AlterColumn", func() error { return db.Table("users").Migrator().AlterColumn(&wide{}, "Name") }},
				{"DropColumn", func() error { return m.DropColumn(&User{}, "token") }},
				{"DropConstraint", func() error { return m.DropConstraint(&User{}, "age_check") }},
				{"CreateConstraint", func() error { return m.CreateConstraint(&User{}, "age_check") }},
				{"CreateConstraint, unique", func() error { return db.Table("users").Migrator().CreateConstraint(&wide{}, "Age") }},
			} {
				name := change.name
				require.NoError(t, change.run(), name)
				var n int64
				require.NoError(t, db.Model(&Pet{}).Count(&n).Error)
				require.EqualValues(t, 2, n, "pets after %s", name)
				require.NoError(t, db.Raw("SELECT count(*) FROM sqlite_master WHERE name IN ('by_age', 'renamed', 'idx_users_name')").Scan(&n).Error)
				require.EqualValues(t, 3, n, "indexes and triggers after %s", name)
			}
			require.NoError(t, db.Exec("UPDATE users SET name = 'bob'").Error)
			var entry string
			require.NoError(t, db.Table("log").Pluck("entry", &entry).Error)
			require.Equal(t, "bob@?", entry)
			for range 4 {
				require.Error(t, db.Create(&Pet{Chip: "c", UserID: 999}).Error, "foreign keys are enforced")
			}

			// A migration that fails leaves the table as it was.
			require.NoError(t, db.Exec("CREATE INDEX on_expr ON users (length(age))").Error)
			before := schema(t, db)
			type user struct {
				ID   uint
				Name string
				Age  int `gorm:"check:impossible,age > 1000"`
			}
			require.Error(t, db.Table("users").Migrator().CreateConstraint(&user{}, "impossible"))
			require.Equal(t, before, schema(t, db))

			require.NoError(t, db.Migrator().DropTable(&User{}))
			var pets int64
			require.NoError(t, db.Model(&Pet{}).Count(&pets).Error)
			require.EqualValues(t, 2, pets)
		})
	}
}
