//go:build cgo

package models_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/models"
	"github.com/sqlite-mem/sqlite-mem/models/internal/suite"
)

// pair opens a source and a target with the official dialector and with sqlite-mem, and
// calls test with each pair.
func pair(t *testing.T, test func(t *testing.T, from, to *gorm.DB)) {
	for driver, open := range map[string]suite.Open{"official": openSQLite, "sqlite-mem": openMem} {
		t.Run(driver, func(t *testing.T) { test(t, open(t, quiet()), open(t, quiet())) })
	}
}

// must runs statements.
func must(t *testing.T, db *gorm.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		require.NoError(t, db.Exec(statement).Error, statement)
	}
}

// texts returns the result of a query for one column.
func texts(t *testing.T, db *gorm.DB, query string) (all []string) {
	t.Helper()
	require.NoError(t, db.Raw(query).Scan(&all).Error)
	return all
}

// Ensure that a number in a BOOLEAN column stays what it is. go-sqlite3 reads it as
// false or true.
func TestCopy_boolean(t *testing.T) {
	pair(t, func(t *testing.T, from, to *gorm.DB) {
		must(t, from, "CREATE TABLE t (k INTEGER PRIMARY KEY, v BOOLEAN)", "INSERT INTO t VALUES (1, 2), (2, -1), (3, 0), (4, 1)")
		must(t, to, "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)")
		_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
		require.NoError(t, err)
		require.Equal(t, []string{"2", "-1", "0", "1"}, texts(t, to, "SELECT v FROM t ORDER BY k"))
	})
}

// stored has every kind of value, with the type that a column without a type keeps.
const stored = `(1, 0), (2, 2), (3, -1), (4, 1700000000), (5, 1700000000000), (6, 1.0), (7, 1.5), (8, 9e999), (9, -9223372036854775808),
	(10, 'cd'), (11, x'6364'), (12, ''), (13, x''), (14, NULL), (15, '5'), (16, '05'), (17, x'35'), (18, 'true'), (19, '1.50'), (20, x'00ff'),
	(21, '2025-01-31'), (22, '2025-01-31 10:00:00+02:00'), (23, '12:00'), (24, '0001-01-01 00:00:00+00:00'), (25, '2025-01-31 12:34:56 +0330 +0330 m=+1.5'), (26, 2460706.5),
	(27, char(0, 65)), (28, CAST(x'ff' AS TEXT))`

// Ensure that between two SQLite databases each value keeps its type and its bytes,
// whatever the type of its column, and that a second copy finds it equal.
func TestCopy_untouched(t *testing.T) {
	const content = "SELECT k || ' ' || typeof(v) || ' ' || hex(v) || ' ' || quote(v) FROM t ORDER BY k"
	columns := []string{"", "ANY", "BLOB", "TEXT", "VARCHAR(10)", "INTEGER", "BIGINT", "REAL", "DOUBLE", "NUMERIC", "DECIMAL(10,2)", "JSON", "BOOLEAN", "DATE", "DATETIME", "TIMESTAMP"}
	pair(t, func(t *testing.T, from, to *gorm.DB) {
		for _, column := range columns {
			for _, target := range []string{column, "BLOB", ""} { // a BLOB column keeps every value
				for _, db := range []*gorm.DB{from, to} {
					must(t, db, "DROP TABLE IF EXISTS t")
				}
				must(t, from, "CREATE TABLE t (k INTEGER PRIMARY KEY, v "+column+")", "INSERT INTO t VALUES "+stored)
				must(t, to, "CREATE TABLE t (k INTEGER PRIMARY KEY, v "+target+")")
				want := texts(t, from, content)
				_, err := models.Copy(t.Context(), from, to, models.CopyOptions{BatchRows: 10})
				require.NoError(t, err, "%s to %s", column, target)
				require.Equal(t, want, texts(t, to, content), "%s to %s", column, target)
				report, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
				require.NoError(t, err)
				require.EqualValues(t, len(want), foundEqual(report))
			}
		}
	})
}

// foundEqual returns the number of rows that were in the target before.
func foundEqual(report models.CopyReport) (n int64) {
	for _, table := range report.Tables {
		n += table.Equal
	}
	return n
}

