package store

import (
	"slices"
	"strings"
)

// Change says what commits may have changed.
type Change struct {
	First  uint64   `json:"first"`            // number of the first of the commits
	Last   uint64   `json:"last"`             // number of the last
	Tables []string `json:"tables,omitempty"` // sorted; empty with All
	All    bool     `json:"all,omitempty"`    // any table
}

// Has reports whether one of the tables may have changed. As in SQL, A to Z are the same as
// a to z.
func (c Change) Has(tables ...string) bool {
	return c.All || slices.ContainsFunc(tables, func(want string) bool {
		return slices.ContainsFunc(c.Tables, func(name string) bool { return strings.EqualFold(name, want) })
	})
}
