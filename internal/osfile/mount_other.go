//go:build !linux

package osfile

// isMountPoint says no: elsewhere nothing is mounted on single files.
func isMountPoint(string) (bool, error) { return false, nil }
