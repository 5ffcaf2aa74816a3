// Package sqlitefile reads the files of SQLite: the header of a database, its
// journal and -wal, and the identity of its file. [Conn] is a connection of SQLite to such
// a file. The package writes nothing by itself.
package sqlitefile
