package osfile

import (
	"errors"
	"runtime"
	"syscall"
)

// NoRoom reports whether a write has failed for want of room. Either the disk or a quota is
// full, or the file has reached the largest size that it may have.
func NoRoom(err error) bool {
	if runtime.GOOS == "windows" {
		const handleDiskFull, diskFull = syscall.Errno(39), syscall.Errno(112)
		return errors.Is(err, handleDiskFull) || errors.Is(err, diskFull)
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
