package snapshot

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
)

// A journal is the rollback journal <file>-journal
// (https://sqlite.org/fileformat2.html#the_rollback_journal).
type journal struct {
	present bool

	// live: the first byte is not zero, which is SQLite's own test: it will
	// roll back, or at least delete, what is there. An empty journal and one
	// with its header zeroed are the normal leftovers of the journal modes
	// TRUNCATE and PERSIST.
	live bool

	// valid: it begins like a journal, so a rollback can change the file.
	valid bool

	// pages is how many the database had before the transaction.
	pages uint32
}

const journalMagic = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

func readJournal(fsx fsys, path string) (journal, error) {
	b, n, err := readStart(fsx, path+"-journal", 28)
	j := journal{present: n >= 0, live: len(b) > 0 && b[0] != 0}
	if len(b) == 28 && string(b[:8]) == journalMagic {
		j.valid = true
		j.pages = binary.BigEndian.Uint32(b[16:])
	}
	return j, err
}

// A wal is the write-ahead log <file>-wal
// (https://sqlite.org/fileformat2.html#the_write_ahead_log).
type wal struct {
	present bool
	open    bool // not empty: SQLite opens it, whatever the mode of the file; an empty one it takes for none
	frames  bool // longer than its header
	valid   bool // frames, and it begins like a log: SQLite may replay them
	foreign bool // valid, but of another version of the format than SQLite knows
}

func readWAL(fsx fsys, path string) (wal, error) {
	b, n, err := readStart(fsx, path+"-wal", walHeaderSize)
	w := wal{present: n >= 0, open: n > 0, frames: n > walHeaderSize}
	if w.frames && len(b) == walHeaderSize {
		w.valid = binary.BigEndian.Uint32(b)&^1 == walMagicLittle
		w.foreign = w.valid && binary.BigEndian.Uint32(b[4:]) != walFormat
	}
	return w, err
}

// readStart returns up to n bytes from the start of a file, and its size, -1
// if there is no such file.
func readStart(fsx fsys, name string, n int) ([]byte, int64, error) {
	info, err := fsx.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, -1, nil
	}
	if err != nil {
		return nil, -1, err
	}
	if err := regular(name, info); err != nil {
		return nil, -1, err
	}
	f, err := fsx.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, -1, nil
	}
	if err != nil {
		return nil, -1, err
	}
	b := make([]byte, n)
	n, err = f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], info.Size(), errors.Join(err, f.Close())
}
