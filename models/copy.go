package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// CopyOptions is how [Copy] copies. The zero value copies the tables of [All] into
// a target that holds nothing else.
type CopyOptions struct {
	// Tables are key-value tables to copy besides those of [All]. The source must
	// have them.
	Tables []TableSpec

	// BatchRows is the most rows in one transaction. 0: 500. At most 5000. A
	// batch also ends after 4 MiB.
	BatchRows int

	// Overwrite replaces rows of the target that have a key of the source and
	// other content. Without it they are a [ConflictError].
	Overwrite bool

	// Prune removes rows of the target whose keys the source does not have, Merge
	// leaves them there. Without either they are a [ConflictError].
	Prune, Merge bool

	// IgnoreColumns leaves columns behind that the models do not know, such as
	// Madmail's first_login_at. Without it they are an [InvalidError].
	IgnoreColumns bool

	// Progress is called from the goroutine that called Copy, after each batch
	// and once for an empty table. It may be nil.
	Progress func(CopyProgress)
}

// CopyPhase is a pass of [Copy] over all tables.
type CopyPhase string

// The passes, in this order.
const (
	CopyCheck  CopyPhase = "check"  // read the source, compare with the target, write nothing
	CopyWrite  CopyPhase = "write"  // write what the target lacks
	CopyVerify CopyPhase = "verify" // read both again and compare
)

// CopyProgress tells how far [Copy] is with a table.
type CopyProgress struct {
	Phase CopyPhase // what is being done
	Table string    // to which table
	Done  int64     // rows of the source this pass is through with
	Total int64     // rows of the source
}

// CopyReport is what [Copy] did.
type CopyReport struct {
	Tables []TableReport // in the order in which they were copied
}

// TableReport is what [Copy] did with one table, in rows.
type TableReport struct {
	Table    string // its name
	Missing  bool   // the source has no such table; the target's is left as it is, or made
	Rows     int64  // in the source, all of which the target holds if Copy returned nil
	Equal    int64  // were in the target already, from an earlier run for instance
	Inserted int64  // were written
	Replaced int64  // were written in place of others (Overwrite)
	Removed  int64  // of the target, which the source does not have (Prune)
	Kept     int64  // of the target, which the source does not have (Merge)
}

const (
	defaultBatch   = 500
	maxBatch       = 5000    // times 4 columns: SQLite takes 32766 parameters in a statement
	maxBatchBytes  = 4 << 20 // with the row that crosses it, half of MariaDB's default packet
	namedConflicts = 10
)

// Copy copies quotas, contacts and key-value tables from one database to another,
// for the day a server moves from SQLite to PostgreSQL or MySQL, or back.
//
//	report, err := models.Copy(ctx, from, to, models.CopyOptions{
//		Tables: []models.TableSpec{{Name: "passwords"}},
//	})
//
// It makes three passes. The first reads the whole source and compares it with the
// target: rows that break the package's rule, columns that would be left behind,
// and rows of the target that are in the way are errors, all of them at once and
// before anything is written. The second writes in batches, each a transaction on
// the target. The third reads source and target again: Copy returns nil only if
// each row of the source is in the target with equal content and, unless Merge is
// set, the counts are equal.
//
// The source is read in one transaction, as it was when Copy began, and is not
// changed; what a running server writes to it later is not copied, so stop the
// server first. The tables of the target are made by [Migrate] and
// [Table.Migrate]. A table of [All] that the source lacks is reported as Missing;
// a named one is [ErrNotFound].
//
// After an error, or a context that ended, the target holds the batches written so
// far, each whole. Running Copy again goes on from there: rows that are equal
// already are left alone. If the source has changed since, Overwrite and Prune
// bring the target up to it.
//
// NULL is copied as 0 or the empty string, a creation date of NULL stays NULL, and
// dates are cut to milliseconds.
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

// copyTable is one table of a run: a key column and up to three others.
type copyTable struct {
	name    string
	columns []copyColumn // the key first
	order   clause.Expr  // the source's key, sorting by bytes
	report  TableReport
	extra   int64 // rows of the target that the source does not have, as counted by the check
}

type copyColumn struct {
	name string
	kind columnKind
	most int // bytes, of text
}

type columnKind int

const (
	keyKind  columnKind = iota // string
	textKind                   // string
	intKind                    // int64
	timeKind                   // time.Time, or nil
)

// copyRow is a row with its values in the order of copyTable.columns, brought into
// one form: comparable with ==, equal when the content is.
type copyRow struct {
	key    string
	values []any
}

