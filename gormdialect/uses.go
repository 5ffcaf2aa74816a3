package gormdialect

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"
)

// usesWithout returns an error if a view, a trigger or another table names a column
// that is to be dropped. Otherwise it returns statements that use the views and
// triggers and that compile now. They must still compile without the column, because
// "SELECT *" uses a column and does not name it.
func (s *session) usesWithout(t *table, column string) (uses []string, err error) {
	objects, err := objectsOf(s.db, t.schema)
	if err != nil {
		return nil, err
	}
	if err := s.notNamed(t, column, objects); err != nil {
		return nil, err
	}
	var all []string
	triggered := map[relation]bool{}
	for _, o := range objects {
		switch o.kind {
		case "view":
			all = append(all, "SELECT * FROM "+relation{schema: o.schema, name: o.name}.sql())
		case "trigger":
			// A temporary trigger can be on a table of any schema.
			on := tableName{name: o.table}
			if o.schema != "temp" {
				on.schema = o.schema
			}
			r, err := find(s.db, []tableName{on})
			if errors.Is(err, errNoTable) || triggered[r] {
				continue
			}
			if err != nil {
				return nil, err
			}
			triggered[r] = true
			columns, err := columnsOf(s.db, r)
			if err != nil {
				continue // a view that does not work
			}
			var names, sets []string
			for _, c := range columns {
				if c.stored() && !(r == t.relation && c.name == column) {
					names, sets = append(names, quote(c.name)), append(sets, quote(c.name)+" = NULL")
				}
			}
			nulls := strings.TrimSuffix(strings.Repeat("NULL, ", len(names)), ", ")
			all = append(all, "DELETE FROM "+r.sql(), "UPDATE "+r.sql()+" SET "+strings.Join(sets, ", "),
				"INSERT INTO "+r.sql()+" ("+strings.Join(names, ", ")+") VALUES ("+nulls+")")
		}
	}
	for _, use := range all {
		if s.compile(use) == nil {
			uses = append(uses, use)
		} else if err := s.db.Statement.Context.Err(); err != nil {
			return nil, err
		}
	}
	return uses, nil
}

// compile prepares a statement and does not run it.
func (s *session) compile(statement string) error {
	stmt, err := s.db.Statement.ConnPool.PrepareContext(s.db.Statement.Context, statement)
	if err != nil {
		return err
	}
	return stmt.Close()
}

// notNamed returns an error if a trigger, a view or another table names a column. It
// renames the column in a savepoint: SQLite then writes the new name wherever the
// column is meant. A search for the name would not do: "x" may be a string, or become
// one when the column is dropped.
func (s *session) notNamed(t *table, name string, objects []object) error {
	if t.column(name).key > 0 {
		list, err := referencesTo(s.db, t.relation)
		if err != nil {
			return err
		}
		for _, ref := range list {
			if ref.toKey {
				return fmt.Errorf("gormdialect: column %s of table %s cannot be dropped: a foreign key of table %s refers to the primary key; drop that first", name, t, ref.child)
			}
		}
	}
	gone := goneName(name, objects)
	legacy, err := setting(s.db, "legacy_alter_table")
	if err != nil {
		return err
	}
	renamed := objects
	errAsked := errors.New("undo")
	asked := s.savepoint("sqlite_mem_ask", func() error {
		if err := s.exec("ALTER TABLE " + t.sql() + " RENAME COLUMN " + quote(name) + " TO " + quote(gone)); err != nil {
			return err
		}
		if renamed, err = objectsOf(s.db, t.schema); err != nil {
			return err
		}
		return errAsked
	})
	if errors.Is(asked, errNotUndone) {
		return asked
	}
	if err := s.db.Statement.Context.Err(); err != nil {
		return err
	}
	if asked != errAsked || legacy {
		// SQLite did not rename the column everywhere. Every occurrence of its name is
		// taken for the column.
		gone = name
	}
	for _, o := range renamed {
		own := o.schema == t.schema && fold(o.table) == fold(t.name) && (o.kind == "table" || o.kind == "index")
		if own || asked != errAsked && o.kind != "view" && o.kind != "trigger" {
			continue
		}
		tokens, err := tokenize(o.sql)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(tokens, func(t token) bool { return t.kind != text && fold(t.name()) == fold(gone) }) {
			return fmt.Errorf("gormdialect: column %s of table %s cannot be dropped: %s names it; drop that first", name, t, o)
		}
	}
	return nil
}

// goneName returns a name for a trial rename of a column. It occurs in no object.
func goneName(name string, objects []object) string {
	for gone := name + "__gone"; ; gone += "_" {
		if !slices.ContainsFunc(objects, func(o object) bool { return strings.Contains(fold(o.sql), fold(gone)) }) {
			return gone
		}
	}
}

