//go:build cgo

package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// isTerminal reports whether f is a file that is a terminal.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// escape makes a text one line without control characters, which a terminal would obey.
func escape(s string) string { return escapeAll(s, unprintable) }

// escapeLines is escape, but keeps line ends and tabs.
func escapeLines(s string) string {
	return escapeAll(s, func(r rune) bool { return r != '\n' && r != '\t' && unprintable(r) })
}

// say writes text for people, with paths and errors in it.
func say(w io.Writer, format string, args ...any) error {
	_, err := io.WriteString(w, escapeLines(fmt.Sprintf(format, args...)))
	return err
}

// unprintable holds for control characters, for those that change the direction of text,
// and for other invisible ones. An ordinary space is printable.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

func escapeAll(s string, is func(rune) bool) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, is) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case is(r):
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}
