//go:build cgo

package demo

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
)

// resident returns the memory of this process in bytes, now and at the peak
// since resetPeak. It reads Linux's /proc. 0 means that the system does not
// tell.
func resident() (now, peak int64) {
	return procField("/proc/self/status", "VmRSS"), procField("/proc/self/status", "VmHWM")
}

// resetPeak begins a new count for the peak, and reports whether it could.
func resetPeak() bool {
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil
}

// available returns the memory in bytes that the system can give away. 0 means
// that it does not tell.
func available() int64 { return procField("/proc/meminfo", "MemAvailable") }

// procField reads "Name:   123 kB".
func procField(file, name string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
