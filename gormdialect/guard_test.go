//go:build cgo

package gormdialect_test

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/gormdialect"
)

// tamper executes a statement on the migration's connection, after the migration's
// first statement with the prefix behind. done reports whether it did.
func tamper(t *testing.T, db *gorm.DB, behind, statement string) (done func() bool) {
	t.Helper()
	n := 0
	require.NoError(t, db.Callback().Raw().After("gorm:raw").Register("tamper", func(tx *gorm.DB) {
		if n == 0 && strings.HasPrefix(tx.Statement.SQL.String(), behind) {
			n++
			_, err := tx.Statement.ConnPool.ExecContext(tx.Statement.Context, statement)
			require.NoError(t, err, statement)
		}
	}))
	return func() bool { return n > 0 }
}

// Ensure that the guard rolls back a rebuild that would lose or change anything, with an
// error that names it. Without the guard the rebuild commits.
func TestGuard_differences(t *testing.T) {
	type row struct {
		Age int `gorm:"type:bigint"`
	}
	type text struct {
		Num string `gorm:"type:text"`
	}
	const (
		plain      = "CREATE TABLE t (id integer PRIMARY KEY, name text COLLATE NOCASE, age int, num numeric, data)"
		noKey      = "CREATE TABLE t (id integer, name text COLLATE NOCASE, age int, num numeric, data)"
		without    = "CREATE TABLE t (id integer, name text COLLATE NOCASE, age int, num numeric, data, PRIMARY KEY (name, id)) WITHOUT ROWID"
		binaryKey  = "CREATE TABLE t (id integer, name text COLLATE NOCASE, age int, num numeric, data, PRIMARY KEY (name COLLATE BINARY, id)) WITHOUT ROWID"
		positional = "CREATE TABLE t (rowid integer, oid int, _rowid_ int, name text COLLATE NOCASE, age int, num numeric, data)"
		copied     = "INSERT OR ABORT INTO"
		dropped    = "DROP TABLE"
		restored   = "CREATE TRIGGER"
	)
	for _, c := range []struct {
		name      string
		tables    []string
		model     any
		behind    string
		statement string
		want      string
	}{
		{"row gone", []string{plain, noKey, without, binaryKey, positional}, &row{}, copied, "DELETE FROM t__new WHERE name = 'c'", "has 3 rows and would have 2"},
		{"row more", []string{plain, noKey, without, binaryKey, positional}, &row{}, copied, "INSERT INTO t__new (name, age) VALUES ('d', 4)", "has 3 rows and would have 4"},
		{"value", []string{plain, noKey, without, binaryKey, positional}, &row{}, copied, "UPDATE t__new SET age = 8 WHERE name = 'c'", "column age would not be"},
		{"case, which the collation does not see", []string{plain, noKey, without, positional}, &row{}, copied, "UPDATE t__new SET name = 'C' WHERE name = 'c'", "would not be as before"},
		{"integer for text", []string{plain, noKey, without, binaryKey, positional}, &row{}, copied, "UPDATE t__new SET data = 1 WHERE name = 'a'", "column data would not be"},
		{"real for integer", []string{plain, noKey, without, binaryKey, positional}, &row{}, copied, "UPDATE t__new SET data = 2.0 WHERE name = 'b'", "column data would not be"},
		{"blob for text", []string{plain, noKey, without, binaryKey, positional}, &row{}, copied, "UPDATE t__new SET data = CAST(data AS BLOB) WHERE name = 'a'", "column data would not be"},
		{"NULL for nothing", []string{plain, noKey, without, binaryKey, positional}, &row{}, copied, "UPDATE t__new SET num = NULL WHERE name = 'c'", "column num would not be"},
		{"two rows that change places", []string{plain, noKey, without, binaryKey, positional}, &row{}, copied, "UPDATE t__new SET age = CASE name WHEN 'a' THEN 2 WHEN 'b' THEN 1 ELSE age END", "column age would not be"},
		{"rowid", []string{noKey}, &row{}, copied, "UPDATE t__new SET rowid = 77 WHERE name = 'c'", "a row would not be"},
		{"key", []string{plain}, &row{}, copied, "UPDATE t__new SET id = 77 WHERE name = 'c'", "a row would not be"},
		{"key", []string{without, binaryKey}, &row{}, copied, "UPDATE t__new SET name = 'z' WHERE name = 'c'", "a row would not be"},
		{"the column that changes", []string{plain, noKey, without, binaryKey, positional}, &text{}, copied, "UPDATE t__new SET num = '13' WHERE name = 'b'", "column num would not be"},
		{"and its type", []string{plain, noKey, without, binaryKey, positional}, &text{}, copied, "UPDATE t__new SET num = x'3132' WHERE name = 'b'", "column num would not be"},
		{"view", []string{plain}, &row{}, restored, "DROP VIEW v", "its view v would not be"},
		{"trigger of another table", []string{plain}, &row{}, restored, "DROP TRIGGER elsewhere", "its trigger elsewhere would not be"},
		{"index of another table", []string{plain}, &row{}, restored, "DROP INDEX io", "its index io would not be"},
		{"another table", []string{plain}, &row{}, restored, "ALTER TABLE other ADD y", "its table other would not be"},
		{"an index more", []string{plain}, &row{}, restored, "CREATE INDEX more ON other (x)", "a new index more"},
		{"foreign key", []string{plain}, &row{}, dropped, "INSERT INTO other VALUES (99)", "a foreign key would be violated: other 2 refers to t"},
	} {
		for _, create := range c.tables {
			for _, guarded := range []bool{true, false} {
				db := open(t, gormdialect.New(gormdialect.Config{DSN: file(t), WithoutRebuildGuard: !guarded}), quiet())
				planted := c.statement
				statements := []string{
					create, "CREATE TABLE other (x int REFERENCES t (id))", "CREATE INDEX io ON other (x)",
					"INSERT INTO t (name, age, num, data) VALUES ('a', 1, 1.5, '1'), ('b', 2, 12, 2), ('c', 3, '', NULL)",
					"CREATE VIEW v AS SELECT 1", "CREATE TRIGGER elsewhere AFTER INSERT ON other BEGIN SELECT 1; END",
					"CREATE TRIGGER own AFTER INSERT ON t BEGIN SELECT 1; END",
				}
				if create == plain {
					statements = append(statements, "INSERT INTO other VALUES (1)")
				}
				if create == without || create == binaryKey {
					statements[3] = "INSERT INTO t (id, name, age, num, data) VALUES (1, 'a', 1, 1.5, '1'), (2, 'b', 2, 12, 2), (3, 'c', 3, '', NULL)"
					planted = strings.Replace(planted, "(name, age) VALUES (", "(id, name, age) VALUES (4, ", 1)
				}
				setup(t, db, statements...)
				before := take(t, db)
				done := tamper(t, db, c.behind, planted)
				column := "Age"
				if _, ok := c.model.(*text); ok {
					column = "Num"
				}
				err := db.Table("t").Migrator().AlterColumn(c.model, column)
				require.True(t, done(), "%s: nothing was tampered with", c.name)
				if guarded {
					require.ErrorContains(t, err, c.want, "%s of %s", c.name, create)
					require.Equal(t, before, take(t, db), c.name)
				} else {
					require.NoError(t, err, c.name)
					require.NotEqual(t, before, take(t, db), c.name)
				}
			}
		}
	}
}

