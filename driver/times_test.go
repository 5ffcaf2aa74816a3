//go:build cgo

package driver_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/live"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// everyRole opens a database in each role.
func everyRole(t *testing.T, params string, f func(t *testing.T, db *sql.DB)) {
	t.Run("server", func(t *testing.T) { f(t, testdb.Open(t, testdb.Path(t)+"?"+params)) })
	t.Run("file", func(t *testing.T) { f(t, testdb.Open(t, testdb.Path(t)+"?sqlite_in_memory=no&"+params)) })
	t.Run("live", func(t *testing.T) {
		if !live.Supported {
			t.Skip("no live connections here")
		}
		path := testdb.Path(t)
		require.NoError(t, testdb.Open(t, path).Ping())
		f(t, testdb.Open(t, path+"?sqlite_role=tool&"+params))
	})
}

// Ensure that a time is written as the other driver's parameters say, in every role and by
// every way to bind one, and is read as the same time again.
func TestTimes_written(t *testing.T) {
	berlin := time.FixedZone("CEST", 2*60*60)
	at := time.Date(2024, 5, 6, 7, 8, 9, 123456789, berlin)
	for params, want := range map[string]struct {
		value any
		read  time.Time
	}{
		"_time_format=sqlite":                         {"2024-05-06 07:08:09.123456789+02:00", at},
		"_time_format=datetime":                       {"2024-05-06 07:08:09", time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)},
		"_time_format=datetime&_timezone=UTC":         {"2024-05-06 05:08:09", at.Truncate(time.Second)},
		"_time_format=string_no_monotonic":            {"2024-05-06 07:08:09.123456789 +0200 CEST", at},
		"_timezone=America/New_York":                  {"2024-05-06 01:08:09.123456789-04:00", at},
		"_time_format=datetime&_timezone=Asia/Tokyo":  {"2024-05-06 14:08:09", at.Truncate(time.Second)},
		"_time_integer_format=unix":                   {at.Unix(), at.Truncate(time.Second)},
		"_time_integer_format=unix_milli":             {at.UnixMilli(), at.Truncate(time.Millisecond)},
		"_time_integer_format=unix_micro":             {at.UnixMicro(), at.Truncate(time.Microsecond)},
		"_time_integer_format=unix_nano&_inttotime=1": {at.UnixNano(), at},
		"_timefmt=auto":                               {"2024-05-06T07:08:09.123456789+02:00", at},
		"_timefmt=rfc3339":                            {"2024-05-06T07:08:09.123456789+02:00", at},
		"_timefmt=sqlite":                             {"2024-05-06 05:08:09", at.Truncate(time.Second)},
		"_timefmt=unixepoch":                          {at.Unix(), at.Truncate(time.Second)},
		"_timefmt=unixepoch_milli":                    {at.UnixMilli(), at.Truncate(time.Millisecond)},
		"_timefmt=unixepoch_micro":                    {at.UnixMicro(), at.Truncate(time.Microsecond)},
		"_timefmt=unixepoch_nano":                     {at.UnixNano(), at},
	} {
		t.Run(params, func(t *testing.T) {
			everyRole(t, params, func(t *testing.T, db *sql.DB) {
				testdb.Exec(t, db, "CREATE TABLE t(d DATETIME)")
				s, err := db.Prepare("INSERT INTO t VALUES(?)")
				require.NoError(t, err)
				for _, insert := range []func() error{
					func() error { _, err := db.Exec("INSERT INTO t VALUES(?)", at); return err },
					func() error { _, err := db.Exec("INSERT INTO t VALUES(:d)", sql.Named("d", at)); return err },
					func() error { _, err := s.Exec(sql.NullTime{Time: at, Valid: true}); return err },
				} {
					require.NoError(t, insert())
				}
				require.NoError(t, s.Close())
				var n int
				require.NoError(t, db.QueryRow("SELECT count(*) FROM t WHERE d = ?", at).Scan(&n))
				require.Equal(t, 3, n, "a time in a condition has the same form")
				var stored any
				require.NoError(t, db.QueryRow("SELECT +d FROM t WHERE rowid = 1 AND typeof(d) IS NOT NULL").Scan(&stored))
				if got, ok := stored.(time.Time); ok { // guessed, as ncruces/go-sqlite3 does
					stored = got.Format(time.RFC3339Nano)
				}
				require.Equal(t, want.value, stored)
				rows, err := db.Query("SELECT d FROM t")
				require.NoError(t, err)
				for range 2 { // the second time from the cache of statements
					for rows.Next() {
						var got time.Time
						require.NoError(t, rows.Scan(&got))
						require.True(t, want.read.Equal(got), "%v, not %v", got, want.read)
					}
					require.NoError(t, rows.Err())
					rows, err = db.Query("SELECT d FROM t")
					require.NoError(t, err)
				}
				require.NoError(t, rows.Close())
			})
		})
	}
}

