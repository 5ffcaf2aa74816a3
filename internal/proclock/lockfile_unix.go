//go:build unix

package proclock

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// openFlags: never through a symbolic link, and never waiting for the other end of
// a FIFO.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// alive reports whether there is a process with that id. One in another container
// is not seen.
func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// giveAway gives a lock file that was just made the permissions of the database at
// path, as SQLite does with files beside it: whoever may write to the one must be
// able to lock the other. As root it gives it the owner, too, be it that of the
// directory. As far as that fails, the file stays as it is: private.
func giveAway(file *os.File, path string) {
	like, err := os.Stat(path)
	made := err == nil
	if !made {
		if like, err = os.Stat(filepath.Dir(path)); err != nil || os.Geteuid() != 0 {
			return
		}
	}
	perm := like.Mode().Perm()
	if want, ok := like.Sys().(*syscall.Stat_t); ok {
		uid := -1
		if os.Geteuid() == 0 {
			uid = int(want.Uid)
		}
		if file.Chown(uid, int(want.Gid)) != nil {
			perm &^= 0o070 // the bits were meant for another group
		}
	}
	if made {
		_ = file.Chmod(0o600 | perm&0o066)
	}
}

// adopt mends a lock file that root has made and kept, if root is who asks: the
// owner of the database could never lock it. The file must have no other name, or
// somebody could have root give away a file from elsewhere.
func adopt(file *os.File, path string) {
	if os.Geteuid() != 0 {
		return
	}
	info, err := file.Stat()
	if err != nil {
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == 0 && st.Nlink == 1 {
		giveAway(file, path)
	}
}
