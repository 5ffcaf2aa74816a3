package portability

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sqlite-mem/sqlite-mem/gormdialect"
	"github.com/sqlite-mem/sqlite-mem/models"
	"github.com/sqlite-mem/sqlite-mem/models/internal/suite"
)

// maxConns is the most connections of a test. It is below the servers' limits, and large
// enough for statements to run at the same time.
const maxConns = 32

// Ensure that the models pass the suite on sqlite-mem. The main module's tests also run
// it on SQLite files.
func TestSQLiteMem(t *testing.T) { suite.Run(t, openMem, openMem) }

// Ensure that the models pass the suite on PostgreSQL, with any locale and isolation of
// the database and both protocols of its driver.
func TestPostgres(t *testing.T) {
	for name, open := range map[string]suite.Open{
		"locale": openPostgres("TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'", "", false),
		"serializable, simple protocol": openPostgres("TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'",
			" default_transaction_isolation=serializable", true),
	} {
		t.Run(name, func(t *testing.T) { suite.Run(t, open, open) })
	}
}

// Ensure that the models pass the suite on MySQL or MariaDB, with any character set of
// the database and any options of the driver.
func TestMySQL(t *testing.T) {
	for name, open := range map[string]suite.Open{
		"utf8mb4": openMySQL("CHARACTER SET utf8mb4", nil),
		"latin1": openMySQL("CHARACTER SET latin1", func(c *mysqldriver.Config) {
			c.ClientFoundRows = true
			c.InterpolateParams = true
		}),
	} {
		t.Run(name, func(t *testing.T) { suite.Run(t, open, open) })
	}
}

// Ensure that Copy copies from each kind of database to each other.
func TestCopy(t *testing.T) {
	kinds := []struct {
		name string
		open suite.Open
	}{
		{"sqlite-mem", openMem},
		{"Postgres", openPostgres("", "", false)},
		{"MySQL", openMySQL("", nil)},
	}
	for _, from := range kinds {
		for _, to := range kinds {
			if from.name != to.name { // the suite copies within one kind
				t.Run(from.name+" to "+to.name, func(t *testing.T) { suite.RunCopy(t, from.open, to.open) })
			}
		}
	}
}

