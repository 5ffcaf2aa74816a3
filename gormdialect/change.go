package gormdialect

import (
	"errors"
	"fmt"
)

// A change is what a migration does to a table.
type change struct {
	// sql is the CREATE TABLE that the table is to have, under its present name.
	sql string

	// alter does the same without a new table, if there is such a way. It may fail.
	alter []string

	// dropped is the column that goes, "" for none.
	dropped string

	// indexes are the indexes that go with it.
	indexes []string
}

// apply changes a table: by ALTER TABLE where SQLite can, else by a new table.
func (s *session) apply(t *table, c *change, guard bool) error {
	wanted, err := parseDefinition(c.sql)
	if err != nil {
		return fmt.Errorf("gormdialect: table %s would become %w", t, err)
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
			return fmt.Errorf("%w (and by ALTER TABLE: %w)", err, altered)
		}
		if err != nil {
			return err
		}
	}
	for _, use := range uses {
		if err := s.compile(use); err != nil {
			return fmt.Errorf("gormdialect: table %s is not changed: a view or a trigger would not work any more: %s: %w", t, use, err)
		}
	}
	return nil
}

// alter changes a table by ALTER TABLE. If that fails or does anything else than
// what is wanted, nothing is changed.
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
			return fmt.Errorf("gormdialect: SQLite made %s of table %s", after.def.sql, t)
		}
		return s.sameObjects(t, c, before)
	})
}
