//go:build cgo

package memvfs

import (
	"flag"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

var huge = flag.Bool("huge", false, "test a database of 2.5 GiB, which takes 5 GiB of memory")

// Ensure that a database over 1 GiB or 2 GiB is read, rewritten, pinned and shrunk
// like any other. Over 1 GiB SQLite leaves out the page with the pending byte.
func TestHuge(t *testing.T) {
	if !*huge {
		t.Skip("it takes 5 GiB of memory: run it with -huge")
	}
	const rows, size = 2500, 1 << 20
	s := newStore(t, 0)
	c, r := open(t, s), open(t, s)
	defer c.close()
	defer r.close()
	c.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, b)")
	c.exec(fmt.Sprintf("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d) INSERT INTO t SELECT i, CAST(printf('%%08d', i) AS BLOB)||randomblob(%d) FROM c", rows, size))
	require.Greater(t, s.Stats().Size, int64(2)<<30)
	const count = "SELECT count(*), sum(length(b)), sum(CAST(substr(b, 1, 8) AS INT)) FROM t"
	want := c.text(count)
	require.Equal(t, want, r.text(count))
	require.Equal(t, "ok", r.text("PRAGMA quick_check"))

	snap, err := s.Pin()
	require.NoError(t, err)
	const pending = 1 << 30 // https://sqlite.org/fileformat2.html#the_lock_byte_page
	b := make([]byte, 4096)
	_, err = snap.ReadAt(b, pending)
	require.NoError(t, err)
	require.Equal(t, make([]byte, 4096), b, "the page with the pending byte is never used")
	r.exec("BEGIN")
	r.text(count)
	c.exec("UPDATE t SET b=substr(b, 1, 8) WHERE id%2")
	require.Equal(t, want, r.text(count))
	r.exec("COMMIT")
	snap.Release()
	c.exec("VACUUM")
	require.Less(t, s.Stats().Size, int64(3)<<29)
	c.exec("DELETE FROM t; VACUUM")
	s.Drain()
	s.Drain()
	st := s.Stats()
	require.Less(t, st.Live+st.Held+st.Free, int64(16<<20), "%+v", st)
}
