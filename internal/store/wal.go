package store

import "time"

// Values of Options.WAL other than an interval.
const (
	WALOff    time.Duration = 0
	WALCommit time.Duration = -1
)

// intervalName is how a data source name has Options.SyncInterval.
func intervalName(d time.Duration) string {
	if d == 0 {
		return "never"
	}
	return d.String()
}

// walName is how a data source name has Options.WAL.
func walName(d time.Duration) string {
	switch d {
	case WALOff:
		return "off"
	case WALCommit:
		return "commit"
	}
	return d.String()
}
