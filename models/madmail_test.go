//go:build cgo

package models_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sqlite-mem/sqlite-mem/models"
)

// madmailSchemas are schemas of Madmail's databases in an early and a later version. GORM
// creates them from Madmail's models, and its module sql_table creates passwords.
var madmailSchemas = map[string][]string{
	"early": {
		"CREATE TABLE `quotas` (`username` text,`max_storage` integer,`created_at` integer,PRIMARY KEY (`username`))",
		"CREATE TABLE `contacts` (`slug` text,`url` text NOT NULL,`name` text,`created_at` datetime,PRIMARY KEY (`slug`))",
		"CREATE TABLE passwords (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)",
	},
	"later": {
		"CREATE TABLE `quotas` (`username` text,`max_storage` integer,`created_at` integer,`first_login_at` integer," +
			"`last_login_at` integer,`used_token` text,PRIMARY KEY (`username`))",
		"CREATE INDEX `idx_used_token_pending` ON `quotas`(`used_token`)",
		"CREATE TABLE `contacts` (`slug` text,`url` text NOT NULL,`name` text,`created_at` datetime,PRIMARY KEY (`slug`))",
		"CREATE TABLE `table_entries` (`key` text,`value` text NOT NULL,PRIMARY KEY (`key`))",
		"CREATE TABLE `passwords` (`key` text,`value` text NOT NULL,PRIMARY KEY (`key`))",
	},
}

var madmailRows = []string{
	"INSERT INTO quotas (username, max_storage, created_at) VALUES ('alice@example.org', 1073741824, 1700000000)",
	"INSERT INTO quotas (username, max_storage, created_at) VALUES ('reset@example.org', NULL, 1700000001)",
	"INSERT INTO quotas (username, max_storage, created_at) VALUES ('__GLOBAL_DEFAULT__', 2147483648, 0)",
	"INSERT INTO contacts VALUES ('ab', 'openpgp4fpr:0123456789ABCDEF0123456789ABCDEF01234567#a=b', 'Alice', '2025-01-31 12:34:56.789123456+03:30')",
	"INSERT INTO contacts VALUES ('kept', 'reserved', NULL, NULL)",
	"INSERT INTO passwords VALUES ('alice@example.org', 'bcrypt:$2a$10$x')",
}

func openMadmail(t *testing.T, schema []string, config *gorm.Config) *gorm.DB {
	t.Helper()
	db := openSQLite(t, config)
	for _, statement := range append(append([]string(nil), schema...), madmailRows...) {
		require.NoError(t, db.Exec(statement).Error)
	}
	return db
}

// dump returns the schema and the rows of Madmail's tables.
func dump(t *testing.T, db *gorm.DB, schema []string) (out []map[string]any) {
	t.Helper()
	require.NoError(t, db.Raw("SELECT name, sql, rootpage FROM sqlite_master WHERE name IN ('quotas', 'contacts', 'passwords', 'idx_used_token_pending')").Scan(&out).Error)
	for _, table := range []string{"quotas", "contacts", "passwords"} {
		var rows []map[string]any
		require.NoError(t, db.Raw("SELECT rowid, * FROM "+table+" ORDER BY rowid").Scan(&rows).Error)
		require.NotEmpty(t, rows)
		out = append(out, rows...)
	}
	return out
}

// Ensure that the stores read a database of Madmail, and that a migration rewrites no
// table and no row.
func TestMadmail_migrate(t *testing.T) {
	for name, schema := range madmailSchemas {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			recorder := &statements{Interface: logger.Discard}
			db := openMadmail(t, schema, &gorm.Config{Logger: recorder})
			before := dump(t, db, schema)
			recorder.all = nil
			require.NoError(t, models.Migrate(ctx, db))
			passwords, err := models.NewTable(db, models.TableSpec{Name: "passwords"})
			require.NoError(t, err)
			require.NoError(t, passwords.Migrate(ctx))
			for _, statement := range recorder.all {
				if name == "early" && strings.HasPrefix(statement, "CREATE TABLE `table_entries`") {
					continue // the only one that was missing
				}
				require.Regexp(t, "(?i)^ *(SELECT|PRAGMA) ", statement)
			}
			require.Equal(t, before, dump(t, db, schema))

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
			contacts := models.NewContacts(db)
			list, err := contacts.List(ctx, "", 0)
			require.NoError(t, err)
			require.Len(t, list, 2)
			require.Equal(t, "https://i.delta.chat/#0123456789ABCDEF0123456789ABCDEF01234567&a=b", list[0].WebURL())
			require.Equal(t, time.Date(2025, 1, 31, 9, 4, 56, 789123456, time.UTC), list[0].CreatedAt)
			require.True(t, list[1].Reserved() && list[1].CreatedAt.IsZero())
			value, ok, err := passwords.Lookup(ctx, "alice@example.org")
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, "bcrypt:$2a$10$x", value)
			require.NoError(t, quotas.Set(ctx, "new@example.org", 5))
			require.NoError(t, passwords.Set(ctx, "new@example.org", "x"))
		})
	}
}

