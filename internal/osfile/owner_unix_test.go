//go:build unix

package osfile

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// owned is a file, and its FileInfo, with an owner and permissions.
type owned struct {
	File
	stat  syscall.Stat_t
	mode  os.FileMode
	chown error // of a change of the group
}

func (o *owned) Name() string               { return "owned" }
func (o *owned) Size() int64                { return 0 }
func (o *owned) Mode() os.FileMode          { return o.mode }
func (o *owned) ModTime() time.Time         { return time.Time{} }
func (o *owned) IsDir() bool                { return false }
func (o *owned) Sys() any                   { return &o.stat }
func (o *owned) Stat() (os.FileInfo, error) { return o, nil }
func (o *owned) Chmod(m os.FileMode) error  { o.mode = m; return nil }

func (o *owned) Chown(uid, gid int) error {
	if o.chown != nil {
		return o.chown
	}
	if gid >= 0 {
		o.stat.Gid = uint32(gid)
	}
	return nil
}

// Ensure that a file gets the permissions of another. If the group cannot be kept, the new
// group gets no right that was meant for the old one.
func TestCopyOwner_group(t *testing.T) {
	like := func(mode os.FileMode) *owned { return &owned{stat: syscall.Stat_t{Gid: 5678}, mode: mode} }
	for _, tt := range []struct {
		mode, kept, lost os.FileMode // of the other file; and with its group, and without
	}{
		{0o664, 0o664, 0o644},
		{0o660, 0o660, 0o600},
		{0o640, 0o640, 0o600},
		{0o606, 0o606, 0o606},
		{0o666, 0o666, 0o666},
		{0o600, 0o600, 0o600},
	} {
		f := &owned{mode: 0o600}
		require.NoError(t, CopyOwner(f, like(tt.mode)))
		require.Equal(t, tt.kept, f.mode, "%o", tt.mode)
		require.EqualValues(t, 5678, f.stat.Gid)

		f = &owned{mode: 0o600, chown: syscall.EPERM}
		require.NoError(t, CopyOwner(f, like(tt.mode)))
		require.Equal(t, tt.lost, f.mode, "%o", tt.mode)
	}
}
