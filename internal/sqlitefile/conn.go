//go:build cgo

package sqlitefile

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// Conn is a connection of SQLite to a file on the disk. Errors that mean the same as one of
// this package wrap it.
type Conn struct{ conn *sqlite3.SQLiteConn }

// Open opens the database at path, which must exist. params are those of its URI, without
// the question mark.
func Open(path, params string) (*Conn, error) {
	c, err := (&sqlite3.SQLiteDriver{}).Open(URI(path) + "?" + params)
	if err != nil {
		return nil, classify(err)
	}
	d := &Conn{c.(*sqlite3.SQLiteConn)}
	if err := d.Exec(FullSync); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close closes the connection.
func (d *Conn) Close() error { return classify(d.conn.Close()) }

// Exec runs a statement.
func (d *Conn) Exec(query string) error {
	_, err := d.conn.Exec(query, nil)
	return classify(err)
}

// QueryInt returns the first column of the first row of a query.
func (d *Conn) QueryInt(query string) (int64, error) {
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

// URI returns path, which is absolute, as SQLite reads it in a URI. It percent-encodes every
// byte that could mean something else.
func URI(path string) string {
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

// classify wraps an error of SQLite in the error of this package with the same meaning.
// errors.As still finds the sqlite3.Error.
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

// IsCantOpen reports SQLITE_CANTOPEN.
func IsCantOpen(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.Code == sqlite3.ErrCantOpen
}

// Find returns the first row that is wanted of a query with one text column; "" if there is
// none. It does not read the rest. The end of ctx interrupts the query; the error is that of ctx.
func (d *Conn) Find(ctx context.Context, query string, wanted func(string) bool) (string, error) {
	rows, err := d.conn.QueryContext(ctx, query, nil)
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
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
