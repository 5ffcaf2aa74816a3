//go:build cgo

package models_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sqlite-mem/sqlite-mem/models"
	"github.com/sqlite-mem/sqlite-mem/models/internal/suite"
)

// A madmail is a database of a version of Madmail. The statements are the content of
// sqlite_master, and the times are texts, as that version writes them.
type madmail struct {
	statements []string
	quotas     string           // the table of quotas
	passwords  models.TableSpec // the table of passwords
	settings   models.TableSpec // the table of settings
	login      bool             // quotas has the columns about logins
	contacts   bool             // there is a table contacts
	adds       []string         // the statements of a migration, as regular expressions
}

const (
	createBlocked = "^CREATE TABLE `blocked_users`"
	createTokens  = "^CREATE TABLE `registration_tokens`"
	createEntries = "^CREATE TABLE `table_entries`"
)

var madmails = map[string]madmail{
	// A version before registration tokens, of whose tables GORM makes quotas, too. The
	// table of passwords is that of its module sql_table.
	"early": {
		statements: []string{
			"CREATE TABLE `quotas` (`username` text,`max_storage` integer,`created_at` integer,PRIMARY KEY (`username`))",
			"CREATE TABLE `contacts` (`slug` text,`url` text NOT NULL,`name` text,`created_at` datetime,PRIMARY KEY (`slug`))",
			"CREATE TABLE passwords (\n\t\t\t\t\tkey TEXT PRIMARY KEY NOT NULL,\n\t\t\t\t\tvalue TEXT NOT NULL\n\t\t\t\t)",
			"INSERT INTO quotas VALUES ('alice@example.org', 1073741824, 1700000000), ('reset@example.org', NULL, 1700000001), ('__GLOBAL_DEFAULT__', 2147483648, 0)",
			"INSERT INTO contacts VALUES ('ab', 'openpgp4fpr:0123456789ABCDEF0123456789ABCDEF01234567#a=b', 'Alice', '2025-01-31 12:34:56.789123456+03:30')",
			"INSERT INTO contacts VALUES ('kept', 'reserved', NULL, NULL)",
			"INSERT INTO passwords VALUES ('alice@example.org', 'bcrypt:$2a$10$x'), ('__REGISTRATION_OPEN__', 'true')",
		},
		quotas:    "quotas",
		passwords: models.TableSpec{Name: "passwords"},
		settings:  models.TableSpec{Name: "passwords"},
		contacts:  true,
		adds: []string{"^ALTER TABLE .*`first_login_at` integer$", "^ALTER TABLE .*`last_login_at` integer$", "^ALTER TABLE .*`used_token` text$",
			createEntries, createBlocked, createTokens},
	},

	// v0.47.1, the last version in Go. Its GORM dialect is over modernc.org/sqlite 1.34.5,
	// which writes time.Time.String. The tables and times are those that its package
	// internal/db wrote.
	"Go": {
		statements: []string{
			"CREATE TABLE `quota` (`username` text,`max_storage` integer,`created_at` integer,`first_login_at` integer,`last_login_at` integer,`used_token` text,PRIMARY KEY (`username`))",
			"CREATE INDEX `idx_used_token_pending` ON `quota`(`used_token`)",
			"CREATE TABLE `blocked_users` (`username` text,`reason` text,`blocked_at` datetime,PRIMARY KEY (`username`))",
			"CREATE TABLE `message_stats` (`name` text,`count` integer,PRIMARY KEY (`name`))",
			"CREATE TABLE `registration_tokens` (`token` text,`max_uses` integer DEFAULT 1,`used_count` integer DEFAULT 0,`comment` text,`created_at` datetime,`expires_at` datetime,PRIMARY KEY (`token`))",
			"CREATE TABLE `contacts` (`slug` text,`url` text NOT NULL,`name` text,`created_at` datetime,PRIMARY KEY (`slug`))",
			"CREATE TABLE `passwords` (`key` text,`value` text NOT NULL,PRIMARY KEY (`key`))",
			"CREATE TABLE `table_entries` (`key` text,`value` text NOT NULL,PRIMARY KEY (`key`))",
			"INSERT INTO quota VALUES ('alice@example.org', 1073741824, 1700000000, 1700000100, 1700000200, ''), ('reset@example.org', NULL, 1700000001, 1, 0, 'friends'), " +
				"('__GLOBAL_DEFAULT__', 2147483648, 1700000002, 0, 0, '')",
			"INSERT INTO contacts VALUES ('ab', 'openpgp4fpr:0123456789ABCDEF0123456789ABCDEF01234567#a=b', 'Alice', '2025-01-31 12:34:56.789123456 +0330 +0330')",
			"INSERT INTO contacts VALUES ('kept', 'reserved', NULL, NULL)",
			"INSERT INTO blocked_users VALUES ('mallory@example.org', 'account deleted', '2025-01-31 12:34:56.789123456 +0330 +0330')",
			"INSERT INTO registration_tokens VALUES ('expired', 1, 0, '', '2025-01-31 12:34:56.789123456 +0330 +0330', '2025-01-31 13:34:56.789123456 +0330 +0330 m=+3600.966212585')",
			"INSERT INTO registration_tokens VALUES ('friends', 2, 0, 'for friends', '2025-01-31 09:04:56.789123456 +0000 UTC', NULL)",
			"INSERT INTO passwords VALUES ('alice@example.org', 'bcrypt:$2a$10$x'), ('__REGISTRATION_OPEN__', 'true')",
		},
		quotas:    "quota",
		passwords: models.TableSpec{Name: "passwords"},
		settings:  models.TableSpec{Name: "passwords"},
		login:     true,
		contacts:  true,
	},

	// v2.23.0, in Rust (crates/chatmail-db/migrations/sqlite and settings_keys.rs).
	"Rust": {
		statements: []string{
			"CREATE TABLE settings (\n    key TEXT PRIMARY KEY NOT NULL,\n    value TEXT NOT NULL\n)",
			"CREATE TABLE quotas (\n    username TEXT PRIMARY KEY NOT NULL,\n    max_storage BIGINT NOT NULL DEFAULT 0,\n    created_at BIGINT NOT NULL,\n" +
				"    first_login_at BIGINT NOT NULL,\n    last_login_at BIGINT NOT NULL,\n    used_token TEXT\n)",
			"CREATE TABLE blocked_users (\n    username TEXT PRIMARY KEY NOT NULL,\n    reason TEXT NOT NULL,\n    blocked_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP\n)",
			"CREATE TABLE registration_tokens (\n    token TEXT PRIMARY KEY NOT NULL,\n    max_uses INTEGER NOT NULL DEFAULT 1,\n    used_count INTEGER NOT NULL DEFAULT 0,\n" +
				"    comment TEXT,\n    expires_at TIMESTAMP,\n    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP\n)",
			"CREATE TABLE passwords (\n    username TEXT PRIMARY KEY NOT NULL,\n    hash TEXT NOT NULL,\n    created_at INTEGER NOT NULL DEFAULT (strftime('%s', 'now'))\n)",
			"INSERT INTO quotas VALUES ('alice@example.org', 1073741824, 1700000000, 1700000100, 1700000200, NULL), ('reset@example.org', 0, 1700000001, 1, 0, 'friends'), " +
				"('__GLOBAL_DEFAULT__', 2147483648, 1700000002, 0, 0, NULL)",
			"INSERT INTO blocked_users VALUES ('mallory@example.org', 'account deleted', '2025-01-31 09:04:56')",
			"INSERT INTO registration_tokens VALUES ('expired', 1, 0, '', '2025-01-31T10:04:56Z', '2025-01-31 09:04:56'), ('friends', 2, 0, NULL, NULL, '2025-01-31 09:04:56')",
			"INSERT INTO passwords VALUES ('alice@example.org', 'bcrypt:$2a$10$x', 1700000000)",
			"INSERT INTO settings VALUES ('__REGISTRATION_OPEN__', 'true')",
		},
		quotas:    "quotas",
		passwords: models.TableSpec{Name: "passwords", KeyColumn: "username", ValueColumn: "hash"},
		settings:  models.TableSpec{Name: "settings"},
		login:     true,
		adds:      []string{"^CREATE TABLE `contacts`", createEntries},
	},
}

