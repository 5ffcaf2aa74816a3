//go:build cgo

package memvfs

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// linked opens a connection with a link that holds the write lock.
func linked(t testing.TB, s *Store) (*testConn, *Conn) {
	t.Helper()
	c := open(t, s)
	link, err := s.Link(c.SQLiteConn, &hooks{func() {}, func() {}, func() bool { return false }})
	require.NoError(t, err)
	t.Cleanup(func() {
		c.close()
		link.Close()
	})
	return c, link
}

func prepare(t testing.TB, link *Conn, text string) Stmt {
	t.Helper()
	s, tail, err := link.Prepare(text, false)
	require.NoError(t, err, text)
	require.Equal(t, len(text), tail)
	return s
}

// fetch runs a query and returns its rows as text, and the sizes of the batches.
func fetch(t testing.TB, s Stmt, limit int) (rows []string, batches []int, rc int) {
	t.Helper()
	r, ok := NewRows()
	require.True(t, ok)
	defer r.Free()
	for rc = s.Query(r, limit); ; rc = s.More(r, limit) {
		v, n := r.First()
		batches = append(batches, n)
		for range n {
			var b strings.Builder
			for range r.Columns() {
				switch v.Type {
				case Integer:
					fmt.Fprintf(&b, "%d|", v.Int())
				case Float:
					fmt.Fprintf(&b, "%g|", v.Float())
				case Text:
					fmt.Fprintf(&b, "%q|", v.Bytes())
				case Blob:
					fmt.Fprintf(&b, "%x|", v.Bytes())
				default:
					b.WriteString("NULL|")
				}
				v = v.Next(1)
			}
			rows = append(rows, b.String())
		}
		if rc != Row {
			return rows, batches, rc
		}
	}
}

// Ensure that every kind of argument arrives as it was set; an empty text or blob does
// not become NULL. The arguments of a later run replace the earlier ones.
func TestStmt_arguments(t *testing.T) {
	require.EqualValues(t, 16, unsafe.Sizeof(Value{}))
	c, link := linked(t, newStore(t, 0))
	s := prepare(t, link, "SELECT ?, typeof(?1), ?, typeof(?2), ?, typeof(?3)")
	defer s.Finalize()
	require.Equal(t, 3, s.Params())
	require.True(t, s.ReadOnly())
	a := s.Args()
	require.Zero(t, s.SetText(&a[0], ""))
	require.Zero(t, s.SetBlob(&a[1], nil))
	a[2].SetNull()
	rows, _, rc := fetch(t, s, 10)
	require.Equal(t, Done, rc)
	require.Equal(t, []string{`""|"text"||"blob"|NULL|"null"|`}, rows)
	for range 3 {
		s.ClearArgs()
		a[0].SetInt(math.MinInt64)
		a[1].SetFloat(1.5)
		a[2].SetNull()
		rows, _, rc := fetch(t, s, 10)
		require.Equal(t, Done, rc)
		require.Equal(t, []string{`-9223372036854775808|"integer"|1.5|"real"|NULL|"null"|`}, rows)
		s.ClearArgs()
		long := strings.Repeat("é", 200_000)
		require.Zero(t, s.SetText(&a[0], ""))
		require.Zero(t, s.SetBlob(&a[1], []byte{}))
		require.Zero(t, s.SetText(&a[2], long))
		rows, _, rc = fetch(t, s, 10)
		require.Equal(t, Done, rc)
		require.Equal(t, []string{`""|"text"||"blob"|"` + long + `"|"text"|`}, rows)
		s.ClearArgs()
		require.Zero(t, s.SetText(&a[0], "a\x00b"))
		require.Zero(t, s.SetBlob(&a[1], []byte("\x00\xff")))
		a[2].SetInt(7)
		rows, _, _ = fetch(t, s, 10)
		require.Equal(t, []string{`"a\x00b"|"text"|00ff|"blob"|7|"integer"|`}, rows)
	}
	c.SetLimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)
	require.Equal(t, int(sqlite3.ErrTooBig), s.SetText(&a[0], strings.Repeat("x", 1001)))
}

