//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
)

var verifyCommand = command{
	name:     "verify",
	operands: "FILE",
	summary:  "tell whether a database, its log and a backup are good",
	details: `
Runs integrity_check and foreign_key_check on every table, compares the log
with the file, and names what stands beside it. FILE may be a backup. Nothing
is changed or made there: if a crash has left a log, -wal or journal, a copy in
$TMPDIR is checked with it.

Beside a server that answers tools, the file as saved last and the server's
memory are checked. Writers go on meanwhile; the memory of pages that they
rewrite is held. With -saved only the file is checked, and also if the server
does not answer. The output says what was looked at. On Windows the server
cannot save while the file is read; it tries again.

Each finding is a line that begins with WRONG. With one, the exit status is 1.
`,
	setUp: func(flags *flag.FlagSet) func(context.Context, []string, stdio) error {
		asJSON := flags.Bool("json", false, "write it as one JSON object; sizes are in bytes")
		saved := savedFlag(flags)
		return func(ctx context.Context, operands []string, std stdio) error {
			name, err := one(operands, "FILE")
			if err != nil {
				return err
			}
			return verify(ctx, name, *saved, *asJSON, std)
		}
	},
}

// report is what verify has found.
type report struct {
	Path     string     `json:"path"`     // absolute, symbolic links resolved
	OK       bool       `json:"ok"`       // there are no findings
	Looked   []string   `json:"looked"`   // what was looked at, in words
	Checked  []checked  `json:"checked"`  // the results, in the same order
	Findings []finding  `json:"findings"` // what is wrong
	Notes    []string   `json:"notes"`    // what is worth knowing and not wrong
	Log      *logStatus `json:"log"`      // as in status; null: there is none
	Beside   []beside   `json:"beside"`   // as in status
}

// checked is one state of a database that was checked.
type checked struct {
	Where  string `json:"where"` // file, copy, memory
	Tables int    `json:"tables"`
	Bytes  int64  `json:"bytes"`
	Wrong  int    `json:"wrong"` // number of findings
}

type finding struct {
	Where string `json:"where"` // file, copy, memory, log
	What  string `json:"what"`  // in one line
}

func verify(ctx context.Context, name string, saved, asJSON bool, std stdio) error {
	path, err := resolve(name)
	if err != nil {
		return err
	}
	v := &verifier{path: path, screen: show.NewScreen(std.err), width: terminalWidth(std.err)}
	err = v.run(ctx, saved)
	v.screen.Clear()
	if ctx.Err() != nil {
		return errors.New("interrupted: not everything was checked")
	}
	if err != nil {
		return err
	}
	r := &v.report
	r.Path, r.OK = path, len(r.Findings) == 0
	if asJSON {
		e := json.NewEncoder(std.out)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		err = r.write(std.out)
	}
	if err == nil && !r.OK {
		err = fmt.Errorf("%s: %s", path, show.Plural(len(r.Findings), "finding"))
	}
	return err
}

// write shows the report to people.
func (r *report) write(w io.Writer) error {
	var b strings.Builder
	line := func(title, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", title, escape(fmt.Sprintf(format, args...)))
	}
	line("path", "%s", r.Path)
	for i, text := range r.Looked {
		line([]string{"looked", ""}[min(i, 1)], "%s", text)
	}
	for _, c := range r.Checked {
		result := "in order"
		if c.Wrong > 0 {
			result = show.Plural(c.Wrong, "finding")
		}
		line(c.Where, "%s, %s: %s", show.Plural(c.Tables, "table"), show.Size(c.Bytes), result)
	}
	switch l := r.Log; {
	case l == nil:
		line("log", "none")
	case l.Damage == "" && (l.Fits || l.Transactions == 0):
		line("log", "%s beyond the file: in order", show.Plural(l.Transactions, "transaction"))
	}
	for _, note := range r.Notes {
		line("note", "%s", note)
	}
	for _, f := range r.Beside {
		line("beside", "%s: %s", f.Name, f.Meaning)
	}
	for _, f := range r.Findings {
		line("WRONG", "%s: %s", f.Where, f.What)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// verifier checks one database.
type verifier struct {
	path   string
	screen *show.Screen
	width  int // of the screen; 0: not known
	report report
}

// progress shows what is being done, on a terminal.
func (v *verifier) progress(format string, args ...any) {
	if v.screen.Terminal() {
		v.screen.Live("%s", cut(escape(fmt.Sprintf(format, args...)), max(v.width, 20)))
	}
}

func (v *verifier) wrong(where, format string, args ...any) {
	what := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	v.report.Findings = append(v.report.Findings, finding{where, what})
}

func (v *verifier) note(format string, args ...any) {
	v.report.Notes = append(v.report.Notes, fmt.Sprintf(format, args...))
}

// run checks the file and its log, and the memory of a server that answers.
func (v *verifier) run(ctx context.Context, saved bool) (err error) {
	r := &v.report
	r.Looked, r.Checked, r.Findings, r.Notes = []string{}, []checked{}, []finding{}, []string{}
	by := ownerOf(v.path)
	_, err = os.Stat(v.path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !(missing && by != nil) {
		return err
	}
	if r.Beside, err = lookBeside(v.path, by != nil); err != nil {
		return err
	}
	v.progress("log: compared with the file")
	if r.Log, err = readLog(ctx, v.path); err != nil {
		return err
	}
	if l := r.Log; l != nil {
		switch {
		case l.Damage != "":
			v.wrong("log", "%s", l.Damage)
		case !l.Fits && l.Transactions > 0:
			v.wrong("log", "%s that do not belong to the file as it is", show.Plural(l.Transactions, "transaction"))
		case l.Torn > 0 && by == nil:
			v.note("the log ends with %s of a commit that a crash has cut short, and that was never durable", show.Size(l.Torn))
		}
	}
	if missing {
		v.note("there is no file yet: its server has not saved it")
	} else if err := v.file(ctx, by != nil); err != nil {
		return err
	}
	if by != nil {
		return v.memory(ctx, saved, *by)
	}
	return nil
}
