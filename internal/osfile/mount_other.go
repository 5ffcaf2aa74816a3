//go:build !linux

package osfile

// isMountPoint returns false: on other systems nothing is mounted on single files.
func isMountPoint(string) (bool, error) { return false, nil }
