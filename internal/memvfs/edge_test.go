//go:build cgo

package memvfs

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
)

// Ensure that journal_mode=OFF returns the mode that stays, also in the short forms that
// SQLite accepts.
func TestJournalMode_abbreviated(t *testing.T) {
	s := newStore(t, 0)
	c := open(t, s)
	defer c.close()
	c.exec(fill)
	want := c.text("SELECT count(*), sum(b) FROM t")
	for _, mode := range []string{"o", "OF", "'off'", "OFF"} {
		require.Equal(t, "truncate", c.text("PRAGMA journal_mode="+mode))
		require.NotEqual(t, "off", c.text("PRAGMA main.journal_mode"))
		require.Error(t, c.try("INSERT INTO t SELECT id+1990, a, b FROM t ORDER BY id DESC"), "half a statement must go")
		require.Equal(t, want, c.text("SELECT count(*), sum(b) FROM t"))
	}
	require.Equal(t, "delete", c.text("PRAGMA journal_mode=d"))
}

// Ensure that a store cannot be attached without locks, as it would be an empty database
// then.
func TestAttach_withoutLocks(t *testing.T) {
	s, other := newStore(t, 0), newStore(t, 0)
	c, o := open(t, s), open(t, other)
	defer c.close()
	defer o.close()
	o.exec("CREATE TABLE u(x)")
	for _, param := range []string{"immutable=1", "nolock=1", "mode=ro&immutable=true"} {
		err := c.try("ATTACH 'file:" + other.Path() + "?" + param + "' AS o")
		require.Equal(t, sqlite3.ErrCantOpen, code(err), param)
	}
	c.exec("ATTACH 'file:" + other.Path() + "?mode=ro' AS o")
	require.Equal(t, "u", c.text("SELECT name FROM o.sqlite_schema"))
	require.Error(t, c.try("INSERT INTO o.u VALUES(1)"))
	c.exec("DETACH o")
}

// Ensure that Stats has the page size of the database, also if VACUUM had no memory for
// blocks of that size. Such a database is sound.
func TestPageSize_withoutMemory(t *testing.T) {
	s := newStore(t, 0)
	c, r := open(t, s), open(t, s)
	defer c.close()
	defer r.close()
	defer FailAlloc(0, false)
	c.exec(fill)
	want := c.text("SELECT count(*), sum(b), sum(length(a)) FROM t")
	unequal := 0
	for i, size := range []string{"1024", "512", "8192", "65536", "4096"} {
		// From behind, where the blocks are made: the last allocations of all.
		FailAlloc(0, false)
		c.exec("PRAGMA page_size=" + []string{"2048", "16384"}[i%2] + "; VACUUM")
		FailAlloc(0, false)
		for n := int64(1); n < 100_000; n += 1 + n/5 {
			FailAlloc(n, true)
			err := c.try("PRAGMA page_size=" + size + "; VACUUM")
			failed := FailAlloc(0, false) >= n
			require.Equal(t, want, r.text("SELECT count(*), sum(b), sum(length(a)) FROM t"))
			snap, e := s.Pin()
			require.NoError(t, e)
			require.Equal(t, r.text("PRAGMA page_size"), fmt.Sprint(snap.PageSize()))
			snap.Release()
			require.Equal(t, r.text("PRAGMA page_size"), fmt.Sprint(s.Stats().PageSize))
			if err == nil && failed {
				unequal++
				r.exec("BEGIN")
				r.text("SELECT count(*) FROM t")
				c.exec("UPDATE t SET b=b+1 WHERE id%10=0; UPDATE t SET b=b-1 WHERE id%10=0; DELETE FROM t WHERE id>5000")
				require.Equal(t, want, r.text("SELECT count(*), sum(b), sum(length(a)) FROM t"))
				r.exec("COMMIT")
			}
			if err == nil {
				break
			}
		}
	}
	require.Positive(t, unequal)
	require.Equal(t, "ok", r.text("PRAGMA integrity_check"))
}

