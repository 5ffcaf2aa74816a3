//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// both runs f on go-sqlite3 and on this driver, each with a new database, and
// makes sure that what it tells is the same.
func both(t *testing.T, params string, f func(db *sql.DB) string) {
	t.Helper()
	plain := testdb.Plain(t, testdb.Path(t)+params)
	mem := testdb.Open(t, testdb.Path(t)+params)
	require.Equal(t, f(plain), f(mem))
}

type (
	myInt    int16
	myString string
	myBytes  []byte
	myBool   bool
	myStruct struct{ A int }
)

// valuer is a driver.Valuer, also as a nil pointer.
type valuer struct{ v any }

func (v *valuer) Value() (sqldriver.Value, error) {
	if v == nil {
		return "nil pointer", nil
	}
	if err, ok := v.v.(error); ok {
		return nil, err
	}
	return v.v, nil
}

// Ensure that each value that Go has is bound as go-sqlite3 binds it, or
// refused with the same words: neither driver checks values by itself.
func TestParity_values(t *testing.T) {
	seven, text, at := 7, "text", time.Date(2026, 11, 24, 1, 2, 3, 456789, time.FixedZone("X", 3600))
	values := []any{
		nil, true, false, myBool(true), int8(-8), int16(16), int32(32), int64(math.MinInt64), 1, myInt(5), uint8(200), uint16(1), uint32(1 << 31), uint(3),
		uint64(math.MaxInt64), uint64(math.MaxUint64), uintptr(3), float32(0.1), 2.5, math.Inf(1), math.NaN(), "", "a\x00b", "é", myString("s"), []byte{}, []byte(nil), []byte{0, 255},
		myBytes("b"), json.RawMessage(`{}`), sql.RawBytes("r"), at, at.UTC(), time.Time{}, &seven, &text, (*int)(nil), &at, (*time.Time)(nil),
		&valuer{int64(4)}, &valuer{at}, &valuer{errors.New("no")}, &valuer{uint64(1)}, &valuer{myStruct{}}, (*valuer)(nil),
		sql.NullString{String: "n", Valid: true}, sql.NullInt64{}, sql.NullTime{Time: at, Valid: true}, sql.Null[int]{V: 3, Valid: true},
		myStruct{1}, []int{1}, map[string]int{}, complex(1, 2), 'x', func() {}, make(chan int), [2]byte{1, 2}, sql.Out{Dest: &seven}, strings.Repeat("l", 100_000),
		json.Number("12"), reflect.ValueOf(3), struct{}{}, any(any(3)), time.Second,
	}
	both(t, "", func(db *sql.DB) string {
		var b strings.Builder
		for i, v := range values {
			for _, query := range []string{"SELECT ?, typeof(?1)", "SELECT :v, typeof(:v)"} {
				arg := v
				if strings.Contains(query, ":v") {
					arg = sql.Named("v", v)
				}
				var got any
				var typ string
				err := db.QueryRow(query, arg).Scan(&got, &typ)
				fmt.Fprintf(&b, "%d %T: %T %v %s %v\n", i, v, got, got, typ, err)
				if s, prepareErr := db.Prepare(query); prepareErr == nil {
					got, typ = nil, ""
					err = s.QueryRow(arg).Scan(&got, &typ)
					fmt.Fprintf(&b, "   prepared %T %v %s %v\n", got, got, typ, err)
					_ = s.Close()
				}
			}
		}
		// Too few, too many, of other names, at other places.
		for _, args := range [][]any{{}, {1}, {1, 2, 3}, {sql.Named("a", 1), sql.Named("b", 2)}, {sql.Named("a", 1)}, {sql.Named("z", 1), sql.Named("b", 2)}, {sql.Named("", 1), 2}, {1, sql.Named("b", 2)}} {
			for _, query := range []string{"SELECT ?, ?", "SELECT :a, @b", "SELECT ?2, ?1", "SELECT ?; SELECT ?", "SELECT $a, :a"} {
				var x, y any
				err := db.QueryRow(query, args...).Scan(&x, &y)
				_, execErr := db.Exec(query, args...)
				fmt.Fprintf(&b, "%s %v: %v %v %v; %v\n", query, args, x, y, err, execErr)
			}
		}
		return b.String()
	})
}

