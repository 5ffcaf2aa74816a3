package gormdialect

import (
	"fmt"
	"slices"
)

// A parser reads tokens in order. After an error it is at the end of the tokens.
type parser struct {
	sql    string
	tokens []token
	pos    int
	err    error
}

// fail records an error at the current token, unless there is an earlier one. It
// returns a token that is neither a name nor a mark that a caller looks for.
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

// parentheses reads a list in parentheses and returns its items.
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

// names reads a list of columns in parentheses. A collation and a direction may follow
// each name.
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

// atTableConstraint reports whether a table constraint begins here. SQLite accepts
// none of these words as the name of a column without quotes.
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

// constraint reads a constraint of column, or a table constraint if column is nil.
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

// references reads the rest of a foreign key, after REFERENCES.
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
