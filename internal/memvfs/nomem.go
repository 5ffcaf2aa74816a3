//go:build cgo

package memvfs

import (
	"fmt"

	"github.com/mattn/go-sqlite3"
)

// #include "memvfs.h"
import "C"

// FailAlloc makes the n-th allocation of the engine from now fail, and with
// forever set all after it as well; 0 ends that. It returns the number of
// allocations since the last call. It is for tests.
func FailAlloc(n int64, forever bool) int64 {
	return int64(C.memvfs_fail_alloc(C.int64_t(n), cbool(forever)))
}

// FaultSQLite lets FailSQLite and LiveSQLite work. It must come before the first
// use of SQLite in the process, and is for tests.
func FaultSQLite() error {
	if rc := C.memvfs_fault_sqlite(); rc != C.SQLITE_OK {
		return fmt.Errorf("memvfs: SQLite is in use already: %w", sqlite3.ErrNo(rc))
	}
	return nil
}

// FailSQLite is FailAlloc for the allocations of SQLite.
func FailSQLite(n int64, forever bool) int64 {
	return int64(C.memvfs_fail_sqlite(C.int64_t(n), cbool(forever)))
}

// LiveSQLite is the number of SQLite's blocks of memory that were not freed.
func LiveSQLite() int64 { return int64(C.memvfs_live_sqlite()) }

// Live is the number of the engine's blocks of memory that were not freed, but for
// pages.
func Live() int64 { return int64(C.memvfs_live()) }
