package osfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// sameNow uses statx without the times. Since Linux 6.13 the first write after somebody has
// asked for the times of a file gives it a new time of change. Other writes do that once in
// some milliseconds (https://docs.kernel.org/filesystems/multigrain-ts.html). A file system
// without a journal writes each new time to the disk, so each sync would cost two writes.
func sameNow(name string, f *os.File) (same bool, size int64, err error) {
	const what = unix.STATX_INO | unix.STATX_SIZE
	var now, mine unix.Statx_t
	if err := statx(unix.AT_FDCWD, name, unix.AT_SYMLINK_NOFOLLOW, what, &now); err != nil {
		if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // an old kernel, or a sandbox
			return sameByStat(OS{}, name, osFile{f})
		}
		return false, 0, &os.PathError{Op: "statx", Path: name, Err: err}
	}
	c, err := f.SyscallConn()
	if err != nil {
		return false, 0, err
	}
	var serr error
	if err := c.Control(func(fd uintptr) { serr = statx(int(fd), "", unix.AT_EMPTY_PATH, what, &mine) }); err != nil {
		return false, 0, err
	}
	if serr != nil {
		return false, 0, &os.PathError{Op: "statx", Path: f.Name(), Err: serr}
	}
	same = now.Ino == mine.Ino && now.Dev_major == mine.Dev_major && now.Dev_minor == mine.Dev_minor
	return same, int64(mine.Size), nil
}

func statx(dir int, name string, flags, what int, st *unix.Statx_t) error {
	for {
		if err := unix.Statx(dir, name, flags, what, st); err != unix.EINTR {
			return err
		}
	}
}
