//go:build cgo && linux

package driver_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// Ensure that a tool restores into the memory of the server, from a file that it reads itself and
// from a stream. Connections of both sides go on, also with another text encoding.
func TestRestore_live(t *testing.T) {
	path := testdb.Path(t)
	server := startChild(t)
	server.must("open " + path + "?sqlite_keep=1&sqlite_wal=commit")
	server.must("exec CREATE TABLE plain(x)")
	server.must("exec INSERT INTO plain VALUES('old')")
	tool := testdb.Open(t, path+"?sqlite_role=tool")
	require.Equal(t, "1", testdb.Text(t, tool, "SELECT count(*) FROM plain"))
	from := source(t, "PRAGMA encoding='UTF-16le'; PRAGMA page_size=1024", schema, "CREATE TABLE large(x); INSERT INTO large VALUES(randomblob(3000000))")
	content, err := os.ReadFile(from)
	require.NoError(t, err)
	small := source(t, "CREATE TABLE plain(x)")
	keep := filepath.Join(t.TempDir(), "before.db")

	require.NoError(t, driver.Restore(ctx, tool, from, &driver.RestoreOptions{Keep: keep}))
	require.Equal(t, dump(t, testdb.Plain(t, from)), dump(t, tool))
	require.Equal(t, "2", server.must("text SELECT count(*) FROM plain"))
	require.Equal(t, "old", testdb.Text(t, testdb.Plain(t, keep), "SELECT x FROM plain"))
	require.Equal(t, "old", testdb.Text(t, testdb.Plain(t, testdb.CrashCopy(t, path+".kept-1")), "SELECT x FROM plain"))
	require.Equal(t, dump(t, tool), dump(t, testdb.Plain(t, testdb.CrashCopy(t, path))), "it is durable")

	require.NoError(t, driver.Restore(ctx, tool, small, nil))
	require.Equal(t, "0", server.must("text SELECT count(*) FROM plain"))
	require.NoError(t, driver.RestoreFrom(ctx, tool, iotest.HalfReader(bytes.NewReader(content)), nil))
	require.Equal(t, "2", server.must("text SELECT count(*) FROM plain"))
	st, err := driver.ReadStats(tool)
	require.NoError(t, err)
	require.Equal(t, driver.RoleLive, st.Role)
	require.Equal(t, uint64(3), st.Restores)

	same := func() {
		t.Helper()
		require.Equal(t, "2", server.must("text SELECT count(*) FROM plain"))
	}
	require.ErrorIs(t, driver.RestoreFrom(ctx, tool, bytes.NewReader(content[:len(content)-5]), nil), snapshot.ErrTruncated)
	same()
	broken := errors.New("the line is cut")
	err = driver.RestoreFrom(ctx, tool, io.MultiReader(bytes.NewReader(content), iotest.ErrReader(broken)), nil)
	require.Equal(t, broken, err, "a stream without its end is not restored")
	same()
	err = driver.RestoreFrom(ctx, tool, iotest.ErrReader(broken), nil)
	require.Equal(t, broken, err)
	same()
	require.ErrorIs(t, driver.Restore(ctx, tool, from, &driver.RestoreOptions{Keep: keep}), os.ErrExist)
	same()
	require.ErrorIs(t, driver.Restore(ctx, tool, filepath.Join(t.TempDir(), "missing"), nil), os.ErrNotExist)
	require.ErrorContains(t, driver.Restore(ctx, tool, path, nil), "process")
	same()
	corrupt := bytes.Clone(content)
	clear(corrupt[1024:4096])
	require.ErrorIs(t, driver.RestoreFrom(ctx, tool, bytes.NewReader(corrupt), nil), snapshot.ErrCorrupt)
	same()
	require.NoError(t, driver.Restore(ctx, tool, path+".kept-1", nil), "a kept state of the server's own")
	require.Equal(t, "0", server.must("text SELECT count(*) FROM plain"))
}
