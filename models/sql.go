package models

import (
	"context"
	"errors"
	"strconv"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// The names by which GORM's dialectors go. What is neither PostgreSQL nor MySQL
// is treated as SQLite.
const (
	postgresDialect = "postgres"
	mysqlDialect    = "mysql"
)

func keyType(db *gorm.DB) string {
	switch db.Name() {
	case postgresDialect:
		return `text COLLATE "C"`
	case mysqlDialect:
		return "varbinary(" + strconv.Itoa(MaxKeyBytes) + ")"
	}
	return "text"
}

func textType(db *gorm.DB) string {
	if db.Name() == mysqlDialect {
		return "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
	}
	return "text"
}

// keyOrder is the key column as an expression that compares and sorts by bytes.
// On PostgreSQL it says so itself, for tables that another program made with the
// database's locale; the index of a column declared with the collation still
// serves it. SQLite's default is by bytes; on MySQL the column's type sees to it.
func keyOrder(db *gorm.DB, column string) clause.Expr {
	expr := clause.Expr{SQL: "?", Vars: []any{clause.Column{Name: column}}}
	if db.Name() == postgresDialect {
		expr.SQL = `? COLLATE "C"`
	}
	return expr
}

// hasTable reports whether a statement that names the table would find it. GORM's
// migrator has a method for that, which takes every error for a no; a copy must not
// leave a table out because a connection broke.
func hasTable(db *gorm.DB, name string) (found bool, err error) {
	query, arg := "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = ?)", name
	switch db.Name() {
	case postgresDialect:
		query, arg = "SELECT to_regclass(CAST(? AS text)) IS NOT NULL", strconv.Quote(name) // of a-z, 0-9 and _
	case mysqlDialect:
		query = "SELECT EXISTS (SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?)"
	}
	err = db.Raw(query, arg).Scan(&found).Error
	return found, err
}

// begin gives a fresh statement on db's pool or transaction: conditions that the
// caller's handle carries do not leak into ours. Our single statements need no
// transaction around them.
func begin(ctx context.Context, db *gorm.DB) *gorm.DB {
	return db.Session(&gorm.Session{NewDB: true, Context: ctx, SkipDefaultTransaction: true})
}

// inTransaction reports whether db is a transaction that somebody else began.
func inTransaction(db *gorm.DB) bool {
	_, ok := db.Statement.ConnPool.(gorm.TxCommitter)
	return ok
}

// insertNew adds one row unless its key exists, and reports which. It raises no
// error for a key that exists, because on PostgreSQL that would end a transaction
// which the caller may have open. MySQL has no such clause: INSERT IGNORE counts
// no row for a duplicate whatever the connection's clientFoundRows says, where an
// update that changes nothing counts one or none depending on it. What else IGNORE
// would let through (texts cut to size) the package's rule has refused before.
func insertNew(tx *gorm.DB, row any) (inserted bool, err error) {
	if tx.Name() == mysqlDialect {
		tx = tx.Clauses(clause.Insert{Modifier: "IGNORE"})
	} else {
		tx = tx.Clauses(clause.OnConflict{DoNothing: true})
	}
	tx = tx.Create(row)
	return tx.RowsAffected > 0, tx.Error
}

// isDuplicate reports whether err is a violated unique key, on any database, with
// gorm.Config.TranslateError or without.
func isDuplicate(db *gorm.DB, err error) bool {
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return true
	}
	translator, ok := db.Dialector.(gorm.ErrorTranslator)
	return ok && err != nil && errors.Is(translator.Translate(err), gorm.ErrDuplicatedKey)
}

// Pages of List.
const (
	// DefaultPage is how many rows a List call returns when its limit is 0.
	DefaultPage = 100

	// MaxPage is the most rows a List call returns.
	MaxPage = 1000
)

func pageSize(limit int) (int, error) {
	switch {
	case limit < 0:
		return 0, &InvalidError{"limit", "is negative"}
	case limit == 0:
		return DefaultPage, nil
	}
	return min(limit, MaxPage), nil
}
