//go:build cgo

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
)

// dotCommand is a command of the shell.
type dotCommand struct {
	name     string
	operands string
	help     string
	values   []string // what the operand may be; nil: that is not fixed
	run      func(s *shell, ctx context.Context, operands []string) error
}

// dotCommands is filled by init, as .help reads it.
var dotCommands []dotCommand

func init() {
	dotCommands = []dotCommand{
		{".help", "", "list these commands", nil, (*shell).helpCommand},
		{".mode", "[MODE]", "show rows as " + strings.Join(formatNames(), ", "), formatNames(), (*shell).modeCommand},
		{".quit", "", "end the shell; Ctrl-D does the same", nil, func(*shell, context.Context, []string) error { return errQuit }},
		{".read", "FILE", "run a file of statements and commands, up to the first error", nil, (*shell).readCommand},
		{".schema", "[NAME]", "show the SQL of a table and of what belongs to it", nil, (*shell).schemaCommand},
		{".tables", "[PATTERN]", "list tables and views, by a pattern of LIKE", nil, (*shell).tablesCommand},
		{".timer", "[on|off]", "tell how long each statement took", []string{"on", "off"}, (*shell).timerCommand},
	}
}

// command runs a line that begins with a dot.
func (s *shell) command(ctx context.Context, text string) error {
	words, err := commandWords(text)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(dotCommands, func(c dotCommand) bool { return c.name == words[0] })
	if i < 0 {
		return fmt.Errorf("there is no command %s; .help lists them", words[0])
	}
	c, operands := dotCommands[i], words[1:]
	most := min(len(c.operands), 1)
	least := most
	if strings.HasPrefix(c.operands, "[") {
		least = 0
	}
	if len(operands) < least || len(operands) > most {
		return fmt.Errorf("usage: %s", strings.TrimSpace(c.name+" "+c.operands))
	}
	if c.values != nil && len(operands) == 1 && !slices.Contains(c.values, operands[0]) {
		return fmt.Errorf("%s %s: want %s", c.name, operands[0], strings.Join(c.values, ", "))
	}
	return stopped(ctx, c.run(s, ctx, operands))
}

// commandWords splits a command at its spaces. A word may be quoted by ' or ".
func commandWords(text string) (words []string, err error) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		if q := text[:1]; q == "'" || q == `"` {
			word, rest, closed := strings.Cut(text[1:], q)
			if !closed {
				return nil, fmt.Errorf("%s is not closed: %s", q, text)
			}
			words, text = append(words, word), rest
			continue
		}
		n := strings.IndexAny(text, " \t")
		if n < 0 {
			n = len(text)
		}
		words, text = append(words, text[:n]), text[n:]
	}
	// As in SQL, a ; at the end does no harm.
	last := len(words) - 1
	if words[last] = strings.TrimRight(words[last], ";"); words[last] == "" && last > 0 {
		words = words[:last]
	}
	return words, nil
}

func (s *shell) helpCommand(context.Context, []string) error {
	var b strings.Builder
	for _, c := range dotCommands {
		fmt.Fprintf(&b, "%-18s %s\n", c.name+" "+c.operands, c.help)
	}
	_, err := io.WriteString(s.std.out, b.String())
	return err
}

func (s *shell) modeCommand(_ context.Context, operands []string) error {
	if len(operands) == 0 {
		_, err := fmt.Fprintln(s.std.out, s.mode.name)
		return err
	}
	s.mode = formatNamed(operands[0])
	return nil
}

func (s *shell) timerCommand(_ context.Context, operands []string) error {
	if len(operands) == 0 {
		state := "off"
		if s.timer {
			state = "on"
		}
		_, err := fmt.Fprintln(s.std.out, state)
		return err
	}
	s.timer = operands[0] == "on"
	return nil
}

// maxReads is how deep files may read files.
const maxReads = 16