// Ensure that a database of Madmail is copied, and that a column is left out only with
// IgnoreColumns.
func TestMadmail_copy(t *testing.T) {
	for name, schema := range madmailSchemas {
		t.Run(name, func(t *testing.T) {
			from := openMadmail(t, schema, &gorm.Config{Logger: logger.Discard})
			to := openSQLite(t, &gorm.Config{Logger: logger.Discard})
			options := models.CopyOptions{Tables: []models.TableSpec{{Name: "passwords"}}}
			if name == "later" {
				_, err := models.Copy(t.Context(), from, to, options)
				require.ErrorContains(t, err, "first_login_at, last_login_at, used_token")
				options.IgnoreColumns = true
			}
			report, err := models.Copy(t.Context(), from, to, options)
			require.NoError(t, err)
			require.Equal(t, []models.TableReport{
				{Table: "quotas", Rows: 3, Inserted: 3},
				{Table: "contacts", Rows: 2, Inserted: 2},
				{Table: "table_entries", Missing: name == "early"},
				{Table: "passwords", Rows: 1, Inserted: 1},
			}, report.Tables)
			var rows []models.Contact
			require.NoError(t, to.Order("slug").Find(&rows).Error)
			require.Equal(t, time.Date(2025, 1, 31, 9, 4, 56, 789e6, time.UTC), rows[0].CreatedAt.UTC())
			require.True(t, rows[1].CreatedAt.IsZero())
		})
	}
}

// Ensure that rows without distinct keys are an error, and not an incomplete copy.
func TestCopy_brokenKeys(t *testing.T) {
	for name, c := range map[string]struct{ rows, reason string }{
		"NULL":           {"(NULL, 'a'), ('b', 'b')", "NULL"},
		"twice":          {"('a', 'a'), ('a', 'b')", "twice"},
		"twice on pages": {"('a', 'a'), ('b', 'b'), ('b', 'c'), ('c', 'd')", "can be reached by key"},
		"blob and text":  {"('a', 'a'), (x'61', 'b')", "twice"},
		"blob":           {"(x'62', 'b'), ('c', 'c')", "does not sort by bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			from := openSQLite(t, &gorm.Config{Logger: logger.Discard})
			to := openSQLite(t, &gorm.Config{Logger: logger.Discard})
			require.NoError(t, from.Exec("CREATE TABLE table_entries (key text, value text)").Error)
			require.NoError(t, from.Exec("INSERT INTO table_entries VALUES "+c.rows).Error)
			_, err := models.Copy(t.Context(), from, to, models.CopyOptions{BatchRows: 2})
			require.ErrorIs(t, err, models.ErrInvalid)
			require.ErrorContains(t, err, c.reason)
		})
	}
}

// Ensure that a failed query for a table is an error, and not a missing table.
func TestCopy_brokenConnection(t *testing.T) {
	broken := errors.New("connection reset")
	for _, table := range []string{"quotas", "contacts", "table_entries", "passwords"} {
		from := openMadmail(t, madmailSchemas["early"], &gorm.Config{Logger: logger.Discard})
		to := openSQLite(t, &gorm.Config{Logger: logger.Discard})
		require.NoError(t, from.Callback().Row().Before("gorm:row").Register("break", func(tx *gorm.DB) {
			if slices.Contains(tx.Statement.Vars, any(table)) {
				tx.AddError(broken)
			}
		}))
		_, err := models.Copy(t.Context(), from, to, models.CopyOptions{Tables: []models.TableSpec{{Name: "passwords"}}})
		require.ErrorIs(t, err, broken, table)
	}
}

// Ensure that a table whose name has capitals is found, as SQLite finds it.
func TestTable_capitals(t *testing.T) {
	db := openSQLite(t, &gorm.Config{Logger: logger.Discard})
	require.NoError(t, db.Exec("CREATE TABLE Passwords (Key TEXT PRIMARY KEY NOT NULL, Value TEXT NOT NULL)").Error)
	require.NoError(t, db.Exec("INSERT INTO Passwords VALUES ('a', 'b')").Error)
	table, err := models.NewTable(db, models.TableSpec{Name: "passwords"})
	require.NoError(t, err)
	require.NoError(t, table.Migrate(t.Context()))
	value, ok, err := table.Lookup(t.Context(), "a")
	require.NoError(t, err)
	require.True(t, ok && value == "b")
	to := openSQLite(t, &gorm.Config{Logger: logger.Discard})
	_, err = models.Copy(t.Context(), db, to, models.CopyOptions{Tables: []models.TableSpec{{Name: "passwords"}}})
	require.NoError(t, err)
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
