package gormdialect

import (
	"fmt"
	"slices"
	"strings"
)

// rebuild replaces a table as https://sqlite.org/lang_altertable.html#otheralter
// describes. It creates a new table, copies the rows, drops the old table and renames
// the new one. It then creates the indexes and triggers of the old table again.
func (s *session) rebuild(t *table, c *change, wanted *definition, guard bool) error {
	if err := s.mayDrop(t.relation, "rebuilt", nil); err != nil {
		return err
	}
	before, err := objectsOf(s.db, t.schema)
	if err != nil {
		return err
	}
	scratch := relation{schema: t.schema, name: scratchName(t.name, before), kind: "table"}
	list, err := copyList(t, wanted)
	if err != nil {
		return err
	}
	// A CHECK may qualify a column with the table's name. A rename would not change
	// the name there, so such a table is copied twice.
	interim := wanted
	edits := wanted.qualifiers(t.name, scratch.name)
	if len(edits) > 0 {
		if interim, err = parseDefinition(apply(wanted.sql, edits)); err != nil {
			return err
		}
	}
	create := interim.withName(t.schema, scratch.name)
	fill := list.insert(scratch.sql(), t.sql())
	guard = guard && !s.db.DryRun
	statistics, err := s.statistics(t.relation)
	if err != nil {
		return err
	}
	var violations map[string]int
	if guard {
		if violations, err = s.violations(t.relation); err != nil {
			return err
		}
	}
	if err := s.exec(create, fill); err != nil {
		return fmt.Errorf("gormdialect: table %s cannot be rebuilt: %w", t, err)
	}
	made, err := s.readMade(scratch, interim)
	if err != nil {
		return err
	}
	if guard {
		if err := s.sameContent(t, made, list); err != nil {
			return err
		}
	}
	keepSequence := t.def.autoIncrement() && made.def.autoIncrement()
	if keepSequence {
		if err := s.copySequence(t.schema, t.name, scratch.name); err != nil {
			return err
		}
	}
	if err := s.exec("DROP TABLE " + t.sql()); err != nil {
		return fmt.Errorf("gormdialect: table %s cannot be rebuilt: %w", t, err)
	}
	if s.joined || len(edits) > 0 {
		err = s.copyAgain(t, made, wanted, keepSequence, guard)
	} else {
		err = s.takeName(t, made)
	}
	if err != nil {
		return err
	}
	if err := s.restore(t, c, before); err != nil {
		return err
	}
	if err := s.restoreStatistics(t, statistics); err != nil {
		return err
	}
	if !guard {
		return nil
	}
	if err := s.sameObjects(t, c, before); err != nil {
		return err
	}
	after, err := s.violations(t.relation)
	if err != nil {
		return err
	}
	for row, n := range after {
		if n > violations[row] {
			return fmt.Errorf("gormdialect: table %s is not rebuilt: a foreign key would be violated: %s", t, row)
		}
	}
	return nil
}

// readMade reads a table that was just created, and checks it against its definition.
// A dry run has created none; it gets a table made up from the definition.
func (s *session) readMade(r relation, wanted *definition) (*table, error) {
	if s.db.DryRun {
		made := &table{relation: r, def: wanted}
		for i := range wanted.columns {
			c := column{name: wanted.columns[i].name.name()}
			if wanted.columns[i].find(generated) != nil {
				c.hidden = 2
			}
			made.columns = append(made.columns, c)
		}
		return made, nil
	}
	made, err := readTable(s.db, r)
	if err == nil && !made.def.same(wanted) {
		err = fmt.Errorf("gormdialect: table %s: SQLite turned %s into %s", r, wanted.sql, made.def.sql)
	}
	return made, err
}

// scratchName returns a table name that no object of the schema or of temp has.
func scratchName(name string, objects []object) string {
	for scratch := name + "__new"; ; scratch += "_" {
		if !slices.ContainsFunc(objects, func(o object) bool { return fold(o.name) == fold(scratch) }) {
			return scratch
		}
	}
}

