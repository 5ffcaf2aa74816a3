//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// The checks of theirTests that bind and read values.

func checkBool(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER, value BOOL)")
	testdb.Exec(p, db, "INSERT INTO t VALUES(1, ?), (0, ?)", true, false)
	rows, err := db.Query("SELECT id, value FROM t")
	require.NoError(p, err)
	n := 0
	for ; rows.Next(); n++ {
		var id int
		var value bool
		require.NoError(p, rows.Scan(&id, &value))
		require.Equal(p, id == 1, value)
	}
	require.NoError(p, rows.Err())
	require.Equal(p, 2, n)
}

func checkBoolean(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER, yes BOOLEAN)")
	testdb.Exec(p, db, "INSERT INTO t VALUES(1, ?), (2, ?), (3, ?)", true, false, "nonsense")
	for want, yes := range map[int]bool{1: true, 2: false} {
		var id int
		var got bool
		require.NoError(p, db.QueryRow("SELECT id, yes FROM t WHERE yes=?", yes).Scan(&id, &got))
		require.Equal(p, want, id)
		require.Equal(p, yes, got)
	}
	var got bool
	err := db.QueryRow("SELECT yes FROM t WHERE id=3").Scan(&got)
	require.Error(p, err)
	p.tell(err)
}

// The times of checkTimes and checkLocations.
var (
	timeApril    = time.Date(2012, time.April, 6, 22, 50, 0, 0, time.UTC)
	timeJanuary  = time.Date(2006, time.January, 2, 15, 4, 5, 123456789, time.UTC)
	timeNovember = time.Date(2012, time.November, 4, 0, 0, 0, 0, time.UTC)
	odd          = time.FixedZone("ODD", -9*3600-13*60)
)

// times are values as they are stored, and the times that they are in a column
// declared as one.
var times = []struct {
	stored any
	want   time.Time
}{
	{"nonsense", time.Time{}}, {"0000-00-00 00:00:00", time.Time{}}, {time.Time{}.Unix(), time.Time{}},
	{timeApril, timeApril}, {timeApril.Unix(), timeApril}, {timeApril.In(odd), timeApril.In(odd)},
	{timeApril.Format("2006-01-02 15:04:05.000"), timeApril}, {timeApril.Format("2006-01-02T15:04:05.000"), timeApril},
	{timeApril.Format("2006-01-02 15:04:05"), timeApril}, {timeApril.Format("2006-01-02T15:04:05"), timeApril},
	{timeJanuary, timeJanuary}, {timeJanuary.Unix(), timeJanuary.Truncate(time.Second)}, {timeJanuary.UnixMilli(), timeJanuary.Truncate(time.Millisecond)},
	{"2006-01-02 15:04:05.123456789", timeJanuary}, {"2006-01-02T15:04:05.123456789", timeJanuary}, {"2006-01-02T15:04:05.123456789Z", timeJanuary},
	{"2006-01-02T05:51:05.123456789-09:13", timeJanuary.In(odd)},
	{"2012-11-04", timeNovember}, {"2012-11-04Z", timeNovember},
	{"2012-11-04 00:00", timeNovember}, {"2012-11-04 00:00:00", timeNovember}, {"2012-11-04 00:00:00.000", timeNovember},
	{"2012-11-04T00:00", timeNovember}, {"2012-11-04T00:00:00", timeNovember}, {"2012-11-04T00:00:00.000", timeNovember},
	{"2012-11-04 00:00Z", timeNovember}, {"2012-11-04 00:00:00Z", timeNovember}, {"2012-11-04 00:00:00.000Z", timeNovember},
	{"2012-11-04T00:00Z", timeNovember}, {"2012-11-04T00:00:00Z", timeNovember}, {"2012-11-04T00:00:00.000Z", timeNovember},
}

// readTimes stores all times and compares what is read, by same.
func (p *peer) readTimes(db *sql.DB, same func(want, got time.Time)) {
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, ts timeSTAMP, dt DATETIME)")
	for _, v := range times {
		testdb.Exec(p, db, "INSERT INTO t(ts, dt) VALUES(?, ?)", v.stored, v.stored)
	}
	rows, err := db.Query("SELECT ts, dt FROM t ORDER BY id")
	require.NoError(p, err)
	for _, v := range times {
		require.True(p, rows.Next())
		var ts, dt time.Time
		require.NoError(p, rows.Scan(&ts, &dt))
		require.True(p, v.want.Equal(ts) && v.want.Equal(dt), "%v: %v %v", v.stored, ts, dt)
		same(v.want, ts)
		same(v.want, dt)
		p.tell(ts, dt)
	}
	require.False(p, rows.Next())
	require.NoError(p, rows.Err())
}

func checkTimes(p *peer) {
	p.readTimes(p.open(""), func(want, got time.Time) {
		require.Equal(p, want.Format("-07:00"), got.Format("-07:00"))
	})
}