// Ensure that rows with keys of any type are copied between two SQLite databases.
func TestCopy_keyTypes(t *testing.T) {
	pair(t, func(t *testing.T, from, to *gorm.DB) {
		for _, db := range []*gorm.DB{from, to} {
			must(t, db, "CREATE TABLE reals (k REAL PRIMARY KEY, v)", "CREATE TABLE dates (a DATETIME, b BOOLEAN, v, PRIMARY KEY (a, b)) WITHOUT ROWID")
		}
		must(t, from, "INSERT INTO reals VALUES (0.1, 1), (1, 2), (-9e999, 3), ('x', 4)", "INSERT INTO dates VALUES ('2025-01-31', 2, 1), (1700000000, 2, 2), ('2025-01-31', 1, 3)")
		_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
		require.NoError(t, err)
		for _, query := range []string{"SELECT typeof(k) || k || v FROM reals ORDER BY v", "SELECT typeof(a) || a || b || v FROM dates ORDER BY v"} {
			require.Equal(t, texts(t, from, query), texts(t, to, query))
		}
	})
}

// Ensure that a value which the target's SQLite would store as another one is an error
// that names it, and that it is converted if nothing is lost.
func TestCopy_affinities(t *testing.T) {
	for _, c := range []struct{ from, value, to, want string }{ // want: the stored value, or the error
		{"TEXT", "'5'", "INTEGER", "5"}, {"TEXT", "'x'", "INTEGER", `is "x", which is no integer`}, {"INTEGER", "5", "TEXT", "'5'"},
		{"INTEGER", "5", "REAL", "5.0"}, {"REAL", "5.5", "INTEGER", "is 5.5, which is no integer"}, {"REAL", "1.5", "TEXT", "is 1.5, which is no text"},
		{"BLOB", "x'6162'", "TEXT", "X'6162'"}, {"TEXT", "x'35'", "INTEGER", "X'35'"}, {"BLOB", "'ab'", "TEXT", "'ab'"},
	} {
		from, to := openMem(t, quiet()), openMem(t, quiet())
		must(t, from, "CREATE TABLE t (k INTEGER PRIMARY KEY, v "+c.from+")", "INSERT INTO t VALUES (1, "+c.value+")")
		must(t, to, "CREATE TABLE t (k INTEGER PRIMARY KEY, v "+c.to+")")
		_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
		if err != nil {
			require.ErrorIs(t, err, models.ErrInvalid)
			require.ErrorContains(t, err, `source table t, row "1": v `+c.want)
			continue
		}
		require.Equal(t, []string{c.want}, texts(t, to, "SELECT quote(v) FROM t"), "%+v", c)
	}
}

// Ensure that a value which a STRICT table of the target does not take is an error of
// the check, and that the others are copied.
func TestCopy_strict(t *testing.T) {
	pair(t, func(t *testing.T, from, to *gorm.DB) {
		must(t, from, "CREATE TABLE t (k INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, a)",
			"INSERT INTO t VALUES (1, 1, 2, '3', x'04', '05'), (2, NULL, NULL, NULL, NULL, 1.0)")
		must(t, to, "CREATE TABLE t (k INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, a ANY) STRICT")
		_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
		require.NoError(t, err)
		const all = "SELECT quote(k) || quote(i) || quote(r) || quote(t) || quote(b) || quote(a) FROM t ORDER BY k"
		require.Equal(t, texts(t, from, all), texts(t, to, all))
		for column, value := range map[string]string{"i": "'x'", "r": "x'35'", "t": "x'35'", "b": "'x'"} {
			must(t, from, "DELETE FROM t WHERE k > 2", "INSERT INTO t (k, "+column+") VALUES (3, "+value+")")
			_, err = models.Copy(t.Context(), from, to, models.CopyOptions{DryRun: true})
			require.ErrorIs(t, err, models.ErrInvalid, column)
			require.ErrorContains(t, err, `source table t, row "3": `+column)
		}
	})
}

