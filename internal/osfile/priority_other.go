//go:build !linux

package osfile

// InBackground runs f. There is no priority of a single thread that can be set
// without privileges or cgo.
func InBackground(f func()) { f() }
