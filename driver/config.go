package driver

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/live"
	"github.com/sqlite-mem/sqlite-mem/internal/sqltime"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// The defaults of [Config].
const (
	DefaultSyncInterval  = 20 * time.Minute
	DefaultWAL           = time.Second
	DefaultBusyTimeout   = time.Minute
	DefaultStmtCacheSize = 128
	DefaultLiveLimit     = live.DefaultLimit
	DefaultLiveIdle      = live.DefaultIdle
)

// Values of [Config] that are no length of time and no number. Each has a word in a data
// source name. They differ from each other, so that one in the wrong field is refused.
// Every other negative value is refused too.
const (
	// WALCommit is a WAL: a commit returns when it is durable (sqlite_wal=commit).
	WALCommit = store.WALCommit

	// WALOff is a WAL: there is no log (sqlite_wal=off).
	WALOff time.Duration = -2

	// Never is a SyncInterval: only [Sync] and [SyncAll] write the file, and Close
	// does not (sqlite_sync_interval=never).
	Never time.Duration = -3

	// NoWait is a BusyTimeout: a writer that would have to wait fails at once
	// (_busy_timeout=nowait).
	NoWait time.Duration = -4

	// NoStmtCache is a StmtCacheSize: no statement is kept (_stmt_cache_size=off).
	NoStmtCache = -5

	// NoKeep is a Keep: no earlier state is kept (sqlite_keep=0), even if
	// [SetDefaults] or [DefaultsEnv] asks for some.
	NoKeep = -6

	// NoMaxMemory is a MaxMemory: there is no cap (sqlite_max_memory=0), even if
	// [SetDefaults] or [DefaultsEnv] has one.
	NoMaxMemory = -7

	// SlowOff is a SlowWriter or SlowReader: none is logged (sqlite_slow_writer=off), also if
	// [SetDefaults] or [DefaultsEnv] has a limit.
	SlowOff time.Duration = -8
)

// Switch is an option that is on or off. The empty Switch leaves the option to the defaults.
type Switch string

// The values of a Switch.
const (
	On  Switch = "yes"
	Off Switch = "no"
)

func (s Switch) valid() bool { return s == "" || s == On || s == Off }

// Role says whether a process serves a database from memory or works on its
// file. See the package documentation.
type Role string

// The roles.
const (
	RoleAuto   Role = "auto"   // the server if there is none, else a tool
	RoleServer Role = "server" // the server, or an error
	RoleTool   Role = "tool"   // always a tool
)

// RoleLive is the Role of [Stats] of a tool that works on the memory of the server. No
// data source name can ask for it: see [Config].Live.
const RoleLive Role = "live"

func (r Role) valid() bool {
	return r == RoleAuto || r == RoleServer || r == RoleTool
}

// TxLock says how a transaction that may write begins.
type TxLock string

// The ways to begin a transaction.
const (
	// TxImmediate takes the write lock at the beginning. So no other connection changes
	// the rows that the transaction reads before it writes.
	TxImmediate TxLock = "immediate"
	// TxDeferred takes the write lock at the first statement that writes. If
	// another connection has written since the transaction first read, that
	// statement fails: see [IsStaleSnapshot].
	TxDeferred TxLock = "deferred"
	// TxExclusive is the same as TxImmediate here, as readers never wait.
	TxExclusive TxLock = "exclusive"
)

func (l TxLock) valid() bool {
	return l == TxImmediate || l == TxDeferred || l == TxExclusive
}

// SyncEvent describes one attempt to write the database to its file.
type SyncEvent = snapshot.Event

