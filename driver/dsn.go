package driver

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// param is one parameter of this driver. The README's table and the tests walk
// the list too, so that there is one place that says what a parameter is.
type param struct {
	key     string
	typ     string
	def     string // the default, as it would be written
	meaning string
	set     func(c *Config, value string) error
	get     func(c *Config) string // "": as by default
}

var params = []param{
	{
		"sqlite_in_memory", "bool", "yes",
		"`no`: nothing is loaded; go-sqlite3 works on the file itself, in the role of a tool",
		func(c *Config, v string) error {
			on, err := parseBool(v)
			c.Direct = !on
			return err
		},
		func(c *Config) string {
			if c.Direct {
				return "no"
			}
			return ""
		},
	},
	{
		"sqlite_sync_interval", "duration", "20m",
		"how often changes are saved: `30s`, `20m`, `1h`, `1d`, `1d12h`; `0`: never, not on close either",
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
			return err
		},
		func(c *Config) string {
			if c.Keep == 0 {
				return ""
			}
			return strconv.Itoa(c.Keep)
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
		"sqlite_max_memory", "size", "0",
		"largest size of the database: `512MiB`, `2GiB`, or bytes; growing past it is SQLITE_FULL; `0`: no cap",
		func(c *Config, v string) (err error) {
			c.MaxMemory, err = parseSize(v)
			return err
		},
		func(c *Config) string { return formatSize(c.MaxMemory) },
	},
	{
		"_busy_timeout", "milliseconds", "60000",
		"longest wait of a writer for its turn, then SQLITE_BUSY; `0`: do not wait",
		func(c *Config, v string) error {
			ms, err := strconv.ParseInt(v, 10, 32)
			if err != nil || ms < 0 {
				return errors.New("want milliseconds, 0 or more")
			}
			c.BusyTimeout = zeroIsNone(time.Duration(ms) * time.Millisecond)
			return nil
		},
		func(c *Config) string {
			if c.BusyTimeout == 0 {
				return ""
			}
			return strconv.FormatInt(max(c.BusyTimeout, 0).Milliseconds(), 10)
		},
	},
	{
		"_txlock", "deferred, immediate, exclusive", "immediate",
		"how a transaction that may write begins",
		func(c *Config, v string) error {
			c.TxLock = TxLock(strings.ToLower(v))
			switch c.TxLock {
			case TxDeferred, TxImmediate, TxExclusive:
				return nil
			}
			return errors.New("want deferred, immediate or exclusive")
		},
		func(c *Config) string { return string(c.TxLock) },
	},
	{
		"_stmt_cache_size", "integer", "128",
		"prepared statements that each connection keeps; `0`: none",
		func(c *Config, v string) error {
			n, err := parseCount(v)
			c.StmtCacheSize = zeroIsNone(n)
			return err
		},
		func(c *Config) string {
			if c.StmtCacheSize == 0 {
				return ""
			}
			return strconv.Itoa(max(c.StmtCacheSize, 0))
		},
	},
}

// ownParams are the params by key.
var ownParams = func() map[string]*param {
	m := make(map[string]*param, len(params))
	for i := range params {
		m[params[i].key] = &params[i]
	}
	return m
}()

// aliases are the second names that go-sqlite3 has for some parameters.
var aliases = map[string]string{
	"_timeout":  "_busy_timeout",
	"_vacuum":   "_auto_vacuum",
	"_cslike":   "_case_sensitive_like",
	"_defer_fk": "_defer_foreign_keys",
	"_fk":       "_foreign_keys",
	"_journal":  "_journal_mode",
	"_locking":  "_locking_mode",
	"_rt":       "_recursive_triggers",
	"_sync":     "_synchronous",
}

// passed are the parameters that go-sqlite3 v1.14.53 (SQLiteDriver.Open) and
// SQLite (https://sqlite.org/c3ref/open.html) have besides. go-sqlite3 ignores
// what it does not know; here a misspelt parameter is an error.
var passed = []string{
	"_auth", "_auth_crypt", "_auth_pass", "_auth_salt", "_auth_user",
	"_auto_vacuum", "_cache_size", "_case_sensitive_like", "_defer_foreign_keys",
	"_foreign_keys", "_ignore_check_constraints", "_journal_mode", "_loc",
	"_locking_mode", "_mutex", "_query_only", "_recursive_triggers",
	"_secure_delete", "_synchronous", "_writable_schema",
	"immutable", "mode", "modeof", "nolock", "psow", "vfs",
}

func canonical(key string) string {
	if full, ok := aliases[key]; ok {
		return full
	}
	return key
}

func known(key string) bool { return slices.Contains(passed, canonical(key)) }

