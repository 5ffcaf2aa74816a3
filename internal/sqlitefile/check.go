//go:build cgo

package sqlitefile

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// Check checks the structure of the database that conn has open as "main". See
// snapshot.Check.
func Check(conn *sqlite3.SQLiteConn) error { return (&Conn{conn}).Check(context.Background()) }

// Check checks the structure of the database. The error wraps ErrCorrupt if it is damaged. The
// end of ctx ends the check with the error of ctx.
func (d *Conn) Check(ctx context.Context) (err error) {
	// CHECK constraints are about values, may call functions that are not registered, and
	// cost time.
	ignored, err := d.QueryInt("PRAGMA ignore_check_constraints")
	if err != nil {
		return err
	}
	if ignored == 0 {
		if err := d.Exec("PRAGMA ignore_check_constraints=ON"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.Exec("PRAGMA ignore_check_constraints=OFF")) }()
	}
	err = quickCheck(ctx, d, "")
	if !isSQLError(err) {
		return err
	}
	// A table needs something that this connection lacks, and so the statement for the
	// whole database does not compile. Go table by table; the schema table stands for the
	// free list.
	names := []string{"sqlite_schema"}
	_, err = d.Find(ctx, "SELECT name FROM main.sqlite_schema WHERE type='table'", func(name string) bool {
		names = append(names, name)
		return false
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := quickCheck(ctx, d, name); err != nil && !isSQLError(err) {
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
func quickCheck(ctx context.Context, d *Conn, table string) error {
	// Each damaged page gives a row, so their number is limited. Damage of the B-trees
	// comes first: if the first hundred rows are about values only, the trees are sound.
	const limit = 100
	query := fmt.Sprintf("PRAGMA main.quick_check(%d)", limit)
	if table != "" {
		query = "PRAGMA main.quick_check('" + strings.ReplaceAll(table, "'", "''") + "')"
	}
	n := 0
	damage := func(row string) bool { n++; return isDamage(row) }
	row, err := d.Find(ctx, query, damage)
	if err == nil && row == "" && n >= limit && table == "" {
		// Rows about values may have reached the limit before a damaged record.
		row, err = d.Find(ctx, "PRAGMA main.quick_check(2147483647)", damage)
	}
	if err == nil && row != "" {
		err = fmt.Errorf("%w: %s", ErrCorrupt, strings.TrimPrefix(row, "*** in database main ***\n"))
	}
	return err
}

// harmless are the beginnings of the rows of quick_check that are about values and not about
// the structure. The list is of every such text in PRAGMA quick_check and in the built-in
// virtual tables (SQLite 3.54.1, sqlite3-binding.c, case PragTyp_INTEGRITY_CHECK). Any
// other row means damage.
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
