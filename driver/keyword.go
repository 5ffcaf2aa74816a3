package driver

import "strings"

// writes guesses from its first words whether a string of SQL will write, so
// that the write lock is taken before it runs. A wrong guess costs a little and
// breaks nothing: a statement that is not recognised asks for the lock when it
// comes to write (conn.LockWrite), and a lock taken for nothing is given back
// when the statement ends.
func writes(query string) bool {
	word, rest := firstWord(query)
	switch len(word) {
	case 4:
		return equal(word, "drop") || equal(word, "with") && mentionsWrite(rest)
	case 5:
		return equal(word, "alter") || equal(word, "begin") && beginsWriting(rest)
	case 6:
		return equal(word, "insert") || equal(word, "update") || equal(word, "delete") ||
			equal(word, "create") || equal(word, "vacuum") && !strings.Contains(strings.ToLower(rest), "into")
	case 7:
		return equal(word, "replace") || equal(word, "reindex") || equal(word, "analyze")
	}
	return false
}

// controls reports whether a string may open or close a transaction by words,
// or attach a database: a statement that does, or several statements.
func controls(query string) bool {
	word, _ := firstWord(query)
	for _, w := range [...]string{"begin", "commit", "end", "rollback", "savepoint", "release", "attach"} {
		if equal(word, w) {
			return true
		}
	}
	i := strings.IndexByte(query, ';')
	return i >= 0 && i < len(query)-1
}

// returning guesses whether a string has a RETURNING clause.
func returning(query string) bool {
	return strings.Contains(query, "RETURNING") || strings.Contains(query, "returning") || strings.Contains(query, "Returning")
}

func equal(word, lower string) bool { return strings.EqualFold(word, lower) }

// beginsWriting tells BEGIN IMMEDIATE and BEGIN EXCLUSIVE from the others.
func beginsWriting(rest string) bool {
	word, _ := firstWord(rest)
	return equal(word, "immediate") || equal(word, "exclusive")
}

// mentionsWrite looks for the verb behind the common table expressions.
func mentionsWrite(rest string) bool {
	rest = strings.ToLower(rest)
	for _, verb := range [...]string{"insert", "update", "delete", "replace"} {
		if strings.Contains(rest, verb) {
			return true
		}
	}
	return false
}

// firstWord returns the first word of a string of SQL, which is empty when it
// does not begin with one, and what follows.
func firstWord(s string) (word, rest string) {
	s = skipBlank(s)
	i := 0
	for i < len(s) && isLetter(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

// skipBlank skips the spaces, comments and empty statements in front.
func skipBlank(s string) string {
	for len(s) > 0 {
		switch c := s[0]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == ';':
			s = s[1:]
		case strings.HasPrefix(s, "--"):
			_, s, _ = strings.Cut(s, "\n")
		case strings.HasPrefix(s, "/*"):
			_, s, _ = strings.Cut(s[2:], "*/")
		case strings.HasPrefix(s, "\ufeff"): // SQLite skips a byte order mark too
			s = s[len("\ufeff"):]
		default:
			return s
		}
	}
	return s
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
