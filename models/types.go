package models

import (
	"database/sql/driver"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"
)

// Limits, in bytes.
const (
	// MaxKeyBytes is the limit of a key. It fits an index of every database, also in
	// InnoDB's old row formats (767 bytes).
	MaxKeyBytes = 512

	// MaxValueBytes is the limit of a value of a [Table]. A statement with such a value
	// fits MariaDB's default max_allowed_packet of 16 MiB, even if every byte is escaped.
	MaxValueBytes = 4 << 20

	// MaxNameBytes is the limit of a table or column name, which is PostgreSQL's.
	MaxNameBytes = 63
)

// Key is a string that identifies a row. Every database compares and sorts it by bytes.
// Its column is TEXT on SQLite, TEXT COLLATE "C" on PostgreSQL and VARBINARY on MySQL.
// MySQL's text collations ignore trailing spaces, and most ignore case.
type Key string

// GormDBDataType is the column type that AutoMigrate uses.
func (Key) GormDBDataType(db *gorm.DB, _ *schema.Field) string { return keyType(db) }

// Value implements [driver.Valuer]. A key that breaks the package's rule is an
// [InvalidError], so it does not reach the database.
func (k Key) Value() (driver.Value, error) {
	if err := checkKey("key", string(k)); err != nil {
		return nil, err
	}
	return string(k), nil
}

// Scan implements [database/sql.Scanner]. NULL becomes the empty key. Scan does not
// check the rule, so it reads rows of other programs.
func (k *Key) Scan(src any) error { return scanString((*string)(k), src) }

// Text is a string that is not a key. Its column is TEXT on SQLite and PostgreSQL. On
// MySQL it is LONGTEXT in utf8mb4, with any default character set of the database.
type Text string

// GormDBDataType is the column type that AutoMigrate uses.
func (Text) GormDBDataType(db *gorm.DB, _ *schema.Field) string { return textType(db) }

// Value implements [driver.Valuer]. A text that breaks the package's rule is an
// [InvalidError], so it does not reach the database.
func (t Text) Value() (driver.Value, error) {
	if err := checkText("text", string(t), MaxValueBytes); err != nil {
		return nil, err
	}
	return string(t), nil
}

// Scan implements [database/sql.Scanner]. NULL becomes the empty text. Scan does not
// check the rule, so it reads rows of other programs.
func (t *Text) Scan(src any) error { return scanString((*string)(t), src) }

func scanString(dst *string, src any) error {
	switch v := src.(type) {
	case nil:
		*dst = ""
	case string:
		*dst = v
	case []byte:
		*dst = string(v)
	case int64, float64, bool:
		*dst = fmt.Sprint(v) // a column of SQLite holds values of any type
	default:
		return fmt.Errorf("models: cannot read a %T as text", src)
	}
	return nil
}

// checkText checks the rule for text.
func checkText(field, s string, most int) error {
	switch {
	case len(s) > most:
		return &InvalidError{field, fmt.Sprintf("is %d bytes long, at most %d are allowed", len(s), most)}
	case strings.IndexByte(s, 0) >= 0:
		return &InvalidError{field, "contains a NUL byte"}
	case !utf8.ValidString(s):
		return &InvalidError{field, "is not valid UTF-8"}
	}
	return nil
}

// checkKey checks the rule for keys. The empty key is valid.
func checkKey(field, s string) error { return checkText(field, s, MaxKeyBytes) }

// checkKeyNotEmpty checks the rule for user names and slugs, which are not empty.
func checkKeyNotEmpty(field, s string) error {
	if s == "" {
		return &InvalidError{field, "is empty"}
	}
	return checkKey(field, s)
}

// checkYear checks that a time is in the range of MySQL's type.
func checkYear(field string, t time.Time) error {
	if y := t.UTC().Year(); y < 1000 || y > 9999 {
		return &InvalidError{field, fmt.Sprintf("is in the year %d, 1000 to 9999 are allowed", y)}
	}
	return nil
}

// checkName checks the rule for table and column names. Upper case is invalid, because
// "Users" and "users" are one table on SQLite and two on PostgreSQL.
func checkName(field, s string) error {
	switch {
	case s == "":
		return &InvalidError{field, "is empty"}
	case len(s) > MaxNameBytes:
		return &InvalidError{field, fmt.Sprintf("is %d bytes long, at most %d are allowed", len(s), MaxNameBytes)}
	}
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return &InvalidError{field, fmt.Sprintf("%s has a character other than a-z, 0-9 and _", brief(s))}
		}
	}
	if s[0] >= '0' && s[0] <= '9' {
		return &InvalidError{field, fmt.Sprintf("%q starts with a digit", s)}
	}
	return nil
}
