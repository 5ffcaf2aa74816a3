package image

import (
	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// Check checks the structure of the database that conn has open as "main". The error is an
// [*Error]; it wraps sqlitefile.ErrCorrupt when the structure is damaged. snapshot.Check tells
// what is checked.
func Check(conn *sqlite3.SQLiteConn) error {
	if err := sqlitefile.Check(conn); err != nil {
		return &Error{Op: "check", Err: err}
	}
	return nil
}