// Ensure that NULL for a column that is NOT NULL in the target is an error of the check
// that names the row, before any table is written.
func TestCopy_notNull(t *testing.T) {
	pair(t, func(t *testing.T, from, to *gorm.DB) {
		for _, db := range []*gorm.DB{from, to} {
			must(t, db, "CREATE TABLE a (k INTEGER PRIMARY KEY)")
		}
		must(t, from, "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT, w INTEGER)", "INSERT INTO a VALUES (1)", "INSERT INTO t VALUES (1, 'x', 1), (2, NULL, 2), (3, 'y', NULL)")
		must(t, to, "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT NOT NULL, w INTEGER NOT NULL DEFAULT 5)")
		for _, dry := range []bool{true, false} {
			_, err := models.Copy(t.Context(), from, to, models.CopyOptions{DryRun: dry})
			require.ErrorIs(t, err, models.ErrInvalid)
			for _, want := range []string{`source table t, row "2": v is NULL`, `source table t, row "3": w is NULL`} {
				require.ErrorContains(t, err, want)
			}
			require.Empty(t, texts(t, to, "SELECT k FROM a"))
		}
		_, err := models.Copy(t.Context(), from, to, models.CopyOptions{Exclude: []string{"t.w"}})
		require.ErrorContains(t, err, `row "2": v is NULL`)
		require.NotContains(t, err.Error(), `row "3"`)
	})
}

// Ensure that Go's zero time is copied into a column that is NOT NULL.
func TestCopy_zeroTime(t *testing.T) {
	pair(t, func(t *testing.T, from, to *gorm.DB) {
		must(t, from, "CREATE TABLE t (k INTEGER PRIMARY KEY, v DATETIME, w TEXT)")
		require.NoError(t, from.Exec("INSERT INTO t VALUES (1, ?, ?)", time.Time{}, "0001-01-01 00:00:00+00:00").Error)
		must(t, to, "CREATE TABLE t (k INTEGER PRIMARY KEY, v DATETIME NOT NULL, w DATETIME NOT NULL)")
		_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
		require.NoError(t, err)
		require.Equal(t, []string{"0001-01-01 00:00:00+00:00"}, texts(t, to, "SELECT CAST(v AS TEXT) FROM t WHERE v = w"))
		var v, w time.Time
		require.NoError(t, to.Raw("SELECT v, w FROM t").Row().Scan(&v, &w))
		require.True(t, v.IsZero() && w.IsZero())
	})
}

// Ensure that keys which differ in their types alone are different keys, in each pass
// and with each option.
func TestCopy_keysOfTwoTypes(t *testing.T) {
	pair(t, func(t *testing.T, from, to *gorm.DB) {
		for _, db := range []*gorm.DB{from, to} {
			must(t, db, "CREATE TABLE one (k PRIMARY KEY, v)", "CREATE TABLE two (k, l, v, PRIMARY KEY (k, l)) WITHOUT ROWID")
		}
		must(t, from, "INSERT INTO one VALUES (1, 'a'), ('1', 'b'), (x'31', 'c'), (1.5, 'd'), ('1.5', 'e'), ('x''31''', 'f')",
			"INSERT INTO two VALUES (1, 2, 'a'), ('1', 2, 'b'), (1, '2', 'c'), ('1, 2', '', 'd'), (x'31', 2, 'e')")
		same := func() {
			t.Helper()
			for _, query := range []string{"SELECT quote(k) || v FROM one ORDER BY v", "SELECT quote(k) || quote(l) || v FROM two ORDER BY v"} {
				require.Equal(t, texts(t, from, query), texts(t, to, query))
			}
		}
		_, err := models.Copy(t.Context(), from, to, models.CopyOptions{BatchRows: 2})
		require.NoError(t, err)
		same()
		report, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
		require.NoError(t, err)
		require.EqualValues(t, 11, foundEqual(report))
		must(t, to, "DELETE FROM one WHERE k = '1'", "UPDATE one SET v = 'x' WHERE k = 1", "INSERT INTO one VALUES ('2', 'extra')", "DELETE FROM two WHERE l = '2'")
		must(t, from, "INSERT INTO one VALUES (2, 'g')")
		var conflict *models.ConflictError
		_, err = models.Copy(t.Context(), from, to, models.CopyOptions{})
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, models.ConflictError{Table: "one", Differ: 1, Extra: 1, Keys: []string{"1", "2"}}, *conflict)
		report, err = models.Copy(t.Context(), from, to, models.CopyOptions{Overwrite: true, Prune: true})
		require.NoError(t, err)
		require.Equal(t, models.TableReport{Table: "one", Rows: 7, Equal: 4, Inserted: 2, Replaced: 1, Removed: 1}, report.Tables[len(report.Tables)-2])
		same()
	})
}

