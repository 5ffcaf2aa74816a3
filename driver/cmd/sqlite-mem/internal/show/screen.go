package show

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Width is the number of columns that a line of help or of a report fits in.
const Width = 79

// Screen shows the course of a long operation: lines that stay, and one that is
// rewritten in place on a terminal. It is used by one goroutine at a time.
type Screen struct {
	w        io.Writer
	terminal bool
	shown    int // length of the line that will be rewritten
	last     time.Time
}

// NewScreen returns a screen on w, which may be a terminal.
func NewScreen(w io.Writer) *Screen {
	s := &Screen{w: w}
	if f, ok := w.(*os.File); ok {
		s.terminal = term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
	}
	return s
}

// Terminal reports whether lines can be rewritten.
func (s *Screen) Terminal() bool { return s.terminal }

// Clear takes away a line that the next one would replace.
func (s *Screen) Clear() {
	if s.terminal && s.shown > 0 {
		fmt.Fprint(s.w, "\r"+strings.Repeat(" ", s.shown)+"\r")
		s.shown = 0
	}
}

// Line shows a line that stays.
func (s *Screen) Line(format string, args ...any) {
	s.put(fmt.Sprintf(format, args...))
	fmt.Fprintln(s.w)
	s.shown = 0
}

// Live shows a line that the next one replaces; but off a terminal, where
// nothing can be replaced, it stays.
func (s *Screen) Live(format string, args ...any) {
	s.put(fmt.Sprintf(format, args...))
	if !s.terminal {
		fmt.Fprintln(s.w)
	}
}

func (s *Screen) put(text string) {
	if !s.terminal {
		fmt.Fprint(s.w, text)
		return
	}
	n := utf8.RuneCountInString(text)
	if s.shown > 0 {
		text = "\r" + text + strings.Repeat(" ", max(s.shown-n, 0))
	}
	fmt.Fprint(s.w, text)
	s.shown = n
}

// Progress shows a bar. It may be called as often as there is progress.
func (s *Screen) Progress(what string, done, of int, unit string) {
	every := time.Second
	if s.terminal {
		every = 100 * time.Millisecond
	}
	now := time.Now()
	if done == 0 {
		s.last = now
	}
	if now.Sub(s.last) < every {
		return
	}
	s.last = now
	const length = 30
	full := length * done / max(of, 1)
	s.Live("%-9s [%s%s] %3d %%  %s %s", what, strings.Repeat("#", full),
		strings.Repeat(".", length-full), 100*done/max(of, 1), Count(done), unit)
}
