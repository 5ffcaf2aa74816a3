//go:build cgo

package memvfs

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
)

// newStore makes a store. At the end of the test it checks that the database is sound and
// that no versions are held. It also checks that the store can be closed, so no connection
// and no snapshot is left.
func newStore(t testing.TB, maxBytes int64) *Store {
	t.Helper()
	s, err := NewStore(filepath.Join(t.TempDir(), "engine.db"), maxBytes, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		c := open(t, s)
		require.Equal(t, "ok", c.text("PRAGMA integrity_check"))
		c.close()
		s.Drain()
		s.Drain() // what the first put into limbo
		require.Zero(t, s.Stats().Held, "superseded pages are left without a reader")
		require.NoError(t, s.Close())
	})
	return s
}

// testConn is a connection of go-sqlite3 to a store, without the driver.
type testConn struct {
	t testing.TB
	*sqlite3.SQLiteConn
}

func open(t testing.TB, s *Store) *testConn {
	t.Helper()
	c := openRaw(t, s)
	c.exec("PRAGMA main.mmap_size=1073741824")
	return c
}

// openRaw opens without xFetch, so that pages are copied.
func openRaw(t testing.TB, s *Store) *testConn {
	t.Helper()
	u := url.URL{Scheme: "file", OmitHost: true, Path: s.Path(), RawQuery: "vfs=" + Name + "&_busy_timeout=0"}
	c, err := (&sqlite3.SQLiteDriver{}).Open(u.String())
	require.NoError(t, err)
	return &testConn{t, c.(*sqlite3.SQLiteConn)}
}

func (c *testConn) close() {
	c.t.Helper()
	require.NoError(c.t, c.Close())
}

func (c *testConn) try(query string, args ...driver.Value) error {
	_, err := c.Exec(query, args)
	return err
}

func (c *testConn) exec(query string, args ...driver.Value) {
	c.t.Helper()
	require.NoError(c.t, c.try(query, args...), query)
}

// all returns the rows of a query as text.
func (c *testConn) all(query string, args ...driver.Value) []string {
	c.t.Helper()
	rows, err := c.Query(query, args)
	require.NoError(c.t, err, query)
	defer rows.Close()
	var out []string
	dest := make([]driver.Value, len(rows.Columns()))
	for {
		err := rows.Next(dest)
		if err == io.EOF {
			return out
		}
		require.NoError(c.t, err, query)
		var fields []string
		for _, v := range dest {
			fields = append(fields, fmt.Sprint(v))
		}
		out = append(out, strings.Join(fields, "|"))
	}
}

func (c *testConn) text(query string, args ...driver.Value) string {
	c.t.Helper()
	return strings.Join(c.all(query, args...), "\n")
}

