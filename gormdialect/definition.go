package gormdialect

import (
	"slices"
)

// A definition is a parsed CREATE TABLE. Each part knows its place in the text, so a
// change leaves the rest as it was written, comments included.
type definition struct {
	sql         string
	name        token // the table's name, without its schema
	columns     []columnDef
	constraints []constraint // table constraints
	options     []token      // after the parentheses: STRICT, WITHOUT ROWID
}

// A span is a range of byte offsets in a text.
type span struct{ start, end int }

// A columnDef is the definition of one column.
type columnDef struct {
	span
	name        token
	dataType    []token
	constraints []constraint
	comma       int // offset of the comma before the column, or -1
}

// A constraint is a column constraint or a table constraint.
type constraint struct {
	span
	kind    constraintKind
	name    string   // "" if the constraint has no name
	columns []string // the columns of PRIMARY KEY, UNIQUE and FOREIGN KEY; a column constraint has one
	parent  string   // the table that a FOREIGN KEY refers to
	refers  []string // the columns of parent; nil means its primary key
	tokens  []token  // without CONSTRAINT and the name
	comma   int      // offset of the comma before a table constraint, or -1
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
	nothing      constraintKind = "CONSTRAINT" // a name without a constraint, or DEFERRABLE without a foreign key
)

// parseDefinition parses a CREATE TABLE from sqlite_schema.
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
	p.expectMark("(")
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
			comma = p.tokens[p.pos-1].start // the loop over the columns has read it
		}
		if p.peek().isMark(",") {
			comma = p.next().start
		}
		c := p.constraint(nil)
		c.comma = comma
		d.constraints = append(d.constraints, c)
	}
	p.expectMark(")")
	d.options = p.tokens[min(p.pos, len(p.tokens)):]
	if p.err != nil {
		return nil, p.err
	}
	return d, nil
}

// parseColumn parses the definition of one column.
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

// parseConstraint parses one table constraint.
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

// column returns the column of a name, or nil.
func (d *definition) column(name string) *columnDef {
	for i := range d.columns {
		if fold(d.columns[i].name.name()) == fold(name) {
			return &d.columns[i]
		}
	}
	return nil
}

// find returns the column's last constraint of a kind, or nil. Where a column may have
// one of a kind, SQLite takes the last of several.
func (c *columnDef) find(kind constraintKind) *constraint {
	for i := range slices.Backward(c.constraints) {
		if c.constraints[i].kind == kind {
			return &c.constraints[i]
		}
	}
	return nil
}

// all calls fn with each column constraint and each table constraint until fn returns
// false. column is nil for a table constraint.
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

// named returns the constraint of a name, and its column if it is a column
// constraint. Both are nil if there is none.
func (d *definition) named(name string) (column *columnDef, found *constraint) {
	d.all(func(col *columnDef, c *constraint) bool {
		if name != "" && fold(c.name) == fold(name) {
			column, found = col, c
		}
		return found == nil
	})
	return column, found
}

// primaryKey returns the columns of the primary key, or nil.
func (d *definition) primaryKey() (names []string) {
	d.all(func(_ *columnDef, c *constraint) bool {
		if c.kind == primaryKey {
			names = c.columns
		}
		return true
	})
	return names
}

// rowidAlias returns the column that is an alias of the rowid, or "".
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
	// INTEGER PRIMARY KEY DESC is no alias, but PRIMARY KEY (id DESC) is one. SQLite
	// keeps this bug for compatibility: https://sqlite.org/lang_createtable.html#rowid
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

// mentions returns the folded names of the columns that an expression may use. A
// keyword, a type or a collation in it may have a column's name.
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

// clone returns a copy whose columns and constraints can be changed.
func (d *definition) clone() *definition {
	c := *d
	c.columns, c.constraints = slices.Clone(d.columns), slices.Clone(d.constraints)
	for i := range c.columns {
		c.columns[i].constraints = slices.Clone(c.columns[i].constraints)
	}
	return &c
}

// drop removes a constraint of a clone. It leaves the text as it is.
func (d *definition) drop(c *constraint) {
	same := func(o constraint) bool { return o.span == c.span }
	d.constraints = slices.DeleteFunc(d.constraints, same)
	for i := range d.columns {
		d.columns[i].constraints = slices.DeleteFunc(d.columns[i].constraints, same)
	}
}

// text returns the text from the first of the tokens to the last.
func (d *definition) text(tokens []token) string {
	if len(tokens) == 0 {
		return ""
	}
	return d.sql[tokens[0].start:tokens[len(tokens)-1].end]
}

// same reports whether two definitions are equal, except for the order of constraints
// and for comments and white space.
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
