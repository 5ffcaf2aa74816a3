package models

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"
)

// check is the first pass. It returns all errors at once, and writes no row.
func (c *copier) check(ctx context.Context) error {
	found := c.problems
	for _, t := range c.tables {
		if err := c.checkTable(ctx, t, &found); err != nil {
			return err
		}
	}
	return errors.Join(found...)
}

func (c *copier) checkTable(ctx context.Context, t *copyTable, found *[]error) error {
	conflict := ConflictError{Table: t.name}
	var equal, rowsSeen, bad int64
	seen := map[[sha256.Size]byte]struct{}{}
	wrong := func(row copyRow, err error) {
		if bad++; bad <= namedConflicts {
			*found = append(*found, fmt.Errorf("source table %s, row %s: %w", t.source, brief(t.keyOf(row)), err))
		}
	}
	err := c.walk(ctx, CopyCheck, t, func(rows []copyRow) error {
		rowsSeen += int64(len(rows))
		rows = slices.DeleteFunc(slices.Clone(rows), func(row copyRow) bool {
			err := row.bad
			if err == nil && t.key != nil && !t.distinct {
				id := t.keyID(row)
				if _, twice := seen[id]; twice {
					err = &InvalidError{"key", "is there twice"}
				}
				seen[id] = struct{}{}
			}
			if err != nil {
				wrong(row, err)
			}
			return err != nil
		})
		if t.key == nil || t.create {
			return nil
		}
		there, err := c.there(ctx, t, rows)
		if err != nil {
			return err
		}
		for _, row := range rows {
			switch other, ok := there[t.keyID(row)]; {
			case !ok:
			case slices.Equal(other.values, row.values):
				equal++
			default:
				if conflict.Differ++; conflict.Differ <= namedConflicts {
					conflict.Keys = append(conflict.Keys, t.keyOf(row))
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
	count := int64(0)
	if !t.create {
		if count, err = ask(ctx, c.to, t.to().count); err != nil {
			return err
		}
	}
	t.report.Rows = rowsSeen
	if t.key == nil && count > 0 {
		same, err := c.sameRows(ctx, t)
		if err != nil {
			return err
		}
		if !same {
			*found = append(*found, fmt.Errorf("target table %s has no primary key, and other rows than the source: %w; empty it, or exclude it by name (CopyOptions.Exclude)", t.name, ErrConflict))
			return nil
		}
		equal = count
	}
	t.report.Equal = equal
	extra := count - equal - conflict.Differ
	switch {
	case extra > 0 && c.options.Merge:
		t.report.Kept = extra
	case extra > 0:
		if err := c.findExtra(ctx, t); err != nil {
			return err
		}
		if !c.options.Prune {
			conflict.Extra = extra
			for _, row := range t.extra[:min(len(t.extra), namedConflicts)] {
				conflict.Keys = append(conflict.Keys, t.keyOf(row))
			}
		}
	}
	differ := conflict.Differ
	if c.options.Overwrite {
		conflict.Differ = 0
		conflict.Keys = conflict.Keys[min(len(conflict.Keys), int(min(differ, namedConflicts))):]
	}
	if conflict.Differ > 0 || conflict.Extra > 0 {
		*found = append(*found, &conflict)
	}
	if c.options.DryRun {
		t.report.Inserted, t.report.Replaced = rowsSeen-equal-differ, differ
		if c.options.Prune {
			t.report.Removed = extra
		}
	}
	return nil
}

// there returns the target's rows with the keys of the given rows.
func (c *copier) there(ctx context.Context, t *copyTable, rows []copyRow) (map[[sha256.Size]byte]copyRow, error) {
	return ask(ctx, c.to, func(tx *gorm.DB) (map[[sha256.Size]byte]copyRow, error) { return t.to().fetch(tx, rows) })
}

// findExtra finds the rows that only the target has, by their keys.
func (c *copier) findExtra(ctx context.Context, t *copyTable) error {
	t.extra = nil
	return t.to().each(ctx, begin(ctx, c.to), c.batch(t), func(rows []copyRow) error {
		there, err := t.from().fetch(c.from, rows)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if _, ok := there[t.keyID(row)]; ok {
				continue
			}
			key := copyRow{values: make([]any, len(row.values))} // the other values are not needed
			for _, n := range t.key {
				key.values[n] = row.values[n]
			}
			t.extra = append(t.extra, key)
		}
		return nil
	})
}

// sameRows reports whether both sides of a table without a key have the same rows.
func (c *copier) sameRows(ctx context.Context, t *copyTable) (bool, error) {
	rows := map[[sha256.Size]byte]int{}
	count := func(by int) func([]copyRow) error {
		return func(batch []copyRow) error {
			for _, row := range batch {
				sum := digest(row.values)
				if rows[sum] += by; rows[sum] == 0 {
					delete(rows, sum)
				}
			}
			return nil
		}
	}
	if err := t.from().each(ctx, c.from, c.batch(t), count(1)); err != nil {
		return false, err
	}
	if err := t.to().each(ctx, begin(ctx, c.to), c.batch(t), count(-1)); err != nil {
		return false, err
	}
	return len(rows) == 0, nil
}

// write is the second pass. It makes the target equal to the source. It deletes rows
// before it writes others, because both may have the same value in a unique column.
func (c *copier) write(ctx context.Context) error {
	for _, t := range slices.Backward(c.tables) { // children before their parents
		if err := c.prune(ctx, t); err != nil {
			return err
		}
	}
	for _, t := range c.tables {
		t.report.Equal = 0
		var err error
		if t.key == nil && !t.report.Missing {
			err = c.writeWhole(ctx, t)
		} else {
			err = c.walk(ctx, CopyWrite, t, func(rows []copyRow) error { return c.writeBatch(ctx, t, rows) })
		}
		if err != nil {
			return err
		}
		if !t.report.Missing {
			last, err := t.counter(c.from)
			if err != nil {
				return fmt.Errorf("source table %s: %w", t.source, err)
			}
			if err := run(ctx, c.to, func(tx *gorm.DB) error { return t.setSequences(tx, last) }); err != nil {
				return fmt.Errorf("target table %s: %w", t.name, err)
			}
		}
	}
	return nil
}

// prune deletes the rows that only the target has.
func (c *copier) prune(ctx context.Context, t *copyTable) error {
	for rows := range slices.Chunk(t.extra, c.batch(t)) {
		gone, err := ask(ctx, c.to, func(tx *gorm.DB) (int64, error) {
			condition, vars := t.to().keys(tx, rows)
			tx = tx.Exec("DELETE FROM "+quoted(tx, t.name)+" WHERE "+condition, vars...)
			return tx.RowsAffected, tx.Error
		})
		t.report.Removed += gone
		if err != nil {
			return fmt.Errorf("target table %s: %w", t.name, err)
		}
	}
	return nil
}

// writeBatch writes the rows that the target does not have, in one transaction.
func (c *copier) writeBatch(ctx context.Context, t *copyTable, rows []copyRow) error {
	var done TableReport
	err := run(ctx, c.to, func(tx *gorm.DB) error {
		return tx.Transaction(func(tx *gorm.DB) error {
			done = TableReport{}
			there, err := t.to().fetch(tx, rows)
			if err != nil {
				return err
			}
			conflict := ConflictError{Table: t.name}
			var missing []copyRow
			for _, row := range rows {
				switch other, ok := there[t.keyID(row)]; {
				case row.bad != nil:
					return fmt.Errorf("source table %s, row %s: %w", t.source, brief(t.keyOf(row)), row.bad)
				case !ok:
					missing = append(missing, row)
					done.Inserted++
				case slices.Equal(other.values, row.values):
					done.Equal++
				case c.options.Overwrite:
					if err := t.replace(tx, row); err != nil {
						return err
					}
					done.Replaced++
				default: // another program has written the row since the check
					if conflict.Differ++; conflict.Differ <= namedConflicts {
						conflict.Keys = append(conflict.Keys, t.keyOf(row))
					}
				}
			}
			if conflict.Differ > 0 {
				return &conflict
			}
			return t.insert(tx, missing)
		})
	})
	if err != nil {
		return err
	}
	t.report.Equal += done.Equal
	t.report.Inserted += done.Inserted
	t.report.Replaced += done.Replaced
	return nil
}

// writeWhole writes a table without a key in one transaction, unless it is there.
func (c *copier) writeWhole(ctx context.Context, t *copyTable) error {
	return run(ctx, c.to, func(tx *gorm.DB) error {
		return tx.Transaction(func(tx *gorm.DB) error {
			t.report.Equal, t.report.Inserted = 0, 0
			count, err := t.to().count(tx)
			if err != nil {
				return err
			}
			return c.walk(ctx, CopyWrite, t, func(rows []copyRow) error {
				if count > 0 { // the check has compared them
					t.report.Equal += int64(len(rows))
					return nil
				}
				t.report.Inserted += int64(len(rows))
				return t.insert(tx, rows)
			})
		})
	})
}

// verify is the third pass. It compares both databases again.
func (c *copier) verify(ctx context.Context) error {
	for _, t := range c.tables {
		var rowsSeen, differ int64
		var first string
		err := c.walk(ctx, CopyVerify, t, func(rows []copyRow) error {
			rowsSeen += int64(len(rows))
			if t.key == nil {
				return nil
			}
			there, err := c.there(ctx, t, rows)
			if err != nil {
				return err
			}
			for _, row := range rows {
				if other, ok := there[t.keyID(row)]; !ok || !slices.Equal(other.values, row.values) {
					if differ++; differ == 1 {
						first = t.keyOf(row)
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if t.report.Missing {
			continue
		}
		if t.key == nil {
			same, err := c.sameRows(ctx, t)
			if err != nil {
				return err
			}
			if !same {
				return fmt.Errorf("table %s: %w", t.name, ErrNotEqual)
			}
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

// walk calls fn with all rows of the source, in batches.
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
	err = t.from().each(ctx, c.from, c.batch(t), func(rows []copyRow) error {
		if err := fn(rows); err != nil {
			return err
		}
		progress.Done += int64(len(rows))
		report()
		return nil
	})
	if err == nil && progress.Done != progress.Total {
		err = fmt.Errorf("source table %s has %d rows, of which %d were read: %w", t.source, progress.Total, progress.Done, ErrNotEqual)
	}
	return err
}

// batch returns the most rows of a batch. A statement has at most maxParameters.
func (c *copier) batch(t *copyTable) int {
	return max(1, min(c.options.BatchRows, maxParameters/max(1, len(t.columns))))
}
