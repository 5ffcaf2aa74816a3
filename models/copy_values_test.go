//go:build cgo

package models_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/models"
	"github.com/sqlite-mem/sqlite-mem/models/internal/suite"
)

// pair opens a source and a target with the official dialector and with sqlite-mem, and
// calls test with each pair.
func pair(t *testing.T, test func(t *testing.T, from, to *gorm.DB)) {
	for driver, open := range map[string]suite.Open{"official": openSQLite, "sqlite-mem": openMem} {
		t.Run(driver, func(t *testing.T) { test(t, open(t, quiet()), open(t, quiet())) })
	}
}

// must runs statements.
func must(t *testing.T, db *gorm.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		require.NoError(t, db.Exec(statement).Error, statement)
	}
}

// texts returns the result of a query for one column.
func texts(t *testing.T, db *gorm.DB, query string) (all []string) {
	t.Helper()
	require.NoError(t, db.Raw(query).Scan(&all).Error)
	return all
}

// Ensure that a number in a BOOLEAN column stays what it is. go-sqlite3 reads it as
// false or true.
func TestCopy_boolean(t *testing.T) {
	pair(t, func(t *testing.T, from, to *gorm.DB) {
		must(t, from, "CREATE TABLE t (k INTEGER PRIMARY KEY, v BOOLEAN)", "INSERT INTO t VALUES (1, 2), (2, -1), (3, 0), (4, 1)")
		must(t, to, "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)")
		_, err := models.Copy(t.Context(), from, to, models.CopyOptions{})
		require.NoError(t, err)
		require.Equal(t, []string{"2", "-1", "0", "1"}, texts(t, to, "SELECT v FROM t ORDER BY k"))
	})
}
