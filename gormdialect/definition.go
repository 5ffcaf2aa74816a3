package gormdialect

import (
	"fmt"
	"slices"
	"strings"
)

// A definition is the text of a CREATE TABLE, cut into its parts. The parts keep
// their place in the text, so that a change leaves everything else as it was
// written, comments included.
type definition struct {
	sql         string
	name        token // of the table, without a schema
	body        span  // between the parentheses
	columns     []columnDef
	constraints []constraint // of the table
	options     []token      // behind the parentheses: STRICT, WITHOUT ROWID
}

// A span is a part of a text, in bytes.
type span struct{ start, end int }

// A columnDef is the definition of one column.
type columnDef struct {
	span
	name        token
	dataType    []token
	constraints []constraint
	comma       int // offset of the comma before it, or -1
}

// A constraint is one of a column or of the table.
type constraint struct {
	span
	kind    constraintKind
	name    string   // "" without CONSTRAINT
	columns []string // of PRIMARY KEY, UNIQUE and FOREIGN KEY, also when it is of a column
	parent  string   // the table that a FOREIGN KEY refers to
	refers  []string // its columns there, nil for the primary key
	tokens  []token  // without CONSTRAINT and the name
	comma   int      // of the table: offset of the comma before it, or -1
}

type constraintKind string

const (
	primaryKey   constraintKind = "PRIMARY KEY"
	notNull      constraintKind = "NOT NULL"
	null         constraintKind = "NULL"
	unique       constraintKind = "UNIQUE"
	check        constraintKind = "CHECK"
	defaultValue constraintKind = "DEFAULT"
	collate      constraintKind = "COLLATE"
	foreignKey   constraintKind = "FOREIGN KEY"
	generated    constraintKind = "GENERATED"
	nothing      constraintKind = "CONSTRAINT" // a name alone, or a stray DEFERRABLE
)

// parseDefinition reads the CREATE TABLE that SQLite keeps in sqlite_schema.
func parseDefinition(sql string) (*definition, error) {
	tokens, err := tokenize(sql)
	if err != nil {
		return nil, err
	}
	p := &parser{sql: sql, tokens: tokens}
	d := &definition{sql: sql}
	p.expect("CREATE")
	if p.at("TEMP") || p.at("TEMPORARY") {
		p.next()
	}
	p.expect("TABLE")
	if p.at("IF") && p.pos+1 < len(p.tokens) && p.tokens[p.pos+1].is("NOT") {
		p.expect("IF", "NOT", "EXISTS")
	}
	d.name = p.expectName()
	if p.peek().isMark(".") {
		p.next()
		d.name = p.expectName()
	}
	d.body.start = p.expectMark("(").end
	for comma := -1; p.err == nil && !p.atTableConstraint(); {
		column := p.column()
		column.comma = comma
		d.columns = append(d.columns, column)
		if !p.peek().isMark(",") {
			break
		}
		comma = p.next().start
	}
	for p.err == nil && !p.peek().isMark(")") {
		comma := -1
		if len(d.constraints) == 0 && len(d.columns) > 0 {
			comma = p.tokens[p.pos-1].start // read by the loop over the columns
		}
		if p.peek().isMark(",") {
			comma = p.next().start
		}
		c := p.constraint(nil)
		c.comma = comma
		d.constraints = append(d.constraints, c)
	}
	d.body.end = p.expectMark(")").start
	d.options = p.tokens[min(p.pos, len(p.tokens)):]
	if p.err != nil {
		return nil, p.err
	}
	return d, nil
}

// parseColumn reads the definition of one column.
func parseColumn(sql string) (columnDef, error) {
	tokens, err := tokenize(sql)
	if err != nil {
		return columnDef{}, err
	}
	p := &parser{sql: sql, tokens: tokens}
	column := p.column()
	p.expectEnd()
	return column, p.err
}

// parseConstraint reads one constraint of a table.
func parseConstraint(sql string) (constraint, error) {
	tokens, err := tokenize(sql)
	if err != nil {
		return constraint{}, err
	}
	p := &parser{sql: sql, tokens: tokens}
	c := p.constraint(nil)
	p.expectEnd()
	return c, p.err
}

// A parser reads tokens one after the other. After an error it stays where it is.
type parser struct {
	sql    string
	tokens []token
	pos    int
	err    error
}

func (p *parser) fail() token {
	if p.err == nil {
		near := "the end"
		if p.pos < len(p.tokens) {
			near = p.tokens[p.pos].text
		}
		p.err = fmt.Errorf("cannot read the SQL near %s: %s", near, p.sql)
	}
	p.pos = len(p.tokens)
	return token{kind: mark}
}

