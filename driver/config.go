package driver

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"runtime"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// Defaults of [Config].
const (
	DefaultSyncInterval  = 20 * time.Minute
	DefaultWAL           = time.Second
	DefaultBusyTimeout   = time.Minute
	DefaultStmtCacheSize = 128
)

// Role says whether a process serves a database from memory or works on its
// file. See the package documentation.
type Role string

// The roles.
const (
	RoleAuto   Role = "auto"   // the server if nobody else is, else a tool
	RoleServer Role = "server" // the server, or an error
	RoleTool   Role = "tool"   // a tool, always
)

func (r Role) valid() bool {
	return r == RoleAuto || r == RoleServer || r == RoleTool
}

// TxLock says how a transaction that may write begins.
type TxLock string

// The ways to begin a transaction.
const (
	// TxImmediate takes the write lock at the beginning, so that what the
	// transaction reads cannot be changed before it writes.
	TxImmediate TxLock = "immediate"
	// TxDeferred takes the write lock at the first statement that writes. If
	// somebody else has written since the transaction first read, that
	// statement fails; see [IsStaleSnapshot].
	TxDeferred TxLock = "deferred"
	// TxExclusive is the same as TxImmediate here: readers are never kept out.
	TxExclusive TxLock = "exclusive"
)

// What [Config.WAL] may be besides an interval.
const (
	// WALOff: there is no log.
	WALOff time.Duration = -2
	// WALCommit: a commit returns when it is in the log and on the disk.
	WALCommit = store.WALCommit
)

// SyncEvent tells of one attempt to write the database to its file.
type SyncEvent = snapshot.Event

// Config says which database to open and how. The zero value of every field is
// its default. Each field that has a DSN parameter names it; [ParseDSN] makes a
// Config of a string, and [Config.FormatDSN] a string of a Config.
type Config struct {
	// Path is the database file. It need not exist. The empty path and
	// ":memory:" stand for a database that is only in memory.
	Path string

	// MemoryName is the name of a database that is only in memory: all that
	// this process opens by that name are one (file:NAME?mode=memory&cache=shared).
	// If it is empty each sql.DB has one of its own.
	MemoryName string

	// Direct works on the file itself instead of loading it, in the role of a
	// tool (sqlite_in_memory=no).
	Direct bool

	// SyncInterval is how often changes are written to the file
	// (sqlite_sync_interval). 0 is DefaultSyncInterval. Negative: never, not on
	// Close either; only [Sync] writes (sqlite_sync_interval=0).
	SyncInterval time.Duration

	// WAL is the log (sqlite_wal): what a crash can cost. With an interval, committed
	// changes are written to a log beside the file, FILE-memwal: the first commit after
	// a quiet interval at once, and what follows once in an interval. A crash costs at
	// most the interval and the length of a write. With WALCommit a commit returns when
	// it is in the log and on the disk, and a crash costs nothing. With WALOff there is
	// no log, and a crash costs up to SyncInterval.
	//
	// 0 is DefaultWAL where there is a file and SyncInterval is longer than that, and
	// WALOff otherwise, and on Windows. A log cannot be had without a SyncInterval.
	WAL time.Duration

	// Keep is how many of the states that the file had before are kept beside it
	// (sqlite_keep), for when a mistake was saved: FILE.kept-1 is what FILE was before
	// the last save, FILE.kept-2 before the one before that, and so on, each a whole
	// database. The oldest is given up for the next. To go back, close the database
	// and rename one to FILE. They stand beside the file that a symbolic link leads to.
	// After a crash in the middle of a save the last is called FILE.kept-new, until the
	// next save. Each takes the room of a database; where there are no hard links it is
	// a copy, readable for its owner alone (0600). Lowering Keep leaves those beyond it
	// where they are. A state that cannot be kept, also because another program has
	// left a -journal or -wal beside one of them, does not hold up the save: Logger is
	// told. "sqlite-mem recover" keeps none. 0: none is kept.
	Keep int

	// Role is RoleAuto if empty (sqlite_role). [SetRole] and the environment
	// variable SQLITE_MEM_ROLE win over it.
	Role Role

	// MaxMemory is the cap on the size of the database in bytes
	// (sqlite_max_memory): what would make it grow past that fails with
	// SQLITE_FULL. Deleting always works, and a larger file can be opened and
	// keeps its size. The versions of pages that older readers still need, a
	// running save among them, may take as much again. 0: no cap.
	MaxMemory int64

	// BusyTimeout is how long a writer waits for its turn before it fails with
	// SQLITE_BUSY (_busy_timeout, in milliseconds). 0 is DefaultBusyTimeout.
	// Negative: not at all (_busy_timeout=0).
	BusyTimeout time.Duration

	// TxLock is TxImmediate if empty (_txlock), but TxDeferred for connections
	// that cannot write (mode=ro, _query_only).
	TxLock TxLock

	// StmtCacheSize is the number of prepared statements that each connection
	// keeps (_stmt_cache_size). 0 is DefaultStmtCacheSize. Negative: none
	// (_stmt_cache_size=0).
	StmtCacheSize int

	// Params are the parameters of go-sqlite3 and of SQLite's URIs, by their
	// name in a DSN. Those that have a field here are not among them.
	Params map[string]string

	// Logger gets what went wrong and could not be returned: a save that
	// failed by itself, and who held the write lock when a wait timed out. Nil:
	// slog.Default(). No DSN has it.
	Logger *slog.Logger

	// OnSync is told of every attempt to write the file, in order, on a goroutine of
	// its own. No save, commit, [Sync] or Close waits for it, so it may call anything.
	// The Close that lets go of the file returns after the last event, unless OnSync
	// itself called Close; [ReadStats] and [Backup] return [ErrClosed] by then. If
	// several sql.DBs share a file, only the OnSync of the first one is called. It
	// cannot be set in a DSN.
	OnSync func(SyncEvent)

	// Extensions are loaded into each new connection, and ConnectHook is
	// called with it, as by [sqlite3.SQLiteDriver]. No DSN has them.
	Extensions  []string
	ConnectHook func(*sqlite3.SQLiteConn) error
}

