//go:build cgo

package memvfs

import (
	"path/filepath"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
)

// Ensure that a backup of a database in WAL mode into a store leaves a usable store. The
// store has the content. It is not in WAL mode, as a store has no shared memory.
func TestBackup_fromWAL(t *testing.T) {
	for _, size := range []string{"1024", "4096", "16384"} {
		s := newStore(t, 0)
		c, other := open(t, s), open(t, s)
		c.exec("CREATE TABLE old(x)")
		plain, err := (&sqlite3.SQLiteDriver{}).Open(filepath.Join(t.TempDir(), "wal.db"))
		require.NoError(t, err)
		src := &testConn{t, plain.(*sqlite3.SQLiteConn)}
		src.exec("PRAGMA page_size=" + size)
		require.Equal(t, "wal", src.text("PRAGMA journal_mode=WAL"))
		src.exec(fill)
		want := src.text("SELECT count(*), sum(b), group_concat(a) FROM t")

		for range 2 {
			b, err := c.Backup("main", src.SQLiteConn, "main")
			require.NoError(t, err)
			done, err := b.Step(-1)
			require.NoError(t, err)
			require.True(t, done)
			require.NoError(t, b.Finish())
			for _, c := range []*testConn{c, other, c} {
				require.Equal(t, want, c.text("SELECT count(*), sum(b), group_concat(a) FROM t"))
				require.NotEqual(t, "wal", c.text("PRAGMA journal_mode"))
				c.exec("INSERT INTO t VALUES(NULL, 'x', 1); DELETE FROM t WHERE a='x'")
			}
		}
		src.close()
		c.close()
		other.close()
	}
}