// Ensure that what other drivers have stored is read as they read it, in every role.
func TestTimes_read(t *testing.T) {
	utc := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	require.NoError(t, err)
	type stored struct {
		typ, value string
		want       any
	}
	for params, list := range map[string][]stored{
		"": {
			{"DATETIME", "'2024-05-06 07:08:09.5 +0200 CEST m=+1.5'", time.Date(2024, 5, 6, 7, 8, 9, 5e8, time.FixedZone("CEST", 2*60*60))},
			{"DATETIME", "'2024-05-06 07:08:09 +0000 UTC'", utc},
			{"DATETIME", "'no time'", time.Time{}},
			{"DATE", "1714979289000", utc},
			{"DATETIME", "1.5", 1.5},
			{"", "'2024-05-06T07:08:09Z'", "2024-05-06T07:08:09Z"},
		},
		"_time_format=sqlite": {
			{"DATETIME", "'2024-05-06 07:08:09 +0000 UTC m=+1.5'", utc},
		},
		"_timezone=Asia/Tokyo": {
			{"DATETIME", "'2024-05-06 16:08:09'", utc.In(tokyo)},
			{"DATETIME", "'2024-05-06T07:08:09Z'", utc.In(tokyo)},
			{"DATETIME", "1714979289", utc.In(tokyo)},
		},
		"_inttotime=0": {
			{"DATETIME", "1714979289", int64(1714979289)},
		},
		"_inttotime=1": {
			{"TIMESTAMP", "1714979289000", utc},
			{"INTEGER", "1714979289", int64(1714979289)},
		},
		"_time_integer_format=unix_nano": {
			{"DATE", "1714979289000000000", utc},
		},
		"_texttotime=1": {
			{"", "'2024-05-06 07:08:09'", utc},
			{"", "'no time'", "no time"},
			{"TEXT", "'2024-05-06 07:08:09'", "2024-05-06 07:08:09"},
		},
		"_texttotime=0": {
			{"", "'2024-05-06 07:08:09'", "2024-05-06 07:08:09"},
		},
		"_timefmt=auto": {
			{"", "'2024-05-06T07:08:09Z'", utc},
			{"VARCHAR(40)", "'2024-05-06T07:08:09Z'", utc},
			{"TEXT", "'2024-05-06T07:08:09Z'", "2024-05-06T07:08:09Z"},
			{"", "'2024-05-06T07:08:09.10Z'", "2024-05-06T07:08:09.10Z"},
			{"DATETIME", "2460436.797326389", utc},
			{"DATETIME", "2440587", time.Date(1969, 12, 31, 12, 0, 0, 0, time.UTC)},
			{"DATETIME", "1714979289.5", utc.Add(time.Second / 2)},
			{"DATETIME", "1714979289", utc},
			{"DATETIME", "1714979289000", utc},
			{"BOOLEAN", "1", true},
			{"DATETIME", "NULL", nil},
		},
		"_timefmt=sqlite": {
			{"", "'2024-05-06T07:08:09Z'", "2024-05-06T07:08:09Z"},
			{"DATETIME", "1714979289000000", utc},
			{"DATETIME", "1714979289000000000", utc},
		},
		"_timefmt=unixepoch": {
			{"DATETIME", "10000000000000", time.Unix(10000000000000, 0).UTC()},
		},
	} {
		t.Run(params, func(t *testing.T) {
			everyRole(t, params, func(t *testing.T, db *sql.DB) {
				for i, c := range list {
					table := fmt.Sprint("t", i)
					testdb.Exec(t, db, "CREATE TABLE "+table+"(d "+c.typ+"); INSERT INTO "+table+" VALUES("+c.value+")")
					for range 2 { // the second time from the cache of statements
						var got any
						require.NoError(t, db.QueryRow("SELECT d FROM "+table).Scan(&got))
						if want, ok := c.want.(time.Time); ok {
							require.IsType(t, want, got, "%v", c)
							require.Equal(t, want.Format(time.RFC3339Nano), got.(time.Time).Round(time.Millisecond).Format(time.RFC3339Nano))
						} else {
							require.Equal(t, c.want, got, "%v", c)
						}
					}
					rows, err := db.Query("SELECT d FROM " + table)
					require.NoError(t, err)
					types, err := rows.ColumnTypes()
					require.NoError(t, err)
					require.Equal(t, c.typ, types[0].DatabaseTypeName())
					require.NoError(t, rows.Close())
				}
			})
		})
	}
}

// Ensure that the parameters of other drivers that cannot be honoured are refused by name,
// with the reason, and that those that ask for what is so anyway are not.
func TestTimes_refused(t *testing.T) {
	for dsn, want := range map[string]string{
		"a.db?_time_format=Unix":                   "_time_format=Unix: want sqlite",
		"a.db?_time_integer_format=days":           "_time_integer_format=days: want unix",
		"a.db?_inttotime=maybe":                    "_inttotime=maybe: want 1",
		"a.db?_texttotime=":                        "_texttotime=: want 1",
		"a.db?_timezone=Local":                     "_timezone=Local: want the name of a time zone",
		"a.db?_timezone=Nowhere/Else":              "_timezone=Nowhere/Else: unknown time zone",
		"a.db?_timezone=UTC&_loc=auto":             "_timezone=UTC: it cannot apply beside _loc",
		"a.db?_timefmt=julianday":                  "_timefmt=julianday: a time is not written as a floating-point number here",
		"a.db?_timefmt=02.01.2006":                 "_timefmt=02.01.2006: want auto",
		"a.db?_timefmt=auto&_time_format=datetime": "_timefmt=auto: it cannot apply beside _time_format",
		"a.db?_dqs=0":                              "_dqs=0: strings in double quotes",
		"a.db?_defensive=1":                        "_defensive=1: the defensive mode",
		"a.db?_error_rc=true":                      "_error_rc=true: errors are those of go-sqlite3",
		"a.db?_txlock=concurrent":                  "_txlock=concurrent: want deferred, immediate or exclusive",
	} {
		_, err := driver.ParseDSN(dsn)
		require.ErrorContains(t, err, want)
	}
	_, err := driver.ParseDSN("a.db?_dqs=1&_defensive=0&_error_rc=false")
	require.NoError(t, err)
}
