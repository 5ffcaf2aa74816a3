//go:build cgo

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminalWidth returns the width of a terminal in columns. It is 0 if it is not known,
// or if w is no terminal.
func terminalWidth(w any) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// errEnded is the error of a read that a signal has ended.
var errEnded = errors.New("ended by a signal")

// contextReader reads from a file, or a terminal, until its context ends. A read that is
// under way then goes on until the process ends. It reads only on demand, so the keys that
// are typed while a statement runs stay with the terminal.
type contextReader struct {
	ctx  context.Context
	from io.Reader
	got  chan int // the length of a read that has ended, in buf
	buf  []byte
	err  error // of that read
	rest []byte
}

func newContextReader(ctx context.Context, from io.Reader) *contextReader {
	return &contextReader{ctx: ctx, from: from, got: make(chan int, 1), buf: make([]byte, 64<<10)}
}

func (r *contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, errEnded // the last read may still be under way
	}
	if len(r.rest) == 0 && r.err == nil {
		go func() {
			n, err := r.from.Read(r.buf)
			r.err = err // before the send, so the receiver may read it
			r.got <- n
		}()
		select {
		case n := <-r.got:
			r.rest = r.buf[:n]
		case <-r.ctx.Done():
			return 0, errEnded
		}
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// pipe reads lines of any length from a file or pipe that is no terminal.
type pipe struct{ from *bufio.Reader }

func newPipe(ctx context.Context, from io.Reader) pipe {
	return pipe{bufio.NewReader(newContextReader(ctx, from))}
}

func (p pipe) readLine(string) (string, error) {
	text, err := p.from.ReadString('\n')
	if errors.Is(err, io.EOF) && text != "" {
		err = nil
	}
	return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), err
}

// dumbTerminal reads lines from a terminal on which nothing can be edited (TERM=dumb).
type dumbTerminal struct {
	pipe
	out io.Writer
}

func (t dumbTerminal) readLine(prompt string) (string, error) {
	if _, err := io.WriteString(t.out, prompt); err != nil {
		return "", err
	}
	return t.pipe.readLine("")
}

// maxLine is how many characters x/term takes in one line; it drops the rest.
const maxLine = 4096

// errLongLine is the error of a line of which characters may have been dropped.
var errLongLine = fmt.Errorf("a line at the prompt has at most %d characters; nothing was run: break the line, or use .read FILE", maxLine-1)

// terminal reads lines from a terminal, with editing, history and completion by x/term.
// The terminal is raw only while it reads: Ctrl-C is a key then, and a signal otherwise.
type terminal struct {
	in, out  *os.File
	keys     *keys
	lines    *term.Terminal // nil: it has to be made
	history  term.History
	complete func(line string, pos int, inStatement bool) completion
	inside   bool // the line goes on with a statement
}

func newTerminal(ctx context.Context, in, out *os.File, h *history, complete func(string, int, bool) completion) *terminal {
	t := &terminal{in: in, out: out, history: h, complete: complete}
	t.keys = &keys{from: newContextReader(ctx, in), resize: t.resize}
	return t
}

func (t *terminal) readLine(prompt string) (line string, err error) {
	state, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, term.Restore(int(t.in.Fd()), state)) }()
	if t.lines == nil {
		t.lines = term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{t.keys, t.out}, "")
		t.lines.History = t.history
		t.lines.AutoCompleteCallback = t.tab
	}
	t.inside = strings.HasPrefix(strings.TrimLeft(prompt, " "), continued)
	t.resize()
	t.lines.SetPrompt(prompt)
	// A tab in pasted text asks for no completion.
	t.lines.SetBracketedPasteMode(true)
	defer t.lines.SetBracketedPasteMode(false)
	line, err = t.lines.ReadLine()
	switch {
	case errors.Is(err, term.ErrPasteIndicator):
		err = nil
	case errors.Is(err, io.EOF) && t.keys.interrupted:
		// x/term takes Ctrl-C for the end, and keeps the line.
		t.lines, t.keys.interrupted = nil, false
		_, _ = io.WriteString(t.out, "^C\r\n")
		return "", errInterrupted
	case err != nil:
		_, _ = io.WriteString(t.out, "\r\n")
	}
	if err == nil && utf8.RuneCountInString(line) >= maxLine {
		err = errLongLine
	}
	return line, err
}

// resize tells x/term the width of the terminal.
func (t *terminal) resize() {
	if width, height, err := term.GetSize(int(t.out.Fd())); err == nil && width > 0 {
		_ = t.lines.SetSize(width, height) // it fails if the terminal does, as the next read will
	}
}

// keys reads the bytes that a terminal sends.
type keys struct {
	from        *contextReader
	resize      func()
	rest        []byte // behind a Ctrl-C
	interrupted bool   // the last bytes that were read end with Ctrl-C
}

const ctrlC = 3

func (k *keys) Read(p []byte) (n int, err error) {
	k.resize()
	if len(k.rest) > 0 {
		n = copy(p, k.rest)
		k.rest = k.rest[n:]
	} else {
		n, err = k.from.Read(p)
	}
	// Nothing may follow a Ctrl-C: x/term returns io.EOF for it as for Ctrl-D.
	i := bytes.IndexByte(p[:n], ctrlC)
	k.interrupted = i >= 0
	if k.interrupted {
		k.rest = append(bytes.Clone(p[i+1:n]), k.rest...)
		n = i + 1
	}
	return n, err
}

// maxListed is how many words a list of completions shows; it tells of the others.
const maxListed = 200

// tab completes the word before the cursor as far as all candidates agree. If that adds
// nothing, it lists them.
func (t *terminal) tab(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	c := t.complete(line, pos, t.inside)
	if len(c.words) == 0 {
		return line, pos, true
	}
	word := commonPrefix(c.words)
	if len(c.words) > 1 && len(word) <= pos-c.from {
		var shown []string
		for _, w := range c.words[:min(len(c.words), maxListed)] {
			shown = append(shown, escape(w))
		}
		list := inColumns(shown, max(terminalWidth(t.out), 20))
		if more := len(c.words) - len(shown); more > 0 {
			list += fmt.Sprintf("… and %d more\n", more)
		}
		_, _ = io.WriteString(t.lines, list)
		return line, pos, true
	}
	line = line[:c.from] + word + line[pos:]
	return line, c.from + len(word), true
}
