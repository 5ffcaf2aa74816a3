package store

import "errors"

// ErrOptions is wrapped by the error of an Open whose options differ from those
// of the store that is open.
var ErrOptions = errors.New("the database is already open in this process with other options")

// ErrNoFile is the error of a Sync of a database that is in memory only.
var ErrNoFile = errors.New("the database is in memory only, there is no file to sync to")