// Config says which database to open and how. The zero value of every field leaves it to the
// defaults, as if the parameter were missing from a data source name. They are those of
// [SetDefaults], then those of [DefaultsEnv], then what the field says of 0. Each field that has a
// parameter names it: [ParseDSN] makes a Config of a name, and [Config.FormatDSN] a name
// of a Config.
type Config struct {
	// Path is the database file. It need not exist. The empty path and ":memory:"
	// stand for a database that is only in memory.
	Path string

	// MemoryName is the name of a database that is only in memory, Path is empty then.
	// All opens of one name in a process share one database
	// (file:NAME?mode=memory&cache=shared). Without a name each sql.DB has a database
	// of its own.
	MemoryName string

	// InMemory, if Off, loads nothing (sqlite_in_memory=no): this process works on the
	// file itself, in the role of a tool. Empty is On.
	InMemory Switch

	// SyncInterval is the time between two saves of the file (sqlite_sync_interval). It
	// is at least 1ms, or Never. 0 is DefaultSyncInterval.
	SyncInterval time.Duration

	// WAL is the log, which bounds what a crash can cost (sqlite_wal).
	//
	//   - An interval of at least 1ms: changes go to the log, FILE-memwal. The first
	//     commit after a quiet interval is written at once, and later ones once in an
	//     interval. A crash costs at most the interval and the length of a write.
	//   - WALCommit: a commit returns when it is durable. A crash costs nothing.
	//   - WALOff: there is no log. A crash costs up to SyncInterval.
	//
	// 0 is DefaultWAL if there is a file and SyncInterval is longer than that. Otherwise
	// 0 is WALOff. A log is refused with a SyncInterval of Never.
	WAL time.Duration

	// Keep is how many earlier states of the file are kept beside it (sqlite_keep), in
	// case a mistake was saved, or NoKeep. 0 is NoKeep.
	//
	// FILE.kept-1 is what FILE was before the last save, FILE.kept-2 before the one
	// before that, and so on. Each is a whole database, beside the file that a symbolic
	// link leads to. The next save gives up the oldest. To go back, Restore one.
	//
	// Each takes the room of a database. Where there are no hard links it is a copy,
	// with mode 0600. A lower Keep leaves those beyond it where they are. After a crash
	// in the middle of a save the last one is called FILE.kept-new, until the next save.
	// "sqlite-mem recover" keeps none.
	//
	// A state that cannot be kept does not hold up the save: Logger is told. One reason
	// is a -journal or -wal that another program has left beside a kept state.
	Keep int

	// Role is the role of this process (sqlite_role). Empty is RoleAuto. [SetRole] and
	// the environment variable SQLITE_MEM_ROLE win over it.
	Role Role

	// Live, if Off, keeps this process from its part in live connections (sqlite_live=no).
	// A server then serves no tools of other processes, and a tool uses no server. Beside
	// a server, a tool reads the file as last saved. Empty is On. See the package
	// documentation.
	Live Switch

	// LiveLimit is how many live connections a server serves at a time
	// (sqlite_live_limit). Further ones wait. As many more may be for what is no SQL, such as
	// a Sync or a watcher. 0 is DefaultLiveLimit.
	LiveLimit int

	// LiveIdle is how long a tool may leave a transaction idle while others wait for
	// its lock (sqlite_live_idle): at least 1ms. Then the server rolls it back. A tool
	// that does not fetch its rows is ended after ten times as long. 0 is DefaultLiveIdle.
	LiveIdle time.Duration

	// MaxMemory is the cap on the size of the database in bytes (sqlite_max_memory),
	// at most 1<<62, or NoMaxMemory. 0 is NoMaxMemory. A statement that would make the
	// database grow past it fails with SQLITE_FULL. Deleting always works. A larger file
	// can be opened and keeps its size. The versions of pages that older readers and a
	// running save need may take as much memory again.
	MaxMemory int64

	// SlowWriter is how long a writer may hold the write lock (sqlite_slow_writer): at least
	// 1ms. One that holds it longer is reported to Logger once, while it does, with its
	// statement. 0 is SlowOff: none is reported. Statements in the report have no values.
	SlowWriter time.Duration

	// SlowReader is how long a reader may keep a state of the database
	// (sqlite_slow_reader): at least 1ms. One that keeps it longer is reported to Logger once,
	// while it does, with the statement with which it began and the last one. Readers are
	// rows that are not closed, transactions, live tools, saves and backups. Those of the
	// statements of Conn.Raw are not seen. 0 is SlowOff: none is reported.
	//
	// The saves and backups of a file follow the sql.DB that has opened it first.
	SlowReader time.Duration

	// SlowStacks, if On, adds to the report the stack of where a slow writer or reader began
	// (sqlite_slow_stacks). That costs about a microsecond for each statement. Empty is Off.
	SlowStacks Switch

	// BusyTimeout is how long a writer waits for its turn before it fails with
	// SQLITE_BUSY (_busy_timeout): whole milliseconds, or NoWait. 0 is
	// DefaultBusyTimeout.
	BusyTimeout time.Duration

	// TxLock is how a transaction that may write begins (_txlock). Empty is
	// TxImmediate, but TxDeferred for connections that cannot write (mode=ro,
	// _query_only).
	TxLock TxLock

	// StmtCacheSize is the number of prepared statements that each connection keeps
	// (_stmt_cache_size), or NoStmtCache. 0 is DefaultStmtCacheSize.
	StmtCacheSize int

	// Pragmas are run on each new connection, in this order, before ConnectHook (_pragma,
	// which may be repeated). Each is one pragma of SQLite, such as "foreign_keys(1)" or
	// "temp_store=memory". See the package documentation for those that are refused, or
	// have no effect. None is run on a connection to the file that cannot write.
	Pragmas []string

	// Params are the parameters of go-sqlite3 and of SQLite's URIs, and those of other
	// drivers for times, by their name in a data source name. A parameter that has a field
	// here is refused.
	Params map[string]string

	// Logger is told of errors that no call could return, such as a failed save of the
	// interval. It is also told who held the write lock when a wait timed out. Nil is
	// slog.Default(). It cannot be set in a data source name.
	//
	// A statement, a save or a Close may wait for it. It may call [ReadStats] for an sql.DB
	// that is open. Other calls for the database may wait for what waits for Logger.
	Logger *slog.Logger

	// OnSync is called with every attempt to write the file, in order, on a goroutine
	// of its own. No save, commit, [Sync] or Close waits for it, so it may call anything.
	//
	// The Close that lets go of the file returns after the last event, unless OnSync
	// itself called Close. [ReadStats] and [Backup] return [ErrClosed] by then. If
	// several sql.DBs share a file, only the OnSync of the first one is called. It
	// cannot be set in a data source name.
	OnSync func(SyncEvent)

	// Extensions are loaded into each new connection, and ConnectHook is then called
	// with it, as by [sqlite3.SQLiteDriver]. They cannot be set in a data source name. The
	// end of the connection's context interrupts the statements of ConnectHook.
	//
	// A server does so for the connections of its tools too, in its own process. So a tool
	// sees the same functions and collations, and databases that ConnectHook attaches. If
	// several sql.DBs share a file, those of the first one count. ConnectHook may name
	// files for a tool that may not. A tool of another user is turned away if ConnectHook
	// sets an authorizer, because that replaces the one that keeps the tool from files.
	//
	// A tool with Extensions or a ConnectHook of its own uses the file.
	Extensions  []string
	ConnectHook func(*sqlite3.SQLiteConn) error
}

