//go:build cgo && memvfs_fault

package memvfs

// With the tag memvfs_fault the engine has a fault: readers see pages that a writer has
// not committed yet. .ci/run makes sure that the tests for dirty reads fail then.

// #cgo CFLAGS: -DMEMVFS_FAULT
import "C"
