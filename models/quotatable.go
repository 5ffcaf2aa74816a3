package models

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"
)

// The names of the table of quotas. GORM's plural of Quota is quota, so that is the
// table of Madmail's versions in Go (internal/db/models.go of v0.47.1). Madmail's
// version in Rust creates quotas, and uses quota where it exists (quota_table in
// crates/chatmail-db/src/schema.rs of v2.23.0).
const (
	madmailQuotas = "quota"
	ownQuotas     = "quotas"
)

// ErrTwoTables means that a database has both a table quota and a table quotas with
// different rows, so that the limits are not known.
var ErrTwoTables = errors.New("the tables quota and quotas have different rows; " +
	"move the rows to one of them and drop or rename the other")

// quotaTable returns the name of the table of quotas: the one that exists, or quotas if
// none does. Of two tables it returns the one with rows. If both have the same rows, or
// none, it returns quota, as Madmail does.
func quotaTable(db *gorm.DB) (string, error) {
	for _, c := range []struct{ name, other string }{{madmailQuotas, ownQuotas}, {ownQuotas, madmailQuotas}} {
		found, err := hasTable(db, c.name)
		if err != nil {
			return "", err
		}
		if !found {
			return c.other, nil
		}
	}
	equal, err := equalQuotas(db)
	if err != nil {
		return "", err
	}
	// One statement sees one state of both tables.
	var rows struct{ Theirs, Ours, Alike int64 }
	if err := db.Raw("SELECT (SELECT COUNT(*) FROM quota) AS theirs, (SELECT COUNT(*) FROM quotas) AS ours, " +
		"(SELECT COUNT(*) FROM quota JOIN quotas ON " + equal + ") AS alike").Scan(&rows).Error; err != nil {
		return "", err
	}
	switch {
	case rows.Ours == 0 || rows.Theirs == rows.Ours && rows.Theirs == rows.Alike:
		return madmailQuotas, nil
	case rows.Theirs == 0:
		return ownQuotas, nil
	}
	return "", fmt.Errorf("%w (quota has %d rows, quotas %d, and %d are equal)", ErrTwoTables, rows.Theirs, rows.Ours, rows.Alike)
}

// equalQuotas returns the condition that a row of quota equals one of quotas. A column
// that one of the tables does not have is compared with its empty value, and so is
// NULL.
func equalQuotas(db *gorm.DB) (string, error) {
	theirs, err := columnNames(db, madmailQuotas)
	if err != nil {
		return "", err
	}
	ours, err := columnNames(db, ownQuotas)
	if err != nil {
		return "", err
	}
	conditions := []string{"quota.username = quotas.username"}
	for _, c := range []struct{ column, empty string }{
		{"max_storage", "0"}, {"created_at", "0"}, {"first_login_at", "0"}, {"last_login_at", "0"}, {"used_token", "''"},
	} {
		value := func(table string, columns []string) string {
			if !slices.ContainsFunc(columns, func(name string) bool { return strings.EqualFold(name, c.column) }) {
				return c.empty
			}
			return "COALESCE(" + table + "." + c.column + ", " + c.empty + ")"
		}
		conditions = append(conditions, value(madmailQuotas, theirs)+" = "+value(ownQuotas, ours))
	}
	return strings.Join(conditions, " AND "), nil
}
