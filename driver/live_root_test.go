//go:build cgo && linux && root

package driver_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that the owner of the file may use a server of root, but not have it open files.
func TestLive_untrusted(t *testing.T) {
	path := rolePath(t, "nobody")
	server := startChild(t)
	server.must("open " + path)
	asUser(t, "nobody", func() {
		tool := startChild(t)
		tool.must("open " + path)
		require.Equal(t, "live", tool.must("role"))
		tool.must("exec INSERT INTO t VALUES(2)")
		tool.must("exec VACUUM")
		other := filepath.Join(filepath.Dir(path), "other.db")
		for _, query := range []string{"ATTACH '" + other + "' AS o", "ATTACH ':memory:' AS o", "VACUUM INTO '" + other + "'", "SELECT load_extension('" + other + "')",
			"PRAGMA temp_store_directory = '" + filepath.Dir(path) + "'", "PRAGMA Hard_Heap_Limit = 1000", "PRAGMA soft_heap_limit = 1000"} {
			_, err := tool.ask("exec " + query)
			require.ErrorContains(t, err, "auth", query)
		}
		require.NoFileExists(t, other)
	})
	server.must("exec VACUUM INTO '" + filepath.Join(t.TempDir(), "own.db") + "'")
}
