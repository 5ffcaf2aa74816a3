package driver

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// This file has the parameter _pragma of modernc.org/sqlite and of ncruces/go-sqlite3. They
// run its text as SQL. Here it is one pragma of SQLite's list, or an error.

// pragma is a value of _pragma.
type pragma struct {
	schema string // main, temp or empty
	name   string // in lower case
	value  string // as SQL has it, perhaps in quotes; empty: none
}

var pragmaSyntax = regexp.MustCompile(`^(?:(?i:(main|temp))\s*\.\s*)?([A-Za-z_]+)\s*(?:=\s*(\S.*)|\(\s*(\S.*?)\s*\))?$`)

// pragmaValue is a number, a word, or a text in quotes. So no value can end the statement.
var pragmaValue = regexp.MustCompile(`^(?:[+-]?[0-9][0-9A-Za-z.]*|[A-Za-z_][0-9A-Za-z_]*|'(?:[^'[:cntrl:]]|'')*'|"(?:[^"[:cntrl:]]|"")*")$`)

func parsePragma(text string) (pragma, error) {
	m := pragmaSyntax.FindStringSubmatch(text)
	if m == nil {
		return pragma{}, errors.New("want one pragma, as name(value) or name=value")
	}
	p := pragma{schema: strings.ToLower(m[1]), name: strings.ToLower(m[2]), value: m[3] + m[4]}
	if p.value != "" && !pragmaValue.MatchString(p.value) {
		return pragma{}, errors.New("want one pragma, whose value is a number, a word, or a text in quotes")
	}
	return p, nil
}

// sql returns the statement.
func (p pragma) sql() string {
	name := p.name
	if p.schema != "" {
		name = p.schema + "." + name
	}
	if p.value == "" {
		return "PRAGMA " + name
	}
	return "PRAGMA " + name + "(" + p.value + ")"
}

// plain returns the value without quotes.
func (p pragma) plain() string {
	if v := p.value; v != "" && strings.Contains(`'"`, v[:1]) {
		return strings.ReplaceAll(v[1:len(v)-1], v[:1]+v[:1], v[:1])
	}
	return p.value
}

// Where a pragma of a data source name is run.
type pragmaRule struct {
	where  pragmaWhere
	reason string // why it is refused
}

type pragmaWhere uint8

const (
	refused  pragmaWhere = iota
	anywhere             // in a server, and in a tool that may write
	inTool               // only in a tool that may write: in memory it has no meaning
	nowhere              // accepted for names that several drivers share
	acts                 // as anywhere; it needs no value
)

const (
	onlyAsks    = "it sets nothing; run it as a statement"
	wholeSystem = "it is for the whole process"
)

// pragmaRules are the pragmas of SQLite (https://sqlite.org/pragma.html). SQLite ignores one
// that it does not know; here a misspelt one is an error.
var pragmaRules = map[string]pragmaRule{
	"analysis_limit":            {where: anywhere},
	"application_id":            {where: anywhere},
	"automatic_index":           {where: anywhere},
	"cache_size":                {where: anywhere}, // of temp; else _cache_size
	"cache_spill":               {where: anywhere},
	"case_sensitive_like":       {where: anywhere},
	"cell_size_check":           {where: anywhere},
	"count_changes":             {where: anywhere},
	"default_cache_size":        {where: anywhere},
	"defer_foreign_keys":        {where: anywhere},
	"empty_result_callbacks":    {where: anywhere},
	"encoding":                  {where: anywhere},
	"foreign_keys":              {where: anywhere},
	"full_column_names":         {where: anywhere},
	"ignore_check_constraints":  {where: anywhere},
	"incremental_vacuum":        {where: acts},
	"legacy_alter_table":        {where: anywhere},
	"max_page_count":            {where: anywhere},
	"optimize":                  {where: acts},
	"page_size":                 {where: anywhere},
	"read_uncommitted":          {where: anywhere},
	"recursive_triggers":        {where: anywhere},
	"reverse_unordered_selects": {where: anywhere},
	"secure_delete":             {where: anywhere},
	"short_column_names":        {where: anywhere},
	"shrink_memory":             {where: acts},
	"temp_store":                {where: anywhere},
	"threads":                   {where: anywhere},
	"trusted_schema":            {where: anywhere},
	"user_version":              {where: anywhere},
	"writable_schema":           {where: anywhere},

	"checkpoint_fullfsync": {where: inTool},
	"fullfsync":            {where: inTool},
	"journal_size_limit":   {where: inTool},
	"mmap_size":            {where: inTool},
	"synchronous":          {where: inTool},
	"wal_autocheckpoint":   {where: inTool},

	"journal_mode":   {where: nowhere},
	"locking_mode":   {where: nowhere}, // NORMAL only: see checkPragma
	"wal_checkpoint": {where: nowhere},

	"auto_vacuum":  {reason: "it is the parameter _auto_vacuum (in Go Params)"},
	"busy_timeout": {reason: "it is the parameter _busy_timeout (in Go BusyTimeout)"},
	"query_only":   {reason: "it is the parameter _query_only (in Go Params)"},

	"data_store_directory": {reason: wholeSystem},
	"hard_heap_limit":      {reason: wholeSystem + "; sqlite_max_memory limits one database"},
	"soft_heap_limit":      {reason: wholeSystem + "; sqlite_max_memory limits one database"},
	"temp_store_directory": {reason: wholeSystem},
	"schema_version":       {reason: "it would hide a change of the schema from the other connections"},

	"hexkey": {reason: noEncryption}, "hexrekey": {reason: noEncryption},
	"key": {reason: noEncryption}, "rekey": {reason: noEncryption},
	"textkey": {reason: noEncryption}, "textrekey": {reason: noEncryption},

	"collation_list": {reason: onlyAsks}, "compile_options": {reason: onlyAsks},
	"data_version": {reason: onlyAsks}, "database_list": {reason: onlyAsks},
	"foreign_key_check": {reason: onlyAsks}, "foreign_key_list": {reason: onlyAsks},
	"freelist_count": {reason: onlyAsks}, "function_list": {reason: onlyAsks},
	"index_info": {reason: onlyAsks}, "index_list": {reason: onlyAsks},
	"index_xinfo": {reason: onlyAsks}, "integrity_check": {reason: onlyAsks},
	"module_list": {reason: onlyAsks}, "page_count": {reason: onlyAsks},
	"pragma_list": {reason: onlyAsks}, "quick_check": {reason: onlyAsks},
	"table_info": {reason: onlyAsks}, "table_list": {reason: onlyAsks},
	"table_xinfo": {reason: onlyAsks},
}

