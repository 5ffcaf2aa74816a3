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

// Migrator is GORM's migrator for this dialect. It changes a table by ALTER TABLE
// where SQLite can. Otherwise it rebuilds the table as
// https://sqlite.org/lang_altertable.html#otheralter describes. Each method either
// does its work or returns an error and changes nothing.
//
// AutoMigrate and MigrateColumn are the exception: they are GORM's, and call the other
// methods in turn. Inside a transaction that is rolled back, they change nothing either.
//
// A table is given as a model or by its name. The name may be in quotes and may have a
// schema.
type Migrator struct {
	migrator.Migrator

	// withoutGuard is Config.WithoutRebuildGuard.
	withoutGuard bool
}

var (
	_ gorm.Migrator                       = Migrator{}
	_ migrator.BuildIndexOptionsInterface = Migrator{}
)

// names returns the readings of the table that a method was called with.
func names(value any, stmt *gorm.Statement) []tableName {
	var names []tableName
	if _, ok := value.(string); !ok && stmt.TableExpr != nil {
		names = tableNames(stmt.TableExpr.SQL)
	}
	return append(names, tableNames(stmt.Table)...)
}

// tableOf returns the table that a method was called with.
func (m Migrator) tableOf(value any) (r relation, err error) {
	err = m.RunWithValue(value, func(stmt *gorm.Statement) error {
		r, err = find(plain(m.DB), names(value, stmt))
		return err
	})
	return r, err
}

// change changes a table as build says. build returns nil if there is nothing to do.
// It is called first without a session, and again with one if there is a change.
func (m Migrator) change(names []tableName, build func(*session, *table) (*change, error)) error {
	prepare := func(db *gorm.DB, s *session) (*table, *change, error) {
		r, err := find(db, names)
		if err != nil {
			return nil, nil, err
		}
		t, err := readTable(db, r)
		if err != nil {
			return nil, nil, err
		}
		c, err := build(s, t)
		return t, c, err
	}
	// Without the write lock, another migration may commit between two of our queries. A
	// table that was not understood is therefore read again with the lock.
	if _, c, err := prepare(plain(m.DB), nil); !errors.Is(err, errNotUnderstood) && (err != nil || c == nil) {
		return err
	}
	return m.atomically(func(s *session) error {
		t, c, err := prepare(s.db, s)
		if err != nil || c == nil {
			return err
		}
		return s.apply(t, c, !m.withoutGuard)
	})
}

// FullDataTypeOf returns the type of a field, with NOT NULL and DEFAULT.
func (m Migrator) FullDataTypeOf(field *schema.Field) clause.Expr {
	expr := m.Migrator.FullDataTypeOf(field)
	if field.AutoIncrement && inCompositeKey(field) && !field.NotNull {
		// SQLite numbers only a key of one column. NOT NULL makes a missing number an
		// error.
		expr.SQL += " NOT NULL"
	}
	return expr
}

// CurrentDatabase returns the name of the main schema: main.
func (m Migrator) CurrentDatabase() (name string) {
	err := query(plain(m.DB), "SELECT name FROM pragma_database_list WHERE seq = 0", func(rows *sql.Rows) error { return rows.Scan(&name) })
	m.report(err)
	return name
}

// report logs an error of a method that cannot return one.
func (m Migrator) report(err error) {
	if err != nil {
		m.DB.Logger.Error(m.DB.Statement.Context, "%v", err)
	}
}

// HasTable reports whether a table exists. A view is not a table. A table of an
// attached database counts only if value names its schema, because CREATE TABLE would
// create the table in main.
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

// CreateTable creates the tables of all the models, with their indexes, or none. It
// needs a pool that begins transactions: see Config.Conn.
func (m Migrator) CreateTable(values ...any) error {
	return m.atomically(func(s *session) error {
		// The handle keeps its table and its options. It gets the session's connection.
		db := m.DB.Session(&gorm.Session{Context: m.DB.Statement.Context})
		db.Statement.ConnPool = s.db.Statement.ConnPool
		official := m.Migrator
		official.DB = db
		return official.CreateTable(values...)
	})
}

// GetTables returns the names of all tables of the main schema, including SQLite's own.
func (m Migrator) GetTables() ([]string, error) {
	return queryStrings(plain(m.DB), "SELECT name FROM sqlite_master WHERE type = 'table'")
}

// DropTable drops all the tables, with their indexes and triggers, or none. It skips a
// table that does not exist. Rows of other tables that refer to a dropped table stay
// as they are. Inside a transaction with foreign keys on, such rows are an error.
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

// childrenFirst sorts tables so that a table comes before the tables it refers to.
// Dropping one then does not act on the rows of another. A cycle has no such order.
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

// RenameTable renames a table, also in indexes, triggers, views and foreign keys. It is
// an error if a virtual table reads the table. The statistics of ANALYZE get the new
// name too, unless legacy_alter_table is on.
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
	if err := notVirtual(plain(m.DB), r, "", "renamed"); err != nil {
		return err
	}
	rename := "ALTER TABLE " + r.sql() + " RENAME TO " + backquote(to)
	legacy, err := setting(plain(m.DB), "legacy_alter_table")
	if err != nil {
		return err
	}
	if legacy {
		// SQLite then renames the table in foreign keys only while they are enforced. A
		// session switches them off.
		return m.exec(rename)
	}
	return m.atomically(func(s *session) error {
		if err := s.exec(rename); err != nil {
			return err
		}
		return s.renameStatistics(r, to)
	})
}

// exec executes a statement, or prints it in a dry run.
func (m Migrator) exec(statement string) error { return plain(m.DB).Exec(statement).Error }
