package models

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// check is the first pass. It returns all errors at once, and writes no row.
func (c *copier) check(ctx context.Context) error {
	var found []error
	for _, t := range c.tables {
		if err := c.checkTable(ctx, t, &found); err != nil {
			return err
		}
	}
	return errors.Join(found...)
}

func (c *copier) checkTable(ctx context.Context, t *copyTable, found *[]error) error {
	conflict := ConflictError{Table: t.name}
	var equal, bad int64
	err := c.walk(ctx, CopyCheck, t, func(rows []copyRow) error {
		rows = slices.DeleteFunc(rows, func(row copyRow) bool {
			err := t.valid(row)
			if err == nil {
				return false
			}
			if bad++; bad <= namedConflicts {
				*found = append(*found, fmt.Errorf("source table %s, row %s: %w", t.source, brief(row.key), err))
			}
			return true
		})
		there, err := ask(ctx, c.to, func(tx *gorm.DB) (map[string]copyRow, error) { return t.to().fetch(tx, rows) })
		if err != nil {
			return err
		}
		for _, row := range rows {
			switch other, ok := there[row.key]; {
			case !ok:
			case slices.Equal(other.values, row.values):
				equal++
			default:
				if conflict.Differ++; conflict.Differ <= namedConflicts {
					conflict.Keys = append(conflict.Keys, row.key)
				}
			}
		}
		return nil
	})
	if err != nil || t.report.Missing {
		return err // without a table in the source, the target's stays as it is
	}
	if bad > namedConflicts {
		*found = append(*found, fmt.Errorf("source table %s has %d rows that cannot be copied: %w", t.source, bad, ErrInvalid))
	}
	count, err := ask(ctx, c.to, t.to().count)
	if err != nil {
		return err
	}
	t.report.Equal = equal
	t.extra = count - equal - conflict.Differ
	if c.options.Overwrite {
		conflict.Differ, conflict.Keys = 0, nil
	}
	if t.extra > 0 && !c.options.Prune && !c.options.Merge {
		conflict.Extra = t.extra
		if err := c.eachExtra(ctx, t, func(keys []string) error {
			conflict.Keys = append(conflict.Keys, keys[:min(len(keys), namedConflicts)]...)
			return errEnough
		}); err != nil {
			return err
		}
	}
	if conflict.Differ > 0 || conflict.Extra > 0 {
		*found = append(*found, &conflict)
	}
	return nil
}