// Ensure that values of every form come back from columns of every declared
// type as go-sqlite3 gives them. Times are in the location of _loc. They can
// be scanned into the same Go types.
func TestParity_columns(t *testing.T) {
	types := []string{"", "INTEGER", "INT", "TEXT", "VARCHAR(10)", "REAL", "BLOB", "NUMERIC", "BOOLEAN", "BOOL", "TIMESTAMP", "DATETIME", "DATE", "timestamp", "Datetime", "DATETIME(6)", "TIME"}
	values := []any{
		nil, 0, 1, 2, -1, 1.5, "x", []byte("x"), "", "2026-11-24", "2026-11-24 10:11:12", "2026-11-24T10:11:12Z", "2026-11-24 10:11:12.123456789-07:00", "2026-11-24 10:11",
		"2026-11-24T10:11:12.5+02:00", "10:11:12", " 2026-11-24 ", "2026-13-45", "2026-11-24 10:11:12 UTC", "1763979072", 1763979072, int64(1763979072123), int64(-62135596800), int64(math.MaxInt64), []byte("2026-11-24 10:11:12"), true,
		time.Date(2026, 7, 1, 2, 3, 4, 5000, time.FixedZone("X", -7*3600)), "true", "0000-00-00 00:00:00",
	}
	for _, params := range []string{"", "?_loc=auto", "?_loc=America/New_York"} {
		both(t, params, func(db *sql.DB) string {
			var b strings.Builder
			for i, typ := range types {
				testdb.Exec(t, db, fmt.Sprintf("CREATE TABLE t%d(c %s)", i, typ))
				testdb.Exec(t, db, fmt.Sprintf("INSERT INTO t%d VALUES(?)", i)+strings.Repeat(", (?)", len(values)-1), values...)
				for _, query := range []string{"SELECT c FROM t%d", "SELECT c AS other FROM t%d", "SELECT c||'' FROM t%d", "SELECT max(c) FROM t%d", "SELECT coalesce(c, 1) FROM t%d", "SELECT c FROM (SELECT c FROM t%d)"} {
					query = fmt.Sprintf(query, i)
					rows, err := db.Query(query)
					require.NoError(t, err)
					columns, err := rows.ColumnTypes()
					require.NoError(t, err)
					n, ok := columns[0].Nullable()
					length, hasLength := columns[0].Length()
					_, _, hasSize := columns[0].DecimalSize()
					fmt.Fprintln(&b, query, columns[0].Name(), columns[0].DatabaseTypeName(), columns[0].ScanType(), n, ok, length, hasLength, hasSize)
					for rows.Next() {
						var v any
						var s sql.NullString
						var at sql.NullTime
						var n sql.NullInt64
						var yes sql.NullBool
						var raw sql.RawBytes
						fmt.Fprint(&b, rows.Scan(&v), rows.Scan(&s), rows.Scan(&at), rows.Scan(&n), rows.Scan(&yes), rows.Scan(&raw))
						fmt.Fprintf(&b, " %T %v %v %v %v %v %q\n", v, v, s, at, n, yes, raw)
					}
					require.NoError(t, rows.Err())
					require.NoError(t, rows.Close())
				}
			}
			return b.String()
		})
	}
}

