//go:build cgo

package demo

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
)

// resident is the memory of this process in bytes: now, and at most since
// resetPeak. 0: the system does not tell (it is read from Linux' /proc).
func resident() (now, peak int64) {
	return procField("/proc/self/status", "VmRSS"), procField("/proc/self/status", "VmHWM")
}

// resetPeak begins a new count for the peak, and reports whether it could.
func resetPeak() bool {
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil
}

// available is the memory in bytes that the system can give away, 0 when it
// does not tell.
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