// eachMadmail runs a test for each version of Madmail, with GORM's official dialector
// and with sqlite-mem.
func eachMadmail(t *testing.T, test func(t *testing.T, m madmail, open suite.Open)) {
	for version, m := range madmails {
		for driver, open := range map[string]suite.Open{"official": openSQLite, "sqlite-mem": openMem} {
			t.Run(version+"/"+driver, func(t *testing.T) { test(t, m, open) })
		}
	}
}

// open opens a new database of the version.
func (m madmail) open(t *testing.T, open suite.Open, config *gorm.Config) *gorm.DB {
	t.Helper()
	db := open(t, config)
	for _, statement := range m.statements {
		require.NoError(t, db.Exec(statement).Error, statement)
	}
	return db
}

// columns returns the columns of each table of a new database.
func (m madmail) columns(t *testing.T, db *gorm.DB) map[string][]string {
	t.Helper()
	columns := map[string][]string{}
	var tables []string
	require.NoError(t, db.Raw("SELECT name FROM sqlite_master WHERE type = 'table'").Scan(&tables).Error)
	require.Greater(t, len(tables), 2)
	for _, table := range tables {
		var names []string
		require.NoError(t, db.Raw("SELECT name FROM pragma_table_info(?)", table).Scan(&names).Error)
		columns[table] = names
	}
	return columns
}

