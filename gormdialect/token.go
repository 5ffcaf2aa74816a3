package gormdialect

import (
	"fmt"
	"strings"
)

// A token is a token of SQL. Spaces and comments are not tokens.
type token struct {
	kind       tokenKind
	start, end int    // byte offsets in the SQL
	text       string // the SQL between them
}

type tokenKind uint8

const (
	word    tokenKind = iota // an identifier or a keyword without quotes
	quoted                   // an identifier in "", `` or []
	text                     // a string in ''; SQLite accepts it as a name in some places
	literal                  // a number or a blob
	mark                     // any other character
)

// tokenize splits SQL into tokens as SQLite does. It knows SQLite's four kinds of
// quotes, two kinds of comments, white space and letters.
func tokenize(sql string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(sql); {
		start, c := i, sql[i]
		kind := mark
		switch {
		case isSpace(c):
			i++
			continue
		case strings.HasPrefix(sql[i:], "\ufeff"):
			i += len("\ufeff")
			continue
		case strings.HasPrefix(sql[i:], "--"):
			if n := strings.IndexByte(sql[i:], '\n'); n >= 0 {
				i += n + 1
			} else {
				i = len(sql)
			}
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			if n := strings.Index(sql[i+2:], "*/"); n >= 0 {
				i += n + 4
			} else {
				i = len(sql)
			}
			continue
		case c == '\'' || c == '"' || c == '`' || c == '[':
			end := quoteEnd(sql, i)
			if end < 0 {
				return nil, fmt.Errorf("unclosed %c at byte %d", c, i)
			}
			i = end
			kind = quoted
			if c == '\'' {
				kind = text
			}
		case (c == 'x' || c == 'X') && i+1 < len(sql) && sql[i+1] == '\'':
			end := quoteEnd(sql, i+1)
			if end < 0 {
				return nil, fmt.Errorf("unclosed blob at byte %d", i)
			}
			i, kind = end, literal
		case isDigit(c) || c == '.' && i+1 < len(sql) && isDigit(sql[i+1]):
			for i < len(sql) && (isWord(sql[i]) || sql[i] == '.' || (sql[i] == '+' || sql[i] == '-') && isExponent(sql[start:i])) {
				i++
			}
			kind = literal
		case isWord(c):
			for i < len(sql) && isWord(sql[i]) {
				i++
			}
			kind = word
		default:
			i++
		}
		tokens = append(tokens, token{kind, start, i, sql[start:i]})
	}
	return tokens, nil
}

// quoteEnd returns the offset after the quoted text that begins at start, or -1. A
// doubled quote does not end the text. A bracket cannot be doubled.
func quoteEnd(sql string, start int) int {
	closing := sql[start]
	if closing == '[' {
		if n := strings.IndexByte(sql[start:], ']'); n >= 0 {
			return start + n + 1
		}
		return -1
	}
	for i := start + 1; i < len(sql); i++ {
		if sql[i] != closing {
			continue
		}
		if i+1 == len(sql) || sql[i+1] != closing {
			return i + 1
		}
		i++
	}
	return -1
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isWord reports whether c can be part of an identifier without quotes. Every byte of
// a character outside of ASCII can.
func isWord(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
}

// isExponent reports whether the sign of an exponent may follow number.
func isExponent(number string) bool {
	last := number[len(number)-1]
	return (last == 'e' || last == 'E') && !strings.HasPrefix(number, "0x") && !strings.HasPrefix(number, "0X")
}

// is reports whether the token is a keyword.
func (t token) is(keyword string) bool { return t.kind == word && fold(t.text) == fold(keyword) }

// isMark reports whether the token is a mark, such as a parenthesis.
func (t token) isMark(c string) bool { return t.kind == mark && t.text == c }

// isName reports whether SQLite accepts the token as a name.
func (t token) isName() bool { return t.kind == word || t.kind == quoted || t.kind == text }

// name returns an identifier or string without its quotes.
func (t token) name() string {
	if t.kind != quoted && t.kind != text {
		return t.text
	}
	inner := t.text[1 : len(t.text)-1]
	if t.text[0] == '[' {
		return inner
	}
	q := t.text[:1]
	return strings.ReplaceAll(inner, q+q, q)
}

// same reports whether two tokens mean the same to SQLite. Quotes count, because "x"
// can be a string and x cannot.
func (t token) same(o token) bool {
	if t.kind == word || t.kind == literal {
		return t.kind == o.kind && fold(t.text) == fold(o.text)
	}
	return t.kind == o.kind && t.text == o.text
}

func sameTokens(a, b []token) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].same(b[i]) {
			return false
		}
	}
	return true
}

// fold returns a name in the form in which SQLite compares it: ASCII letters in lower
// case, all others as they are.
func fold(name string) string {
	folded := []byte(name)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + 'a' - 'A'
		}
	}
	return string(folded)
}

// quote returns a name as an identifier.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// backquote returns a name as an identifier in the quotes that GORM uses.
func backquote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// stringLiteral returns a text as a string of SQL.
func stringLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
