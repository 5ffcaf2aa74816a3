package driver

import (
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/sqltime"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

var dsnTable = []struct {
	dsn    string
	want   Config
	format string // "": the same as dsn
}{
	{"app.db", Config{Path: "app.db"}, ""},
	{"/var/lib/app data/a'b\"c#d%20é.db", Config{Path: "/var/lib/app data/a'b\"c#d%20é.db"}, ""},
	{"file:app.db", Config{Path: "app.db"}, "app.db"},
	{"file:/a/b%3Fc%23d%25e%20f.db", Config{Path: "/a/b?c#d%e f.db"}, "file:/a/b%3Fc%23d%25e%20f.db"},
	{"file:///a/b.db", Config{Path: "/a/b.db"}, "/a/b.db"},
	{"file://localhost/a/b.db", Config{Path: "/a/b.db"}, "/a/b.db"},
	{"file:a.db#fragment", Config{Path: "a.db"}, "a.db"},
	{"file:a.db?_txlock=deferred#fragment", Config{Path: "a.db", TxLock: TxDeferred}, "a.db?_txlock=deferred"},
	{"", Config{}, ""},
	{"?_fk=1", Config{Params: map[string]string{"_fk": "1"}}, ""},
	{":memory:", Config{Path: ":memory:"}, ""},
	{"file::memory:", Config{Path: ":memory:"}, ":memory:"},
	{"file::memory:?cache=shared", Config{MemoryName: ":memory:"}, "file::memory:?cache=shared"},
	{":memory:?cache=shared", Config{MemoryName: ":memory:"}, "file::memory:?cache=shared"},
	{"file:test?mode=memory&cache=shared", Config{MemoryName: "test"}, "file:test?cache=shared&mode=memory"},
	{"file:test?mode=memory", Config{Path: ":memory:"}, ":memory:"},
	{"file::memory:?mode=memory&cache=shared", Config{MemoryName: ":memory:"}, "file::memory:?cache=shared"},
	{"app.db?cache=shared", Config{Path: "app.db"}, "app.db"},
	{"app.db?sqlite_in_memory=no", Config{Path: "app.db", InMemory: Off}, ""},
	{"app.db?sqlite_in_memory=ON", Config{Path: "app.db", InMemory: On}, "app.db?sqlite_in_memory=yes"},
	{"app.db?sqlite_sync_interval=20m", Config{Path: "app.db", SyncInterval: 20 * time.Minute}, "app.db?sqlite_sync_interval=20m0s"},
	{"app.db?sqlite_sync_interval=1d12h", Config{Path: "app.db", SyncInterval: 36 * time.Hour}, "app.db?sqlite_sync_interval=36h0m0s"},
	{"app.db?sqlite_sync_interval=2d", Config{Path: "app.db", SyncInterval: 48 * time.Hour}, "app.db?sqlite_sync_interval=48h0m0s"},
	{"app.db?sqlite_sync_interval=1500ms", Config{Path: "app.db", SyncInterval: 1500 * time.Millisecond}, "app.db?sqlite_sync_interval=1.5s"},
	{"app.db?sqlite_sync_interval=never", Config{Path: "app.db", SyncInterval: Never}, ""},
	{"app.db?sqlite_sync_interval=0", Config{Path: "app.db", SyncInterval: Never}, "app.db?sqlite_sync_interval=never"},
	{"app.db?sqlite_wal=off", Config{Path: "app.db", WAL: WALOff}, ""},
	{":memory:?sqlite_wal=off", Config{Path: ":memory:", WAL: WALOff}, ""},
	{"app.db?sqlite_wal=1s", Config{Path: "app.db", WAL: time.Second}, ""},
	{"app.db?sqlite_wal=100ms&sqlite_sync_interval=1h", Config{Path: "app.db", WAL: 100 * time.Millisecond, SyncInterval: time.Hour}, "app.db?sqlite_sync_interval=1h0m0s&sqlite_wal=100ms"},
	{"app.db?sqlite_wal=COMMIT", Config{Path: "app.db", WAL: WALCommit}, "app.db?sqlite_wal=commit"},
	{"app.db?sqlite_role=Server", Config{Path: "app.db", Role: RoleServer}, "app.db?sqlite_role=server"},
	{"app.db?sqlite_live=no", Config{Path: "app.db", Live: Off}, ""},
	{"app.db?sqlite_live=on&sqlite_live_limit=0", Config{Path: "app.db", Live: On, LiveLimit: DefaultLiveLimit}, "app.db?sqlite_live=yes&sqlite_live_limit=64"},
	{"app.db?sqlite_slow_reader=1m0s&sqlite_slow_stacks=yes&sqlite_slow_writer=1s", Config{Path: "app.db", SlowWriter: time.Second, SlowReader: time.Minute, SlowStacks: On}, ""},
	{"app.db?sqlite_slow_reader=off&sqlite_slow_writer=off", Config{Path: "app.db", SlowWriter: SlowOff, SlowReader: SlowOff}, ""},
	{"app.db?sqlite_live_idle=5m0s&sqlite_live_limit=3", Config{Path: "app.db", LiveLimit: 3, LiveIdle: 5 * time.Minute}, ""},
	{"app.db?sqlite_keep=3", Config{Path: "app.db", Keep: 3}, ""},
	{"app.db?sqlite_keep=0", Config{Path: "app.db", Keep: NoKeep}, ""},
	{":memory:?sqlite_in_memory=yes&sqlite_keep=0&sqlite_live=yes", Config{Path: ":memory:", InMemory: On, Keep: NoKeep, Live: On}, ""},
	{"app.db?sqlite_max_memory=0", Config{Path: "app.db", MaxMemory: NoMaxMemory}, ""},
	{"app.db?sqlite_max_memory=512MiB", Config{Path: "app.db", MaxMemory: 512 << 20}, ""},
	{"app.db?sqlite_max_memory=2gib", Config{Path: "app.db", MaxMemory: 2 << 30}, "app.db?sqlite_max_memory=2GiB"},
	{"app.db?sqlite_max_memory=123457", Config{Path: "app.db", MaxMemory: 123457}, ""},
	{"app.db?_busy_timeout=nowait", Config{Path: "app.db", BusyTimeout: NoWait}, ""},
	{"app.db?_busy_timeout=0", Config{Path: "app.db", BusyTimeout: NoWait}, "app.db?_busy_timeout=nowait"},
	{"app.db?_timeout=250", Config{Path: "app.db", BusyTimeout: 250 * time.Millisecond}, "app.db?_busy_timeout=250"},
	{"app.db?_stmt_cache_size=OFF", Config{Path: "app.db", StmtCacheSize: NoStmtCache}, "app.db?_stmt_cache_size=off"},
	{"app.db?_stmt_cache_size=0", Config{Path: "app.db", StmtCacheSize: NoStmtCache}, "app.db?_stmt_cache_size=off"},
	{"app.db?_stmt_cache_size=5", Config{Path: "app.db", StmtCacheSize: 5}, ""},
	{"app.db?_fk=1&_loc=auto", Config{Path: "app.db", Params: map[string]string{"_fk": "1", "_loc": "auto"}}, ""},
	{"app.db?_pragma=foreign_keys(1)&_pragma=temp_store=memory", Config{Path: "app.db", Pragmas: []string{"foreign_keys(1)", "temp_store=memory"}}, "app.db?_pragma=foreign_keys%281%29&_pragma=temp_store%3Dmemory"},
	{"app.db?_pragma=user_version(2)&_pragma=user_version(1)&_fk=1&_pragma=foreign_keys(on)", Config{Path: "app.db", Pragmas: []string{"user_version(2)", "user_version(1)", "foreign_keys(on)"}, Params: map[string]string{"_fk": "1"}}, "app.db?_fk=1&_pragma=user_version%282%29&_pragma=user_version%281%29&_pragma=foreign_keys%28on%29"},
	{"file:app.db?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous%20=%20normal&_timeout=5000", Config{Path: "app.db", BusyTimeout: 5 * time.Second, Pragmas: []string{"journal_mode(WAL)", "synchronous = normal"}}, "app.db?_busy_timeout=5000&_pragma=journal_mode%28WAL%29&_pragma=synchronous+%3D+normal"},
	{"app.db?_pragma=busy_timeout(0)&_pragma=main.cache_size=-2000&_pragma=auto_vacuum('full')&_pragma=query_only(1)", Config{Path: "app.db", BusyTimeout: NoWait, Params: map[string]string{"_cache_size": "-2000", "_auto_vacuum": "full", "_query_only": "1"}}, "app.db?_auto_vacuum=full&_busy_timeout=nowait&_cache_size=-2000&_query_only=1"},
	{"app.db?_pragma=optimize&_pragma=locking_mode(normal)&_pragma=temp.cache_size(5)", Config{Path: "app.db", Pragmas: []string{"optimize", "locking_mode(normal)", "temp.cache_size(5)"}}, "app.db?_pragma=optimize&_pragma=locking_mode%28normal%29&_pragma=temp.cache_size%285%29"},
	{"app.db?_time_format=datetime&_timezone=UTC", Config{Path: "app.db", Params: map[string]string{"_time_format": "datetime", "_timezone": "UTC"}}, ""},
	{"app.db?_timefmt=auto", Config{Path: "app.db", Params: map[string]string{"_timefmt": "auto"}}, ""},
	{"app.db?mode=ro", Config{Path: "app.db", Params: map[string]string{"mode": "ro"}}, ""},
	{"app.db?sqlite_in_memory=0&immutable=1", Config{Path: "app.db", InMemory: Off, Params: map[string]string{"immutable": "1"}}, "app.db?immutable=1&sqlite_in_memory=no"},
}

// Ensure that each form of name and each parameter means what the documentation says. A
// formatted name is parsed to the same Config again.
func TestParseDSN(t *testing.T) {
	for _, tt := range dsnTable {
		t.Run(tt.dsn, func(t *testing.T) {
			c, err := ParseDSN(tt.dsn)
			require.NoError(t, err)
			require.Equal(t, &tt.want, c)
			format := tt.format
			if format == "" {
				format = tt.dsn
			}
			require.Equal(t, format, c.FormatDSN())
			again, err := ParseDSN(c.FormatDSN())
			require.NoError(t, err)
			require.Equal(t, c, again)
		})
	}
}

// Ensure that the drive of a URI is found as SQLite finds it, and that no other path changes.
func TestWithoutSlash(t *testing.T) {
	for path, want := range map[string]string{
		"/C:/x.db": "C:/x.db", "/c:x.db": "c:x.db", "/C:": "C:", "C:/x.db": "C:/x.db",
		"/x.db": "/x.db", "//C:/x.db": "//C:/x.db", "/1:/x.db": "/1:/x.db", "/": "/", "": "",
	} {
		require.Equal(t, want, withoutSlash(path), path)
	}
	if runtime.GOOS == "windows" {
		c, err := ParseDSN("file:///C:/a%20b.db?mode=ro")
		require.NoError(t, err)
		require.Equal(t, "C:/a b.db", c.Path)
	}
}

// Ensure that an invalid name is refused. The error names the key and the value, or the
// path.
func TestParseDSN_invalid(t *testing.T) {
	for dsn, want := range map[string][]string{
		"a.db?sqlite_sync_intervall=20m":                   {`"sqlite_sync_intervall"`, "no such parameter"},
		"a.db?_busytimeout=1":                              {`"_busytimeout"`, "no such parameter"},
		"a.db?nonsense=1":                                  {`"nonsense"`, "no such parameter"},
		"a.db?_pragma=foreing_keys(1)":                     {"_pragma=foreing_keys", "no such pragma"},
		"a.db?_pragma=":                                    {"_pragma=", "want one pragma"},
		"a.db?_pragma=foreign_keys":                        {"_pragma=foreign_keys", "no value"},
		"a.db?_pragma=foreign_keys(1)%3BATTACH 'x' AS x":   {"_pragma=foreign_keys", "want one pragma"},
		"a.db?_pragma=foreign_keys=1%3BSELECT 1":           {"_pragma=foreign_keys", "a number, a word"},
		"a.db?_pragma=foreign_keys(1)--":                   {"_pragma=foreign_keys", "want one pragma"},
		"a.db?_pragma=encoding('a'b')":                     {"_pragma=encoding", "a number, a word"},
		"a.db?_pragma=other.cache_size(1)":                 {"_pragma=other", "want one pragma"},
		"a.db?_pragma=locking_mode(EXCLUSIVE)":             {"_pragma=locking_mode(EXCLUSIVE)", "would stop all others"},
		"a.db?_pragma=schema_version(1)":                   {"_pragma=schema_version(1)", "hide a change"},
		"a.db?_pragma=temp_store_directory('/x')":          {"_pragma=temp_store_directory", "whole process"},
		"a.db?_pragma=hard_heap_limit(1)":                  {"_pragma=hard_heap_limit(1)", "sqlite_max_memory"},
		"a.db?_pragma=integrity_check":                     {"_pragma=integrity_check", "sets nothing"},
		"a.db?_pragma=busy_timeout(1s)":                    {"_pragma=busy_timeout(1s)", "milliseconds"},
		"a.db?_pragma=busy_timeout(1)&_timeout=2":          {"_pragma=busy_timeout(1)", "given twice", "_busy_timeout=2"},
		"a.db?_pragma=auto_vacuum(full)&_vacuum=none":      {"_pragma=auto_vacuum(full)", "given twice", "_vacuum=none"},
		"a.db?sqlite_wal=0":                                {"sqlite_wal=0", "off"},
		"a.db?sqlite_wal=-1s":                              {"sqlite_wal=-1s"},
		"a.db?sqlite_wal=on":                               {"sqlite_wal=on", "commit"},
		"a.db?sqlite_wal=1s&sqlite_sync_interval=0":        {"sqlite_wal=1s", "sqlite_sync_interval=never"},
		":memory:?sqlite_wal=commit":                       {"sqlite_wal=commit", "only in memory"},
		"a.db?sqlite_wal=never":                            {"sqlite_wal=never", "off"},
		"a.db?sqlite_sync_interval=off":                    {"sqlite_sync_interval=off", "never"},
		"a.db?sqlite_sync_interval=20":                     {"sqlite_sync_interval=20", "20m"},
		"a.db?sqlite_sync_interval=-5m":                    {"sqlite_sync_interval=-5m"},
		"a.db?sqlite_sync_interval=":                       {"sqlite_sync_interval="},
		"a.db?sqlite_sync_interval=0s":                     {"sqlite_sync_interval=0s"},
		"a.db?sqlite_sync_interval=d":                      {"sqlite_sync_interval=d"},
		"a.db?sqlite_in_memory=maybe":                      {"sqlite_in_memory=maybe", "yes"},
		"a.db?sqlite_role=boss":                            {"sqlite_role=boss", "server"},
		"a.db?sqlite_live=maybe":                           {"sqlite_live=maybe", "want yes"},
		"a.db?sqlite_live_limit=-1":                        {"sqlite_live_limit=-1", "0 or more"},
		"a.db?sqlite_live_limit=10001":                     {"sqlite_live_limit=10001", "at most 10000"},
		"a.db?sqlite_slow_writer=0":                        {"sqlite_slow_writer=0", "or off"},
		"a.db?sqlite_slow_writer=1us":                      {"sqlite_slow_writer=1µs", "at least 1ms"},
		"a.db?sqlite_slow_reader=never":                    {"sqlite_slow_reader=never", "or off"},
		"a.db?sqlite_slow_reader=1us":                      {"sqlite_slow_reader=1µs", "at least 1ms"},
		"a.db?sqlite_slow_stacks=maybe":                    {"sqlite_slow_stacks=maybe", "yes, no"},
		"a.db?sqlite_live_idle=0":                          {"sqlite_live_idle=0", "over 0"},
		"a.db?sqlite_live_idle=1us":                        {"sqlite_live_idle=1µs", "at least 1ms"},
		":memory:?sqlite_live=no":                          {"sqlite_live=no", "only in memory"},
		"a.db?sqlite_keep=-1":                              {"sqlite_keep=-1", "0 or more"},
		"a.db?sqlite_keep=two":                             {"sqlite_keep=two", "integer"},
		":memory:?sqlite_keep=2":                           {"sqlite_keep=2", "only in memory"},
		"a.db?sqlite_max_memory=1GB":                       {"sqlite_max_memory=1GB", "GiB"},
		"a.db?sqlite_max_memory=-1":                        {"sqlite_max_memory=-1"},
		"a.db?sqlite_max_memory=99999999999TiB":            {"sqlite_max_memory="},
		"a.db?sqlite_max_memory=4611686018427387905":       {"sqlite_max_memory=", "4611686018427387904"},
		"a.db?_busy_timeout=-1":                            {"_busy_timeout=-1", "nowait"},
		"a.db?_busy_timeout=1s":                            {"_busy_timeout=1s"},
		"a.db?_timeout=1&_busy_timeout=2":                  {"_timeout=1", "given twice", "_busy_timeout"},
		"a.db?_fk=1&_foreign_keys=0":                       {"given twice", "_fk"},
		"a.db?sqlite_role=tool&sqlite_role=tool":           {"sqlite_role=tool,tool", "given twice"},
		"a.db?_txlock=sometimes":                           {"_txlock=sometimes"},
		"a.db?_stmt_cache_size=-3":                         {"_stmt_cache_size=-3", "off"},
		"a.db?cache=public":                                {"cache=public"},
		"a.db?mode=memory":                                 {"mode=memory", "file:"},
		"a.db?mode=rx":                                     {"mode=rx"},
		"a.db?vfs=unix":                                    {"vfs=unix"},
		"a.db?immutable=1":                                 {"immutable=1"},
		"a.db?nolock=1":                                    {"nolock=1"},
		"a.db?%zz":                                         {`"%zz"`, "hexadecimal"},
		"a.db?nonsense=1&nonsense=2":                       {`"nonsense"`, "no such parameter"},
		"a.db?sqlite_sync_interval=10us":                   {"sqlite_sync_interval=10µs", "at least 1ms"},
		"a.db?sqlite_wal=999us":                            {"sqlite_wal=999µs", "at least 1ms"},
		"a.db?sqlite_in_memory=no&sqlite_role=server":      {"sqlite_role=server", "sqlite_in_memory=no"},
		"a.db?sqlite_in_memory=no&vfs=unix":                {"vfs=unix", "locks"},
		"a.db?sqlite_in_memory=no&nolock=1":                {"nolock=1", "locks"},
		"file://host/a.db":                                 {"host"},
		"file:a%zz.db":                                     {"a%zz.db"},
		"file:a%00.db":                                     {"NUL"},
		":memory:?sqlite_sync_interval=1m":                 {"sqlite_sync_interval=1m", "only in memory"},
		":memory:?sqlite_sync_interval=0":                  {"sqlite_sync_interval=never", "only in memory"},
		"?sqlite_role=server":                              {"sqlite_role=server", "only in memory"},
		"file:x?mode=memory&sqlite_in_memory=no":           {"sqlite_in_memory=no", "only in memory"},
		":memory:?mode=ro":                                 {"mode=ro", "only in memory"},
		"file:x?mode=memory&cache=shared&sqlite_role=tool": {"sqlite_role=tool", "only in memory"},
	} {
		t.Run(dsn, func(t *testing.T) {
			_, err := ParseDSN(dsn)
			require.Error(t, err)
			for _, w := range want {
				require.ErrorContains(t, err, w)
			}
		})
	}
}

// Ensure that a Config made in Go is held to the same rules as a string.
func TestConfig_validate(t *testing.T) {
	beyond := math.MaxInt32
	beyond++ // negative where an int has 32 bits, which is refused too
	for _, c := range []Config{
		{Path: "a.db", Role: "boss"},
		{Path: "a.db", Keep: -1},
		{Path: "a.db", MaxMemory: -1},
		{Path: "a.db", BusyTimeout: time.Microsecond},
		{Path: "a.db", BusyTimeout: 1500 * time.Microsecond},
		{Path: "a.db", BusyTimeout: 30 * 24 * time.Hour},
		{Path: "a.db", BusyTimeout: 1<<63 - 1},
		{Path: "a.db", SyncInterval: 1500 * time.Nanosecond},
		{Path: "a.db", WAL: time.Nanosecond},
		{Path: "a.db", WAL: -7},
		{Path: "a.db", StmtCacheSize: beyond},
		{Path: "a.db", Keep: beyond},
		{Path: "a\x00.db"},
		{Path: "a.db", InMemory: Off, Role: RoleServer},
		{Path: "a.db", TxLock: "x"},
		{Path: "a.db", MemoryName: "m"},
		{Path: ":memory:", MemoryName: "m"},
		{MemoryName: "a\x00"},
		{Path: "a.db", MaxMemory: 1<<62 + 1},
		{Path: "a.db", InMemory: "on"},
		{Path: "a.db", Live: "off"},
		{Path: "a.db", StmtCacheSize: -1},
		{Path: "a.db", BusyTimeout: -1},
		{Path: "a.db", SyncInterval: -1},
		{Path: "a.db", LiveLimit: -1},
		{Path: "a.db", LiveIdle: -1},
		{Path: "a.db", SlowWriter: -1}, {Path: "a.db", SlowReader: NoWait},
		{LiveIdle: time.Minute},
		{Path: "a.db", SyncInterval: -time.Minute},
		{Path: "a.db", Params: map[string]string{"_txlock": "deferred"}},
		{Path: "a.db", Params: map[string]string{"_timeout": "1"}},
		{Path: "a.db", Params: map[string]string{"typo": "1"}},
		{Path: "a.db", Params: map[string]string{"_pragma": "foreign_keys(1)"}},
		{Path: "a.db", Pragmas: []string{"busy_timeout(1)"}},
		{Path: "a.db", Pragmas: []string{"auto_vacuum(1)"}},
		{Path: "a.db", Pragmas: []string{"cache_size(1)"}},
		{Path: "a.db", Pragmas: []string{" foreign_keys(1)"}},
		{Path: "a.db", Pragmas: []string{"foreign_keys=1 "}},
		{Path: "a.db", Pragmas: []string{"encoding('a\nb')"}},
		{SyncInterval: time.Minute},
	} {
		_, err := NewConnector(&c)
		require.Error(t, err, "%+v", c)
	}
}

// Ensure that a value which switches something off is refused in every field but its
// own, and by an error that names the right one.
func TestConfig_wrongConstant(t *testing.T) {
	values := []time.Duration{WALCommit, WALOff, Never, NoWait, NoStmtCache, NoKeep, NoMaxMemory}
	for _, v := range values {
		for own, c := range map[time.Duration]Config{
			WALOff:      {Path: "a.db", WAL: v},
			Never:       {Path: "a.db", SyncInterval: v},
			NoWait:      {Path: "a.db", BusyTimeout: v},
			NoStmtCache: {Path: "a.db", StmtCacheSize: int(v)},
			NoKeep:      {Path: "a.db", Keep: int(v)},
			NoMaxMemory: {Path: "a.db", MaxMemory: int64(v)},
		} {
			err := c.validate()
			if v == own || own == WALOff && v == WALCommit {
				require.NoError(t, err)
				continue
			}
			name := map[time.Duration]string{WALOff: "WALOff", Never: "Never", NoWait: "NoWait", NoStmtCache: "NoStmtCache", NoKeep: "NoKeep", NoMaxMemory: "NoMaxMemory"}[own]
			require.ErrorContains(t, err, "driver."+name, "%+v", c)
		}
	}
}

// Ensure that a valid Config and the data source name that it is formatted to have the
// same value in every field.
func TestConfig_FormatDSN(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	valid, set := 0, make(map[string]bool)
	for range 20000 {
		c := randomConfig(rnd)
		if c.validate() != nil {
			continue
		}
		valid++
		for field, value := range reflect.ValueOf(*c).Fields() {
			set[field.Name] = set[field.Name] || !value.IsZero()
		}
		again, err := ParseDSN(c.FormatDSN())
		require.NoError(t, err, "%+v", c)
		require.Equal(t, c, again, c.FormatDSN())
	}
	require.Greater(t, valid, 2000)
	for name, was := range set {
		noName := slices.Contains([]string{"Logger", "OnSync", "Extensions", "ConnectHook"}, name)
		require.Equal(t, !noName, was, name)
	}
}

// randomConfig returns a Config with some fields set, which need not be valid together.
func randomConfig(rnd *rand.Rand) *Config {
	c := &Config{Path: pick(rnd, "", ":memory:", "a.db", "/a b/c?d#e%f;g&h=i.db", "file:x", "//host/a.db", "é\xff")}
	if rnd.IntN(2) == 0 {
		c.MemoryName = pick(rnd, "m", ":memory:", "//host/a?b#c", "é\xff%00")
	}
	some := func(set func()) {
		if rnd.IntN(4) == 0 {
			set()
		}
	}
	duration := func() time.Duration {
		return pick(rnd, WALCommit, WALOff, Never, NoWait, 0, time.Millisecond, time.Millisecond+1, 1500*time.Millisecond, 36*time.Hour, math.MaxInt64, time.Duration(rnd.Int64()))
	}
	some(func() { c.InMemory = pick(rnd, On, Off) })
	some(func() { c.SyncInterval = duration() })
	some(func() { c.WAL = duration() })
	some(func() { c.Keep = pick(rnd, 0, 1, NoKeep, math.MaxInt32, rnd.Int()) })
	some(func() { c.Role = pick(rnd, RoleAuto, RoleServer, RoleTool) })
	some(func() { c.Live = pick(rnd, On, Off) })
	some(func() { c.LiveLimit = pick(rnd, 0, 1, maxLiveLimit, rnd.Int()) })
	some(func() { c.LiveIdle = duration() })
	some(func() { c.MaxMemory = pick(rnd, 0, 1, NoMaxMemory, 1023, 1<<20, 3<<30, 1<<62, rnd.Int64()) })
	some(func() { c.SlowWriter = pick(rnd, SlowOff, duration()) })
	some(func() { c.SlowReader = pick(rnd, SlowOff, duration()) })
	some(func() { c.SlowStacks = pick(rnd, On, Off) })
	some(func() { c.BusyTimeout = duration() })
	some(func() { c.TxLock = pick(rnd, TxDeferred, TxImmediate, TxExclusive) })
	some(func() { c.StmtCacheSize = pick(rnd, NoStmtCache, 0, 1, math.MaxInt32, rnd.Int()) })
	some(func() {
		c.Pragmas = []string{pick(rnd, "foreign_keys(1)", "foreign_keys = 'é&=\"%'"), pick(rnd, "optimize", "main.user_version(-1)", "query_only(1)")}
	})
	some(func() {
		c.Params = map[string]string{"_loc": "auto", "_inttotime": pick(rnd, "0", "true"), "_fk": pick(rnd, "on", "0"), "mode": pick(rnd, "ro", "rwc"), "_auth_user": pick(rnd, "", "a&b=c%é\x00 ")}
	})
	return c
}

func pick[T any](rnd *rand.Rand, list ...T) T { return list[rnd.IntN(len(list))] }

// Ensure that no error of a data source name shows a password, be it misspelt, given
// twice, or not to be decoded.
func TestParseDSN_secrets(t *testing.T) {
	for _, dsn := range []string{
		"a.db?_auth_pass=hunter2&_auth_pass=hunter2",
		"a.db?_auth_pas=hunter2",
		"a.db?_pragma_key=hunter2",
		"a.db?key=hunter2&key=hunter2",
		"a.db?_pragma=key('hunter2')",
		"a.db?_pragma=hexkey=hunter2",
		"a.db?_pragma=key('hunter2')x",
		"a.db?_pragma=key:hunter2",
		"a.db?_pragma=key.hunter2",
		"a.db?_pragma=hexkey/hunter2",
		"a.db?_pragma=kee(hunter2)",
		"a.db?_auth_pass=hunter2%zz",
		"a.db?_auth_pass=hunter2;x",
		"a.db?_auth_pass=hunter2&sqlite_wal=never",
		":memory:?_auth_pass=hunter2&sqlite_role=tool",
	} {
		_, err := ParseDSN(dsn)
		require.Error(t, err, dsn)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := NewConnector(&Config{Path: "a.db", Params: map[string]string{"_key": "hunter2"}})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}

// Ensure that the log is on by default where it can be, and off where it cannot.
func TestConfig_wal(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want time.Duration
	}{
		{Config{Path: "a.db"}, time.Second},
		{Config{Path: "a.db", SyncInterval: 2 * time.Second}, time.Second},
		{Config{Path: "a.db", SyncInterval: time.Second}, store.WALOff},
		{Config{Path: "a.db", SyncInterval: Never}, store.WALOff},
		{Config{Path: "a.db", WAL: WALOff}, store.WALOff},
		{Config{Path: "a.db", WAL: WALCommit}, store.WALCommit},
		{Config{Path: "a.db", WAL: time.Minute, SyncInterval: time.Second}, time.Minute},
		{Config{}, store.WALOff},
	} {
		require.NoError(t, c.cfg.validate())
		require.Equal(t, c.want, c.cfg.wal(), "%+v", c.cfg)
	}
}

// Ensure that the README's table has every parameter with its type and its
// default, in the words of the code.
func TestParams_readme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	for _, p := range params {
		row := "| `" + p.key + "` | " + p.typ + " | `" + p.def + "` | " + p.meaning + " |"
		require.True(t, strings.Contains(string(readme), row), "README.md lacks the row\n%s", row)
	}
}

