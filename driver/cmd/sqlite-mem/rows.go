//go:build cgo

package main

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// rowWriter writes the rows of one statement after the other.
type rowWriter interface {
	begin(columns []string) error
	row(values []any) error
	end() error
}

// format is a way to write rows.
type format struct {
	name string
	make func(io.Writer) rowWriter
	raw  bool // control characters are written as they are, unless to a terminal
}

var formats = []format{
	{"table", newColumns, false},
	{"csv", newCSV, true},
	{"json", newJSON, false},
	{"line", newLines, false},
	{"list", newList, true},
}

func formatNames() (names []string) {
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// formatNamed returns the format of that name. It panics if there is none.
func formatNamed(name string) format {
	return formats[slices.IndexFunc(formats, func(f format) bool { return f.name == name })]
}

// to returns a writer of rows to w.
func (f format) to(w io.Writer, terminal bool) rowWriter {
	rows := f.make(w)
	if f.raw && terminal {
		rows = escaped{rows}
	}
	return rows
}

// escaped escapes the control characters of names and values.
type escaped struct{ to rowWriter }

func (e escaped) begin(columns []string) error {
	names := make([]string, len(columns))
	for i, name := range columns {
		names[i] = escape(name)
	}
	return e.to.begin(names)
}

func (e escaped) row(values []any) error {
	safe := make([]any, len(values))
	for i, v := range values {
		if s, ok := v.(string); ok {
			v = escape(s)
		}
		safe[i] = v
	}
	return e.to.row(safe)
}

func (e escaped) end() error { return e.to.end() }

// floatText writes a float so that it is not taken for an integer, and reads
// back as the same. SQLite reads 9e999 as infinite.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "9e999"
	case math.IsInf(f, -1):
		return "-9e999"
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if strings.Trim(s, "-0123456789") == "" {
		s += ".0"
	}
	return s
}

// text is a value as it is read in columns and in CSV.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return floatText(v)
	case []byte:
		return "x'" + hex.EncodeToString(v) + "'"
	default:
		// A string; of RETURNING also the times and booleans that go-sqlite3
		// makes.
		return fmt.Sprint(v)
	}
}

// cell is a value as one line without control characters, NULL as NULL.
func cell(v any) string {
	if v == nil {
		return "NULL"
	}
	return escape(text(v))
}

// columns writes rows under their names. The width of a column is that of its
// widest value among the first rows, which are kept until it is known.
type columns struct {
	w      io.Writer
	later  bool // something was written before
	names  []string
	kept   [][]string
	right  []bool // all values so far are numbers
	widths []int  // nil: not known yet
}

// keptRows is how many rows decide.
const keptRows = 1000

func newColumns(w io.Writer) rowWriter { return &columns{w: w} }

func (c *columns) begin(names []string) error {
	c.names, c.kept, c.widths = nil, nil, nil
	c.right = make([]bool, len(names))
	for i, name := range names {
		c.names = append(c.names, escape(name))
		c.right[i] = true
	}
	if c.later {
		if _, err := fmt.Fprintln(c.w); err != nil {
			return err
		}
	}
	c.later = true
	return nil
}

func (c *columns) row(values []any) error {
	cells := make([]string, len(values))
	for i, v := range values {
		switch v.(type) {
		case nil, int64, float64:
		default:
			if c.widths == nil {
				c.right[i] = false
			}
		}
		cells[i] = cell(v)
	}
	if c.widths != nil {
		return c.write(cells)
	}
	c.kept = append(c.kept, cells)
	if len(c.kept) == keptRows {
		return c.flush()
	}
	return nil
}

func (c *columns) end() error {
	if c.widths == nil {
		return c.flush()
	}
	return nil
}

// flush writes the names and the rows that were kept.
func (c *columns) flush() error {
	c.widths = make([]int, len(c.names))
	rule := make([]string, len(c.names))
	for i, name := range c.names {
		c.widths[i] = utf8.RuneCountInString(name)
		for _, cells := range c.kept {
			c.widths[i] = max(c.widths[i], utf8.RuneCountInString(cells[i]))
		}
		rule[i] = strings.Repeat("-", c.widths[i])
	}
	for _, cells := range append([][]string{c.names, rule}, c.kept...) {
		if err := c.write(cells); err != nil {
			return err
		}
	}
	c.kept = nil
	return nil
}

