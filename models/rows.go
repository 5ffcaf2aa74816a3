package models

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// A rowReader reads the rows of a table that has times. The names are ours: they need
// no quotes.
type rowReader[T any] struct {
	table   string
	key     string   // the column of the primary key
	columns []string // in the order in which scan reads them
	stamps  []string // those of the columns that are times
	scan    func(rows *sql.Rows) (T, error)
}

// get returns the row of a key, and reports whether there is one.
func (r *rowReader[T]) get(ctx context.Context, db *gorm.DB, key string) (row T, ok bool, err error) {
	rows, err := r.read(ctx, db, " WHERE "+r.key+" = ?", key)
	if err != nil || len(rows) == 0 {
		return row, false, err
	}
	return rows[0], true, nil
}

// list returns a page of rows, as the List methods document it.
func (r *rowReader[T]) list(ctx context.Context, db *gorm.DB, after string, limit int) ([]T, error) {
	if err := checkKey("after", after); err != nil {
		return nil, err
	}
	limit, err := pageSize(limit)
	if err != nil {
		return nil, err
	}
	order := keyOrder(db, r.key)
	where, vars := "", []any{}
	if after != "" {
		where, vars = " WHERE ? > ?", []any{order, after}
	}
	return r.read(ctx, db, where+" ORDER BY ? LIMIT ?", append(vars, order, limit)...)
}

// read returns the rows of a query. tail follows the FROM clause.
func (r *rowReader[T]) read(ctx context.Context, db *gorm.DB, tail string, vars ...any) ([]T, error) {
	columns := make([]string, len(r.columns))
	for i, column := range r.columns {
		columns[i] = column
		for _, stamp := range r.stamps {
			if column == stamp {
				columns[i] = stampColumn(db, column)
			}
		}
	}
	return ask(ctx, db, func(tx *gorm.DB) (all []T, err error) {
		rows, err := tx.Raw("SELECT "+strings.Join(columns, ", ")+" FROM "+r.table+tail, vars...).Rows()
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		all = []T{}
		for rows.Next() {
			row, err := r.scan(rows)
			if err != nil {
				return nil, err
			}
			all = append(all, row)
		}
		return all, errors.Join(rows.Err(), rows.Close())
	})
}

// remove deletes the row of a key. It returns ErrNotFound if there is none.
func (r *rowReader[T]) remove(ctx context.Context, db *gorm.DB, key string) error {
	var gone bool
	err := run(ctx, db, func(tx *gorm.DB) error {
		tx = tx.Exec("DELETE FROM ? WHERE ? = ?", clause.Table{Name: r.table}, clause.Column{Name: r.key}, key)
		gone = tx.RowsAffected > 0
		return tx.Error
	})
	if err == nil && !gone {
		err = ErrNotFound
	}
	return err
}
