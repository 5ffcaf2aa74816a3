//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
)

// watchEvery is the time between two looks. Tests shorten it.
var watchEvery = time.Second

// moment is what one look of status -watch finds.
type moment struct {
	Time             time.Time     `json:"time"`
	Event            string        `json:"event"` // what has changed since the last look: a server began or ended; "": nothing
	Path             string        `json:"path"`
	Owner            *owner        `json:"owner"`              // null: nobody
	OwnerError       string        `json:"owner_error"`        // why that is not known; "": it is
	Looked           string        `json:"looked"`             // as in status
	CommitsPerSecond *float64      `json:"commits_per_second"` // since the last look; null: not known
	Server           *driver.Stats `json:"server"`             // as in status
	ServerErr        string        `json:"server_error"`       // as in status
	File             *fileStatus   `json:"file"`               // null: there is none, or it cannot be read
	FileErr          string        `json:"file_error"`         // why it cannot be read; "": it can, or there is none
}

// watchStatus looks once a second until ctx ends, which is no error.
func watchStatus(ctx context.Context, name string, asJSON, saved bool, out io.Writer) (err error) {
	path, err := resolve(name)
	if err != nil {
		return err
	}
	m := lookNow(path, saved)
	if m.Owner == nil && m.File == nil {
		if _, err := readFile(path); err != nil { // the name may be misspelt
			return err
		}
	}
	present := func(m *moment) error { return say(out, "%s\n", m.line()) }
	switch file, _ := out.(*os.File); {
	case asJSON:
		encoder := json.NewEncoder(out)
		present = func(m *moment) error { return encoder.Encode(m) }
	case isTerminal(out) && os.Getenv("TERM") != "dumb":
		v := &liveView{out: file}
		defer func() { err = errors.Join(err, v.close()) }()
		present = v.show
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := present(m); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if ctx.Err() != nil {
			return nil
		}
		m = lookNow(path, saved).after(m)
	}
}

// lookNow asks the server, if there is one that answers tools. It opens no database.
func lookNow(path string, saved bool) *moment {
	m := &moment{Time: time.Now(), Path: path, Looked: "file"}
	by, owned, err := proclock.OwnerOf(path)
	switch {
	case err != nil:
		m.OwnerError = err.Error()
	case owned:
		m.Owner = &owner{by.PID, by.Since}
	}
	if owned && by.Role != proclock.Recovery {
		m.Looked = "saved"
		if !saved {
			m.ask()
		}
	}
	if m.File, err = readFile(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.FileErr = err.Error()
	}
	return m
}

// ask asks the server for its counters. The question opens no connection in the server, so
// it does not change what it counts.
func (m *moment) ask() {
	params := map[string]string{"_busy_timeout": strconv.FormatInt(answerTime.Milliseconds(), 10)}
	db, err := openTarget(m.Path, access{readOnly: true, params: params})
	var st driver.Stats
	if err == nil {
		st, err = driver.ReadStats(db.DB)
		err = errors.Join(err, db.Close())
	}
	switch {
	case errors.Is(err, fs.ErrNotExist): // it has gone, or serves no tools and has not saved yet
	case err != nil:
		m.ServerErr = err.Error()
	case st.Role == driver.RoleLive:
		m.Looked, m.Server = "live", &st
	}
}

// after completes m with what has changed since the look before.
func (m *moment) after(before *moment) *moment {
	same := m.Owner != nil && before.Owner != nil && m.Owner.PID == before.Owner.PID && m.Owner.Since.Equal(before.Owner.Since)
	switch {
	case same || m.OwnerError != "" || before.OwnerError != "" || m.Owner == nil && before.Owner == nil:
	case m.Owner == nil:
		m.Event = before.Owner.name() + " has ended"
	case before.Owner == nil:
		m.Event = m.Owner.name() + " has begun"
	default:
		m.Event = before.Owner.name() + " has ended, and " + m.Owner.name() + " has begun"
	}
	passed := m.Time.Sub(before.Time).Seconds()
	if same && m.Server != nil && before.Server != nil && m.Server.Commits >= before.Server.Commits && passed > 0 {
		rate := float64(m.Server.Commits-before.Server.Commits) / passed
		m.CommitsPerSecond = &rate
	}
	return m
}

// name names the owner of a database.
func (o *owner) name() string { return process(proclock.Owner{PID: o.PID}) }

// who says which process has the database.
func (m *moment) who() string {
	switch {
	case m.OwnerError != "":
		return "owner not known: " + m.OwnerError
	case m.Owner == nil:
		return "no server"
	}
	return m.Owner.name()
}

// rate is the number of commits in a second.
func (m *moment) rate() string {
	switch r := m.CommitsPerSecond; {
	case r == nil:
		return "- commits/s"
	case *r < 10:
		return strconv.FormatFloat(*r, 'f', 1, 64) + " commits/s"
	default:
		return show.Count(int64(*r+0.5)) + " commits/s"
	}
}