// Ensure that a value arrives as it is or is converted without a loss, and that any
// other is an error of the check that names it.
func TestCopy_values(t *testing.T) {
	kinds := map[string]suite.Open{"sqlite-mem": openMem, "Postgres": openPostgres("", "", false), "MySQL": openMySQL("CHARACTER SET utf8mb4", nil)}
	for _, c := range []struct{ from, column, value, to, target, want string }{ // want: the value as text, or the error
		{"sqlite-mem", "BOOLEAN", "2", "Postgres", "BOOLEAN", "is 2, which is no boolean"}, {"sqlite-mem", "BOOLEAN", "1", "Postgres", "BOOLEAN", "true"},
		{"sqlite-mem", "BOOLEAN", "-1", "MySQL", "BOOLEAN", "-1"}, {"sqlite-mem", "BOOLEAN", "2", "Postgres", "INTEGER", "2"},
		{"sqlite-mem", "TEXT", "x'6162'", "Postgres", "TEXT", `is the blob "ab", which is no text`}, {"sqlite-mem", "TEXT", "x'6162'", "MySQL", "TEXT", `is the blob "ab", which is no text`},
		{"sqlite-mem", "BLOB", "'ab'", "Postgres", "BYTEA", `is "ab", which is no blob`}, {"sqlite-mem", "BLOB", "'ab'", "MySQL", "BLOB", `is "ab", which is no blob`},
		{"sqlite-mem", "BLOB", "x'6162'", "Postgres", "TEXT", "ab"}, {"sqlite-mem", "TEXT", "'ab'", "MySQL", "BLOB", "ab"}, {"sqlite-mem", "TEXT", "x'6162'", "Postgres", "BYTEA", `\x6162`},
		{"sqlite-mem", "REAL", "x'312e35'", "Postgres", "DOUBLE PRECISION", `is the blob "1.5", which is no floating-point number`},
		{"sqlite-mem", "DATETIME", "1700000000", "Postgres", "TIMESTAMP", "2023-11-14 22:13:20"}, {"sqlite-mem", "DATE", "'12:00'", "Postgres", "TIMESTAMP", `is "12:00", which is no time`},
		{"sqlite-mem", "DATE", "''", "Postgres", "TIMESTAMP", `is "", which is no time`}, {"sqlite-mem", "DATE", "'2025-01-31'", "MySQL", "DATETIME", "2025-01-31 00:00:00"},
		{"sqlite-mem", "", "'5'", "Postgres", "BIGINT", `is "5", which is no integer`}, {"sqlite-mem", "", "5", "MySQL", "TEXT", "is 5, which is no text"},
		{"sqlite-mem", "TEXT", "'05'", "Postgres", "BIGINT", `is "05", which is no integer`}, {"sqlite-mem", "STRING", "5", "Postgres", "TEXT", "5"},
		{"Postgres", "TEXT", "'05'", "sqlite-mem", "JSON", `is "05", which is no value that SQLite keeps in a NUMERIC column`}, {"Postgres", "TEXT", "'5'", "sqlite-mem", "JSON", "5"},
		{"Postgres", "TEXT", "'{}'", "sqlite-mem", "JSON", "{}"}, {"Postgres", "BOOLEAN", "TRUE", "sqlite-mem", "", "1"}, {"Postgres", "TIMESTAMP", "'2025-01-31'", "sqlite-mem", "", "which is no value of SQLite"},
		{"Postgres", "TIMESTAMPTZ", "'2025-01-31 10:00:00+02'", "sqlite-mem", "TIMESTAMP WITH TIME ZONE", "2025-01-31 08:00:00+00:00"},
		{"Postgres", "DOUBLE PRECISION", "'NaN'", "Postgres", "DOUBLE PRECISION", "is NaN"}, {"Postgres", "DOUBLE PRECISION", "5", "sqlite-mem", "DECIMAL", "5"},
		{"sqlite-mem", "DATETIME", "'0001-01-01 00:00:00+00:00'", "Postgres", "TIMESTAMPTZ NOT NULL", "0001-01-01 00:00:00+00"},
		{"Postgres", "TIMESTAMPTZ", "'0001-01-01 00:00:00+00'", "sqlite-mem", "DATETIME NOT NULL", "0001-01-01 00:00:00+00:00"},
		{"sqlite-mem", "DATETIME", "'0001-01-01 00:00:00+00:00'", "MySQL", "DATETIME NOT NULL", "is NULL or the zero time"},
		{"Postgres", "TEXT", "NULL", "MySQL", "VARCHAR(10) NOT NULL", "is NULL"},
		{"MySQL", "VARBINARY(10)", "'ab'", "sqlite-mem", "TEXT", "ab"}, {"MySQL", "TEXT", "'ab'", "sqlite-mem", "BLOB", "ab"}, {"MySQL", "TEXT", "'ab'", "Postgres", "TEXT", "ab"},
		{"MySQL", "DOUBLE", "0.1", "sqlite-mem", "REAL", "0.1"}, {"MySQL", "BOOLEAN", "2", "Postgres", "BOOLEAN", "is 2, which is no boolean"},
	} {
		t.Run(fmt.Sprintf("%s %s %s to %s %s", c.from, c.column, c.value, c.to, c.target), func(t *testing.T) {
			from, to := kinds[c.from](t, quiet()), kinds[c.to](t, quiet())
			require.NoError(t, from.Exec("CREATE TABLE t (k INTEGER PRIMARY KEY, v "+c.column+")").Error)
			require.NoError(t, to.Exec("CREATE TABLE t (k INTEGER PRIMARY KEY, v "+c.target+")").Error)
			require.NoError(t, from.Exec("INSERT INTO t VALUES (1, "+c.value+")").Error)
			_, checked := models.Copy(t.Context(), from, to, models.CopyOptions{DryRun: true})
			_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
			require.Equal(t, checked == nil, err == nil, "%v, %v", checked, err)
			if err != nil {
				require.ErrorIs(t, err, models.ErrInvalid)
				require.ErrorContains(t, err, `source table t, row "1": v is `)
				require.ErrorContains(t, err, c.want)
				return
			}
			text := "TEXT"
			if c.to == "MySQL" {
				text = "CHAR"
			}
			var got string
			require.NoError(t, to.Raw("SELECT CAST(v AS "+text+") FROM t").Scan(&got).Error)
			require.Equal(t, c.want, got)
		})
	}
}

