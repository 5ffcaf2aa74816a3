//go:build !unix && !windows

package osfile

import "os"

// syncDir does nothing: there is no known way on this system.
func syncDir(string) error { return nil }

func rename(from, to string) error { return os.Rename(from, to) }
