package osfile

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// isMountPoint reports whether something is mounted on the file at path, which is
// resolved. Where that cannot be found out it returns false.
func isMountPoint(path string) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &st)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0:
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
	}
	return inMountinfo(path), nil // Linux before 5.8, or a sandbox that does not know the call
}

// inMountinfo looks for path in the table of mounts.
func inMountinfo(path string) bool {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	defer func() { _ = mounts.Close() }()
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		if mountedOn(lines.Text()) == path {
			return true
		}
	}
	return false
}

// mountedOn returns the mount point of a line of mountinfo. It is the fifth word; blanks
// and the like are octal numbers in it.
func mountedOn(line string) string {
	words := strings.Split(line, " ")
	if len(words) < 5 {
		return ""
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(words[4])
}
