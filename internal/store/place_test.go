//go:build cgo

package store

import (
	"bytes"
	"database/sql/driver"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
)

// Ensure that a server does not save over an empty file, as SQLite creates it at an open.
// SQLite would not see the rename and write to the old file.
func TestSave_emptyFile(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	c, err := (&sqlite3.SQLiteDriver{}).Open(opts.Path)
	require.NoError(t, err)
	other := c.(*sqlite3.SQLiteConn)
	_, err = other.Exec("SELECT * FROM sqlite_schema", nil)
	require.NoError(t, err)
	info, err := os.Stat(opts.Path)
	require.NoError(t, err)
	require.Zero(t, info.Size())
	_, err = s.Sync(ctx)
	var foreign *image.ForeignChangeError
	require.ErrorAs(t, err, &foreign)
	require.FileExists(t, foreign.SavedAs)
	_, err = other.Exec("CREATE TABLE u(x)", nil)
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, os.Remove(opts.Path))
	_, err = s.Sync(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Release())
}

// Ensure that a file with several names is served, and that a warning is logged.
func TestOpen_hardLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the number of names is not known")
	}
	opts := options(t)
	require.NoError(t, mustOpen(t, opts).Release())
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	require.NoError(t, s.Release())
	require.NoError(t, os.Link(opts.Path, opts.Path+"-also"))
	var out bytes.Buffer
	opts.Logger = slog.New(slog.NewTextHandler(&out, nil))
	require.NoError(t, mustOpen(t, opts).Release())
	require.Contains(t, out.String(), "hard links")
	require.Contains(t, out.String(), "links=2")
	require.NoError(t, os.Remove(opts.Path+"-also"))
	out.Reset()
	require.NoError(t, mustOpen(t, opts).Release())
	require.Empty(t, out.String())
}

// Ensure that a path that has become a symbolic link after it was resolved is refused, by an error
// that names where it leads. Neither file is locked or changed then.
func TestOpen_becameLink(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	require.NoError(t, s.Release())
	before, err := os.ReadFile(opts.Path)
	require.NoError(t, err)
	target := filepath.Join(filepath.Dir(opts.Path), "moved.db")
	require.NoError(t, os.Rename(opts.Path, target))
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need a privilege")
	}
	require.NoError(t, os.Symlink(target, opts.Path))
	_, err = Open(ctx, opts)
	require.ErrorContains(t, err, opts.Path+" has become a symbolic link to "+target+" meanwhile")
	require.Zero(t, Count())
	after, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, before, after)

	require.NoError(t, os.Remove(opts.Path))
	require.NoError(t, mustOpen(t, opts).Release())
	opts.Path = target
	require.NoError(t, mustOpen(t, opts).Release())
}

// Ensure that the end of a server does not drop the locks of a tool of this process. The
// server's descriptor is closed after the tool has released them.
func TestRelease_toolHasLock(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file stays open, and no lock is lost by a close")
	}
	opts := options(t)
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x)")
	_, err := s.Sync(ctx)
	require.NoError(t, err)
	closed := make(chan struct{})
	later := s.file.CloseLater
	s.file.CloseLater = func(file io.Closer) {
		later(closer(func() error { defer close(closed); return file.Close() }))
	}

	c, err := (&sqlite3.SQLiteDriver{}).Open("file:" + filepath.ToSlash(opts.Path) + "?mode=ro&vfs=" + memvfs.DiskName)
	require.NoError(t, err)
	tool := c.(*sqlite3.SQLiteConn)
	_, err = tool.Exec("BEGIN; SELECT * FROM t", nil)
	require.NoError(t, err)
	rows, err := tool.Query("SELECT count(*) FROM t", nil)
	require.NoError(t, err)
	require.NoError(t, rows.Next(make([]driver.Value, 1)))
	require.NoError(t, rows.Close())
	require.NoError(t, s.Release())
	select {
	case <-closed:
		t.Fatal("closed under the tool")
	case <-time.After(2 * closePoll):
	}
	require.NoError(t, tool.Close())
	<-closed
}

type closer func() error

func (c closer) Close() error { return c() }
