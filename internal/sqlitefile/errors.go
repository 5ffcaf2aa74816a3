package sqlitefile

import (
	"errors"
)

// ErrNotADatabase: the file does not begin like a SQLite database, or its format is later
// than this library knows.
var ErrNotADatabase = errors.New("not a SQLite database")

// ErrTruncated: the file is shorter than its header says, or does not end on a page
// boundary.
var ErrTruncated = errors.New("database file is truncated")

// ErrCorrupt: the structure of the database is damaged.
var ErrCorrupt = errors.New("database is corrupt")

// ErrSideFile: there is a -wal or -journal that does not belong to the file, or whose format
// SQLite does not know; or the file itself is missing.
var ErrSideFile = errors.New("the -wal or -journal does not belong to this database")

// ErrBusy: another program holds the file, or has written to it meanwhile.
var ErrBusy = errors.New("another program is using the database file")
