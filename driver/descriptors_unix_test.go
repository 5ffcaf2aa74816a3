//go:build cgo && unix

package driver_test

import "syscall"

// limitDescriptors lets this process have n descriptors.
func limitDescriptors(n uint64) error {
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: 1000})
}
