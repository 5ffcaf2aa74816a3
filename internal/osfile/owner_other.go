//go:build !unix

package osfile

import "os"

// CopyOwner does nothing: the new file inherits the rights of its directory.
func CopyOwner(File, os.FileInfo) error { return nil }

// Links is not known.
func Links(os.FileInfo) int { return 0 }