// Ensure that the limit of the size counts the versions that older readers hold after a
// change of the page size.
func TestMaxBytes_pageSize(t *testing.T) {
	const limit = 4 << 20
	s := newStore(t, limit)
	c, r := open(t, s), open(t, s)
	defer c.close()
	defer r.close()
	c.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, b)")
	for c.try("INSERT INTO t VALUES(NULL, randomblob(3000))") == nil {
	}
	want := c.text("SELECT count(*) FROM t")
	check := func() {
		t.Helper()
		st := s.Stats()
		require.LessOrEqual(t, st.Live+st.Held, int64(2*limit), "%+v", st)
		require.Equal(t, want, c.text("SELECT count(*) FROM t"))
	}
	for _, size := range []string{"8192", "1024", "65536", "4096"} {
		r.exec("BEGIN")
		require.Equal(t, want, r.text("SELECT count(*) FROM t"))
		for range 3 {
			for _, query := range []string{
				"PRAGMA page_size=" + size + "; VACUUM", "UPDATE t SET b=randomblob(3000)", "UPDATE t SET b=zeroblob(3000) WHERE id<9",
			} {
				if err := c.try(query); err != nil {
					require.Equal(t, sqlite3.ErrFull, code(err), query)
				}
				check()
			}
		}
		require.Equal(t, want, r.text("SELECT count(*) FROM t"))
		r.exec("COMMIT")
		c.exec("UPDATE t SET b=randomblob(2999)")
		check()
	}
}

// Ensure that the connection that rolls back frees the versions that it drops, not the next
// one, and not only Drain.
func TestRollback_givesMemoryBack(t *testing.T) {
	s := newStore(t, 0)
	c := open(t, s)
	defer c.close()
	c.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, b); PRAGMA cache_size=10")
	c.exec("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<4000) INSERT INTO t SELECT i, zeroblob(3000) FROM c")
	c.exec("BEGIN; UPDATE t SET b=zeroblob(2999)")
	require.Greater(t, s.Stats().Live, 2*s.Stats().Size*9/10, "pages have spilled")
	c.exec("ROLLBACK")
	require.Less(t, s.Stats().Held, int64(200*4096))
}

// Ensure that writers free a table that VACUUM has replaced in pieces after its last reader.
// No thread is stopped for long, and Drain is not needed.
func TestOldTable_goesBitByBit(t *testing.T) {
	s := newStore(t, 0)
	c, r := open(t, s), open(t, s)
	defer c.close()
	defer r.close()
	c.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, b)")
	c.exec("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<4000) INSERT INTO t SELECT i, zeroblob(3000) FROM c")
	r.exec("BEGIN")
	r.text("SELECT count(*) FROM t")
	c.exec("PRAGMA page_size=8192; VACUUM")
	held := s.Stats().Held
	require.Greater(t, held, int64(12<<20))
	r.exec("COMMIT")
	for n := 0; ; n++ {
		now := s.Stats().Held
		require.Less(t, held-now, int64(3<<20))
		if now < 1<<20 {
			break
		}
		held = now
		require.Less(t, n, 100)
		c.exec("UPDATE t SET b=randomblob(3000) WHERE id=1")
	}
}

// Ensure that a connection has one link, and that a second Link is refused without harm.
func TestLink_once(t *testing.T) {
	s := newStore(t, 0)
	c := open(t, s)
	locks := 0
	h := &hooks{func() { locks++ }, func() { locks-- }, func() bool { return true }}
	link, err := s.Link(c.SQLiteConn, h)
	require.NoError(t, err)
	_, err = s.Link(c.SQLiteConn, h)
	require.Error(t, err)
	c.exec("BEGIN IMMEDIATE")
	require.Equal(t, 1, locks)
	require.True(t, link.Writing())
	c.close()
	link.Close()
	require.Zero(t, locks)
}

