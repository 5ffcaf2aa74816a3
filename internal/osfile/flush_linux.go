//go:build linux && !arm

package osfile

import (
	"errors"
	"syscall"
)

// StartFlush uses sync_file_range. Unlike fdatasync, it does not commit the journal of the
// file system, for which other writers would have to wait.
func (f osFile) StartFlush(off, n int64) error {
	const waitBefore, write, waitAfter = 1, 2, 4
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = c.Control(func(fd uintptr) {
		serr = syscall.SyncFileRange(int(fd), off, n, write)
		if serr == nil && off > 0 {
			serr = syscall.SyncFileRange(int(fd), 0, off, waitBefore|write|waitAfter)
		}
	})
	if err != nil {
		return err
	}
	// The file system or the sandbox may not know the call.
	for _, e := range []error{syscall.ENOSYS, syscall.EINVAL, syscall.ESPIPE, syscall.ENOTSUP, syscall.EPERM} {
		if errors.Is(serr, e) {
			return nil
		}
	}
	return serr
}
