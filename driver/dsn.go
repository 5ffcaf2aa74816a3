package driver

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"runtime"
	"slices"
	"strings"
)

// param is one parameter of this driver. The tests hold the table of the README against
// this list.
type param struct {
	key     string
	typ     string
	def     string // the default, as it would be written
	meaning string
	set     func(c *Config, value string) error
	get     func(c *Config) string // empty: the default
}

var params = []param{
	{
		"sqlite_in_memory", "bool", "yes",
		"`no`: nothing is loaded; go-sqlite3 works on the file itself, in the role of a tool",
		func(c *Config, v string) (err error) {
			c.InMemory, err = parseSwitch(v)
			return err
		},
		func(c *Config) string { return string(c.InMemory) },
	},
	{
		"sqlite_sync_interval", "duration, never", "20m",
		"how often changes are saved: `30s`, `20m`, `1h`, `1d`, `1d12h`; `never`: not on close either",
		func(c *Config, v string) (err error) {
			c.SyncInterval, err = parseInterval(v)
			return err
		},
		func(c *Config) string { return formatInterval(c.SyncInterval) },
	},
	{
		"sqlite_wal", "off, duration, commit", "1s",
		"what a crash can cost: a commit is in a log beside the file within this time, or (`commit`) before it returns; `off`: no log",
		func(c *Config, v string) (err error) {
			c.WAL, err = parseWAL(v)
			return err
		},
		func(c *Config) string {
			if c.WAL == 0 {
				return ""
			}
			return formatWAL(c.WAL)
		},
	},
	{
		"sqlite_keep", "integer", "0",
		"how many earlier states of the file are kept: `FILE.kept-1` is the file before the last save",
		func(c *Config, v string) (err error) {
			c.Keep, err = parseCount(v)
			c.Keep = cmp.Or(c.Keep, NoKeep)
			return err
		},
		func(c *Config) string {
			if c.Keep == NoKeep {
				return "0"
			}
			return formatCount(c.Keep)
		},
	},
	{
		"sqlite_role", "auto, server, tool", "auto",
		"whether this process serves the database from memory or works on its file",
		func(c *Config, v string) error {
			c.Role = Role(strings.ToLower(v))
			if !c.Role.valid() {
				return errors.New("want auto, server or tool")
			}
			return nil
		},
		func(c *Config) string { return string(c.Role) },
	},
	{
		"sqlite_live", "bool", "yes",
		"other processes work on the server's memory through a socket beside the file; `no`: they read the file as last saved",
		func(c *Config, v string) (err error) {
			c.Live, err = parseSwitch(v)
			return err
		},
		func(c *Config) string { return string(c.Live) },
	},
	{
		"sqlite_live_limit", "integer", "64",
		"live connections that a server serves at a time; others wait",
		func(c *Config, v string) (err error) {
			c.LiveLimit, err = parseCount(v)
			c.LiveLimit = cmp.Or(c.LiveLimit, DefaultLiveLimit)
			return err
		},
		func(c *Config) string { return formatCount(c.LiveLimit) },
	},
	{
		"sqlite_live_idle", "duration", "30s",
		"how long a live connection may leave a transaction idle while others wait; then the server rolls it back",
		func(c *Config, v string) error {
			d, ok := parseDuration(v)
			if !ok {
				return errors.New("want a duration over 0 such as 30s or 5m")
			}
			c.LiveIdle = d
			return nil
		},
		func(c *Config) string { return formatInterval(c.LiveIdle) },
	},
	{
		"sqlite_max_memory", "size", "0",
		"largest size of the database: `512MiB`, `2GiB`, or bytes; growing past it is SQLITE_FULL; `0`: no cap",
		func(c *Config, v string) (err error) {
			c.MaxMemory, err = parseSize(v)
			c.MaxMemory = cmp.Or(c.MaxMemory, NoMaxMemory)
			return err
		},
		func(c *Config) string {
			if c.MaxMemory == NoMaxMemory {
				return "0"
			}
			return formatSize(c.MaxMemory)
		},
	},
	{
		"sqlite_slow_writer", "off, duration", "off",
		"a writer that holds the write lock longer is logged, with its statement",
		func(c *Config, v string) (err error) {
			c.SlowWriter, err = parseSlow(v)
			return err
		},
		func(c *Config) string { return formatSlow(c.SlowWriter) },
	},
	{
		"sqlite_slow_reader", "off, duration", "off",
		"a reader that keeps an old state longer is logged, with its statement",
		func(c *Config, v string) (err error) {
			c.SlowReader, err = parseSlow(v)
			return err
		},
		func(c *Config) string { return formatSlow(c.SlowReader) },
	},
	{
		"sqlite_slow_stacks", "bool", "no",
		"both are logged with the stack of where they began",
		func(c *Config, v string) (err error) {
			c.SlowStacks, err = parseSwitch(v)
			return err
		},
		func(c *Config) string { return string(c.SlowStacks) },
	},
	{
		"_busy_timeout", "milliseconds, nowait", "60000",
		"longest wait of a writer for its turn, then SQLITE_BUSY; `nowait` or `0`: none",
		func(c *Config, v string) (err error) {
			c.BusyTimeout, err = parseBusyTimeout(v)
			return err
		},
		func(c *Config) string { return formatBusyTimeout(c.BusyTimeout) },
	},
	{
		"_txlock", "deferred, immediate, exclusive", "immediate",
		"how a transaction that may write begins",
		func(c *Config, v string) error {
			c.TxLock = TxLock(strings.ToLower(v))
			if !c.TxLock.valid() {
				return errors.New("want deferred, immediate or exclusive")
			}
			return nil
		},
		func(c *Config) string { return string(c.TxLock) },
	},
	{
		"_stmt_cache_size", "integer, off", "128",
		"prepared statements that each connection keeps; `off` or `0`: none",
		func(c *Config, v string) (err error) {
			c.StmtCacheSize, err = parseStmtCacheSize(v)
			return err
		},
		func(c *Config) string { return formatStmtCacheSize(c.StmtCacheSize) },
	},
}

