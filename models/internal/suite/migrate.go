package suite

import (
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
		recorder := newRecorder()
		db := open(t, &gorm.Config{Logger: recorder})
		require.NoError(t, models.Migrate(ctx(t), db))
		for _, name := range []string{"quotas", "contacts", "table_entries"} {
			require.True(t, db.Migrator().HasTable(name), name)
		}
		require.Len(t, recorder.writes(), len(models.All()), "one CREATE TABLE each: %q", recorder.writes())

		again := newRecorder()
		db = db.Session(&gorm.Session{Logger: again})
		require.NoError(t, models.Migrate(ctx(t), db))
		require.NoError(t, db.AutoMigrate(models.All()...))
		require.Empty(t, again.writes())
		require.NotEmpty(t, again.statements)
	})

	// Ensure that Table.Migrate creates a table once, and that its rows survive another
	// Migrate.
	t.Run("table", func(t *testing.T) {
		recorder := newRecorder()
		db := open(t, &gorm.Config{Logger: recorder})
		table := newTable(t, db, models.TableSpec{Name: "passwords"})
		require.NoError(t, table.Set(ctx(t), "alice", "secret"))
		require.Len(t, recorder.writes(), 2)
		require.NoError(t, table.Migrate(ctx(t)))
		require.Len(t, recorder.writes(), 2)
		value, ok, err := table.Lookup(ctx(t), "alice")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "secret", value)
	})

	// Ensure that tables which GORM created for Madmail's models are used unchanged, with
	// their other columns.
	t.Run("Madmail", func(t *testing.T) {
		recorder := newRecorder()
		db := open(t, &gorm.Config{Logger: recorder})
		require.NoError(t, db.AutoMigrate(&madmailQuota{}, &madmailContact{}, &madmailEntry{}))
		require.NoError(t, db.Create(&madmailQuota{Username: "alice", MaxStorage: 5, CreatedAt: 6, FirstLoginAt: 7, UsedToken: "8"}).Error)
		require.NoError(t, db.Create(&madmailContact{Slug: "abc", URL: appURL, Name: "Alice"}).Error)
		require.NoError(t, db.Create(&madmailEntry{Key: "key", Value: "value"}).Error)
		before := len(recorder.writes())
		require.NoError(t, models.Migrate(ctx(t), db))
		require.Equal(t, before, len(recorder.writes()), "%q", recorder.writes())

		row, err := newQuotas(t, db, 1).Get(ctx(t), "alice")
		require.NoError(t, err)
		require.Equal(t, models.Quota{Username: "alice", MaxStorage: 5, CreatedAt: 6}, row)
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
		require.Equal(t, madmailQuota{Username: "alice", MaxStorage: 50, CreatedAt: 6, FirstLoginAt: 7, UsedToken: "8"}, back)
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
)

func (madmailQuota) TableName() string   { return "quotas" }
func (madmailContact) TableName() string { return "contacts" }
func (madmailEntry) TableName() string   { return "table_entries" }
