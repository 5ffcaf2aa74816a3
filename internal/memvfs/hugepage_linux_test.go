//go:build cgo

package memvfs

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// kernelFigure is a number in a file of /proc that has one on each line.
func kernelFigure(t *testing.T, file, name string) (n int64) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 1 && f[0] == name {
			for _, c := range f[1] {
				n = 10*n + int64(c-'0')
			}
			return n
		}
	}
	t.Skipf("%s has no %s", file, name)
	return 0
}

// Ensure that the memory of deleted pages is returned to the system although the database
// was loaded into huge pages. Linux keeps a huge page as long as any of it is in use,
// unless it is split.
func TestLoad_hugePagesAreSplit(t *testing.T) {
	src := newStore(t, 0)
	c := open(t, src)
	c.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, b); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<10000) INSERT INTO t SELECT i, randomblob(3900) FROM c")
	c.close()
	snap, err := src.Pin()
	require.NoError(t, err)
	defer snap.Release()

	before := kernelFigure(t, "/proc/self/smaps_rollup", "AnonHugePages:")
	dst := newStore(t, 0)
	require.NoError(t, dst.Reserve(snap.PageSize(), snap.Size()))
	for off := int64(0); off < snap.Size(); {
		b, err := dst.Next(4 << 20)
		require.NoError(t, err)
		_, err = snap.ReadAt(b, off)
		require.NoError(t, err)
		off += int64(len(b))
	}
	dst.Loaded()
	huge := (kernelFigure(t, "/proc/self/smaps_rollup", "AnonHugePages:") - before) / 2048
	if huge < 10 {
		t.Skip("the system gives no huge pages, so there is nothing to split")
	}
	split := kernelFigure(t, "/proc/vmstat", "thp_split_page")
	d := open(t, dst)
	d.exec("PRAGMA secure_delete=OFF") // which would rewrite every page, and so free whole huge pages
	d.exec("DELETE FROM t WHERE id%4; VACUUM")
	dst.Drain()
	dst.Drain()
	require.Less(t, dst.Stats().Free, int64(9<<20))
	d.close()
	gone := kernelFigure(t, "/proc/vmstat", "thp_split_page") - split
	t.Logf("%d huge pages, %d split", huge, gone)
	require.GreaterOrEqual(t, gone, huge/2)
}
