package osfile

import (
	"errors"
)

// NotMounted returns an error if the file itself is a mount point.
func NotMounted(path string) error {
	if mounted, err := isMountPoint(path); err != nil || !mounted {
		return err
	}
	return ErrMountPoint
}

// ErrMountPoint: the file itself is a mount point, as containers bind a single
// file. No new file can take its place.
var ErrMountPoint = errors.New("the file is a mount point, so that no save can replace it; mount the directory that it is in instead")