const (
	// minInterval is the shortest interval: what a DSN can tell, and a disk do.
	minInterval = time.Millisecond

	// maxBusyTimeout is what SQLite takes, whose busy timeout is a C int
	// (https://sqlite.org/c3ref/busy_timeout.html).
	maxBusyTimeout = math.MaxInt32 * time.Millisecond
)

// hasWAL reports whether a log is asked for.
func (c *Config) hasWAL() bool { return c.WAL != 0 && c.WAL != WALOff }

// memory reports whether the database has no file.
func (c *Config) memory() bool {
	return c.Path == "" || c.Path == ":memory:"
}

// onlyInMemory are the options that are set and mean something only to a database in
// memory, as a DSN has them.
func (c *Config) onlyInMemory() string {
	var set []string
	for _, key := range []string{"sqlite_sync_interval", "sqlite_wal", "sqlite_max_memory"} {
		if v := ownParams[key].get(c); v != "" {
			set = append(set, key+"="+v)
		}
	}
	return strings.Join(set, " ")
}

// clone returns a copy that shares nothing that is changed.
func (c *Config) clone() *Config {
	d := *c
	d.Params = maps.Clone(c.Params)
	d.Extensions = append([]string(nil), c.Extensions...)
	return &d
}

// syncInterval, busyTimeout and stmtCacheSize turn the defaults and the
// negative values into plain ones.
func (c *Config) syncInterval() time.Duration {
	if c.SyncInterval == 0 {
		return DefaultSyncInterval
	}
	return max(c.SyncInterval, 0)
}

// wal is the log that the store is to have, in its words.
func (c *Config) wal() time.Duration {
	switch {
	case c.WAL == WALOff:
		return store.WALOff
	case c.WAL != 0:
		return c.WAL
	case c.memory() || c.syncInterval() <= DefaultWAL || runtime.GOOS == "windows":
		return store.WALOff
	}
	return DefaultWAL
}

func (c *Config) busyTimeout() time.Duration {
	if c.BusyTimeout == 0 {
		return DefaultBusyTimeout
	}
	return max(c.BusyTimeout, 0)
}

func (c *Config) stmtCacheSize() int {
	if c.StmtCacheSize == 0 {
		return DefaultStmtCacheSize
	}
	return max(c.StmtCacheSize, 0)
}

// cannotWrite reports whether the connections are read-only by request.
func (c *Config) cannotWrite() bool {
	return c.Params["mode"] == "ro" || c.queryOnly()
}

// queryOnly reports whether _query_only is set.
func (c *Config) queryOnly() bool {
	on, err := parseBool(c.Params["_query_only"])
	return err == nil && on
}

