package models

import (
	"context"
	"fmt"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// TableEntry is a row of a key-value table with the default column names. Its table is
// table_entries. [Table] is the store for a table of any name.
type TableEntry struct {
	Key   Key  `gorm:"primaryKey"` // at most MaxKeyBytes bytes
	Value Text `gorm:"not null"`   // at most MaxValueBytes bytes
}

// TableName is Madmail's name for the table.
func (TableEntry) TableName() string { return "table_entries" }

// TableSpec names a key-value table and its columns. A name has 1 to [MaxNameBytes]
// lower-case ASCII letters, digits and underscores, and does not start with a digit.
// Keywords of SQL are valid names.
type TableSpec struct {
	Name        string // the table
	KeyColumn   string // the column of keys; "" means key
	ValueColumn string // the column of values; "" means value
}

// checked returns the spec with its defaults, or an [InvalidError].
func (s TableSpec) checked() (TableSpec, error) {
	if s.KeyColumn == "" {
		s.KeyColumn = "key"
	}
	if s.ValueColumn == "" {
		s.ValueColumn = "value"
	}
	if err := checkName("table", s.Name); err != nil {
		return s, err
	}
	for _, model := range all() {
		if _, ok := model.(*TableEntry); !ok && s.Name == model.TableName() || s.Name == madmailQuotas {
			return s, &InvalidError{"table", s.Name + " is not a key-value table"}
		}
	}
	if len(s.Name) >= 7 && s.Name[:7] == "sqlite_" {
		return s, &InvalidError{"table", s.Name + " is a name that SQLite reserves"}
	}
	if err := checkName("key column", s.KeyColumn); err != nil {
		return s, err
	}
	if err := checkName("value column", s.ValueColumn); err != nil {
		return s, err
	}
	if s.KeyColumn == s.ValueColumn {
		return s, &InvalidError{"value column", s.ValueColumn + " is the key column"}
	}
	return s, nil
}

// Table is the store of one key-value table. Keys and values follow the package's
// rule. The empty key and the empty value are valid.
//
// The methods are those of maddy's mutable table, each with a context: Lookup, Keys,
// Set for its SetKey, Remove for its RemoveKey.
type Table struct {
	db   *gorm.DB
	spec TableSpec
}

// NewTable returns the store of the table that spec names. It does not use the
// database. [Table.Migrate] creates the table, or another program does. A table of
// another program compares keys by its own collation on MySQL and SQLite: with NOCASE, A
// and a are one key. On MySQL it also sorts them so. An invalid name is an
// [InvalidError].
func NewTable(db *gorm.DB, spec TableSpec) (*Table, error) {
	spec, err := spec.checked()
	if err != nil {
		return nil, err
	}
	return &Table{db, spec}, nil
}

// Spec returns the names of the table and its columns, with the defaults.
func (t *Table) Spec() TableSpec { return t.spec }

// Migrate creates the table unless it exists. It does not change an existing table.
func (t *Table) Migrate(ctx context.Context) error {
	var err error
	for range MaxAttempts {
		var found bool
		if found, err = hasTable(begin(ctx, t.db), t.spec.Name); found || err != nil {
			break
		}
		// Two processes may get here at the same time. PostgreSQL then fails one of them,
		// in spite of IF NOT EXISTS. The next round finds the table.
		err = begin(ctx, t.db).Exec("CREATE TABLE IF NOT EXISTS ? (? "+keyType(t.db)+" NOT NULL, ? "+textType(t.db)+" NOT NULL, PRIMARY KEY (?))",
			t.table(), t.key(), t.value(), t.key()).Error
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || inTransaction(t.db) {
			break
		}
	}
	return t.wrap("create", err)
}

// Lookup returns the value of key, and reports whether there is one.
func (t *Table) Lookup(ctx context.Context, key string) (value string, ok bool, err error) {
	if err := checkKey("key", key); err != nil {
		return "", false, err
	}
	var values []Text
	err = run(ctx, t.db, func(tx *gorm.DB) error {
		return tx.Raw("SELECT ? FROM ? WHERE ? = ?", t.value(), t.table(), t.key(), key).Scan(&values).Error
	})
	if err != nil || len(values) == 0 {
		return "", false, t.wrap("look up in", err)
	}
	return string(values[0]), true, nil
}

// Keys returns all keys, sorted by their bytes. For a large table use [Table.List].
func (t *Table) Keys(ctx context.Context) ([]string, error) {
	var keys []Key
	err := run(ctx, t.db, func(tx *gorm.DB) error {
		return tx.Raw("SELECT ? FROM ?", t.key(), t.table()).Scan(&keys).Error
	})
	if err != nil {
		return nil, t.wrap("list", err)
	}
	out := make([]string, len(keys))
	for i, key := range keys {
		out[i] = string(key)
	}
	slices.Sort(out) // not by the database, which would use its collation
	return out, nil
}

// List returns up to limit entries whose keys come after the given one, sorted by the
// bytes of their keys. "" starts at the first. A limit of 0 means [DefaultPage], and the
// most is [MaxPage]. For the next page, pass the last key. A page shorter than limit is
// the last one.
func (t *Table) List(ctx context.Context, after string, limit int) ([]TableEntry, error) {
	if err := checkKey("after", after); err != nil {
		return nil, err
	}
	limit, err := pageSize(limit)
	if err != nil {
		return nil, err
	}
	order := keyOrder(t.db, t.spec.KeyColumn)
	query := "SELECT ? AS k, ? AS v FROM ?"
	vars := []any{t.key(), t.value(), t.table()}
	if after != "" {
		query += " WHERE ? > ?"
		vars = append(vars, order, after)
	}
	query += " ORDER BY ? LIMIT ?"
	vars = append(vars, order, limit)
	var rows []struct {
		K Key
		V Text
	}
	err = run(ctx, t.db, func(tx *gorm.DB) error { return tx.Raw(query, vars...).Scan(&rows).Error })
	if err != nil {
		return nil, t.wrap("list", err)
	}
	entries := make([]TableEntry, len(rows))
	for i, row := range rows {
		entries[i] = TableEntry{Key: row.K, Value: row.V}
	}
	return entries, nil
}

// Set stores the value of key, and replaces an earlier one.
func (t *Table) Set(ctx context.Context, key, value string) error {
	if err := checkKey("key", key); err != nil {
		return err
	}
	if err := checkText("value", value, MaxValueBytes); err != nil {
		return err
	}
	return t.wrap("set in", run(ctx, t.db, func(tx *gorm.DB) error {
		return tx.Table(t.spec.Name).Clauses(clause.OnConflict{
			Columns:   []clause.Column{t.key()},
			DoUpdates: clause.AssignmentColumns([]string{t.spec.ValueColumn}),
		}).Create(map[string]any{t.spec.KeyColumn: key, t.spec.ValueColumn: value}).Error
	}))
}

// Remove deletes key and its value. A key that does not exist is no error.
func (t *Table) Remove(ctx context.Context, key string) error {
	if err := checkKey("key", key); err != nil {
		return err
	}
	return t.wrap("remove from", run(ctx, t.db, func(tx *gorm.DB) error {
		return tx.Exec("DELETE FROM ? WHERE ? = ?", t.table(), t.key(), key).Error
	}))
}

func (t *Table) table() clause.Table  { return clause.Table{Name: t.spec.Name} }
func (t *Table) key() clause.Column   { return clause.Column{Name: t.spec.KeyColumn} }
func (t *Table) value() clause.Column { return clause.Column{Name: t.spec.ValueColumn} }

func (t *Table) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("models: %s table %s: %w", what, t.spec.Name, err)
}
