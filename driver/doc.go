// Package driver is a database/sql driver, named "sqlite-mem", that loads a
// SQLite file into memory, serves a whole pool of connections from there, and
// writes consistent snapshots back to the file: on an interval, on demand and
// on close.
//
//	import _ "github.com/sqlite-mem/sqlite-mem/driver"
//
//	db, err := sql.Open("sqlite-mem", "app.db?sqlite_sync_interval=20m")
//
// SQL, types and errors are those of [github.com/mattn/go-sqlite3], over which
// it is built.
//
// # Data source names
//
// A name is a path with parameters behind a question mark, "app.db?key=value&…",
// in which the path is literal, or a URI, "file:app.db?key=value&…", in which it
// is percent-decoded (https://sqlite.org/uri.html). The names ":memory:",
// "file::memory:", "" and "file:NAME?mode=memory" stand for a database that is
// only in memory: one for each sql.DB, or with cache=shared one for each NAME in
// the process. All connections of an sql.DB see the same database, and it lives
// until the sql.DB is closed.
//
// A parameter that is unknown, given twice, or has a value that cannot be, is an
// error of sql.Open that names it.
//
// # sqlite_in_memory
//
// yes (the default) or no; also true, false, on, off, 1, 0. With no nothing is
// loaded: go-sqlite3 works on the file itself, in the role of a tool.
//
// # sqlite_sync_interval
//
// How often changes are written to the file: a duration of Go's with days in
// front, such as 30s, 20m (the default), 1h, 1d or 1d12h. Nothing is written when
// nothing has changed. 0: never, not when the database is closed either; only
// [Sync] writes. It is the time that a crash can cost, unless there is
// a log.
//
// # sqlite_wal
//
// off (the default), a duration over 0 such as 1s or 100ms, or commit. Not off,
// the pages that commits have changed are written to a log, FILE-memwal, between
// two saves: every so often, or before the commit returns. It is the time that a
// crash can cost; with commit it costs nothing, and commits at the same time
// share one sync of the disk. Each save begins the log anew, and so does a log
// that has become larger than the database (and than 64 MiB) by asking for one.
// A log that a crash has left is read by the next open, whatever sqlite_wal says
// by then. It is refused for a database that is only in memory, and with
// sqlite_sync_interval=0. See [NotDurableError] for a disk that fails.
//
// # sqlite_keep
//
// How many of the states that the file had before are kept beside it: FILE.kept-1 is
// what it was before the last save, FILE.kept-2 before the one before that. 0 (the
// default): none. It is refused for a database that is only in memory. See
// [Config.Keep].
//
// # sqlite_role
//
// One process at a time owns a file, by a lock on FILE.lock that the system
// releases when the process dies. With auto (the default) the first process is
// the server, and any later one a tool, which reads the file as it was saved
// last and is refused to write by an [OwnedError]. With server the database is
// opened in memory or not at all. With tool it is never loaded: beside a server
// the file is read, without one it is read and written, and no server can start
// until the sql.DB is closed. [SetRole] and the environment variable
// SQLITE_MEM_ROLE win over the parameter, in that order.
//
// # sqlite_max_memory
//
// Cap on the size of the database: bytes, or a number with KiB, MiB, GiB or TiB.
// 0 (the default): none. What would make the database grow past it fails with
// SQLITE_FULL; deleting always works. See [Config.MaxMemory].
//
// # _busy_timeout
//
// Longest wait of a writer for its turn, in milliseconds: 60000 by default; 0:
// no wait. Then the error is SQLITE_BUSY. A context ends the wait earlier.
//
// # _txlock
//
// How a transaction begins that may write: immediate (the default), deferred or
// exclusive. See [TxLock].
//
// # _stmt_cache_size
//
// Prepared statements that each connection keeps: 128 by default; 0: none.
//
// # Other parameters
//
// All those of go-sqlite3 (_fk, _loc, _query_only, …) and SQLite's mode, but not
// vfs, nolock and immutable, which make sense for files only. _journal_mode,
// _locking_mode and _synchronous are accepted and mean nothing: a journal in
// memory is kept whatever they say. _mutex is "no" unless it is given.
//
// # Concurrency
//
// Readers never wait: each statement, or transaction, sees the database as it
// was when it began to read. Writers take turns, in the order in which they began to wait, each
// from the beginning of its statement or transaction to its end. A save reads a
// state that it has pinned and holds up nobody. What a long reader costs is the
// memory of the pages that are rewritten while it lasts, each once.
//
// A file that is attached (ATTACH) and that this process has in memory is that
// database, written under its own write lock, and alive while it is attached.
// Of two transactions that would wait for each other for ever, having attached
// each other's databases, the second is refused with SQLITE_BUSY at once. A file
// that is not in memory is attached from the disk, and locked as SQLite does it.
//
// A transaction over several databases in memory is committed in all of them or
// in none. On the disk each has its own file and its own log: a crash may keep
// the transaction in one and lose it in another, unless COMMIT had returned and
// all of them have sqlite_wal=commit.
//
// A transaction that a context or an error has ended takes no more statements
// ([ErrTxOver]): nothing of it is committed by accident.
//
// # What survives
//
// Sync, and Close of the last sql.DB of a file, return when everything is on the
// disk. A crash of the process or the machine costs what was committed since the
// last save, or with sqlite_wal the last flush of the log, and never leaves a
// damaged file: it is replaced as a whole.
//
// # Links
//
//   - https://sqlite.org/lang_transaction.html
//   - https://pkg.go.dev/github.com/mattn/go-sqlite3#SQLiteDriver.Open
package driver
