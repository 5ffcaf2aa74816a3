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
	source  string       // the name in the source
	name    string       // the name in the target
	columns []copyColumn // the key first
	order   clause.Expr  // the key in the source, as an expression that sorts by bytes
	report  TableReport
	extra   int64 // number of rows that only the target has, as the check counted
}

type copyColumn struct {
	name     string
	kind     columnKind
	most     int  // the limit of a text, in bytes
	optional bool // older tables do not have the column
	absent   bool // the source does not have the column, and its value is empty
}

type columnKind int

const (
	keyKind  columnKind = iota // string
	textKind                   // string
	intKind                    // int64
	timeKind                   // time.Time, nil for NULL, or an unreadable
)

// An unreadable is the value of a time that cannot be parsed.
type unreadable string

// copiedTables returns the tables of the models, without the key-value table.
func copiedTables() []*copyTable {
	key := func(name string) copyColumn { return copyColumn{name: name, kind: keyKind, most: MaxKeyBytes} }
	text := func(name string, most int) copyColumn { return copyColumn{name: name, kind: textKind, most: most} }
	number := func(name string) copyColumn { return copyColumn{name: name, kind: intKind} }
	stamp := func(name string) copyColumn { return copyColumn{name: name, kind: timeKind} }
	optional := func(c copyColumn) copyColumn { c.optional = true; return c }
	return []*copyTable{
		{name: Quota{}.TableName(), columns: []copyColumn{key("username"), number("max_storage"), number("created_at"),
			optional(number("first_login_at")), optional(number("last_login_at")), optional(text("used_token", MaxKeyBytes))}},
		{name: Contact{}.TableName(), columns: []copyColumn{key("slug"), text("url", MaxURLBytes), text("name", MaxContactNameBytes), stamp("created_at")}},
		{name: BlockedUser{}.TableName(), columns: []copyColumn{key("username"), text("reason", MaxValueBytes), stamp("blocked_at")}},
		{name: RegistrationToken{}.TableName(), columns: []copyColumn{key("token"), number("max_uses"), number("used_count"),
			text("comment", MaxValueBytes), stamp("created_at"), stamp("expires_at")}},
	}
}

// copyRow is a row with its values in the order of copyTable.columns. Equal values
// compare equal with ==, from any database.
type copyRow struct {
	key    string
	values []any
}

// inspect compares the columns of the source with those of the model.
func (t *copyTable) inspect(from *gorm.DB, ignore bool) error {
	missing := slices.Clone(t.columns)
	var unknown []string
	t.order = keyOrder(from, t.columns[0].name)
	err := eachColumn(from, t.source, func(column *sql.ColumnType) {
		known := func(c copyColumn) bool { return strings.EqualFold(c.name, column.Name()) }
		if !slices.ContainsFunc(t.columns, known) {
			unknown = append(unknown, column.Name())
			return
		}
		missing = slices.DeleteFunc(missing, known)
		// In a table of another program the key may be text with any collation.
		if strings.EqualFold(column.Name(), t.columns[0].name) && from.Name() == mysqlDialect && column.DatabaseTypeName() != "VARBINARY" {
			t.order.SQL = "CAST(? AS BINARY)"
		}
	})
	if err != nil {
		return err
	}
	for _, column := range missing {
		if !column.optional {
			return &InvalidError{"source table " + t.source, "has no column " + column.name}
		}
		n := slices.Index(t.columns, column)
		t.columns[n].absent = true
	}
	if len(unknown) > 0 && !ignore {
		return &InvalidError{"source table " + t.source, "has columns that the model does not have (CopyOptions.IgnoreColumns leaves them out): " +
			strings.Join(unknown, ", ")}
	}
	return nil
}

// A copySide is a table in the source or in the target.
type copySide struct {
	*copyTable
	isSource bool
}

func (t *copyTable) from() copySide { return copySide{t, true} }
func (t *copyTable) to() copySide   { return copySide{t, false} }

