// Package driver is a database/sql driver, named "sqlite-mem", that loads a SQLite file
// into memory. It serves a whole pool of connections from there, and writes consistent
// snapshots back to the file. It does so on an interval, on demand and on close. Between
// two snapshots a log beside the file bounds what a crash can cost.
//
//	import _ "github.com/sqlite-mem/sqlite-mem/driver"
//
//	db, err := sql.Open("sqlite-mem", "app.db?sqlite_sync_interval=20m")
//
// SQL, types and errors are those of [github.com/mattn/go-sqlite3], over which it is
// built.
//
// # What the package has
//
// To open a database:
//
//   - Most programs need no more than sql.Open with [Name] and a data source name.
//   - A [Config] and [NewConnector], for sql.OpenDB, are the same from Go. They have a
//     logger and a callback for each save. [ParseDSN] makes a Config of a data source name.
//     [Config.FormatDSN] makes a name of a Config.
//   - The types of its fields are [TxLock], [Role] and [Switch], which is [On] or [Off].
//   - Some values of its fields stand for words, not for numbers: [Never], [NoWait],
//     [NoStmtCache], [NoKeep], [NoMaxMemory], [SlowOff], [WALOff] and [WALCommit].
//   - [DefaultSyncInterval], [DefaultWAL], [DefaultBusyTimeout], [DefaultStmtCacheSize],
//     [DefaultLiveLimit] and [DefaultLiveIdle] are the defaults of its fields.
//   - [Driver] is for registering a driver with extensions or a connect hook.
//   - [RegisterAs] is for libraries that choose their SQL by the name of the driver.
//   - [SetRole] and [RoleEnv] set the [Role] of a whole process. [Stats] reports
//     [RoleLive]. [SetDefaults] and [DefaultsEnv] set every other option for a process.
//
// To work with an open one:
//
//   - [Sync] saves one database. [SyncAll] makes all databases of a process durable. Call
//     it on SIGTERM.
//   - [Backup] writes a database to a file of its own. [BackupTo] streams one.
//   - [Restore] and [RestoreFrom] replace one by the database of a file or a stream, while
//     statements run. [RestoreOptions] say where the old one is kept.
//   - [ReadStats] returns the counters, [Stats], for monitoring. A [Histogram] among them
//     has the [HistogramBounds]. The module driver/metrics gives them to Prometheus. A
//     [SyncEvent] tells Config.OnSync of a save.
//   - [Watch] reports each [Change] of a database: commits, and the tables that they may have
//     changed. So a program drops what it has cached, or tells its clients.
//   - [RawConn] leads to go-sqlite3's connection, to register functions and collations.
//   - [Close] closes an sql.DB behind a wrapper that does not pass Close on.
//
// To tell errors apart:
//
//   - [IsStaleSnapshot]: run the transaction again. [ErrTxOver]: it has ended already.
//   - [ErrCommitUnknown]: the server is lost, and nobody knows whether it has committed.
//   - [OwnedError]: another process has the file. [ErrLost]: one has taken it from this one.
//   - [ErrNotDurable] and [NotDurableError]: the disk fails, with sqlite_wal=commit or after a
//     [Restore].
//   - [ForeignChangeError]: somebody else has changed the file.
//   - [ErrOptions], [ErrLockFile], [ErrNotOurs], [ErrClosed], [ErrNoFile], [ErrNotServed].
//
// # Data source names
//
// A name is a path with parameters behind a question mark, "app.db?key=value&…", in
// which the path is literal. Or it is a URI, "file:app.db?key=value&…", in which the path
// is percent-decoded (https://sqlite.org/uri.html).
//
// The names ":memory:", "file::memory:", "" and "file:NAME?mode=memory" stand for a
// database without a file. What is about a file is refused for it, such as
// sqlite_sync_interval, sqlite_wal, sqlite_keep and sqlite_role. Each sql.DB has one of its own. With cache=shared there
// is one for each NAME in the process. All connections of an sql.DB see the same
// database, and it lives until the sql.DB is closed.
//
// sql.Open refuses a parameter that is unknown, given twice or has an invalid value. The
// error names the parameter.
//
// # Defaults for a process, and several opens of one file
//
// [SetDefaults] and the environment variable SQLITE_MEM_DEFAULTS set options for a program
// that opens one file in several places with bare names. A name wins over SetDefaults, which
// wins over the environment, which wins over what is built in. Each option is decided by
// itself, also one that a name sets to what is built in: sqlite_keep=0 keeps nothing,
// whatever the defaults say.
//
// All sql.DBs of a file in a process share sqlite_sync_interval, sqlite_wal, sqlite_keep,
// sqlite_max_memory, sqlite_live, sqlite_live_limit and sqlite_live_idle.
//
//   - An option that an open leaves out, as the defaults do, is no conflict.
//   - Two different values are [ErrOptions].
//   - sqlite_wal, sqlite_sync_interval and sqlite_keep may come with a later open. They hold
//     for all sql.DBs before the later open has its first connection. With sqlite_wal=commit each commit that
//     returns from then on is durable, by whichever sql.DB. If the log cannot be flushed,
//     that open fails, and nothing has changed.
//   - A later open may not make a crash cost more, nor begin or end a log: [ErrOptions]. The
//     other four must come with the first open.
//   - What one open has set stays until the last sql.DB of the file is closed.
//
// # sqlite_in_memory
//
// yes (the default) or no; also true, false, on, off, 1, 0. With no, nothing is loaded.
// go-sqlite3 works on the file itself, in the role of a tool. Options of a database in
// memory have no effect then, and Config.Logger is told once. sqlite_role=server is
// refused.
//
// # sqlite_sync_interval
//
// The time between two saves of the file. It is at least 1ms, and written as Go writes
// durations, or with days in front. Examples are 30s, 20m (the default), 1h, 1d and
// 1d12h. Nothing is written when nothing has changed. Without a log this is the time that
// a crash can cost.
//
// With never, only [Sync] and [SyncAll] write the file, and Close does not. There is no log. 0 is an older
// spelling of never.
//
// # sqlite_wal
//
// What a crash can cost: off, an interval of at least 1ms such as 1s or 100ms, or commit.
// The pages that commits have changed are written to a log, FILE-memwal, between two
// saves.
//
//   - With an interval, the first commit after a quiet interval is written at once, in the
//     background. Later commits are written once in an interval. A crash costs at most
//     the interval and the length of a write. A new database gets its first save in the
//     same way.
//   - With commit, a commit returns when it is durable. A crash costs nothing. Commits at
//     the same time share one sync of the disk. Use it for data that must not go back,
//     such as the UIDs of an IMAP server. A client that has seen UID 66 must not be given
//     it again for another mail.
//   - With off there is no log.
//
// The default is 1s if there is a file and sqlite_sync_interval is longer than that.
// Otherwise it is off. A log is refused for a database that is only in memory, and with
// sqlite_sync_interval=never.
//
// Each save begins the log anew. A log that is larger than the database, and than 64
// MiB, asks for a save. The next open reads a log that a crash has left, whatever
// sqlite_wal says by then. See [NotDurableError] for a disk that fails.
//
// # sqlite_keep
//
// How many earlier states of the file are kept beside it. FILE.kept-1 is what it was before
// the last save, FILE.kept-2 before the one before that. 0 (the default): none. It is
// refused for a database that is only in memory. See [Config].
//
// # sqlite_role
//
// One process at a time serves a file from memory: the server. It has the process lock, on
// FILE.lock, which the system releases when the process dies. Every other process is a
// tool. It works on the server's memory, or on the file itself.
//
//   - auto (the default) is the server if there is none, else a tool. A tool becomes
//     the server with the first new connection after the server has gone.
//   - server is the server, or an error.
//   - tool is never the server.
//
// A tool beside a server has a live connection: see sqlite_live. Without one it reads the
// file as it was saved last. A write is refused with an [OwnedError] then, as the next
// save would undo the change.
//
// A tool without a server reads and writes the file. It shares the process lock for each
// write transaction and no longer, so it keeps no server from starting. A server that
// starts in the middle of one waits for its end, for at most _busy_timeout. Then it fails
// with SQLITE_BUSY.
//
// A connection from the pool gives way to a new one when a server has come or gone, or
// the file was replaced. A tool first folds a log that a crash has left into the file. A
// tool that may not write reads the file without the log, and Config.Logger is told.
//
// A tool takes the file out of WAL mode if it can, and never puts it in. A server could not
// load a file that an idle tool has open in WAL mode. So _journal_mode and _locking_mode
// have no effect for a tool, as they have none for a server.
//
// If this process may not write the file, its directory or its file system, it only reads,
// in the role of a tool. Config.Logger is told why. With server it is an error. Any other
// failure, such as no free descriptor, is an error and decides no role.
//
// [SetRole] and the environment variable SQLITE_MEM_ROLE win over the parameter, in
// that order. For a daemon with other programs beside it, give the daemon
// sqlite_role=server, and the others SQLITE_MEM_ROLE=tool. Then none of them becomes the
// server while the daemon restarts.
//
// # sqlite_live, sqlite_live_limit, sqlite_live_idle
//
// With sqlite_live=yes (the default) a tool works on the memory of the server, through
// the Unix socket FILE.sock. It sees what was committed a moment ago, and its writes queue
// with all others. A live connection behaves like one in the server. [Sync], [SyncAll],
// [ReadStats], [Backup], [BackupTo], [Restore], [RestoreFrom], [Watch] and the SQL
// functions sqlite_mem_sync() and sqlite_mem_stats() act on the server's memory.
//
//   - The server serves its own user, root, and the owner of the file. Only a tool of
//     root or of the server's user may name files (ATTACH, VACUUM INTO, RestoreOptions.Keep).
//   - A tool waits while the server loads or saves for the last time, for at most
//     _busy_timeout. It also waits for an owner whose record in FILE.lock is missing
//     because the disk was full. A wrong user is an error. So are two versions of this
//     package with different protocols: update server and tools together.
//   - The tool's sqlite_* options do not reach the server. Go code cannot either. With
//     Extensions or a ConnectHook in its Config, the tool uses the file, and
//     Config.Logger is told. Those of the server run for the tool's connections too.
//     They must not call the server's own last DB.Close, which waits for them in vain.
//   - A live connection is no [RawConn]. ATTACH and VACUUM INTO name files of the
//     server's process. A relative path is an error.
//   - A tool keeps no file of the server open, whether it uses or attaches it. The last
//     Close in the server ends the tool's connection.
//   - A tool that dies loses its transaction and its lock at once. When the server goes,
//     database/sql opens a new connection, in the role that is right then. Inside a
//     transaction that is an error. If the answer to a commit is lost, it is
//     [ErrCommitUnknown].
//   - [Sync], [SyncAll] and DB.Close of a tool return [ErrUnsaved] if its server ended and
//     may not have saved what the tool had committed.
//
// sqlite_live_limit is the number of live connections at a time, 64 by default. A tool
// beyond that waits. As many more may be for what is no SQL: saves, counters, backups,
// restores and watchers. sqlite_live_idle is how long a tool may leave a transaction idle
// while others wait for its lock. Then the server rolls it back. The default of 30s is
// less than the default wait of a writer. A tool that does not fetch its rows is ended
// after ten times as long.
//
// Live connections work on Linux, macOS and FreeBSD, whose kernels tell who is at the
// other end. With sqlite_live=no on either side, and elsewhere, a tool reads the file as it
// was saved last. That is also so if the socket cannot be created; the Config.Logger of
// the server is told.
//
// On Windows no open file can be replaced. There a tool closes its connections when they go
// back to the pool. Temporary tables and settings last as long as an [sql.Conn] or a
// transaction. A tool that reads for long makes a save fail until it has finished.
//
// # sqlite_max_memory
//
// Cap on the size of the database: bytes, or a number with KiB, MiB, GiB or TiB.
// 0 (the default): no cap. See [Config].
//
// At the cap a statement that would make the database grow fails with SQLITE_FULL, and its
// transaction can go on or be rolled back. Readers go on, deleting always works, and a
// larger file can be loaded. The page versions that readers and saves need may take as much
// again; then writers get SQLITE_FULL until a reader ends. Without a cap the system's memory
// is the limit. At its end Linux kills a process, which may be this one: set a cap below it,
// with room for the program itself.
//
// The logger is warned when a tenth of either limit is left, of the system at most 2 GiB, and
// again only after it was away from there. [Stats] counts the warnings, and tells what is
// left. While writers write, the driver looks once a second. The system's limit is that of
// the machine or of a control group (cgroup, version 1 or 2), whichever has the least left.
// Swap does not count. It is read on Linux alone. A load first tells the logger how much
// memory it needs: at level Info from 64 MiB on, below that at level Debug. If the system has
// less, it is a warning.
//
// # sqlite_slow_writer, sqlite_slow_reader, sqlite_slow_stacks
//
// These report slow writers and readers to Config.Logger. A writer that holds the write lock
// longer than sqlite_slow_writer, such as 1s, is reported while it holds it. So is a reader
// that keeps an old state longer than sqlite_slow_reader, such as 1m. Readers are open rows,
// transactions, live tools, saves and backups. Each is reported once, with its statement.
// With sqlite_slow_stacks=yes the report has the stack of where it began, if it is of this
// process. With off (the default), or [SlowOff] in Go, none is reported. Statements in reports
// and counters have no values: a ? stands for each string, blob and number.
//
// # _busy_timeout
//
// Longest wait of a writer for its turn, in milliseconds: 60000 by default. With nowait it
// does not wait; 0, as go-sqlite3 has it, is the same. The error is SQLITE_BUSY. A context
// ends the wait earlier.
//
// # _txlock
//
// How a transaction begins that may write: immediate (the default), deferred or exclusive.
// See [TxLock].
//
// # _stmt_cache_size
//
// Prepared statements that each connection keeps: 128 by default. With off it keeps none;
// 0, as go-sqlite3 has it, is the same.
//
// # _pragma
//
// A pragma of SQLite that is run on each new connection, as modernc.org/sqlite and
// ncruces/go-sqlite3 have it: _pragma=foreign_keys(1), also foreign_keys=1. It may be given
// several times, and they are run in that order, before a ConnectHook. One that writes, such
// as user_version, waits for its turn as a statement does.
//
//   - busy_timeout, auto_vacuum, cache_size and query_only are _busy_timeout, _auto_vacuum,
//     _cache_size and _query_only under another name. Two different values are an error.
//   - journal_mode and wal_checkpoint have no effect. mmap_size, synchronous,
//     journal_size_limit, wal_autocheckpoint, fullfsync and checkpoint_fullfsync have one
//     in a tool on the file only.
//   - What the driver rests on is refused, with the reason: locking_mode, unless it is
//     normal, and schema_version. So is what is for the whole process, such as
//     hard_heap_limit, a key of an encrypted file, a pragma that only asks, and one that
//     SQLite does not know.
//   - None is run by a tool on a file that it only reads.
//
// # Other parameters
//
// The other parameters of go-sqlite3 (_fk, _loc, _query_only, …) are passed on, and so is
// mode of SQLite. "Coming from another driver" has those of other drivers. These are
// exceptions:
//
//   - vfs and nolock are refused. They would take away the locks.
//   - immutable needs sqlite_in_memory=no.
//   - A server has its journal in memory, so _journal_mode, _locking_mode and
//     _synchronous have no effect.
//   - A server's defaults are "no" for _mutex and 20 pages for _cache_size. A name may
//     change them.
//
// # Concurrency
//
// Readers never wait: each statement, or transaction, sees the database as it was when it
// began to read. A transaction that only reads is begun with [sql.TxOptions].ReadOnly; any
// other one waits for its turn to write. Writers take turns, in the order in which they began to wait. A turn lasts
// from the beginning of the statement or transaction to its end. A save reads a state
// that it has pinned and holds up nobody. A long reader costs the memory of the pages
// that are rewritten while it lasts, each once.
//
// ATTACH of a file that this process has in memory attaches that database. It is written
// under its own write lock, and stays open while it is attached. If two transactions that
// have attached each other's databases would wait for each other for ever, the second is
// refused with SQLITE_BUSY at once.
//
// ATTACH of any other file attaches it from the disk, locked as SQLite does it. While
// another process serves it, it can be read, and a write is refused with an [OwnedError].
// So is an ATTACH before the server's first save, when there is no file. A file that is
// attached from the disk is not loaded. The load waits for _busy_timeout, then fails with
// SQLITE_BUSY. ATTACH with cache=shared is refused, but for a named database in memory:
// file:NAME?mode=memory&cache=shared is attached by that name. A panic in a Go function that
// SQL calls costs the connection. A file of the disk that this has attached and locked stays
// locked until the process ends.
//
// A statement, and a transaction that only reads, sees each attached database as of a
// moment of its own. It may see one half of a transaction that changes two of them. A
// transaction that BEGIN IMMEDIATE has begun sees all of them as of one moment. BeginTx
// begins that way, unless the transaction is read-only or _txlock says otherwise.
//
// A transaction over several databases in memory is committed in all of them or in none.
// On the disk each has its own file and its own log. A crash may keep the transaction in
// one and lose it in another. It keeps all of it if COMMIT had returned and all of them
// have sqlite_wal=commit.
//
// A transaction that a context or an error has ended takes no more statements
// ([ErrTxOver]). So nothing of it is committed by accident.
//
// # What survives
//
// Sync, and Close of the last sql.DB of a file, return when everything is durable in the
// file. Close of any other sql.DB returns when the log has what was committed, if there is a
// log. If rows or transactions are open at the last Close, it saves what is committed by then.
// Their last one saves the rest, and Config.Logger is told of an error. A crash
// of the process or the machine, or an end without Close, costs what sqlite_wal says. It
// never leaves a damaged file, which is replaced as a whole. After an unclean end [Stats]
// tells so, and what was recovered.
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
//		slog.Error("not everything is durable", "error", err)
//	}
//
// # Behind wrappers
//
// Packages for traces and metrics, such as XSAM/otelsql and ngrok/sqlmw, wrap the driver.
// The functions here that take an sql.DB find it all the same. They ask a connection of the
// sql.DB. They look below a connection with one of these methods, and ask by a Ping:
//
//	Raw() driver.Conn
//	Unwrap() driver.Conn
//
// Without such a method the wrapper has to pass Ping and its context on. The first call for
// an sql.DB takes a connection from the pool and may open the database. ReadStats and Close
// wait a minute for one at most. Later calls take none, if the wrapper has OpenConnector. If
// nothing is found, the error is [ErrNotOurs].
//
//   - A wrapper whose connector has no Close method keeps DB.Close from the driver. That of
//     ngrok/sqlmw has none. Nothing is saved by DB.Close then, and the file stays open:
//     call [Close] in its place. [SyncAll] works in any case.
//   - Behind a wrapper that has no OpenConnector, each connection opens the database for
//     itself. It works, but the file is saved and loaded again whenever no connection is
//     open, and each connection to ":memory:" has a database of its own. A Watch keeps a
//     connection of the pool, and DB.Close does not end it.
//   - A connection behind a wrapper is a [RawConn] below the wrapper's Raw or Unwrap.
//
// # The command
//
// The command driver/cmd/sqlite-mem works on a database beside its server, as a tool. It
// has a prompt for SQL (shell) and runs single statements (query). It shows the server's
// state (status), has it save (sync), makes backups (backup) and restores them (restore). It
// checks a database or a backup (verify), and resolves what a crash has left (recover).
// "sqlite-mem help" describes them.
//
// # Links
//
//   - https://pkg.go.dev/github.com/sqlite-mem/sqlite-mem/driver/clients has pages for
//     maddy and go-imap-sql, for GORM programs, and for programs that come from go-sqlite3
//     or modernc's driver.
//   - https://sqlite.org/lang_transaction.html
//   - https://pkg.go.dev/github.com/mattn/go-sqlite3#SQLiteDriver.Open
package driver
