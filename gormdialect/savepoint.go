package gormdialect

import "gorm.io/gorm"

// SavePoint begins a savepoint of the transaction tx. GORM calls it for nested
// transactions and for DB.SavePoint, and reports its error.
func (*Dialector) SavePoint(tx *gorm.DB, name string) error {
	return control(tx, "SAVEPOINT "+quote(name))
}

// RollbackTo rolls tx back to a savepoint. The savepoint stays.
func (*Dialector) RollbackTo(tx *gorm.DB, name string) error {
	return control(tx, "ROLLBACK TO SAVEPOINT "+quote(name))
}

// control executes a statement on the connection of tx. An error that tx carries
// already must not keep it from being executed: it may be the reason to roll back.
func control(tx *gorm.DB, statement string) error {
	session := tx.Session(&gorm.Session{NewDB: true})
	session.Error = nil
	return session.Exec(statement).Error
}