// Ensure that a key which the rowid of the target does not take is an error of the
// check, and that nothing is written. In the source it may be in an INTEGER column that
// is no rowid: that keeps texts, reals, blobs and NULL.
func TestCopy_rowid(t *testing.T) {
	pair(t, func(t *testing.T, from, to *gorm.DB) {
		for _, source := range []string{"INT PRIMARY KEY", "INTEGER PRIMARY KEY DESC", "INTEGER UNIQUE", "BIGINT PRIMARY KEY", "NUMERIC PRIMARY KEY", "PRIMARY KEY"} {
			for _, target := range []string{"INTEGER PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT"} {
				for value, want := range map[string]string{"'abc'": `is "abc", which is no integer`, "1.5": "is 1.5, which is no integer", "x'00ff'": "is a blob of 2 bytes, which is no integer", "NULL": "is NULL", "7": ""} {
					for _, db := range []*gorm.DB{from, to} {
						must(t, db, "DROP TABLE IF EXISTS t")
					}
					must(t, from, "CREATE TABLE t (id "+source+", v)", "INSERT INTO t VALUES (1, 'a'), ("+value+", 'b'), (2, 'c')")
					must(t, to, "CREATE TABLE t (id "+target+", v)")
					for _, dry := range []bool{true, false} {
						_, err := models.Copy(t.Context(), from, to, models.CopyOptions{DryRun: dry, BatchRows: 1})
						if want == "" {
							require.NoError(t, err, source)
							continue
						}
						require.ErrorIs(t, err, models.ErrInvalid, "%s: %s", source, value)
						require.ErrorContains(t, err, want, source)
						require.Empty(t, texts(t, to, "SELECT v FROM t"), "%s: %s", source, value)
					}
				}
			}
		}
	})
}

// Ensure that a key of an AUTOINCREMENT table which was deleted in the source is not
// given out again in the target, and that a counter is never set back.
func TestCopy_autoincrement(t *testing.T) {
	pair(t, func(t *testing.T, from, to *gorm.DB) {
		const auto = " (k INTEGER PRIMARY KEY AUTOINCREMENT, v)"
		must(t, from, "CREATE TABLE Gone"+auto, "CREATE TABLE emptied"+auto, "CREATE TABLE ahead"+auto, "CREATE TABLE plain_here (k INTEGER PRIMARY KEY, v)", "CREATE TABLE plain_there"+auto,
			"CREATE TABLE unused"+auto)
		must(t, to, "CREATE TABLE gone"+auto, "CREATE TABLE emptied"+auto, "CREATE TABLE ahead"+auto, "CREATE TABLE plain_here"+auto, "CREATE TABLE plain_there (k INTEGER PRIMARY KEY, v)",
			"CREATE TABLE unused"+auto, "INSERT INTO ahead VALUES (1000, '')", "DELETE FROM ahead")
		for _, table := range []string{"gone", "emptied", "ahead", "plain_here", "plain_there"} {
			must(t, from, "INSERT INTO "+table+" VALUES (1, ''), (100, '')", "DELETE FROM "+table+" WHERE k = 100")
		}
		must(t, from, "DELETE FROM emptied")
		for range 2 {
			_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
			require.NoError(t, err)
			require.Equal(t, []string{"ahead 1000", "emptied 100", "gone 100", "plain_here 1"}, texts(t, to, "SELECT name || ' ' || seq FROM sqlite_sequence ORDER BY 1"))
		}
		for table, want := range map[string]string{"gone": "101", "emptied": "101", "ahead": "1001", "plain_here": "2", "plain_there": "2", "unused": "1"} {
			must(t, to, "INSERT INTO "+table+" (v) VALUES ('')")
			require.Equal(t, []string{want}, texts(t, to, "SELECT max(k) FROM "+table), table)
		}
	})
}