func code(err error) sqlite3.ErrNo {
	var e sqlite3.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

const fill = `CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b INT);
	CREATE INDEX tb ON t(b);
	WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<2000)
	INSERT INTO t SELECT i, 'row '||i||hex(zeroblob(20)), i%97 FROM c`

// Ensure that a reader sees one state from its first read to its end, whatever is committed
// meanwhile. Neither the reader nor the writer waits.
func TestReader_keepsItsState(t *testing.T) {
	s := newStore(t, 0)
	w, r := open(t, s), open(t, s)
	defer w.close()
	defer r.close()
	w.exec(fill)

	r.exec("BEGIN")
	before := r.text("SELECT count(*), sum(b), group_concat(a) FROM t")
	for range 20 {
		w.exec("UPDATE t SET a=a||'x', b=b+1")
		w.exec("BEGIN IMMEDIATE; DELETE FROM t WHERE id%3=0; CREATE TABLE IF NOT EXISTS u(x)")
		require.Equal(t, before, r.text("SELECT count(*), sum(b), group_concat(a) FROM t"), "beside an open transaction")
		w.exec("ROLLBACK")
	}
	w.exec("DELETE FROM t WHERE id%2=0")
	require.Equal(t, before, r.text("SELECT count(*), sum(b), group_concat(a) FROM t"))
	r.exec("COMMIT")
	require.Equal(t, "1000", r.text("SELECT count(*) FROM t"))
}

// Ensure that there is one writer. A second gets SQLITE_BUSY, and one whose state is not
// the last gets SQLITE_BUSY_SNAPSHOT.
func TestWriter_isAlone(t *testing.T) {
	s := newStore(t, 0)
	a, b := open(t, s), open(t, s)
	defer a.close()
	defer b.close()
	a.exec(fill)

	a.exec("BEGIN IMMEDIATE")
	require.Equal(t, sqlite3.ErrBusy, code(b.try("BEGIN IMMEDIATE")))
	require.Equal(t, sqlite3.ErrBusy, code(b.try("DELETE FROM t")))
	a.exec("COMMIT")

	b.exec("BEGIN")
	require.Equal(t, "2000", b.text("SELECT count(*) FROM t"))
	a.exec("DELETE FROM t WHERE id=1")
	err := b.try("DELETE FROM t WHERE id=2")
	var e sqlite3.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, sqlite3.ErrBusySnapshot, e.ExtendedCode)
	b.exec("ROLLBACK")
	b.exec("DELETE FROM t WHERE id=2")
	require.Equal(t, "1998", a.text("SELECT count(*) FROM t"))
}

// Ensure that a transaction that only reads, or is rolled back, is not a commit.
func TestEpoch_movesWithChangesAlone(t *testing.T) {
	s := newStore(t, 0)
	c := open(t, s)
	defer c.close()
	c.exec(fill)
	e := s.Epoch()
	c.exec("BEGIN IMMEDIATE; COMMIT")
	c.exec("BEGIN; UPDATE t SET b=0; ROLLBACK")
	c.exec("SELECT count(*) FROM t")
	require.Equal(t, e, s.Epoch())
	c.exec("UPDATE t SET b=0 WHERE id=1")
	require.Equal(t, e+1, s.Epoch())
}

// Ensure that every page size works, with savepoints, spilling, and readers by copy and by
// reference, and that VACUUM changes any to any other.
func TestPageSizes(t *testing.T) {
	sizes := []int{512, 1024, 2048, 4096, 8192, 16384, 32768, 65536}
	for _, from := range sizes {
		t.Run(fmt.Sprint(from), func(t *testing.T) {
			s := newStore(t, 0)
			c, raw := open(t, s), openRaw(t, s)
			defer c.close()
			defer raw.close()
			c.exec(fmt.Sprintf("PRAGMA page_size=%d; PRAGMA cache_size=1", from))
			c.exec(fill)
			require.Equal(t, from, s.Stats().PageSize)
			c.exec("BEGIN; SAVEPOINT x; UPDATE t SET a='gone', b=7; ROLLBACK TO x; UPDATE t SET b=b+1; COMMIT")
			want := c.text("SELECT count(*), sum(b), sum(length(a)) FROM t")
			require.Equal(t, want, raw.text("SELECT count(*), sum(b), sum(length(a)) FROM t"))
			for _, to := range sizes {
				raw.exec("BEGIN")
				before := raw.text("SELECT group_concat(a) FROM t")
				c.exec(fmt.Sprintf("PRAGMA page_size=%d; VACUUM", to))
				require.Equal(t, fmt.Sprint(to), c.text("PRAGMA page_size"))
				require.Equal(t, to, s.Stats().PageSize, "the engine's blocks follow")
				require.Equal(t, before, raw.text("SELECT group_concat(a) FROM t"), "an older reader")
				raw.exec("COMMIT")
				require.Equal(t, want, raw.text("SELECT count(*), sum(b), sum(length(a)) FROM t"))
				require.Equal(t, "ok", raw.text("PRAGMA integrity_check"))
				c.exec("UPDATE t SET b=b WHERE id%5=0")
			}
		})
	}
}

