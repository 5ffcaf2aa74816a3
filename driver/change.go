package driver

import "github.com/sqlite-mem/sqlite-mem/internal/store"

// Change says what one or more commits may have changed: see [Watch]. Its fields:
//
//	First  uint64   // number of the first of the commits
//	Last   uint64   // number of the last
//	Tables []string // names of the tables, sorted; empty if All is true
//	All    bool     // any table may have changed
//
// Its method Has(tables ...string) bool reports whether one of the tables may have changed.
//
// Commits are numbered from 1 on, which stands for the state that was loaded. Numbers of
// another server, or after a restart, are others. A commit that changed nothing has no
// number. Names of tables are those of CREATE TABLE, without the name of the database.
type Change = store.Change
