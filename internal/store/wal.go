package store

import "time"

// What Options.WAL may be besides an interval.
const (
	WALOff    time.Duration = 0
	WALCommit time.Duration = -1
)

func walName(d time.Duration) string {
	switch d {
	case WALOff:
		return "off"
	case WALCommit:
		return "commit"
	}
	return d.String()
}