// Ensure that only the writer sees the pages that SQLite's cache spills during a
// transaction, and that ROLLBACK drops them.
func TestSpill(t *testing.T) {
	s := newStore(t, 0)
	c, r := open(t, s), open(t, s)
	defer c.close()
	defer r.close()
	c.exec(fill)
	want := c.text("SELECT sum(b), sum(length(a)) FROM t")
	c.exec("PRAGMA cache_size=1; PRAGMA cache_spill=1")
	for range 3 {
		c.exec("BEGIN; UPDATE t SET b=b+1, a=a||a; UPDATE t SET b=b+1; SAVEPOINT s; DELETE FROM t WHERE id%2; INSERT INTO t SELECT id+10000, a, b FROM t")
		require.Greater(t, s.Stats().Live, s.Stats().Size, "pages have spilled")
		require.NotEqual(t, want, c.text("SELECT sum(b), sum(length(a)) FROM t"))
		require.Equal(t, want, r.text("SELECT sum(b), sum(length(a)) FROM t"))
		c.exec("ROLLBACK TO s")
		require.Equal(t, "2000", c.text("SELECT count(*) FROM t"))
		c.exec("ROLLBACK")
		require.Equal(t, want, c.text("SELECT sum(b), sum(length(a)) FROM t"))
	}
}

// Ensure that a database that shrinks (auto_vacuum, VACUUM) frees its memory and can
// grow again. Older readers still see the pages that were cut off.
func TestShrink_givesMemoryBack(t *testing.T) {
	for _, how := range []string{"PRAGMA auto_vacuum=FULL", "PRAGMA auto_vacuum=INCREMENTAL", "PRAGMA auto_vacuum=NONE"} {
		t.Run(how, func(t *testing.T) {
			s := newStore(t, 0)
			c, r := open(t, s), open(t, s)
			defer c.close()
			defer r.close()
			c.exec(how)
			c.exec("CREATE TABLE big(id INTEGER PRIMARY KEY, b)")
			for range 3 {
				c.exec("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<4000) INSERT INTO big SELECT NULL, randomblob(5000) FROM c")
				r.exec("BEGIN")
				want := r.text("SELECT count(*), sum(length(b)) FROM big")
				full := s.Stats()
				require.Greater(t, full.Size, int64(15<<20))
				c.exec("DELETE FROM big")
				switch how {
				case "PRAGMA auto_vacuum=INCREMENTAL":
					c.text("PRAGMA incremental_vacuum")
				case "PRAGMA auto_vacuum=NONE":
					c.exec("VACUUM")
				}
				require.Less(t, s.Stats().Size, int64(1<<20))
				require.Equal(t, want, r.text("SELECT count(*), sum(length(b)) FROM big"))
				r.exec("COMMIT")
				c.exec("CREATE TABLE IF NOT EXISTS small(x); INSERT INTO small VALUES(1)")
				s.Drain()
				s.Drain()
				st := s.Stats()
				require.LessOrEqual(t, st.Live+st.Held+st.Free, int64(4<<20), "%+v", st)
			}
		})
	}
}

// Ensure that a long reader costs one version of each page rewritten since, however often.
func TestLongReader_holdsEachPageOnce(t *testing.T) {
	s := newStore(t, 0)
	w, r := open(t, s), open(t, s)
	defer w.close()
	defer r.close()
	w.exec(fill)
	r.exec("BEGIN")
	r.text("SELECT count(*) FROM t")
	for i := range 20000 {
		w.exec("UPDATE t SET b=b+1 WHERE id=?", int64(i%10+1))
	}
	st := s.Stats()
	require.Less(t, st.Held, int64(200*4096), "%+v", st)
	r.exec("COMMIT")
}

