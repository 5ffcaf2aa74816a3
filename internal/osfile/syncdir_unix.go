//go:build unix

package osfile

import (
	"errors"
	"os"
	"syscall"
)

// syncDir makes the entries of a directory durable. Some network and FUSE file systems
// cannot: they return EINVAL or ENOTSUP. They have nothing better, so that is no error.
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
