package driver

import (
	"slices"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/latency"
)

// Stats are the counters of a database, each as of a moment of its own. Cumulative ones
// only grow, from the time that this process opened the database. The others describe the
// present. sqlite_mem_stats() returns them as JSON: names are in snake_case, times are
// RFC 3339 and durations are nanoseconds. A tool without a live connection has only Role, Path and DataBytes.
type Stats struct {
	Role Role   `json:"role"` // RoleServer also for a database only in memory; RoleLive: these are the server's
	Path string `json:"path"` // absolute; empty: only in memory

	// The start. After an unclean end, commits that were neither in the file nor in the
	// log are lost. A program that must never give out a number twice, as an IMAP server its
	// UIDs, looks here.
	UncleanStart     bool  `json:"unclean_start"`     // the server before was killed, crashed, or ended without Close
	RecoveredCommits int   `json:"recovered_commits"` // commits of its log that the file did not have
	TornBytes        int64 `json:"torn_bytes"`        // length of an incomplete commit at the end of its log, never reported as durable

	// Saves.
	Unsaved      uint64        `json:"unsaved"`       // commits since the last save
	Saves        Histogram     `json:"saves"`         // cumulative: saves that wrote the file
	SaveFailures int           `json:"save_failures"` // failed attempts in a row, since the last that worked
	LastSave     time.Time     `json:"last_save"`     // beginning of the last attempt; zero: there was none
	LastDuration time.Duration `json:"last_duration"` // of the last attempt
	LastBytes    int64         `json:"last_bytes"`    // written by the last attempt
	LastError    string        `json:"last_error"`    // of the last attempt; empty: it worked

	// The log (sqlite_wal).
	WAL             string        `json:"wal"`               // off, an interval, or commit
	Unlogged        uint64        `json:"unlogged"`          // commits that a crash would undo: neither saved nor in the log
	LossWindow      time.Duration `json:"loss_window"`       // age of the oldest of them; it may be too long by a flush or a save; 0: there are none
	LogBytes        int64         `json:"log_bytes"`         // length of the log; 0: there is none since the last save
	LogFlushes      Histogram     `json:"log_flushes"`       // cumulative: flushes that wrote to it
	LogFailures     int           `json:"log_failures"`      // failed flushes in a row, since the last that worked
	LogLastFlush    time.Time     `json:"log_last_flush"`    // beginning of the last flush; zero: there was none
	LogLastDuration time.Duration `json:"log_last_duration"` // of the last flush
	LogLastError    string        `json:"log_last_error"`    // of the last flush; empty: it worked

	// The write lock.
	WriterHolder  string        `json:"writer_holder"`   // its holder: a statement without its values, or "transaction" and its last statement; empty: it is free
	WriterHeldFor time.Duration `json:"writer_held_for"` // how long the holder has had it
	WriterQueue   int           `json:"writer_queue"`    // writers that wait
	WriterWaits   Histogram     `json:"writer_waits"`    // cumulative: waits that have ended; a writer that finds the lock free does not wait
	WriterHolds   Histogram     `json:"writer_holds"`    // cumulative: for how long it was held
	BusyErrors    uint64        `json:"busy_errors"`     // cumulative: waits that ended in SQLITE_BUSY

	// Memory.
	Commits         uint64        `json:"commits"`          // cumulative: commits that changed something, restores included
	Restores        uint64        `json:"restores"`         // cumulative: restores (see Restore)
	DataBytes       int64         `json:"data_bytes"`       // size of the database
	HeldBytes       int64         `json:"held_bytes"`       // old page versions that readers need, or that wait to be freed
	FreeBytes       int64         `json:"free_bytes"`       // kept for reuse
	OldestReader    time.Duration `json:"oldest_reader"`    // age of the oldest reader, a save included; 0: none
	MaxMemory       int64         `json:"max_memory"`       // sqlite_max_memory; 0: no cap
	MemoryAvailable int64         `json:"memory_available"` // what the system has left: the machine, or the control group with the least; Linux only, elsewhere 0
	MemoryLimit     int64         `json:"memory_limit"`     // of that machine or group; 0: not known
	MemoryWarnings  uint64        `json:"memory_warnings"`  // cumulative: how often little was left of one of these limits
	Connections     int           `json:"connections"`      // open in this process, running saves included
	Tools           int           `json:"tools"`            // connections of live tools, part of Connections
	Kept            int           `json:"kept"`             // connections that were closed, and are kept up to 5 s for the next that is opened; not part of Connections
}

// Histogram counts durations by their length.
type Histogram struct {
	Count   uint64        `json:"count"`   // number of durations
	Sum     time.Duration `json:"sum"`     // of all durations
	Buckets [16]uint64    `json:"buckets"` // how many are not longer than HistogramBounds()[i], and longer than the bound before; those above the last are in none
}

// HistogramBounds returns the upper ends of the buckets of a [Histogram]: 1 µs, 3 µs, 10 µs
// and so on up to 30 s.
func HistogramBounds() []time.Duration { return slices.Clone(latency.Bounds[:]) }
