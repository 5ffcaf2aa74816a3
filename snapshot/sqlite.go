//go:build cgo

package snapshot

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// disk is a SQLite connection to a file on the disk.
type disk struct{ conn *sqlite3.SQLiteConn }

// openDisk opens path, which must exist, with the URI parameters given.
func openDisk(path, params string) (*disk, error) {
	c, err := (&sqlite3.SQLiteDriver{}).Open(fileURI(path) + "?" + params)
	if err != nil {
		return nil, classify(err)
	}
	return &disk{c.(*sqlite3.SQLiteConn)}, nil
}

func (d *disk) close() error { return classify(d.conn.Close()) }

func (d *disk) exec(query string) error {
	_, err := d.conn.Exec(query, nil)
	return classify(err)
}

// queryInt returns the first column of the first row.
func (d *disk) queryInt(query string) (int64, error) {
	rows, err := d.conn.Query(query, nil)
	if err != nil {
		return 0, classify(err)
	}
	dest := make([]driver.Value, len(rows.Columns()))
	err = rows.Next(dest)
	err = errors.Join(classify(err), classify(rows.Close()))
	if err != nil {
		return 0, err
	}
	n, ok := dest[0].(int64)
	if !ok {
		return 0, fmt.Errorf("%s: not an integer: %v", query, dest[0])
	}
	return n, nil
}

// fileURI returns path, which is absolute, as SQLite reads it in a URI. What
// is not plainly harmless is percent-encoded, byte by byte.
func fileURI(path string) string {
	const hex = "0123456789abcdef"
	path = filepath.ToSlash(path)
	var b strings.Builder
	b.WriteString("file://")
	if !strings.HasPrefix(path, "/") {
		b.WriteByte('/') // C:/ on Windows
	}
	for i := range len(path) {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("/-_.~:", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// classify wraps an error of SQLite in ours of the same meaning. The
// sqlite3.Error stays within reach of errors.As.
func classify(err error) error {
	var e sqlite3.Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrProtocol:
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case sqlite3.ErrNotADB:
		return fmt.Errorf("%w: %w", ErrNotADatabase, err)
	case sqlite3.ErrCorrupt:
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

func isCantOpen(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.Code == sqlite3.ErrCantOpen
}

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
	if err := check(&disk{conn}); err != nil {
		return &Error{Op: "check", Err: err}
	}
	return nil
}

func check(d *disk) error {
	// CHECK constraints are about data, may call functions that are not
	// registered, and cost time.
	ignored, err := d.queryInt("PRAGMA ignore_check_constraints")
	if err != nil {
		return err
	}
	if ignored == 0 {
		if err := d.exec("PRAGMA ignore_check_constraints=ON"); err != nil {
			return err
		}
		defer d.exec("PRAGMA ignore_check_constraints=OFF")
	}
	err = quickCheck(d, "")
	if !isSQLError(err) {
		return err
	}
	// One table needs what this connection lacks, and the statement for the
	// whole database does not even compile: go table by table. The schema
	// table stands for the free list.
	names := []string{"sqlite_schema"}
	_, err = d.find("SELECT name FROM main.sqlite_schema WHERE type='table'", func(name string) bool {
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
func quickCheck(d *disk, table string) error {
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
	row, err := d.find(query, damage)
	if err == nil && row == "" && n >= limit && table == "" {
		// Rows about values may have used up the limit before a damaged
		// record was met.
		row, err = d.find("PRAGMA main.quick_check(2147483647)", damage)
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

// find returns the first row that is wanted, of one text column, and leaves
// the rest unread.
func (d *disk) find(query string, wanted func(string) bool) (string, error) {
	rows, err := d.conn.Query(query, nil)
	if err != nil {
		return "", classify(err)
	}
	dest := make([]driver.Value, len(rows.Columns()))
	found := ""
	for found == "" {
		if err = rows.Next(dest); err != nil {
			break
		}
		if s := fmt.Sprint(dest[0]); wanted(s) {
			found = s
		}
	}
	if err == io.EOF {
		err = nil
	}
	return found, errors.Join(classify(err), classify(rows.Close()))
}