// Ensure that a connection, a statement, rows, a result and a transaction have
// each optional interface of database/sql that those of go-sqlite3 have.
// Besides they have those that the pool needs, and the one by which arguments
// come as they are. They have no other, as each changes what database/sql does.
func TestParity_interfaces(t *testing.T) {
	optional := map[string]reflect.Type{}
	for _, p := range []any{
		(*sqldriver.Pinger)(nil), (*sqldriver.ExecerContext)(nil), (*sqldriver.QueryerContext)(nil), (*sqldriver.ConnPrepareContext)(nil),
		(*sqldriver.ConnBeginTx)(nil), (*sqldriver.SessionResetter)(nil), (*sqldriver.Validator)(nil), (*sqldriver.NamedValueChecker)(nil),
		//lint:ignore SA1019 it is deprecated, and database/sql asks for it all the same
		(*sqldriver.ColumnConverter)(nil),
		(*sqldriver.StmtExecContext)(nil), (*sqldriver.StmtQueryContext)(nil), (*sqldriver.RowsNextResultSet)(nil),
		(*sqldriver.RowsColumnTypeScanType)(nil), (*sqldriver.RowsColumnTypeDatabaseTypeName)(nil), (*sqldriver.RowsColumnTypeLength)(nil),
		(*sqldriver.RowsColumnTypeNullable)(nil), (*sqldriver.RowsColumnTypePrecisionScale)(nil),
	} {
		typ := reflect.TypeOf(p).Elem()
		optional[typ.Name()] = typ
	}
	have := func(d sqldriver.Driver) map[string][]string {
		c, err := d.Open(testdb.Path(t))
		require.NoError(t, err)
		defer c.Close()
		s, err := c.(sqldriver.ConnPrepareContext).PrepareContext(ctx, "SELECT 1")
		require.NoError(t, err)
		defer s.Close()
		rows, err := s.(sqldriver.StmtQueryContext).QueryContext(ctx, nil)
		require.NoError(t, err)
		defer rows.Close()
		list := map[string][]string{}
		for what, v := range map[string]any{"conn": c, "stmt": s, "rows": rows} {
			for name, typ := range optional {
				if reflect.TypeOf(v).Implements(typ) {
					list[what] = append(list[what], name)
				}
			}
		}
		return list
	}
	theirs, ours := have(&sqlite3.SQLiteDriver{}), have(&driver.Driver{})
	theirs["conn"] = append(theirs["conn"], "SessionResetter", "Validator", "NamedValueChecker")
	for what := range theirs {
		require.ElementsMatch(t, theirs[what], ours[what], what)
	}
}

