package driver

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// passedValues are the values that go-sqlite3 takes for its parameters, in
// lower case; nil: see checkPassed. What is not here is SQLite's own, or
// go-sqlite3's user authentication.
var passedValues = map[string][]string{
	"_auto_vacuum":              {"0", "none", "1", "full", "2", "incremental"},
	"_cache_size":               nil,
	"_case_sensitive_like":      passedBool,
	"_defer_foreign_keys":       passedBool,
	"_foreign_keys":             passedBool,
	"_ignore_check_constraints": passedBool,
	"_journal_mode":             {"delete", "truncate", "persist", "memory", "wal", "off"},
	"_loc":                      nil,
	"_locking_mode":             {"normal", "exclusive"},
	"_mutex":                    {"no", "full"},
	"_query_only":               passedBool,
	"_recursive_triggers":       passedBool,
	"_secure_delete":            append([]string{"fast"}, passedBool...),
	"_synchronous":              {"0", "off", "1", "normal", "2", "full", "3", "extra"},
	"_writable_schema":          passedBool,
}

var passedBool = []string{"yes", "no", "true", "false", "on", "off", "1", "0"}

// checkPassed finds a value that go-sqlite3 would refuse when the first
// connection is opened, which may be long after sql.Open, and one that is
// empty, which it would ignore.
func checkPassed(key, value string) error {
	values, checked := passedValues[canonical(key)]
	switch {
	case !checked:
		return nil
	case canonical(key) == "_cache_size":
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
	case !slices.Contains(values, strings.ToLower(value)):
		return errors.New("want " + strings.Join(values, ", "))
	}
	return nil
}
