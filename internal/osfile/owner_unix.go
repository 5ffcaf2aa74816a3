//go:build unix

package osfile

import (
	"os"
	"syscall"
)

// CopyOwner gives f the owner, group and permissions of like, as far as this process may.
// If the group cannot be kept, its members get no more than like gives to everybody. The
// bits of the group were meant for others.
//
// Some file systems refuse any change of permissions (vfat, CIFS, some FUSE ones). That is
// an error only if f gives somebody a right that like does not.
func CopyOwner(f File, like os.FileInfo) error {
	perm := like.Mode().Perm()
	now, err := f.Stat()
	if err != nil {
		return err
	}
	want, ok := like.Sys().(*syscall.Stat_t)
	if ok {
		if have, ok := now.Sys().(*syscall.Stat_t); ok {
			// Without privileges a process may only change the group, to one that it is
			// in. So both failures are expected.
			if have.Uid != want.Uid {
				_ = f.Chown(int(want.Uid), -1)
			}
			if have.Gid != want.Gid && f.Chown(-1, int(want.Gid)) != nil {
				perm &^= 0o070
				perm |= perm & 0o007 << 3
				perm &= like.Mode().Perm()
			}
		}
	}
	if now.Mode().Perm() == perm {
		return nil
	}
	if err := f.Chmod(perm); err != nil && now.Mode().Perm()&^perm != 0 {
		return err
	}
	return nil
}

// Links returns how many names (hard links) a file has; 0: not known, or info is nil.
func Links(info os.FileInfo) int {
	if info == nil {
		return 0
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Nlink)
	}
	return 0
}