// Ensure that errors are told alike: by the same code, text and offset, as bare
// values, for statements, transactions and prepared statements.
func TestParity_errors(t *testing.T) {
	both(t, "?_fk=1", func(db *sql.DB) string {
		var b strings.Builder
		db.SetMaxOpenConns(1)
		testdb.Exec(t, db, `CREATE TABLE p(id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL DEFAULT 1, c CHECK(c>0), r REFERENCES p(id));
			CREATE TABLE s(a INT) STRICT; CREATE TABLE w(a PRIMARY KEY) WITHOUT ROWID; INSERT INTO p VALUES(1, 1, 1, 1, NULL);
			CREATE TRIGGER no BEFORE DELETE ON p BEGIN SELECT RAISE(FAIL, 'not that'); END; CREATE VIEW v AS SELECT * FROM p`)
		tell := func(what string, err error) {
			e, bare := err.(sqlite3.Error)
			fmt.Fprintf(&b, "%s: %v %d %d %d %v\n", what, bare, e.Code, e.ExtendedCode, e.SystemErrno, err)
		}
		for _, query := range []string{
			"INSERT INTO p(id) VALUES(1)", "INSERT INTO p(u) VALUES(1)", "INSERT INTO p(n) VALUES(NULL)", "INSERT INTO p(c) VALUES(0)", "INSERT INTO p(r) VALUES(99)",
			"INSERT INTO s VALUES('x')", "INSERT INTO w VALUES(NULL)", "DELETE FROM p", "INSERT INTO v VALUES(1)", "SELEC", "SELECT * FROM nothing", "SELECT nothing", "SELECT abs(-9223372036854775808)",
			"INSERT INTO p(id) VALUES('x')", "SELECT zeroblob(3000000000)", "CREATE TABLE p(x)", "DROP TABLE q", "COMMIT", "ROLLBACK", "RELEASE x", "ATTACH '/nowhere/x' AS x", "DETACH main", "VACUUM INTO '/nowhere/x'",
			"SELECT 'unterminated", "SELECT ?0", "SELECT json('{')", "SELECT printf('%d'", "PRAGMA nonsense", "ALTER TABLE p ADD x NOT NULL", "INSERT INTO p(u) SELECT 1; SELECT 2", "SELECT 2; SELEC",
			"SELECT load_extension('x')", "PRAGMA writable_schema=1; DELETE FROM sqlite_schema WHERE 0; PRAGMA writable_schema=0", "SELECT * FROM p WHERE u MATCH 'x'", "EXPLAIN SELECT 1",
		} {
			_, err := db.Exec(query)
			tell(query, err)
			rows, err := db.Query(query)
			if err == nil {
				for rows.Next() {
				}
				err = errors.Join(rows.Err(), rows.Close())
			}
			tell(query, err)
			s, err := db.Prepare(query)
			tell(query, err)
			if err == nil {
				_, err = s.Exec()
				tell(query, err)
				require.NoError(t, s.Close())
			}
		}
		for i := range 4 {
			tx, err := db.Begin()
			tell("begin", err)
			_, err = tx.Exec([]string{"BEGIN", "INSERT INTO p(id) VALUES(1)", "SAVEPOINT a; RELEASE b", "INSERT INTO p(id) VALUES(7); SELEC"}[i])
			tell("in", err)
			if i%2 == 0 {
				tell("commit", tx.Commit())
			} else {
				tell("rollback", tx.Rollback())
			}
			tell("again", tx.Commit())
			_, err = tx.Exec("SELECT 1")
			tell("after", err)
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		_, err := db.ExecContext(over, "SELECT 1")
		tell("over", err)
		_, err = db.QueryContext(over, "SELECT 1")
		tell("over", err)
		_, err = db.BeginTx(over, nil)
		tell("over", err)
		_, err = db.PrepareContext(over, "SELECT 1")
		tell("over", err)
		return b.String()
	})
}

// Ensure that settings of a connection stay with that connection, as with go-sqlite3.
func TestParity_connectionState(t *testing.T) {
	both(t, "", func(db *sql.DB) string {
		var b strings.Builder
		dir := t.TempDir()
		one, err := db.Conn(ctx)
		require.NoError(t, err)
		two, err := db.Conn(ctx)
		require.NoError(t, err)
		testdb.Exec(t, one, "PRAGMA foreign_keys=1; PRAGMA recursive_triggers=1; PRAGMA case_sensitive_like=1; CREATE TEMP TABLE tmp(x); INSERT INTO tmp VALUES(5)")
		testdb.Exec(t, one, "ATTACH '"+filepath.Join(dir, "x.db")+"' AS x; CREATE TABLE x.y(z)")
		for _, c := range []*sql.Conn{one, two, one} {
			for _, query := range []string{"PRAGMA foreign_keys", "PRAGMA recursive_triggers", "SELECT 'a' LIKE 'A'", "SELECT x FROM tmp", "SELECT count(*) FROM y",
				"SELECT total_changes()", "SELECT changes()", "SELECT last_insert_rowid()", "PRAGMA temp_store", "SELECT group_concat(name) FROM pragma_database_list"} {
				var v any
				err := c.QueryRowContext(ctx, query).Scan(&v)
				fmt.Fprintf(&b, "%s: %v %v\n", query, v, err)
			}
		}
		require.NoError(t, one.Close())
		require.NoError(t, two.Close())
		return b.String()
	})
}

// Ensure that every value is scanned into every kind of destination as with go-sqlite3,
// or refused with the same words. A scanned value stays as it was.
func TestParity_destinations(t *testing.T) {
	destinations := []func() any{
		func() any { return new(any) }, func() any { return new(string) }, func() any { return new(int64) }, func() any { return new(int) }, func() any { return new(int8) },
		func() any { return new(uint) }, func() any { return new(float64) }, func() any { return new(bool) }, func() any { return new([]byte) }, func() any { return new(time.Time) },
		func() any { return new(sql.NullInt64) }, func() any { return new(sql.NullInt32) }, func() any { return new(sql.NullString) }, func() any { return new(sql.NullFloat64) },
		func() any { return new(sql.NullBool) }, func() any { return new(sql.NullTime) }, func() any { return new(sql.Null[int64]) }, func() any { return new(sql.Null[string]) },
		func() any { return new(sql.Null[float64]) }, func() any { return new(sql.Null[time.Time]) }, func() any { return new(*string) }, func() any { return new(*int64) }, func() any { return new(*time.Time) },
		func() any { return new(myInt) }, func() any { return new(myString) }, func() any { return new(myBytes) }, func() any { return new(sqldriver.Value) },
		func() any { return 5 }, func() any { return nil }, func() any { return new(chan int) },
	}
	both(t, "", func(db *sql.DB) string {
		var b strings.Builder
		testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, plain, at DATETIME, yes BOOLEAN)")
		for _, v := range []any{nil, 0, 1, -1, 200, 300, int64(math.MaxInt64), 1763979072, 1.5, 2.0, 1e300, "", "text", "12", "1.5", "true", "2026-11-24 10:11:12", strings.Repeat("long", 1000), []byte{}, []byte("blob"), []byte("7"), make([]byte, 3000)} {
			testdb.Exec(t, db, "INSERT INTO t(plain, at, yes) VALUES(?, ?, ?)", v, v, v)
		}
		for _, column := range []string{"plain", "at", "yes"} {
			for i, dest := range destinations {
				for _, limit := range []int{1, 100} {
					rows, err := db.Query("SELECT "+column+" FROM t LIMIT ?", limit)
					require.NoError(t, err)
					var kept []any
					for rows.Next() {
						d := dest()
						fmt.Fprintf(&b, "%s %d %v ", column, i, rows.Scan(d))
						kept = append(kept, d)
					}
					require.NoError(t, rows.Err())
					for _, d := range kept {
						if v := reflect.ValueOf(d); v.Kind() == reflect.Pointer && !v.IsNil() {
							e := v.Elem()
							if e.Kind() == reflect.Pointer && !e.IsNil() {
								e = e.Elem()
							}
							fmt.Fprintf(&b, "%T %v\n", e.Interface(), e.Interface())
						}
					}
				}
			}
		}
		return b.String()
	})
}

