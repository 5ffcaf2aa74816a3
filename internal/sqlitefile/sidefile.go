package sqlitefile

import (
	"encoding/binary"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// A journal is the rollback journal <file>-journal
// (https://sqlite.org/fileformat2.html#the_rollback_journal).
type journal struct {
	present bool

	// Live: the first byte is not zero, which is SQLite's own test: it will
	// roll back, or at least delete, what is there. An empty journal and one
	// with its header zeroed are the normal leftovers of the journal modes
	// TRUNCATE and PERSIST.
	Live bool

	// Valid: it begins like a journal, so a rollback can change the file.
	Valid bool

	// Pages is how many the database had before the transaction.
	Pages uint32
}

const JournalMagic = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

func ReadJournal(fsx osfile.FS, path string) (journal, error) {
	b, n, err := osfile.ReadStart(fsx, path+"-journal", 28)
	j := journal{present: n >= 0, Live: len(b) > 0 && b[0] != 0}
	if len(b) == 28 && string(b[:8]) == JournalMagic {
		j.Valid = true
		j.Pages = binary.BigEndian.Uint32(b[16:])
	}
	return j, err
}

// A WAL is the write-ahead log <file>-wal
// (https://sqlite.org/fileformat2.html#the_write_ahead_log).
type WAL struct {
	Present bool
	Open    bool // not empty: SQLite opens it, whatever the mode of the file; an empty one it takes for none
	Frames  bool // longer than its header
	Valid   bool // frames, and it begins like a log: SQLite may replay them
	Foreign bool // valid, but of another version of the format than SQLite knows
}

// Of the format of a -wal.
const (
	WALFormat      = 3007000
	WALMagicLittle = 0x377f0682 // little-endian checksums; with bit 0 set, big-endian ones
	WALHeaderSize  = 32         // in bytes
)

func ReadWAL(fsx osfile.FS, path string) (WAL, error) {
	b, n, err := osfile.ReadStart(fsx, path+"-wal", WALHeaderSize)
	w := WAL{Present: n >= 0, Open: n > 0, Frames: n > WALHeaderSize}
	if w.Frames && len(b) == WALHeaderSize {
		w.Valid = binary.BigEndian.Uint32(b)&^1 == WALMagicLittle
		w.Foreign = w.Valid && binary.BigEndian.Uint32(b[4:]) != WALFormat
	}
	return w, err
}