func checkLocations(p *peer) {
	for _, name := range []string{"UTC", "US/Central", "US/Pacific", "Local", "auto"} {
		want := "Local"
		if name != "auto" {
			loc, err := time.LoadLocation(name)
			require.NoError(p, err)
			want = loc.String()
		}
		p.readTimes(p.open("?_loc="+name), func(_, got time.Time) {
			require.Equal(p, want, got.Location().String())
		})
	}
}

func checkLocal(p *peer) {
	path := testdb.Path(p)
	tokyo := p.openAt(path + "?_loc=Asia/Tokyo")
	testdb.Exec(p, tokyo, "CREATE TABLE t(dt datetime); INSERT INTO t VALUES('2015-03-05 15:16:17')")
	read := func(db *sql.DB) (at time.Time) {
		require.NoError(p, db.QueryRow("SELECT * FROM t").Scan(&at))
		p.tell(at)
		return at
	}
	at := time.Date(2015, 3, 5, 15, 16, 17, 0, time.UTC)
	require.True(p, read(tokyo).Equal(at))
	require.Contains(p, read(tokyo).String(), "JST")
	plain := p.openAt(path)
	require.Equal(p, at, read(plain))
	testdb.Exec(p, plain, "UPDATE t SET dt=?", at.Add(-9*time.Hour).In(time.FixedZone("JST", 9*3600)))
	require.Equal(p, 15, read(tokyo).Hour())
	require.Contains(p, read(tokyo).String(), "JST")
}

// scannedText is a Scanner that takes texts only, and a Valuer.
type scannedText struct{ *time.Time }

func (t scannedText) Scan(value any) (err error) {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("a %T", value)
	}
	*t.Time, err = time.Parse(time.DateTime, text)
	return err
}

func (t scannedText) Value() (sqldriver.Value, error) { return t.Format(time.DateTime), nil }

func checkScanner(p *peer) {
	db := p.open("")
	var now, back time.Time
	require.NoError(p, db.QueryRow("SELECT datetime('now')").Scan(scannedText{&now}))
	require.NoError(p, db.QueryRow("SELECT ?", scannedText{&now}).Scan(scannedText{&back}))
	require.Equal(p, now, back)
}

func checkNull(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER); INSERT INTO t VALUES(NULL)")
	var v any = "something"
	require.NoError(p, db.QueryRow("SELECT id FROM t").Scan(&v))
	require.Nil(p, v)
}

func checkFloat(p *peer) {
	var v any
	require.NoError(p, p.open("").QueryRow("SELECT 3.141592").Scan(&v))
	require.Equal(p, any(3.141592), v)
}

func checkString(p *peer) {
	var v any
	require.NoError(p, p.open("").QueryRow("SELECT 'hello'").Scan(&v))
	require.Equal(p, any("hello"), v)
}

func checkZeroByte(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER, name, extra TEXT)")
	const text = "foo\x00bar"
	testdb.Exec(p, db, "INSERT INTO t VALUES($1, $2, $2)", 1, text)
	var name, extra string
	require.NoError(p, db.QueryRow("SELECT name, extra FROM t WHERE id=$1 AND extra=$2", 1, text).Scan(&name, &extra))
	require.Equal(p, text, name)
	require.Equal(p, text, extra)
}

func checkNilAndEmpty(p *peer) {
	db := p.open("")
	for i, typ := range []string{"BLOB", "TEXT"} {
		var none []byte
		empty := []byte{}
		for j, arg := range []any{nil, none, &none, empty, &empty} {
			table := fmt.Sprintf("t%d_%d", i, j)
			testdb.Exec(p, db, fmt.Sprintf("CREATE TABLE %s(v %s)", table, typ))
			testdb.Exec(p, db, "INSERT INTO "+table+" VALUES(?)", arg)
			got := []byte("before")
			require.NoError(p, db.QueryRow("SELECT v FROM "+table).Scan(&got))
			if j < 3 {
				require.Nil(p, got, table)
			} else {
				require.Equal(p, []byte{}, got, table)
			}
			p.rows(db.Query("SELECT v, typeof(v), length(v) FROM " + table))
		}
	}
}

func checkNotNullBlob(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(b BLOB NOT NULL)")
	_, err := db.Exec("INSERT INTO t VALUES(?)", []byte(nil))
	require.Equal(p, sqlite3.ErrConstraint, code(err))
	p.tell(err)
	p.result(db.Exec("INSERT INTO t VALUES(?)", []byte{}))
}

func checkNullOrEmpty(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, bar blob[16]); INSERT INTO t VALUES(0, ?), (1, ?)", nil, []byte{})
	var b []byte
	require.NoError(p, db.QueryRow("SELECT bar FROM t WHERE id=0").Scan(&b))
	require.Nil(p, b)
	require.NoError(p, db.QueryRow("SELECT bar FROM t WHERE id=1").Scan(&b))
	require.Equal(p, []byte{}, b)
}

