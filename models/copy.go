package models

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"gorm.io/gorm"
)

// CopyOptions configures [Copy]. The zero value copies the tables that [Migrate]
// creates into a target without other rows.
type CopyOptions struct {
	// Tables are further key-value tables to copy. The source must have them.
	Tables []TableSpec

	// BatchRows is the most rows in one transaction, up to 5000. 0 means 500. A batch
	// also ends after 4 MiB.
	BatchRows int

	// Overwrite replaces rows of the target whose key is in the source, with other
	// content. Without it they are a [ConflictError].
	Overwrite bool

	// Prune deletes rows of the target whose keys are not in the source. Merge keeps
	// them. With neither they are a [ConflictError].
	Prune, Merge bool

	// IgnoreColumns leaves out columns that the models do not have. Without it they are
	// an [InvalidError].
	IgnoreColumns bool

	// Progress is called after each batch, and once for an empty table, on the
	// goroutine that called Copy. It may be nil.
	Progress func(CopyProgress)
}

// CopyPhase is a pass of [Copy] over all tables.
type CopyPhase string

// The passes, in their order.
const (
	CopyCheck  CopyPhase = "check"  // compare the source with the target
	CopyWrite  CopyPhase = "write"  // write the missing rows to the target
	CopyVerify CopyPhase = "verify" // read and compare both again
)

// CopyProgress is the progress of a pass of [Copy] on one table.
type CopyProgress struct {
	Phase CopyPhase // the pass
	Table string    // the table
	Done  int64     // number of rows of the source that the pass has finished
	Total int64     // number of rows of the source
}

// CopyReport is the result of [Copy].
type CopyReport struct {
	Tables []TableReport // in the order of the copy
}

// TableReport is the result of [Copy] for one table, as numbers of rows.
type TableReport struct {
	Table    string // the name of the table
	Missing  bool   // the source has no such table; the target's stays as it is, or is created
	Rows     int64  // in the source; all are in the target if Copy returned nil
	Equal    int64  // in the target before, for instance from an earlier run
	Inserted int64  // inserted into the target
	Replaced int64  // replaced in the target (Overwrite)
	Removed  int64  // deleted from the target, as not in the source (Prune)
	Kept     int64  // kept in the target, though not in the source (Merge)
}

const (
	defaultBatch   = 500
	maxBatch       = 5000    // with 6 columns: SQLite allows 32766 parameters in a statement
	maxBatchBytes  = 4 << 20 // with the row that exceeds it, half of MariaDB's default packet
	namedConflicts = 10      // keys or rows of a kind that an error names
)

// Copy copies the tables of the stores to another database, for instance when a server
// moves from SQLite to PostgreSQL or MySQL, or back. Madmail's table quota is copied to
// quotas, unless the target has a table quota, too.
//
//	report, err := models.Copy(ctx, from, to, models.CopyOptions{
//		Tables: []models.TableSpec{{Name: "passwords"}},
//	})
//
// Copy makes three passes:
//
//   - The check compares the whole source with the target, and writes no row. It is an
//     error if a row breaks the package's rule, if a column would be left out, or if
//     the target has other rows. One error reports all of them.
//   - The write writes batches, each a transaction on the target.
//   - The verification reads both again. Copy returns nil only if each row of the source
//     is in the target with equal content and, without Merge, the counts are equal.
//
// Copy reads the source in one transaction and does not change it. Stop the server
// first: its later writes are not copied. [Migrate] and [Table.Migrate] create the
// tables of the target. A table of [Migrate] that the source does not have is reported
// as Missing. For a table of CopyOptions.Tables that is [ErrNotFound].
//
// After an error or the end of the context, the target has the batches so far, each
// whole. Call Copy again to continue: it skips equal rows. If the source has changed
// since, Overwrite and Prune make the target equal to it.
//
// NULL is copied as 0 or the empty string. A time of NULL stays NULL, and times are
// truncated to milliseconds.
func Copy(ctx context.Context, from, to *gorm.DB, options CopyOptions) (CopyReport, error) {
	c := copier{to: to, options: options}
	err := c.run(ctx, from)
	if err != nil {
		err = fmt.Errorf("models: copy: %w", err)
	}
	var report CopyReport
	for _, t := range c.tables {
		report.Tables = append(report.Tables, t.report)
	}
	return report, err
}

