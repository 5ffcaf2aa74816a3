//go:build unix && root

package proclock

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that root gives a lock file of its own to the database's owner, but not one that
// has another name elsewhere.
func TestLock_adopts(t *testing.T) {
	uid, gid := another(t)
	for name, lock := range lockers {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			require.NoError(t, os.Chown(path, uid, gid))
			putRecord(t, path, "")
			require.NoError(t, lock(t, path).Release())
			gotUID, gotGID := ownerOfFile(t, lockName(path))
			require.EqualValues(t, []int{uid, gid}, []int{int(gotUID), int(gotGID)})

			require.NoError(t, os.Chown(lockName(path), 0, 0))
			require.NoError(t, os.Link(lockName(path), filepath.Join(filepath.Dir(path), "elsewhere")))
			require.NoError(t, lock(t, path).Release())
			gotUID, _ = ownerOfFile(t, lockName(path))
			require.Zero(t, gotUID)
		})
	}
}
