package live

import "golang.org/x/sys/unix"

// pidOf is the process at the other end; 0: not known.
func pidOf(fd int) int {
	const solLocal = 0
	pid, err := unix.GetsockoptInt(fd, solLocal, unix.LOCAL_PEERPID)
	if err != nil {
		return 0
	}
	return pid
}