// The expressions of a table that use a column.
type expressions struct {
	constraints map[span]bool   // CHECKs and generated columns
	indexes     map[string]bool // indexes with the column in an expression or in WHERE
}

// expressionsWith returns the expressions that use a column. It renames the column in a
// savepoint, and SQLite writes the new name into those. A search for the name would not
// do: desc may be a column or a direction, and text a column or a type.
func (s *session) expressionsWith(t *table, name string) (*expressions, error) {
	in := &expressions{constraints: map[span]bool{}, indexes: map[string]bool{}}
	mentioned := ""
	t.def.all(func(_ *columnDef, c *constraint) bool {
		if (c.kind == check || c.kind == generated) && t.def.mentions(c.tokens)[fold(name)] {
			mentioned = t.def.text(c.tokens)
		}
		return true
	})
	for _, i := range t.indexes {
		tokens, err := expressionTokens(i)
		if err != nil {
			return nil, err
		}
		if t.def.mentions(tokens)[fold(name)] {
			mentioned = i.sql
		}
	}
	if mentioned == "" {
		return in, nil
	}
	if s.db.DryRun {
		return nil, fmt.Errorf("gormdialect: column %s of table %s: a dry run cannot tell whether this uses it: %s; drop that first", name, t, mentioned)
	}
	objects, err := objectsOf(s.db, t.schema)
	if err != nil {
		return nil, err
	}
	gone := goneName(name, objects)
	// SQLite renames nothing while any view or trigger is broken.
	var statements []string
	for _, kind := range []string{"trigger", "view"} {
		for _, o := range objects {
			if o.kind == kind {
				statements = append(statements, "DROP "+kind+" "+relation{schema: o.schema, name: o.name}.sql())
			}
		}
	}
	statements = append(statements, "ALTER TABLE "+t.sql()+" RENAME COLUMN "+quote(name)+" TO "+quote(gone))
	errAsked := errors.New("undo")
	var after *definition
	var indexes []index
	asked := s.savepoint("sqlite_mem_ask", func() (err error) {
		if err = s.exec(statements...); err != nil {
			return err
		}
		if after, err = definitionOf(s.db, t.relation); err != nil {
			return err
		}
		if indexes, err = indexesOf(s.db, t.relation); err != nil {
			return err
		}
		return errAsked
	})
	if asked != errAsked {
		return nil, fmt.Errorf("gormdialect: column %s of table %s: SQLite does not tell whether this uses it: %s: %w; drop that first", name, t, mentioned, asked)
	}
	uses := func(tokens []token) bool {
		return slices.ContainsFunc(tokens, func(t token) bool { return fold(t.name()) == fold(gone) })
	}
	var spans []span
	t.def.all(func(_ *columnDef, c *constraint) bool {
		spans = append(spans, c.span)
		return true
	})
	n := 0
	after.all(func(_ *columnDef, c *constraint) bool {
		in.constraints[spans[n]] = (c.kind == check || c.kind == generated) && uses(c.tokens)
		n++
		return true
	})
	for _, i := range indexes {
		tokens, err := expressionTokens(i)
		if err != nil {
			return nil, err
		}
		in.indexes[i.name] = uses(tokens)
	}
	return in, nil
}

// expressionTokens returns the tokens of an index behind the table's name, if it has an
// expression or a WHERE.
func expressionTokens(i index) ([]token, error) {
	if !i.partial && !slices.ContainsFunc(i.columns, func(c indexColumn) bool { return c.name == "" }) {
		return nil, nil
	}
	tokens, err := tokenize(i.sql)
	on := slices.IndexFunc(tokens, func(t token) bool { return t.is("ON") })
	return tokens[min(on+2, len(tokens)):], err
}

// readers returns the folded names of a table and of the views that read it, also
// through other views.
func readers(r relation, objects []object) (map[string]bool, error) {
	read := map[string]bool{fold(r.name): true}
	for more := true; more; {
		more = false
		for _, o := range objects {
			if o.kind != "view" || read[fold(o.name)] {
				continue
			}
			tokens, err := tokenize(o.sql)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(tokens, func(t token) bool { return t.isName() && read[fold(t.name())] }) {
				read[fold(o.name)], more = true, true
			}
		}
	}
	return read, nil
}

