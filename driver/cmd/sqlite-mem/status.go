//go:build cgo

package main

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

var statusCommand = command{
	name:     "status",
	operands: "FILE",
	summary:  "tell who has a database, and what is beside its file",
	details: `
Tells which process has the database in memory, what the file holds, and what
other files stand beside it. If that process answers tools, its counters are
shown too: write lock and queue, last save, log, oldest reader. Nothing is
changed: a file with a journal that has yet to be rolled back, or a -wal, is
read as SQLite's read-only mode allows.

With -watch it shows the server once a second: commits, lock, queue, save, log,
readers, and what a crash would cost. It goes on when the server ends, and says
when one begins. Off a terminal, or with -json, each look is one line.
`,
	setUp: func(flags *flag.FlagSet) func(context.Context, []string, stdio) error {
		asJSON := flags.Bool("json", false, "write it as one JSON object; sizes are in bytes")
		saved := savedFlag(flags)
		watched := flags.Bool("watch", false, "show it once a second until Ctrl-C")
		return func(ctx context.Context, operands []string, std stdio) error {
			name, err := one(operands, "FILE")
			if err != nil {
				return err
			}
			if *watched {
				return watchStatus(ctx, name, *asJSON, *saved, std.out)
			}
			s, err := readStatus(ctx, name, *saved)
			if err != nil {
				return err
			}
			if *asJSON {
				e := json.NewEncoder(std.out)
				e.SetIndent("", "  ")
				return e.Encode(s)
			}
			return s.write(std.out, time.Now())
		}
	},
}

// status has the facts that a tool can know of a database.
type status struct {
	Path       string        `json:"path"`         // absolute, symbolic links resolved
	Owner      *owner        `json:"owner"`        // null: nobody
	OwnerError string        `json:"owner_error"`  // why that is not known; "": it is
	Looked     string        `json:"looked"`       // live: into the server's memory; saved: at the file that a server has saved; file: at a file without a server
	Server     *driver.Stats `json:"server"`       // the server's counters; null: it was not asked, or did not answer
	ServerErr  string        `json:"server_error"` // why it did not answer; "": it has, or serves no tools, or was not asked
	File       *fileStatus   `json:"file"`         // null: there is none yet
	Log        *logStatus    `json:"log"`          // null: there is none
	Beside     []beside      `json:"beside"`
	Schema     *schema       `json:"schema"`       // of what was looked at; null: it cannot be read
	SchemaErr  string        `json:"schema_error"` // why not
}

type owner struct {
	PID   int       `json:"pid"`   // 0: it has not told
	Since time.Time `json:"since"` // zero: likewise
}

type fileStatus struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	PageSize int       `json:"page_size"` // 0: the file is empty
	Pages    int64     `json:"pages"`
	WAL      bool      `json:"wal_mode"`
}

// logStatus tells how far the log reaches beyond the file.
type logStatus struct {
	Name         string `json:"name"`
	Size         int64  `json:"size"` // up to the end of the last transaction
	Transactions int    `json:"transactions"`
	Pages        int    `json:"pages"`  // of the database that are newer in the log
	Torn         int64  `json:"torn"`   // bytes of one more transaction
	Fits         bool   `json:"fits"`   // it belongs to the file
	Damage       string `json:"damage"` // "": none
}

// pending reports whether the log has commits that the file does not have.
func (l *logStatus) pending() bool { return l != nil && l.Fits && l.Transactions > 0 }

