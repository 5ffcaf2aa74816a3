//go:build cgo

package memconn

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// This file makes ATTACH and VACUUM INTO of a guest refuse a relative path. SQLite would
// resolve it in the directory of the server, and the user of a tool means that of the tool.
// A name in memory, or none, is no path. SQLite asks no VFS with a connection for a path. So
// the expression for the file goes through a SQL function, as in attach_memory.go.

// absoluteFunction is the SQL function for VACUUM INTO, of one argument, which it returns.
const absoluteFunction = "sqlite_mem_absolute"

func absolute(name any) (any, error) { return name, refuseRelative(name) }

// refuseRelative returns an error for a relative path.
func refuseRelative(name any) error {
	s, ok := name.(string)
	if !ok || s == "" || s == ":memory:" {
		return nil
	}
	path := s
	if rest, uri := strings.CutPrefix(s, "file:"); uri {
		rest, _, _ = strings.Cut(rest, "#")
		escaped, query, _ := strings.Cut(rest, "?")
		if values, err := url.ParseQuery(query); err == nil && (values.Get("mode") == "memory" || values.Get("vfs") == "memdb") {
			return nil
		}
		if authority, ok := strings.CutPrefix(escaped, "//"); ok {
			_, escaped, _ = strings.Cut(authority, "/")
			escaped = "/" + escaped
		}
		path = escaped
		if text, err := url.PathUnescape(escaped); err == nil {
			path = text
		}
		if path == "" || path == ":memory:" {
			return nil
		}
	}
	if filepath.IsAbs(path) {
		return nil
	}
	return fmt.Errorf("sqlite-mem: the path %q is relative, and a live connection would look for it in the directory of the server; give an absolute path", path)
}

// rewriteVacuum puts absoluteFunction around the file's expression of a VACUUM INTO, and
// reports whether the text begins with one.
func rewriteVacuum(text string) (string, bool) {
	word, rest := cutWord(skipBlank(text))
	if !strings.EqualFold(word, "VACUUM") {
		return text, false
	}
	at, _, found := findWord(rest, "INTO")
	if !found {
		return text, false
	}
	rest = skipSpace(rest[at+len("INTO"):])
	_, n, _ := findWord(rest, "")
	if n == 0 {
		return text, false
	}
	start := len(text) - len(rest)
	return text[:start] + absoluteFunction + "(" + rest[:n] + ")" + rest[n:], true
}