// notByName returns an error if a view or a trigger has a NATURAL JOIN that may be by a
// column. No other use of a column is without its name: SQLite compiles the statement
// with the column and without it, and the join is another one. what is what happens to
// the column: added, dropped or renamed.
func notByName(db *gorm.DB, r relation, name, what string) error {
	objects, err := objectsOf(db, r.schema)
	if err != nil {
		return err
	}
	read, err := readers(r, objects)
	if err != nil {
		return err
	}
	for _, o := range objects {
		tokens, err := tokenize(o.sql)
		if err != nil {
			return err
		}
		if o.kind != "view" && o.kind != "trigger" || !slices.ContainsFunc(tokens, func(t token) bool { return t.is("NATURAL") }) {
			continue
		}
		// sides counts the places that may be a table with the column; reads counts those
		// of them that may be this one.
		reads, sides := 0, 0
		output := outputs(tokens)
		for i, t := range tokens {
			if i+1 < len(tokens) && tokens[i+1].isMark(".") || !t.isName() || i < 3 && fold(t.name()) == fold(o.name) {
				continue
			}
			if read[fold(t.name())] {
				reads++
				sides++
				continue
			}
			if output[i] && fold(t.name()) == fold(name) {
				sides++
				continue
			}
			side, err := find(db, []tableName{{name: t.name()}})
			if errors.Is(err, errNoTable) {
				side, err = relation{schema: r.schema, name: t.name()}, nil // it may be a function such as json_each
			}
			if err != nil {
				return err
			}
			if columns, err := columnsOf(db, side); err != nil || findColumn(columns, name) != nil {
				sides++ // a view that does not work may have any column
			}
		}
		if reads > 0 && sides > 1 {
			return fmt.Errorf("gormdialect: column %s of table %s cannot be %s: %s has a NATURAL JOIN, which may be by this column; drop that first", name, r, what, o)
		}
	}
	return db.Statement.Context.Err()
}

// outputs reports of each token of a view or a trigger whether it may be the name of an
// output of a subquery: it is in parentheses with a SELECT, or in a WITH's list of
// columns. Elsewhere a name of a column is a use, or an output of the view itself.
func outputs(tokens []token) []bool {
	output := make([]bool, len(tokens))
	type group struct {
		start int
		query bool
	}
	var open []group
	for i, t := range tokens {
		switch {
		case t.isMark("("):
			open = append(open, group{start: i})
		case t.is("SELECT") && len(open) > 0:
			open[len(open)-1].query = true
		case t.isMark(")") && len(open) > 0:
			last := open[len(open)-1]
			open = open[:len(open)-1]
			list := i+2 < len(tokens) && tokens[i+1].is("AS") &&
				(tokens[i+2].isMark("(") || tokens[i+2].is("NOT") || tokens[i+2].is("MATERIALIZED"))
			for n := last.start; n < i && (last.query || list); n++ {
				output[n] = true
			}
		}
	}
	return output
}

// notVirtual returns an error if a virtual table reads a table, and its column if name
// is not "". SQLite does not rewrite the SQL of a virtual table, and does not look into
// it. what is what happens: added, dropped or renamed.
func notVirtual(db *gorm.DB, r relation, name, what string) error {
	objects, err := objectsOf(db, r.schema)
	if err != nil {
		return err
	}
	read := map[string]bool{fold(r.name): true}
	if name != "" { // a view follows the new name of its table
		if read, err = readers(r, objects); err != nil {
			return err
		}
	}
	columns, err := columnsOf(db, r)
	if err != nil {
		return err
	}
	for _, o := range objects {
		tokens, err := tokenize(o.sql)
		if err != nil {
			return err
		}
		if len(tokens) < 2 || !tokens[1].is("VIRTUAL") {
			continue
		}
		using := slices.IndexFunc(tokens, func(t token) bool { return t.is("USING") })
		tokens = tokens[min(using+1, len(tokens)):]
		if slices.Contains([]string{"rtree", "rtree_i32", "geopoly"}, fold(tokens[0].name())) {
			continue // its arguments are columns of its own
		}
		fullText := slices.Contains([]string{"fts3", "fts4", "fts5"}, fold(tokens[0].name()))
		reads, named, any := false, false, false
		for i, t := range tokens {
			option := i > 1 && tokens[i-1].isMark("=") && tokens[i-2].is("content")
			switch {
			case i == 0 || !t.isName() || i+1 < len(tokens) && tokens[i+1].isMark("="):
				continue
			case read[fold(t.name())] && (option || !fullText):
				reads = true
				continue
			}
			named = named || fold(t.name()) == fold(name)
			any = any || !tokens[i-1].isMark("=") && findColumn(columns, t.name()) != nil
		}
		// A full-text index that names no column has all of its table.
		all := fullText && !any
		switch {
		case reads && name == "":
			return fmt.Errorf("gormdialect: table %s cannot be %s: %s reads it; drop that first", r, what, o)
		case reads && (all || named && what != "added"):
			return fmt.Errorf("gormdialect: column %s of table %s cannot be %s: %s reads it; drop that first", name, r, what, o)
		}
	}
	return nil
}
