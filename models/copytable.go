package models

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// copyTable is one table of a run: a key column and its other columns.
type copyTable struct {
	name    string
	columns []copyColumn // the key first
	order   clause.Expr  // the key in the source, as an expression that sorts by bytes
	report  TableReport
	extra   int64 // number of rows that only the target has, as the check counted
}

type copyColumn struct {
	name string
	kind columnKind
	most int // the limit of a text, in bytes
}

type columnKind int

const (
	keyKind  columnKind = iota // string
	textKind                   // string
	intKind                    // int64
	timeKind                   // time.Time, or nil
)

// copyRow is a row with its values in the order of copyTable.columns. Equal values
// compare equal with ==, from any database.
type copyRow struct {
	key    string
	values []any
}

// inspect compares the columns of the source with those of the model.
func (t *copyTable) inspect(from *gorm.DB, ignore bool) error {
	query := func() (*sql.Rows, error) {
		return from.Raw("SELECT * FROM ? WHERE 1 = 0", clause.Table{Name: t.name}).Rows()
	}
	rows, err := query()
	if err != nil {
		// PostgreSQL refuses a statement that was prepared before the table got another
		// column. Its driver then prepares the statement again.
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
		// In a table of another program the key may be text with any collation.
		if strings.EqualFold(column.Name(), t.columns[0].name) && from.Name() == mysqlDialect && column.DatabaseTypeName() != "VARBINARY" {
			t.order.SQL = "CAST(? AS BINARY)"
		}
	}
	if len(missing) > 0 {
		return &InvalidError{"source table " + t.name, "has no column " + missing[0].name}
	}
	if len(unknown) > 0 && !ignore {
		return &InvalidError{"source table " + t.name, "has columns that the model does not have (CopyOptions.IgnoreColumns leaves them out): " +
			strings.Join(unknown, ", ")}
	}
	return rows.Err()
}

func (t *copyTable) count(db *gorm.DB) (n int64, err error) {
	err = db.Raw("SELECT COUNT(*) FROM ?", clause.Table{Name: t.name}).Scan(&n).Error
	return n, err
}

// selection returns the beginning of a query for all columns, and its variables.
func (t *copyTable) selection() (string, []any) {
	vars := make([]any, 0, len(t.columns)+4)
	for _, column := range t.columns {
		vars = append(vars, clause.Column{Name: column.name})
	}
	return "SELECT " + strings.Repeat("?, ", len(t.columns)-1) + "? FROM ?", append(vars, clause.Table{Name: t.name})
}

// page returns the rows after the key last, or the first rows if last is nil. It returns
// at most limit rows, and stops with the row that exceeds maxBatchBytes.
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

// fetch returns the rows with the keys of the given rows.
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

// scan reads the rows of a query. It stops with the row that exceeds the given number of
// bytes, unless that is 0.
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

// valid checks the package's rule for a row of the source.
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
