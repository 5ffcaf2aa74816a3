package gormdialect

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
)

// Migrator is the official migrator for SQLite. It differs where that makes a new
// table, copies the rows, drops the old table and renames the new one:
//
//   - foreign keys are off meanwhile, or dropping the old table would delete the
//     rows that refer to it (ON DELETE CASCADE) or fail. That is a setting of one
//     connection, so all of it runs on one connection. Inside a transaction the
//     setting cannot be changed: then a table that others refer to is not rebuilt,
//     and an error says so.
//   - it is one transaction
//   - indexes and triggers that went with the old table are made again
type Migrator struct {
	sqlite.Migrator
}

var _ gorm.Migrator = Migrator{}

// AlterColumn changes a column's type and constraints to those of the model.
func (m Migrator) AlterColumn(value any, field string) error {
	return m.rebuild(value, true, func(m sqlite.Migrator) error { return m.AlterColumn(value, field) })
}

// DropColumn removes a column, and the indexes it is part of.
func (m Migrator) DropColumn(value any, name string) error {
	return m.rebuild(value, false, func(m sqlite.Migrator) error { return m.DropColumn(value, name) })
}

// CreateConstraint adds a constraint of the model.
func (m Migrator) CreateConstraint(value any, name string) error {
	return m.rebuild(value, true, func(m sqlite.Migrator) error { return m.CreateConstraint(value, name) })
}

// DropConstraint removes a constraint.
func (m Migrator) DropConstraint(value any, name string) error {
	return m.rebuild(value, true, func(m sqlite.Migrator) error { return m.DropConstraint(value, name) })
}

// DropTable removes tables, with their indexes and triggers and without regard to
// foreign keys.
func (m Migrator) DropTable(values ...any) error {
	return m.withoutForeignKeys(func(db *gorm.DB) error { return m.on(db).DropTable(values...) })
}

// on is the official migrator on another handle.
func (m Migrator) on(db *gorm.DB) sqlite.Migrator {
	official := m.Migrator
	official.DB = db
	return official
}

// rebuild runs fn, which may replace value's table. Indexes that cannot be made
// again are an error if strict, else they go.
func (m Migrator) rebuild(value any, strict bool, fn func(sqlite.Migrator) error) error {
	if inTransaction(m.DB) {
		if err := m.refuseReferenced(value); err != nil {
			return err
		}
	}
	return m.withoutForeignKeys(func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			before, err := schemaObjects(tx)
			if err != nil {
				return err
			}
			if err := fn(m.on(tx)); err != nil {
				return err
			}
			after, err := schemaObjects(tx)
			if err != nil {
				return err
			}
			for _, object := range before {
				if contains(after, object) {
					continue
				}
				if err := control(tx, object.SQL); err != nil && (strict || object.Type != "index") {
					return fmt.Errorf("gormdialect: %s %s of table %s cannot be made again: %w", object.Type, object.Name, object.TblName, err)
				}
			}
			return nil
		})
	})
}

// withoutForeignKeys calls fn with a handle on one connection that does not
// enforce foreign keys. A transaction is left as it is.
func (m Migrator) withoutForeignKeys(fn func(db *gorm.DB) error) error {
	if inTransaction(m.DB) {
		return fn(m.DB)
	}
	if _, err := m.DB.DB(); err != nil { // a gorm.ConnPool that is no sql.DB
		return fn(m.DB)
	}
	return m.DB.Connection(func(conn *gorm.DB) error {
		conn = conn.Session(&gorm.Session{})
		on, err := foreignKeys(conn)
		if err != nil {
			return err
		}
		if !on {
			return fn(conn)
		}
		if err := control(conn, "PRAGMA foreign_keys = OFF"); err != nil {
			return err
		}
		defer func() {
			// Also when the context is over. A connection on which it fails must
			// not go back to the pool.
			back := conn.Session(&gorm.Session{Context: context.WithoutCancel(conn.Statement.Context)})
			if control(back, "PRAGMA foreign_keys = ON") != nil {
				if c, ok := conn.Statement.ConnPool.(*sql.Conn); ok {
					c.Raw(func(any) error { return sqldriver.ErrBadConn })
				}
			}
		}()
		return fn(conn)
	})
}

func inTransaction(db *gorm.DB) bool {
	_, ok := db.Statement.ConnPool.(gorm.TxCommitter)
	return ok
}

func foreignKeys(db *gorm.DB) (on bool, err error) {
	err = db.Session(&gorm.Session{NewDB: true}).Raw("PRAGMA foreign_keys").Scan(&on).Error
	return on, err
}

// refuseReferenced is an error if dropping value's table in the transaction would
// act on rows of other tables.
func (m Migrator) refuseReferenced(value any) error {
	on, err := foreignKeys(m.DB)
	if err != nil || !on {
		return err
	}
	return m.RunWithValue(value, func(stmt *gorm.Statement) error {
		var others []string
		err := m.DB.Session(&gorm.Session{NewDB: true}).Raw(
			`SELECT DISTINCT m.name FROM sqlite_master AS m JOIN pragma_foreign_key_list(m.name) AS f
			 WHERE m.type = 'table' AND f."table" = ? COLLATE NOCASE`, stmt.Table).Scan(&others).Error
		if err != nil || len(others) == 0 {
			return err
		}
		return fmt.Errorf("gormdialect: table %s cannot be rebuilt inside a transaction with foreign keys on: rows of %s refer to it", stmt.Table, others[0])
	})
}

// schemaObject is an index or a trigger that somebody made by a statement.
type schemaObject struct {
	Type    string
	Name    string
	TblName string
	SQL     string
}

func schemaObjects(db *gorm.DB) (objects []schemaObject, err error) {
	err = db.Session(&gorm.Session{NewDB: true}).
		Raw("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL").
		Scan(&objects).Error
	return objects, err
}

func contains(objects []schemaObject, object schemaObject) bool {
	for _, o := range objects {
		if o.Type == object.Type && o.Name == object.Name {
			return true
		}
	}
	return false
}
