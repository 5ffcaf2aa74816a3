package models

import (
	"context"
	"database/sql"
	"fmt"

	"gorm.io/gorm"
)

// CopyOptions configures [Copy]. The zero value copies all tables of the source into
// a target without other rows.
type CopyOptions struct {
	// Tables are key-value tables that Copy creates in the target, if it does not have
	// them. The source must have them.
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

	// Exclude names tables ("name") and columns ("table.column") of the source that are
	// not copied, without regard to case.
	Exclude []string

	// DryRun checks the copy and writes nothing. The report has the numbers of rows that
	// would be written, and the error has all that the check finds. What only a write
	// tells is not checked: UNIQUE, CHECK, foreign keys, triggers, keys that the target's
	// collation takes for one, and the lengths and ranges of its types.
	DryRun bool

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
	maxBatch       = 5000
	maxParameters  = 32000   // of a statement; SQLite allows 32766
	maxBatchBytes  = 4 << 20 // with the row that exceeds it, half of MariaDB's default packet
	namedConflicts = 10      // keys or rows of a kind that an error names
)

// Copy copies a database to another one, for instance when a server moves from SQLite to
// PostgreSQL or MySQL, or back.
//
//	report, err := models.Copy(ctx, from, to, models.CopyOptions{
//		Tables: []models.TableSpec{{Name: "passwords"}},
//	})
//
// [Migrate] and [Table.Migrate] create the tables of this package's stores in the target.
// All other tables must exist on both sides: let the server create them in the target
// first. Names of tables and columns match without regard to case. A table or column
// that is only in the source, or matches several, is an error, unless it is excluded by
// name. Madmail's table quota is copied to quotas, unless the target has a table quota.
// Tables of the target that the source does not have stay as they are.
//
// Copy makes three passes:
//
//   - The check compares the whole source with the target, and writes no row. These are
//     errors: a value that cannot be converted, a value that breaks the package's rule,
//     NULL for a column that is NOT NULL in the target, and a key that is in the source
//     twice. A row of the target with a key of the source and other content is an error
//     without Overwrite. A row of the target whose key is not in the source is an error
//     without Prune or Merge. If a table without a primary key has rows in the target,
//     they must be those of the source. Copy returns all errors of the check as one.
//   - The write writes batches, each a transaction on the target. A table comes after
//     those that its foreign keys refer to. A table without a primary key is written in
//     one transaction, if it is empty. PostgreSQL's sequences are set behind the highest
//     key. The counter of an AUTOINCREMENT table of SQLite is carried over to SQLite and
//     PostgreSQL, so that they do not give out a deleted key again. Other counters are
//     not carried over: the target counts on from its highest key.
//   - The verification reads both again. Copy returns nil only if each row of the source
//     is in the target with equal content and, without Merge, the counts are equal.
//
// Rows of SQLite that have no INTEGER PRIMARY KEY get new rowids.
//
// Copy reads the source in one transaction and does not change it. Stop the server
// first: its later writes are not copied. A table of [Migrate] that the source does not
// have is reported as Missing. For a table of CopyOptions.Tables that is [ErrNotFound].
//
// After an error or the end of the context, the target has the batches so far, each
// whole. Call Copy again to continue: it skips equal rows. If the source has changed
// since, Overwrite and Prune make the target equal to it.
//
// Between two SQLite databases a value keeps its type and its bytes, if the target's
// column has the affinity of the source's, or none. This is not so in the stores' tables,
// nor for an INTEGER PRIMARY KEY of the target, which takes integers alone.
// Everywhere else a value is converted to the type of the target's column: integers,
// floating-point numbers, texts, blobs, booleans and times. Other types are an error that
// names the column. A value that would change is an error of the check: 2 for a boolean,
// '05' for a number, NaN. So is a value of another type than its column's, if the copy
// would change its type: a blob in a TEXT column, a text in a BLOB column. Times are
// copied as instants, without their zones. They are truncated to the precision of the
// column, and those of the stores to milliseconds. Go's zero time, in the year 1, is
// copied as NULL to MySQL, which does not have it. Any other year before 1000 is an
// error. In the stores' tables, NULL is copied as 0 or the empty string. A time of NULL
// stays NULL, and the zero time becomes NULL. A blob is taken for a text.
//
// The tests copy between SQLite, PostgreSQL 15 and MariaDB 10.11. Copy reads
// information_schema, and on PostgreSQL pg_constraint and pg_get_serial_sequence. It was
// not tested on other engines that speak these dialects.
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
	from     *gorm.DB // a transaction on the source
	to       *gorm.DB
	options  CopyOptions
	tables   []*copyTable
	problems []error // of the plan, in a dry run
}

func (c *copier) run(ctx context.Context, from *gorm.DB) error {
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
	if err := c.prepare(ctx); err != nil {
		return err
	}
	passes := []func(context.Context) error{c.check, c.write, c.verify}
	if c.options.DryRun {
		passes = passes[:1]
	}
	for _, pass := range passes {
		if err := pass(ctx); err != nil {
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
