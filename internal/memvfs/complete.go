//go:build cgo

package memvfs

// #include <stdlib.h>
// #include "sqlite3_abi.h"
import "C"

import "unsafe"

// Complete reports whether text ends with a complete statement. That is sqlite3_complete,
// which go-sqlite3 does not offer. It is for tests.
func Complete(text string) bool {
	c := C.CString(text)
	defer C.free(unsafe.Pointer(c))
	return C.sqlite3_complete(c) != 0
}