// tellRows tells the columns of a query with their types, each row, and the error
// that ends them.
func tellRows(b *strings.Builder, rows *sql.Rows, err error) {
	if err != nil {
		fmt.Fprintln(b, "query:", tellError(err))
		return
	}
	columns, err := rows.ColumnTypes()
	fmt.Fprintln(b, "columns:", err)
	for _, c := range columns {
		fmt.Fprintf(b, "%s %q %v, ", c.Name(), c.DatabaseTypeName(), c.ScanType())
	}
	for rows.Next() {
		fmt.Fprintln(b, row(rows, len(columns)))
	}
	fmt.Fprintln(b, "end:", tellError(rows.Err()), rows.Close())
}

// Ensure that texts, names, types and errors pass through a database in UTF-16
// as in go-sqlite3.
func TestParity_encodings(t *testing.T) {
	texts := []string{"", "a", "é", "日本", "𝄞 and more", "a\x00b", "\xff\xfe", "\ufeffmark", "\xed\xa0\x80", strings.Repeat("ü", 3000), strings.Repeat("𝄞", 20_000)}
	for _, encoding := range []string{"UTF-8", "UTF-16le", "UTF-16be"} {
		both(t, "", func(db *sql.DB) string {
			var b strings.Builder
			db.SetMaxOpenConns(1)
			testdb.Exec(t, db, "PRAGMA encoding='"+encoding+"'; CREATE TABLE \"tä\"(id INTEGER PRIMARY KEY, \"spalte ü\" TEXT UNIQUE, b BLOB, at DATETIME, \"größe\" \"VARCHAR(30) ÄÖ\")")
			for i, text := range texts {
				res, err := db.Exec("INSERT INTO tä VALUES(?, ?, ?, ?, ?)", i, text, []byte(text), text, text)
				b.WriteString(outcome(res, nil, err, ""))
			}
			for _, query := range []string{
				"SELECT * FROM tä ORDER BY id", "SELECT *, length(\"spalte ü\"), hex(\"spalte ü\"), typeof(b) FROM tä ORDER BY \"spalte ü\"", "SELECT group_concat(\"spalte ü\", b) AS \"名前\" FROM tä",
				"SELECT CAST(b AS TEXT), CAST(\"spalte ü\" AS BLOB) FROM tä", "SELECT * FROM tä WHERE \"spalte ü\"='é' OR \"spalte ü\" LIKE '日%'", "SELECT ungültig FROM tä", "INSERT INTO tä(\"spalte ü\") VALUES('é')",
				"SELECT 'é' || x'c3a9', 'ü' = x'c3bc', upper('é'), '\xff'", "PRAGMA encoding", "PRAGMA table_info(tä)", "SELECT json_extract('{\"ä\":\"𝄞\"}', '$.ä')",
			} {
				for range 2 {
					rows, err := db.Query(query)
					tellRows(&b, rows, err)
				}
			}
			for _, text := range texts {
				rows, err := db.Query("SELECT ?, length(?1), hex(?1), (SELECT id FROM tä WHERE \"spalte ü\"=?1), :näme", text, sql.Named("näme", text))
				tellRows(&b, rows, err)
			}
			return b.String()
		})
	}
}

