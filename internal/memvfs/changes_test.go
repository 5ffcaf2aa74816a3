//go:build cgo

package memvfs

import (
	"bytes"
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"
)

// replica is a copy of a database that is updated from its changes only. Like a file with a
// log it keeps the pages that the database has cut off. They must be reported again when
// they come back.
type replica struct {
	pageSize int
	data     []byte
	pages    int // that were copied
}

// follow updates the replica to the last commit, and compares the two.
func (r *replica) follow(t testing.TB, s *Store) {
	t.Helper()
	snap, set, all, err := s.PinChanges(nil)
	require.NoError(t, err)
	defer snap.Release()
	want := make([]byte, snap.Size())
	_, err = snap.ReadAt(want, 0)
	require.NoError(t, err)
	ps := snap.PageSize()
	if all {
		r.pageSize, r.data = ps, bytes.Clone(want)
		return
	}
	require.True(t, r.pageSize == 0 || r.pageSize == ps, "another page size, untold")
	r.pageSize = ps
	r.data = append(r.data, make([]byte, max(len(want)-len(r.data), 0))...)
	for i, w := range set {
		for ; w != 0; w &= w - 1 {
			off := (i*64 + bits.TrailingZeros64(w)) * ps
			if off < len(want) {
				copy(r.data[off:off+ps], want[off:])
				r.pages++
			}
		}
	}
	require.True(t, bytes.Equal(want, r.data[:len(want)]), "a page has changed and was not told")
}

// Ensure that PinChanges reports all changes: growth, pages that come back after they were
// cut off, savepoints, vacuums, and a new page size. A small commit is a small change.
func TestChanges(t *testing.T) {
	s := newStore(t, 0)
	s.Track()
	c := open(t, s)
	defer c.close()
	var r replica
	for i, query := range []string{
		"PRAGMA auto_vacuum=INCREMENTAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x); CREATE INDEX i ON t(x)",
		"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<2000) INSERT INTO t SELECT i, randomblob(1000) FROM c",
		"BEGIN; UPDATE t SET x=zeroblob(500); ROLLBACK",
		"BEGIN; SAVEPOINT a; DELETE FROM t; ROLLBACK TO a; DELETE FROM t WHERE id%3=0; COMMIT",
		"DELETE FROM t WHERE id>100; PRAGMA incremental_vacuum",
		"WITH RECURSIVE c(i) AS (SELECT 3000 UNION ALL SELECT i+1 FROM c WHERE i<9000) INSERT INTO t SELECT i, randomblob(900) FROM c",
		"DELETE FROM t WHERE id>3010; PRAGMA incremental_vacuum; INSERT INTO t VALUES(5000, zeroblob(1000000))",
		"DELETE FROM t WHERE id=5000; PRAGMA incremental_vacuum",
		"BEGIN; INSERT INTO t VALUES(5000, zeroblob(900000)); DELETE FROM t WHERE id=5000; COMMIT", // grows by pages that are not written
		"PRAGMA cache_size=5; UPDATE t SET x=randomblob(3000)",
		"VACUUM",
		"PRAGMA page_size=1024; VACUUM",
		"DELETE FROM t WHERE id%2",
	} {
		c.exec(query)
		r.follow(t, s)
		if i%2 == 0 { // also two at once
			c.exec("UPDATE t SET x=x||'' WHERE id=1")
			c.exec("REPLACE INTO t VALUES(100000, randomblob(2000))")
			r.follow(t, s)
		}
	}
	r.pages = 0
	c.exec("UPDATE t SET x=randomblob(10) WHERE id=2")
	r.follow(t, s)
	require.Positive(t, r.pages)
	require.Less(t, r.pages, 20)
}

// Ensure that the pages and the pinned state belong together while a writer commits without
// a pause.
func TestChanges_together(t *testing.T) {
	s := newStore(t, 0)
	s.Track()
	c := open(t, s)
	defer c.close()
	c.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, x)")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3000 {
			if c.try("INSERT INTO t(x) VALUES(randomblob(abs(random()%3000)))") != nil ||
				c.try("UPDATE t SET x=randomblob(100) WHERE id=abs(random())%1000") != nil ||
				c.try("DELETE FROM t WHERE id=abs(random())%2000") != nil {
				t.Error("a write failed")
				return
			}
		}
	}()
	var r replica
	for n := 0; ; n++ {
		select {
		case <-done:
			r.follow(t, s)
			return
		default:
			r.follow(t, s)
		}
	}
}

// Ensure that a commit whose pages cannot be noted fails and loses nothing.
func TestChanges_withoutMemory(t *testing.T) {
	s := newStore(t, 0)
	s.Track()
	c := open(t, s)
	defer c.close()
	c.exec("CREATE TABLE t(x)")
	var r replica
	r.follow(t, s)
	c.exec("PRAGMA cache_spill=OFF")
	failed := false
	for n := int64(1); ; n++ {
		before := s.Epoch()
		FailAlloc(n, false)
		err := c.try("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<300) INSERT INTO t SELECT randomblob(3000) FROM c")
		FailAlloc(0, false)
		r.follow(t, s)
		if err == nil {
			break
		}
		failed = true
		require.Equal(t, before, s.Epoch())
	}
	require.True(t, failed)
}
