//go:build !linux

package osfile

// InBackground runs f at the ordinary priority. Without privileges or cgo, that of a single
// thread cannot be set.
func InBackground(f func()) { f() }
