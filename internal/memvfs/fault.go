//go:build cgo && memvfs_fault

package memvfs

// With the tag memvfs_fault the engine has a fault: readers see pages that a
// writer has not committed yet. Tests that look for such things must fail then:
// .ci/run sees to it.

// #cgo CFLAGS: -DMEMVFS_FAULT
import "C"