// Ensure that a batch ends at its limit, when its memory is full, at a large value, and
// after a row that took long.
func TestStmt_batches(t *testing.T) {
	_, link := linked(t, newStore(t, 0))
	for _, tt := range []struct {
		query   string
		limit   int
		batches []int
	}{
		{"SELECT value FROM json_each('[1,2,3,4,5]')", 2, []int{2, 2, 1}},
		{"SELECT value FROM json_each('[1,2,3,4]')", 1, []int{1, 1, 1, 1, 0}},
		{"SELECT 1 WHERE 0", 5, []int{0}},
		{"SELECT value, CASE value WHEN 2 THEN zeroblob(2000) END FROM json_each('[1,2,3,4]')", 10, []int{2, 2}},
		{"SELECT value, printf('%1000d', value) FROM json_each('[" + strings.Repeat("1,", 39) + "1]')", 64, []int{16, 16, 8}},
		{"SELECT value, (WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<5000) SELECT count(*) FROM c WHERE i>value) FROM json_each('[1,2,3]')", 64, []int{1, 1, 1, 0}},
	} {
		s := prepare(t, link, tt.query)
		_, batches, rc := fetch(t, s, tt.limit)
		require.Equal(t, Done, rc, tt.query)
		require.Equal(t, tt.batches, batches, tt.query)
		s.Finalize()
	}
}

// Ensure that an error comes after the rows before it, with SQLite's text and codes, and
// that the statement can run again.
func TestStmt_errors(t *testing.T) {
	c, link := linked(t, newStore(t, 0))
	c.exec("CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES(1), (-9223372036854775808), (3)")
	s := prepare(t, link, "SELECT abs(a) FROM t")
	for range 2 {
		rows, _, rc := fetch(t, s, 10)
		require.Equal(t, []string{"1|"}, rows)
		err := link.Err(rc).(sqlite3.Error)
		require.Equal(t, sqlite3.ErrError, err.Code)
		require.Equal(t, "integer overflow", err.Error())
	}
	s.Finalize()
	s = prepare(t, link, "INSERT INTO t VALUES(1)")
	err := link.Err(s.Exec()).(sqlite3.Error)
	require.Equal(t, sqlite3.ErrConstraintUnique, err.ExtendedCode)
	require.Equal(t, "UNIQUE constraint failed: t.a", err.Error())
	// An error of this package is not mistaken for SQLite's last error.
	err = link.Err(int(sqlite3.ErrNomem)).(sqlite3.Error)
	require.Equal(t, sqlite3.ErrNomem, err.Code)
	require.Equal(t, "out of memory", err.Error())
	s.Finalize()
	_, _, prepareErr := link.Prepare("SELECT missing", false)
	require.EqualError(t, prepareErr, "no such column: missing")
	s, tail, prepareErr := link.Prepare("; -- x\n", false)
	require.NoError(t, prepareErr)
	require.True(t, s.Empty())
	require.Equal(t, 7, tail)
	s.Finalize()
	s, tail, prepareErr = link.Prepare("SELECT 1; SELECT 2", true)
	require.NoError(t, prepareErr)
	require.Equal(t, len("SELECT 1;"), tail)
	s.Finalize()
}

