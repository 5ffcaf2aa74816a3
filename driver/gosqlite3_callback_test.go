//go:build cgo

package driver_test

import (
	"database/sql"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// The checks of theirTests in which SQLite calls Go: functions, aggregates,
// collations, hooks, authorizers; and the full-text indexes of this build.

// registering opens a new file by a driver whose hook registers functions.
func (p *peer) registering(functions map[string]any) *sql.DB {
	return p.hooked(func(c *sqlite3.SQLiteConn) error {
		for name, f := range functions {
			if err := c.RegisterFunc(name, f, true); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
}

// gives makes sure that each query gives a value of the type of what is wanted.
func (p *peer) gives(db *sql.DB, want map[string]any) {
	p.Helper()
	for query, value := range want {
		got := reflect.New(reflect.TypeOf(value))
		require.NoError(p, db.QueryRow("SELECT "+query).Scan(got.Interface()), query)
		require.Equal(p, value, got.Elem().Interface(), query)
	}
}

func checkFunctions(p *peer) {
	db := p.registering(map[string]any{
		"add_small": func(a int8, b int16) int32 { return int32(a) + int32(b) }, "plus": func(a, b int64) int64 { return a + b },
		"add_unsigned": func(a uint8, b uint16) uint32 { return uint32(a) + uint32(b) }, "add_long": func(a, b uint64) uint64 { return a + b },
		"add_mixed": func(a int, b uint) int64 { return int64(a) + int64(b) }, "add_float": func(a float32, b float64) float64 { return float64(a) + b },
		"negate": func(a bool) bool { return !a }, "matches": regexp.MatchString,
		"kind": func(a any) string { return fmt.Sprintf("%T", a) },
		"sum_of": func(a, b int64, rest ...int64) int64 {
			for _, n := range rest {
				a += n
			}
			return a + b
		},
		"how_many": func(a ...any) int64 { return int64(len(a)) },
	})
	p.gives(db, map[string]any{
		"add_small(1, 2)": int32(3), "plus(1, 2)": int64(3), "add_unsigned(1, 2)": uint32(3), "add_long(1, 2)": uint64(3), "add_mixed(1, 2)": int64(3), "add_float(1.5, 1.5)": 3.0,
		"negate(1)": false, "negate(0)": true, "matches('^foo.*', 'foobar')": true, "matches('^foo.*', 'barfoobar')": false,
		"kind(1)": "int64", "kind(1.1)": "float64", "kind(NULL)": "[]uint8", "kind('foo')": "string", "kind(x'00')": "[]uint8",
		"sum_of(1, 2)": int64(3), "sum_of(1, 2, 3, 4)": int64(10), "sum_of(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)": int64(10), "how_many(1, 'foo', 2.3, NULL)": int64(4), "how_many()": int64(0),
	})
	for _, wrong := range []string{"plus(1)", "plus(1, 2, 3)", "plus('x', 2)", "matches('(', 'x')", "sum_of(1)"} {
		_, err := db.Exec("SELECT " + wrong)
		require.Error(p, err, wrong)
		p.tell(wrong, err)
	}
}

func checkNamedTypes(p *peer) {
	type (
		number int64
		real   float64
		text   string
		blob   []byte
		truth  bool
	)
	p.gives(p.registering(map[string]any{
		"duration": func(n int64) time.Duration { return time.Duration(n) }, "numbers": func(a, b number) number { return a + b }, "reals": func(a, b real) real { return a + b },
		"texts": func(s text) text { return s + "!" }, "blobs": func(s string) blob { return blob(s) }, "truths": func(b truth) truth { return !b },
	}), map[string]any{
		"duration(42)": int64(42), "numbers(1, 2)": int64(3), "reals(1.5, 1.5)": 3.0, "texts('foo')": "foo!",
		"blobs('xy')": []byte("xy"), "blobs('') IS NULL": true, "truths(0)": true,
	})
}

func checkFunctionZeroByte(p *peer) {
	db := p.registering(map[string]any{"bytes": func(s string) int64 { return int64(len(s)) }, "echo": func(s string) string { return s }})
	const text = "foo\x00bar"
	require.Equal(p, "7", testdb.Text(p, db, "SELECT bytes(?)", text))
	require.Equal(p, text, testdb.Text(p, db, "SELECT echo(?)", text))
}

func checkArgCast(p *peer) {
	db := p.registering(map[string]any{
		"i8": func(n int8) int64 { return int64(n) }, "i16": func(n int16) int64 { return int64(n) }, "i32": func(n int32) int64 { return int64(n) },
		"u8": func(n uint8) int64 { return int64(n) }, "u16": func(n uint16) int64 { return int64(n) }, "u32": func(n uint32) int64 { return int64(n) }, "u64": func(n uint64) int64 { return int64(n) },
		"f32": func(f float32) bool { return math.IsInf(float64(f), 1) },
	})
	const max = "(9223372036854775807)"
	p.gives(db, map[string]any{
		"i8" + max: int64(-1), "i16" + max: int64(-1), "i32" + max: int64(-1), "u8" + max: int64(math.MaxUint8), "u16" + max: int64(math.MaxUint16),
		"u32" + max: int64(math.MaxUint32), "u64" + max: int64(math.MaxInt64), "f32(1.7976931348623157e308)": true,
	})
	for _, wrong := range []string{"i8('x')", "i8(1.5)", "u64(NULL)", "f32('1')", "f32(1)"} {
		_, err := db.Exec("SELECT " + wrong)
		require.Error(p, err, wrong)
		p.tell(wrong, err)
	}
}

func checkConverters(p *peer) {
	conn := p.pinned("")
	for ok, values := range map[bool][]any{
		true:  {[]byte{0}, "text", true, int8(0), int16(0), int32(0), int64(0), uint8(0), uint16(0), uint32(0), uint64(0), 0, uint(0), 0.0, float32(0)},
		false: {func() {}, complex64(0), complex128(0), struct{}{}, map[string]string{}, []string{}, (*int8)(nil), make(chan int)},
	} {
		for _, v := range values {
			typ := reflect.TypeOf(v)
			zero := func([]reflect.Value) []reflect.Value { return []reflect.Value{reflect.Zero(typ)} }
			one := func([]reflect.Value) []reflect.Value { return []reflect.Value{reflect.ValueOf(1)} }
			takes := reflect.MakeFunc(reflect.FuncOf([]reflect.Type{typ}, []reflect.Type{reflect.TypeFor[int]()}, false), one).Interface()
			returns := reflect.MakeFunc(reflect.FuncOf(nil, []reflect.Type{typ}, false), zero).Interface()
			p.rawOf(conn, func(c *sqlite3.SQLiteConn) error {
				for _, f := range []any{takes, returns} {
					err := c.RegisterFunc("f", f, true)
					require.Equal(p, ok, err == nil, "%T: %v", f, err)
				}
				return nil
			})
			if ok {
				testdb.Exec(p, conn, "SELECT f()")
			}
		}
	}
}

func checkReturnAny(p *peer) {
	p.gives(p.registering(map[string]any{"anything": func() any { return 1 }}), map[string]any{"anything()": int64(1)})
}

// most is an aggregate: the value that comes most often.
type most struct {
	counts map[any]int
	top    any
}

func newMost() *most { return &most{counts: map[any]int{}} }

func (m *most) Step(x any) {
	if m.counts[x]++; m.counts[x] > m.counts[m.top] {
		m.top = x
	}
}

func (m *most) Done() any { return m.top }

// aggregates opens a new file with the aggregates product and most, and a table.
func (p *peer) aggregates() *sql.DB {
	db := p.hooked(func(c *sqlite3.SQLiteConn) error {
		if err := c.RegisterAggregator("product", newProduct, true); err != nil {
			return err
		}
		return c.RegisterAggregator("most", newMost, true)
	})
	testdb.Exec(p, db, "CREATE TABLE t(department INTEGER, profits INTEGER); INSERT INTO t VALUES(1, 10), (1, 20), (1, 45), (2, 42), (2, 115), (2, 20)")
	return db
}

func checkAggregate(p *peer) {
	db := p.aggregates()
	for department, want := range map[int]string{1: "9000", 2: "96600"} {
		require.Equal(p, want, testdb.Text(p, db, "SELECT product(profits) FROM t WHERE department=$1 GROUP BY department", department))
	}
	p.rows(db.Query("SELECT department, product(profits) FROM t GROUP BY 1 ORDER BY 1"))
	p.rows(db.Query("SELECT product(profits) FROM t WHERE 0"))
}

func checkAggregateAny(p *peer) {
	p.gives(p.aggregates(), map[string]any{"most(profits) FROM t": 20})
}

func checkCollation(p *peer) {
	rot13 := func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return 'a' + (r-'a'+13)%26
		}
		return r
	}
	compare := func(a, b string) int { return strings.Compare(strings.Map(rot13, a), strings.Map(rot13, b)) }
	db := p.hooked(func(c *sqlite3.SQLiteConn) error {
		if err := c.RegisterCollation("rot13", compare); err != nil {
			return err
		}
		return c.RegisterCollation("rot13reverse", func(a, b string) int { return compare(b, a) })
	})
	testdb.Exec(p, db, "CREATE TABLE t(s TEXT); INSERT INTO t VALUES('aaaa'), ('ffff'), ('qqqq'), ('tttt'), ('zzzz')")
	for order, want := range map[string]string{
		"rot13 ASC": "qqqq,tttt,zzzz,aaaa,ffff", "rot13 DESC": "ffff,aaaa,zzzz,tttt,qqqq", "rot13reverse ASC": "ffff,aaaa,zzzz,tttt,qqqq", "rot13reverse DESC": "qqqq,tttt,zzzz,aaaa,ffff",
	} {
		require.Equal(p, want, testdb.Text(p, db, "SELECT group_concat(s) FROM (SELECT s FROM t ORDER BY s COLLATE "+order+")"), order)
	}
	_, err := db.Exec("SELECT s FROM t ORDER BY s COLLATE nothing")
	p.tell(err)
}

func checkHooks(p *peer) {
	var events []string
	refuse := 0
	db := p.hooked(func(c *sqlite3.SQLiteConn) error {
		c.RegisterCommitHook(func() int {
			events = append(events, "commit")
			return refuse
		})
		c.RegisterRollbackHook(func() { events = append(events, "rollback") })
		c.RegisterUpdateHook(func(op int, db, table string, id int64) {
			events = append(events, fmt.Sprintf("%d %s.%s %d", op, db, table, id))
		})
		return nil
	})
	db.SetMaxOpenConns(1)
	require.NoError(p, db.Ping())
	events = nil // this driver's own
	for _, query := range []string{"CREATE TABLE t(id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES(9)", "UPDATE t SET id=99 WHERE id=9", "DELETE FROM t WHERE id=99"} {
		testdb.Exec(p, db, query)
	}
	refuse = 1
	_, err := db.Exec("INSERT INTO t VALUES(5)")
	require.Error(p, err)
	p.tell(err)
	refuse = 0
	want := []string{
		"commit", fmt.Sprint(sqlite3.SQLITE_INSERT, " main.t 9"), "commit", fmt.Sprint(sqlite3.SQLITE_UPDATE, " main.t 99"), "commit",
		fmt.Sprint(sqlite3.SQLITE_DELETE, " main.t 99"), "commit", fmt.Sprint(sqlite3.SQLITE_INSERT, " main.t 5"), "commit", "rollback",
	}
	require.Equal(p, want, events)
}

func checkAuthorizer(p *peer) {
	answer := sqlite3.SQLITE_OK
	db := p.hooked(func(c *sqlite3.SQLiteConn) error {
		c.RegisterAuthorizer(func(int, string, string, string) int { return answer })
		return nil
	})
	db.SetMaxOpenConns(1)
	for _, answer = range []int{sqlite3.SQLITE_OK, sqlite3.SQLITE_DENY} {
		for _, query := range []string{"CREATE TABLE t(id INTEGER PRIMARY KEY, name VARCHAR)", "INSERT INTO t VALUES(9, 'test9')", "UPDATE t SET name='test99' WHERE id=9", "SELECT * FROM t"} {
			_, err := db.Exec(query)
			require.Equal(p, answer == sqlite3.SQLITE_OK, err == nil, "%s: %v", query, err)
			p.tell(err)
		}
	}
	answer = sqlite3.SQLITE_OK
}

func checkAuthorizerReplaced(p *peer) {
	one, other := p.pinned(""), p.pinned("")
	updates, otherCalls := 0, 0
	calls := make([]int, 3)
	authorize := func(on *sql.Conn, n *int) {
		p.rawOf(on, func(c *sqlite3.SQLiteConn) error {
			if n == nil {
				c.RegisterAuthorizer(nil)
				return nil
			}
			c.RegisterAuthorizer(func(int, string, string, string) int { *n++; return sqlite3.SQLITE_OK })
			return nil
		})
	}
	p.rawOf(one, func(c *sqlite3.SQLiteConn) error {
		c.RegisterUpdateHook(func(int, string, string, int64) { updates++ })
		return c.RegisterFunc("retained", func() int { return 42 }, true)
	})
	testdb.Exec(p, one, "CREATE TABLE t(value INTEGER)")
	authorize(other, &otherCalls)
	authorize(one, nil)
	for i := range calls {
		before := append([]int{}, calls[:i]...)
		authorize(one, &calls[i])
		testdb.Exec(p, one, "INSERT INTO t VALUES(retained())")
		require.NotZero(p, calls[i])
		require.Equal(p, before, calls[:i], "one that was replaced was called")
	}
	before := append([]int{}, calls...)
	authorize(one, nil)
	authorize(one, nil)
	testdb.Exec(p, one, "INSERT INTO t VALUES(retained())")
	require.Equal(p, before, calls, "one that was removed was called")
	require.Equal(p, 4, updates)
	require.Equal(p, fmt.Sprint(4*42), testdb.Text(p, one, "SELECT sum(value) FROM t"))
	require.Zero(p, otherCalls)
	testdb.Exec(p, other, "SELECT 1")
	require.NotZero(p, otherCalls)
	authorize(other, nil)
}

func checkFTS3(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE VIRTUAL TABLE t USING fts3(id INTEGER PRIMARY KEY, value TEXT)")
	testdb.Exec(p, db, "INSERT INTO t(id, value) VALUES(1, 'grüße aus athen'), (2, 'grüne äpfel')")
	require.Equal(p, "2", testdb.Text(p, db, "SELECT count(*) FROM t WHERE value MATCH 'grü*'"))
	p.rows(db.Query("SELECT id, value FROM t WHERE value MATCH 'grü* a*'"))
	require.Equal(p, []string{"string:grüße aus athen"}, all(p, db, "SELECT value FROM t WHERE value MATCH 'grü* athen*'"))
}

func checkFTS4(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE VIRTUAL TABLE t USING fts4(tokenize=unicode61, id INTEGER PRIMARY KEY, value TEXT)")
	testdb.Exec(p, db, "INSERT INTO t(id, value) VALUES(1, 'février'), (2, 'mars')")
	require.Equal(p, []string{"string:février"}, all(p, db, "SELECT value FROM t WHERE value MATCH 'fevrier'"))
}