// copier is one run of Copy.
type copier struct {
	from    *gorm.DB // a transaction on the source
	to      *gorm.DB
	options CopyOptions
	tables  []*copyTable
}

func (c *copier) run(ctx context.Context, from *gorm.DB) error {
	if err := c.prepare(ctx, from); err != nil {
		return err
	}
	// All passes read one state of the source. A transaction of the caller is used with
	// the isolation that it has.
	c.from = begin(ctx, from)
	if !inTransaction(from) {
		c.from = c.from.Begin(&sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
		if c.from.Error != nil {
			return c.from.Error
		}
		defer c.from.Rollback()
	}
	for _, pass := range []func(context.Context) error{c.check, c.write, c.verify} {
		if err := pass(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prepare checks the options, inspects the tables of the source, and creates those of
// the target.
func (c *copier) prepare(ctx context.Context, from *gorm.DB) error {
	switch o := &c.options; {
	case o.BatchRows < 0 || o.BatchRows > maxBatch:
		return &InvalidError{"BatchRows", fmt.Sprintf("is %d, 0 to %d are allowed", o.BatchRows, maxBatch)}
	case o.Prune && o.Merge:
		return &InvalidError{"Prune", "and Merge exclude each other"}
	case o.BatchRows == 0:
		o.BatchRows = defaultBatch
	}
	if sameDatabase(from, c.to) {
		return &InvalidError{"source", "and target are one database"}
	}

	c.tables = copiedTables()
	var stores []*Table
	own := len(c.tables) + 1 // the tables of Migrate come first
	for _, spec := range append([]TableSpec{{Name: TableEntry{}.TableName()}}, c.options.Tables...) {
		store, err := NewTable(c.to, spec)
		if err != nil {
			return err
		}
		spec = store.Spec()
		if j := slices.IndexFunc(c.tables, func(t *copyTable) bool { return t.name == spec.Name }); j >= 0 {
			if j >= own || spec.KeyColumn != "key" || spec.ValueColumn != "value" {
				return &InvalidError{"table", spec.Name + " is named twice"}
			}
			continue // table_entries is copied anyway
		}
		if len(c.tables) >= own {
			stores = append(stores, store)
		}
		c.tables = append(c.tables, &copyTable{name: spec.Name, columns: []copyColumn{
			{name: spec.KeyColumn, kind: keyKind, most: MaxKeyBytes}, {name: spec.ValueColumn, kind: textKind, most: MaxValueBytes}}})
	}

	for i, t := range c.tables {
		t.source, t.report.Table = t.name, t.name
		if i == 0 {
			name, err := quotaTable(begin(ctx, from))
			if err != nil {
				return fmt.Errorf("source: %w", err)
			}
			t.source = name
		}
		found, err := hasTable(begin(ctx, from), t.source)
		if err != nil {
			return err
		}
		if !found {
			if i >= own {
				return fmt.Errorf("source table %s: %w", t.source, ErrNotFound)
			}
			t.report.Missing = true
			continue
		}
		if err := t.inspect(begin(ctx, from), c.options.IgnoreColumns); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(c.tables, func(t *copyTable) bool { return !t.report.Missing }) {
		return fmt.Errorf("source has none of the tables: %w", ErrNotFound)
	}

	if err := migrate(ctx, c.to); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	name, err := quotaTable(begin(ctx, c.to))
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	c.tables[0].name = name
	for _, t := range c.tables {
		t.report.Table = t.name
	}
	for _, store := range stores {
		if err := store.Migrate(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sameDatabase reports whether both handles use one pool.
func sameDatabase(a, b *gorm.DB) bool {
	if a == b {
		return true
	}
	x, errX := a.DB()
	y, errY := b.DB()
	return errX == nil && errY == nil && x == y
}