const (
	// minInterval is the shortest interval: disks do no more than that.
	minInterval = time.Millisecond

	// maxBusyTimeout is the longest that SQLite takes: its busy timeout is a C int
	// (https://sqlite.org/c3ref/busy_timeout.html).
	maxBusyTimeout = math.MaxInt32 * time.Millisecond

	// maxLiveLimit is what the descriptors of a process commonly allow.
	maxLiveLimit = 10_000

	// maxMaxMemory leaves room to double it.
	maxMaxMemory = 1 << 62
)

// hasWAL reports whether a log is asked for.
func (c *Config) hasWAL() bool { return c.WAL != 0 && c.WAL != WALOff }

// noFile reports whether the database is only in memory.
func (c *Config) noFile() bool { return c.Path == "" || c.Path == ":memory:" }

// memoryKeys are the parameters that apply only to a database in memory.
var memoryKeys = []string{"sqlite_sync_interval", "sqlite_wal", "sqlite_max_memory", "sqlite_live_limit", "sqlite_live_idle", "sqlite_slow_writer", "sqlite_slow_reader", "sqlite_slow_stacks"}

// memoryOptions returns the options that are set but apply only to a database in memory.
// They have the form of a data source name.
func (c *Config) memoryOptions() string {
	var set []string
	for _, key := range memoryKeys {
		if v := ownParams[key].get(c); v != "" {
			set = append(set, key+"="+v)
		}
	}
	return strings.Join(set, " ")
}

// clone returns a copy that shares nothing that can be changed.
func (c *Config) clone() *Config {
	d := *c
	d.Params = maps.Clone(c.Params)
	d.Pragmas = slices.Clone(c.Pragmas)
	d.Extensions = slices.Clone(c.Extensions)
	return &d
}

// The methods below resolve defaults, and the values that switch something off.

// syncInterval returns 0 for Never.
func (c *Config) syncInterval() time.Duration {
	switch c.SyncInterval {
	case 0:
		return DefaultSyncInterval
	case Never:
		return 0
	}
	return c.SyncInterval
}

