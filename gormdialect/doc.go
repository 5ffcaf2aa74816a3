// Package gormdialect is GORM's dialect for sqlite-mem: a SQLite file served from
// memory.
//
//	db, err := gorm.Open(gormdialect.Open("server.db?sqlite_sync_interval=5m"), &gorm.Config{})
//
// The data source name is that of package driver, which this package imports and
// so registers.
//
// It is gorm.io/driver/sqlite with another driver below. Everything that works
// there works here, on the same files; what differs is what it leaves undone:
//
//   - SAVEPOINT and ROLLBACK TO return their errors, so that a nested transaction
//     that could not begin or could not be undone is seen
//   - errors are translated (gorm.Config.TranslateError) when they are wrapped, too,
//     also those of CHECK constraints and rowids; the original stays in the chain
//   - migrations that rebuild a table (a changed or dropped column, a constraint)
//     run on one connection with foreign keys off, whatever the pool does, so that
//     rows which refer to the table are not deleted with the old one; and they keep
//     its indexes and triggers
//
// [Sync] and [Stats] reach the driver below a gorm.DB.
package gormdialect
