//go:build cgo

package memvfs

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
)

// loaded returns a store that was loaded with the database that the statements make. patch,
// if not nil, changes its page 1.
func loaded(t testing.TB, patch func(page1 []byte), statements ...string) *Store {
	t.Helper()
	src, err := NewStore(filepath.Join(t.TempDir(), "src.db"), 0, nil)
	require.NoError(t, err)
	c := open(t, src)
	for _, q := range statements {
		c.exec(q)
	}
	c.close()
	snap, err := src.Pin()
	require.NoError(t, err)
	s, err := NewStore(filepath.Join(t.TempDir(), "from.db"), 0, nil)
	require.NoError(t, err)
	require.NoError(t, s.Reserve(snap.PageSize(), snap.Size()))
	for off := int64(0); off < snap.Size(); {
		b, err := s.Next(1 << 20)
		require.NoError(t, err)
		_, _ = snap.ReadAt(b, off)
		if off == 0 && patch != nil {
			patch(b)
		}
		off += int64(len(b))
	}
	s.Loaded()
	snap.Release()
	require.NoError(t, src.Close())
	return s
}

// replace replaces the database of s by that which the statements make.
func replace(t testing.TB, s *Store, statements ...string) {
	t.Helper()
	from := loaded(t, nil, statements...)
	wrapped, err := s.Replace(from)
	require.NoError(t, err)
	require.False(t, wrapped)
	require.NoError(t, from.Close())
}

// rows returns the rows of a prepared statement.
func (c *testConn) rows(s driver.Stmt) (lines []string) {
	c.t.Helper()
	rows, err := s.(driver.StmtQueryContext).QueryContext(c.t.Context(), nil)
	require.NoError(c.t, err)
	defer rows.Close()
	dest := make([]driver.Value, len(rows.Columns()))
	for {
		err := rows.Next(dest)
		if err == io.EOF {
			return lines
		}
		require.NoError(c.t, err)
		lines = append(lines, fmt.Sprint(dest[0]))
	}
}

// Ensure that all connections see the new database with their next transaction, whatever its
// page size, its vacuum mode and its size. One that reads keeps what it reads until its end.
func TestReplace(t *testing.T) {
	s := newStore(t, 0)
	s.Track()
	w, r, idle, raw := open(t, s), open(t, s), open(t, s), openRaw(t, s)
	for _, c := range []*testConn{w, r, idle, raw} {
		defer c.close()
	}
	w.exec(fill)
	want := r.text("SELECT count(*), sum(b) FROM t")
	for i, tt := range []string{
		"PRAGMA page_size=4096", "PRAGMA page_size=512", "PRAGMA page_size=65536",
		"PRAGMA page_size=1024; PRAGMA auto_vacuum=FULL", "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL",
		"PRAGMA page_size=8192",
	} {
		version := raw.text("PRAGMA data_version")
		require.Equal(t, want, idle.text("SELECT count(*), sum(b) FROM t"))
		require.Equal(t, want, raw.text("SELECT count(*), sum(b) FROM t"))
		r.exec("BEGIN")
		require.Equal(t, want, r.text("SELECT count(*), sum(b) FROM t"))
		epoch := s.Epoch()

		replace(t, s, tt, fmt.Sprintf(`CREATE TABLE t(id INTEGER PRIMARY KEY, other, a, b INT);
			WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d) INSERT INTO t SELECT i, 1, 'new', %d FROM c`, 100+900*i, i))

		require.Equal(t, epoch+1, s.Epoch())
		require.Equal(t, want, r.text("SELECT count(*), sum(b) FROM t"), "a reader keeps its state")
		require.Equal(t, "ok", r.text("PRAGMA integrity_check"))
		want = fmt.Sprintf("%d|%d", 100+900*i, i*(100+900*i))
		require.Equal(t, want, idle.text("SELECT count(*), sum(b) FROM t"))
		require.Equal(t, want, raw.text("SELECT count(*), sum(b) FROM t"))
		require.NotEqual(t, version, raw.text("PRAGMA data_version"))
		require.Equal(t, "ok", raw.text("PRAGMA integrity_check"))
		require.Equal(t, "ok", w.text("PRAGMA integrity_check"))
		w.exec("BEGIN; UPDATE t SET b=b+1; ROLLBACK; DELETE FROM t WHERE id%2; UPDATE t SET a=hex(randomblob(50)); CREATE INDEX x ON t(a)")
		w.exec("PRAGMA incremental_vacuum(3)")
		require.Equal(t, "ok", w.text("PRAGMA integrity_check"))
		r.exec("COMMIT")
		want = r.text("SELECT count(*), sum(b) FROM t")
		snap, _, all, err := s.PinChanges(nil)
		require.NoError(t, err)
		snap.Release()
		require.True(t, all, "no log can express it")
	}
}