// Ensure that the guard compares every column of a table with as many columns as SQLite
// allows.
func TestGuard_columns(t *testing.T) {
	const count = 2000
	columns := make([]string, count)
	for i := range columns {
		columns[i] = "c" + strconv.Itoa(i)
	}
	db := open(t, gormdialect.Open(file(t)), quiet())
	require.NoError(t, db.Exec("CREATE TABLE t (id integer PRIMARY KEY, "+strings.Join(columns[1:], " int, ")+" int)").Error)
	require.NoError(t, db.Exec("INSERT INTO t (id, c1, c1999) VALUES (1, 2, 3)").Error)
	require.NoError(t, db.Table("t").Migrator().AlterColumn(model("column:c1;type:bigint"), "c1"))
	done := tamper(t, db, "INSERT OR ABORT INTO", "UPDATE t__new SET c1999 = 4")
	require.ErrorContains(t, db.Table("t").Migrator().AlterColumn(model("column:c1;type:text"), "c1"), "column c1999 would not be as before")
	require.True(t, done())
}

// Ensure that a value may change as its column's new affinity converts it. A number
// whose digits the new column cannot hold is an error, also if it is a text.
func TestGuard_affinity(t *testing.T) {
	for _, c := range []struct {
		from, to string
		values   string
		want     string // typeof and value of each, "" if it is refused
	}{
		{"text", "integer", "('12'), ('012'), ('1e2'), ('1.5'), ('x'), (NULL), (x'31')", "integer 12,integer 12,integer 100,real 1.5,text x,null ,blob 1"},
		{"integer", "text", "(12), (1.5), ('x'), (NULL), (x'31'), (9223372036854775807)", "text 12,text 1.5,text x,null ,blob 1,text 9223372036854775807"},
		{"integer", "real", "(12), (-3)", "real 12.0,real -3.0"},
		{"integer", "real", "(9007199254740993)", ""},
		{"text", "integer", "('9223372036854775807'), ('-9223372036854775808'), ('1e30')", "integer 9223372036854775807,integer -9223372036854775808,real 1.0e+30"},
		{"text", "integer", "('12345678901234567890')", ""},
		{"text", "numeric", "(' -12345678901234567890')", ""},
		{"text", "real", "('9007199254740993')", ""},
		{"text", "real", "('+12345678901234567891')", ""},
		{"text", "real", "('12'), (' -3 '), ('9007199254740992'), ('0.5')", "real 12.0,real -3.0,real 9007199254740992.0,real 0.5"},
		{"text", "real", "('1.10'), ('0.30000000000000004'), ('-1.7976931348623157E+308'), (' .5e-3')", "real 1.1,real 0.30000000000000004,real -1.7976931348623157e+308,real 0.0005"},
		{"text", "decimal(30,10)", "('0012.50'), ('123456789012345'), ('1000000000000000000000'), ('0.1000000000000000056')", "real 12.5,integer 123456789012345,real 1.0e+21,real 0.1"},
		{"text", "decimal(30,10)", "('12345678901234567.89')", ""},
		{"text", "decimal(30,10)", "('0.12345678901234567891')", ""},
		{"text", "decimal(30,10)", "('1e400')", ""},
		{"text", "decimal(30,10)", "('1e-400')", ""},
		{"text", "integer", "('9007199254740993.0')", ""},
		{"text", "integer", "('9007199254740993e1')", ""},
		{"text", "integer", "('9007199254740992.0'), ('90071992547409920'), ('007'), ('+49')", "integer 9007199254740992,integer 90071992547409920,integer 7,integer 49"},
		{"text", "integer", "('1.234567890123456789')", ""},
		{"real", "text", "(1.5), (0.1), (1e300)", "text 1.5,text 0.1,text 1.0e+300"},
		{"real", "integer", "(12.0), (1.5)", "integer 12,real 1.5"},
		{"", "text", "(12), ('12'), (x'31')", "text 12,text 12,blob 1"},
		{"text", "blob", "(12), ('x')", "text 12,text x"},
		{"text", "numeric", "('3.0'), ('-0')", "integer 3,integer 0"},
	} {
		db := open(t, gormdialect.Open(file(t)), quiet())
		require.NoError(t, db.Exec("CREATE TABLE t (id integer PRIMARY KEY, v "+c.from+")").Error)
		require.NoError(t, db.Exec("INSERT INTO t (v) VALUES "+c.values).Error)
		before := take(t, db)
		err := db.Table("t").Migrator().AlterColumn(model("column:v;type:"+c.to), "v")
		if c.want == "" {
			require.ErrorContains(t, err, "column v would not be as before")
			require.Equal(t, before, take(t, db))
			continue
		}
		require.NoError(t, err, c)
		var got string
		require.NoError(t, db.Raw("SELECT group_concat(typeof(v) || ' ' || coalesce(v, '') ORDER BY id) FROM t").Row().Scan(&got))
		require.Equal(t, c.want, got, c)
	}
}

