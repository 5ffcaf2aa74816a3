package driver

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

// DefaultsEnv is the environment variable that sets defaults for the options of a whole
// process. It has the form of the parameters of a data source name:
//
//	SQLITE_MEM_DEFAULTS='sqlite_wal=commit&sqlite_keep=3'
//
// See [SetDefaults]. If it cannot be parsed, every open fails, and the error names it.
const DefaultsEnv = "SQLITE_MEM_DEFAULTS"

var processDefaults struct {
	mu  sync.Mutex
	cfg *Config // guarded by mu; never changed; nil: none
}

// SetDefaults sets the options that data source names, and Configs, leave out, for every
// sql.DB that this process opens from now on, and for every named database in memory that an
// ATTACH makes. It is for programs that open one file in several places with bare names. What a
// name says wins over SetDefaults, which wins over [DefaultsEnv], which wins over what is built
// in. The zero Config takes it back.
//
// A default that cannot apply to a database is skipped: an interval for one that is only in
// memory, or a log (sqlite_wal) beside a name that says sqlite_sync_interval=never. A
// Logger, an OnSync, Extensions and a ConnectHook may be defaults too.
//
// Path and MemoryName are refused, as is everything that no database could have. After an
// error the defaults are as before.
func SetDefaults(cfg Config) error {
	if cfg.Path != "" || cfg.MemoryName != "" {
		return errors.New("sqlite-mem: SetDefaults: Path and MemoryName name one database, and are no defaults; leave them empty")
	}
	d := cfg.clone()
	d.Path = defaultsPath
	if err := d.validate(); err != nil {
		return err
	}
	processDefaults.mu.Lock()
	processDefaults.cfg = d
	processDefaults.mu.Unlock()
	return nil
}

// defaultsPath stands for any file in a Config of defaults.
const defaultsPath = "defaults"

// envDefaults returns the defaults of the environment, nil if there are none.
func envDefaults() (*Config, error) {
	text := strings.TrimPrefix(os.Getenv(DefaultsEnv), "?")
	if text == "" {
		return nil, nil
	}
	cfg, err := ParseDSN(defaultsPath + "?" + text)
	if err == nil {
		if values, _ := parseQuery(text); values.Has("cache") {
			err = paramErr("cache", values.Get("cache"), "it belongs to the name of one database, and is no default")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("sqlite-mem: environment variable %s: %s", DefaultsEnv, strings.TrimPrefix(err.Error(), "sqlite-mem: "))
	}
	return cfg, nil
}

// withDefaults returns c with the defaults of this process for what it leaves out.
func (c *Config) withDefaults() (*Config, error) {
	env, err := envDefaults()
	if err != nil {
		return nil, err
	}
	processDefaults.mu.Lock()
	set := processDefaults.cfg
	processDefaults.mu.Unlock()
	d := c.clone()
	for _, from := range []*Config{set, env} {
		if from != nil {
			d = d.fill(from)
		}
	}
	return d, nil
}

// fill returns c with the options of from that c leaves out. One that cannot apply beside
// what c has is skipped.
func (c *Config) fill(from *Config) *Config {
	add := func(change func(d *Config) error) {
		d := c.clone()
		if change(d) == nil && d.validate() == nil {
			c = d
		}
	}
	for i := range params {
		p := &params[i]
		value := p.get(from)
		if value == "" || p.get(c) != "" || c.direct() && slices.Contains(memoryKeys, p.key) {
			continue
		}
		add(func(d *Config) error { return p.set(d, value) })
	}
	for _, key := range slices.Sorted(maps.Keys(from.Params)) {
		if c.hasParam(key) {
			continue
		}
		add(func(d *Config) error {
			if d.Params == nil {
				d.Params = make(map[string]string)
			}
			d.Params[key] = from.Params[key]
			return nil
		})
	}
	d := c.clone()
	d.fillPragmas(from.Pragmas)
	if d.Logger == nil {
		d.Logger = from.Logger
	}
	if d.OnSync == nil {
		d.OnSync = from.OnSync
	}
	if len(d.Extensions) == 0 {
		d.Extensions = slices.Clone(from.Extensions)
	}
	if d.ConnectHook == nil {
		d.ConnectHook = from.ConnectHook
	}
	return d
}

// hasParam reports whether Params has a parameter, by any of its names.
func (c *Config) hasParam(key string) bool {
	for k := range c.Params {
		if canonical(k) == canonical(key) {
			return true
		}
	}
	return false
}