// Ensure that a reader holds the database that it reads, and none of those that have come and
// gone since. The same holds for the tables of VACUUMs that change the page size.
func TestReplace_between(t *testing.T) {
	const sum = "SELECT count(*), sum(b) FROM t"
	for _, tt := range []struct {
		name string
		next func(t *testing.T, s *Store, w *testConn, i int)
	}{
		{"restore", func(t *testing.T, s *Store, w *testConn, i int) {
			replace(t, s, fill, fmt.Sprintf("UPDATE t SET b=%d", i))
		}},
		{"vacuum", func(t *testing.T, s *Store, w *testConn, i int) {
			w.exec(fmt.Sprintf("UPDATE t SET b=%d; PRAGMA page_size=%d; VACUUM", i, 1024<<(i%2)))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t, 0)
			w, oldest, middle, raw := open(t, s), open(t, s), open(t, s), openRaw(t, s)
			for _, c := range []*testConn{w, oldest, middle, raw} {
				defer c.close()
			}
			held := func() int64 {
				s.Drain()
				s.Drain() // what the first put into limbo
				return s.Stats().Held
			}
			begin := func(c *testConn) string {
				c.exec("BEGIN")
				return c.text(sum)
			}
			keeps := func(c *testConn, want string) {
				t.Helper()
				require.Equal(t, want, c.text(sum))
				require.Equal(t, "ok", c.text("PRAGMA integrity_check"))
			}
			w.exec(fill)
			want, wantMiddle := begin(oldest), ""
			require.Equal(t, want, begin(raw))
			tt.next(t, s, w, 0)
			one := held()
			for i := 1; i <= 10; i++ {
				tt.next(t, s, w, i)
				if i == 5 {
					wantMiddle = begin(middle)
				}
			}
			require.Less(t, held(), 3*one, "the oldest and one between are read")
			keeps(middle, wantMiddle)
			keeps(oldest, want)
			oldest.exec("COMMIT")
			keeps(raw, want)
			raw.exec("COMMIT")
			require.Less(t, held(), 2*one, "one between is read")
			keeps(middle, wantMiddle)
			middle.exec("COMMIT")
			require.Zero(t, held())
		})
	}
}

// Ensure that no statement is taken for one of the new database because of an equal schema
// cookie, and no page for one of it because of an equal change counter. The greatest numbers
// so far count, not the last, and not those of the new file.
func TestReplace_counters(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before string // on another connection, after the statement was prepared
	}{
		{name: "equal"},
		{name: "lowered", before: "PRAGMA schema_version=%d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t, 0)
			c, o := open(t, s), open(t, s)
			defer c.close()
			defer o.close()
			c.exec("CREATE TABLE a(x); CREATE TABLE b(x); INSERT INTO a VALUES('a'); INSERT INTO b VALUES('b')")
			st, err := c.Prepare("SELECT x FROM a")
			require.NoError(t, err)
			defer st.Close()
			require.Equal(t, []string{"a"}, c.rows(st))
			page1 := header(t, s)
			counter, cookie := binary.BigEndian.Uint32(page1[24:]), binary.BigEndian.Uint32(page1[40:])
			if tt.before != "" {
				o.exec(fmt.Sprintf(tt.before, cookie-1))
			}
			// The tables have changed places, and so their root pages.
			from := loaded(t, func(b []byte) {
				binary.BigEndian.PutUint32(b[24:], counter)
				binary.BigEndian.PutUint32(b[92:], counter)
				binary.BigEndian.PutUint32(b[40:], cookie)
			}, "CREATE TABLE b(x); CREATE TABLE a(x); INSERT INTO a VALUES('a'); INSERT INTO b VALUES('b')")
			wrapped, err := s.Replace(from)
			require.NoError(t, err)
			require.False(t, wrapped)
			require.NoError(t, from.Close())
			require.Equal(t, []string{"a"}, c.rows(st))
			now := header(t, s)
			require.Greater(t, binary.BigEndian.Uint32(now[24:]), counter)
			require.Greater(t, binary.BigEndian.Uint32(now[40:]), cookie)
			require.Equal(t, now[24:28], now[92:96])
		})
	}
}

