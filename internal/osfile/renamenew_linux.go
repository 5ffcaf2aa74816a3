package osfile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// renameNew uses renameat2, which some file systems, old kernels and sandboxes do not know.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err == nil {
		return nil
	}
	err = &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	for _, e := range []error{unix.ENOSYS, unix.EINVAL, unix.ENOTSUP, unix.EPERM} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
		}
	}
	return err
}
