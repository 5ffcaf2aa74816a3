//go:build cgo

package models_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/gormdialect"
	"github.com/sqlite-mem/sqlite-mem/models/internal/suite"
)

// openSQLite opens a new file with GORM's official dialector.
func openSQLite(t *testing.T, config *gorm.Config) *gorm.DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := gorm.Open(sqlite.Open("file:"+path+"?_busy_timeout=60000&_journal_mode=WAL&_synchronous=OFF&_txlock=immediate"), config)
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(8)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	return db
}

// openMem opens a new file with sqlite-mem.
func openMem(t *testing.T, config *gorm.Config) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(gormdialect.Open(filepath.Join(t.TempDir(), "test.db")), config)
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	return db
}

// Ensure that the models pass the suite on a SQLite file, and that Copy copies from
// there to sqlite-mem.
func TestSQLite(t *testing.T) {
	suite.Run(t, openSQLite, openMem)
}

// Ensure that the models pass the suite on sqlite-mem, and that Copy copies from there
// to a SQLite file.
func TestSQLiteMem(t *testing.T) {
	suite.Run(t, openMem, openSQLite)
}