// Ensure that a number is the same after each change of its column's type, or that the
// change is refused. Texts of up to 15 digits are never refused, nor are those that a
// float has at their length.
func TestGuard_digits(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	db := open(t, gormdialect.Open(file(t)), quiet())
	refused := map[bool]int{}
	significant := func(number string) string {
		mantissa, exponent, _ := strings.Cut(number, "e")
		whole, fraction, _ := strings.Cut(mantissa, ".")
		return whole + "." + strings.TrimRight(fraction, "0") + "e" + exponent
	}
	for range 150 {
		value := math.Ldexp(random.Float64(), random.IntN(140)-70)
		digits := 1 + random.IntN(20)
		number := significant(strconv.FormatFloat(value, 'e', digits-1, 64))
		digits = strings.IndexByte(strings.Replace(number, ".", "", 1), 'e')
		other := digits > 1 && random.IntN(2) == 0 // mostly digits that no float has
		if last := strings.IndexByte(number, 'e') - 1; other {
			number = number[:last] + strconv.Itoa(1+random.IntN(9)) + number[last+1:]
		}
		require.NoError(t, db.Exec("DROP TABLE IF EXISTS t").Error)
		require.NoError(t, db.Exec("CREATE TABLE t (v text)").Error)
		require.NoError(t, db.Exec("INSERT INTO t VALUES ('"+number+"')").Error)
		for _, to := range []string{"real", "text"} {
			if err := db.Table("t").Migrator().AlterColumn(model("column:v;type:"+to), "v"); err != nil {
				require.ErrorContains(t, err, "column v would not be as before")
				require.True(t, other && digits > 15 || to == "text", number)
				refused[digits > 17]++
				break
			}
			var got float64
			require.NoError(t, db.Raw("SELECT CAST(v AS REAL) FROM t").Row().Scan(&got))
			require.Equal(t, number, significant(strconv.FormatFloat(got, 'e', digits-1, 64)))
		}
	}
	require.NotZero(t, refused[true], "more digits than a real has")
}