// Ensure that growth past the limit is SQLITE_FULL and changes nothing. A delete and an
// update still work then. The versions held by older readers are limited too.
func TestMaxBytes(t *testing.T) {
	const limit = 4 << 20
	s := newStore(t, limit)
	c, r := open(t, s), open(t, s)
	defer c.close()
	defer r.close()
	c.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, b)")
	var n int
	for ; n < 10000; n++ {
		if err := c.try("INSERT INTO t VALUES(NULL, randomblob(3000))"); err != nil {
			require.Equal(t, sqlite3.ErrFull, code(err))
			break
		}
	}
	require.Less(t, n, 10000)
	require.Equal(t, fmt.Sprint(n), c.text("SELECT count(*) FROM t"))
	require.Equal(t, "ok", c.text("PRAGMA integrity_check"))
	require.LessOrEqual(t, s.Stats().Size, int64(limit))
	c.exec("UPDATE t SET b=randomblob(3000)")
	c.exec("DELETE FROM t WHERE id%2")
	c.exec("INSERT INTO t VALUES(NULL, randomblob(3000))")

	r.exec("BEGIN")
	r.text("SELECT count(*) FROM t")
	var err error
	for i := 0; i < 100 && err == nil; i++ {
		err = c.try("UPDATE t SET b=randomblob(3000)")
		st := s.Stats()
		require.LessOrEqual(t, st.Live+st.Held, int64(2*limit), "%+v", st)
	}
	require.NoError(t, err, "one old version of each page is within twice the cap")
	r.exec("COMMIT")
	c.exec("DELETE FROM t")
	c.exec("VACUUM")
}

// Ensure that any failed allocation fails its statement and leaves the database as it was,
// and that everything works afterwards.
func TestAllocationFailure(t *testing.T) {
	script := []string{
		"UPDATE t SET b=b+1, a=a||'y'",
		"INSERT INTO t SELECT id+5000, a, b FROM t",
		"CREATE TABLE v AS SELECT * FROM t",
		"PRAGMA page_size=1024; VACUUM",
		"PRAGMA page_size=4096; VACUUM",
		"DROP TABLE v",
		"DELETE FROM t WHERE id>2000",
		"VACUUM",
	}
	for _, forever := range []bool{false, true} {
		t.Run(fmt.Sprintf("forever=%v", forever), func(t *testing.T) {
			s := newStore(t, 0)
			c, r := open(t, s), open(t, s)
			defer c.close()
			defer r.close()
			defer FailAlloc(0, false)
			c.exec(fill)
			failures := 0
			for _, query := range script {
				for n := int64(1); ; n += 1 + n/4 {
					before := c.text("SELECT count(*), sum(b), sum(length(a)) FROM t")
					r.exec("BEGIN")
					r.text("SELECT count(*) FROM t")
					FailAlloc(n, forever)
					err := c.try(query)
					FailAlloc(0, false)
					require.Equal(t, before, r.text("SELECT count(*), sum(b), sum(length(a)) FROM t"))
					r.exec("COMMIT")
					if err == nil {
						break
					}
					failures++
					c.exec("SELECT 1")
					if c.try("ROLLBACK") == nil {
						t.Log("a transaction was left open")
					}
					require.Equal(t, before, c.text("SELECT count(*), sum(b), sum(length(a)) FROM t"), "n=%d %s: %v", n, query, err)
					require.Equal(t, before, r.text("SELECT count(*), sum(b), sum(length(a)) FROM t"))
				}
			}
			require.Greater(t, failures, 20)
			require.Equal(t, "ok", r.text("PRAGMA integrity_check"))
		})
	}
}

// Ensure that a store and a connection that fail because memory ran out leave nothing
// behind.
func TestAllocationFailure_opening(t *testing.T) {
	defer FailAlloc(0, false)
	for n := int64(1); ; n++ {
		FailAlloc(n, true)
		s, err := NewStore(filepath.Join(t.TempDir(), "x.db"), 0, nil)
		FailAlloc(0, false)
		if err == nil {
			require.NoError(t, s.Close())
			require.Greater(t, n, int64(1))
			break
		}
		require.ErrorIs(t, err, sqlite3.ErrNomem)
	}
	s := newStore(t, 0)
	var conns []*testConn
	for range 40 { // past the first room for pins
		FailAlloc(1, true)
		u := url.URL{Scheme: "file", OmitHost: true, Path: s.Path(), RawQuery: "vfs=" + Name}
		c, err := (&sqlite3.SQLiteDriver{}).Open(u.String())
		FailAlloc(0, false)
		if err == nil {
			conns = append(conns, &testConn{t, c.(*sqlite3.SQLiteConn)})
			continue
		}
		conns = append(conns, open(t, s))
	}
	FailAlloc(1, true)
	_, err := s.Pin()
	FailAlloc(0, false)
	require.ErrorIs(t, err, sqlite3.ErrNomem)
	for _, c := range conns {
		c.close()
	}
}

