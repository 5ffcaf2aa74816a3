// Package driver is a database/sql driver, named "sqlite-mem", that loads a
// SQLite file into memory, serves a whole pool of connections from there, and
// writes consistent snapshots back to the file: on an interval, on demand and on
// close. Between two of them a log beside the file bounds what a crash can cost.
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
// loaded: go-sqlite3 works on the file itself, in the role of a tool. Options of a
// database in memory have no effect then, and the log says so once;
// sqlite_role=server is refused.
//
// # sqlite_sync_interval
//
// How often changes are written to the file: a duration of Go's with days in
// front, such as 30s, 20m (the default), 1h, 1d or 1d12h; at least 1ms. Nothing is
// written when nothing has changed. 0: never, not when the database is closed either;
// only [Sync] and [SyncAll] write. It is the time that a crash can cost if there is
// no log.
//
// # sqlite_wal
//
// What a crash can cost: off, an interval of at least 1ms such as 1s or 100ms, or
// commit. The pages that commits have changed are written to a log, FILE-memwal,
// between two saves.
//
//   - With an interval, the first commit after a quiet interval is written at once,
//     in the background, and what follows once in an interval. A crash costs at most
//     the interval and the length of a write. A new database gets its first save in
//     the same way.
//   - With commit, a commit returns when it is in the log and on the disk. A crash
//     costs nothing. Commits at the same time share one sync of the disk. Use it for
//     data that must not go back, such as the UIDs of an IMAP server: a client that
//     has seen UID 66 must not be given it again for another mail.
//   - With off there is no log.
//
// The default is 1s where there is a file and sqlite_sync_interval is longer than that,
// and off otherwise, and on Windows. A log is refused for a database that is only in
// memory, and with sqlite_sync_interval=0.
//
// Each save begins the log anew. A log that is larger than the database, and than 64
// MiB, asks for a save. A log that a crash has left is read by the next open, whatever
// sqlite_wal says by then. See [NotDurableError] for a disk that fails.
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
// One process at a time serves a file from memory: the server. It has the process
// lock, on FILE.lock, which the system releases when the process dies. Every other
// process is a tool: it works on the file itself.
//
//   - auto (the default): the server if there is none, else a tool. A tool becomes
//     the server with the first new connection after the server has gone.
//   - server: the server, or an error.
//   - tool: never the server.
//
// A tool beside a server reads the file as it was saved last, and is refused to write
// by an [OwnedError]: the next save would undo the change. A tool without a server
// reads and writes the file. It has a share of the process lock for each write
// transaction and no longer, so it keeps no server from starting. A server that starts
// in the middle of one waits for its end, for at most _busy_timeout. Then it fails with
// SQLITE_BUSY. A connection from the pool follows: it gives way to a new one when a
// server has come or gone, or the file was replaced. A tool first writes what a crash
// has left in the log into the file. One that may not write reads the file without it,
// and the log says so.
//
// A tool takes the file out of WAL mode if it can, and never puts it in: a server
// could not load a file that an idle tool has open in WAL mode. So _journal_mode and
// _locking_mode, which a server accepts without effect, have none for a tool either.
//
// A file that this process may not write, or in a directory or file system where it may
// not, is only read, in the role of a tool; the log says why. With server it is an
// error. Any other failure, such as no free descriptor, is an error and decides no role.
//
// [SetRole] and the environment variable SQLITE_MEM_ROLE win over the parameter, in
// that order.
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
// vfs and nolock, which would take away the locks, nor immutable for a database in
// memory. _journal_mode,
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
// that is not in memory is attached from the disk, and locked as SQLite does it. While
// another process serves it, it can be read, and a write is refused by an [OwnedError].
// While it is attached it is not loaded: the load waits for _busy_timeout, then fails
// with SQLITE_BUSY. ATTACH with cache=shared is refused, but for a named database in
// memory, file:NAME?mode=memory&cache=shared, which is attached by that name.
//
// A statement, and a transaction that only reads, sees each attached database as of a
// moment of its own: of a transaction that changes two, it may see the one change and
// not the other. One that has begun with BEGIN IMMEDIATE, as BeginTx does unless it is
// read-only or _txlock says otherwise, sees all of them as of one moment.
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
// Sync, and Close of the last sql.DB of a file, return when everything is in the file
// and on the disk. Close of any other sql.DB returns when the log has what was
// committed. A crash of the process or the machine, or an end without Close, costs
// what sqlite_wal says, and never leaves a damaged file: it is replaced as a whole.
// After an unclean end [Stats] tells so, and what was recovered.
//
// A transaction over several databases (ATTACH) is all or nothing in memory. Each
// database has its own log, so after a crash one may have it and the other not.
//
// A program that is told to end makes everything durable, whichever package opened it:
//
//	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
//	defer stop()
//	go serve(ctx)
//	<-ctx.Done()
//	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
//	defer cancel()
//	if err := driver.SyncAll(end); err != nil {
//		slog.Error("not all is on the disk", "error", err)
//	}
//
// # Links
//
//   - https://sqlite.org/lang_transaction.html
//   - https://pkg.go.dev/github.com/mattn/go-sqlite3#SQLiteDriver.Open
package driver
