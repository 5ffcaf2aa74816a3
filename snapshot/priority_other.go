//go:build !linux

package snapshot

// inBackground runs f. There is no priority of a single thread that can be set
// without privileges or cgo.
func inBackground(f func()) { f() }