func (c *columns) write(cells []string) error {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteString("  ")
		}
		fill := strings.Repeat(" ", max(c.widths[i]-utf8.RuneCountInString(cell), 0))
		if c.right[i] {
			line.WriteString(fill + cell)
		} else {
			line.WriteString(cell + fill)
		}
	}
	_, err := fmt.Fprintln(c.w, strings.TrimRight(line.String(), " "))
	return err
}

// lineRows writes each value on a line of its own, under the name of its column.
type lineRows struct {
	w     io.Writer
	names []string // padded to one width
	later bool     // a row was written before
}

func newLines(w io.Writer) rowWriter { return &lineRows{w: w} }

func (l *lineRows) begin(names []string) error {
	l.names = nil
	width := 0
	for _, name := range names {
		l.names = append(l.names, escape(name))
		width = max(width, utf8.RuneCountInString(escape(name)))
	}
	for i, name := range l.names {
		l.names[i] = strings.Repeat(" ", width-utf8.RuneCountInString(name)) + name
	}
	return nil
}

func (l *lineRows) row(values []any) error {
	var b strings.Builder
	if l.later {
		b.WriteByte('\n')
	}
	l.later = true
	for i, v := range values {
		b.WriteString(l.names[i] + " = " + cell(v) + "\n")
	}
	_, err := io.WriteString(l.w, b.String())
	return err
}

func (l *lineRows) end() error { return nil }

// listRows writes each row on a line, with | between its values.
type listRows struct{ w io.Writer }

func newList(w io.Writer) rowWriter { return listRows{w} }

func (l listRows) begin([]string) error { return nil }

func (l listRows) row(values []any) error {
	cells := make([]string, len(values))
	for i, v := range values {
		cells[i] = text(v)
	}
	_, err := io.WriteString(l.w, strings.Join(cells, "|")+"\n")
	return err
}

func (l listRows) end() error { return nil }

type csvRows struct{ w *csv.Writer }

func newCSV(w io.Writer) rowWriter { return csvRows{csv.NewWriter(w)} }

func (c csvRows) begin(names []string) error { return c.w.Write(names) }

func (c csvRows) row(values []any) error {
	record := make([]string, len(values))
	for i, v := range values {
		record[i] = text(v)
	}
	return c.w.Write(record)
}

func (c csvRows) end() error {
	c.w.Flush()
	return c.w.Error()
}

type jsonRows struct {
	w     io.Writer
	names [][]byte
}

func newJSON(w io.Writer) rowWriter { return &jsonRows{w: w} }

// begin makes the names different: of two that are the same, as in a join, a
// reader of JSON would keep one.
func (j *jsonRows) begin(names []string) error {
	j.names = nil
	seen := make(map[string]bool)
	for _, name := range names {
		unique := name
		for i := 2; seen[unique]; i++ {
			unique = name + ":" + strconv.Itoa(i)
		}
		seen[unique] = true
		j.names = append(j.names, jsonText(unique))
	}
	return nil
}

func (j *jsonRows) row(values []any) error {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		b.Write(j.names[i])
		b.WriteString(": ")
		switch v := v.(type) {
		case nil:
			b.WriteString("null")
		case int64, float64, bool:
			b.WriteString(text(v))
		case []byte:
			b.Write(jsonText(hex.EncodeToString(v)))
		default:
			b.Write(jsonText(text(v)))
		}
	}
	b.WriteString("}\n")
	_, err := j.w.Write(b.Bytes())
	return err
}

func (j *jsonRows) end() error { return nil }

// jsonText writes a string in JSON, with \u for unprintable characters.
func jsonText(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string is always encoded
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if !bytes.ContainsFunc(text, unprintable) {
		return text
	}
	var safe []byte
	for _, r := range string(text) {
		if !unprintable(r) {
			safe = utf8.AppendRune(safe, r)
			continue
		}
		for _, half := range utf16.AppendRune(nil, r) {
			safe = fmt.Appendf(safe, `\u%04x`, half)
		}
	}
	return safe
}