// Ensure that the facts of a statement are its actions, not its words, and that nothing is
// known after another authorizer is set.
func TestStmt_facts(t *testing.T) {
	c, link := linked(t, newStore(t, 0))
	c.exec(`ATTACH ':memory:' AS o; CREATE TABLE t(a PRIMARY KEY, b); CREATE TABLE o.u(a); CREATE TEMP TABLE p(a);
		CREATE TABLE child(a REFERENCES t(a) ON DELETE CASCADE); CREATE VIEW v AS SELECT a FROM t; CREATE TABLE quiet(a);
		CREATE TRIGGER tr INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES(new.a, 1); END;
		CREATE TEMP TRIGGER tt AFTER INSERT ON p BEGIN INSERT INTO u VALUES(new.a); END`)
	require.True(t, link.Attaches())
	for query, want := range map[string]Facts{
		"SELECT * FROM t": 0,
		"WITH x AS (SELECT replace(b, 'update', 'insert') AS n FROM t) SELECT n FROM x": 0,
		"EXPLAIN INSERT INTO t VALUES(1, 2)":                                            WritesMain,
		"inSERT INTO t VALUES(1, 2) reTURNING a":                                        WritesMain,
		"/* x */ REPLACE INTO t VALUES(1, 2)":                                           WritesMain,
		"WITH x(a) AS (SELECT 1) DELETE FROM u WHERE a IN x":                            WritesOther,
		"CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM t; END":                   WritesMain | Names,
		"CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM o.u; END":            WritesTemp | Names,
		"CREATE TEMP TRIGGER x AFTER INSERT ON o.u BEGIN DELETE FROM t; END":            WritesTemp | Names,
		"DELETE FROM t":                               WritesMain,
		"INSERT INTO v VALUES(1)":                     WritesMain,
		"INSERT INTO p VALUES(1)":                     WritesTemp | WritesOther,
		"INSERT INTO o.u SELECT a FROM t":             WritesOther,
		"CREATE TABLE x(a)":                           WritesMain | Names,
		"CREATE TEMP TABLE x(a)":                      WritesTemp | Names,
		"CREATE TABLE o.x(a)":                         WritesOther | Names,
		"CREATE INDEX i ON t(b)":                      WritesMain | Names,
		"CREATE VIRTUAL TABLE f USING fts3(a)":        WritesMain | Names,
		"ALTER TABLE quiet ADD c":                     WritesMain | Names,
		"ALTER TABLE o.u RENAME TO w":                 WritesOther | WritesTemp | Names, // of views and triggers that name it
		"DROP TABLE quiet":                            WritesMain | Names,
		"REINDEX t":                                   WritesMain,
		"ANALYZE t":                                   WritesMain | Names, // it may make sqlite_stat1
		"PRAGMA user_version=5":                       Pragma | WritesOther,
		"PRAGMA main.user_version=5":                  Pragma,
		"PRAGMA o.user_version=5":                     Pragma | WritesOther,
		"SELECT * FROM pragma_table_info('t')":        0,
		"BEGIN":                                       Transaction,
		"BEGIN IMMEDIATE":                             Transaction,
		"SAVEPOINT x":                                 Transaction,
		"ATTACH ':memory:' AS z":                      Names,
		"DETACH o":                                    Names,
		"SELECT sqlite_mem_nothing()":                 -1,
		"SELECT optimize(f) FROM (SELECT 1 AS f)":     Effect,
		"SELECT upper(b), count(*) FROM t GROUP BY 1": 0,
	} {
		if testfile.SystemSQLite && strings.Contains(query, "pragma_table_info") {
			continue // older versions call it a pragma, too
		}
		s, _, err := link.Prepare(query, false)
		if want < 0 {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err, query)
		require.Equal(t, want|Asked, s.Facts(), "%s: %b", query, s.Facts())
		require.Equal(t, strings.HasPrefix(query, "EXPLAIN") || want&(WritesMain|WritesOther|WritesTemp) == 0 && query != "BEGIN IMMEDIATE" && query != "PRAGMA main.user_version=5" || strings.HasPrefix(query, "ATTACH"), s.ReadOnly(), query)
		s.Finalize()
	}
	s := prepare(t, link, "VACUUM")
	require.Zero(t, s.Facts())
	require.False(t, s.ReadOnly())
	s.Finalize()
	c.RegisterAuthorizer(func(int, string, string, string) int { return sqlite3.SQLITE_OK })
	s = prepare(t, link, "INSERT INTO t VALUES(5, 6)")
	require.Zero(t, s.Facts())
	s.Finalize()
}

// Ensure that a statement that SQLite prepares again has its new columns.
func TestStmt_reprepared(t *testing.T) {
	c, link := linked(t, newStore(t, 0))
	c.exec("CREATE TABLE t(a INT); INSERT INTO t VALUES(1)")
	s := prepare(t, link, "SELECT * FROM t")
	defer s.Finalize()
	names, types, ok := s.Columns()
	require.True(t, ok)
	require.Equal(t, []string{"a"}, names)
	require.Equal(t, []string{"INT"}, types)
	rows, _, _ := fetch(t, s, 1)
	require.Equal(t, []string{"1|"}, rows)
	require.Zero(t, s.Reprepared())
	c.exec("ALTER TABLE t ADD b DATE DEFAULT 'x'")
	rows, _, _ = fetch(t, s, 1)
	require.Equal(t, []string{`1|"x"|`}, rows)
	require.Equal(t, 1, s.Reprepared())
	names, types, ok = s.Columns()
	require.True(t, ok)
	require.Equal(t, []string{"a", "b"}, names)
	require.Equal(t, []string{"INT", "DATE"}, types)
}

// Ensure that any failed allocation is an error of that call only, and that nothing is lost
// or held.
func TestStmt_noMemory(t *testing.T) {
	c, link := linked(t, newStore(t, 0))
	c.exec("CREATE TABLE t(a, b); INSERT INTO t VALUES('x', 'y'), (zeroblob(5000), 2), (3, 4)")
	try := func() (err error) {
		s, _, err := link.Prepare("SELECT a, b, ?, ? FROM t", false)
		if err != nil {
			return err
		}
		defer s.Finalize()
		if _, _, ok := s.Columns(); !ok {
			return sqlite3.ErrNomem
		}
		s.ClearArgs()
		a := s.Args()
		for _, text := range []string{"short", strings.Repeat("long", 30_000)} {
			if rc := s.SetText(&a[len(text)&1], text); rc != 0 {
				return link.Err(rc)
			}
		}
		r, ok := NewRows()
		if !ok {
			return sqlite3.ErrNomem
		}
		defer r.Free()
		n := 0
		for rc := s.Query(r, 1); ; rc = s.More(r, 2+n) {
			_, got := r.First()
			n += got
			switch rc {
			case Row:
			case Done:
				require.Equal(t, 3, n)
				return nil
			default:
				return link.Err(rc)
			}
		}
	}
	FailAlloc(0, false)
	require.NoError(t, try())
	all := FailAlloc(0, false)
	require.Greater(t, all, int64(6))
	for _, forever := range []bool{false, true} {
		for n := range all {
			FailAlloc(n+1, forever)
			err := try()
			FailAlloc(0, false)
			require.ErrorContains(t, err, "out of memory", "allocation %d", n+1)
			require.False(t, link.Reading(), "allocation %d", n+1)
			require.NoError(t, try())
		}
	}
}

