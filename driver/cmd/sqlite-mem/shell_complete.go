//go:build cgo

package main

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// completeTime is how long Tab may take: a database that is locked must not hold up the
// keyboard.
const completeTime = 2 * time.Second

// completion has the words that may replace line[from:pos] at Tab.
type completion struct {
	from  int
	words []string // sorted, each different
}

// complete finds out how the word before a position of a line may go on. Its bytes are
// counted. inStatement is true if the line goes on with a statement.
func (s *shell) complete(line string, pos int, inStatement bool) completion {
	before := line[:pos]
	if command := strings.TrimLeft(before, " \t"); !inStatement && strings.HasPrefix(command, ".") {
		return s.completeCommand(before, command)
	}
	from := wordStart(before)
	return completion{from, s.names(before[:from], before[from:])}
}

// completeCommand completes a command of the shell, or its operand.
func (s *shell) completeCommand(before, command string) completion {
	name, operand, more := strings.Cut(command, " ")
	var words []string
	if !more {
		for _, c := range dotCommands {
			if strings.HasPrefix(c.name, name) {
				words = append(words, c.name)
			}
		}
		return completion{len(before) - len(name), words}
	}
	operand = strings.TrimLeft(operand, " \t")
	from := len(before) - len(operand)
	for _, c := range dotCommands {
		switch {
		case c.name != name:
		case name == ".schema" || name == ".tables":
			for _, word := range s.names("", operand) {
				words = append(words, strings.Trim(word, `"`))
			}
		default:
			for _, v := range c.values {
				if strings.HasPrefix(v, operand) {
					words = append(words, v)
				}
			}
		}
	}
	slices.Sort(words)
	return completion{from, words}
}

// wordStart is where the name begins that a text ends with, its quote included.
func wordStart(text string) int {
	from := len(text)
	for from > 0 {
		r, n := utf8.DecodeLastRuneInString(text[:from])
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '$' {
			break
		}
		from -= n
	}
	if strings.HasSuffix(text[:from], `"`) {
		from--
	}
	return from
}

// names returns the names of tables, views and columns that begin with prefix, in upper
// or lower case. Each is quoted if SQL needs it. before is the text before the prefix.
// If it ends with the name of a table and a dot, names returns the columns of that
// table.
func (s *shell) names(before, prefix string) []string {
	quoted := strings.HasPrefix(prefix, `"`)
	pattern := likePrefix(strings.TrimPrefix(prefix, `"`))
	var owner string
	if text, ok := strings.CutSuffix(before, "."); ok {
		owner = strings.Trim(text[wordStart(strings.TrimSuffix(text, `"`)):], `"`)
	}
	var list []string
	add := func(name string) {
		if quoted || wordStart(name) != 0 || name == "" || unicode.IsDigit(rune(name[0])) {
			name = quote(name)
		}
		list = append(list, name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), completeTime)
	defer cancel()
	// An error means that there are no names to offer.
	_ = s.ask(ctx, func(ctx context.Context, conn *sql.Conn) error {
		if owner != "" {
			_ = eachText(ctx, conn, `SELECT name FROM pragma_table_xinfo(?1) WHERE name LIKE ?2 ESCAPE '!'`, add, owner, pattern)
			if len(list) > 0 {
				return nil
			}
		}
		return eachSchema(ctx, conn, func(schema string) error {
			catalog := quote(schema) + ".sqlite_schema"
			_ = eachText(ctx, conn, "SELECT name FROM "+catalog+` WHERE type IN ('table', 'view') AND name LIKE ? ESCAPE '!'`, add, pattern)
			// The columns of a view or virtual table may need a missing table or module. Then
			// the whole query would fail.
			return eachText(ctx, conn, "SELECT c.name FROM "+catalog+` t JOIN pragma_table_xinfo(t.name, ?1) c
				WHERE t.type = 'table' AND t.sql NOT LIKE 'CREATE VIRTUAL%' AND c.name LIKE ?2 ESCAPE '!'`, add, schema, pattern)
		})
	})
	slices.Sort(list)
	return slices.Compact(list)
}

// likePrefix returns a pattern of LIKE, with ! as its escape, for texts that begin
// with prefix.
func likePrefix(prefix string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(prefix) + "%"
}

// commonPrefix returns the longest prefix of all words, in upper or lower case, as the
// first word has it.
func commonPrefix(words []string) string {
	prefix := words[0]
	for _, word := range words[1:] {
		for len(word) < len(prefix) || !strings.EqualFold(word[:len(prefix)], prefix) {
			_, n := utf8.DecodeLastRuneInString(prefix)
			prefix = prefix[:len(prefix)-n]
		}
	}
	return prefix
}