// Ensure that many stores do not slow each other down, and that every name is found again,
// whatever its characters.
func TestStore_manyNames(t *testing.T) {
	dir := t.TempDir()
	var stores []*Store
	for i := range 1000 {
		s, err := NewStore(dir+"/"+strings.Repeat("x", i%20)+fmt.Sprint(i)+"-journal"[:i%9], 0, nil)
		require.NoError(t, err)
		stores = append(stores, s)
	}
	for i, s := range stores {
		if i%50 == 0 {
			c := open(t, s)
			c.exec("CREATE TABLE t(x)")
			c.close()
			require.NoFileExists(t, s.Path())
		}
		_, err := NewStore(s.Path(), 0, nil)
		require.Error(t, err)
	}
	for _, s := range stores {
		require.NoError(t, s.Close())
	}
}

// attachHooks counts the calls of the engine for an attached store.
type attachHooks struct {
	hooks
	owner    any
	link     *Conn
	refuse   bool
	locks    int // of the attached store
	unlocks  int
	detached int
}

func (h *attachHooks) Attach(owner any, link *Conn) Hooks {
	if h.refuse {
		return nil
	}
	h.owner, h.link = owner, link
	return &attachedHooks{h: h}
}

type attachedHooks struct {
	hooks
	h *attachHooks
}

func (a *attachedHooks) LockWrite() error  { a.h.locks++; return nil }
func (a *attachedHooks) UnlockWrite()      { a.h.unlocks++ }
func (a *attachedHooks) Detached()         { a.h.detached++ }
func (a *attachedHooks) DiskRefused(error) {}

// Ensure that a store that is attached to a linked connection has a link of its own. The
// link asks for the write lock of that store and ends with the DETACH. Go, or a failed
// allocation, can refuse it.
func TestAttach_link(t *testing.T) {
	s := newStore(t, 0)
	other, err := NewStore(t.TempDir()+"/other.db", 0, "its owner")
	require.NoError(t, err)
	other.Loaded()
	c := open(t, s)
	h := &attachHooks{hooks: hooks{func() {}, func() {}, func() bool { return false }}}
	link, err := s.Link(c.SQLiteConn, h)
	require.NoError(t, err)

	attach := "ATTACH '" + other.Path() + "' AS o"
	c.exec(attach)
	require.Equal(t, "its owner", h.owner)
	require.ErrorIs(t, other.Close(), ErrInUse)
	c.exec("CREATE TABLE t(x); INSERT INTO t VALUES(1)")
	require.Zero(t, h.locks)
	c.exec("CREATE TABLE o.u(x)")
	require.Equal(t, []int{1, 1}, []int{h.locks, h.unlocks})
	c.exec("BEGIN; INSERT INTO o.u VALUES(1)")
	require.True(t, h.link.Writing())
	require.False(t, link.Writing())
	c.exec("COMMIT")
	require.False(t, h.link.Writing() || h.link.Reading())
	c.text("PRAGMA o.busy_timeout=55")
	require.Equal(t, 55, link.BusyTimeout(), "it is the connection's")
	c.exec("DETACH o")
	require.Equal(t, 1, h.detached)

	h.refuse = true
	require.Error(t, c.try(attach))
	h.refuse = false
	defer FailAlloc(0, false)
	for n := int64(1); ; n++ {
		FailAlloc(n, false)
		err := c.try(attach)
		if FailAlloc(0, false) < n {
			require.NoError(t, err)
			break
		}
		require.Error(t, err)
	}
	require.Equal(t, "1", c.text("SELECT x FROM o.u"))

	c.exec("BEGIN; INSERT INTO o.u VALUES(2)")
	h.link.Abandon()
	require.NoError(t, other.Close(), "an abandoned connection keeps nothing")
	link.Abandon()
	runtime.KeepAlive(c)
	c.close()
}

// Ensure that a store with an owner cannot be opened before it is loaded.
func TestLoad_closedToOthers(t *testing.T) {
	s, err := NewStore(t.TempDir()+"/x.db", 0, "owner")
	require.NoError(t, err)
	other := newStore(t, 0)
	c := open(t, other)
	defer c.close()
	attach := "ATTACH '" + s.Path() + "' AS o"
	require.Error(t, c.try(attach))
	s.Loaded()
	c.exec(attach)
	c.exec("DETACH o")
	require.NoError(t, s.Close())
}
