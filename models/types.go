package models

import (
	"database/sql/driver"
	"fmt"
	"strings"
	"unicode/utf8"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"
)

// Limits, in bytes.
const (
	// MaxKeyBytes is the longest key: it fits the index of every database,
	// InnoDB's old row formats (767 bytes) included.
	MaxKeyBytes = 512

	// MaxValueBytes is the longest value of a [Table]. A statement with it fits
	// MariaDB's default max_allowed_packet of 16 MiB even when every byte of the
	// value has to be escaped.
	MaxValueBytes = 4 << 20

	// MaxNameBytes is the longest table or column name: PostgreSQL's limit.
	MaxNameBytes = 63
)

// Key is a string that identifies a row: compared and ordered byte by byte on
// every database. Its column is TEXT on SQLite, TEXT COLLATE "C" on PostgreSQL
// and VARBINARY on MySQL, whose text collations ignore trailing spaces and most of
// them case.
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

// Scan implements [database/sql.Scanner]. NULL is the empty key; nothing is
// refused, for rows that other programs wrote.
func (k *Key) Scan(src any) error { return scanString((*string)(k), src) }

// Text is a string that is not a key. Its column is TEXT on SQLite and PostgreSQL
// and LONGTEXT in utf8mb4 on MySQL, whatever the database's default character set.
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

// Scan implements [database/sql.Scanner]. NULL is the empty text; nothing is
// refused, for rows that other programs wrote.
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
		*dst = fmt.Sprint(v) // SQLite columns hold what was written, whatever their type
	default:
		return fmt.Errorf("models: cannot read a %T as text", src)
	}
	return nil
}

// checkText holds the rule for everything that is stored as text.
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

// checkKey holds the rule for keys. The empty key is one, where the caller does
// not refuse it.
func checkKey(field, s string) error { return checkText(field, s, MaxKeyBytes) }

// checkKeyNotEmpty is checkKey for user names and slugs.
func checkKeyNotEmpty(field, s string) error {
	if s == "" {
		return &InvalidError{field, "is empty"}
	}
	return checkKey(field, s)
}

// checkName holds the rule for table and column names. Upper case is refused
// because "Users" and "users" are one table on SQLite and two on PostgreSQL.
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
