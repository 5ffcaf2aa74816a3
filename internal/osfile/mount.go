package osfile

import "errors"

// NotMounted returns ErrMountPoint if the file at path, which is resolved, is itself a mount
// point. Where that cannot be found out it returns nil.
func NotMounted(fsx FS, path string) error {
	if mounted, err := fsx.IsMountPoint(path); err != nil || !mounted {
		return err
	}
	return ErrMountPoint
}

// ErrMountPoint: the file itself is a mount point, as containers bind a single file. No new
// file can take its place.
var ErrMountPoint = errors.New("the file is a mount point, so that no save can replace it; mount the directory that it is in instead")
