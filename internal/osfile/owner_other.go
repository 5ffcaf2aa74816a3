//go:build !unix

package osfile

import "os"

// CopyOwner does nothing: a new file inherits the rights of its directory.
func CopyOwner(File, os.FileInfo) error { return nil }

// Links returns 0: the number is not known.
func Links(os.FileInfo) int { return 0 }
