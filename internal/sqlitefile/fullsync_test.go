//go:build cgo

package sqlitefile

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that a connection syncs with F_FULLFSYNC where fsync is not enough.
func TestFullSync(t *testing.T) {
	require.Empty(t, fullSync("linux"))
	require.NotEmpty(t, fullSync("darwin"))
	was := FullSync
	defer func() { FullSync = was }()
	for system, want := range map[string]int64{"linux": 0, "darwin": 1} {
		FullSync = fullSync(system)
		d, err := Open(filepath.Join(t.TempDir(), "x.db"), "mode=rwc")
		require.NoError(t, err)
		for _, pragma := range []string{"fullfsync", "checkpoint_fullfsync"} {
			got, err := d.QueryInt("PRAGMA " + pragma)
			require.NoError(t, err)
			require.Equal(t, want, got, "%s on %s", pragma, system)
		}
		require.NoError(t, d.Close())
	}
}
