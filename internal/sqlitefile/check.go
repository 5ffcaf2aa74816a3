//go:build cgo

package sqlitefile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// Check checks the database that conn has open as "main".
func Check(conn *sqlite3.SQLiteConn) error { return (&Conn{conn}).Check() }

func (d *Conn) Check() error {
	// CHECK constraints are about data, may call functions that are not
	// registered, and cost time.
	ignored, err := d.QueryInt("PRAGMA ignore_check_constraints")
	if err != nil {
		return err
	}
	if ignored == 0 {
		if err := d.Exec("PRAGMA ignore_check_constraints=ON"); err != nil {
			return err
		}
		defer d.Exec("PRAGMA ignore_check_constraints=OFF")
	}
	err = quickCheck(d, "")
	if !isSQLError(err) {
		return err
	}
	// One table needs what this connection lacks, and the statement for the
	// whole database does not even compile: go table by table. The schema
	// table stands for the free list.
	names := []string{"sqlite_schema"}
	_, err = d.Find("SELECT name FROM main.sqlite_schema WHERE type='table'", func(name string) bool {
		names = append(names, name)
		return false
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := quickCheck(d, name); err != nil && !isSQLError(err) {
			return err
		}
	}
	return nil
}

// isSQLError reports SQLITE_ERROR: a missing function, collation or module.
func isSQLError(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.Code == sqlite3.ErrError
}

// quickCheck checks one table, or everything if its name is empty.
func quickCheck(d *Conn, table string) error {
	// The number of rows is limited by default, since each damaged page
	// would give one. Damage found in the B-trees comes first, so a first
	// hundred rows that are only about values mean that the trees are sound.
	const limit = 100
	query := fmt.Sprintf("PRAGMA main.quick_check(%d)", limit)
	if table != "" {
		query = "PRAGMA main.quick_check('" + strings.ReplaceAll(table, "'", "''") + "')"
	}
	n := 0
	damage := func(row string) bool { n++; return isDamage(row) }
	row, err := d.Find(query, damage)
	if err == nil && row == "" && n >= limit && table == "" {
		// Rows about values may have used up the limit before a damaged
		// record was met.
		row, err = d.Find("PRAGMA main.quick_check(2147483647)", damage)
	}
	if err == nil && row != "" {
		err = fmt.Errorf("%w: %s", ErrCorrupt, strings.TrimPrefix(row, "*** in database main ***\n"))
	}
	return err
}

// harmless are the beginnings of those rows of quick_check that do not tell of
// a damaged structure: every text in the code of PRAGMA quick_check and of the
// built-in virtual tables (SQLite 3.54.1, sqlite3-binding.c, case
// PragTyp_INTEGRITY_CHECK) that is about values. What is not known is damage.
var harmless = []string{
	"NULL value in ",
	"NUMERIC value in ",
	"TEXT value in ",
	"non-INT value in ", // non-…: STRICT tables
	"non-INTEGER value in ",
	"non-REAL value in ",
	"non-TEXT value in ",
	"non-BLOB value in ",
	"non-ANY value in ",
	"CHECK constraint failed in ",
	"non-unique entry in index ",
	"unable to validate the inverted index for FTS",
	"malformed inverted index for FTS",
	"In RTree ",
}

func isDamage(row string) bool {
	if row == "ok" {
		return false
	}
	for _, h := range harmless {
		if strings.HasPrefix(row, h) {
			return false
		}
	}
	return true
}