// Ensure that a text with the digits of a float becomes that float and is not refused:
// with the fewest digits, as Go, Python and JavaScript write it, or with any number of
// digits that is rounded correctly. Powers of two are there because their shortest text
// is not always the nearest one of its length.
func TestGuard_shortest(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	floats := []float64{-1435.0469221322282, 0.13758146473033372, 205277390461149.12, 5e-324, 1.5e300}
	for range 2000 {
		floats = append(floats, math.Ldexp(random.Float64()-0.5, random.IntN(140)-70))
	}
	for exponent := -80; exponent < 80; exponent++ {
		floats = append(floats, math.Ldexp(1, exponent))
	}
	for _, to := range []string{"real", "decimal(30,10)"} {
		for _, format := range []func(f float64) string{
			func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) },
			func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) },
			func(f float64) string { return strconv.FormatFloat(f, 'e', 15, 64) },
			func(f float64) string { return strconv.FormatFloat(f, 'e', 16, 64) },
			func(f float64) string { return strconv.FormatFloat(f, 'e', 20, 64) },
		} {
			db := open(t, gormdialect.Open(file(t)), quiet())
			require.NoError(t, db.Exec("CREATE TABLE t (id integer PRIMARY KEY, v text)").Error)
			var texts []string
			for _, f := range floats {
				// Without a point and an exponent it is an integer, and has all of its digits.
				if text := format(f); math.Abs(f) < 1<<53 || strings.Contains(text, "e") {
					texts = append(texts, "('"+text+"')")
				}
			}
			require.NoError(t, db.Exec("INSERT INTO t (v) VALUES "+strings.Join(texts, ", ")).Error)
			require.NoError(t, db.Table("t").Migrator().AlterColumn(model("column:v;type:"+to), "v"))
			var got []float64
			require.NoError(t, db.Raw("SELECT +v FROM t ORDER BY id").Scan(&got).Error)
			for i, text := range texts {
				want, err := strconv.ParseFloat(strings.Trim(text, "()'"), 64)
				require.NoError(t, err)
				require.Equal(t, want, got[i], text)
			}
		}
	}
}

