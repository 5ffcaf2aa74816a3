package models

import (
	"context"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"
)

// All lists every model in the order of migration, for
//
//	db.AutoMigrate(models.All()...)
//
// Tables of other names than TableEntry's own are made by [Table.Migrate].
func All() []any {
	return []any{&Quota{}, &Contact{}, &TableEntry{}}
}

// Migrate makes the tables of [All] where they are missing and adds missing
// columns. What exists is not rewritten; on a migrated database nothing is
// executed but queries. Several processes may migrate one database at a time.
//
// After an error some tables may exist and others not; call it again.
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

// migrateAttempts is how often Migrate looks again: each attempt gets past at least
// one table that others made first.
const migrateAttempts = 10

// madeMeanwhile reports whether any table of ours exists: then an error while
// migrating may come of another process that made it between our question and our
// CREATE TABLE, and asking again settles it. migrateAttempts bounds that.
func madeMeanwhile(ctx context.Context, db *gorm.DB) bool {
	for _, model := range All() {
		if found, _ := hasTable(begin(ctx, db), model.(schema.Tabler).TableName()); found {
			return true
		}
	}
	return false
}