func checkBlobs(p *peer) {
	db := p.open("")
	blob := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, bar blob[16]); INSERT INTO t VALUES(0, ?)", blob)
	b := make([]byte, 16)
	var s string
	require.NoError(p, db.QueryRow("SELECT bar FROM t WHERE id=?", 0).Scan(&b))
	require.NoError(p, db.QueryRow("SELECT bar FROM t WHERE id=?", 0).Scan(&s))
	require.Equal(p, blob, b)
	require.Equal(p, string(blob), s)
	p.rows(db.Query("SELECT * FROM t"))
}

func checkBlobsStay(p *peer) {
	db := p.open("")
	first, second := []byte{0, 1, 2, 3, 4, 5, 6, 7}, []byte{10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25}
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, bar blob[16]); INSERT INTO t VALUES(0, ?), (1, ?)", first, second)
	rows, err := db.Query("SELECT bar FROM t ORDER BY id")
	require.NoError(p, err)
	defer rows.Close()
	require.True(p, rows.Next())
	a, b := make([]byte, 8), make([]byte, 16)
	require.NoError(p, rows.Scan(&a))
	require.True(p, rows.Next())
	require.NoError(p, rows.Scan(&b))
	require.Equal(p, first, a)
	require.Equal(p, second, b)
}

func checkDeclTypes(p *peer) {
	c := p.conn("")
	for _, query := range []string{"CREATE TABLE t(id integer NOT NULL PRIMARY KEY, name TEXT, v VARCHAR(9), x)", "INSERT INTO t(name) VALUES('bar')"} {
		_, err := c.ExecContext(ctx, query, nil)
		require.NoError(p, err)
	}
	rows, err := c.QueryContext(ctx, "SELECT *, 1 FROM t", nil)
	require.NoError(p, err)
	types := rows.(interface{ DeclTypes() []string }).DeclTypes()
	require.Equal(p, []string{"integer", "text", "varchar(9)", "", ""}, types)
	require.NoError(p, rows.Close())
}

func checkBindErrors(p *peer) {
	c := p.conn("")
	_, err := c.ExecContext(ctx, "CREATE TABLE t(v)", nil)
	require.NoError(p, err)
	_, err = c.ExecContext(ctx, "INSERT INTO t VALUES(?)", []sqldriver.NamedValue{{Ordinal: 1, Value: int32(1)}})
	require.ErrorContains(p, err, "unsupported bind type int32")
	p.tell(err)
	prepared := func(query string, arg sqldriver.NamedValue) error {
		s, err := c.PrepareContext(ctx, query)
		require.NoError(p, err)
		_, err = s.(sqldriver.StmtExecContext).ExecContext(ctx, []sqldriver.NamedValue{arg})
		require.NoError(p, s.Close())
		p.tell(err)
		return err
	}
	require.ErrorContains(p, prepared("INSERT INTO t VALUES(:x)", sqldriver.NamedValue{Name: "x", Ordinal: 1, Value: int32(1)}), "unsupported bind type int32")
	require.Equal(p, sqlite3.ErrRange, code(prepared("INSERT INTO t VALUES(?)", sqldriver.NamedValue{Ordinal: 2, Value: int64(1)})))
	rows, err := c.QueryContext(ctx, "SELECT count(*) FROM t", nil)
	require.NoError(p, err)
	n := make([]sqldriver.Value, 1)
	require.NoError(p, rows.Next(n))
	require.NoError(p, rows.Close())
	require.Equal(p, []sqldriver.Value{int64(0)}, n, "nothing was bound as NULL")
}

func checkStepValues(p *peer) {
	for _, cancellable := range []bool{false, true} {
		c, ctx := p.conn(""), ctx
		if cancellable {
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			defer cancel()
		}
		s, err := c.PrepareContext(ctx, "SELECT 'first', x'0102', 1, 1.5 WHERE :include UNION ALL SELECT x'0304', 'second', NULL, 2 UNION ALL SELECT '', x'', 3.5, NULL")
		require.NoError(p, err)
		want := [][]sqldriver.Value{{"first", []byte{1, 2}, int64(1), 1.5}, {[]byte{3, 4}, "second", nil, int64(2)}, {"", []byte{}, 3.5, nil}}
		for run := range 4 {
			arg := sqldriver.NamedValue{Ordinal: 1, Value: int64(1)}
			if run%2 == 1 {
				arg.Name = "include"
			}
			rows, err := s.(sqldriver.StmtQueryContext).QueryContext(ctx, []sqldriver.NamedValue{arg})
			require.NoError(p, err)
			var got [][]sqldriver.Value
			for {
				values := make([]sqldriver.Value, 4)
				if err = rows.Next(values); err != nil {
					break
				}
				got = append(got, values)
			}
			require.True(p, errors.Is(err, io.EOF), "%v", err)
			require.NoError(p, rows.Close())
			require.Equal(p, want, got)
		}
		require.NoError(p, s.Close())
	}
}
