//go:build cgo

package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
)

// Ensure that a process becomes a tool only where it may never write. On a full disk no lock file
// can be made, which is an error of the open: as a tool the process would go on to read the file
// when there is room again.
func TestMayOnlyRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	lock := func(err error) error { return fmt.Errorf("%w: %w", proclock.ErrUnavailable, err) }
	file := func(err error) error { return fmt.Errorf("%w: %w", osfile.ErrReadOnly, err) }
	require.False(t, mayOnlyRead(path, file(syscall.EACCES)), "there is no file to read")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{file(syscall.EACCES), true},
		{lock(syscall.EACCES), true},
		{lock(syscall.EROFS), true},
		{lock(syscall.ENOSPC), false},
		{lock(syscall.EDQUOT), false},
		{syscall.ENOSPC, false},
		{syscall.EACCES, false},
		{&proclock.OwnedError{Path: path}, true},
		{&proclock.OwnedError{Path: path + "-other"}, false},
	} {
		require.Equal(t, tt.want, mayOnlyRead(path, tt.err), "%v", tt.err)
	}
}

// Ensure that a connector that closes while it opens a live connection has the commits of that
// connection made durable when the connection ends.
func TestLiveBackend_closedWhileOpening(t *testing.T) {
	cfg := &Config{}
	b := &liveBackend{cfg: cfg, path: t.Name()}
	t.Cleanup(func() { liveCommits.forget(b.path) })
	b.Acquire() // it opens the connection
	require.Nil(t, liveCommits.leave(cfg), "DB.Close: nothing is committed")
	liveCommits.add(b, "a server")
	require.Same(t, b, liveCommits.part(cfg), "the connection has ended")
	require.NotContains(t, liveCommits.open, cfg)
}
