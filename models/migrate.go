package models

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"
)

// all returns the models in the order of migration.
func all() []schema.Tabler {
	return []schema.Tabler{&Quota{}, &Contact{}, &TableEntry{}, &BlockedUser{}, &RegistrationToken{}}
}

// Migrate creates the missing tables of the stores, and adds missing columns to
// existing ones. It changes no column and no row that exists. On a migrated database
// it executes only queries. Several processes may migrate one database at the same
// time.
//
// A database of Madmail keeps its table quota, or quotas, as [Quotas] describes.
// [Table.Migrate] creates key-value tables of other names than table_entries.
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
		err := migrateOnce(ctx, db)
		if err == nil {
			return nil
		}
		if n >= migrateAttempts || ctx.Err() != nil || inTransaction(db) || !madeMeanwhile(ctx, db) && !wantsRetry(err) {
			return err
		}
	}
}

// migrateAttempts limits the attempts of Migrate. Each attempt gets past at least one
// table or column that another process has created.
const migrateAttempts = 20

// migrateOnce does not use GORM's AutoMigrate, which also changes columns.
// AutoMigrate would drop the defaults and the NOT NULL of a table that another
// program has created.
func migrateOnce(ctx context.Context, db *gorm.DB) error {
	for _, model := range all() {
		name, err := tableName(begin(ctx, db), model)
		if err != nil {
			return err
		}
		found, err := hasTable(begin(ctx, db), name)
		if err != nil {
			return err
		}
		if found {
			err = addColumns(begin(ctx, db), name, model)
		} else {
			// A table and its index are created together, where the database can do so.
			err = begin(ctx, db).Transaction(func(tx *gorm.DB) error { return tx.Migrator().CreateTable(model) })
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	return nil
}

// tableName returns the table of a model.
func tableName(db *gorm.DB, model schema.Tabler) (string, error) {
	if _, ok := model.(*Quota); ok {
		return quotaTable(db)
	}
	return model.TableName(), nil
}

// addColumns adds the columns of the model that a table does not have.
func addColumns(db *gorm.DB, table string, model any) error {
	parsed, err := schema.Parse(model, &schemas, db.NamingStrategy)
	if err != nil {
		return err
	}
	columns, err := columnNames(db, table)
	if err != nil {
		return err
	}
	for _, field := range parsed.Fields {
		has := slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, field.DBName) })
		if has || field.DBName == "" {
			continue
		}
		if err := db.Table(table).Migrator().AddColumn(reflect.New(parsed.ModelType).Interface(), field.Name); err != nil {
			return err
		}
	}
	return nil
}

// madeMeanwhile reports whether a table of ours exists. Another process may then have
// created it, or a column, between our query and our statement. Another attempt
// succeeds.
func madeMeanwhile(ctx context.Context, db *gorm.DB) bool {
	for _, model := range all() {
		if found, _ := hasTable(begin(ctx, db), model.TableName()); found {
			return true
		}
	}
	return false
}
