//go:build cgo

package models

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
)

// Ensure that a text is taken for a number if SQLite's NUMERIC affinity takes it for one.
func TestLooksNumeric(t *testing.T) {
	db, err := gorm.Open(sqlite.Open(filepath.Join(t.TempDir(), "test.db")), &gorm.Config{})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	defer pool.Close()
	require.NoError(t, db.Exec("CREATE TABLE t (k INTEGER PRIMARY KEY, v JSON)").Error)
	parts := []string{"", " ", "\t", "\f", "\u00a0", "\x00", "+", "-", ".", "1", "05", "e", "E", "e+", "9e999", "x", "0x1", "_", "inf", "NaN", "Infinity", ":", "1-2"}
	var all []string
	for _, a := range parts {
		var some []any
		for _, b := range parts {
			for _, c := range parts {
				all, some = append(all, a+b+c), append(some, a+b+c)
			}
		}
		require.NoError(t, db.Exec("INSERT INTO t (v) VALUES "+strings.TrimSuffix(strings.Repeat("(?), ", len(some)), ", "), some...).Error)
	}
	var kinds []string
	require.NoError(t, db.Raw("SELECT typeof(v) FROM t ORDER BY k").Scan(&kinds).Error)
	require.Len(t, kinds, len(all))
	for i, text := range all {
		require.Equal(t, kinds[i] != "text", looksNumeric(text), "%q", text)
	}
}
