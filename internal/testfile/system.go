//go:build cgo && libsqlite3

package testfile

// SystemSQLite is whether SQLite is the system's library, of any version, and not go-sqlite3's.
const SystemSQLite = true
