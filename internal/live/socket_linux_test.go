package live

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that somebody puts in the place of the socket keeps its mode and owner, also
// when root makes the socket.
func TestSocket_swapped(t *testing.T) {
	for name, swap := range map[string]func(old, name string) error{
		"a link":               os.Symlink,
		"another name of it":   os.Link,
		"a file":               os.Rename,
		"a socket with a name": func(old, name string) error { return os.Link(leave(old+".other"), name) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.db")
			precious := filepath.Join(t.TempDir(), "precious")
			require.NoError(t, os.WriteFile(precious, nil, 0o644))
			require.NoError(t, os.Chmod(precious, 0o644))
			require.NoError(t, swap(precious, SocketName(path)))
			require.Error(t, restrict(path, SocketName(path)))
			info, err := os.Stat(SocketName(path))
			require.NoError(t, err)
			require.NotEqual(t, os.FileMode(0o600), info.Mode())
		})
	}
}
