//go:build cgo

package memvfs

/*
#include "memvfs.h"
*/
import "C"

import "github.com/mattn/go-sqlite3"

// Renewable comes at the end of the set-up of a new connection that may be renewed.
func (c *Conn) Renewable() error {
	if rc := C.memvfs_conn_renewable(c.c); rc != C.SQLITE_OK {
		return sqlite3.Error{Code: sqlite3.ErrNo(rc & 0xff), ExtendedCode: sqlite3.ErrNoExtended(rc)}
	}
	return nil
}

// Altered reports whether a statement since Renewable may have changed what Renew does not
// set back: a pragma, ATTACH, a new tokenizer, or any use of the temporary database.
func (c *Conn) Altered() bool { return C.memvfs_conn_altered(c.c) != 0 }

// Renew sets last_insert_rowid(), changes() and total_changes() to 0. So a clean connection
// that is not Altered is as good as a new one.
func (c *Conn) Renew() { C.memvfs_conn_renew(c.c) }
