package sqltext

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// maxRedacted is the longest result of Redact in bytes, without the sign that it was cut.
const maxRedacted = 200

// Redact makes SQL fit for a log: one line, without the values and the comments, cut if it
// is long, and without the semicolon. A ? stands for each string, blob and number.
//
// SQLite takes a name in "" for a string where no such column is. So such a name is
// replaced, too, but where it can only be a name: behind a dot or a keyword that names
// a table, and before a dot.
func Redact(sql string) string {
	sql, _, _ = strings.Cut(sql, "\x00") // SQLite reads no further
	var b strings.Builder
	var before [2]string // the last two tokens, as they are written, words in upper case
	spaced, joined := false, false
	for len(sql) > 0 && b.Len() <= maxRedacted {
		kind, n := Token(sql)
		text := sql[:n]
		sql = sql[n:]
		switch kind {
		case Space:
			spaced, joined = b.Len() > 0, false
			continue
		case Number:
			text = "?"
		case Text:
			if joined { // the string goes on behind a doubled quote
				continue
			}
			text = "?"
		case Quoted:
			if text[0] != '"' {
				break
			}
			for strings.HasPrefix(sql, `"`) { // it goes on behind a doubled quote
				_, n := Token(sql)
				text, sql = text+sql[:n], sql[n:]
			}
			if !dotted(sql) && !namesTable(before) {
				text = "?"
			}
		}
		joined = kind == Text
		if spaced {
			b.WriteByte(' ')
			spaced = false
		}
		b.WriteString(text)
		if kind == Word {
			text = strings.ToUpper(text)
		}
		before[0], before[1] = before[1], text
	}
	s := b.String()
	if len(s) <= maxRedacted {
		return strings.TrimRight(s, "; ")
	}
	end := maxRedacted
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// dotted reports whether sql begins with a dot that is not the one of a number.
func dotted(sql string) bool {
	if !strings.HasPrefix(sql, ".") {
		return false
	}
	kind, _ := Token(sql)
	return kind == Other
}

// namesTable reports whether a table, index, schema or column must follow these two tokens.
func namesTable(before [2]string) bool {
	switch before[1] {
	case "INTO": // not of VACUUM, where a path follows
		return slices.Contains([]string{"INSERT", "REPLACE", "ABORT", "FAIL", "IGNORE", "ROLLBACK"}, before[0])
	case ".", "UPDATE", "TABLE", "INDEX", "VIEW", "TRIGGER", "JOIN", "EXISTS", "REFERENCES":
		return before[1] != "EXISTS" || before[0] == "IF" || before[0] == "NOT"
	case "FROM":
		return before[0] != "DISTINCT" // IS DISTINCT FROM
	}
	return false
}
