package measure

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
)

// Memory is the resident memory of this process in bytes.
type Memory struct {
	Resident int64 // VmRSS
	Peak     int64 // VmHWM: the peak since the start or the last ResetPeak
}

// ReadMemory reads /proc/self/status.
func ReadMemory() (Memory, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return Memory{}, err
	}
	return parseStatus(status)
}

func parseStatus(status []byte) (m Memory, err error) {
	for s := bufio.NewScanner(bytes.NewReader(status)); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), ":")
		var to *int64
		switch key {
		case "VmRSS":
			to = &m.Resident
		case "VmHWM":
			to = &m.Peak
		default:
			continue
		}
		var kb int64
		if _, err := fmt.Sscanf(value, "%d kB", &kb); err != nil {
			return Memory{}, fmt.Errorf("measure: %s: %w", s.Text(), err)
		}
		*to = kb << 10
	}
	if m.Resident == 0 || m.Peak == 0 {
		return Memory{}, fmt.Errorf("measure: no VmRSS and VmHWM in %d bytes of status", len(status))
	}
	return m, nil
}

// ResetPeak returns free memory of Go to the system and sets the peak to the memory
// that is resident now.
func ResetPeak() error {
	debug.FreeOSMemory()
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // see proc_pid_clear_refs(5)
}
