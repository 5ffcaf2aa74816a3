// Package fileconn makes connections, of database/sql/driver, to a database file: the
// role of a tool. They are those of go-sqlite3, through a VFS that keeps them out of a
// server's way. Package driver has the way to here.
package fileconn