// Ensure that a statement has the columns, types and values of now when SQLite
// prepares it again for a changed schema. It may be prepared, from the cache or
// new, and the change be of this connection or of another.
func TestParity_metadata(t *testing.T) {
	both(t, "", func(db *sql.DB) string {
		var b strings.Builder
		one, err := db.Conn(ctx)
		require.NoError(t, err)
		other, err := db.Conn(ctx)
		require.NoError(t, err)
		testdb.Exec(t, one, "CREATE TABLE t(a INTEGER, b TEXT); INSERT INTO t VALUES(1, '2026-11-24 10:11:12'); CREATE VIEW v AS SELECT a, b FROM t; CREATE TABLE p(n)")
		queries := []string{"SELECT * FROM t", "SELECT b, a FROM t WHERE a>=?", "SELECT * FROM v", "SELECT t.*, 1 AS one FROM t", "INSERT INTO p SELECT 1 FROM t RETURNING *"}
		var prepared []*sql.Stmt
		for _, query := range queries {
			s, err := one.PrepareContext(ctx, query)
			require.NoError(t, err)
			prepared = append(prepared, s)
		}
		look := func(what string) {
			fmt.Fprintln(&b, "==", what)
			for i, query := range queries {
				var args []any
				if strings.Contains(query, "?") {
					args = []any{0}
				}
				for range 2 {
					rows, err := prepared[i].Query(args...)
					tellRows(&b, rows, err)
					rows, err = one.QueryContext(ctx, query, args...)
					tellRows(&b, rows, err)
				}
			}
		}
		look("new")
		for _, change := range []string{
			"ALTER TABLE t ADD COLUMN c DATETIME DEFAULT '2026-11-24'", "ALTER TABLE t RENAME COLUMN b TO bb", "ALTER TABLE t RENAME COLUMN bb TO b", "DROP VIEW v; CREATE VIEW v AS SELECT b AS at, c FROM t",
			"DROP TABLE t; CREATE TABLE t(a BOOLEAN, b DATETIME); INSERT INTO t VALUES(1, 1763979072)", "DROP TABLE t; CREATE TABLE t(b DATE, a REAL, d); INSERT INTO t VALUES('2026-11-24', 1, x'00')",
			"ALTER TABLE p ADD COLUMN m BOOLEAN DEFAULT 1", "CREATE INDEX i ON t(a); ANALYZE", "DROP TABLE t", "CREATE TABLE t(b, a); INSERT INTO t VALUES(1, 2)",
		} {
			c := one
			if len(change)%2 == 0 {
				c = other
			}
			testdb.Exec(t, c, change)
			look(change)
		}
		for _, s := range prepared {
			require.NoError(t, s.Close())
		}
		require.NoError(t, one.Close())
		require.NoError(t, other.Close())
		return b.String()
	})
}

// Ensure that an error stands behind as many rows as in go-sqlite3, with its codes and
// text. It may come first, at the edge of a batch, or far behind. A reader that stops
// before it does not get it.
func TestParity_errorsBehindRows(t *testing.T) {
	both(t, "", func(db *sql.DB) string {
		var b strings.Builder
		testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, s); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<400) INSERT INTO t SELECT i, printf('%.*c', i, 'x') FROM c")
		for _, query := range []string{
			"SELECT id, abs(CASE WHEN id>? THEN -9223372036854775808 ELSE id END) FROM t ORDER BY id", "SELECT s, json(CASE WHEN id>? THEN '{' ELSE '[]' END) FROM t ORDER BY id",
			"SELECT id, CASE WHEN id>? THEN zeroblob(2000000000) END FROM t ORDER BY id", "SELECT id, s LIKE CASE WHEN id>? THEN printf('%.60000c', 'x') ELSE 'x' END FROM t ORDER BY id",
		} {
			for _, at := range []int{0, 1, 2, 3, 31, 32, 63, 64, 65, 127, 128, 129, 300, 400} {
				for range 2 { // the second time as much is fetched at once as was taken
					rows, err := db.Query(query, at)
					tellRows(&b, rows, err)
				}
				rows, err := db.Query(query, at)
				if err != nil {
					fmt.Fprintln(&b, tellError(err))
					continue
				}
				n := 0
				for n < at/2 && rows.Next() {
					n++
				}
				fmt.Fprintln(&b, n, rows.Err(), rows.Close())
				var id, second any
				fmt.Fprintln(&b, db.QueryRow(query, at).Scan(&id, &second), id)
			}
		}
		return b.String()
	})
}

