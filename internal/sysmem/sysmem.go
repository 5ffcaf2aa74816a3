// Package sysmem tells how much memory this process can still get from the system. It reads
// Linux's /proc and the memory limits of control groups. Elsewhere nothing is known.
package sysmem

// Memory is the tightest limit of a process's memory, in bytes.
type Memory struct {
	Limit     int64  // of the group or the machine; 0: not known
	Available int64  // that can be taken before the limit is met; swap is not counted
	Source    string // the file that sets the limit
}
