//go:build cgo

package memconn

import (
	"strings"

	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// This file makes ATTACH of a named database in memory attach the store of that name:
// file:NAME?mode=memory&cache=shared. SQLite asks no VFS for such a name, and would create a
// database of its own. So the expression for the file goes through a SQL function, which
// returns the engine's name for the store.

// attachFunction is the SQL function, of one argument.
const attachFunction = "sqlite_mem_attach"

// attachMemory is the SQL function. It returns the engine's name for the name of a
// database in memory, and any other value as it is. As with SQLite, a database that nobody
// has open is created, and lives as long as it is attached.
func (c *conn) attachMemory(name any) (any, error) {
	if c.opts.Guest != 0 {
		if err := refuseRelative(name); err != nil {
			return nil, err
		}
	}
	s, ok := name.(string)
	if !ok || !strings.HasPrefix(s, "file:") {
		return name, nil
	}
	opts, ok, err := c.opts.NamedMemory(s)
	if err != nil {
		return nil, err
	}
	if !ok {
		return name, nil // SQLite's to judge
	}
	opts.Logger = c.store.Logger()
	st, err := store.FindMemory(c.statementContext(), opts.Name)
	if err == nil && st == nil {
		st, err = store.Open(c.statementContext(), opts)
	}
	if err != nil {
		return nil, err
	}
	c.attaching = append(c.attaching, st)
	return st.URI(nil), nil
}

// endAttaching releases the stores that attachMemory has found. By now they are attached,
// or the ATTACH has failed.
func (c *conn) endAttaching() {
	for _, s := range c.attaching {
		if err := s.Release(); err != nil {
			c.store.Logger().Error("sqlite-mem: close", "path", s.Path(), "error", err)
		}
	}
	c.attaching = nil
}

// rewriteAttach puts the function around the file's expression of an ATTACH, if that may
// be the name of a database in memory, or always. Other statements stay as they are.
func rewriteAttach(text string, always bool) string {
	rest := skipBlank(text)
	word, rest := cutWord(rest)
	if !strings.EqualFold(word, "ATTACH") {
		return text
	}
	rest = skipSpace(rest)
	if word, after := cutWord(rest); strings.EqualFold(word, "DATABASE") {
		if as, _ := cutWord(skipSpace(after)); !strings.EqualFold(as, "AS") {
			rest = skipSpace(after)
		}
	}
	_, n, found := findWord(rest, "AS")
	if !found || n == 0 {
		return text
	}
	start := len(text) - len(rest)
	end := start + n
	expr := text[start:end]
	if !always && (isName(expr) || expr[0] == '\'') && !strings.Contains(strings.ToLower(expr), "memory") {
		return text
	}
	if isName(expr) {
		expr = "'" + strings.ReplaceAll(nameText(expr), "'", "''") + "'" // SQLite takes a name here for a string
	}
	return text[:start] + attachFunction + "(" + expr + ")" + text[end:]
}

// findWord finds a keyword outside of quotes, comments and parentheses. at is the offset of
// it, or the end of the statement. end is the end of the last token before at.
func findWord(s, keyword string) (at, end int, found bool) {
	depth := 0
	for at < len(s) {
		if rest := skipSpace(s[at:]); len(rest) < len(s)-at {
			at = len(s) - len(rest)
			continue
		}
		word, _ := cutWord(s[at:])
		switch c := s[at]; {
		case word != "":
			if depth == 0 && strings.EqualFold(word, keyword) {
				return at, end, true
			}
			at += len(word) - 1
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ';' && depth == 0:
			return at, end, false
		case c == '\'' || c == '"' || c == '`' || c == '[':
			if c == '[' {
				c = ']'
			}
			n := strings.IndexByte(s[at+1:], c)
			if n < 0 {
				return len(s), len(s), false
			}
			at += n + 1 // a doubled quote begins the next
		}
		at++
		end = at
	}
	return at, end, false
}

// isName reports whether an expression is an identifier: a word, or one in quotes.
func isName(expr string) bool {
	return expr[0] == '"' || expr[0] == '`' || expr[0] == '[' || isIdentifier(expr) && !strings.EqualFold(expr, "NULL")
}

// nameText is the text of an identifier.
func nameText(expr string) string {
	switch quote := expr[:1]; quote {
	case "[":
		return expr[1 : len(expr)-1]
	case `"`, "`":
		return strings.ReplaceAll(expr[1:len(expr)-1], quote+quote, quote)
	}
	return expr
}

// cutWord cuts an identifier without quotes, or a keyword, off the beginning of s.
func cutWord(s string) (word, rest string) {
	n := 0
	for n < len(s) && isWordByte(s[n]) {
		n++
	}
	return s[:n], s[n:]
}

func isIdentifier(s string) bool {
	word, rest := cutWord(s)
	return word != "" && rest == "" && (s[0] < '0' || s[0] > '9')
}

// isWordByte reports whether c can be in a word: every byte of a character that is not
// ASCII can.
func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
