//go:build cgo

package memvfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
)

// Ensure that an open with the number of a store gets that store or an error. It never
// gets the file on the disk or a later store of the same name.
func TestParam(t *testing.T) {
	require.NoError(t, register())
	path := filepath.Join(t.TempDir(), "marked.db")
	connect := func(param string) (*sqlite3.SQLiteConn, error) {
		c, err := (&sqlite3.SQLiteDriver{}).Open("file:" + path + "?vfs=" + Name + "&" + Param + "=" + param)
		if err != nil {
			return nil, err
		}
		return c.(*sqlite3.SQLiteConn), nil
	}
	refused := func(param string) {
		t.Helper()
		_, err := connect(param)
		require.Equal(t, sqlite3.ErrCantOpen, code(err), "%s=%s: %v", Param, param, err)
		for _, suffix := range []string{"", "-journal", "-wal"} {
			_, err = os.Stat(path + suffix)
			require.ErrorIs(t, err, fs.ErrNotExist)
		}
	}
	for _, param := range []string{"1", "0", "-1", "", "x", "9223372036854775807"} {
		refused(param)
	}
	first, err := NewStore(path, 0, nil)
	require.NoError(t, err)
	c, err := connect(first.Param())
	require.NoError(t, err)
	_, err = c.Exec("CREATE TABLE t(x)", nil)
	require.NoError(t, err)
	require.ErrorIs(t, first.Close(), ErrInUse)
	for _, param := range []string{"0", "-1", "", "x", first.Param() + "0"} {
		refused(param)
	}
	require.NoError(t, c.Close())
	require.NoError(t, first.Close())
	refused(first.Param())

	second, err := NewStore(path, 0, nil)
	require.NoError(t, err)
	refused(first.Param())
	c, err = connect(second.Param())
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, second.Close())
	refused(second.Param())

	// The memory of a store is reused, its number is not.
	loading, err := NewStore(path, 0, t)
	require.NoError(t, err)
	refused(second.Param())
	_, err = connect(loading.Param())
	require.Equal(t, sqlite3.ErrBusy, code(err))
	loading.Loaded()
	require.NoError(t, loading.Close())
}