// pragmaKey is the only parameter that may be repeated: see pragma.go.
const pragmaKey = "_pragma"

// ownParams are the params by key.
var ownParams = func() map[string]*param {
	m := make(map[string]*param, len(params))
	for i := range params {
		m[params[i].key] = &params[i]
	}
	return m
}()

// paramErr returns an error that names a parameter and the reason. It shows the value
// only if that can be no secret. An unknown key may be a misspelt one for a password.
func paramErr(key, value, reason string) error {
	_, own := ownParams[canonical(key)]
	if !own && key != "cache" && (!isSQLiteParam(key) || strings.HasPrefix(key, "_auth")) {
		return fmt.Errorf("sqlite-mem: parameter %q: %s", key, reason)
	}
	return fmt.Errorf("sqlite-mem: %s=%s: %s", key, value, reason)
}

func unknownKey(key string) error {
	return paramErr(key, "", "there is no such parameter")
}

// parseQuery is url.ParseQuery with errors that show no value, which may be a password.
func parseQuery(query string) (url.Values, error) {
	values, err := url.ParseQuery(query)
	if err == nil {
		return values, nil
	}
	for part := range strings.SplitSeq(query, "&") {
		if _, err := url.ParseQuery(part); err == nil {
			continue
		}
		key, _, _ := strings.Cut(part, "=")
		reason := "a % must be followed by two hexadecimal digits (a % itself is written %25)"
		if strings.Contains(part, ";") {
			reason = "parameters are separated by &, not by ; (a ; itself is written %3B)"
		}
		return nil, fmt.Errorf("sqlite-mem: parameter %q: %s", key, reason)
	}
	return nil, errors.New("sqlite-mem: the parameters behind the ? cannot be read")
}

