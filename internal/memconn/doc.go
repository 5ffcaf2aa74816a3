// Package memconn makes connections, of database/sql/driver, to a database in memory.
// It has a connection's statements, rows and transactions, and takes the write lock
// for what writes. Package store has the database, package driver the way to here.
package memconn
