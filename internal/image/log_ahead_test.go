//go:build cgo

package image

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// smallDisk is a file system on which no file can be longer than limit bytes. A write
// beyond that writes what fits, and fails with err.
func smallDisk(limit *int64, err error) osfile.FS {
	return &osfiletest.PlantedFS{FS: osfile.OS{}, OnFile: func(name string, x *osfiletest.PlantedFile) {
		x.OnWriteAt = func(p []byte, off int64) (int, error) {
			if fits := max(*limit-off, 0); int64(len(p)) > fits {
				n, werr := x.File.WriteAt(p[:fits], off)
				return n, errors.Join(werr, &os.PathError{Op: "write", Path: name, Err: err})
			}
			return x.File.WriteAt(p, off)
		}
	}}
}

// Ensure that commits go on without the zeros ahead where these do not fit. The zeros then
// take no room. Any other failure of the zeros fails the commit.
func TestLog_aheadDoesNotFit(t *testing.T) {
	want := logStates(t, 40)
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EIO} {
		t.Run(full.Error(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			limit := int64(pagelog.Ahead / 2)
			f, h := served(t, smallDisk(&limit, full), path, true, want)
			h.commit(want[1].b)
			if full == syscall.EIO {
				require.ErrorIs(t, f.Flush(), full)
				return
			}
			require.NoError(t, f.Flush())
			for _, img := range want[2:] {
				info, err := os.Stat(pagelog.Name(path))
				require.NoError(t, err)
				require.Equal(t, f.LogSize(), info.Size(), "zeros are still there")
				h.commit(img.b)
				require.NoError(t, f.Flush())
			}
			got, _, err := reloadOn(osfile.OS{}, testfile.CopySet(t, path))
			require.NoError(t, err)
			requireState(t, h.last(), got)
			require.Equal(t, h.last().version, f.Durable())

			// The next log tries again.
			limit = 1 << 40
			_, err = f.Save(bg, Pace{})
			require.NoError(t, err)
			for i := range 2 {
				h.commit(want[i].b)
				require.NoError(t, f.Flush())
			}
			info, err := os.Stat(pagelog.Name(path))
			require.NoError(t, err)
			require.Greater(t, info.Size(), int64(pagelog.Ahead))
		})
	}
}

// Ensure that on a disk without room for zeros ahead a power failure loses no durable
// commit.
func TestLogPowerLoss_aheadDoesNotFit(t *testing.T) {
	run := logRun
	run.opts = osfiletest.PowerOptions{Samples: 6, States: 64, Contents: 32}
	limit := int64(12_000)
	errs, states := run.bad(t, func(f osfile.FS) osfile.FS {
		planted := smallDisk(&limit, syscall.ENOSPC).(*osfiletest.PlantedFS)
		planted.FS = f
		return planted
	})
	require.Empty(t, errs)
	require.Greater(t, states, 100)
}
