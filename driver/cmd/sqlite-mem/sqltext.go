//go:build cgo

package main

import "strings"

// statements splits SQL at the semicolons between its statements, which are
// left out. What is only space and comments is no statement. A semicolon inside
// of a trigger ends nothing: a trigger is over with "; END".
func statements(text string) (list []string) {
	start := 0
	var words []string // of this statement, in lower case; ";" is one too
	finish := func(end int) {
		if len(words) > 0 {
			list = append(list, strings.TrimSpace(text[start:end]))
		}
		words = nil
	}
	for i := 0; i < len(text); {
		kind, n := token(text[i:])
		switch kind {
		case tokenSpace:
		case tokenSemicolon:
			if len(words) > 0 && isTrigger(words) && !triggerEnds(words) {
				words = append(words, ";")
				break
			}
			finish(i)
			start = i + n
		default:
			words = append(words, strings.ToLower(text[i:i+n]))
		}
		i += n
	}
	finish(len(text))
	return list
}

// isTrigger: [EXPLAIN [QUERY PLAN]] CREATE [TEMP] TRIGGER.
func isTrigger(words []string) bool {
	if words[0] == "explain" {
		words = words[1:]
		if len(words) > 1 && words[0] == "query" && words[1] == "plan" {
			words = words[2:]
		}
	}
	if len(words) == 0 || words[0] != "create" {
		return false
	}
	words = words[1:]
	if len(words) > 0 && (words[0] == "temp" || words[0] == "temporary") {
		words = words[1:]
	}
	return len(words) > 0 && words[0] == "trigger"
}

func triggerEnds(words []string) bool {
	n := len(words)
	return n > 1 && words[n-1] == "end" && words[n-2] == ";"
}

// readsOnly reports whether a statement is a query that can stand in a WITH.
func readsOnly(statement string) bool {
	first, verbs := "", ""
	for i := 0; i < len(statement); {
		kind, n := token(statement[i:])
		if kind == tokenWord {
			word := strings.ToLower(statement[i : i+n])
			if first == "" {
				first = word
			}
			if word == "insert" || word == "update" || word == "delete" || word == "replace" {
				verbs += word
			}
		}
		i += n
	}
	return first == "select" || first == "values" || first == "with" && verbs == ""
}

type tokenKind int

const (
	tokenSpace tokenKind = iota // and comments
	tokenSemicolon
	tokenWord
	tokenOther // a quoted text or name, an operator
)

// token is the kind and the length of what s begins with. A quote or comment
// that is not closed goes to the end; SQLite will complain of it.
func token(s string) (tokenKind, int) {
	through := func(from int, end string) int {
		i := strings.Index(s[from:], end)
		if i < 0 {
			return len(s)
		}
		return from + i + len(end)
	}
	switch c := s[0]; {
	case strings.IndexByte(" \t\n\r\f", c) >= 0:
		return tokenSpace, 1
	case strings.HasPrefix(s, "--"):
		return tokenSpace, through(2, "\n")
	case strings.HasPrefix(s, "/*"):
		return tokenSpace, through(2, "*/")
	case c == ';':
		return tokenSemicolon, 1
	case c == '\'' || c == '"' || c == '`':
		return tokenOther, through(1, string(c)) // a doubled quote is two texts here
	case c == '[':
		return tokenOther, through(1, "]")
	case isWord(c):
		n := 1
		for n < len(s) && isWord(s[n]) {
			n++
		}
		return tokenWord, n
	}
	return tokenOther, 1
}

func isWord(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '$' || c >= 0x80
}
