package driver

import "strings"

// words is what the first words of a string of SQL tell of it.
type words struct {
	// write: it will write, so that the write lock is taken before it runs. That
	// is a guess, and a wrong one costs a little and breaks nothing: a statement
	// that is not recognised asks for the lock when it comes to write
	// (conn.LockWrite), and a lock taken for nothing is given back when the
	// statement ends.
	write bool

	// control: it may open or close a transaction by words, or attach a
	// database, because it does or because it is several statements.
	control bool

	// returning: it has a RETURNING clause. That is a guess too, which costs time.
	returning bool
}

// wordsCache remembers the words of some strings, since the same ones come again and
// are read around each call of go-sqlite3. Each string has one place, which it may
// have to give to another.
type wordsCache [32]struct {
	query string
	words words
}

// of returns wordsOf(query).
func (c *wordsCache) of(query string) words {
	const maxLen = 1024
	n := len(query)
	if n == 0 || n > maxLen {
		return wordsOf(query)
	}
	e := &c[(n+int(query[n/2])*5+int(query[n-1])*3)%len(c)]
	if e.query != query {
		// A copy: query may be a part of something large.
		e.query, e.words = strings.Clone(query), wordsOf(query)
	}
	return e.words
}

// wordsOf reads the words.
func wordsOf(query string) (w words) {
	word, rest := firstWord(query)
	var lower [len("savepoint")]byte
	if len(word) > len(lower) {
		word = "" // none of those below
	}
	for i := range len(word) {
		lower[i] = word[i] | 0x20 // it is all letters
	}
	switch string(lower[:len(word)]) {
	case "insert", "update", "delete", "replace", "create", "alter", "drop", "reindex", "analyze":
		w.write = true
	case "with":
		w.write = mentionsWrite(rest)
	case "vacuum":
		w.write = !mentions(rest, "into")
	case "begin":
		w.write, w.control = beginsWriting(rest), true
	case "commit", "end", "rollback", "savepoint", "release", "attach":
		w.control = true
	}
	if i := strings.IndexByte(query, ';'); i >= 0 && i < len(query)-1 {
		w.control = true
	}
	w.returning = returning(query)
	return w
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
	return mentions(rest, "insert", "update", "delete", "replace")
}

// mentions looks for one of the words anywhere in a string of SQL.
func mentions(s string, words ...string) bool {
	for s != "" {
		if !isLetter(s[0]) {
			s = s[1:]
			continue
		}
		var word string
		word, s = letters(s)
		for _, w := range words {
			if equal(word, w) {
				return true
			}
		}
	}
	return false
}

// firstWord returns the first word of a string of SQL, which is empty when it
// does not begin with one, and what follows.
func firstWord(s string) (word, rest string) {
	return letters(skipBlank(s))
}

// letters cuts s behind the letters that it begins with.
func letters(s string) (word, rest string) {
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
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v' || c == ';':
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