// wal returns the value for store.Options.
func (c *Config) wal() time.Duration {
	switch {
	case c.WAL == WALOff:
		return store.WALOff
	case c.WAL != 0:
		return c.WAL
	case c.noFile() || c.syncInterval() <= DefaultWAL:
		return store.WALOff
	}
	return DefaultWAL
}

// busyTimeout returns 0 for NoWait.
func (c *Config) busyTimeout() time.Duration {
	switch c.BusyTimeout {
	case 0:
		return DefaultBusyTimeout
	case NoWait:
		return 0
	}
	return c.BusyTimeout
}

// stmtCacheSize returns 0 for NoStmtCache.
func (c *Config) stmtCacheSize() int {
	switch c.StmtCacheSize {
	case 0:
		return DefaultStmtCacheSize
	case NoStmtCache:
		return 0
	}
	return c.StmtCacheSize
}

// keep returns 0 for NoKeep.
func (c *Config) keep() int { return max(c.Keep, 0) }

// maxMemory returns 0 for NoMaxMemory.
func (c *Config) maxMemory() int64 { return max(c.MaxMemory, 0) }

func (c *Config) direct() bool            { return c.InMemory == Off }
func (c *Config) liveLimit() int          { return cmp.Or(c.LiveLimit, DefaultLiveLimit) }
func (c *Config) liveIdle() time.Duration { return cmp.Or(c.LiveIdle, DefaultLiveIdle) }

// cannotWrite reports whether the connections are read-only by request.
func (c *Config) cannotWrite() bool { return c.Params["mode"] == "ro" || c.queryOnly() }

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

// slowLimit reports whether d is a SlowWriter or SlowReader.
func slowLimit(d time.Duration) bool { return d == 0 || d == SlowOff || d >= minInterval }

