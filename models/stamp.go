package models

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"gorm.io/gorm"
)

// A stamp reads a time from a column. The zero time stands for NULL.
//
// SQLite has no type for times, and drivers write them as different texts.
// modernc.org/sqlite writes time.Time.String: "2006-01-02 15:04:05.999999999 -0700 MST",
// with " m=+0.1" after a time of time.Now. go-sqlite3 reads that as year 1. So on SQLite
// stampColumn selects the text, and Scan parses it.
type stamp struct{ time.Time }

// Scan implements [database/sql.Scanner].
func (s *stamp) Scan(src any) (err error) {
	switch v := src.(type) {
	case nil:
		s.Time = time.Time{}
	case time.Time:
		s.Time = v.UTC()
	case string:
		s.Time, err = parseTime(v)
	case []byte:
		s.Time, err = parseTime(string(v))
	case int64:
		s.Time = unixTime(v)
	default:
		err = fmt.Errorf("cannot read a %T as a time", src)
	}
	return err
}

// pointer returns the time, or nil for NULL.
func (s stamp) pointer() *time.Time {
	if s.IsZero() {
		return nil
	}
	return &s.Time
}

// stampColumn returns the expression that reads a column of times, with the column's
// name. column is one of ours, and no keyword.
func stampColumn(db *gorm.DB, column string) string {
	if !sqliteDialect(db) {
		return column
	}
	return "CAST(" + column + " AS TEXT) AS " + column
}

// timeLayouts are those of SQLite (https://sqlite.org/lang_datefunc.html#time_values),
// without a time zone. Go reads fractions of a second where a layout has none.
var timeLayouts = []string{
	"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02",
}

// parseTime parses a time that SQLite, go-sqlite3 or modernc.org/sqlite wrote as text.
// A number is a count of seconds or milliseconds. The empty text is the zero time. A
// time without a zone is in UTC.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return unixTime(n), nil
	}
	// time.Time.String: date, time, offset, name of the zone, and perhaps m=±number. The
	// offset says it all, and the name may be anything.
	if parts := strings.Split(s, " "); len(parts) >= 3 {
		if t, err := time.Parse("2006-01-02 15:04:05 -0700", strings.Join(parts[:3], " ")); err == nil {
			return t.UTC(), nil
		}
	}
	for _, layout := range timeLayouts {
		for _, zone := range []string{"", "Z07:00"} {
			if t, err := time.Parse(layout+zone, s); err == nil {
				return t.UTC(), nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("cannot read %s as a time", brief(s))
}

// unixTime returns the time of a number of seconds. A number that is too large for
// seconds is in milliseconds. go-sqlite3 draws the line at the same number.
func unixTime(n int64) time.Time {
	if n > 1e12 || n < -1e12 {
		return time.UnixMilli(n).UTC()
	}
	return time.Unix(n, 0).UTC()
}