// Ensure that an authorizer of the program is asked the same of each statement as by
// go-sqlite3, in each way to run one. Ignoring and denying have the same effect.
func TestParity_authorizer(t *testing.T) {
	told, disk := map[bool]string{}, filepath.Join(t.TempDir(), "attached.db")
	scratch := regexp.MustCompile(`vacuum_\w+`) // VACUUM attaches a file of a random name
	for _, ours := range []bool{false, true} {
		p := &peer{T: t, ours: ours}
		var asked []string
		answer := func(int, string) int { return sqlite3.SQLITE_OK }
		db := p.openBy(p.register(func(c *sqlite3.SQLiteConn) error {
			c.RegisterAuthorizer(func(op int, a, b, schema string) int {
				asked = append(asked, fmt.Sprintf("%d(%s,%s,%s)", op, a, b, schema))
				return answer(op, b)
			})
			return nil
		}), testdb.Path(t)+"?_stmt_cache_size=0")
		conn, err := db.Conn(ctx)
		require.NoError(t, err)
		ask := func(what string, f func() error) {
			asked = nil
			err := f()
			p.tell(what, err, scratch.ReplaceAllString(strings.Join(asked, " "), "scratch"))
		}
		for _, query := range []string{
			"CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", "CREATE TABLE u(x REFERENCES t(id) ON DELETE CASCADE)", "CREATE INDEX ta ON t(a)", "CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE u SET x=1; END",
			"INSERT INTO t(a, b) VALUES(1, 2), (3, 4)", "SELECT a, max(b) FROM t WHERE id>0", "WITH x AS (SELECT a FROM t) SELECT * FROM x", "UPDATE t SET a=b RETURNING id", "DELETE FROM t WHERE a=5",
			"PRAGMA user_version", "PRAGMA user_version=3", "SAVEPOINT s", "RELEASE s", "ATTACH '" + disk + "' AS m", "DETACH m", "ANALYZE", "REINDEX", "SELECT 1; SELECT a FROM t; SELECT 2", "EXPLAIN SELECT * FROM t", "VACUUM",
		} {
			ask("exec "+query, func() error { _, err := conn.ExecContext(ctx, query); return err })
			if strings.HasPrefix(query, "CREATE") {
				continue
			}
			ask("query "+query, func() error {
				rows, err := conn.QueryContext(ctx, query)
				if err != nil {
					return err
				}
				return rows.Close()
			})
			ask("prepare "+query, func() error {
				s, err := conn.PrepareContext(ctx, query)
				if err != nil {
					return err
				}
				return s.Close()
			})
		}
		for _, refused := range []int{sqlite3.SQLITE_IGNORE, sqlite3.SQLITE_DENY} {
			answer = func(op int, column string) int {
				if op == sqlite3.SQLITE_READ && column == "b" || op == sqlite3.SQLITE_DELETE {
					return refused
				}
				return sqlite3.SQLITE_OK
			}
			p.rows(conn.QueryContext(ctx, "SELECT * FROM t"))
			p.rows(conn.QueryContext(ctx, "SELECT a FROM t WHERE b IS NULL"))
			p.result(conn.ExecContext(ctx, "DELETE FROM t"))
			p.result(conn.ExecContext(ctx, "UPDATE t SET a=b"))
			p.rows(conn.QueryContext(ctx, "SELECT * FROM t"))
		}
		answer = func(int, string) int { return sqlite3.SQLITE_OK }
		require.NoError(t, conn.Close())
		told[ours] = p.told.String()
	}
	require.Equal(t, told[false], told[true])
}