// write is the second pass. It makes the target equal to the source.
func (c *copier) write(ctx context.Context) error {
	for _, t := range c.tables {
		t.report.Equal = 0
		err := c.walk(ctx, CopyWrite, t, func(rows []copyRow) error {
			var done TableReport
			err := run(ctx, c.to, func(tx *gorm.DB) error {
				return tx.Transaction(func(tx *gorm.DB) (err error) {
					done, err = c.writeBatch(tx, t, rows)
					return err
				})
			})
			if err != nil {
				return err
			}
			t.report.Equal += done.Equal
			t.report.Inserted += done.Inserted
			t.report.Replaced += done.Replaced
			return nil
		})
		if err != nil {
			return err
		}
		if c.options.Merge {
			t.report.Kept = t.extra
		}
		if t.extra > 0 && c.options.Prune {
			err := c.eachExtra(ctx, t, func(keys []string) error {
				var gone int64
				err := run(ctx, c.to, func(tx *gorm.DB) error {
					tx = tx.Exec("DELETE FROM ? WHERE ? IN ?", clause.Table{Name: t.name}, clause.Column{Name: t.columns[0].name}, keys)
					gone = tx.RowsAffected
					return tx.Error
				})
				t.report.Removed += gone
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// writeBatch writes the rows that the target does not have, in the transaction tx.
func (c *copier) writeBatch(tx *gorm.DB, t *copyTable, rows []copyRow) (done TableReport, err error) {
	there, err := t.to().fetch(tx, rows)
	if err != nil {
		return done, err
	}
	conflict := ConflictError{Table: t.name}
	var insert, replace []map[string]any
	for _, row := range rows {
		values := make(map[string]any, len(row.values))
		for i, column := range t.columns {
			values[column.name] = row.values[i]
		}
		switch other, ok := there[row.key]; {
		case !ok:
			insert = append(insert, values)
		case slices.Equal(other.values, row.values):
			done.Equal++
		case c.options.Overwrite:
			replace = append(replace, values)
		default: // another program has written the row since the check
			conflict.Differ++
			conflict.Keys = append(conflict.Keys, row.key)
		}
	}
	if conflict.Differ > 0 {
		return done, &conflict
	}
	done.Inserted, done.Replaced = int64(len(insert)), int64(len(replace))
	if len(insert) > 0 {
		err := tx.Table(t.name).Create(insert).Error
		if isDuplicate(tx, err) {
			return done, fmt.Errorf("target table %s: another program inserted a row, or the table does not compare keys by bytes: %w (%w)",
				t.name, ErrConflict, err)
		}
		if err != nil {
			return done, err
		}
	}
	if len(replace) > 0 {
		var others []string
		for _, column := range t.columns[1:] {
			others = append(others, column.name)
		}
		err := tx.Table(t.name).Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: t.columns[0].name}},
			DoUpdates: clause.AssignmentColumns(others),
		}).Create(replace).Error
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// verify is the third pass. It compares both databases again.
func (c *copier) verify(ctx context.Context) error {
	for _, t := range c.tables {
		var rowsSeen, differ int64
		var first string
		err := c.walk(ctx, CopyVerify, t, func(rows []copyRow) error {
			there, err := ask(ctx, c.to, func(tx *gorm.DB) (map[string]copyRow, error) { return t.to().fetch(tx, rows) })
			if err != nil {
				return err
			}
			for _, row := range rows {
				if other, ok := there[row.key]; !ok || !slices.Equal(other.values, row.values) {
					if differ++; differ == 1 {
						first = row.key
					}
				}
			}
			rowsSeen += int64(len(rows))
			return nil
		})
		if err != nil {
			return err
		}
		if t.report.Missing {
			continue
		}
		count, err := ask(ctx, c.to, t.to().count)
		if err != nil {
			return err
		}
		switch {
		case differ > 0:
			return fmt.Errorf("table %s: %d rows, the first is %s: %w", t.name, differ, brief(first), ErrNotEqual)
		case count < rowsSeen || count > rowsSeen && !c.options.Merge:
			return fmt.Errorf("table %s: %d rows in the source, %d in the target: %w", t.name, rowsSeen, count, ErrNotEqual)
		}
		t.report.Rows = rowsSeen
	}
	return nil
}

// walk calls fn with all rows of the source, in batches sorted by key.
func (c *copier) walk(ctx context.Context, phase CopyPhase, t *copyTable, fn func([]copyRow) error) error {
	progress := CopyProgress{Phase: phase, Table: t.name}
	report := func() {
		if c.options.Progress != nil {
			c.options.Progress(progress)
		}
	}
	if t.report.Missing {
		report()
		return ctx.Err()
	}
	var err error
	if progress.Total, err = t.from().count(c.from); err != nil {
		return err
	}
	if progress.Total == 0 {
		report()
	}
	var last *string
	for {
		rows, err := t.from().page(c.from, t.order, last, c.options.BatchRows)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			break
		}
		last = &rows[len(rows)-1].key
		progress.Done += int64(len(rows))
		if err := fn(slices.Clone(rows)); err != nil {
			return err
		}
		report()
	}
	if progress.Done != progress.Total {
		return &InvalidError{"source table " + t.source,
			fmt.Sprintf("has %d rows of which %d can be reached by key", progress.Total, progress.Done)}
	}
	return nil
}

// errEnough makes eachExtra stop without an error.
var errEnough = errors.New("enough")

// eachExtra calls fn with the keys that only the target has, in batches.
func (c *copier) eachExtra(ctx context.Context, t *copyTable, fn func(keys []string) error) error {
	order := keyOrder(c.to, t.columns[0].name)
	var last *string
	for {
		rows, err := ask(ctx, c.to, func(tx *gorm.DB) ([]copyRow, error) { return t.to().page(tx, order, last, c.options.BatchRows) })
		if err != nil || len(rows) == 0 {
			return err
		}
		last = &rows[len(rows)-1].key
		there, err := t.from().fetch(c.from, rows)
		if err != nil {
			return err
		}
		var extra []string
		for _, row := range rows {
			if _, ok := there[row.key]; !ok {
				extra = append(extra, row.key)
			}
		}
		if len(extra) == 0 {
			continue
		}
		switch err := fn(extra); {
		case errors.Is(err, errEnough):
			return nil
		case err != nil:
			return err
		}
	}
}