// Ensure that PostgreSQL does not give out a key that was deleted from an AUTOINCREMENT
// table of SQLite.
func TestPostgres_autoincrement(t *testing.T) {
	from, to := openMem(t, quiet()), openPostgres("", "", false)(t, quiet())
	for _, table := range []string{"gone", "emptied"} {
		require.NoError(t, from.Exec("CREATE TABLE "+table+" (k INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)").Error)
		require.NoError(t, to.Exec("CREATE TABLE "+table+" (k BIGSERIAL PRIMARY KEY, v TEXT)").Error)
		require.NoError(t, from.Exec("INSERT INTO "+table+" VALUES (1, ''), (100, '')").Error)
	}
	require.NoError(t, from.Exec("DELETE FROM gone WHERE k = 100").Error)
	require.NoError(t, from.Exec("DELETE FROM emptied").Error)
	_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
	require.NoError(t, err)
	for _, table := range []string{"gone", "emptied"} {
		var next int64
		require.NoError(t, to.Raw("INSERT INTO "+table+" (v) VALUES ('') RETURNING k").Scan(&next).Error)
		require.EqualValues(t, 101, next, table)
	}
}

// Ensure that keys are sorted by their bytes on PostgreSQL, also in a table of another
// program with the database's locale. Our own tables have an index for that order.
func TestPostgres_collation(t *testing.T) {
	db := openPostgres("TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'", "", false)(t, quiet())
	require.NoError(t, db.Exec(`CREATE TABLE elsewhere (key text PRIMARY KEY, value text NOT NULL)`).Error)
	require.NoError(t, db.Exec(`CREATE TABLE quotas (username text PRIMARY KEY, max_storage bigint, created_at bigint)`).Error)
	require.NoError(t, models.Migrate(t.Context(), db))
	elsewhere, err := models.NewTable(db, models.TableSpec{Name: "elsewhere"})
	require.NoError(t, err)
	quotas, err := models.NewQuotas(db, models.QuotaConfig{})
	require.NoError(t, err)
	for _, key := range []string{"b", "a", "B", "ä", "A", "_"} {
		require.NoError(t, elsewhere.Set(t.Context(), key, ""))
		require.NoError(t, quotas.Set(t.Context(), key, 1))
	}
	want := []string{"A", "B", "_", "a", "b", "ä"}
	var tables, users []string
	for i := range want {
		entries, err := elsewhere.List(t.Context(), strings.Join(want[max(i-1, 0):i], ""), 1)
		require.NoError(t, err)
		tables = append(tables, string(entries[0].Key))
		rows, err := quotas.List(t.Context(), strings.Join(want[max(i-1, 0):i], ""), 1)
		require.NoError(t, err)
		users = append(users, string(rows[0].Username))
	}
	require.Equal(t, want, tables)
	require.Equal(t, want, users)
	to := openMem(t, quiet())
	_, err = models.Copy(t.Context(), db, to, models.CopyOptions{Tables: []models.TableSpec{{Name: "elsewhere"}}, BatchRows: 2})
	require.NoError(t, err)

	made, err := models.NewTable(db, models.TableSpec{Name: "made"})
	require.NoError(t, err)
	require.NoError(t, made.Migrate(t.Context()))
	var collations []string
	require.NoError(t, db.Raw(`SELECT table_name || ' ' || coalesce(collation_name, 'default') FROM information_schema.columns
		WHERE table_schema = current_schema() AND column_name IN ('slug', 'key', 'username', 'token') ORDER BY 1`).Scan(&collations).Error)
	require.Equal(t, []string{"blocked_users C", "contacts C", "elsewhere default", "made C", "quotas default", "registration_tokens C", "table_entries C"}, collations)
}

