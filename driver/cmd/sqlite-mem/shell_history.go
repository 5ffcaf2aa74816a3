//go:build cgo

package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// maxHistory is how many lines are kept.
const maxHistory = 1000

// history holds the lines that were typed, in this run of the shell and in earlier ones.
// It implements term.History. The zero value is kept in memory alone.
type history struct {
	lines []string // the oldest first
	path  string   // of the file; empty: none
	note  func(format string, args ...any)
}

// openHistory reads the history of the user. If that fails, note is called, and the
// history lasts for this run only.
func openHistory(note func(format string, args ...any)) *history {
	h := &history{note: note}
	dir, err := stateDir()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		h.path = filepath.Join(dir, "history")
		h.lines, err = readHistory(h.path)
	}
	h.failed(err)
	return h
}

// failed gives up the file if err is not nil.
func (h *history) failed(err error) {
	if err != nil && h.note != nil {
		h.note("the history is not kept: %v", err)
		h.path = ""
	}
}

// stateDir returns the directory in which programs keep their state between two runs.
func stateDir() (string, error) {
	var dir string
	var err error
	switch runtime.GOOS {
	case "windows":
		dir, err = os.UserCacheDir() // the local one
	case "darwin", "ios":
		dir, err = os.UserConfigDir()
	default:
		// https://specifications.freedesktop.org/basedir-spec/latest/
		if dir = os.Getenv("XDG_STATE_HOME"); !filepath.IsAbs(dir) {
			dir, err = os.UserHomeDir()
			dir = filepath.Join(dir, ".local", "state")
		}
	}
	return filepath.Join(dir, "sqlite-mem"), err
}

// readHistory returns the last lines of a history file. It takes all permissions on the
// file away from other users.
func readHistory(path string) ([]string, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(content)) {
		line = strings.TrimRight(line, "\r\n")
		// Nothing that the terminal would obey when it is shown again.
		if line != "" && !strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && unprintable(r) }) {
			lines = append(lines, line)
		}
	}
	return lines[max(len(lines)-maxHistory, 0):], nil
}

// Add keeps a line, unless it is empty, that before it again, or begins with a space.
func (h *history) Add(line string) {
	if line == "" || line[0] == ' ' || h.Len() > 0 && h.At(0) == line {
		return
	}
	h.lines = append(h.lines, line)
	if len(h.lines) > maxHistory {
		h.lines = slices.Delete(h.lines, 0, len(h.lines)-maxHistory)
	}
	if h.path == "" {
		return
	}
	// Opened each time: another shell may have put a shorter one in its place.
	f, err := os.OpenFile(h.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteString(line + "\n")
		err = errors.Join(err, f.Close())
	}
	h.failed(err)
}

func (h *history) Len() int { return len(h.lines) }

// At returns a line; 0 is the last one.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

// close shortens the file if it is too long. Other shells may have added lines to it.
func (h *history) close() error {
	if h.path == "" {
		return nil
	}
	content, err := os.ReadFile(h.path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	if bytes.Count(content, []byte("\n")) <= maxHistory {
		return nil
	}
	lines, err := readHistory(h.path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(h.path), "history-") // for its owner alone, 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), h.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
