package osfile

import (
	"os"
	"syscall"
)

// SyncData uses fdatasync.
func (f osFile) SyncData() error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := c.Control(func(fd uintptr) {
		for {
			// Go's own File.Sync goes on after a signal as well.
			if serr = syscall.Fdatasync(int(fd)); serr != syscall.EINTR {
				return
			}
		}
	}); err != nil {
		return err
	}
	return os.NewSyscallError("fdatasync", serr)
}
