//go:build unix

package snapshot

import (
	"os"
	"syscall"
)

// copyOwner gives f the owner, group and permissions of like, as far as this
// process may. Where the group cannot be kept, f gets no more for its group
// than like gives to everybody: the bits were meant for other people.
func copyOwner(f file, like os.FileInfo) error {
	perm := like.Mode().Perm()
	want, ok := like.Sys().(*syscall.Stat_t)
	if ok {
		now, err := f.Stat()
		if err != nil {
			return err
		}
		if have, ok := now.Sys().(*syscall.Stat_t); ok {
			// A process without privileges may at most change the group, to
			// one that it is in. Both failures are expected.
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
	// After the change of owner, which clears bits.
	return f.Chmod(perm)
}

// linksOf is the number of names of a file; 0: not known.
func linksOf(info os.FileInfo) int {
	if info == nil {
		return 0
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Nlink)
	}
	return 0
}