// Ensure that a snapshot is the state at Pin, byte for byte as SQLite would have it in a
// file. The file made of it is a sound database.
func TestSnapshot(t *testing.T) {
	s := newStore(t, 0)
	c := open(t, s)
	defer c.close()
	c.exec(fill)
	want := c.text("SELECT count(*), sum(b), group_concat(a) FROM t")
	snap, err := s.Pin()
	require.NoError(t, err)
	defer snap.Release()
	require.Equal(t, s.Epoch(), snap.Version())
	c.exec("DELETE FROM t; VACUUM")

	image := make([]byte, snap.Size())
	for off := 0; off < len(image); off += 10000 { // across page borders
		n, err := snap.ReadAt(image[off:min(off+10000, len(image))], int64(off))
		require.NoError(t, err)
		require.Positive(t, n)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, os.WriteFile(path, image, 0o600))
	plain, err := (&sqlite3.SQLiteDriver{}).Open(path)
	require.NoError(t, err)
	p := &testConn{t, plain.(*sqlite3.SQLiteConn)}
	defer p.close()
	require.Equal(t, "ok", p.text("PRAGMA integrity_check"))
	require.Equal(t, want, p.text("SELECT count(*), sum(b), group_concat(a) FROM t"))
}

// Ensure that a database loaded by Reserve and Next is unchanged, whatever the size of the
// pieces. Its memory is freed when it shrinks.
func TestLoad(t *testing.T) {
	for _, limit := range []int{100_000, 4 << 20} {
		for _, pageSize := range []int{1024, 4096, 65536} {
			t.Run(fmt.Sprintf("limit=%d/pages=%d", limit, pageSize), func(t *testing.T) { load(t, limit, pageSize) })
		}
	}
}

func load(t *testing.T, limit, pageSize int) {
	src := newStore(t, 0)
	c := open(t, src)
	c.exec(fmt.Sprintf("PRAGMA page_size=%d", pageSize))
	c.exec(fill)
	c.exec("CREATE TABLE big(b); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<14000) INSERT INTO big SELECT randomblob(1000) FROM c")
	want := c.text("SELECT count(*), sum(b), group_concat(a) FROM t")
	c.close()
	snap, err := src.Pin()
	require.NoError(t, err)
	defer snap.Release()
	require.Greater(t, snap.Size(), int64(13<<20))

	dst := newStore(t, 0)
	require.NoError(t, dst.Reserve(snap.PageSize(), snap.Size()))
	var off int64
	for off < snap.Size() {
		b, err := dst.Next(limit)
		require.NoError(t, err)
		require.LessOrEqual(t, len(b), limit)
		_, err = snap.ReadAt(b, off)
		require.NoError(t, err)
		off += int64(len(b))
	}
	_, err = dst.Next(limit)
	require.Error(t, err, "there is nothing left to load")
	dst.Loaded()
	d := open(t, dst)
	defer d.close()
	require.Equal(t, want, d.text("SELECT count(*), sum(b), group_concat(a) FROM t"))
	d.exec("UPDATE t SET b=b+1")
	require.Equal(t, "ok", d.text("PRAGMA integrity_check"))

	d.exec("DROP TABLE big; VACUUM; UPDATE t SET b=b-1")
	dst.Drain()
	dst.Drain()
	st := dst.Stats()
	require.Less(t, st.Live+st.Held, int64(2<<20), "%+v", st)
	require.Less(t, st.Free, int64(9<<20), "%+v", st)
	require.Equal(t, want, d.text("SELECT count(*), sum(b), group_concat(a) FROM t"))
}

