package suite

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/models"
)

func migrate(t *testing.T, open Open) {
	// Ensure that Migrate creates a table for each model in an empty database, and that a
	// second migration executes only queries.
	t.Run("twice", func(t *testing.T) {
		recorder := NewRecorder()
		db := open(t, &gorm.Config{Logger: recorder})
		require.NoError(t, models.Migrate(ctx(t), db))
		created := 0
		for _, statement := range recorder.Writes() {
			if strings.HasPrefix(statement, "CREATE TABLE") {
				created++
			} else {
				require.Contains(t, statement, "idx_quotas_used_token")
			}
		}
		require.Equal(t, len(tables), created)
		for _, name := range tables {
			require.True(t, db.Migrator().HasTable(name), name)
		}
		require.True(t, db.Migrator().HasIndex(&models.Quota{}, "idx_quotas_used_token"))

		again := NewRecorder()
		require.NoError(t, models.Migrate(ctx(t), db.Session(&gorm.Session{Logger: again})))
		require.Empty(t, again.Writes())
		require.NotEmpty(t, again.statements)
	})

	// Ensure that Migrate adds missing columns, keeps the rows, and changes no other
	// column: a default and NOT NULL stay.
	t.Run("columns", func(t *testing.T) {
		db := open(t, config())
		require.NoError(t, db.Exec("CREATE TABLE quotas (username varchar(100) PRIMARY KEY, max_storage bigint NOT NULL DEFAULT 7)").Error)
		require.NoError(t, db.Exec("INSERT INTO quotas (username) VALUES ('alice')").Error)
		require.NoError(t, models.Migrate(ctx(t), db))
		require.NoError(t, db.Exec("INSERT INTO quotas (username, used_token) VALUES ('bob', 'token')").Error)
		require.Error(t, db.Exec("INSERT INTO quotas (username, max_storage) VALUES ('carol', NULL)").Error)
		rows, err := newQuotas(t, db, 1).List(ctx(t), "", 0)
		require.NoError(t, err)
		require.Equal(t, []models.Quota{{Username: "alice", MaxStorage: 7}, {Username: "bob", MaxStorage: 7, UsedToken: "token"}}, rows)
	})

	// Ensure that Table.Migrate creates a table once, and that its rows survive another
	// Migrate.
	t.Run("table", func(t *testing.T) {
		recorder := NewRecorder()
		db := open(t, &gorm.Config{Logger: recorder})
		table := newTable(t, db, models.TableSpec{Name: "passwords"})
		require.NoError(t, table.Set(ctx(t), "alice", "secret"))
		require.Len(t, recorder.Writes(), 2)
		require.NoError(t, table.Migrate(ctx(t)))
		require.Len(t, recorder.Writes(), 2)
		value, ok, err := table.Lookup(ctx(t), "alice")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "secret", value)
	})

	// Ensure that tables which GORM created for Madmail's models are used unchanged.
	t.Run("Madmail", func(t *testing.T) {
		recorder := NewRecorder()
		db := open(t, &gorm.Config{Logger: recorder})
		require.NoError(t, db.AutoMigrate(&madmailQuota{}, &madmailContact{}, &madmailEntry{}, &madmailBlocked{}, &madmailToken{}))
		require.NoError(t, db.Create(&madmailQuota{Username: "alice", MaxStorage: 5, CreatedAt: 6, FirstLoginAt: 7, LastLoginAt: 9, UsedToken: "8"}).Error)
		require.NoError(t, db.Create(&madmailContact{Slug: "abc", URL: appURL, Name: "Alice"}).Error)
		require.NoError(t, db.Create(&madmailEntry{Key: "key", Value: "value"}).Error)
		before := len(recorder.Writes())
		require.NoError(t, models.Migrate(ctx(t), db))
		require.Equal(t, before, len(recorder.Writes()), "%q", recorder.Writes())

		row, err := newQuotas(t, db, 1).Get(ctx(t), "alice")
		require.NoError(t, err)
		require.Equal(t, models.Quota{Username: "alice", MaxStorage: 5, CreatedAt: 6, FirstLoginAt: 7, LastLoginAt: 9, UsedToken: "8"}, row)
		require.NoError(t, newQuotas(t, db, 1).Set(ctx(t), "alice", 50))
		contact, err := models.NewContacts(db).Lookup(ctx(t), "abc")
		require.NoError(t, err)
		require.Equal(t, webURL, contact.WebURL())
		entries, err := models.NewTable(db, models.TableSpec{Name: "table_entries"})
		require.NoError(t, err)
		value, ok, err := entries.Lookup(ctx(t), "key")
		require.NoError(t, err)
		require.True(t, ok && value == "value")
		var back madmailQuota
		require.NoError(t, db.Take(&back).Error)
		require.Equal(t, madmailQuota{Username: "alice", MaxStorage: 50, CreatedAt: 6, FirstLoginAt: 7, LastLoginAt: 9, UsedToken: "8"}, back)
	})

	// Ensure that of the tables quota and quotas the one with rows is used. Two tables
	// with different rows are an error of every call, and no row is written.
	t.Run("two tables", func(t *testing.T) {
		db := open(t, config())
		require.NoError(t, models.Migrate(ctx(t), db))
		require.NoError(t, db.AutoMigrate(&madmailQuota{}), "Madmail's server can start on a database of ours")
		limit := func() int64 {
			t.Helper()
			limit, err := newQuotas(t, db, 1).Limit(ctx(t), "alice")
			require.NoError(t, err)
			return limit.Bytes
		}
		require.EqualValues(t, 1, limit())
		require.NoError(t, db.Table("quotas").Create(&models.Quota{Username: "alice", MaxStorage: 5, CreatedAt: 6}).Error)
		require.EqualValues(t, 5, limit(), "quotas has rows and quota has none")
		require.NoError(t, models.Migrate(ctx(t), db))
		require.NoError(t, db.Create(&madmailQuota{Username: "alice", MaxStorage: 5, CreatedAt: 6}).Error)
		require.EqualValues(t, 5, limit(), "both have the same rows")
		require.NoError(t, newQuotas(t, db, 1).Set(ctx(t), "alice", 6))
		var kept models.Quota
		require.NoError(t, db.Table("quotas").Take(&kept).Error)
		require.EqualValues(t, 5, kept.MaxStorage, "quota is used, as in Madmail")

		quotas := newQuotas(t, db, 1)
		for name, call := range map[string]func() error{
			"Limit":   func() error { _, err := quotas.Limit(ctx(t), "alice"); return err },
			"Set":     func() error { return quotas.Set(ctx(t), "alice", 9) },
			"List":    func() error { _, err := quotas.List(ctx(t), "", 0); return err },
			"Delete":  func() error { return quotas.Delete(ctx(t), "alice") },
			"Migrate": func() error { return models.Migrate(ctx(t), db) },
			"Copy from": func() error {
				_, err := models.Copy(ctx(t), db, open(t, config()), models.CopyOptions{})
				return err
			},
			"Copy to": func() error {
				_, err := models.Copy(ctx(t), fresh(t, open), db, models.CopyOptions{})
				return err
			},
		} {
			require.ErrorIs(t, call(), models.ErrTwoTables, name)
		}
		require.NoError(t, db.Table("quotas").Where("1 = 1").Delete(&models.Quota{}).Error)
		require.EqualValues(t, 6, limit(), "quota has rows and quotas has none")
		found, err := quotas.Limit(ctx(t), "alice")
		require.NoError(t, err)
		require.EqualValues(t, 6, found.Bytes)

		// An operator renames the table of a running server.
		require.NoError(t, db.Migrator().DropTable("quotas"))
		require.NoError(t, db.Migrator().RenameTable("quota", "quotas"))
		_, err = quotas.Limit(ctx(t), "alice")
		require.Error(t, err)
		for range 100 { // each connection has prepared statements
			if found, err = quotas.Limit(ctx(t), "alice"); err == nil {
				break
			}
		}
		require.NoError(t, err, "a store looks again after an error")
		require.EqualValues(t, 6, found.Bytes)
	})

	// Ensure that several processes may migrate one database at the same time.
	t.Run("at once", func(t *testing.T) {
		db := open(t, config())
		for _, err := range atOnce(8, func(int) error {
			if err := models.Migrate(ctx(t), db); err != nil {
				return err
			}
			table, err := models.NewTable(db, models.TableSpec{Name: "settings"})
			if err != nil {
				return err
			}
			return table.Migrate(ctx(t))
		}) {
			require.NoError(t, err)
		}
	})
}

