package driver

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/sqltime"
)

// sqliteParams are the parameters of go-sqlite3 v1.14.53 (SQLiteDriver.Open) and of
// SQLite (https://sqlite.org/c3ref/open.html) that are passed on, with the values that
// go-sqlite3 takes, in lower case. Parameters without a list are SQLite's to check, or
// checkSQLiteParam's. go-sqlite3 ignores a parameter that it does not know; here a
// misspelt one is an error.
var sqliteParams = map[string][]string{
	"_auth":                     nil,
	"_auth_crypt":               nil,
	"_auth_pass":                nil,
	"_auth_salt":                nil,
	"_auth_user":                nil,
	"_auto_vacuum":              {"0", "none", "1", "full", "2", "incremental"},
	"_cache_size":               nil,
	"_case_sensitive_like":      boolWords,
	"_defer_foreign_keys":       boolWords,
	"_foreign_keys":             boolWords,
	"_ignore_check_constraints": boolWords,
	"_journal_mode":             {"delete", "truncate", "persist", "memory", "wal", "off"},
	"_loc":                      nil,
	"_locking_mode":             {"normal", "exclusive"},
	"_mutex":                    {"no", "full"},
	"_query_only":               boolWords,
	"_recursive_triggers":       boolWords,
	"_secure_delete":            append([]string{"fast"}, boolWords...),
	"_synchronous":              {"0", "off", "1", "normal", "2", "full", "3", "extra"},
	"_writable_schema":          boolWords,
	"immutable":                 nil,
	"mode":                      nil,
	"modeof":                    nil,
	"nolock":                    nil,
	"psow":                      nil,
	"vfs":                       nil,
}

// otherParams are parameters of modernc.org/sqlite and ncruces/go-sqlite3, beside those that
// have the same name in go-sqlite3, and _pragma. Package sqltime has those of times.
var otherParams = map[string]func(value string) error{
	"_defensive": func(v string) error {
		return mustBe(v, false, "the defensive mode of SQLite cannot be switched on here; leave it out")
	},
	"_dqs": func(v string) error {
		return mustBe(v, true, "strings in double quotes cannot be switched off here; leave it out")
	},
	"_error_rc": func(v string) error {
		return mustBe(v, false, "errors are those of go-sqlite3, whose text has no such mode; leave it out")
	},
}

// mustBe refuses a value of a switch that is not what SQLite does by itself.
func mustBe(value string, want bool, reason string) error {
	on, err := strconv.ParseBool(value)
	switch {
	case err != nil:
		return errors.New("want 1, true, 0 or false")
	case on != want:
		return errors.New(reason)
	}
	return nil
}

var boolWords = []string{"yes", "no", "true", "false", "on", "off", "1", "0"}

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

// canonical returns the first name of a parameter.
func canonical(key string) string {
	if full, ok := aliases[key]; ok {
		return full
	}
	return key
}

// isSQLiteParam reports whether a parameter can be in Config.Params: one of sqliteParams, by
// either name, or of another driver.
func isSQLiteParam(key string) bool {
	_, ok := sqliteParams[canonical(key)]
	return ok || otherParams[key] != nil || slices.Contains(sqltime.Keys, key)
}

// checkSQLiteParam refuses a value that go-sqlite3 would refuse when it opens the first
// connection, which may be long after sql.Open. It also refuses an empty value, which
// go-sqlite3 would ignore.
func checkSQLiteParam(key, value string) error {
	key = canonical(key)
	if check := otherParams[key]; check != nil {
		return check(value)
	}
	switch values := sqliteParams[key]; {
	case key == "_cache_size":
		if _, err := strconv.ParseInt(value, 10, 64); err != nil {
			return errors.New("want an integer")
		}
	case key == "_loc":
		if value == "" {
			return errors.New("want auto or the name of a time zone")
		}
		if strings.EqualFold(value, "auto") {
			return nil
		}
		if _, err := time.LoadLocation(value); err != nil {
			return err
		}
	case values != nil && !slices.Contains(values, strings.ToLower(value)):
		return errors.New("want " + strings.Join(values, ", "))
	}
	return nil
}