// line is the look in one line.
func (m *moment) line() string {
	facts := []string{m.Time.Local().Format(time.DateTime)}
	add := func(format string, args ...any) { facts = append(facts, fmt.Sprintf(format, args...)) }
	if m.Event != "" {
		add("%s", m.Event)
	} else {
		add("%s", m.who())
	}
	st := m.Server
	if st == nil {
		switch {
		case m.ServerErr != "":
			add("does not answer: %s", m.ServerErr)
		case m.Looked == "saved":
			add("its memory is not looked at")
		}
		add("%s", m.file())
		return oneLine(facts)
	}
	add("%s", m.rate())
	if st.WriterHolder == "" {
		add("lock free")
	} else {
		add("lock held %s", show.Duration(st.WriterHeldFor))
	}
	add("queue %s", show.Count(st.WriterQueue))
	switch {
	case st.LastError != "":
		add("save FAILED %s", ago(m.Time.Sub(st.LastSave)))
	case st.LastSave.IsZero():
		add("not saved yet")
	default:
		add("saved %s", ago(m.Time.Sub(st.LastSave)))
	}
	loss := "a crash costs " + show.Plural(st.Unlogged, "commit")
	if st.LossWindow > 0 {
		loss += " of " + show.Duration(st.LossWindow)
	}
	add("%s", loss)
	switch {
	case st.LogLastError != "":
		add("log FAILED")
	case st.WAL == "off":
		add("no log")
	default:
		add("log %s", show.Size(st.LogBytes))
	}
	add("held %s", show.Size(st.HeldBytes))
	if st.OldestReader == 0 {
		add("no reader")
	} else {
		add("oldest reader %s", show.Duration(st.OldestReader))
	}
	add("%s", show.Plural(st.Connections, "connection"))
	if st.WriterHolder != "" {
		add("holder: %s", st.WriterHolder)
	}
	return oneLine(facts)
}

func oneLine(facts []string) string { return escape(strings.Join(facts, "  ")) }

// file describes the file in a few words.
func (m *moment) file() string {
	switch {
	case m.FileErr != "":
		return "file: " + m.FileErr
	case m.File == nil:
		return "no file yet"
	}
	return "file of " + show.Size(m.File.Size) + ", changed " + ago(m.Time.Sub(m.File.Modified))
}

// lines is the look for a terminal. changed is the last event and its time, or "".
func (m *moment) lines(changed string) []string {
	when := func(t time.Time) string { return ago(m.Time.Sub(t)) }
	lines := []string{m.Path + "  " + m.Time.Local().Format(time.TimeOnly), ""}
	add := func(text string) { lines = append(lines, text) }
	switch {
	case m.Owner != nil && !m.Owner.Since.IsZero():
		add(m.who() + " has it in memory, since " + when(m.Owner.Since))
	case m.Owner != nil:
		add(m.who() + " has it in memory")
	default:
		add(m.who())
	}
	if changed != "" {
		add(changed)
	}
	switch {
	case m.Server != nil:
		add(m.rate())
		lines = append(lines, counters(m.Server, when)...)
	case m.ServerErr != "":
		add("it does not answer: " + m.ServerErr)
	case m.Looked == "saved":
		add("its memory is not looked at")
	}
	add(m.file())
	for i, line := range lines {
		lines[i] = escape(line)
	}
	return lines
}

// The control sequences of a terminal that liveView uses (ECMA-48, and xterm's alternate
// screen).
const (
	screenOther = "\x1b[?1049h\x1b[?25l" // another screen, and no cursor
	screenOwn   = "\x1b[?25h\x1b[?1049l"
	screenTop   = "\x1b[H"
	lineRest    = "\x1b[K" // clears the rest of the line
	screenRest  = "\x1b[J"
)

// liveView shows moments on another screen of a terminal. What was on the terminal before
// comes back at its end, with the last moment behind it.
type liveView struct {
	out     *os.File
	begun   bool
	last    []string
	changed string
}

func (v *liveView) show(m *moment) error {
	if m.Event != "" {
		v.changed = m.Time.Local().Format(time.TimeOnly) + ": " + m.Event
	}
	v.last = m.lines(v.changed)
	width, height, err := term.GetSize(int(v.out.Fd()))
	if err != nil || width < 1 || height < 1 {
		width, height = show.Width+1, 24
	}
	text := frame(v.last, width, height)
	if !v.begun {
		v.begun = true
		text = screenOther + text
	}
	_, err = io.WriteString(v.out, text)
	return err
}

func (v *liveView) close() error {
	if !v.begun {
		return nil
	}
	_, err := io.WriteString(v.out, screenOwn+strings.Join(v.last, "\n")+"\n")
	return err
}

// frame is what a screen of this size is sent to show the lines in place of what it shows.
// Lines that are too long are cut. If there are too many, the last one says so.
func frame(lines []string, width, height int) string {
	if len(lines) > height {
		hidden := len(lines) - height + 1
		lines = append(lines[:height-1:height-1], fmt.Sprintf("… and %s", show.Plural(hidden, "more line")))
	}
	var b strings.Builder
	b.WriteString(screenTop)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(cut(line, width) + lineRest)
	}
	b.WriteString(screenRest)
	return b.String()
}

// cut cuts a line that is longer than width characters. The last column stays free, as some
// terminals go on to the next line behind it.
func cut(line string, width int) string {
	if utf8.RuneCountInString(line) < width {
		return line
	}
	runes := []rune(line)
	return string(runes[:max(width-2, 0)]) + "…"
}