// beside is a file beside the database that has to do with it.
type beside struct {
	Name     string    `json:"name"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Meaning  string    `json:"meaning"`
}

type schema struct {
	Tables        int   `json:"tables"`
	Indexes       int   `json:"indexes"`
	Views         int   `json:"views"`
	Triggers      int   `json:"triggers"`
	UserVersion   int64 `json:"user_version"`
	ApplicationID int64 `json:"application_id"`
	FreePages     int64 `json:"free_pages"`
}

func readStatus(ctx context.Context, name string, saved bool) (*status, error) {
	path, err := resolve(name)
	if err != nil {
		return nil, err
	}
	s := &status{Path: path}
	by, owned, err := proclock.OwnerOf(path)
	switch {
	case err != nil:
		s.OwnerError = err.Error()
	case owned:
		s.Owner = &owner{by.PID, by.Since}
	}
	s.File, err = readFile(path)
	if errors.Is(err, fs.ErrNotExist) && s.Owner == nil {
		return nil, err
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if s.Log, err = readLog(ctx, path); err != nil {
		return nil, err
	}
	if s.Beside, err = lookBeside(path, s.Owner != nil); err != nil {
		return nil, err
	}
	s.Looked = view{owner: ownerOf(path)}.word()
	if s.Looked == "saved" && !saved {
		if err := s.ask(ctx); err != nil {
			s.ServerErr = err.Error()
		}
	}
	if s.File != nil && s.Server == nil {
		if s.Schema, err = readSavedSchema(ctx, path, s); err != nil {
			s.SchemaErr = err.Error()
		}
	}
	return s, nil
}

// answerTime is how long a server that loads, or saves for the last time, is waited for.
const answerTime = 2 * time.Second

// ask asks the server for its counters and its schema, if it answers tools.
func (s *status) ask(ctx context.Context) (err error) {
	params := map[string]string{"_busy_timeout": strconv.FormatInt(answerTime.Milliseconds(), 10)}
	db, err := openTarget(s.Path, access{readOnly: true, params: params})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the server has gone
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	v, st, err := db.view(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it serves no tools, and has not saved yet
	}
	if err != nil || !v.live {
		return err
	}
	s.Looked, s.Server = v.word(), &st
	s.Schema, err = readSchema(ctx, db.DB)
	if err != nil {
		s.SchemaErr = err.Error()
	}
	return nil
}

func readLog(ctx context.Context, path string) (*logStatus, error) {
	info, err := snapshot.InspectLog(ctx, path)
	if err != nil || info == nil {
		return nil, err
	}
	l := &logStatus{Name: info.Name, Size: info.Bytes, Transactions: info.Transactions, Pages: info.Pages, Torn: info.Torn, Fits: info.Fits}
	if info.Damage != nil {
		l.Damage = info.Damage.Error()
	}
	return l, nil
}

// readFile reads the header of the database
// (https://sqlite.org/fileformat2.html#the_database_header).
func readFile(path string) (st *fileStatus, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	st = &fileStatus{Size: info.Size(), Modified: info.ModTime()}
	header := make([]byte, 100)
	if _, err := io.ReadFull(f, header); err != nil || string(header[:16]) != "SQLite format 3\x00" {
		if st.Size == 0 {
			return st, nil
		}
		return nil, fmt.Errorf("%s: %w", path, snapshot.ErrNotADatabase)
	}
	st.PageSize = int(binary.BigEndian.Uint16(header[16:]))
	if st.PageSize == 1 {
		st.PageSize = 65536
	}
	if st.PageSize > 0 {
		st.Pages = st.Size / int64(st.PageSize)
	}
	st.WAL = header[18] == 2 || header[19] == 2
	return st, nil
}

// lookBeside finds the files that have to do with the database.
func lookBeside(path string, owned bool) ([]beside, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	base := filepath.Base(path)
	meanings := map[string]string{
		base + ".lock":       "empty, or names the owner; never removed",
		base + ".sock":       "a server's socket for tools, or left by one that was killed",
		base + "-journal":    "SQLite's rollback journal, of a transaction that did not end",
		base + "-wal":        "SQLite's write-ahead log: newer than the file, or left behind",
		base + "-shm":        "SQLite's index of the -wal",
		base + "-memwal":     "sqlite-mem's log of commits since the last save",
		base + "-memwal-new": "a log that was to take the place of that",
	}
	list := []beside{}
	for _, e := range entries {
		meaning, ok := meanings[e.Name()]
		switch {
		case ok:
		case strings.HasPrefix(e.Name(), base+".sqlite-mem-"):
			meaning = "a state in memory that met a changed file and was saved here"
		case strings.HasPrefix(e.Name(), base+".kept-"):
			meaning = "an earlier state of the file, kept by sqlite_keep"
		case strings.HasPrefix(e.Name(), base+".aside-") || strings.HasPrefix(e.Name(), base+"-memwal.aside-") || strings.HasPrefix(e.Name(), base+"-memwal-new.aside-"):
			meaning = "kept by sqlite-mem recover"
		case strings.HasPrefix(e.Name(), "."+base+".sqlite-mem-") && owned:
			meaning = "a save that runs, or was killed"
		case strings.HasPrefix(e.Name(), "."+base+".sqlite-mem-"):
			meaning = "a save that was killed; the next owner removes it"
		default:
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, beside{e.Name(), info.Size(), info.ModTime(), meaning})
	}
	return list, nil
}

// readSavedSchema reads the schema of the file itself. If no log or journal stands
// beside the file, SQLite opens it as immutable. Otherwise it would make an index for the log
// of a file in WAL mode.
func readSavedSchema(ctx context.Context, path string, st *status) (s *schema, err error) {
	params := map[string]string{"immutable": "1"}
	for _, b := range st.Beside {
		if b.Size > 0 && (strings.HasSuffix(b.Name, "-wal") || strings.HasSuffix(b.Name, "-journal")) {
			delete(params, "immutable")
		}
	}
	db, err := openTarget(path, access{saved: true, readOnly: true, params: params})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return readSchema(ctx, db.DB)
}

func readSchema(ctx context.Context, db *sql.DB) (*schema, error) {
	s := new(schema)
	err := db.QueryRowContext(ctx, `SELECT
		count(*) FILTER (WHERE type = 'table'), count(*) FILTER (WHERE type = 'index'),
		count(*) FILTER (WHERE type = 'view'), count(*) FILTER (WHERE type = 'trigger'),
		(SELECT user_version FROM pragma_user_version),
		(SELECT application_id FROM pragma_application_id),
		(SELECT freelist_count FROM pragma_freelist_count)
		FROM sqlite_schema`).
		Scan(&s.Tables, &s.Indexes, &s.Views, &s.Triggers, &s.UserVersion, &s.ApplicationID, &s.FreePages)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// write shows the status to people.
func (s *status) write(w io.Writer, now time.Time) error {
	var b strings.Builder
	line := func(title, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", title, fmt.Sprintf(format, args...))
	}
	when := func(t time.Time) string {
		return t.Local().Format(time.DateTime) + " (" + ago(now.Sub(t)) + ")"
	}
	line("path", "%s", s.Path)
	switch {
	case s.OwnerError != "":
		line("owner", "not known: %s", s.OwnerError)
	case s.Owner == nil:
		line("owner", "nobody")
	case s.Owner.PID == 0:
		line("owner", "another process, which has not told its id")
	default:
		line("owner", "process %d since %s", s.Owner.PID, when(s.Owner.Since))
	}
	switch {
	case s.Server != nil:
		line("looked", "live, into the memory of that process")
	case s.ServerErr != "":
		line("looked", "at the file as it was saved last; that process does not answer:")
		line("", "%s", s.ServerErr)
	case s.Looked == "saved":
		line("looked", "at the file as that process saved it last")
	default:
		line("looked", "at the file")
	}
	if s.Server != nil {
		for i, text := range counters(s.Server, when) {
			line([]string{"server", ""}[min(i, 1)], "%s", text)
		}
	}
	if f := s.File; f == nil {
		line("file", "not there yet: its owner has not saved it")
	} else {
		line("file", "%s (%s bytes), last changed %s", show.Size(f.Size), show.Count(f.Size), when(f.Modified))
		mode := ""
		if f.WAL {
			mode = ", in WAL mode"
		}
		if f.PageSize > 0 {
			line("", "%s of %s bytes%s", show.Plural(f.Pages, "page"), show.Count(f.PageSize), mode)
		}
	}
	switch c := s.Schema; {
	case s.SchemaErr != "":
		line("schema", "cannot be read: %s", s.SchemaErr)
	case c != nil:
		line("schema", "%s, %s, %s, %s", show.Plural(c.Tables, "table"), show.Plural(c.Indexes, "index"),
			show.Plural(c.Views, "view"), show.Plural(c.Triggers, "trigger"))
		line("", "user_version %d, application_id %d, %s", c.UserVersion, c.ApplicationID, show.Plural(c.FreePages, "free page"))
	}
	if l := s.Log; l != nil {
		switch {
		case l.Damage != "":
			line("log", "%s", l.Damage)
			line("", "\"sqlite-mem recover\" writes what is before the damage into the file")
		case !l.Fits && l.Transactions > 0:
			line("log", "%s that do not belong to the file as it is", show.Plural(l.Transactions, "transaction"))
			line("", "\"sqlite-mem recover\" moves them aside")
		case l.Transactions == 0:
			line("log", "nothing beyond the file")
		default:
			line("log", "%s beyond the file, %s of %s", show.Plural(l.Transactions, "transaction"), show.Size(l.Size), show.Plural(l.Pages, "page"))
		}
		if l.Torn > 0 {
			line("", "and %s of one more, which is being written or was cut short", show.Size(l.Torn))
		}
	}
	if len(s.Beside) == 0 {
		line("beside", "nothing")
	}
	for i, f := range s.Beside {
		title := ""
		if i == 0 {
			title = "beside"
		}
		line(title, "%s", f.Name)
		line("", "  %s, last changed %s", show.Size(f.Size), when(f.Modified))
		line("", "  %s", f.Meaning)
	}
	return say(w, "%s", b.String())
}

// counters tells what a server counts, in lines.
func counters(st *driver.Stats, when func(time.Time) string) (lines []string) {
	line := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	line("data: %s; %s held for older readers; %s", show.Size(st.DataBytes), show.Size(st.HeldBytes), show.Plural(st.Connections, "connection"))
	if st.MemoryLimit > 0 {
		line("memory: %s of %s left in the system; so far %s", show.Size(st.MemoryAvailable), show.Size(st.MemoryLimit), show.Plural(st.MemoryWarnings, "warning"))
	}
	if st.MaxMemory > 0 {
		line("cap: %s (sqlite_max_memory)", show.Size(st.MaxMemory))
	}
	if st.WriterHolder == "" {
		line("write lock: free")
	} else {
		line("write lock: held for %s by %s", show.Duration(st.WriterHeldFor), escape(st.WriterHolder))
	}
	line("queue: %s; so far %s, %s in all, %s in vain", show.Plural(st.WriterQueue, "writer"),
		show.Plural(st.WriterWaits.Count, "wait"), show.Duration(st.WriterWaits.Sum), show.Count(st.BusyErrors))
	if st.OldestReader == 0 {
		line("oldest reader: none")
	} else {
		line("oldest reader: since %s", show.Duration(st.OldestReader))
	}
	switch {
	case st.LastSave.IsZero():
		line("last save: none; %s since the load", show.Plural(st.Unsaved, "commit"))
	case st.LastError != "":
		line("last save: FAILED %s, %s in a row:", when(st.LastSave), show.Plural(st.SaveFailures, "failure"))
		line("  %s", escape(st.LastError))
		line("  %s since the last that worked", show.Plural(st.Unsaved, "commit"))
	default:
		line("last save: %s", when(st.LastSave))
		line("  %s in %s; %s since", show.Size(st.LastBytes), show.Duration(st.LastDuration), show.Plural(st.Unsaved, "commit"))
	}
	switch {
	case st.WAL == "off":
		line("log: none (sqlite_wal=off)")
	case st.LogLastError != "":
		line("log: FAILED %s, %s in a row:", when(st.LogLastFlush), show.Plural(st.LogFailures, "failure"))
		line("  %s", escape(st.LogLastError))
	default:
		line("log: %s (sqlite_wal=%s)", show.Size(st.LogBytes), st.WAL)
	}
	line("a crash now would cost %s", show.Plural(st.Unlogged, "commit"))
	if st.Restores > 0 {
		line("restored: %s since the start", show.Plural(st.Restores, "time"))
	}
	if st.UncleanStart {
		line("start: the server before ended uncleanly; its log had %s", show.Plural(st.RecoveredCommits, "commit"))
		if st.TornBytes > 0 {
			line("  and %s of one more, which was never called durable", show.Size(st.TornBytes))
		}
	}
	return lines
}

// ago tells how long ago something was, roughly.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "in the future"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s ago"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min ago"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h ago"
	}
	return show.Plural(int(d.Hours()/24), "day") + " ago"
}
