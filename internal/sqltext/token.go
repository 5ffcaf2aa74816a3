// Package sqltext splits SQL into tokens, and takes the values out of it. It does not check
// SQL: any text has tokens.
package sqltext

import "strings"

// Kind is the kind of a token.
type Kind uint8

// The kinds of tokens.
const (
	Space     Kind = iota // white space or a comment
	Semicolon             // ;
	Word                  // a keyword, or a name without quotes
	Parameter             // ?, ?1, :name and so on
	Number                // a number
	Text                  // a string in '' or a blob; a doubled quote begins another
	Quoted                // a name in "", `` or []; SQLite may take one in "" for a string
	Other                 // an operator, or a character that SQLite does not know
)

// Token returns the kind and the length of the token at the beginning of s, which is not
// empty. An unclosed quote or comment goes to the end of s. SQLite returns the error.
func Token(s string) (Kind, int) {
	switch c := s[0]; {
	case strings.IndexByte(" \t\n\r\f", c) >= 0:
		return Space, 1
	case strings.HasPrefix(s, "--"):
		return Space, Through(s, 2, "\n")
	case strings.HasPrefix(s, "/*"):
		return Space, Through(s, 2, "*/")
	case strings.HasPrefix(s, "\ufeff"):
		return Space, len("\ufeff")
	case c == ';':
		return Semicolon, 1
	case c == '\'':
		return Text, Through(s, 1, "'")
	case c|0x20 == 'x' && strings.HasPrefix(s[1:], "'"):
		return Text, Through(s, 2, "'")
	case c == '"' || c == '`':
		return Quoted, Through(s, 1, string(c))
	case c == '[':
		return Quoted, Through(s, 1, "]")
	case c == '?':
		return Parameter, 1 + span(s[1:], isDigit)
	case c == ':' || c == '@' || c == '$' || c == '#':
		if n := variable(s); n > 1 {
			return Parameter, n
		}
	case isDigit(c) || c == '.' && len(s) > 1 && isDigit(s[1]):
		return Number, number(s)
	case IsWord(c):
		return Word, span(s, IsWord)
	}
	return Other, 1
}

// number returns the length of a number, and of what follows it without a space. SQLite
// takes both for one token that it does not know.
func number(s string) int {
	n := 1
	hex := strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X")
	for n < len(s) {
		c, before := s[n], s[n-1]
		if !(IsWord(c) || c == '.' || (c == '+' || c == '-') && before|0x20 == 'e' && !hex) {
			break
		}
		n++
	}
	return n
}

// variable returns the length of a named parameter, or 1 if it has no name. For Tcl's
// sake the name may have parts "::", and "(…)" at its end.
func variable(s string) int {
	n := 1
	for {
		n += span(s[n:], IsWord)
		if n > 1 && strings.HasPrefix(s[n:], "::") {
			n += 2
			continue
		}
		break
	}
	if n > 1 && n < len(s) && s[n] == '(' {
		if end := strings.IndexAny(s[n:], " \t\n\r\f)"); end > 0 && s[n+end] == ')' {
			n += end + 1
		}
	}
	return n
}

// Through is the length of s up to and with the first end at or behind from.
func Through(s string, from int, end string) int {
	i := strings.Index(s[from:], end)
	if i < 0 {
		return len(s)
	}
	return from + i + len(end)
}

func span(s string, in func(byte) bool) (n int) {
	for n < len(s) && in(s[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// IsWord holds for the bytes of names and keywords, as in SQLite's tokenizer.
func IsWord(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || isDigit(c) || c == '_' || c == '$' || c >= 0x80
}
