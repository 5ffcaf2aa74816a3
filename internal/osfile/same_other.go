//go:build !linux

package osfile

import "os"

func sameNow(name string, f *os.File) (same bool, size int64, err error) {
	return sameByStat(OS{}, name, osFile{f})
}