func (s *shell) readCommand(ctx context.Context, operands []string) (err error) {
	if s.reads == maxReads {
		return fmt.Errorf("%s: files that read files go %d deep and no deeper", operands[0], maxReads)
	}
	f, err := os.Open(operands[0])
	if err != nil {
		return err
	}
	s.reads++
	defer func() {
		s.reads--
		err = errors.Join(err, f.Close())
	}()
	return s.script(ctx, newPipe(ctx, f), operands[0])
}

// tablesCommand lists names in columns, as they fit the terminal.
func (s *shell) tablesCommand(ctx context.Context, operands []string) error {
	pattern := "%"
	if len(operands) == 1 {
		pattern = operands[0]
	}
	var names []string
	err := s.ask(ctx, func(ctx context.Context, conn *sql.Conn) error {
		return eachSchema(ctx, conn, func(schema string) error {
			return eachText(ctx, conn, "SELECT name FROM "+quote(schema)+`.sqlite_schema
				WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite!_%' ESCAPE '!' AND name LIKE ? ORDER BY name`, func(name string) {
				if schema != "main" {
					name = schema + "." + name
				}
				names = append(names, escape(name))
			}, pattern)
		})
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(s.std.out, inColumns(names, s.width()))
	return err
}

// inColumns lists names downwards in columns of one width.
func inColumns(names []string, width int) string {
	widest := 0
	for _, name := range names {
		widest = max(widest, utf8.RuneCountInString(name))
	}
	columns := max((width+2)/(widest+2), 1)
	rows := (len(names) + columns - 1) / columns
	var b strings.Builder
	for row := range rows {
		line := ""
		for i := row; i < len(names); i += rows {
			line += names[i] + strings.Repeat(" ", widest-utf8.RuneCountInString(names[i])+2)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func (s *shell) schemaCommand(ctx context.Context, operands []string) error {
	pattern := "%"
	if len(operands) == 1 {
		pattern = operands[0]
	}
	var b strings.Builder
	err := s.ask(ctx, func(ctx context.Context, conn *sql.Conn) error {
		return eachSchema(ctx, conn, func(schema string) error {
			return eachText(ctx, conn, "SELECT sql FROM "+quote(schema)+`.sqlite_schema
				WHERE sql IS NOT NULL AND (tbl_name LIKE ?1 OR name LIKE ?1) ORDER BY rowid`, func(text string) {
				if s.terminal {
					text = escapeLines(text)
				}
				if schema != "main" {
					fmt.Fprintf(&b, "-- in %s\n", escape(schema))
				}
				b.WriteString(text + ";\n")
			}, pattern)
		})
	})
	if err != nil {
		return err
	}
	if b.Len() == 0 && len(operands) == 1 {
		return fmt.Errorf("there is no table, index, view or trigger %s", pattern)
	}
	_, err = io.WriteString(s.std.out, b.String())
	return err
}

// ask runs f with a connection, which stays as it is.
func (s *shell) ask(ctx context.Context, f func(context.Context, *sql.Conn) error) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	err = f(ctx, conn)
	if s.conn == nil {
		err = errors.Join(err, conn.Close())
	}
	return err
}

// eachSchema calls f with the name of each database of a connection.
func eachSchema(ctx context.Context, conn *sql.Conn, f func(schema string) error) error {
	var schemas []string
	err := eachText(ctx, conn, "SELECT name FROM pragma_database_list ORDER BY seq", func(name string) {
		schemas = append(schemas, name)
	})
	for _, schema := range schemas {
		err = errors.Join(err, f(schema))
	}
	return err
}

// eachText calls f with the first column of each row.
func eachText(ctx context.Context, conn *sql.Conn, query string, f func(string), args ...any) (err error) {
	rows, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		f(text)
	}
	return rows.Err()
}

// quote makes an identifier of a name.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// width is that of the terminal, or of a report.
func (s *shell) width() int {
	if w := terminalWidth(s.std.out); w > 0 {
		return w
	}
	return show.Width
}
