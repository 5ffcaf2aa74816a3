//go:build cgo

package main

import (
	"strconv"
	"strings"

	"github.com/sqlite-mem/sqlite-mem/internal/sqltext"
)

// splitter cuts SQL into statements as it arrives, line by line. A statement ends with a
// semicolon that SQLite's sqlite3_complete would accept. A semicolon in a string, a
// quoted name or a comment does not count. In a CREATE TRIGGER only one behind "; END"
// does. Each byte is looked at once.
type splitter struct {
	text  strings.Builder // of the statement so far, space and comments before it left out
	place place
	open  string // what ends the token that a line has left open: a quote, or */
}

// place is how far into a statement the tokens have come.
type place int

const (
	atStart    place = iota // nothing yet
	inside                  // any statement that a semicolon ends
	inExplain               // EXPLAIN, and what is before CREATE
	inCreate                // CREATE, or CREATE TEMP
	inTrigger               // CREATE TRIGGER
	inBody                  // CREATE TRIGGER … ;
	behindBody              // CREATE TRIGGER … ; END
)

// add adds text, which ends at the end of a line unless nothing follows. It returns the
// statements that are complete now, each without its semicolon.
func (s *splitter) add(text string) (complete []string) {
	for len(text) > 0 {
		kind, n := sqltext.Other, 0
		if s.open != "" {
			n = sqltext.Through(text, 0, s.open)
			if s.open == "*/" {
				kind = sqltext.Space
			}
		} else {
			kind, n = sqltext.Token(text)
		}
		word := text[:n]
		s.open = unclosed(word, s.open)
		text = text[n:]
		if kind == sqltext.Space && s.place == atStart {
			continue
		}
		if kind != sqltext.Space {
			s.place = s.place.next(kind, word)
		}
		if s.place == atStart {
			if s.text.Len() > 0 {
				complete = append(complete, strings.TrimSpace(s.text.String()))
			}
			s.text.Reset()
			continue
		}
		s.text.WriteString(word)
	}
	return complete
}

// next is the place behind a token that is no space. It is atStart behind the semicolon
// that ends a statement.
func (p place) next(kind sqltext.Kind, word string) place {
	semicolon := kind == sqltext.Semicolon
	is := func(keyword string) bool { return kind == sqltext.Word && strings.EqualFold(word, keyword) }
	switch p {
	case inTrigger, inBody, behindBody:
		switch {
		case semicolon && p == behindBody:
			return atStart
		case semicolon:
			return inBody
		case p == inBody && is("end"):
			return behindBody
		}
		return inTrigger
	}
	switch {
	case semicolon:
		return atStart
	case (p == atStart || p == inExplain) && is("create"):
		return inCreate
	case p == atStart && is("explain"):
		return inExplain
	case p == inExplain && !is("temp") && !is("temporary") && !is("trigger") && !is("end") && !is("explain"):
		return inExplain // EXPLAIN QUERY PLAN
	case p == inCreate && (is("temp") || is("temporary")):
		return inCreate
	case p == inCreate && is("trigger"):
		return inTrigger
	}
	return inside
}

// empty reports whether nothing but space and comments has come since the last statement.
func (s *splitter) empty() bool { return s.place == atStart && s.open == "" }

// rest gives up the statement that was not ended, and returns its text.
func (s *splitter) rest() string {
	text := strings.TrimSpace(s.text.String())
	*s = splitter{}
	return text
}

// statements cuts a whole text. The last statement needs no semicolon.
func statements(text string) []string {
	var s splitter
	list := s.add(text)
	if rest := s.rest(); rest != "" {
		list = append(list, rest)
	}
	return list
}

// firstWord is the word with which a statement begins, in lower case.
func firstWord(statement string) string {
	for len(statement) > 0 {
		kind, n := sqltext.Token(statement)
		switch kind {
		case sqltext.Space:
			statement = statement[n:]
			continue
		case sqltext.Word:
			return strings.ToLower(statement[:n])
		}
		break
	}
	return ""
}

// readsOnly reports whether a statement is a query that can stand in a WITH.
func readsOnly(statement string) bool {
	first, verbs := "", ""
	for i := 0; i < len(statement); {
		kind, n := sqltext.Token(statement[i:])
		if kind == sqltext.Word {
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

// parameters returns the number of values that a statement wants. A ? and each new name
// take the next number. ?NNN takes NNN (https://sqlite.org/lang_expr.html#varparam).
func parameters(statement string) (n int) {
	names := make(map[string]bool)
	for i := 0; i < len(statement); {
		kind, length := sqltext.Token(statement[i:])
		if kind == sqltext.Parameter {
			name := statement[i : i+length]
			number, err := strconv.Atoi(name[1:])
			switch {
			case name == "?":
				n++
			case name[0] == '?' && err == nil:
				n = max(n, number)
			case !names[name]:
				names[name] = true
				n++
			}
		}
		i += length
	}
	return n
}

// unclosed returns the text that would close word, or "" if word is closed. If the
// token began in an earlier line, open is the text that closes it, and word continues
// it.
func unclosed(word, open string) string {
	body := word
	if open == "" {
		switch {
		case strings.HasPrefix(word, "/*"):
			open, body = "*/", word[2:]
		case word[0] == '[':
			open, body = "]", word[1:]
		case strings.HasPrefix(word[1:], "'") && word[0]|0x20 == 'x': // a blob
			open, body = "'", word[2:]
		case word[0] == '\'' || word[0] == '"' || word[0] == '`':
			open, body = word[:1], word[1:]
		default:
			return ""
		}
	}
	if strings.HasSuffix(body, open) {
		return ""
	}
	return open
}