func (c *copier) run(ctx context.Context, from *gorm.DB) error {
	if err := c.prepare(ctx, from); err != nil {
		return err
	}
	// One state of the source for all passes. A transaction of the caller's will
	// have to do as it is.
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

// prepare checks the options, looks which tables the source has, and makes those
// of the target.
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

	c.tables = []*copyTable{
		{name: Quota{}.TableName(), columns: []copyColumn{{"username", keyKind, 0}, {"max_storage", intKind, 0}, {"created_at", intKind, 0}}},
		{name: Contact{}.TableName(), columns: []copyColumn{{"slug", keyKind, 0}, {"url", textKind, MaxURLBytes},
			{"name", textKind, MaxContactNameBytes}, {"created_at", timeKind, 0}}},
	}
	var stores []*Table
	const own = 3 // the tables that All has come first
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
			continue // table_entries, which is copied anyway
		}
		if len(c.tables) >= own {
			stores = append(stores, store)
		}
		c.tables = append(c.tables, &copyTable{name: spec.Name, columns: []copyColumn{
			{spec.KeyColumn, keyKind, 0}, {spec.ValueColumn, textKind, MaxValueBytes}}})
	}

	for i, t := range c.tables {
		t.report.Table = t.name
		found, err := hasTable(begin(ctx, from), t.name)
		if err != nil {
			return err
		}
		if !found {
			if i >= own {
				return fmt.Errorf("source table %s: %w", t.name, ErrNotFound)
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
	for _, store := range stores {
		if err := store.Migrate(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sameDatabase reports whether both are on one pool.
func sameDatabase(a, b *gorm.DB) bool {
	if a == b {
		return true
	}
	x, errX := a.DB()
	y, errY := b.DB()
	return errX == nil && errY == nil && x == y
}

// inspect compares the columns of the source with those we know.
func (t *copyTable) inspect(from *gorm.DB, ignore bool) error {
	query := func() (*sql.Rows, error) {
		return from.Raw("SELECT * FROM ? WHERE 1 = 0", clause.Table{Name: t.name}).Rows()
	}
	rows, err := query()
	if err != nil {
		// PostgreSQL refuses a statement that its driver had prepared before the
		// table got another column; the driver then forgets the statement.
		rows, err = query()
	}
	if err != nil {
		return err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	missing := slices.Clone(t.columns)
	var unknown []string
	t.order = keyOrder(from, t.columns[0].name)
	for _, column := range types {
		known := func(c copyColumn) bool { return strings.EqualFold(c.name, column.Name()) }
		if !slices.ContainsFunc(t.columns, known) {
			unknown = append(unknown, column.Name())
			continue
		}
		missing = slices.DeleteFunc(missing, known)
		// A table that was not made by these models has text for a key, with a
		// collation of its own.
		if strings.EqualFold(column.Name(), t.columns[0].name) && from.Name() == mysqlDialect && column.DatabaseTypeName() != "VARBINARY" {
			t.order.SQL = "CAST(? AS BINARY)"
		}
	}
	if len(missing) > 0 {
		return &InvalidError{"source table " + t.name, "has no column " + missing[0].name}
	}
	if len(unknown) > 0 && !ignore {
		return &InvalidError{"source table " + t.name, "has columns that would be left behind (CopyOptions.IgnoreColumns does so): " +
			strings.Join(unknown, ", ")}
	}
	return rows.Err()
}

// check finds all that is in the way, and writes nothing.
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
				*found = append(*found, fmt.Errorf("source table %s, row %s: %w", t.name, brief(row.key), err))
			}
			return true
		})
		there, err := ask(ctx, c.to, func(tx *gorm.DB) (map[string]copyRow, error) { return t.fetch(tx, rows) })
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
		return err // what the target has of a table that the source lacks is left alone
	}
	if bad > namedConflicts {
		*found = append(*found, fmt.Errorf("source table %s has %d rows that cannot be copied: %w", t.name, bad, ErrInvalid))
	}
	count, err := ask(ctx, c.to, t.count)
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

// write brings the target up to the source.
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

// writeBatch writes what the target lacks of rows, in the transaction tx.
func (c *copier) writeBatch(tx *gorm.DB, t *copyTable, rows []copyRow) (done TableReport, err error) {
	there, err := t.fetch(tx, rows)
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
		default: // it was not there, or equal, when check looked
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
			return done, fmt.Errorf("target table %s: a row appeared while it was copied, or the table compares keys otherwise than by bytes: %w (%w)",
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

// verify reads both databases again.
func (c *copier) verify(ctx context.Context) error {
	for _, t := range c.tables {
		var rowsSeen, differ int64
		var first string
		err := c.walk(ctx, CopyVerify, t, func(rows []copyRow) error {
			there, err := ask(ctx, c.to, func(tx *gorm.DB) (map[string]copyRow, error) { return t.fetch(tx, rows) })
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
		count, err := ask(ctx, c.to, t.count)
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

// walk calls fn with all rows of the source, in batches ordered by key.
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
	if progress.Total, err = t.count(c.from); err != nil {
		return err
	}
	if progress.Total == 0 {
		report()
	}
	var last *string
	for {
		rows, err := t.page(c.from, t.order, last, c.options.BatchRows)
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
		return &InvalidError{"source table " + t.name,
			fmt.Sprintf("has %d rows of which %d can be reached by key", progress.Total, progress.Done)}
	}
	return nil
}

// errEnough ends eachExtra early, without an error.
var errEnough = errors.New("enough")

// eachExtra calls fn with the keys of the target that the source does not have, in
// batches.
func (c *copier) eachExtra(ctx context.Context, t *copyTable, fn func(keys []string) error) error {
	order := keyOrder(c.to, t.columns[0].name)
	var last *string
	for {
		rows, err := ask(ctx, c.to, func(tx *gorm.DB) ([]copyRow, error) { return t.page(tx, order, last, c.options.BatchRows) })
		if err != nil || len(rows) == 0 {
			return err
		}
		last = &rows[len(rows)-1].key
		there, err := t.fetch(c.from, rows)
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

// ask is run for a query with a result.
func ask[T any](ctx context.Context, db *gorm.DB, query func(tx *gorm.DB) (T, error)) (result T, err error) {
	err = run(ctx, db, func(tx *gorm.DB) (err error) {
		result, err = query(tx)
		return err
	})
	return result, err
}

func (t *copyTable) count(db *gorm.DB) (n int64, err error) {
	err = db.Raw("SELECT COUNT(*) FROM ?", clause.Table{Name: t.name}).Scan(&n).Error
	return n, err
}

// selection is the beginning of a query for all columns, and its variables.
func (t *copyTable) selection() (string, []any) {
	vars := make([]any, 0, len(t.columns)+4)
	for _, column := range t.columns {
		vars = append(vars, clause.Column{Name: column.name})
	}
	return "SELECT " + strings.Repeat("?, ", len(t.columns)-1) + "? FROM ?", append(vars, clause.Table{Name: t.name})
}

// page returns the rows that follow the key last, nil for the first ones: at most
// limit, and not many more than maxBatchBytes.
func (t *copyTable) page(db *gorm.DB, order clause.Expr, last *string, limit int) ([]copyRow, error) {
	query, vars := t.selection()
	if last != nil {
		query += " WHERE ? > ?"
		vars = append(vars, order, *last)
	}
	query += " ORDER BY ? LIMIT ?"
	rows, err := t.scan(db.Raw(query, append(vars, order, limit)...), maxBatchBytes)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if last != nil && rows[i].key <= *last {
			return nil, &InvalidError{"table " + t.name, fmt.Sprintf("holds the key %s twice, or does not sort by bytes", brief(rows[i].key))}
		}
		last = &rows[i].key
	}
	return rows, nil
}

// fetch returns the rows that have the keys of those given.
func (t *copyTable) fetch(db *gorm.DB, rows []copyRow) (map[string]copyRow, error) {
	keys := make([]string, len(rows))
	for i, row := range rows {
		keys[i] = row.key
	}
	query, vars := t.selection()
	found, err := t.scan(db.Raw(query+" WHERE ? IN ?", append(vars, clause.Column{Name: t.columns[0].name}, keys)...), 0)
	if err != nil {
		return nil, err
	}
	there := make(map[string]copyRow, len(found))
	for _, row := range found {
		there[row.key] = row
	}
	return there, nil
}

// scan reads the rows of a query, and stops after the one that makes them more
// than the given number of bytes, unless that is 0.
func (t *copyTable) scan(query *gorm.DB, bytes int) ([]copyRow, error) {
	rows, err := query.Rows()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []copyRow
	size := 0
	for rows.Next() {
		targets := make([]any, len(t.columns))
		for i, column := range t.columns {
			switch column.kind {
			case keyKind, textKind:
				targets[i] = new(sql.NullString)
			case intKind:
				targets[i] = new(sql.NullInt64)
			case timeKind:
				targets[i] = new(sql.NullTime)
			}
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, fmt.Errorf("table %s: %w", t.name, err)
		}
		row := copyRow{values: make([]any, len(targets))}
		for i, target := range targets {
			switch v := target.(type) {
			case *sql.NullString:
				if t.columns[i].kind == keyKind {
					if !v.Valid {
						return nil, &InvalidError{"table " + t.name, "has a row whose key is NULL"}
					}
					row.key = v.String
				}
				row.values[i] = v.String
				size += len(v.String)
			case *sql.NullInt64:
				row.values[i] = v.Int64
			case *sql.NullTime:
				if !v.Time.IsZero() {
					row.values[i] = storedTime(v.Time)
				}
			}
		}
		if out = append(out, row); bytes > 0 && size > bytes {
			break
		}
	}
	return out, errors.Join(rows.Err(), rows.Close())
}

// valid holds the package's rule against a row of the source.
func (t *copyTable) valid(row copyRow) error {
	for i, column := range t.columns {
		switch v := row.values[i].(type) {
		case string:
			most := column.most
			if column.kind == keyKind {
				most = MaxKeyBytes
			}
			if err := checkText(column.name, v, most); err != nil {
				return err
			}
		case time.Time:
			if y := v.Year(); y < 1000 || y > 9999 { // MySQL's range
				return &InvalidError{column.name, fmt.Sprintf("is in the year %d, 1000 to 9999 are allowed", y)}
			}
		}
	}
	return nil
}