// Ensure that a generated column may change with a column that it is computed from.
func TestGuard_generated(t *testing.T) {
	db := open(t, gormdialect.Open(file(t)), quiet())
	require.NoError(t, db.Exec("CREATE TABLE t (id integer PRIMARY KEY, v integer, k AS (typeof(v)), s AS (v || '') STORED)").Error)
	require.NoError(t, db.Exec("INSERT INTO t (v) VALUES (1), (2)").Error)
	require.NoError(t, db.Table("t").Migrator().AlterColumn(model("column:v;type:text"), "v"))
	var got string
	require.NoError(t, db.Raw("SELECT group_concat(k || s) FROM t").Row().Scan(&got))
	require.Equal(t, "text1,text2", got)
}

// Ensure that a new foreign key that rows violate is an error. Rows that violated one
// before are not, and neither is a foreign key without a parent table.
func TestGuard_foreignKeys(t *testing.T) {
	type owner struct {
		ID   uint
		Name string `gorm:"type:varchar(50)"`
	}
	type thing struct {
		Chip    string `gorm:"primaryKey"`
		OwnerID uint
		Owner   owner
	}
	for _, on := range []string{"0", "1"} {
		db := open(t, gormdialect.Open(file(t)+"?_foreign_keys="+on), quiet())
		setup(t, db,
			"CREATE TABLE owners (id integer PRIMARY KEY, name text)", "CREATE TABLE things (chip text PRIMARY KEY, owner_id integer, other int REFERENCES nowhere)",
			"PRAGMA foreign_keys = OFF",
			"INSERT INTO owners VALUES (1, 'a')", "INSERT INTO things VALUES ('x', 1, NULL), ('y', 9, 5)",
		)
		require.NoError(t, db.Exec("PRAGMA foreign_keys = "+on).Error)
		before := take(t, db)
		m := db.Table("things").Migrator()
		require.ErrorContains(t, m.CreateConstraint(&thing{}, "Owner"), "a foreign key would be violated: things 2 refers to owners")
		require.Equal(t, before, take(t, db))
		require.NoError(t, db.Table("things").Migrator().AlterColumn(model("column:chip;type:varchar(9);primaryKey"), "chip"))
		require.NoError(t, db.Exec("PRAGMA foreign_keys = OFF").Error)
		require.NoError(t, db.Exec("UPDATE things SET owner_id = 1").Error)
		require.NoError(t, db.Exec("PRAGMA foreign_keys = "+on).Error)
		require.NoError(t, m.CreateConstraint(&thing{}, "Owner"))
		require.True(t, m.HasConstraint(&thing{}, "Owner"))
		require.NoError(t, db.Table("owners").Migrator().AlterColumn(&owner{}, "Name"))
	}
}

// Ensure that rows which conflict in the new table are an error also without the guard,
// and with any ON CONFLICT.
func TestGuard_conflicts(t *testing.T) {
	for _, conflict := range []string{"REPLACE", "IGNORE", "ROLLBACK", "FAIL"} {
		db := open(t, gormdialect.New(gormdialect.Config{DSN: file(t), WithoutRebuildGuard: true}), quiet())
		require.NoError(t, db.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE ON CONFLICT "+conflict+")").Error)
		require.NoError(t, db.Exec("INSERT INTO t VALUES (1, '1'), (2, '01')").Error)
		before := take(t, db)
		for _, way := range ways {
			require.ErrorContains(t, way.run(t, db, func(db *gorm.DB) error {
				return db.Table("t").Migrator().AlterColumn(model("column:v;type:integer"), "v")
			}), "UNIQUE constraint failed", way.name)
			require.Equal(t, before, take(t, db), way.name)
		}
	}
}
