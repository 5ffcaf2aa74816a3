package sqlitefile

import (
	"encoding/binary"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// Journal is the rollback journal, FILE-journal
// (https://sqlite.org/fileformat2.html#the_rollback_journal).
type Journal struct {
	// Live: the first byte is not zero. This is SQLite's own test: it rolls back, or at
	// least deletes, such a journal. The journal modes TRUNCATE and PERSIST leave an empty
	// journal, or one whose header is zeros.
	Live bool

	// Valid: it begins like a journal, so a rollback may change the database.
	Valid bool

	// Pages is how many pages the database had before the transaction.
	Pages uint32
}

// JournalMagic begins a journal.
const JournalMagic = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

// ReadJournal looks at the journal of the database at path.
func ReadJournal(fsx osfile.FS, path string) (Journal, error) {
	b, _, err := osfile.ReadStart(fsx, path+"-journal", 28)
	j := Journal{Live: len(b) > 0 && b[0] != 0}
	if len(b) == 28 && string(b[:8]) == JournalMagic {
		j.Valid = true
		j.Pages = binary.BigEndian.Uint32(b[16:])
	}
	return j, err
}

// WAL is SQLite's write-ahead log, FILE-wal
// (https://sqlite.org/fileformat2.html#the_write_ahead_log).
type WAL struct {
	Present bool
	Open    bool // not empty: SQLite opens it in any journal mode; it ignores an empty one
	Frames  bool // longer than its header
	Valid   bool // it has frames and begins like a log: SQLite may replay them
	Foreign bool // valid, but in a version of the format that SQLite does not know
}

// The format of a -wal.
const (
	WALFormat      = 3007000
	WALMagicLittle = 0x377f0682 // little-endian checksums; with bit 0 set, big-endian ones
	WALHeaderSize  = 32         // in bytes
)

// ReadWAL looks at the -wal of the database at path.
func ReadWAL(fsx osfile.FS, path string) (WAL, error) {
	b, n, err := osfile.ReadStart(fsx, path+"-wal", WALHeaderSize)
	w := WAL{Present: n >= 0, Open: n > 0, Frames: n > WALHeaderSize}
	if w.Frames && len(b) == WALHeaderSize {
		w.Valid = binary.BigEndian.Uint32(b)&^1 == WALMagicLittle
		w.Foreign = w.Valid && binary.BigEndian.Uint32(b[4:]) != WALFormat
	}
	return w, err
}
