//go:build cgo

package models_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/models"
)

// Ensure that rows without distinct keys are an error, and not an incomplete copy.
func TestCopy_brokenKeys(t *testing.T) {
	for name, c := range map[string]struct{ rows, reason, key string }{
		"NULL":                 {"(NULL, 'a'), ('b', 'b')", "NULL", ""},
		"twice":                {"('a', 'a'), ('a', 'b')", "twice", ""},
		"twice on pages":       {"('a', 'a'), ('b', 'b'), ('c', 'c'), ('b', 'd')", "twice", ""},
		"blob and text":        {"('a', 'a'), (x'61', 'b')", "twice", ""},
		"blob and text as key": {"('a', 'a'), (x'61', 'b')", "twice", " PRIMARY KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			from := openSQLite(t, quiet())
			to := openSQLite(t, quiet())
			require.NoError(t, from.Exec("CREATE TABLE table_entries (key text"+c.key+", value text)").Error)
			require.NoError(t, from.Exec("INSERT INTO table_entries VALUES "+c.rows).Error)
			_, err := models.Copy(t.Context(), from, to, models.CopyOptions{BatchRows: 2})
			require.ErrorIs(t, err, models.ErrInvalid)
			require.ErrorContains(t, err, c.reason)
		})
	}
}

// Ensure that a failed query of the catalog is an error, and not a missing table.
func TestCopy_brokenConnection(t *testing.T) {
	broken := errors.New("connection reset")
	for n := 1; ; n++ {
		from, to := madmails["early"].open(t, openSQLite, quiet()), openSQLite(t, quiet())
		queries := 0
		require.NoError(t, from.Callback().Row().Before("gorm:row").Register("break", func(tx *gorm.DB) {
			if queries++; queries == n {
				tx.AddError(broken)
			}
		}))
		report, err := models.Copy(t.Context(), from, to, models.CopyOptions{Tables: []models.TableSpec{{Name: "passwords"}}})
		if queries < n {
			require.NoError(t, err)
			require.Greater(t, n, 10)
			require.Len(t, report.Tables, 6)
			return
		}
		require.ErrorIs(t, err, broken, "query %d", n)
	}
}

// Ensure that an error of reading rows names the side and the table.
func TestCopy_namesTable(t *testing.T) {
	broken := errors.New("connection reset")
	unquote := func(r rune) rune {
		if strings.ContainsRune("\"`", r) {
			return -1
		}
		return r
	}
	for _, side := range []string{"source", "target"} {
		for n := 1; ; n++ {
			from, to := madmails["early"].open(t, openSQLite, quiet()), openSQLite(t, quiet())
			require.NoError(t, models.Migrate(t.Context(), to))
			db := from
			if side == "target" {
				db = to
			}
			reads := 0
			require.NoError(t, db.Callback().Row().Before("gorm:row").Register("break", func(tx *gorm.DB) {
				sql := strings.Map(unquote, tx.Statement.SQL.String())
				if strings.Contains(sql, "FROM quota") && !strings.Contains(sql, "1 = 0") { // that asks for the columns
					if reads++; reads == n {
						tx.AddError(broken)
					}
				}
			}))
			_, err := models.Copy(t.Context(), from, to, models.CopyOptions{Tables: []models.TableSpec{{Name: "passwords"}}})
			if reads < n {
				require.NoError(t, err)
				require.Greater(t, n, 3)
				break
			}
			require.ErrorIs(t, err, broken, "read %d", n)
			require.ErrorContains(t, err, side+" table quota", "read %d", n)
		}
	}
}

// Ensure that a table whose name has capitals is found, as SQLite finds it.
func TestTable_capitals(t *testing.T) {
	db := openSQLite(t, quiet())
	require.NoError(t, db.Exec("CREATE TABLE Passwords (Key TEXT PRIMARY KEY NOT NULL, Value TEXT NOT NULL)").Error)
	require.NoError(t, db.Exec("INSERT INTO Passwords VALUES ('a', 'b')").Error)
	table, err := models.NewTable(db, models.TableSpec{Name: "passwords"})
	require.NoError(t, err)
	require.NoError(t, table.Migrate(t.Context()))
	value, ok, err := table.Lookup(t.Context(), "a")
	require.NoError(t, err)
	require.True(t, ok && value == "b")
	to := openSQLite(t, quiet())
	_, err = models.Copy(t.Context(), db, to, models.CopyOptions{Tables: []models.TableSpec{{Name: "passwords"}}})
	require.NoError(t, err)
}