func header(t testing.TB, s *Store) []byte {
	t.Helper()
	p, err := s.Pin()
	require.NoError(t, err)
	defer p.Release()
	b := make([]byte, 100)
	_, _ = p.ReadAt(b, 0)
	return b
}

// Ensure that the caller is told if there is no greater number.
func TestReplace_wraps(t *testing.T) {
	s := newStore(t, 0)
	c := open(t, s)
	defer c.close()
	c.exec("CREATE TABLE a(x)")
	c.exec("PRAGMA schema_version=-1") // all bits
	from := loaded(t, nil, "CREATE TABLE b(x)")
	wrapped, err := s.Replace(from)
	require.NoError(t, err)
	require.True(t, wrapped)
	require.NoError(t, from.Close())
	require.Equal(t, "1", open1(t, s, "PRAGMA schema_version"))
	replace(t, s, "CREATE TABLE c(x)")
	require.Equal(t, "2", open1(t, s, "PRAGMA schema_version"))
}

// open1 runs a query on a connection of its own.
func open1(t testing.TB, s *Store, query string) string {
	c := open(t, s)
	defer c.close()
	return c.text(query)
}

// Ensure that a database that cannot take the place of another changes nothing: one that is
// too large, open, written or empty, and one beside a writer. The same holds if any allocation
// fails. With a limit, what old readers hold counts.
func TestReplace_refused(t *testing.T) {
	s := newStore(t, 256<<10)
	c := open(t, s)
	defer c.close()
	c.exec("CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(150000))")
	epoch := s.Epoch()
	refused := func(from *Store, want sqlite3.ErrNo) {
		t.Helper()
		_, err := s.Replace(from)
		require.Equal(t, want, code(err), "%v", err)
		require.Equal(t, epoch, s.Epoch())
		require.Equal(t, "150000", c.text("SELECT length(x) FROM t"))
	}
	small := func() *Store { return loaded(t, nil, "CREATE TABLE n(x); INSERT INTO n VALUES(zeroblob(200000))") }

	from := loaded(t, nil, "CREATE TABLE n(x); INSERT INTO n VALUES(zeroblob(300000))")
	refused(from, sqlite3.ErrFull)
	require.NoError(t, from.Close())

	from = small()
	other := open(t, from)
	refused(from, sqlite3.ErrBusy)
	other.exec("CREATE TABLE z(x)")
	other.close()
	refused(from, sqlite3.ErrMisuse)
	require.NoError(t, from.Close())

	from = newStore(t, 0)
	refused(from, sqlite3.ErrMisuse)

	from = small()
	c.exec("BEGIN IMMEDIATE")
	refused(from, sqlite3.ErrBusy)
	c.exec("ROLLBACK")

	r := open(t, s)
	r.exec("BEGIN")
	r.text("SELECT count(*) FROM t")
	defer FailAlloc(0, false)
	for n := int64(1); ; n++ {
		FailAlloc(n, false)
		_, err := s.Replace(from)
		FailAlloc(0, false)
		if err == nil {
			require.Greater(t, n, int64(2))
			break
		}
		require.Equal(t, sqlite3.ErrNomem, code(err))
		require.Equal(t, epoch, s.Epoch())
		require.Equal(t, "150000", c.text("SELECT length(x) FROM t"))
	}
	require.NoError(t, from.Close())
	require.Equal(t, "200000", c.text("SELECT length(x) FROM n"))

	epoch = s.Epoch()
	from = small()
	_, err := s.Replace(from)
	require.Equal(t, sqlite3.ErrFull, code(err), "the reader holds the state before")
	require.Equal(t, epoch, s.Epoch())
	r.exec("COMMIT")
	r.close()
	_, err = s.Replace(from)
	require.NoError(t, err)
	require.NoError(t, from.Close())
}
