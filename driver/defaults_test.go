package driver

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
)

// setDefaults sets defaults for the time of a test.
func setDefaults(t *testing.T, env string, cfg Config) {
	t.Helper()
	t.Setenv(DefaultsEnv, env)
	require.NoError(t, SetDefaults(cfg))
	t.Cleanup(func() { require.NoError(t, SetDefaults(Config{})) })
}

// Ensure that a name wins over SetDefaults, which wins over the environment, option by option.
// An option that switches something off counts as said. What cannot apply is skipped.
func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		name string // of the database
		env  string
		set  Config
		want string
	}{
		{"a.db", "", Config{}, "a.db"},
		{"a.db", "sqlite_wal=commit", Config{}, "a.db?sqlite_wal=commit"},
		{"a.db", "?sqlite_wal=commit", Config{}, "a.db?sqlite_wal=commit"},
		{"a.db", "", Config{WAL: WALCommit}, "a.db?sqlite_wal=commit"},
		{"a.db", "sqlite_wal=off&sqlite_keep=1", Config{WAL: WALCommit}, "a.db?sqlite_keep=1&sqlite_wal=commit"},
		{"a.db?sqlite_wal=1s", "sqlite_wal=off&sqlite_keep=1", Config{WAL: WALCommit, Keep: 2}, "a.db?sqlite_keep=2&sqlite_wal=1s"},

		{"a.db?sqlite_keep=0", "sqlite_keep=1", Config{Keep: 2}, "a.db?sqlite_keep=0"},
		{"a.db", "sqlite_keep=1", Config{Keep: NoKeep}, "a.db?sqlite_keep=0"},
		{"a.db?sqlite_max_memory=0", "sqlite_max_memory=1MiB", Config{}, "a.db?sqlite_max_memory=0"},
		{"a.db?sqlite_live=yes", "sqlite_live=no", Config{}, "a.db?sqlite_live=yes"},
		{"a.db?sqlite_live_limit=0", "sqlite_live_limit=7", Config{}, "a.db?sqlite_live_limit=64"},
		{"a.db?sqlite_in_memory=yes", "sqlite_in_memory=no", Config{}, "a.db?sqlite_in_memory=yes"},
		{"a.db?sqlite_role=auto", "sqlite_role=tool", Config{Role: RoleTool}, "a.db?sqlite_role=auto"},
		{"a.db?_busy_timeout=0", "_busy_timeout=5", Config{}, "a.db?_busy_timeout=nowait"},
		{"a.db?_stmt_cache_size=0", "_stmt_cache_size=5", Config{}, "a.db?_stmt_cache_size=off"},

		{"a.db?_fk=0", "_foreign_keys=1&_loc=auto", Config{}, "a.db?_fk=0&_loc=auto"},
		{"a.db", "_fk=1", Config{Params: map[string]string{"_foreign_keys": "0"}}, "a.db?_foreign_keys=0"},

		{":memory:", "sqlite_wal=commit&sqlite_sync_interval=5m&sqlite_keep=1&sqlite_role=server&sqlite_live=no&mode=ro&_fk=1&sqlite_max_memory=1MiB", Config{LiveLimit: 3}, ":memory:?_fk=1&sqlite_max_memory=1MiB"},
		{"", "sqlite_in_memory=no", Config{}, ""},
		{"a.db?sqlite_sync_interval=never", "sqlite_wal=commit", Config{}, "a.db?sqlite_sync_interval=never"},
		{"a.db?sqlite_wal=commit", "sqlite_sync_interval=never", Config{}, "a.db?sqlite_wal=commit"},
		{"a.db", "sqlite_sync_interval=never", Config{WAL: WALCommit}, "a.db?sqlite_wal=commit"},
		{"a.db?sqlite_role=server", "sqlite_in_memory=no", Config{}, "a.db?sqlite_role=server"},
		{"a.db?sqlite_in_memory=no", "sqlite_wal=commit&_txlock=deferred", Config{}, "a.db?_txlock=deferred&sqlite_in_memory=no"},
		{"a.db", "immutable=1", Config{InMemory: Off}, "a.db?immutable=1&sqlite_in_memory=no"},
	} {
		t.Run(c.name+" "+c.env, func(t *testing.T) {
			if c.env == "immutable=1" {
				// By itself it would apply to no database.
				c.env += "&sqlite_in_memory=no"
			}
			setDefaults(t, c.env, c.set)
			cfg, err := ParseDSN(c.name)
			require.NoError(t, err)
			before := cfg.clone()
			merged, err := cfg.withDefaults()
			require.NoError(t, err)
			require.Equal(t, c.want, merged.FormatDSN())
			require.NoError(t, merged.validate())
			require.Equal(t, before, cfg, "ParseDSN knows no defaults")
		})
	}
}

// Ensure that what no name can have may be a default too, and that a driver's own wins.
func TestDefaults_code(t *testing.T) {
	logger, own := slog.New(slog.NewTextHandler(io.Discard, nil)), slog.New(slog.DiscardHandler)
	setDefaults(t, "", Config{
		Logger:      logger,
		OnSync:      func(SyncEvent) {},
		Extensions:  []string{"x"},
		ConnectHook: func(*sqlite3.SQLiteConn) error { return nil },
	})
	c, err := (&Config{Path: "a.db"}).withDefaults()
	require.NoError(t, err)
	require.Same(t, logger, c.Logger)
	require.NotNil(t, c.OnSync)
	require.NotNil(t, c.ConnectHook)
	require.Equal(t, []string{"x"}, c.Extensions)
	c, err = (&Config{Path: "a.db", Logger: own}).withDefaults()
	require.NoError(t, err)
	require.Same(t, own, c.Logger)
}

// Ensure that defaults that no database could have are refused, and change nothing.
func TestDefaults_invalid(t *testing.T) {
	setDefaults(t, "", Config{Keep: 2})
	for want, c := range map[string]Config{
		"Path":                 {Path: "a.db"},
		"MemoryName":           {MemoryName: "m"},
		"sqlite_keep":          {Keep: -1},
		"sqlite_sync_interval": {SyncInterval: time.Nanosecond},
		"sqlite_wal":           {WAL: WALCommit, SyncInterval: Never},
		"vfs":                  {Params: map[string]string{"vfs": "unix"}},
		"sqlite_role":          {InMemory: Off, Role: RoleServer},
	} {
		require.ErrorContains(t, SetDefaults(c), want)
	}
	cfg, err := (&Config{Path: "a.db"}).withDefaults()
	require.NoError(t, err)
	require.Equal(t, 2, cfg.Keep)
}

// Ensure that an environment variable that cannot be parsed fails the open, by an error that
// names the variable and the key, and shows no password.
func TestDefaults_badEnvironment(t *testing.T) {
	for env, want := range map[string]string{
		"sqlite_wal=never":         "sqlite_wal=never: want",
		"sqlite_wall=1s":           `"sqlite_wall": there is no such parameter`,
		"_auth_pas=hunter2":        `"_auth_pas": there is no such parameter`,
		"sqlite_keep=1;_fk=1":      "separated by &",
		"mode=memory":              "mode=memory",
		"cache=shared":             "cache=shared",
		"sqlite_role=tool&vfs=foo": "vfs=foo",
	} {
		t.Setenv(DefaultsEnv, env)
		_, err := new(Driver).OpenConnector("a.db")
		require.ErrorContains(t, err, "environment variable SQLITE_MEM_DEFAULTS: ", env)
		require.ErrorContains(t, err, want, env)
		require.NotContains(t, err.Error(), "hunter2")
	}
}
