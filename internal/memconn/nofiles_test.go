//go:build cgo

package memconn

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// Ensure that a connection with NoFiles, which a server of root gives to another user, reads
// and writes its database and opens no file.
func TestNoFiles(t *testing.T) {
	ctx := context.Background()
	db, err := Open(ctx, Options{
		Store:       store.Options{Name: t.Name(), Logger: slog.Default()},
		TxLock:      "immediate",
		NoFiles:     true,
		NamedMemory: func(string) (store.Options, bool, error) { return store.Options{}, false, nil },
	})
	require.NoError(t, err)
	db.Acquire()
	c, err := db.connect(ctx)
	require.NoError(t, err)
	require.NoError(t, db.CloseWithLast())
	defer func() { require.NoError(t, c.Close()) }()
	_, err = c.ExecContext(ctx, "CREATE TABLE t(n); INSERT INTO t VALUES(1); VACUUM", nil)
	require.NoError(t, err)
	other := filepath.Join(t.TempDir(), "other.db")
	for _, query := range []string{"ATTACH '" + other + "' AS o", "ATTACH ':memory:' AS o", "VACUUM INTO '" + other + "'", "SELECT load_extension('" + other + "')",
		"PRAGMA temp_store_directory = '" + filepath.Dir(other) + "'", "PRAGMA Hard_Heap_Limit = 1000", "PRAGMA soft_heap_limit = 1000"} {
		_, err := c.ExecContext(ctx, query, nil)
		require.ErrorContains(t, err, "auth", query)
	}
	require.NoFileExists(t, other)
}
