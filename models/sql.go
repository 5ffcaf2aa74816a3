package models

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"sync"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Names of GORM's dialectors. Any other is treated as SQLite.
const (
	postgresDialect = "postgres"
	mysqlDialect    = "mysql"
)

func sqliteDialect(db *gorm.DB) bool {
	return db.Name() != postgresDialect && db.Name() != mysqlDialect
}

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

// keyOrder returns the key column as an expression that compares and sorts by bytes.
// PostgreSQL and SQLite need the collation in the expression, for tables that another
// program created with the database's locale or with COLLATE NOCASE. They still use the
// index of a column declared with that collation. MySQL sorts by bytes for the type of
// our columns.
func keyOrder(db *gorm.DB, column string) clause.Expr {
	expr := clause.Expr{SQL: "?", Vars: []any{clause.Column{Name: column}}}
	switch {
	case db.Name() == postgresDialect:
		expr.SQL = `? COLLATE "C"`
	case sqliteDialect(db):
		expr.SQL = "? COLLATE BINARY"
	}
	return expr
}

// hasTable reports whether a statement would find a table. GORM's migrator has a method
// for that, but it returns false for every error. Copy must not leave out a table
// because a connection broke.
func hasTable(db *gorm.DB, name string) (found bool, err error) {
	query, arg := "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = ?)", name
	switch db.Name() {
	case postgresDialect:
		query, arg = "SELECT to_regclass(CAST(? AS text)) IS NOT NULL", strconv.Quote(name) // name has only a-z, 0-9 and _
	case mysqlDialect:
		query = "SELECT EXISTS (SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?)"
	}
	err = db.Raw(query, arg).Scan(&found).Error
	return found, err
}

// schemas caches the parsed models.
var schemas sync.Map

// columnNames returns the columns of a table.
func columnNames(db *gorm.DB, table string) (names []string, err error) {
	query := func() (*sql.Rows, error) {
		return db.Raw("SELECT * FROM ? WHERE 1 = 0", clause.Table{Name: table}).Rows()
	}
	rows, err := query()
	if err != nil && !inTransaction(db) {
		// PostgreSQL refuses a statement that was prepared before the table got another
		// column. Its driver then prepares the statement again.
		rows, err = query()
	}
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return rows.Columns()
}

// begin returns a handle on db's pool or transaction without the conditions of the
// caller's handle. A single statement needs no transaction around it.
func begin(ctx context.Context, db *gorm.DB) *gorm.DB {
	return db.Session(&gorm.Session{NewDB: true, Context: ctx, SkipDefaultTransaction: true})
}

// inTransaction reports whether db is a transaction of the caller.
func inTransaction(db *gorm.DB) bool {
	_, ok := db.Statement.ConnPool.(gorm.TxCommitter)
	return ok
}

// insertNew inserts a row unless its key exists, and reports whether it did. An existing
// key must not be an error of the database, which on PostgreSQL would end the caller's
// transaction. MySQL has no ON CONFLICT DO NOTHING. Its INSERT IGNORE counts no row for
// a duplicate, with any clientFoundRows; an update that changes nothing would not. IGNORE
// also truncates long texts, but the package's rule has refused those before.
func insertNew(tx *gorm.DB, row any) (inserted bool, err error) {
	if tx.Name() == mysqlDialect {
		tx = tx.Clauses(clause.Insert{Modifier: "IGNORE"})
	} else {
		tx = tx.Clauses(clause.OnConflict{DoNothing: true})
	}
	tx = tx.Create(row)
	return tx.RowsAffected > 0, tx.Error
}

// isDuplicate reports whether err is a violated unique key, with
// gorm.Config.TranslateError or without.
func isDuplicate(db *gorm.DB, err error) bool {
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return true
	}
	translator, ok := db.Dialector.(gorm.ErrorTranslator)
	return ok && err != nil && errors.Is(translator.Translate(err), gorm.ErrDuplicatedKey)
}

// Sizes of a page of List.
const (
	// DefaultPage is the number of rows for a limit of 0.
	DefaultPage = 100

	// MaxPage is the largest number of rows.
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