func (c *Config) txLock() TxLock {
	switch {
	case c.TxLock != "":
		return c.TxLock
	case c.cannotWrite():
		return TxDeferred
	}
	return TxImmediate
}

func (c *Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.Default()
	}
	return c.Logger
}

// validate checks what fields and parameters allow, alone and together.
func (c *Config) validate() error {
	switch {
	case c.Role != "" && !c.Role.valid():
		return paramErr("sqlite_role", string(c.Role), "want auto, server or tool")
	case c.SyncInterval > 0 && c.SyncInterval < minInterval:
		return paramErr("sqlite_sync_interval", c.SyncInterval.String(), "want at least 1ms, or 0 for never")
	case c.WAL < 0 && c.WAL != WALCommit && c.WAL != WALOff:
		return paramErr("sqlite_wal", c.WAL.String(), "want an interval, WALOff or WALCommit")
	case c.WAL > 0 && c.WAL < minInterval:
		return paramErr("sqlite_wal", c.WAL.String(), "want at least 1ms, off or commit")
	case c.hasWAL() && c.SyncInterval < 0:
		return paramErr("sqlite_wal", formatWAL(c.WAL), "it cannot apply with sqlite_sync_interval=0: the log would grow for ever")
	case c.Keep < 0 || c.Keep > math.MaxInt32:
		return paramErr("sqlite_keep", fmt.Sprint(c.Keep), fmt.Sprintf("want 0 to %d", math.MaxInt32))
	case c.MaxMemory < 0:
		return paramErr("sqlite_max_memory", fmt.Sprint(c.MaxMemory), "want 0 or more")
	case c.BusyTimeout > 0 && (c.BusyTimeout%time.Millisecond != 0 || c.BusyTimeout > maxBusyTimeout):
		return paramErr("_busy_timeout", c.BusyTimeout.String(), fmt.Sprintf("want whole milliseconds, at most %d (%v)", maxBusyTimeout.Milliseconds(), maxBusyTimeout))
	case c.StmtCacheSize > math.MaxInt32:
		return paramErr("_stmt_cache_size", fmt.Sprint(c.StmtCacheSize), fmt.Sprintf("want at most %d", math.MaxInt32))
	}
	if strings.IndexByte(c.Path, 0) >= 0 {
		return fmt.Errorf("sqlite-mem: path %q contains a NUL byte", c.Path)
	}
	switch c.TxLock {
	case "", TxImmediate, TxDeferred, TxExclusive:
	default:
		return paramErr("_txlock", string(c.TxLock), "want deferred, immediate or exclusive")
	}
	for key, value := range c.Params {
		if _, own := ownParams[canonical(key)]; own {
			return paramErr(key, value, "it has a field of its own in Config")
		}
		if !known(key) {
			return unknownKey(key)
		}
		if err := checkPassed(key, value); err != nil {
			return paramErr(key, value, err.Error())
		}
		switch {
		case key == "vfs" || key == "nolock":
			return paramErr(key, value, "it would take away the locks by which servers and tools keep apart")
		case key == "immutable" && !c.Direct:
			return paramErr(key, value, "it cannot apply to a database in memory (sqlite_in_memory=no would allow it)")
		}
	}
	if mode, ok := c.Params["mode"]; ok && mode != "ro" && mode != "rw" && mode != "rwc" {
		return paramErr("mode", mode, "want ro, rw or rwc, or memory with file:")
	}
	if c.Direct && c.Role == RoleServer {
		return paramErr("sqlite_role", "server", "it contradicts sqlite_in_memory=no: a server has the database in memory")
	}
	if !c.memory() {
		if c.MemoryName != "" {
			return fmt.Errorf("sqlite-mem: MemoryName %q cannot apply to the file %q", c.MemoryName, c.Path)
		}
		return nil
	}
	const why = "it cannot apply to a database that is only in memory"
	switch {
	case c.Direct:
		return paramErr("sqlite_in_memory", "no", why)
	case c.SyncInterval != 0:
		return paramErr("sqlite_sync_interval", formatInterval(c.SyncInterval), why)
	case c.hasWAL():
		return paramErr("sqlite_wal", formatWAL(c.WAL), why)
	case c.Keep != 0:
		return paramErr("sqlite_keep", fmt.Sprint(c.Keep), why)
	case c.Role != "":
		return paramErr("sqlite_role", string(c.Role), why)
	case c.Params["mode"] != "":
		return paramErr("mode", c.Params["mode"], why)
	}
	return nil
}