const noEncryption = "a database is not encrypted here: decrypt the file first"

// asParam are the pragmas that are parameters of this driver under another name.
var asParam = map[string]string{
	"auto_vacuum":  "_auto_vacuum",
	"busy_timeout": "_busy_timeout",
	"cache_size":   "_cache_size",
	"query_only":   "_query_only",
}

// pragmaErr returns an error that names a pragma. It shows the value only of a pragma that
// is known to hold no key.
func pragmaErr(text, reason string) error {
	name := text
	if p, err := parsePragma(text); err == nil {
		rule, known := pragmaRules[p.name]
		if name = p.name; known && rule.reason != noEncryption {
			name = text
		}
	} else if i := strings.IndexFunc(text, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) }); i >= 0 {
		name = text[:i] // what follows may be a key
	}
	return fmt.Errorf("sqlite-mem: _pragma=%s: %s", name, reason)
}

// checkPragma refuses a pragma that cannot be in Config.Pragmas.
func checkPragma(text string) error {
	p, err := parsePragma(text)
	if err != nil {
		return pragmaErr(text, err.Error())
	}
	if strings.ContainsFunc(text, unicode.IsControl) { // live tools send one to a line
		return pragmaErr(p.name, "it has a control character")
	}
	rule, known := pragmaRules[p.name]
	switch {
	case !known:
		return pragmaErr(text, "SQLite has no such pragma")
	case rule.where == refused:
		return pragmaErr(text, rule.reason)
	case p.name == "cache_size" && p.schema != "temp":
		return pragmaErr(text, "it is the parameter _cache_size (in Go Params)")
	case p.name == "locking_mode" && !strings.EqualFold(p.plain(), "normal"):
		return pragmaErr(text, "a connection that keeps its lock would stop all others; want normal")
	case p.value == "" && rule.where != acts && rule.where != nowhere:
		return pragmaErr(text, "it has no value; want name(value)")
	}
	return nil
}

// addPragmas adds the values of _pragma in a data source name.
func (c *Config) addPragmas(texts []string) error {
	for _, text := range texts {
		text = strings.TrimSpace(text)
		p, err := parsePragma(text)
		if key := asParam[p.name]; err == nil && key != "" && p.schema != "temp" {
			if err := c.addPragmaParam(key, p); err != nil {
				return pragmaErr(text, err.Error())
			}
			continue
		}
		if err := checkPragma(text); err != nil {
			return err
		}
		c.Pragmas = append(c.Pragmas, text)
	}
	return nil
}

// addPragmaParam sets the parameter that a pragma is.
func (c *Config) addPragmaParam(key string, p pragma) error {
	value := p.plain()
	if own := ownParams[key]; own != nil {
		var d Config
		if err := own.set(&d, value); err != nil {
			return err
		}
		if have := own.get(c); have != "" && have != own.get(&d) {
			return fmt.Errorf("given twice, also as %s=%s", key, have)
		}
		return own.set(c, value)
	}
	for k, have := range c.Params {
		if canonical(k) == key {
			if !strings.EqualFold(have, value) {
				return fmt.Errorf("given twice, also as %s=%s", k, have)
			}
			return nil
		}
	}
	if err := checkSQLiteParam(key, value); err != nil {
		return err
	}
	if c.Params == nil {
		c.Params = make(map[string]string)
	}
	c.Params[key] = value
	return nil
}

// pragmaStatements are the statements that each new connection runs, of a tool or a server.
func (c *Config) pragmaStatements(tool bool) (list []string) {
	for _, text := range c.Pragmas {
		p, err := parsePragma(text)
		if err != nil {
			continue // validate has refused it
		}
		switch pragmaRules[p.name].where {
		case anywhere, acts:
			list = append(list, p.sql())
		case inTool:
			if tool {
				list = append(list, p.sql())
			}
		}
	}
	return list
}

// fillPragmas puts the pragmas of defaults in front of those of c. One that c sets by itself,
// also as a parameter, is left out.
func (c *Config) fillPragmas(defaults []string) {
	var add []string
	for _, text := range defaults {
		p, err := parsePragma(text)
		own := err != nil || c.hasParam("_"+p.name) || slices.ContainsFunc(c.Pragmas, func(other string) bool {
			o, err := parsePragma(other)
			return err == nil && o.name == p.name && o.schema == p.schema
		})
		if !own {
			add = append(add, text)
		}
	}
	if len(add) > 0 {
		c.Pragmas = append(add, c.Pragmas...)
	}
}
