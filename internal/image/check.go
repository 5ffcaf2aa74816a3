package image

import (
	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// Check reads the whole database that conn has open as "main" and reports
// whether its structure is sound. It returns nil or an [*Error], which wraps
// [ErrCorrupt] when the structure is damaged. Nothing is written.
//
// It runs PRAGMA quick_check, so an index is checked for its shape and number
// of entries but not compared with its table. Not an error, because SQLite
// itself opens and uses such databases:
//
//   - values that break a constraint or are not of their column's type;
//   - a full-text or R*Tree index that does not match its content;
//   - a table whose collation, function or module is not registered on conn:
//     it is left out.
func Check(conn *sqlite3.SQLiteConn) error {
	if err := sqlitefile.Check(conn); err != nil {
		return &Error{Op: "check", Err: err}
	}
	return nil
}
