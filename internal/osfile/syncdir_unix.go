//go:build unix

package osfile

import (
	"errors"
	"os"
	"syscall"
)

// syncDir makes the entries of a directory durable. A file system that cannot
// sync a directory (some network and FUSE ones) says EINVAL or ENOTSUP: it
// offers nothing better, so that is not an error.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

func rename(from, to string) error { return os.Rename(from, to) }
