package models

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// What a call asked for.
var (
	// ErrNotFound says that the user, slug or table asked for does not exist.
	ErrNotFound = errors.New("not found")

	// ErrSlugTaken says that a contact with the slug exists already, be it a
	// share link or a reservation.
	ErrSlugTaken = errors.New("slug is taken")

	// ErrQuotaExceeded is what every [QuotaError] is.
	ErrQuotaExceeded = errors.New("quota exceeded")

	// ErrInvalid is what every [InvalidError] is.
	ErrInvalid = errors.New("invalid input")
)

// What [Copy] found.
var (
	// ErrConflict is what every [ConflictError] is.
	ErrConflict = errors.New("target holds other data")

	// ErrNotEqual says that [Copy] wrote everything, read it back, and found
	// other content than the source's: somebody else writes to the target.
	ErrNotEqual = errors.New("target differs from source after the copy")
)

// InvalidError says why an input is refused. It is found before the database sees
// the input, and is the same on every database.
type InvalidError struct {
	// Field is what is wrong: a column's name (username, max_storage, slug, url,
	// name, key, value, created_at) or a parameter's (table, key column, …).
	Field string

	// Reason continues the sentence that Field begins: "contains a NUL byte".
	Reason string
}

func (e *InvalidError) Error() string { return e.Field + " " + e.Reason }

// Is reports whether target is [ErrInvalid].
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// QuotaError says that an account may not store more.
type QuotaError struct {
	Username string // whose quota it is
	Limit    Limit  // the limit in force and where it is from
	Used     int64  // bytes in use, as given to [Quotas.Allow]
	More     int64  // bytes asked for, as given to [Quotas.Allow]
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("quota of %s exceeded: %d bytes used, %d more asked for, limit %d (%s)",
		brief(e.Username), e.Used, e.More, e.Limit.Bytes, e.Limit.Source)
}

// Is reports whether target is [ErrQuotaExceeded].
func (e *QuotaError) Is(target error) bool { return target == ErrQuotaExceeded }

// ConflictError says that the target of [Copy] holds rows which the source does
// not have in this form, in one table. The error of Copy holds one for each table.
type ConflictError struct {
	Table  string   // of the target
	Differ int64    // rows with a key of the source and other content
	Extra  int64    // rows with a key that the source does not have
	Keys   []string // the first of them, at most 10 of each kind
}

func (e *ConflictError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "target table %s holds other data:", e.Table)
	if e.Differ > 0 {
		fmt.Fprintf(&b, " %d rows differ from the source (CopyOptions.Overwrite replaces them)", e.Differ)
	}
	if e.Extra > 0 {
		if e.Differ > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " %d rows are not in the source (CopyOptions.Prune removes them, Merge keeps them)", e.Extra)
	}
	b.WriteString("; among them")
	for i, key := range e.Keys {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + brief(key))
	}
	return b.String()
}

// Is reports whether target is [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// brief quotes a key for a message: one line, no control characters, not long.
func brief(key string) string {
	const most = 80
	if len(key) > most {
		return strconv.QuoteToASCII(key[:most]) + "…"
	}
	return strconv.Quote(key)
}