// table returns the table's name on this side.
func (s copySide) table() clause.Table {
	if s.isSource {
		return clause.Table{Name: s.source}
	}
	return clause.Table{Name: s.name}
}

func (s copySide) count(db *gorm.DB) (n int64, err error) {
	err = db.Raw("SELECT COUNT(*) FROM ?", s.table()).Scan(&n).Error
	return n, err
}

// selection returns the beginning of a query for all columns, and its variables.
func (s copySide) selection(db *gorm.DB) (string, []any) {
	var columns []string
	var vars []any
	for _, c := range s.columns {
		expression := "?"
		switch {
		case s.isSource && c.absent:
			columns = append(columns, "NULL")
			continue
		case c.kind == timeKind && db.Name() != postgresDialect && db.Name() != mysqlDialect:
			expression = "CAST(? AS TEXT)" // see stamp
		}
		columns, vars = append(columns, expression), append(vars, clause.Column{Name: c.name})
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM ?", append(vars, s.table())
}

// page returns the rows after the key last, or the first rows if last is nil. It returns
// at most limit rows, and stops with the row that exceeds maxBatchBytes.
func (s copySide) page(db *gorm.DB, order clause.Expr, last *string, limit int) ([]copyRow, error) {
	query, vars := s.selection(db)
	if last != nil {
		query += " WHERE ? > ?"
		vars = append(vars, order, *last)
	}
	query += " ORDER BY ? LIMIT ?"
	rows, err := s.scan(db.Raw(query, append(vars, order, limit)...), maxBatchBytes)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if last != nil && rows[i].key <= *last {
			return nil, &InvalidError{"table " + s.table().Name, fmt.Sprintf("has the key %s twice, or does not sort by bytes", brief(rows[i].key))}
		}
		last = &rows[i].key
	}
	return rows, nil
}

// fetch returns the rows with the keys of the given rows.
func (s copySide) fetch(db *gorm.DB, rows []copyRow) (map[string]copyRow, error) {
	keys := make([]string, len(rows))
	for i, row := range rows {
		keys[i] = row.key
	}
	query, vars := s.selection(db)
	found, err := s.scan(db.Raw(query+" WHERE ? IN ?", append(vars, clause.Column{Name: s.columns[0].name}, keys)...), 0)
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
func (s copySide) scan(query *gorm.DB, bytes int) ([]copyRow, error) {
	rows, err := query.Rows()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []copyRow
	size := 0
	for rows.Next() {
		targets := make([]any, len(s.columns))
		for i, column := range s.columns {
			switch column.kind {
			case keyKind, textKind:
				targets[i] = new(sql.NullString)
			case intKind:
				targets[i] = new(sql.NullInt64)
			case timeKind:
				targets[i] = new(any)
			}
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, fmt.Errorf("table %s: %w", s.table().Name, err)
		}
		row := copyRow{values: make([]any, len(targets))}
		for i, target := range targets {
			switch v := target.(type) {
			case *sql.NullString:
				if s.columns[i].kind == keyKind {
					if !v.Valid {
						return nil, &InvalidError{"table " + s.table().Name, "has a row whose key is NULL"}
					}
					row.key = v.String
				}
				row.values[i] = v.String
				size += len(v.String)
			case *sql.NullInt64:
				row.values[i] = v.Int64
			case *any:
				var t stamp
				if err := t.Scan(*v); err != nil {
					row.values[i] = unreadable(fmt.Sprintf("%s", *v))
				} else if !t.IsZero() {
					row.values[i] = storedTime(t.Time)
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
			if err := checkText(column.name, v, column.most); err != nil {
				return err
			}
		case time.Time:
			if err := checkYear(column.name, v); err != nil {
				return err
			}
		case unreadable:
			return &InvalidError{column.name, "is " + brief(string(v)) + ", which is no time"}
		}
	}
	return nil
}