// Ensure that Copy copies a whole table of another program on MySQL, whose collation
// does not sort by bytes. A target that takes two keys for one is an error.
func TestMySQL_collation(t *testing.T) {
	foreign := func() *gorm.DB {
		db := openMySQL("CHARACTER SET utf8mb4", nil)(t, quiet())
		require.NoError(t, db.Exec("CREATE TABLE table_entries (`key` varchar(191) PRIMARY KEY, `value` longtext NOT NULL)").Error)
		return db
	}
	from := foreign()
	entries, err := models.NewTable(from, models.TableSpec{Name: "table_entries"})
	require.NoError(t, err)
	for _, key := range []string{"b", "a", "_", "Z", "ä2", "c "} {
		require.NoError(t, entries.Set(t.Context(), key, "value of "+key))
	}
	to := openMem(t, quiet())
	_, err = models.Copy(t.Context(), from, to, models.CopyOptions{BatchRows: 2})
	require.NoError(t, err)
	copied, err := models.NewTable(to, models.TableSpec{Name: "table_entries"})
	require.NoError(t, err)
	keys, err := copied.Keys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"Z", "_", "a", "b", "c ", "ä2"}, keys)

	require.NoError(t, copied.Set(t.Context(), "A", ""))
	_, err = models.Copy(t.Context(), to, foreign(), models.CopyOptions{BatchRows: 2})
	require.ErrorIs(t, err, models.ErrConflict)
}

// Ensure that a transaction which the server rolls back in a deadlock is retried.
func TestDeadlock(t *testing.T) {
	for name, c := range map[string]struct {
		open    suite.Open
		spared  string // makes the server roll back the other transaction
		waiting string // returns the number of transactions that wait for a row, in its second column
	}{
		"Postgres": {openPostgres("", "", false), "SET LOCAL deadlock_timeout = '50s'", "SELECT 'waiting', count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"},
		"MySQL":    {openMySQL("", nil), "DO 0", "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			from, to := openMem(t, quiet()), c.open(t, quiet())
			require.NoError(t, models.Migrate(ctx, from))
			require.NoError(t, models.Migrate(ctx, to))
			rows := []models.Quota{{Username: "a", MaxStorage: 1}, {Username: "b", MaxStorage: 1}}
			require.NoError(t, from.Create(&rows).Error)
			rows = []models.Quota{{Username: "a"}, {Username: "b"}}
			require.NoError(t, to.Create(&rows).Error)

			// This transaction locks b, and then a, while the copy holds a and waits for b.
			// InnoDB rolls back the transaction that has written less, and PostgreSQL the
			// one that looks for deadlocks first.
			tx := to.WithContext(ctx).Begin()
			defer tx.Rollback()
			require.NoError(t, tx.Exec(c.spared).Error)
			for i := range 100 {
				require.NoError(t, tx.Create(&models.TableEntry{Key: models.Key(fmt.Sprint(i))}).Error)
			}
			require.NoError(t, tx.Model(&models.Quota{}).Where("username = ?", "b").Update("max_storage", 2).Error)
			done := make(chan error, 1)
			go func() {
				_, err := models.Copy(ctx, from, to, models.CopyOptions{Overwrite: true})
				done <- err
			}()
			for waiting := 0; waiting == 0; {
				var name string
				require.NoError(t, to.WithContext(ctx).Raw(c.waiting).Row().Scan(&name, &waiting))
			}
			require.NoError(t, tx.Model(&models.Quota{}).Where("username = ?", "a").Update("max_storage", 2).Error)
			require.NoError(t, tx.Rollback().Error)
			require.NoError(t, <-done)
		})
	}
}

func quiet() *gorm.Config { return &gorm.Config{Logger: logger.Discard} }

func openMem(t *testing.T, config *gorm.Config) *gorm.DB {
	t.Helper()
	return opened(t, gormdialect.Open(filepath.Join(t.TempDir(), "test.db")), config)
}