// Ensure that names other than those of stores are on the disk: ATTACH, VACUUM INTO and
// temporary tables. No -journal or -wal of a store is looked for on the disk or left there.
func TestForeignNames(t *testing.T) {
	s := newStore(t, 0)
	dir := filepath.Dir(s.Path())
	require.NoError(t, os.WriteFile(s.Path()+"-wal", []byte("not a log"), 0o600))
	require.NoError(t, os.WriteFile(s.Path()+"-journal", []byte("not a journal"), 0o600))
	c := open(t, s)
	defer c.close()
	c.exec(fill)
	disk := filepath.Join(dir, "disk.db")
	c.exec("ATTACH '" + disk + "' AS d; CREATE TABLE d.x AS SELECT * FROM t")
	c.exec("BEGIN; UPDATE t SET b=1; UPDATE d.x SET b=1; COMMIT")
	c.exec("VACUUM INTO '" + filepath.Join(dir, "into.db") + "'")
	c.exec("CREATE TEMP TABLE tt AS SELECT * FROM t")
	c.exec("DETACH d")
	for _, name := range []string{"disk.db", "into.db"} {
		plain, err := (&sqlite3.SQLiteDriver{}).Open(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, "ok", (&testConn{t, plain.(*sqlite3.SQLiteConn)}).text("PRAGMA integrity_check"))
		require.NoError(t, plain.Close())
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.Equal(t, []string{"disk.db", "engine.db-journal", "engine.db-wal", "into.db"}, names)
}

// Ensure that every journal mode keeps its journal in memory and rolls back. OFF and
// exclusive locking return the mode that stays. WAL mode is refused without harm.
func TestJournalModes(t *testing.T) {
	s := newStore(t, 0)
	c, other := open(t, s), open(t, s)
	defer c.close()
	defer other.close()
	c.exec(fill)
	want := c.text("SELECT sum(b) FROM t")
	for _, mode := range []string{"DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF", "WAL", "TRUNCATE"} {
		got := c.text("PRAGMA journal_mode=" + mode)
		if mode != "OFF" && mode != "WAL" {
			require.Equal(t, strings.ToLower(mode), got)
		}
		require.Equal(t, "normal", c.text("PRAGMA locking_mode=EXCLUSIVE"))
		c.exec("BEGIN; UPDATE t SET b=0; SAVEPOINT a; DELETE FROM t; ROLLBACK TO a; ROLLBACK")
		require.Equal(t, want, c.text("SELECT sum(b) FROM t"), mode)
		require.Error(t, c.try("INSERT INTO t SELECT id+1990, a, b FROM t ORDER BY id DESC"), "half a statement must go")
		require.Equal(t, want, c.text("SELECT sum(b) FROM t"), mode)
		c.exec("UPDATE t SET b=b")
		other.exec("UPDATE t SET b=b")
	}
	entries, err := os.ReadDir(filepath.Dir(s.Path()))
	require.NoError(t, err)
	require.Empty(t, entries)
}

// Ensure that an attached store is that store, in memory, and that a transaction over two
// of them is rolled back and committed in both.
func TestAttach_anotherStore(t *testing.T) {
	a, b := newStore(t, 0), newStore(t, 0)
	ca, cb := open(t, a), open(t, b)
	defer ca.close()
	defer cb.close()
	ca.exec(fill)
	cb.exec("CREATE TABLE u(x)")
	ca.exec("ATTACH '" + b.Path() + "' AS b")
	ca.exec("BEGIN; INSERT INTO b.u SELECT b FROM t; UPDATE t SET b=0; ROLLBACK")
	require.Equal(t, "0", cb.text("SELECT count(*) FROM u"))
	ca.exec("BEGIN; INSERT INTO b.u SELECT b FROM t; COMMIT")
	require.Equal(t, "2000", cb.text("SELECT count(*) FROM u"))
	ca.exec("DETACH b")
	require.NoFileExists(t, b.Path())
}

// Ensure that an open store cannot be closed, and that its name is free after Close.
func TestStore_names(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := NewStore(path, 0, nil)
	require.NoError(t, err)
	_, err = NewStore(path, 0, nil)
	require.Error(t, err)
	c := open(t, s)
	require.Error(t, s.Close())
	c.close()
	require.NoError(t, s.Close())
	s, err = NewStore(path, 0, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

type hooks struct {
	lock, unlock func()
	cancelled    func() bool
}

func (h *hooks) LockWrite() error { h.lock(); return nil }
func (h *hooks) UnlockWrite()     { h.unlock() }
func (h *hooks) Cancelled() bool  { return h.cancelled() }

func (h *hooks) Attach(any, *Conn) Hooks { return h }
func (h *hooks) Detached()               {}
func (h *hooks) DiskRefused(error)       {}

// Ensure that a linked connection asks for the write lock when it writes without it, and
// tells when the transaction is over. It refuses to write when read-only, stops when
// cancelled, and can be abandoned.
func TestLink(t *testing.T) {
	s := newStore(t, 0)
	c, other := open(t, s), open(t, s)
	defer other.close()
	var locks, unlocks int
	stop := false
	h := &hooks{func() { locks++ }, func() { unlocks++ }, func() bool { return stop }}
	link, err := s.Link(c.SQLiteConn, h)
	require.NoError(t, err)

	c.exec(fill)
	require.Positive(t, locks)
	require.Equal(t, locks, unlocks)
	n := locks
	c.exec("SELECT count(*) FROM t")
	require.Equal(t, n, locks, "reading asks for nothing")
	link.SetMayWrite(true)
	c.exec("BEGIN; UPDATE t SET b=b+1 WHERE id=1")
	require.True(t, link.Writing())
	require.False(t, link.Autocommit())
	c.exec("COMMIT")
	require.False(t, link.Writing() || link.Reading())
	require.Equal(t, n, locks, "the lock is held already")
	link.SetMayWrite(false)

	link.SetReadOnly(true)
	require.Equal(t, sqlite3.ErrReadonly, code(c.try("DELETE FROM t")))
	link.SetReadOnly(false)

	c.text("PRAGMA busy_timeout=77")
	require.Equal(t, 77, link.BusyTimeout())

	const long = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<1000000) SELECT count(*) FROM c"
	stop = true
	c.text(long)
	link.SetCancellable(true)
	_, err = c.Query(long, nil)
	require.Equal(t, sqlite3.ErrInterrupt, code(err))
	link.SetCancellable(false)

	c.exec("BEGIN; DELETE FROM t")
	link.Abandon()
	require.Equal(t, "2000", other.text("SELECT count(*) FROM t"))
	other.exec("UPDATE t SET b=b+1")
	require.Error(t, c.try("SELECT count(*) FROM t"), "nothing is to be had from it any more")
	runtime.KeepAlive(c)
	c.close()
}

// Ensure that SQLite may read a little past the end of the last page of a slab. It does so
// when it compares the last record on a page.
func TestOverread(t *testing.T) {
	for _, size := range []int{16384, 65536} { // the fewest pages a slab
		s := newStore(t, 0)
		c := open(t, s)
		c.exec(fmt.Sprintf("PRAGMA page_size=%d; PRAGMA auto_vacuum=1; CREATE TABLE t(a PRIMARY KEY, b) WITHOUT ROWID", size))
		// Integers as keys, on pages that are full to the last byte, so that
		// records end where pages end, on every page of several slabs.
		c.exec("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<400000) INSERT INTO t SELECT i, NULL FROM c")
		c.exec("CREATE INDEX tb ON t(b, a)")
		require.Equal(t, "ok", c.text("PRAGMA integrity_check"))
		require.Equal(t, "400000", c.text("SELECT count(*) FROM t x JOIN t y USING(a)"))
		c.close()
	}
}
