package gormdialect

import (
	"slices"
	"strings"
)

// An edit replaces a span of a text with another text.
type edit struct {
	span
	text string
}

// insert returns an edit that adds text at an offset.
func insert(at int, text string) edit { return edit{span{at, at}, text} }

// apply returns sql with the edits made. Edits must not overlap, and begin and end
// between tokens. Insertions at one offset keep their order.
func apply(sql string, edits []edit) string {
	slices.SortStableFunc(edits, func(a, b edit) int { return a.start - b.start })
	var out strings.Builder
	var last byte
	write := func(part string) {
		if part == "" {
			return
		}
		if merge(last, part[0]) {
			out.WriteByte(' ')
		}
		out.WriteString(part)
		last = part[len(part)-1]
	}
	done := 0
	for _, e := range edits {
		write(sql[done:e.start])
		write(e.text)
		done = max(done, e.end)
	}
	write(sql[done:])
	return out.String()
}

// merge reports whether two tokens may become one if the second follows the first
// without a space. last is the first token's last byte, and next is the second's first.
func merge(last, next byte) bool {
	solid := func(c byte) bool { return isWord(c) || c == '\'' || c == '"' || c == '`' }
	return solid(last) && solid(next)
}

// remove returns the edits that remove a constraint, and a comma with it.
func (d *definition) remove(c *constraint) []edit {
	edits := []edit{{span: c.span}}
	for i := range d.constraints {
		if &d.constraints[i] == c {
			next := -1
			if i+1 < len(d.constraints) {
				next = d.constraints[i+1].comma
			}
			edits = append(edits, removeComma(c.comma, next, i+1 == len(d.constraints))...)
		}
	}
	return edits
}

// removeColumn returns the edits that remove a column, and a comma with it.
func (d *definition) removeColumn(c *columnDef) []edit {
	edits := []edit{{span: c.span}}
	for i := range d.columns {
		if &d.columns[i] != c {
			continue
		}
		next, last := -1, false
		switch {
		case i+1 < len(d.columns):
			next = d.columns[i+1].comma
		case len(d.constraints) > 0:
			next = d.constraints[0].comma
		default:
			last = true
		}
		edits = append(edits, removeComma(c.comma, next, last)...)
	}
	return edits
}

// removeComma returns the edit that removes the comma before an item, or the one
// after it if the item is the first. There may be no comma, because commas between
// table constraints are optional.
func removeComma(before, behind int, last bool) []edit {
	switch {
	case before >= 0 && (behind >= 0 || last):
		return []edit{{span: span{before, before + 1}}}
	case before < 0 && behind >= 0:
		return []edit{{span: span{behind, behind + 1}}}
	}
	return nil
}

// appendConstraint returns the edit that adds a table constraint.
func (d *definition) appendConstraint(sql string) edit {
	end := d.columns[len(d.columns)-1].end
	if n := len(d.constraints); n > 0 {
		end = d.constraints[n-1].end
	}
	return insert(end, ","+sql)
}

// appendColumn returns the edit that adds a column after the others.
func (d *definition) appendColumn(sql string) edit {
	return insert(d.columns[len(d.columns)-1].end, ","+sql)
}

// withName returns the CREATE TABLE with another name.
func (d *definition) withName(schema, table string) string {
	return "CREATE TABLE " + quote(schema) + "." + quote(table) + d.sql[d.name.end:]
}

// qualifiers returns the edits that replace the table's name where a CHECK qualifies
// a column with it: name.column becomes other.column.
func (d *definition) qualifiers(name, other string) (edits []edit) {
	d.all(func(_ *columnDef, c *constraint) bool {
		for i, t := range c.tokens {
			if c.kind == check && t.isName() && fold(t.name()) == fold(name) && i+1 < len(c.tokens) && c.tokens[i+1].isMark(".") {
				edits = append(edits, edit{span{t.start, t.end}, quote(other)})
			}
		}
		return true
	})
	return edits
}