// Models with the columns and the index of Madmail's tables.
type (
	madmailQuota struct {
		Username     string `gorm:"primaryKey"`
		MaxStorage   int64
		CreatedAt    int64
		FirstLoginAt int64
		LastLoginAt  int64
		UsedToken    string `gorm:"index:idx_used_token_pending;size:100"`
	}
	madmailContact struct {
		Slug      string `gorm:"primaryKey"`
		URL       string `gorm:"not null"`
		Name      string
		CreatedAt time.Time
	}
	madmailEntry struct {
		Key   string `gorm:"primaryKey"`
		Value string `gorm:"not null"`
	}
	madmailBlocked struct {
		Username  string `gorm:"primaryKey"`
		Reason    string
		BlockedAt time.Time `gorm:"autoCreateTime"`
	}
	madmailToken struct {
		Token     string `gorm:"primaryKey"`
		MaxUses   int    `gorm:"default:1"`
		UsedCount int    `gorm:"default:0"`
		Comment   string
		CreatedAt time.Time
		ExpiresAt *time.Time
	}
)

func (madmailQuota) TableName() string   { return "quota" }
func (madmailBlocked) TableName() string { return "blocked_users" }
func (madmailToken) TableName() string   { return "registration_tokens" }
func (madmailContact) TableName() string { return "contacts" }
func (madmailEntry) TableName() string   { return "table_entries" }
