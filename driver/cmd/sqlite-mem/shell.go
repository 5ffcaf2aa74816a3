//go:build cgo

package main

import (
	"bufio"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
)

var shellCommand = command{
	name:     "shell",
	operands: "FILE",
	summary:  "a prompt for SQL on a database",
	details: `
A statement ends with a semicolon and may take several lines. Commands of the
shell begin with a dot: .help lists them. Tab completes the names of tables,
columns and commands. Ctrl-C stops the statement that runs, or clears the line.
Ctrl-D ends the shell, and rolls back an open transaction. The prompt tells
how FILE is seen, as for "sqlite-mem query", and of an open transaction.

Lines are kept for the next time, in sqlite-mem/history below the user's state
directory, readable by the user alone; not those that begin with a space.

Without a terminal on both sides there is no prompt and no history, and the
first error ends the shell with exit status 1, as with "sqlite3 -bail". So does
an end of the input in a statement or in a transaction.
`,
	interrupts: true,
	setUp: func(flags *flag.FlagSet) func(context.Context, []string, stdio) error {
		saved := savedFlag(flags)
		readOnly := flags.Bool("readonly", false, "refuse to write")
		noHistory := flags.Bool("no-history", false, "neither read nor keep a history")
		mode := flags.String("mode", "table", "`MODE` of rows: "+strings.Join(formatNames(), ", "))
		return func(ctx context.Context, operands []string, std stdio) error {
			name, err := one(operands, "FILE")
			if err != nil {
				return err
			}
			if !slices.Contains(formatNames(), *mode) {
				return usageError("-mode " + *mode + ": want " + strings.Join(formatNames(), ", "))
			}
			db, err := openTarget(name, access{saved: *saved, readOnly: *readOnly})
			if err != nil {
				return err
			}
			db.SetMaxOpenConns(1)
			s := &shell{db: db, std: std, mode: formatNamed(*mode), terminal: isTerminal(std.out)}
			err = s.run(ctx, !*noHistory)
			return errors.Join(err, db.Close())
		}
	},
}

// shell is a run of the shell. It is used by one goroutine at a time.
type shell struct {
	db       *target
	std      stdio
	terminal bool // output goes to a terminal
	prompts  bool // and input comes from one

	mode  format
	timer bool
	reads int // .read commands that run, one in the other

	// conn is the connection of the open transaction, or nil if none is open. Outside
	// of a transaction the pool has the connection. The pool replaces it when a save
	// has replaced the file, or a server has come or gone.
	conn  *sql.Conn
	view  view  // of the last connection
	dials int64 // connections that were opened up to then
}

// errQuit ends the shell, and is no failure.
var errQuit = errors.New("quit")

// errInterrupted is the error of a line, or a statement, that was given up by Ctrl-C.
var errInterrupted = errors.New("interrupted")

// lineReader reads lines, without their ends. After the last one the error is io.EOF.
type lineReader interface {
	readLine(prompt string) (string, error)
}

// run runs the shell to its end.
func (s *shell) run(ctx context.Context, keepHistory bool) error {
	in, ok := s.std.in.(*os.File)
	s.prompts = ok && isTerminal(in) && s.terminal
	if !s.prompts {
		// Ctrl-C ends all of it.
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
		defer stop()
		if err := s.lookFirst(ctx); err != nil {
			return err
		}
		if s.view.word() != "file" {
			s.note("sqlite-mem: %s: %s", s.db.path, s.view.sentence())
		}
		err := s.script(ctx, newPipe(ctx, s.std.in), "")
		return s.finish(ctx, err)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	if err := s.lookFirst(ctx); err != nil {
		return err
	}
	own, library := versions()
	s.note("sqlite-mem %s, SQLite %s: %s", own, library, s.db.path)
	s.note("%s; .help lists the commands", s.view.sentence())
	out := s.std.out.(*os.File)
	if os.Getenv("TERM") == "dumb" {
		return s.finish(ctx, s.converse(ctx, dumbTerminal{newPipe(ctx, in), out}))
	}
	h := &history{}
	if keepHistory {
		h = openHistory(s.note)
	}
	err := s.converse(ctx, newTerminal(ctx, in, out, h, s.complete))
	return errors.Join(s.finish(ctx, err), h.close())
}

// lookFirst opens the first connection, so that s.view is known.
func (s *shell) lookFirst(ctx context.Context) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// converse reads lines from a terminal and runs them. An error is shown and ends nothing.
func (s *shell) converse(ctx context.Context, lines lineReader) error {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	var in input
	for {
		select {
		case <-interrupts: // too late for the last line; while a line is read Ctrl-C is a key
		default:
		}
		text, err := lines.readLine(s.prompt(&in))
		if errors.Is(err, errInterrupted) {
			in.split.rest()
			continue
		}
		if errors.Is(err, errLongLine) {
			in.split.rest()
			s.complain(err)
			continue
		}
		if err != nil {
			if rest := in.split.rest(); rest != "" {
				s.note("not run, as its ; is missing: %s", rest)
			}
			return err
		}
		err = interruptible(ctx, interrupts, func(ctx context.Context) error { return s.line(ctx, &in, text) })
		if errors.Is(err, errQuit) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			s.complain(err)
		}
	}
}