// validate checks each field and parameter, and then what excludes each other.
func (c *Config) validate() error {
	switch {
	case c.Role != "" && !c.Role.valid():
		return paramErr("sqlite_role", string(c.Role), "want auto, server or tool")
	case c.SyncInterval != 0 && c.SyncInterval != Never && c.SyncInterval < minInterval:
		return paramErr("sqlite_sync_interval", c.SyncInterval.String(), "want at least 1ms, or never (in Go driver.Never)")
	case c.WAL != 0 && c.WAL != WALOff && c.WAL != WALCommit && c.WAL < minInterval:
		return paramErr("sqlite_wal", c.WAL.String(), "want at least 1ms, off (in Go driver.WALOff) or commit (in Go driver.WALCommit)")
	case c.hasWAL() && c.SyncInterval == Never:
		return paramErr("sqlite_wal", formatWAL(c.WAL), "it cannot apply with sqlite_sync_interval=never: the log would grow for ever")
	case !c.InMemory.valid():
		return paramErr("sqlite_in_memory", string(c.InMemory), "want yes (in Go driver.On) or no (driver.Off)")
	case !c.Live.valid():
		return paramErr("sqlite_live", string(c.Live), "want yes (in Go driver.On) or no (driver.Off)")
	case c.Keep != NoKeep && (c.Keep < 0 || c.Keep > math.MaxInt32):
		return paramErr("sqlite_keep", fmt.Sprint(c.Keep), fmt.Sprintf("want at most %d, or 0 (in Go driver.NoKeep)", math.MaxInt32))
	case c.LiveLimit < 0 || c.LiveLimit > maxLiveLimit:
		return paramErr("sqlite_live_limit", fmt.Sprint(c.LiveLimit), fmt.Sprintf("want at most %d", maxLiveLimit))
	case c.LiveIdle != 0 && c.LiveIdle < minInterval:
		return paramErr("sqlite_live_idle", c.LiveIdle.String(), "want at least 1ms")
	case c.MaxMemory != NoMaxMemory && (c.MaxMemory < 0 || c.MaxMemory > maxMaxMemory):
		return paramErr("sqlite_max_memory", fmt.Sprint(c.MaxMemory), fmt.Sprintf("want at most %d bytes, or 0 (in Go driver.NoMaxMemory)", int64(maxMaxMemory)))
	case !slowLimit(c.SlowWriter):
		return paramErr("sqlite_slow_writer", c.SlowWriter.String(), "want at least 1ms, or off (in Go driver.SlowOff)")
	case !c.SlowStacks.valid():
		return paramErr("sqlite_slow_stacks", string(c.SlowStacks), "want yes (in Go driver.On) or no (driver.Off)")
	case !slowLimit(c.SlowReader):
		return paramErr("sqlite_slow_reader", c.SlowReader.String(), "want at least 1ms, or off (in Go driver.SlowOff)")
	case c.BusyTimeout != NoWait && (c.BusyTimeout < 0 || c.BusyTimeout%time.Millisecond != 0 || c.BusyTimeout > maxBusyTimeout):
		return paramErr("_busy_timeout", c.BusyTimeout.String(), fmt.Sprintf("want whole milliseconds, at most %d (%v), or nowait (in Go driver.NoWait)", maxBusyTimeout.Milliseconds(), maxBusyTimeout))
	case c.TxLock != "" && !c.TxLock.valid():
		return paramErr("_txlock", string(c.TxLock), "want deferred, immediate or exclusive")
	case c.StmtCacheSize != NoStmtCache && (c.StmtCacheSize < 0 || c.StmtCacheSize > math.MaxInt32):
		return paramErr("_stmt_cache_size", fmt.Sprint(c.StmtCacheSize), fmt.Sprintf("want at most %d, or off (in Go driver.NoStmtCache)", math.MaxInt32))
	case strings.IndexByte(c.Path, 0) >= 0:
		return fmt.Errorf("sqlite-mem: path %q contains a NUL byte", c.Path)
	case strings.IndexByte(c.MemoryName, 0) >= 0:
		return fmt.Errorf("sqlite-mem: MemoryName %q contains a NUL byte", c.MemoryName)
	case c.MemoryName != "" && c.Path != "":
		return fmt.Errorf("sqlite-mem: MemoryName %q cannot apply to the path %q; leave Path empty", c.MemoryName, c.Path)
	}
	if err := c.validateParams(); err != nil {
		return err
	}
	for _, text := range c.Pragmas {
		if err := checkPragma(text); err != nil {
			return err
		}
	}
	if c.direct() && c.Role == RoleServer {
		return paramErr("sqlite_role", "server", "it contradicts sqlite_in_memory=no: a server has the database in memory")
	}
	if !c.noFile() {
		return nil
	}
	const why = "it cannot apply to a database that is only in memory"
	switch {
	case c.direct():
		return paramErr("sqlite_in_memory", "no", why)
	case c.SyncInterval != 0:
		return paramErr("sqlite_sync_interval", formatInterval(c.SyncInterval), why)
	case c.hasWAL():
		return paramErr("sqlite_wal", formatWAL(c.WAL), why)
	case c.keep() != 0:
		return paramErr("sqlite_keep", fmt.Sprint(c.Keep), why)
	case c.Live == Off:
		return paramErr("sqlite_live", "no", why)
	case c.LiveLimit != 0:
		return paramErr("sqlite_live_limit", fmt.Sprint(c.LiveLimit), why)
	case c.LiveIdle != 0:
		return paramErr("sqlite_live_idle", c.LiveIdle.String(), why)
	case c.Role != "":
		return paramErr("sqlite_role", string(c.Role), why)
	case c.Params["mode"] != "":
		return paramErr("mode", c.Params["mode"], why)
	}
	return nil
}

// validateParams checks Params.
func (c *Config) validateParams() error {
	for key, value := range c.Params {
		switch _, own := ownParams[canonical(key)]; {
		case own:
			return paramErr(key, value, "it has a field of its own in Config")
		case !isSQLiteParam(key):
			return unknownKey(key)
		case key == "vfs" || key == "nolock":
			return paramErr(key, value, "it would take away the locks by which servers and tools keep apart")
		case key == "immutable" && !c.direct():
			return paramErr(key, value, "it cannot apply to a database in memory (sqlite_in_memory=no would allow it)")
		case key == "mode" && value != "ro" && value != "rw" && value != "rwc":
			return paramErr(key, value, "want ro, rw or rwc, or memory with file:")
		}
		if err := checkSQLiteParam(key, value); err != nil {
			return paramErr(key, value, err.Error())
		}
	}
	if _, err := sqltime.New(c.Params); err != nil {
		if e, ok := errors.AsType[*sqltime.Error](err); ok {
			return paramErr(e.Key, c.Params[e.Key], e.Reason)
		}
		return err
	}
	return nil
}
