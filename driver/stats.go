package driver

import "time"

// Stats are the counters of a database, as of one moment each. Those called
// cumulative only grow, from the time that this process opened the database;
// the others tell of now. In JSON, as sqlite_mem_stats() returns it, the names
// are in snake_case, times are RFC 3339 and durations are nanoseconds.
type Stats struct {
	Role Role   `json:"role"` // RoleServer also for a database only in memory
	Path string `json:"path"` // absolute; empty: only in memory

	// How this process found the database. A program that must never give out a number
	// twice (an IMAP server its UIDs) looks here: what was committed and neither saved
	// nor logged is lost after an unclean end.
	UncleanStart     bool  `json:"unclean_start"`     // the server before ended without closing the database: killed, crashed, or by os.Exit
	RecoveredCommits int   `json:"recovered_commits"` // that its log had and the file had not
	TornBytes        int64 `json:"torn_bytes"`        // of one more commit in its log, which was never reported as durable

	// Saves.
	Unsaved      uint64        `json:"unsaved"`       // commits since the last save
	Saves        uint64        `json:"saves"`         // cumulative: saves that wrote the file
	SaveFailures int           `json:"save_failures"` // failed attempts in a row, since the last that worked
	LastSave     time.Time     `json:"last_save"`     // beginning of the last attempt; zero: there was none
	LastDuration time.Duration `json:"last_duration"` // of the last attempt
	LastBytes    int64         `json:"last_bytes"`    // written by the last attempt
	LastError    string        `json:"last_error"`    // of the last attempt; empty: it worked

	// The log (sqlite_wal).
	WAL             string        `json:"wal"`               // off, an interval, or commit
	Unlogged        uint64        `json:"unlogged"`          // commits that a crash would undo: neither saved nor in the log
	LogBytes        int64         `json:"log_bytes"`         // length of the log; 0: none was begun since the last save
	LogFlushes      uint64        `json:"log_flushes"`       // cumulative: flushes that wrote to it
	LogFailures     int           `json:"log_failures"`      // failed flushes in a row, since the last that worked
	LogLastFlush    time.Time     `json:"log_last_flush"`    // beginning of the last flush; zero: there was none
	LogLastDuration time.Duration `json:"log_last_duration"` // of the last flush
	LogLastError    string        `json:"log_last_error"`    // of the last flush; empty: it worked

	// The write lock.
	WriterHolder  string        `json:"writer_holder"`   // what it is held for; empty: it is free
	WriterHeldFor time.Duration `json:"writer_held_for"` // by that holder
	WriterQueue   int           `json:"writer_queue"`    // writers that wait
	WriterWaits   uint64        `json:"writer_waits"`    // cumulative: waits that are over
	WriterWaited  time.Duration `json:"writer_waited"`   // cumulative: their sum
	BusyErrors    uint64        `json:"busy_errors"`     // cumulative: waits that ended in SQLITE_BUSY

	// Memory.
	Commits      uint64        `json:"commits"`       // cumulative: that changed something
	DataBytes    int64         `json:"data_bytes"`    // size of the database
	HeldBytes    int64         `json:"held_bytes"`    // superseded pages that older readers need, or that wait to be freed
	FreeBytes    int64         `json:"free_bytes"`    // kept for reuse
	OldestReader time.Duration `json:"oldest_reader"` // age of the oldest reader, a save included; 0: none
	Connections  int           `json:"connections"`   // open in this process, running saves included
}
