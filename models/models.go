package models

import (
	"context"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"
)

// All returns the models in the order of migration, for
//
//	db.AutoMigrate(models.All()...)
//
// [Table.Migrate] creates key-value tables of other names than TableEntry's.
func All() []any {
	return []any{&Quota{}, &Contact{}, &TableEntry{}}
}

// Migrate creates the missing tables of [All] and adds missing columns. It does not
// rewrite existing tables and rows. On a migrated database it executes only queries.
// Several processes may migrate one database at the same time.
//
// After an error, some tables may exist and others not. Call it again.
func Migrate(ctx context.Context, db *gorm.DB) error {
	if err := migrate(ctx, db); err != nil {
		return fmt.Errorf("models: migrate: %w", err)
	}
	return nil
}

func migrate(ctx context.Context, db *gorm.DB) error {
	for n := 1; ; n++ {
		err := db.Session(&gorm.Session{NewDB: true, Context: ctx}).AutoMigrate(All()...)
		if err == nil {
			return nil
		}
		if n >= migrateAttempts || ctx.Err() != nil || inTransaction(db) || !madeMeanwhile(ctx, db) && !wantsRetry(err) {
			return err
		}
	}
}

// migrateAttempts limits the attempts of Migrate. Each attempt gets past at least one
// table that another process has created.
const migrateAttempts = 10

// madeMeanwhile reports whether a table of All exists. Another process may then have
// created it between our query and our CREATE TABLE, and another attempt succeeds.
func madeMeanwhile(ctx context.Context, db *gorm.DB) bool {
	for _, model := range All() {
		if found, _ := hasTable(begin(ctx, db), model.(schema.Tabler).TableName()); found {
			return true
		}
	}
	return false
}