// Ensure that a transaction reads the state that was pinned before it began, and that the
// pin ends with it.
func TestPin(t *testing.T) {
	s := newStore(t, 0)
	c, link := linked(t, s)
	other := open(t, s)
	defer other.close()
	other.exec(fill)
	link.Pin()
	link.SetReadOnly(true)
	other.exec("DELETE FROM t")
	for range 2 { // outside of a transaction every statement has its own
		require.Equal(t, "2000", c.text("SELECT count(*) FROM t"))
	}
	c.exec("BEGIN")
	require.Equal(t, "2000", c.text("SELECT count(*) FROM t"))
	require.Equal(t, sqlite3.ErrReadonly, code(c.try("DELETE FROM t")))
	c.exec("COMMIT")
	require.NotZero(t, s.Stats().OldestReader+1)
	link.Unpin()
	link.SetReadOnly(false)
	require.Equal(t, "0", c.text("SELECT count(*) FROM t"))
	link.Pin()
	link.Pin()
	link.Unpin()
	require.Equal(t, "0", c.text("SELECT count(*) FROM t"))
	link.Pin() // and closed
}

// Ensure that a connection whose busy timeout is not known keeps it after its state
// became stale during a wait for the write lock. It then waits for another writer.
func TestLink_keepsBusyTimeout(t *testing.T) {
	s := newStore(t, 0)
	other := open(t, s)
	defer other.close()
	other.exec("CREATE TABLE t(x)")
	raw, err := (&sqlite3.SQLiteDriver{}).Open("file:" + s.Path() + "?vfs=" + Name + "&_busy_timeout=20000")
	require.NoError(t, err)
	c := &testConn{t, raw.(*sqlite3.SQLiteConn)}
	h := &hooks{lock: func() {}, unlock: func() {}, cancelled: func() bool { return false }}
	link, err := s.Link(c.SQLiteConn, h)
	require.NoError(t, err)
	first := true
	h.lock = func() {
		if first {
			first = false
			other.exec("INSERT INTO t VALUES(1)") // as whoever had the lock before
		}
	}
	c.exec("INSERT INTO t VALUES(2)")
	require.False(t, first)

	other.exec("BEGIN IMMEDIATE; INSERT INTO t VALUES(3)")
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(50 * time.Millisecond)
		if err := other.try("COMMIT"); err != nil {
			t.Error(err)
		}
	}()
	c.exec("INSERT INTO t VALUES(4)")
	<-done
	require.Equal(t, "4", c.text("SELECT count(*) FROM t"))
	c.close()
	link.Close()
}

// Ensure that a statement whose context ends after its last instruction returns its result:
// neither a commit nor a BEGIN becomes an error. A statement whose context ends earlier is
// stopped.
func TestStmt_cancelledAtItsEnd(t *testing.T) {
	s := newStore(t, 0)
	c := open(t, s)
	var over func() bool
	link, err := s.Link(c.SQLiteConn, &hooks{func() {}, func() {}, func() bool { return over() }})
	require.NoError(t, err)
	defer func() {
		c.close()
		link.Close()
	}()
	c.exec("CREATE TABLE t(n); INSERT INTO t VALUES(0)")
	link.SetCancellable(true)
	update := prepare(t, link, "UPDATE t SET n=n+1")
	defer update.Finalize()
	begin, rollback := prepare(t, link, "BEGIN IMMEDIATE"), prepare(t, link, "ROLLBACK")
	defer begin.Finalize()
	defer rollback.Finalize()

	for range 10000 { // SQLite asks every 10000 instructions of a statement
		before := s.Epoch()
		over = func() bool { return s.Epoch() != before }
		require.Zero(t, update.Exec(), "it has committed")
		over = func() bool { return !link.Autocommit() }
		require.Zero(t, begin.Exec(), "it has begun")
		over = link.Autocommit
		require.Zero(t, rollback.Exec(), "it has rolled back")
	}
	over = func() bool { return true }
	require.Equal(t, "10000", c.text("SELECT n FROM t"))
	endless := prepare(t, link, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c) SELECT count(*) FROM c")
	defer endless.Finalize()
	require.Equal(t, int(sqlite3.ErrInterrupt), endless.Exec())
}