func (p *parser) peek() token {
	if p.pos < len(p.tokens) {
		return p.tokens[p.pos]
	}
	return token{kind: mark, start: len(p.sql), end: len(p.sql)}
}

func (p *parser) next() token {
	if p.pos == len(p.tokens) {
		return p.fail()
	}
	p.pos++
	return p.tokens[p.pos-1]
}

func (p *parser) at(keyword string) bool { return p.peek().is(keyword) }

func (p *parser) accept(keyword string) bool {
	if p.at(keyword) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(keywords ...string) {
	for _, keyword := range keywords {
		if !p.accept(keyword) {
			p.fail()
		}
	}
}

func (p *parser) expectMark(c string) token {
	if !p.peek().isMark(c) {
		return p.fail()
	}
	return p.next()
}

func (p *parser) expectName() token {
	if !p.peek().isName() {
		return p.fail()
	}
	return p.next()
}

func (p *parser) expectEnd() {
	if p.pos < len(p.tokens) {
		p.fail()
	}
}

// parentheses reads a list in parentheses and returns what is between its commas.
func (p *parser) parentheses() [][]token {
	p.expectMark("(")
	items := [][]token{nil}
	for depth := 1; p.err == nil; {
		t := p.next()
		switch {
		case t.isMark("("):
			depth++
		case t.isMark(")"):
			if depth--; depth == 0 {
				return items
			}
		case t.isMark(",") && depth == 1:
			items = append(items, nil)
			continue
		}
		items[len(items)-1] = append(items[len(items)-1], t)
	}
	return nil
}

// names are the columns of a list in parentheses: the first word of each item,
// which a collation and a direction may follow.
func (p *parser) names() (names []string) {
	for _, item := range p.parentheses() {
		if len(item) == 0 || !item[0].isName() {
			p.fail()
			return nil
		}
		names = append(names, item[0].name())
	}
	return names
}

// atTableConstraint reports whether a constraint of the table begins here. No
// column can have one of these words as its name, unless it is in quotes.
func (p *parser) atTableConstraint() bool {
	return p.at("CONSTRAINT") || p.at("PRIMARY") || p.at("UNIQUE") || p.at("CHECK") || p.at("FOREIGN")
}

func (p *parser) column() (c columnDef) {
	c.name = p.expectName()
	c.comma = -1
	c.start = c.name.start
	first := p.pos
	for p.peek().isName() && !p.atColumnConstraint() {
		p.next()
	}
	if p.pos > first && p.peek().isMark("(") {
		p.parentheses()
	}
	c.dataType = p.tokens[min(first, p.pos):p.pos]
	for p.err == nil && !p.peek().isMark(",") && !p.peek().isMark(")") && p.pos < len(p.tokens) {
		c.constraints = append(c.constraints, p.constraint(&c))
	}
	if p.err == nil {
		c.end = p.tokens[p.pos-1].end
	}
	return c
}

func (p *parser) atColumnConstraint() bool {
	return slices.ContainsFunc([]string{"CONSTRAINT", "PRIMARY", "NOT", "NULL", "UNIQUE", "CHECK", "DEFAULT", "COLLATE",
		"REFERENCES", "GENERATED", "AS", "DEFERRABLE"}, p.at)
}

// constraint reads a constraint of a column, or of the table if column is nil.
func (p *parser) constraint(column *columnDef) (c constraint) {
	c.start, c.comma = p.peek().start, -1
	named := p.accept("CONSTRAINT")
	if named {
		c.name = p.expectName().name()
	}
	first := p.pos
	if column != nil {
		c.columns = []string{column.name.name()}
	}
	switch {
	case p.accept("PRIMARY"):
		c.kind = primaryKey
		p.expect("KEY")
		if column == nil {
			c.columns = p.names()
		} else if !p.accept("ASC") {
			p.accept("DESC")
		}
		p.conflict()
		p.accept("AUTOINCREMENT")
	case p.accept("UNIQUE"):
		c.kind = unique
		if column == nil {
			c.columns = p.names()
		}
		p.conflict()
	case p.accept("CHECK"):
		c.kind, c.columns = check, nil
		p.parentheses()
		p.conflict()
	case column == nil && p.accept("FOREIGN"):
		c.kind = foreignKey
		p.expect("KEY")
		c.columns = p.names()
		p.expect("REFERENCES")
		c.parent, c.refers = p.references()
	case column != nil && p.accept("REFERENCES"):
		c.kind = foreignKey
		c.parent, c.refers = p.references()
	case column != nil && p.accept("NULL"):
		c.kind = null
		p.conflict()
	case column != nil && p.at("NOT") && p.tokens[min(p.pos+1, len(p.tokens)-1)].is("NULL"):
		c.kind = notNull
		p.pos += 2
		p.conflict()
	case column != nil && (p.at("NOT") || p.at("DEFERRABLE")):
		c.kind = nothing
		p.deferrable()
	case column != nil && p.accept("DEFAULT"):
		c.kind = defaultValue
		if p.peek().isMark("(") {
			p.parentheses()
			break
		}
		if p.peek().isMark("+") || p.peek().isMark("-") {
			p.next()
		}
		if p.next().kind == mark {
			p.fail()
		}
	case column != nil && p.accept("COLLATE"):
		c.kind = collate
		p.expectName()
	case column != nil && (p.at("GENERATED") || p.at("AS")):
		c.kind = generated
		if p.accept("GENERATED") {
			p.expect("ALWAYS")
		}
		p.expect("AS")
		p.parentheses()
		if p.at("STORED") || p.at("VIRTUAL") {
			p.next()
		}
	case named:
		c.kind = nothing
	default:
		p.fail()
	}
	if p.err != nil {
		return c
	}
	c.tokens = p.tokens[first:p.pos]
	c.end = p.tokens[p.pos-1].end
	return c
}

func (p *parser) conflict() {
	if p.accept("ON") {
		p.expect("CONFLICT")
		p.expectName()
	}
}

// references reads what follows REFERENCES.
func (p *parser) references() (parent string, columns []string) {
	parent = p.expectName().name()
	if p.peek().isMark("(") {
		columns = p.names()
	}
	for p.err == nil {
		switch {
		case p.accept("ON"):
			p.expectName() // DELETE or UPDATE
			switch {
			case p.accept("SET"), p.accept("NO"):
			}
			p.expectName()
		case p.accept("MATCH"):
			p.expectName()
		case p.at("DEFERRABLE"), p.at("NOT") && p.tokens[min(p.pos+1, len(p.tokens)-1)].is("DEFERRABLE"):
			p.deferrable()
		default:
			return parent, columns
		}
	}
	return parent, columns
}

func (p *parser) deferrable() {
	p.accept("NOT")
	p.expect("DEFERRABLE")
	if p.accept("INITIALLY") {
		p.expectName()
	}
}

// column finds a column by its name, or returns nil.
func (d *definition) column(name string) *columnDef {
	for i := range d.columns {
		if fold(d.columns[i].name.name()) == fold(name) {
			return &d.columns[i]
		}
	}
	return nil
}

// find is the constraint of that kind, or nil.
func (c *columnDef) find(kind constraintKind) *constraint {
	for i := range c.constraints {
		if c.constraints[i].kind == kind {
			return &c.constraints[i]
		}
	}
	return nil
}

// all calls fn with each constraint, of the columns and of the table, until it
// returns false. column is nil for one of the table.
func (d *definition) all(fn func(column *columnDef, c *constraint) bool) {
	for i := range d.columns {
		for j := range d.columns[i].constraints {
			if !fn(&d.columns[i], &d.columns[i].constraints[j]) {
				return
			}
		}
	}
	for i := range d.constraints {
		if !fn(nil, &d.constraints[i]) {
			return
		}
	}
}

// named finds a constraint by its name, or returns nil.
func (d *definition) named(name string) (column *columnDef, found *constraint) {
	d.all(func(col *columnDef, c *constraint) bool {
		if name != "" && fold(c.name) == fold(name) {
			column, found = col, c
		}
		return found == nil
	})
	return column, found
}

// primaryKey is the columns of the primary key, if there is one.
func (d *definition) primaryKey() (names []string) {
	d.all(func(_ *columnDef, c *constraint) bool {
		if c.kind == primaryKey {
			names = c.columns
		}
		return true
	})
	return names
}

// rowidAlias is the column that is the rowid under another name, or "".
func (d *definition) rowidAlias() string {
	if d.hasOption("WITHOUT") {
		return ""
	}
	key := d.primaryKey()
	if len(key) != 1 {
		return ""
	}
	column := d.column(key[0])
	if column == nil || len(column.dataType) != 1 || fold(column.dataType[0].name()) != "integer" {
		return ""
	}
	// INTEGER PRIMARY KEY DESC is no alias, but PRIMARY KEY (id DESC) is: a bug of
	// SQLite that became a promise.
	if inline := column.find(primaryKey); inline != nil && len(inline.tokens) > 2 && inline.tokens[2].is("DESC") {
		return ""
	}
	return column.name.name()
}

// autoIncrement reports whether the key is AUTOINCREMENT.
func (d *definition) autoIncrement() (yes bool) {
	d.all(func(_ *columnDef, c *constraint) bool {
		if c.kind == primaryKey {
			yes = slices.ContainsFunc(c.tokens, func(t token) bool { return t.is("AUTOINCREMENT") })
		}
		return !yes
	})
	return yes
}

func (d *definition) hasOption(keyword string) bool {
	return slices.ContainsFunc(d.options, func(t token) bool { return t.is(keyword) })
}

// mentions is the columns, folded, whose names stand in an expression. It may name
// a column too many: what is a type or a function in the expression, and has the
// name of a column without being followed by a parenthesis.
func (d *definition) mentions(tokens []token) map[string]bool {
	found := map[string]bool{}
	for i, t := range tokens {
		call := i+1 < len(tokens) && tokens[i+1].isMark("(") && t.kind == word
		if (t.kind == word || t.kind == quoted) && !call && d.column(t.name()) != nil {
			found[fold(t.name())] = true
		}
	}
	return found
}

// An edit replaces a span of a text.
type edit struct {
	span
	text string
}

// insert is an edit that adds text at an offset.
func insert(at int, text string) edit { return edit{span{at, at}, text} }

// text is what stands from the first of some tokens to the last.
func (d *definition) text(tokens []token) string {
	if len(tokens) == 0 {
		return ""
	}
	return d.sql[tokens[0].start:tokens[len(tokens)-1].end]
}

// apply returns the text with the edits made, which must not overlap. Insertions at
// one offset keep their order.
func apply(sql string, edits []edit) string {
	slices.SortStableFunc(edits, func(a, b edit) int { return a.start - b.start })
	var out strings.Builder
	done := 0
	for _, e := range edits {
		out.WriteString(sql[done:e.start])
		out.WriteString(e.text)
		done = max(done, e.end)
	}
	out.WriteString(sql[done:])
	return out.String()
}

// remove is the edits that take a constraint out of its column or its table, and
// the comma with it.
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

// removeColumn is the edits that take a column out of the table.
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

// removeComma is the edit that removes one of the commas around an item: that
// before it, or that behind it if it is the first. Between two constraints of a
// table there need not be any.
func removeComma(before, behind int, last bool) []edit {
	switch {
	case before >= 0 && (behind >= 0 || last):
		return []edit{{span: span{before, before + 1}}}
	case before < 0 && behind >= 0:
		return []edit{{span: span{behind, behind + 1}}}
	}
	return nil
}

// appendConstraint is the edit that adds a constraint to the table.
func (d *definition) appendConstraint(sql string) edit {
	end := d.columns[len(d.columns)-1].end
	if n := len(d.constraints); n > 0 {
		end = d.constraints[n-1].end
	}
	return insert(end, ","+sql)
}

// appendColumn is the edit that adds a column behind the others.
func (d *definition) appendColumn(sql string) edit {
	return insert(d.columns[len(d.columns)-1].end, ","+sql)
}

// same reports whether two definitions mean the same, whatever the order of the
// constraints of a column.
func (d *definition) same(o *definition) bool {
	if len(d.columns) != len(o.columns) || !sameTokens(d.options, o.options) || !sameConstraints(d.constraints, o.constraints) {
		return false
	}
	for i := range d.columns {
		a, b := &d.columns[i], &o.columns[i]
		if a.name.name() != b.name.name() || !sameTokens(a.dataType, b.dataType) || !sameConstraints(a.constraints, b.constraints) {
			return false
		}
	}
	return true
}

func sameConstraints(a, b []constraint) bool {
	rest := slices.Clone(b)
	for i := range a {
		n := slices.IndexFunc(rest, func(c constraint) bool { return c.name == a[i].name && sameTokens(c.tokens, a[i].tokens) })
		if n < 0 {
			return false
		}
		rest = slices.Delete(rest, n, n+1)
	}
	return len(rest) == 0
}

// withName is the CREATE TABLE for another name.
func (d *definition) withName(schema, table string) string {
	return "CREATE TABLE " + quote(schema) + "." + quote(table) + d.sql[d.name.end:]
}

// qualifiers is the edits that put another table's name before the point wherever a
// CHECK has the name of this one there.
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
