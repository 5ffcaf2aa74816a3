package osfile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that a name in the table of mounts is decoded.
func TestMountedOn(t *testing.T) {
	require.Equal(t, "/a b\tc\nd\\e", mountedOn(`36 35 98:0 /m /a\040b\011c\012d\134e rw,noatime master:1 - ext3 /dev/root rw`))
	require.Empty(t, mountedOn("36 35"))
	require.True(t, inMountinfo("/proc"))
	require.False(t, inMountinfo("/not/there"))
}

// Ensure that IsMountPoint tells a mount point from another file and from a missing one.
func TestIsMountPoint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for path, want := range map[string]bool{"/proc": true, file: false, file + "-not": false} {
		mounted, err := OS{}.IsMountPoint(path)
		require.NoError(t, err)
		require.Equal(t, want, mounted, path)
	}
}
