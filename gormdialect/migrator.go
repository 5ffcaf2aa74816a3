package gormdialect

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/migrator"
	"gorm.io/gorm/schema"
)

// Migrator is GORM's migrator for this dialect. It asks SQLite what a table is made
// of, and changes it by ALTER TABLE where SQLite can. Else it rebuilds the table as
// https://sqlite.org/lang_altertable.html#otheralter says. Each method either does
// what it is called for or returns an error, with everything as it was before.
//
// Tables are given as a model or by name, with quotes or without, and with a schema
// or without.
type Migrator struct {
	migrator.Migrator

	// withoutGuard is Config.WithoutRebuildGuard.
	withoutGuard bool
}

var (
	_ gorm.Migrator                       = Migrator{}
	_ migrator.BuildIndexOptionsInterface = Migrator{}
)

// names are the ways to read the table that a method was called for.
func names(value any, stmt *gorm.Statement) []tableName {
	var names []tableName
	if _, ok := value.(string); !ok && stmt.TableExpr != nil {
		names = tableNames(stmt.TableExpr.SQL)
	}
	return append(names, tableNames(stmt.Table)...)
}

// tableOf finds the table that a method was called for.
func (m Migrator) tableOf(value any) (r relation, err error) {
	err = m.RunWithValue(value, func(stmt *gorm.Statement) error {
		r, err = find(plain(m.DB), names(value, stmt))
		return err
	})
	return r, err
}

// change changes a table to what build makes of it. build is called twice: first to
// see whether there is anything to do, which takes no lock. It returns nil if there
// is not.
func (m Migrator) change(names []tableName, build func(*table) (*change, error)) error {
	prepare := func(db *gorm.DB) (*table, *change, error) {
		r, err := find(db, names)
		if err != nil {
			return nil, nil, err
		}
		t, err := readTable(db, r)
		if err != nil {
			return nil, nil, err
		}
		c, err := build(t)
		return t, c, err
	}
	// Without a lock, what is not understood may have been read before another
	// migration in part and after it in part.
	if _, c, err := prepare(plain(m.DB)); !errors.Is(err, errNotUnderstood) && (err != nil || c == nil) {
		return err
	}
	return m.atomically(func(s *session) error {
		t, c, err := prepare(s.db)
		if err != nil || c == nil {
			return err
		}
		return s.apply(t, c, !m.withoutGuard)
	})
}

// FullDataTypeOf is the type of a field, with NOT NULL and DEFAULT.
func (m Migrator) FullDataTypeOf(field *schema.Field) clause.Expr {
	expr := m.Migrator.FullDataTypeOf(field)
	if field.AutoIncrement && inCompositeKey(field) && !field.NotNull {
		// SQLite makes numbers only for a key of one column. Without a number there
		// is an error, not a NULL.
		expr.SQL += " NOT NULL"
	}
	return expr
}

// CurrentDatabase is the name of the main schema: main.
func (m Migrator) CurrentDatabase() (name string) {
	err := query(plain(m.DB), "SELECT name FROM pragma_database_list WHERE seq = 0", func(rows *sql.Rows) error { return rows.Scan(&name) })
	m.report(err)
	return name
}

// report logs an error that a method has no way to return.
func (m Migrator) report(err error) {
	if err != nil {
		m.DB.Logger.Error(m.DB.Statement.Context, "%v", err)
	}
}

// HasTable reports whether there is a table. A view is none. A table of an attached
// database has to be named with its schema: CREATE TABLE makes a table in main, also
// when an attached database has one of that name.
func (m Migrator) HasTable(value any) (has bool) {
	err := m.RunWithValue(value, func(stmt *gorm.Statement) error {
		names := names(value, stmt)
		r, err := find(plain(m.DB), names)
		if err != nil {
			return err
		}
		named := slices.ContainsFunc(names, func(n tableName) bool { return fold(n.schema) == fold(r.schema) })
		has = r.kind != "view" && (named || r.schema == "main" || r.schema == "temp")
		return nil
	})
	if err != nil && !errors.Is(err, errNoTable) {
		m.report(err)
	}
	return has
}

// GetTables returns the names of all tables of the main schema, those of SQLite's
// own included.
func (m Migrator) GetTables() ([]string, error) {
	return queryStrings(plain(m.DB), "SELECT name FROM sqlite_master WHERE type = 'table'")
}

// DropTable drops tables with their indexes and triggers, all or none. A table that
// does not exist is passed over. Rows of other tables that refer to them stay as
// they are. Inside a transaction with foreign keys on that is not possible: if
// there are such rows, it is an error.
func (m Migrator) DropTable(values ...any) error {
	var all [][]tableName
	for _, value := range m.ReorderModels(values, false) {
		err := m.RunWithValue(value, func(stmt *gorm.Statement) error {
			all = append(all, names(value, stmt))
			return nil
		})
		if err != nil {
			return err
		}
	}
	slices.Reverse(all)
	return m.atomically(func(s *session) error {
		var tables []relation
		for _, names := range all {
			r, err := find(s.db, names)
			if errors.Is(err, errNoTable) {
				continue
			}
			if err != nil {
				return err
			}
			if r.kind == "view" {
				return fmt.Errorf("gormdialect: %s is a view: use DropView", r)
			}
			if !slices.Contains(tables, r) {
				tables = append(tables, r)
			}
		}
		for _, r := range tables {
			if err := s.mayDrop(r, "dropped", tables); err != nil {
				return err
			}
		}
		if err := s.childrenFirst(tables); err != nil {
			return err
		}
		for _, r := range tables {
			if err := s.exec("DROP TABLE " + r.sql()); err != nil {
				return err
			}
		}
		return nil
	})
}

// childrenFirst orders tables so that dropping one does not act on the rows of
// another, as far as there is such an order.
func (s *session) childrenFirst(tables []relation) error {
	if !s.enforced {
		return nil
	}
	children := map[relation][]reference{}
	for _, r := range tables {
		list, err := referencesTo(s.db, r)
		if err != nil {
			return err
		}
		children[r] = list
	}
	var ordered []relation
	visited := map[relation]bool{}
	var visit func(r relation)
	visit = func(r relation) {
		if visited[r] {
			return
		}
		visited[r] = true
		for _, ref := range children[r] {
			for _, child := range tables {
				if child.schema == r.schema && child.name == ref.child {
					visit(child)
				}
			}
		}
		ordered = append(ordered, r)
	}
	for _, r := range tables {
		visit(r)
	}
	copy(tables, ordered)
	return nil
}

// RenameTable renames a table, and what names it in indexes, triggers, views and
// foreign keys.
func (m Migrator) RenameTable(oldName, newName any) error {
	r, err := m.tableOf(oldName)
	if err != nil {
		return err
	}
	var to string
	err = m.RunWithValue(newName, func(stmt *gorm.Statement) error {
		names := names(newName, stmt)
		to = names[len(names)-1].name
		return nil
	})
	if err != nil {
		return err
	}
	return m.exec("ALTER TABLE " + r.sql() + " RENAME TO " + backquote(to))
}

// exec executes a statement, or prints it in a dry run.
func (m Migrator) exec(statement string) error { return plain(m.DB).Exec(statement).Error }
