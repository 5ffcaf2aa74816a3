package gormdialect

import (
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"
)

// guess returns a constraint of a model, its name in the database and its table, which
// may be that of another model. The constraint is nil if the model has none of that
// name.
func (m Migrator) guess(value any, stmt *gorm.Statement, name string) (schema.ConstraintInterface, string, []tableName) {
	found, on := m.GuessConstraintInterfaceAndTable(stmt, name)
	if found == nil {
		return nil, name, names(value, stmt)
	}
	if on == stmt.Table || stmt.Schema != nil && on == stmt.Schema.Table {
		return found, found.GetName(), names(value, stmt)
	}
	return found, found.GetName(), tableNames(on)
}

// build returns a model's constraint as SQL.
func (m Migrator) build(c schema.ConstraintInterface) string {
	stmt := &gorm.Statement{DB: m.DB, Clauses: map[string]clause.Clause{}}
	sql, vars := c.Build()
	clause.Expr{SQL: sql, Vars: vars}.Build(stmt)
	if len(stmt.Vars) > 0 {
		return m.Explain(stmt.SQL.String(), stmt.Vars...)
	}
	return stmt.SQL.String()
}

// HasConstraint reports whether a table has a table constraint or a column constraint
// with the given name. name may also be a field of the model that has the constraint.
func (m Migrator) HasConstraint(value any, name string) (has bool) {
	err := m.RunWithValue(value, func(stmt *gorm.Statement) error {
		_, name, names := m.guess(value, stmt, name)
		r, err := find(plain(m.DB), names)
		if err != nil {
			return err
		}
		def, err := definitionOf(plain(m.DB), r)
		if err != nil {
			return err
		}
		_, found := def.named(name)
		has = found != nil
		return nil
	})
	if err != nil && !errors.Is(err, errNoTable) {
		m.report(err)
	}
	return has
}

// CreateConstraint adds a constraint of the model. It replaces a constraint of the
// same name.
func (m Migrator) CreateConstraint(value any, name string) error {
	return m.RunWithValue(value, func(stmt *gorm.Statement) error {
		found, name, names := m.guess(value, stmt, name)
		if found == nil {
			return fmt.Errorf("gormdialect: the model of table %s has no constraint %s", stmt.Table, name)
		}
		sql := m.build(found)
		return m.change(names, func(_ *session, t *table) (*change, error) { return createConstraint(t, sql) })
	})
}

func createConstraint(t *table, sql string) (*change, error) {
	wanted, err := parseConstraint(sql)
	if err != nil {
		return nil, fmt.Errorf("gormdialect: a constraint of table %s: %w", t, err)
	}
	column, is := t.def.named(wanted.name)
	def := t.def.clone()
	if is != nil {
		def.drop(is)
	}
	def.constraints = append(def.constraints, wanted)
	switch {
	case is == nil:
		c := &change{sql: apply(t.def.sql, []edit{t.def.appendConstraint(sql)}), wanted: def}
		if wanted.kind == check {
			c.alter = []string{"ALTER TABLE " + t.sql() + " ADD " + sql}
		}
		return c, nil
	case sameTokens(is.tokens, wanted.tokens):
		return nil, nil
	case column == nil:
		return &change{sql: apply(t.def.sql, []edit{{is.span, sql}}), wanted: def}, nil
	default:
		return &change{sql: apply(t.def.sql, []edit{{span: is.span}, t.def.appendConstraint(sql)}), wanted: def}, nil
	}
}

// DropConstraint drops a table constraint or a column constraint. If no constraint has
// the name, it drops an unnamed one that equals the model's.
func (m Migrator) DropConstraint(value any, name string) error {
	return m.RunWithValue(value, func(stmt *gorm.Statement) error {
		found, name, names := m.guess(value, stmt, name)
		var says *constraint
		if found != nil {
			if c, err := parseConstraint(m.build(found)); err == nil {
				says = &c
			}
		}
		return m.change(names, func(_ *session, t *table) (*change, error) { return dropConstraint(t, name, says) })
	})
}

func dropConstraint(t *table, name string, says *constraint) (*change, error) {
	_, is := t.def.named(name)
	if is == nil && says != nil {
		t.def.all(func(_ *columnDef, c *constraint) bool {
			if c.name == "" && c.says(says) {
				is = c
			}
			return is == nil
		})
	}
	if is == nil {
		return nil, fmt.Errorf("gormdialect: table %s has no constraint %s", t, name)
	}
	c := &change{sql: apply(t.def.sql, t.def.remove(is)), wanted: t.def.clone()}
	c.wanted.drop(is)
	if is.kind == check && is.name != "" {
		c.alter = []string{"ALTER TABLE " + t.sql() + " DROP CONSTRAINT " + quote(is.name)}
	}
	return c, nil
}

// says reports whether two constraints are equal in effect.
func (c *constraint) says(o *constraint) bool {
	equal := func(a, b string) bool { return fold(a) == fold(b) }
	switch {
	case c.kind != o.kind:
		return false
	case c.kind == check:
		return sameTokens(c.tokens, o.tokens)
	default:
		return slices.EqualFunc(c.columns, o.columns, equal) && equal(c.parent, o.parent) && (len(c.refers) == 0 || slices.EqualFunc(c.refers, o.refers, equal))
	}
}
