//go:build cgo

package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// smallDisk is a file system on which no file can be longer than limit bytes: a write that
// goes beyond that writes what fits, and fails with err.
func smallDisk(limit *int64, err error) fsys {
	return &plantedFS{fsys: osFS{}, onFile: func(name string, x *plantedFile) {
		x.onWriteAt = func(p []byte, off int64) (int, error) {
			if fits := max(*limit-off, 0); int64(len(p)) > fits {
				n, werr := x.file.WriteAt(p[:fits], off)
				return n, errors.Join(werr, &os.PathError{Op: "write", Path: name, Err: err})
			}
			return x.file.WriteAt(p, off)
		}
	}}
}

// Ensure that commits go on without the zeros ahead of them where these do not fit, which
// take no room then; and that another failure of theirs is one of the commit.
func TestLog_aheadDoesNotFit(t *testing.T) {
	want := logStates(t, 40)
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EIO} {
		t.Run(full.Error(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			limit := int64(logAhead / 2)
			f, h := served(t, smallDisk(&limit, full), path, true, want)
			h.commit(want[1].b)
			if full == syscall.EIO {
				require.ErrorIs(t, f.Flush(), full)
				return
			}
			require.NoError(t, f.Flush())
			for _, img := range want[2:] {
				info, err := os.Stat(logName(path))
				require.NoError(t, err)
				require.Equal(t, f.LogSize(), info.Size(), "zeros are still there")
				h.commit(img.b)
				require.NoError(t, f.Flush())
			}
			got, _, err := reloadOn(osFS{}, copySet(t, path))
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
			info, err := os.Stat(logName(path))
			require.NoError(t, err)
			require.Greater(t, info.Size(), int64(logAhead))
		})
	}
}

// Ensure that whenever the power fails on a disk that has no room for zeros ahead, what
// was called durable is there.
func TestLogPowerLoss_aheadDoesNotFit(t *testing.T) {
	run := logRun
	run.opts = powerOptions{samples: 6, states: 64, contents: 32}
	limit := int64(12_000)
	errs, states := run.bad(t, func(f fsys) fsys {
		planted := smallDisk(&limit, syscall.ENOSPC).(*plantedFS)
		planted.fsys = f
		return planted
	})
	require.Empty(t, errs)
	require.Greater(t, states, 100)
}