// Ensure that tables whose foreign keys form a cycle are refused by a target that checks
// them, and copied otherwise.
func TestCopy_cycle(t *testing.T) {
	for _, checked := range []bool{true, false} {
		from, to := openSQLite(t, quiet()), openSQLite(t, quiet())
		for _, db := range []*gorm.DB{from, to} {
			for _, statement := range []string{"CREATE TABLE a (id INTEGER PRIMARY KEY, b REFERENCES b (id))", "CREATE TABLE b (id INTEGER PRIMARY KEY, a REFERENCES a (id))"} {
				require.NoError(t, db.Exec(statement).Error)
			}
		}
		require.NoError(t, from.Exec("INSERT INTO a VALUES (1, 1)").Error)
		require.NoError(t, from.Exec("INSERT INTO b VALUES (1, 1)").Error)
		pool, err := to.DB()
		require.NoError(t, err)
		pool.SetMaxOpenConns(1)
		require.NoError(t, to.Exec(fmt.Sprintf("PRAGMA foreign_keys = %t", checked)).Error)
		_, err = models.Copy(t.Context(), from, to, models.CopyOptions{})
		if checked {
			require.ErrorIs(t, err, models.ErrInvalid)
			require.ErrorContains(t, err, "refers back")
			continue
		}
		require.NoError(t, err)
	}
}

// Ensure that virtual tables, and columns that are generated on one side, are refused by
// name, and that generated columns of both sides are computed.
func TestCopy_refused(t *testing.T) {
	for create, want := range map[string]string{
		"CREATE VIRTUAL TABLE t USING rtree(id, x0, x1)":        "source table t is a virtual table",
		"CREATE TABLE t (id INTEGER PRIMARY KEY, twice INT)":    "has a column twice, which is generated in the target",
		"CREATE TABLE t (id INTEGER PRIMARY KEY, other INT)":    "has a column other, which is not in the target",
		"CREATE TABLE t (twice INT AS (1), x INT)":              "has a key column id, which is not copied",
		"CREATE TABLE t (id DATETIME PRIMARY KEY, \"a?b\" INT)": "is not in the target",
	} {
		from, to := openSQLite(t, quiet()), openSQLite(t, quiet())
		require.NoError(t, from.Exec(create).Error)
		require.NoError(t, to.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, twice INT AS (id * 2))").Error)
		_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
		require.ErrorIs(t, err, models.ErrInvalid, create)
		require.ErrorContains(t, err, want)
	}
	from, to := openSQLite(t, quiet()), openSQLite(t, quiet())
	for _, db := range []*gorm.DB{from, to} {
		require.NoError(t, db.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, twice INT AS (id * 2))").Error)
	}
	require.NoError(t, from.Exec("INSERT INTO t (id) VALUES (4)").Error)
	_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
	require.NoError(t, err)
	var twice int
	require.NoError(t, to.Raw("SELECT twice FROM t").Scan(&twice).Error)
	require.Equal(t, 8, twice)
}

// Ensure that the table of quotas is matched with that of the target also if its name
// has capitals.
func TestCopy_capitals(t *testing.T) {
	from, to := openSQLite(t, quiet()), openSQLite(t, quiet())
	require.NoError(t, from.Exec("CREATE TABLE Quotas (Username TEXT PRIMARY KEY, Max_Storage INTEGER, Created_At INTEGER)").Error)
	require.NoError(t, from.Exec("INSERT INTO Quotas VALUES ('alice', 5, 6)").Error)
	require.NoError(t, to.Exec(madmails["Go"].statements[0]).Error)
	_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
	require.NoError(t, err)
	var row models.Quota
	require.NoError(t, to.Table("quota").Take(&row).Error)
	require.Equal(t, models.Quota{Username: "alice", MaxStorage: 5, CreatedAt: 6}, row)
}

// Ensure that keys are sorted by their bytes also in a table of another program whose
// keys have another collation, page by page.
func TestTable_collation(t *testing.T) {
	db := openSQLite(t, quiet())
	must(t, db, "CREATE TABLE passwords (key TEXT COLLATE NOCASE PRIMARY KEY, value TEXT NOT NULL)",
		"CREATE TABLE contacts (slug TEXT COLLATE RTRIM PRIMARY KEY, url TEXT NOT NULL, name TEXT, created_at DATETIME)",
		"CREATE TABLE quotas (username TEXT COLLATE NOCASE PRIMARY KEY, max_storage INTEGER, created_at INTEGER)")
	require.NoError(t, models.Migrate(t.Context(), db))
	table, err := models.NewTable(db, models.TableSpec{Name: "passwords"})
	require.NoError(t, err)
	quotas, err := models.NewQuotas(db, models.QuotaConfig{})
	require.NoError(t, err)
	for _, key := range []string{"b", "C", "a", "_", "Z"} {
		require.NoError(t, table.Set(t.Context(), key, ""))
		require.NoError(t, quotas.Set(t.Context(), key, 1))
	}
	want := []string{"C", "Z", "_", "a", "b"}
	keys, err := table.Keys(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, keys)
	var tables, users []string
	for i := range want {
		after := strings.Join(want[max(i-1, 0):i], "")
		entries, err := table.List(t.Context(), after, 1)
		require.NoError(t, err)
		tables = append(tables, string(entries[0].Key))
		rows, err := quotas.List(t.Context(), after, 1)
		require.NoError(t, err)
		users = append(users, string(rows[0].Username))
	}
	require.Equal(t, want, tables)
	require.Equal(t, want, users)
}