// dump returns the rows of tables as text, and the schema and root pages of the tables.
// The schema of the table of quotas is left out if a migration adds columns to it.
func (m madmail) dump(t *testing.T, db *gorm.DB, columns map[string][]string) (out []string) {
	t.Helper()
	scan := func(query string) {
		var all []string
		require.NoError(t, db.Raw(query).Scan(&all).Error, query)
		out = append(out, all...)
	}
	for _, table := range slices.Sorted(maps.Keys(columns)) {
		values := []string{"rowid"}
		for _, column := range columns[table] {
			values = append(values, fmt.Sprintf("coalesce(typeof(%[1]s) || ' ' || CAST(%[1]s AS TEXT), 'NULL')", column))
		}
		scan("SELECT " + strings.Join(values, " || ' | ' || ") + " FROM " + table + " ORDER BY rowid")
		schema := "sql"
		if !m.login && table == m.quotas {
			schema = "''"
		}
		scan("SELECT rootpage || " + schema + " FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name = '" + table + "'")
	}
	return out
}

func quiet() *gorm.Config { return &gorm.Config{Logger: logger.Discard} }

// require requires that the stores read what Madmail wrote, with times truncated
// to a precision.
func (m madmail) require(t *testing.T, db *gorm.DB, precision time.Duration) {
	t.Helper()
	ctx := t.Context()
	quotas, err := models.NewQuotas(db, models.QuotaConfig{Default: 1})
	require.NoError(t, err)
	limit, err := quotas.Limit(ctx, "alice@example.org")
	require.NoError(t, err)
	require.Equal(t, models.Limit{Bytes: 1 << 30, Source: models.FromUser}, limit)
	for _, user := range []string{"reset@example.org", "new@example.org"} {
		limit, err = quotas.Limit(ctx, user)
		require.NoError(t, err)
		require.Equal(t, models.Limit{Bytes: 2 << 30, Source: models.FromDefault}, limit)
	}
	want := models.Quota{Username: "alice@example.org", MaxStorage: 1 << 30, CreatedAt: 1700000000}
	if m.login {
		want.FirstLoginAt, want.LastLoginAt = 1700000100, 1700000200
	}
	row, err := quotas.Get(ctx, "alice@example.org")
	require.NoError(t, err)
	require.Equal(t, want, row)

	created := time.Date(2025, 1, 31, 9, 4, 56, 789123456, time.UTC)
	if m.contacts {
		list, err := models.NewContacts(db).List(ctx, "", 0)
		require.NoError(t, err)
		require.Len(t, list, 2)
		require.Equal(t, "https://i.delta.chat/#0123456789ABCDEF0123456789ABCDEF01234567&a=b", list[0].WebURL())
		require.Equal(t, created.Truncate(precision), list[0].CreatedAt)
		require.True(t, list[1].Reserved() && list[1].CreatedAt.IsZero())
	} else {
		created = created.Truncate(time.Second) // CURRENT_TIMESTAMP
	}
	created = created.Truncate(precision)
	if m.login {
		list, err := models.NewBlockedUsers(db).List(ctx, "", 0)
		require.NoError(t, err)
		require.Equal(t, []models.BlockedUser{{Username: "mallory@example.org", Reason: "account deleted", BlockedAt: created}}, list)
		tokens := models.NewRegistrationTokens(db)
		expired, err := tokens.Get(ctx, "expired")
		require.NoError(t, err)
		expires := created.Add(time.Hour)
		require.Equal(t, models.RegistrationToken{Token: "expired", MaxUses: 1, CreatedAt: created, ExpiresAt: &expires}, expired)
		require.ErrorIs(t, tokens.Check(ctx, "expired"), models.ErrTokenExpired)
		pending, err := tokens.Pending(ctx, "friends")
		require.NoError(t, err)
		require.EqualValues(t, 1, pending)
		require.NoError(t, tokens.Check(ctx, "friends"))
	}

	settings, err := models.NewSettings(db, m.settings)
	require.NoError(t, err)
	all, err := settings.All(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"REGISTRATION_OPEN": "true"}, all)
	passwords, err := models.NewTable(db, m.passwords)
	require.NoError(t, err)
	value, ok, err := passwords.Lookup(ctx, "alice@example.org")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "bcrypt:$2a$10$x", value)
}

