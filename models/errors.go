package models

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Errors of the stores.
var (
	// ErrNotFound means that the user, contact, blocked user, token or table does not exist.
	ErrNotFound = errors.New("not found")

	// ErrSlugTaken means that a contact or a reservation has the slug already.
	ErrSlugTaken = errors.New("slug is taken")

	// ErrQuotaExceeded matches every [QuotaError].
	ErrQuotaExceeded = errors.New("quota exceeded")

	// ErrInvalid matches every [InvalidError].
	ErrInvalid = errors.New("invalid input")
)

// Errors of [Copy].
var (
	// ErrConflict matches every [ConflictError].
	ErrConflict = errors.New("target holds other data")

	// ErrNotEqual means that [Copy] read the target after the last batch, and found
	// other content than the source's. Another program writes to the target.
	ErrNotEqual = errors.New("target differs from source after the copy")
)

// InvalidError means that an input breaks a rule of this package. The database has not
// seen the input. The error is the same on every database. From [Copy] it means that the
// source or the target has something that cannot be copied.
type InvalidError struct {
	// Field names the input: a column (username, max_storage, slug, url, …) or a parameter
	// (table, key column, limit, …).
	Field string

	// Reason continues the sentence that Field begins: "contains a NUL byte".
	Reason string
}

func (e *InvalidError) Error() string { return e.Field + " " + e.Reason }

// Is reports whether target is [ErrInvalid].
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// QuotaError means that an account may not store more.
type QuotaError struct {
	Username string // the account
	Limit    Limit  // the limit that applies
	Used     int64  // bytes in use, as given to [Quotas.Allow]
	More     int64  // bytes to add, as given to [Quotas.Allow]
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("quota of %s exceeded: %d bytes used, %d more wanted, limit %d (%s)",
		brief(e.Username), e.Used, e.More, e.Limit.Bytes, e.Limit.Source)
}

// Is reports whether target is [ErrQuotaExceeded].
func (e *QuotaError) Is(target error) bool { return target == ErrQuotaExceeded }

// ConflictError means that a table of the target has rows that differ from the source
// of [Copy]. The error of Copy has one for each such table.
type ConflictError struct {
	Table  string   // the table of the target
	Differ int64    // number of rows whose key is in the source, with other content
	Extra  int64    // number of rows whose key is not in the source
	Keys   []string // the first keys, at most 10 of each kind
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
		fmt.Fprintf(&b, " %d rows are not in the source (CopyOptions.Prune deletes them, Merge keeps them)", e.Extra)
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

// brief quotes a key for a message: one short line without control characters.
func brief(key string) string {
	const most = 80
	if len(key) > most {
		return strconv.QuoteToASCII(key[:most]) + "…"
	}
	return strconv.Quote(key)
}