// paramErr names a parameter and what is wrong with it. The value is shown only if
// it can be no secret: a misspelt key may be that of a password.
func paramErr(key, value, reason string) error {
	_, own := ownParams[canonical(key)]
	if !own && key != "cache" && (!known(key) || strings.HasPrefix(key, "_auth")) {
		return fmt.Errorf("sqlite-mem: parameter %q: %s", key, reason)
	}
	return fmt.Errorf("sqlite-mem: %s=%s: %s", key, value, reason)
}

func unknownKey(key string) error {
	return paramErr(key, "", "there is no such parameter")
}

// parseQuery is url.ParseQuery with errors that do not show what stands there, which
// may be a password.
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
// and the package documentation lists the keys. The empty path, ":memory:",
// "file::memory:" and mode=memory stand for a database that is only in memory.
// Errors name the key: an unknown one, one that is given twice (also by an alias),
// one with an invalid value, two that exclude each other. They show the value only if
// the parameter is known and holds no password.
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
		if ownParams[canonical(key)] == nil && key != "cache" && !known(key) {
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
	if err := c.setMemory(uri, values.Get("cache")); err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// setMemory sorts out mode=memory and cache=shared.
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
		if shared {
			c.MemoryName = c.Path
		}
		c.Path = ":memory:"
	} else if c.Path == ":memory:" && shared {
		c.MemoryName = ":memory:"
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
	return path, nil
}

// FormatDSN returns the data source name of c, without the fields that no DSN
// can have. ParseDSN makes the same Config of it.
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
	name := c.Path
	switch {
	case c.memory() && c.MemoryName == ":memory:":
		name = "file::memory:"
		q.Set("cache", "shared")
	case c.memory() && c.MemoryName != "":
		name = uriName(c.MemoryName)
		q.Set("mode", "memory")
		q.Set("cache", "shared")
	case c.memory():
		name = ":memory:"
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

// zeroIsNone turns the 0 of a DSN into what stands for it in a Config, where 0
// is the default.
func zeroIsNone[T time.Duration | int](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "yes", "true", "on", "1":
		return true, nil
	case "no", "false", "off", "0":
		return false, nil
	}
	return false, errors.New("want yes, no, true, false, on, off, 1 or 0")
}

func parseCount(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return 0, errors.New("want an integer, 0 or more")
	}
	return int(n), nil
}

// parseInterval parses Go's durations with days in front of them.
func parseInterval(s string) (time.Duration, error) {
	const want = "want a duration such as 30s, 20m, 1h or 1d12h, or 0 for never"
	if s == "0" {
		return -1, nil
	}
	days, rest, found := strings.Cut(s, "d")
	if !found {
		days, rest = "0", s
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, errors.New(want)
	}
	d := time.Duration(n) * 24 * time.Hour
	if rest != "" {
		r, err := time.ParseDuration(rest)
		if err != nil || r < 0 || d+r < d {
			return 0, errors.New(want)
		}
		d += r
	}
	if d <= 0 {
		return 0, errors.New(want)
	}
	return d, nil
}

func formatInterval(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < 0:
		return "0"
	}
	return d.String()
}

// parseWAL parses what formatWAL makes.
func parseWAL(s string) (time.Duration, error) {
	switch strings.ToLower(s) {
	case "off":
		return WALOff, nil
	case "commit":
		return WALCommit, nil
	}
	d, err := parseInterval(s)
	if err != nil || d <= 0 {
		return 0, errors.New("want off, commit, or a duration over 0 such as 1s or 100ms")
	}
	return d, nil
}

func formatWAL(d time.Duration) string {
	switch d {
	case WALOff, store.WALOff:
		return "off"
	case WALCommit:
		return "commit"
	}
	return d.String()
}

var sizeUnits = []struct {
	suffix string
	shift  uint
}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}}

func parseSize(s string) (int64, error) {
	const want = "want bytes, or a number with KiB, MiB, GiB or TiB"
	digits, shift := s, uint(0)
	for _, u := range sizeUnits {
		if n := len(s) - len(u.suffix); n > 0 && strings.EqualFold(s[n:], u.suffix) {
			digits, shift = s[:n], u.shift
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n<<shift>>shift != n || n<<shift > 1<<62 {
		return 0, errors.New(want)
	}
	return int64(n << shift), nil
}

func formatSize(n int64) string {
	if n == 0 {
		return ""
	}
	for i := len(sizeUnits) - 1; i >= 0; i-- {
		if u := sizeUnits[i]; n>>u.shift<<u.shift == n {
			return strconv.FormatInt(n>>u.shift, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}