// interruptible runs f under a context that an interrupt ends.
func interruptible(ctx context.Context, interrupts <-chan os.Signal, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		select {
		case <-interrupts:
			cancel()
		case <-over:
		}
	}()
	err := f(ctx)
	close(over)
	<-watching
	cancel()
	return err
}

// stopped returns errInterrupted instead of an error that the end of ctx has caused.
func stopped(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// finish rolls back the open transaction. At the end of a script that is an error.
func (s *shell) finish(ctx context.Context, err error) error {
	if errors.Is(err, errQuit) || errors.Is(err, io.EOF) {
		err = nil
	}
	if s.conn == nil {
		return err
	}
	_, rollback := s.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	rollback = errors.Join(rollback, s.conn.Close())
	s.conn = nil
	const text = "the open transaction was rolled back"
	switch {
	case s.prompts || err != nil:
		s.note(text)
	default:
		err = errors.New("ended without COMMIT: " + text)
	}
	return errors.Join(err, rollback)
}

// input is the source of statements.
type input struct {
	name  string // of the file; empty: standard input
	line  int    // number of the line that was read last
	start int    // number of the line with which the statement begins
	split splitter
}

// script runs the lines of a file up to the first error, which names the line.
func (s *shell) script(ctx context.Context, lines lineReader, name string) error {
	in := input{name: name}
	for {
		text, err := lines.readLine("")
		if errors.Is(err, io.EOF) {
			rest := in.split.rest()
			if rest == "" {
				return nil
			}
			err = fmt.Errorf("not run, as its ; is missing: %s", rest)
		}
		if err == nil {
			err = s.line(ctx, &in, text)
		}
		switch {
		case errors.Is(err, errQuit):
			return err
		case err != nil && name != "":
			return fmt.Errorf("%s:%d: %w", name, in.start, plain(err))
		case err != nil:
			return fmt.Errorf("line %d: %w", in.start, plain(err))
		}
	}
}

// line runs one line: a command of the shell, or a part of statements.
func (s *shell) line(ctx context.Context, in *input, text string) error {
	in.line++
	if in.split.empty() {
		in.start = in.line
		if command := strings.TrimSpace(text); strings.HasPrefix(command, ".") {
			return s.command(ctx, command)
		}
	}
	list := in.split.add(text + "\n")
	for i, statement := range list {
		err := s.statement(ctx, statement)
		if err != nil {
			if left := len(list) - 1 - i + min(len(in.split.rest()), 1); left > 0 {
				err = fmt.Errorf("%w (what follows on that line was not run)", plain(err))
			}
			return err
		}
		in.start = in.line
	}
	return nil
}

// maxTries is how often a statement begins before its connection is called bad.
const maxTries = 3

// statement runs one statement and shows its rows.
func (s *shell) statement(ctx context.Context, text string) error {
	inTx := s.conn != nil
	start := time.Now()
	out := bufio.NewWriter(s.std.out)
	var conn *sql.Conn
	var err error
	for tries := 1; ; tries++ {
		if conn, err = s.acquire(ctx); err != nil {
			return stopped(ctx, err)
		}
		err = runStatement(ctx, conn, text, nil, s.mode.to(out, s.terminal))
		bad := !inTx && errors.Is(err, sqldriver.ErrBadConn) && tries < maxTries
		locked := isLocked(ctx, conn, err) && time.Since(start) < driver.DefaultBusyTimeout
		if !bad && !locked {
			break
		}
		// Nothing was done. If the connection is bad, a server came or went after the
		// connection was looked at.
		if !inTx {
			_ = conn.Close() // the next one tells
		}
		if locked {
			select {
			case <-ctx.Done():
			case <-time.After(lockPause):
			}
		}
	}
	err = stopped(ctx, errors.Join(err, out.Flush()))
	took := time.Since(start)

	if first := firstWord(text); inTx || slices.Contains(controls, first) {
		open, lost := inTransaction(conn, inTx)
		switch {
		case err == nil || !inTx || open:
		case !lost:
			err = fmt.Errorf("%w (the transaction was rolled back)", plain(err))
		case !slices.Contains(controls, first): // what became of a COMMIT its error says
			err = fmt.Errorf("%w (the connection is lost, and the transaction with it)", plain(err))
		}
		inTx = open
	}
	s.conn = nil
	if inTx {
		s.conn = conn
	} else if closeErr := conn.Close(); err == nil {
		err = closeErr
	}
	if s.timer {
		s.note("time: %s", show.Duration(took))
	}
	return err
}

// acquire returns the connection of the transaction, or one from the pool. A new one is
// announced, since the state of the old one is lost.
func (s *shell) acquire(ctx context.Context) (*sql.Conn, error) {
	if s.conn != nil {
		return s.conn, nil
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	dials := s.db.opened.n.Load()
	if dials == s.dials {
		return conn, nil
	}
	before, later := s.view, s.dials > 0
	view, _, err := s.db.look()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if !view.live { // the server waits by itself, and heeds Ctrl-C
		_, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", lockWait.Milliseconds()))
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	s.view, s.dials = view, dials
	switch {
	case !later:
	case before.word() != view.word():
		s.note("from here on %s; temporary tables, attached files and pragmas are gone", view.sentence())
	default:
		s.note("connected anew (%s); temporary tables, attached files and pragmas are gone", view.sentence())
	}
	return conn, nil
}

// On a file, SQLite waits for the locks of other programs, and does not heed Ctrl-C
// meanwhile. So it waits for lockWait at a time, and the shell lets it begin again after
// lockPause. See statement.
var lockWait = 200 * time.Millisecond // a variable for tests

const lockPause = 20 * time.Millisecond

// isLocked reports whether a statement may begin again because a lock was not to be had.
// It may not if the user has chosen how long to wait.
func isLocked(ctx context.Context, conn *sql.Conn, err error) bool {
	e, is := errors.AsType[sqlite3.Error](err)
	if !is || e.Code != sqlite3.ErrBusy || e.ExtendedCode == sqlite3.ErrBusySnapshot {
		return false
	}
	var wait int64
	err = conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&wait)
	return err == nil && wait == lockWait.Milliseconds()
}

// controls are the first words of statements that begin or end transactions.
var controls = []string{"begin", "savepoint", "commit", "end", "release", "rollback"}

// inTransaction asks whether a transaction is open, which no function of SQL tells: then
// SQLite refuses BEGIN. If the connection is lost, none is.
func inTransaction(conn *sql.Conn, before bool) (open, lost bool) {
	ctx := context.Background()
	_, err := conn.ExecContext(ctx, "BEGIN")
	if err == nil {
		_, err = conn.ExecContext(ctx, "ROLLBACK")
		return err != nil, false
	}
	if e, is := errors.AsType[sqlite3.Error](err); is {
		return e.Code == sqlite3.ErrError || before, false
	}
	return false, true
}

// prompt shows s.view, and whether a statement or a transaction is open.
func (s *shell) prompt(in *input) string {
	state := s.view.word()
	if s.conn != nil {
		state += ", transaction"
	}
	prompt := escape(filepath.Base(s.db.path)) + " (" + state + ")> "
	if in.split.empty() {
		return prompt
	}
	return strings.Repeat(" ", max(utf8.RuneCountInString(prompt)-len(continued), 0)) + continued
}

// continued ends the prompt of a line that goes on with a statement.
const continued = "...> "

// note shows a message that is no result.
func (s *shell) note(format string, args ...any) {
	_ = say(s.std.err, format+"\n", args...) // there is nobody else to tell
}

func (s *shell) complain(err error) { s.note("error: %s", message(plain(err))) }

// plain drops repeated errors: database/sql returns the error of the context once from
// the statement and once from its rows.
func plain(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var list []error
	for _, e := range joined.Unwrap() {
		if !slices.ContainsFunc(list, func(o error) bool { return o.Error() == e.Error() }) {
			list = append(list, e)
		}
	}
	if len(list) == 1 {
		return list[0]
	}
	return errors.Join(list...)
}
