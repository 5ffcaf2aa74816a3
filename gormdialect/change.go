package gormdialect

import (
	"errors"
	"fmt"
)

// A change is the change of one table by a migration.
type change struct {
	// sql is the CREATE TABLE that is wanted, with the table's present name.
	sql string

	// wanted is what sql must mean. Its parts come from the old definition and from the
	// model, and not from sql.
	wanted *definition

	// alter makes the same change by ALTER TABLE. It is nil if no ALTER TABLE could
	// make it. SQLite may refuse it.
	alter []string

	// dropped is the column to drop, or "".
	dropped string

	// indexes are the indexes to drop with the column.
	indexes []string
}

// apply changes a table by ALTER TABLE, or by a rebuild where SQLite cannot alter it.
func (s *session) apply(t *table, c *change, guard bool) error {
	wanted, err := parseDefinition(c.sql)
	if err != nil {
		return fmt.Errorf("gormdialect: table %s would become %w", t, err)
	}
	if !wanted.same(c.wanted) {
		return fmt.Errorf("gormdialect: table %s is not changed: its CREATE TABLE would lose or change another part: %s", t, c.sql)
	}
	if c.dropped != "" {
		if err := notByName(s.db, t.relation, c.dropped, "dropped"); err != nil {
			return err
		}
		if err := notVirtual(s.db, t.relation, c.dropped, "dropped"); err != nil {
			return err
		}
	}
	var uses []string
	if c.dropped != "" && !s.db.DryRun {
		if uses, err = s.usesWithout(t, c.dropped); err != nil {
			return err
		}
	}
	var altered error
	if len(c.alter) > 0 {
		altered = s.alter(t, c, wanted)
		if altered != nil && (errors.Is(altered, errNotUndone) || s.db.Statement.Context.Err() != nil) {
			return altered
		}
	}
	if len(c.alter) == 0 || altered != nil {
		err := s.rebuild(t, c, wanted, guard)
		if err != nil && altered != nil {
			return fmt.Errorf("%w (ALTER TABLE was tried first: %w)", err, altered)
		}
		if err != nil {
			return err
		}
	}
	for _, use := range uses {
		if err := s.compile(use); err != nil {
			return fmt.Errorf("gormdialect: table %s is not changed: a view or a trigger would no longer work: %s: %w; drop it first", t, use, err)
		}
	}
	return nil
}

// alter changes a table by ALTER TABLE. If that fails, or the result is not the wanted
// definition, alter undoes it and returns an error.
func (s *session) alter(t *table, c *change, wanted *definition) error {
	if s.db.DryRun {
		return s.exec(c.alter...)
	}
	before, err := objectsOf(s.db, t.schema)
	if err != nil {
		return err
	}
	return s.savepoint("sqlite_mem_alter", func() error {
		if err := s.exec(c.alter...); err != nil {
			return err
		}
		after, err := readTable(s.db, t.relation)
		if err != nil {
			return err
		}
		if !after.def.same(wanted) {
			return fmt.Errorf("gormdialect: ALTER TABLE turned table %s into %s", t, after.def.sql)
		}
		return s.sameObjects(t, c, before)
	})
}