// mayDrop returns an error if dropping a table would act on rows of other tables.
// Tables that are dropped with it do not count. Without enforced foreign keys,
// dropping a table never acts on other rows.
func (s *session) mayDrop(r relation, what string, with []relation) error {
	if !s.enforced {
		return nil
	}
	list, err := referencesTo(s.db, r)
	if err != nil {
		return err
	}
	for _, ref := range list {
		child := relation{schema: r.schema, name: ref.child}
		if slices.ContainsFunc(with, func(o relation) bool { return o.schema == child.schema && o.name == child.name }) {
			continue
		}
		refers := make([]string, len(ref.columns))
		for i, column := range ref.columns {
			refers[i] = quote(column) + " IS NOT NULL"
		}
		found, err := queryStrings(s.db, "SELECT 1 FROM "+child.sql()+" WHERE "+strings.Join(refers, " AND ")+" LIMIT 1")
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return fmt.Errorf("gormdialect: table %s cannot be %s inside a transaction with foreign keys on: rows of %s refer to it, and dropping it would change them; "+
				"migrate outside of the transaction, or with PRAGMA foreign_keys = OFF before it begins", r, what, child)
		}
	}
	return nil
}

// copySequence copies the sequence of one AUTOINCREMENT table to another.
func (s *session) copySequence(schema, from, to string) error {
	sequence := quote(schema) + ".sqlite_sequence"
	return s.exec("DELETE FROM "+sequence+" WHERE name = "+stringLiteral(to),
		"INSERT INTO "+sequence+" (name, seq) SELECT "+stringLiteral(to)+", seq FROM "+sequence+" WHERE name = "+stringLiteral(from))
}

// takeName renames the new table to the name of the old one, which is dropped.
func (s *session) takeName(t, made *table) error {
	// With legacy_alter_table on, a rename leaves triggers and views alone. They name
	// the old table, and so mean the new one after the rename.
	legacy, err := setting(s.db, "legacy_alter_table")
	if err != nil {
		return err
	}
	if !legacy {
		s.legacyAlter = true
		if err := s.exec("PRAGMA legacy_alter_table = ON"); err != nil {
			return err
		}
	}
	if err := s.exec("ALTER TABLE " + made.sql() + " RENAME TO " + quote(t.name)); err != nil {
		return fmt.Errorf("gormdialect: table %s cannot be rebuilt: %w", t, err)
	}
	if !legacy {
		if err := s.exec("PRAGMA legacy_alter_table = OFF"); err != nil {
			return err
		}
		s.legacyAlter = false
	}
	return nil
}

// copyAgain replaces the rename by a second copy. A rename needs legacy_alter_table
// on. The caller's transaction may end at any time, and nothing could then switch the
// setting off again on its connection.
func (s *session) copyAgain(t, made *table, wanted *definition, keepSequence, guard bool) error {
	list, err := copyList(made, wanted)
	if err != nil {
		return err
	}
	if err := s.exec(wanted.withName(t.schema, t.name), list.insert(t.sql(), made.sql())); err != nil {
		return fmt.Errorf("gormdialect: table %s cannot be rebuilt: %w", t, err)
	}
	again, err := s.readMade(t.relation, wanted)
	if err != nil {
		return err
	}
	if guard {
		if err := s.sameContent(made, again, list); err != nil {
			return err
		}
	}
	if keepSequence {
		if err := s.copySequence(t.schema, made.name, t.name); err != nil {
			return err
		}
	}
	return s.exec("DROP TABLE " + made.sql())
}

// restore creates the indexes and triggers of the old table again.
func (s *session) restore(t *table, c *change, before []object) error {
	after, err := objectsOf(s.db, t.schema)
	if err != nil {
		return err
	}
	for _, o := range before {
		gone := !slices.Contains(after, o)
		if s.db.DryRun {
			gone = fold(o.table) == fold(t.name)
		}
		went := gone && o.sql != "" && (o.kind == "index" || o.kind == "trigger")
		if !went || o.kind == "index" && slices.Contains(c.indexes, o.name) {
			continue
		}
		statement, err := o.create()
		if err == nil {
			err = s.exec(statement)
		}
		if err != nil {
			return fmt.Errorf("gormdialect: table %s is not rebuilt: its %s cannot be created again: %w", t, o, err)
		}
	}
	return nil
}