// ParseDSN parses a data source name. It is one of
//
//	path[?key=value&...]        the path is taken literally, up to the first '?'
//	file:path[?key=value&...]   the path is percent-decoded, as in SQLite's URIs
//
// The package documentation lists the keys. The empty path, ":memory:", "file::memory:"
// and mode=memory stand for a database that is only in memory.
//
// An error names the key. It may be unknown, be given twice (also by an alias), have an
// invalid value, or exclude another one. An error shows a value only if the parameter is
// known and holds no password.
func ParseDSN(dsn string) (*Config, error) {
	path, query, _ := strings.Cut(dsn, "?")
	uri := strings.HasPrefix(path, "file:")
	if uri {
		query, _, _ = strings.Cut(query, "#")
		var err error
		if path, err = uriPath(path); err != nil {
			return nil, err
		}
	}
	if strings.IndexByte(path, 0) >= 0 {
		return nil, fmt.Errorf("sqlite-mem: path %q contains a NUL byte", path)
	}
	values, err := parseQuery(query)
	if err != nil {
		return nil, err
	}
	c := &Config{Path: path}
	seen := make(map[string]string)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value := values[key]
		if key == pragmaKey {
			continue // they come last, as some are other parameters
		}
		if ownParams[canonical(key)] == nil && key != "cache" && !isSQLiteParam(key) {
			return nil, unknownKey(key)
		}
		if len(value) > 1 {
			return nil, paramErr(key, strings.Join(value, ","), "given twice")
		}
		if first, ok := seen[canonical(key)]; ok {
			return nil, paramErr(key, value[0], "given twice, also as "+first)
		}
		seen[canonical(key)] = key
		switch p := ownParams[canonical(key)]; {
		case p != nil:
			if err := p.set(c, value[0]); err != nil {
				return nil, paramErr(key, value[0], err.Error())
			}
		case key == "cache":
			// Settled below; SQLite's own shared cache is never used.
		default:
			if c.Params == nil {
				c.Params = make(map[string]string)
			}
			c.Params[key] = value[0]
		}
	}
	if err := c.addPragmas(values[pragmaKey]); err != nil {
		return nil, err
	}
	if err := c.setMemory(uri, values.Get("cache")); err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// setMemory interprets mode=memory and cache=shared.
func (c *Config) setMemory(uri bool, cache string) error {
	shared := false
	switch cache {
	case "shared":
		shared = true
	case "private", "":
	default:
		return paramErr("cache", cache, "want shared or private")
	}
	if c.Params["mode"] == "memory" {
		if !uri {
			return paramErr("mode", "memory", "it needs a name with file: in front")
		}
		delete(c.Params, "mode")
		if len(c.Params) == 0 {
			c.Params = nil
		}
		name := c.Path
		c.Path = ":memory:"
		if shared {
			c.Path, c.MemoryName = "", name
		}
	} else if c.Path == ":memory:" && shared {
		c.Path, c.MemoryName = "", ":memory:"
	}
	return nil
}

// uriPath returns the path of a "file:" name. SQLite allows an authority that
// is empty or localhost (https://sqlite.org/uri.html).
func uriPath(s string) (string, error) {
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "file:"), "#")
	if rest, ok := strings.CutPrefix(s, "//"); ok {
		authority, path, _ := strings.Cut(rest, "/")
		if authority != "" && authority != "localhost" {
			return "", fmt.Errorf("sqlite-mem: file://%s: the authority must be empty or localhost", authority)
		}
		s = "/" + path
	}
	path, err := url.PathUnescape(s)
	if err != nil {
		return "", fmt.Errorf("sqlite-mem: path %q: %w", s, err)
	}
	if runtime.GOOS == "windows" {
		path = withoutSlash(path)
	}
	return path, nil
}

// withoutSlash returns C:/x for /C:/x, as SQLite does on Windows. A URI with an authority
// has that slash.
func withoutSlash(path string) string {
	if len(path) > 2 && path[0] == '/' && path[2] == ':' {
		if c := path[1] | 0x20; 'a' <= c && c <= 'z' {
			return path[1:]
		}
	}
	return path
}

// FormatDSN returns the data source name of c. It has all of a valid Config but
// Logger, OnSync, Extensions and ConnectHook, which no name can have: [ParseDSN] makes
// a Config of it whose other fields are equal.
func (c *Config) FormatDSN() string {
	q := make(url.Values)
	for i := range params {
		if v := params[i].get(c); v != "" {
			q.Set(params[i].key, v)
		}
	}
	for k, v := range c.Params {
		q.Set(k, v)
	}
	if len(c.Pragmas) > 0 {
		q[pragmaKey] = c.Pragmas
	}
	name := c.Path
	switch {
	case c.MemoryName == ":memory:":
		name = "file::memory:"
		q.Set("cache", "shared")
	case c.MemoryName != "":
		name = uriName(c.MemoryName)
		q.Set("mode", "memory")
		q.Set("cache", "shared")
	case strings.Contains(name, "?") || strings.HasPrefix(name, "file:"):
		name = uriName(name)
	}
	if len(q) == 0 {
		return name
	}
	return name + "?" + q.Encode()
}

// uriName returns the "file:" name of a path.
func uriName(path string) string {
	u := url.URL{Path: path}
	escaped := u.EscapedPath()
	if strings.HasPrefix(escaped, "//") { // would be taken for an authority
		escaped = "//" + escaped
	}
	return "file:" + escaped
}
