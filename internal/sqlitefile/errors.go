package sqlitefile

import (
	"errors"
)

// ErrNotADatabase: the file does not begin like a SQLite database, or like
// one of a later format than this library knows.
var ErrNotADatabase = errors.New("not a SQLite database")

// ErrTruncated: the file is shorter than its header says, or does not end
// on a page boundary.
var ErrTruncated = errors.New("database file is truncated")

// ErrCorrupt: the structure of the database is damaged.
var ErrCorrupt = errors.New("database is corrupt")

// ErrSideFile: a -wal or -journal stands beside the file, or where the
// file is missing, that does not belong to it, or whose format SQLite does
// not know. SQLite would replay or delete it, or cannot; what is wanted is
// for a human to say.
var ErrSideFile = errors.New("the -wal or -journal does not belong to this database")

// ErrBusy: another program held the file for longer than Open waits, or
// wrote to it meanwhile.
var ErrBusy = errors.New("another program is using the database file")