// Ensure that whatever is parsed can be formatted and parsed to the same.
func FuzzParseDSN(f *testing.F) {
	for _, tt := range dsnTable {
		f.Add(tt.dsn)
	}
	f.Fuzz(func(t *testing.T, dsn string) {
		c, err := ParseDSN(dsn)
		if err != nil {
			return
		}
		text := c.FormatDSN()
		again, err := ParseDSN(text)
		require.NoError(t, err, text)
		require.Equal(t, text, again.FormatDSN())
		require.Equal(t, c, again)
	})
}

// Ensure that the table of the drivers' parameters has each of ours, by its first name, and
// that those that it calls refused are, and no other.
func TestParams_drivers(t *testing.T) {
	doc, err := os.ReadFile("doc_drivers.go")
	require.NoError(t, err)
	table := make(map[string]string) // what a parameter is here
	for line := range strings.Lines(string(doc)) {
		if row, ok := strings.CutPrefix(line, "//\t"); ok {
			cells := regexp.MustCompile(`\s{2,}`).Split(strings.TrimSpace(row), -1)
			require.Len(t, cells, 5, row)
			for _, key := range strings.Split(cells[0], ", ") {
				table[key] = cells[4]
			}
		}
	}
	known := slices.Concat([]string{"_pragma", "cache"}, sqltime.Keys, slices.Collect(maps.Keys(sqliteParams)), slices.Collect(maps.Keys(otherParams)))
	for _, p := range params {
		known = append(known, p.key)
	}
	for _, key := range known {
		if strings.HasPrefix(key, "sqlite_") || strings.HasPrefix(key, "_auth_") {
			continue
		}
		require.Contains(t, table, key)
	}
	for key, here := range table {
		if !strings.HasPrefix(here, "refused") {
			continue
		}
		_, err := ParseDSN("a.db?" + strings.ReplaceAll(key, " ", "_") + "=x")
		require.Error(t, err, key)
		if _, but, ok := strings.Cut(here, ", but "); ok {
			_, err := ParseDSN("a.db?" + key + "=" + but)
			require.NoError(t, err, key)
		}
	}
}
