package osfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// foldFS ignores case below its directory, as vfat, NTFS and APFS do. All names in it are
// lower case, but for those in real.
type foldFS struct {
	FS
	root string
	real map[string]string // by the lower-case path
}

func (f foldFS) at(path string) string {
	rest, ok := strings.CutPrefix(path, f.root)
	if !ok {
		return path
	}
	rest = strings.ToLower(rest)
	if name, ok := f.real[rest]; ok {
		rest = name
	}
	return f.root + rest
}

func (f foldFS) Lstat(name string) (os.FileInfo, error)     { return f.FS.Lstat(f.at(name)) }
func (f foldFS) ReadDir(name string) ([]os.DirEntry, error) { return f.FS.ReadDir(f.at(name)) }

// Ensure that all spellings of a file lead to one name where case is ignored, and that no name
// changes where it counts.
func TestSpelled(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(root, "Mail"), 0o700))
	file := filepath.Join(root, "Mail", "App.db")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	fold := foldFS{OS{}, root, map[string]string{"/mail": "/Mail", "/mail/app.db": "/Mail/App.db"}}
	for _, name := range []string{"Mail/App.db", "mail/app.db", "MAIL/APP.DB", "mAIL/aPP.DB"} {
		require.Equal(t, file, spelled(fold, filepath.Join(root, name)), name)
	}
	for name, want := range map[string]string{"mail/new.db": "Mail/new.db", "none/App.db": "none/App.db", "MAIL": "Mail"} {
		require.Equal(t, filepath.Join(root, want), spelled(fold, filepath.Join(root, name)), name)
	}

	// Two names of one file, where case counts.
	also := filepath.Join(root, "Mail", "aPP.DB")
	if os.Link(file, also) == nil {
		require.Equal(t, file, Spelled(file))
		require.Equal(t, also, Spelled(also))
	}
	require.Equal(t, "/", Spelled("/"))
}
