//go:build unix

package proclock

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// openFlags keep an open from following a symbolic link and from waiting for the other end
// of a FIFO.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// alive reports whether there is a process with that id. It does not see one in another
// container.
func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// giveAway gives a new lock file the permissions of the database at path, as SQLite does
// for files beside it. A user who may write to the database must be able to lock it. Root
// also gives it the owner of the database, or of the directory if there is no database. If
// that fails, the file stays private.
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
			perm &^= 0o070 // these bits are for the database's group
		}
	}
	if made {
		_ = file.Chmod(0o600 | perm&0o066)
	}
}

// adopt gives the database's owner a lock file that belongs to root, if this process is
// root. Otherwise the owner of the database could not lock it. The file must have no
// other name, or somebody could make root give away a file from elsewhere.
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