// openPostgres returns a suite.Open for databases created with the given options, and
// connections with the given settings.
func openPostgres(options, settings string, simpleProtocol bool) suite.Open {
	return func(t *testing.T, config *gorm.Config) *gorm.DB {
		t.Helper()
		dsn := server(t, "SQLITE_MEM_TEST_POSTGRES")
		name := database(t, postgres.Open(dsn), `CREATE DATABASE %s `+options, `DROP DATABASE %s WITH (FORCE)`)
		return opened(t, postgres.New(postgres.Config{DSN: dsn + " dbname=" + name + settings, PreferSimpleProtocol: simpleProtocol}), config)
	}
}

// openMySQL returns a suite.Open for databases created with the given options.
func openMySQL(options string, configure func(*mysqldriver.Config)) suite.Open {
	return func(t *testing.T, config *gorm.Config) *gorm.DB {
		t.Helper()
		dsn, err := mysqldriver.ParseDSN(server(t, "SQLITE_MEM_TEST_MYSQL"))
		require.NoError(t, err)
		dsn.ParseTime = true
		dsn.DBName = ""
		name := database(t, mysql.Open(dsn.FormatDSN()), `CREATE DATABASE %s `+options, `DROP DATABASE %s`)
		dsn.DBName = name
		if configure != nil {
			configure(dsn)
		}
		return opened(t, mysql.Open(dsn.FormatDSN()), config)
	}
}

// server returns the connection string in an environment variable. Without one it skips
// or fails the test.
func server(t *testing.T, variable string) string {
	t.Helper()
	dsn := os.Getenv(variable)
	if dsn == "" {
		if os.Getenv("SQLITE_MEM_TEST_REQUIRE") != "" {
			t.Fatalf("%s is not set", variable)
		}
		t.Skipf("%s is not set; ./run starts servers and sets it", variable)
	}
	return dsn
}

// database creates a database with a new name, and drops it at the end of the test.
func database(t *testing.T, admin gorm.Dialector, create, drop string) (name string) {
	t.Helper()
	name = "sqlite_mem_test_" + strings.ToLower(rand.Text())
	exec := func(statement string) {
		db, err := gorm.Open(admin, &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		pool, err := db.DB()
		require.NoError(t, err)
		defer pool.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, db.WithContext(ctx).Exec(fmt.Sprintf(statement, name)).Error)
	}
	exec(create)
	t.Cleanup(func() { exec(drop) })
	return name
}

func opened(t *testing.T, dialector gorm.Dialector, config *gorm.Config) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(dialector, config)
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(maxConns)
	pool.SetMaxIdleConns(maxConns)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	return db
}

// Ensure that names which match several tables or columns without regard to case are
// refused, and types that are not converted. Each error names what to exclude.
func TestPostgres_refused(t *testing.T) {
	from, to := openMem(t, quiet()), openPostgres("", "", false)(t, quiet())
	require.NoError(t, from.Exec(`CREATE TABLE twice (id INTEGER PRIMARY KEY)`).Error)
	require.NoError(t, from.Exec(`CREATE TABLE columns (id INTEGER PRIMARY KEY, name TEXT, price TEXT)`).Error)
	for _, statement := range []string{`CREATE TABLE twice (id BIGINT PRIMARY KEY)`, `CREATE TABLE "Twice" (id BIGINT PRIMARY KEY)`,
		`CREATE TABLE columns (id BIGINT PRIMARY KEY, name TEXT, "Name" TEXT, price NUMERIC, needed BIGINT NOT NULL)`} {
		require.NoError(t, to.Exec(statement).Error)
	}
	_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
	require.ErrorIs(t, err, models.ErrInvalid)
	for _, want := range []string{"target table twice matches several tables", "has several columns name", "has a column price of type TEXT (numeric in the target)",
		"has a column needed, which needs a value"} {
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, to.Exec(`ALTER TABLE columns ALTER needed SET DEFAULT 5`).Error)
	_, err = models.Copy(t.Context(), from, to, models.CopyOptions{Exclude: []string{"twice", "columns.name", "columns.price"}})
	require.NoError(t, err)
	_, err = models.Copy(t.Context(), to, openMem(t, quiet()), models.CopyOptions{Exclude: []string{"columns"}})
	require.ErrorContains(t, err, "source table Twice matches several tables")
}