// Ensure that the stores read and write the tables of Madmail, and that a migration only
// adds missing tables and columns.
func TestMadmail_migrate(t *testing.T) {
	eachMadmail(t, func(t *testing.T, m madmail, open suite.Open) {
		ctx := t.Context()
		recorder := suite.NewRecorder()
		db := m.open(t, open, &gorm.Config{Logger: recorder})
		columns := m.columns(t, db)
		before, statements := m.dump(t, db, columns), len(recorder.Writes())
		if m.login {
			m.require(t, db, 1) // also without a migration
		}
		for range 2 {
			require.NoError(t, models.Migrate(ctx, db))
			passwords, err := models.NewTable(db, m.passwords)
			require.NoError(t, err)
			require.NoError(t, passwords.Migrate(ctx))
			writes := recorder.Writes()[statements:]
			require.Len(t, writes, len(m.adds), "%q", writes)
			for i, want := range m.adds {
				require.Regexp(t, want, writes[i])
			}
			require.Equal(t, before, m.dump(t, db, columns))
			m.require(t, db, 1)
		}

		quotas, err := models.NewQuotas(db, models.QuotaConfig{})
		require.NoError(t, err)
		require.NoError(t, quotas.Set(ctx, "new@example.org", 5))
		require.NoError(t, quotas.RecordAccount(ctx, "new@example.org", time.Unix(1700000003, 0)))
		var row string
		require.NoError(t, db.Raw("SELECT max_storage || ' ' || created_at || ' ' || first_login_at FROM "+m.quotas+" WHERE username = 'new@example.org'").Scan(&row).Error)
		require.Equal(t, "5 1700000003 0", row)
		require.NoError(t, models.NewBlockedUsers(db).Block(ctx, "mallory@example.org", "again"))
		_, err = models.NewRegistrationTokens(db).Create(ctx, models.RegistrationToken{MaxUses: 3})
		require.NoError(t, err)
		if m.login {
			require.NoError(t, models.NewRegistrationTokens(db).Use(ctx, "friends"))
		}
	})
}

// Ensure that a database of Madmail is copied with its times, from each driver.
func TestMadmail_copy(t *testing.T) {
	eachMadmail(t, func(t *testing.T, m madmail, open suite.Open) {
		from, to := m.open(t, open, quiet()), openSQLite(t, quiet())
		options := models.CopyOptions{Tables: []models.TableSpec{m.passwords}}
		if m.settings.Name != m.passwords.Name {
			options.Tables = append(options.Tables, m.settings)
		}
		if m.passwords.KeyColumn == "username" {
			_, err := models.Copy(t.Context(), from, to, options)
			require.ErrorContains(t, err, "source table passwords has a column created_at, which is not in the target")
			options.Exclude = []string{"passwords.created_at"}
		}
		if m.quotas == "quota" {
			options.Exclude = []string{"message_stats"} // the target has no such table
		}
		report, err := models.Copy(t.Context(), from, to, options)
		require.NoError(t, err)
		for _, table := range report.Tables {
			require.Equal(t, table.Rows, table.Inserted)
			missing := !m.login && (table.Table == "blocked_users" || table.Table == "registration_tokens") ||
				!m.contacts && table.Table == "contacts" || table.Table == "table_entries" && m.quotas != "quota"
			require.Equal(t, missing, table.Missing, table.Table)
		}
		m.require(t, to, time.Millisecond)
	})
}

// Ensure that a text which is no time is an error in a store and in a copy, and not an
// unknown time.
func TestMadmail_noTime(t *testing.T) {
	for _, open := range []suite.Open{openSQLite, openMem} {
		db := madmails["Go"].open(t, open, quiet())
		require.NoError(t, db.Exec("UPDATE registration_tokens SET expires_at = 'tomorrow' WHERE token = 'friends'").Error)
		require.ErrorContains(t, models.NewRegistrationTokens(db).Check(t.Context(), "friends"), `cannot read "tomorrow" as a time`)
		_, err := models.Copy(t.Context(), db, openSQLite(t, quiet()), models.CopyOptions{
			Tables: []models.TableSpec{{Name: "passwords"}}, Exclude: []string{"message_stats"}})
		require.ErrorIs(t, err, models.ErrInvalid)
		require.ErrorContains(t, err, `source table registration_tokens, row "friends": expires_at is "tomorrow", which is no time`)
	}
}
