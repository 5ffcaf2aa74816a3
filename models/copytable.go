package models

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
)

// copyTable is one table of a run of Copy.
type copyTable struct {
	source   string // the name in the source
	name     string // the name in the target
	columns  []copyColumn
	key      []int // the columns of the target's primary key; nil if it has none
	rule     bool  // texts must be valid on the target: UTF-8 without NUL
	create   bool  // the target does not have the table, and Copy creates it
	distinct bool  // the source has no key twice
	report   TableReport
	extra    []copyRow // rows that only the target has, as the check found; only their keys
}

// copyColumn is a column of a copyTable.
type copyColumn struct {
	source  string     // the name in the source; "" if the source does not have the column
	name    string     // the name in the target
	from    columnKind // the kind in the source
	kind    columnKind // the kind in the target
	own     bool       // of this package's tables: a value of any type is taken for what it means
	digits  int        // of a time: digits of the fraction of a second
	most    int        // the limit of a text in bytes; 0 means none
	blobs   bool       // a blob stays one: SQLite stores it in a column of any type
	zero    bool       // the target has the zero time, which otherwise becomes NULL
	notNull bool       // NOT NULL in the target
	empty   any        // the value for NULL, or nil
}

// copyRow is a row with its converted values, in the order of copyTable.columns.
type copyRow struct {
	values []any
	bad    error // the reason why the row cannot be copied
}

// keyID identifies the key of a row. SQLite may have both 1 and '1' as keys.
func (t *copyTable) keyID(row copyRow) [sha256.Size]byte {
	key := make([]any, len(t.key))
	for i, n := range t.key {
		key[i] = row.values[n]
	}
	return digest(key)
}

// keyOf returns the key of a row for a message.
func (t *copyTable) keyOf(row copyRow) string {
	if len(t.key) == 1 {
		if s, ok := row.values[t.key[0]].(string); ok {
			return s
		}
	}
	var parts []string
	for _, n := range t.key {
		switch v := row.values[n].(type) {
		case string:
			parts = append(parts, fmt.Sprintf("%q", v))
		case blob:
			parts = append(parts, fmt.Sprintf("x'%x'", string(v)))
		default:
			parts = append(parts, fmt.Sprint(v))
		}
	}
	return strings.Join(parts, ", ")
}

// digest returns a hash of a row's values. Rows with equal values have equal digests.
func digest(values []any) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, value := range values {
		if value == 0.0 { // or -0.0
			value = 0.0
		}
		text := fmt.Sprintf("%T %v", value, value)
		fmt.Fprintf(h, "%d %s ", len(text), text)
	}
	h.Sum(sum[:0])
	return sum
}

// A copySide is a table in the source or in the target.
type copySide struct {
	*copyTable
	isSource bool
}

func (t *copyTable) from() copySide { return copySide{t, true} }
func (t *copyTable) to() copySide   { return copySide{t, false} }

func (s copySide) table(db *gorm.DB) string {
	if s.isSource {
		return quoted(db, s.source)
	}
	return quoted(db, s.name)
}

func (s copySide) column(c copyColumn) string {
	if s.isSource {
		return c.source
	}
	return c.name
}

func (s copySide) count(db *gorm.DB) (n int64, err error) {
	err = db.Raw("SELECT COUNT(*) FROM " + s.table(db)).Scan(&n).Error
	return n, s.failed(err)
}

// failed adds the name of the table to an error of reading it.
func (s copySide) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case s.isSource:
		return fmt.Errorf("source table %s: %w", s.source, err)
	}
	return fmt.Errorf("target table %s: %w", s.name, err)
}

// selection returns a query for all rows.
func (s copySide) selection(db *gorm.DB) string {
	var columns []string
	for _, c := range s.columns {
		name := s.column(c)
		switch {
		case name == "":
			columns = append(columns, "NULL")
		case sqliteDialect(db):
			// Drivers convert a value to the declared type of its column: BOOLEAN 2 to true,
			// and a time that they cannot read to year 1. An expression has no such type.
			columns = append(columns, "+"+quoted(db, name))
		default:
			columns = append(columns, quoted(db, name))
		}
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + s.table(db)
}

// scan reads a row.
func (s copySide) scan(rows *sql.Rows, mysql bool) (row copyRow, size int, err error) {
	values, targets := make([]any, len(s.columns)), make([]any, len(s.columns))
	for i := range values {
		targets[i] = &values[i]
	}
	if err := rows.Scan(targets...); err != nil {
		return row, 0, err
	}
	row.values = values
	for i, c := range s.columns {
		switch v := values[i].(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		}
		from := c.kind
		if s.isSource {
			from = c.from
		}
		if b, ok := values[i].([]byte); ok && (mysql && from != blobKind) {
			values[i] = string(b) // the driver returns texts as bytes
		} else if ok && c.blobs {
			c.kind = anyKind
		}
		converted, err := c.convert(values[i], from)
		switch {
		case err != nil:
			values[i] = fmt.Sprintf("%v", values[i])
			row.bad = &InvalidError{c.name, err.Error()}
		case converted == nil:
			values[i] = c.empty
		default:
			values[i] = converted
		}
	}
	if s.isSource && row.bad == nil {
		row.bad = s.valid(row)
	}
	return row, size, nil
}

// valid checks that every database accepts a row of the source, and that no column
// which is NOT NULL in the target gets NULL.
func (t *copyTable) valid(row copyRow) error {
	for i, c := range t.columns {
		switch v := row.values[i].(type) {
		case nil:
			switch {
			case c.notNull && c.kind == timeKind && !c.zero:
				return &InvalidError{c.name, "is NULL or the zero time, and the target's column is NOT NULL"}
			case c.notNull:
				return &InvalidError{c.name, "is NULL, and the target's column is NOT NULL"}
			}
		case string:
			if !t.rule {
				continue
			}
			most := c.most
			if most == 0 {
				most = len(v)
			}
			if err := checkText(c.name, v, most); err != nil {
				return err
			}
		case time.Time:
			if v.IsZero() {
				continue
			}
			if err := checkYear(c.name, v); err != nil {
				return err
			}
		}
	}
	for _, n := range t.key {
		if row.values[n] == nil {
			return &InvalidError{t.columns[n].name, "is NULL in a key"}
		}
	}
	return nil
}

// each calls fn with all rows of the table, in batches.
func (s copySide) each(ctx context.Context, db *gorm.DB, batch int, fn func(rows []copyRow) error) error {
	var rows []copyRow
	bytes := 0
	var flushed error // the error of fn
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		flushed = fn(rows)
		rows, bytes = nil, 0
		return flushed
	}
	err := eachRow(db.Raw(s.selection(db)), func(r *sql.Rows) error {
		row, size, err := s.scan(r, db.Name() == mysqlDialect)
		if err != nil {
			return err
		}
		rows, bytes = append(rows, row), bytes+size
		if len(rows) < batch && bytes <= maxBatchBytes {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return flush()
	})
	switch {
	case flushed != nil:
		return err
	case err != nil:
		return s.failed(err)
	}
	return flush()
}

// fetch returns the rows with the keys of the given rows, by keyID.
func (s copySide) fetch(db *gorm.DB, rows []copyRow) (map[[sha256.Size]byte]copyRow, error) {
	there := make(map[[sha256.Size]byte]copyRow, len(rows))
	if len(rows) == 0 {
		return there, nil
	}
	condition, vars := s.keys(db, rows)
	err := eachRow(db.Raw(s.selection(db)+" WHERE "+condition, vars...), func(r *sql.Rows) error {
		row, _, err := s.scan(r, db.Name() == mysqlDialect)
		if err == nil {
			there[s.keyID(row)] = row
		}
		return err
	})
	return there, s.failed(err)
}

// keys returns the condition that a row has the key of one of the given rows.
func (s copySide) keys(db *gorm.DB, rows []copyRow) (condition string, vars []any) {
	names := make([]string, len(s.key))
	for i, n := range s.key {
		names[i] = quoted(db, s.column(s.columns[n]))
	}
	one := strings.TrimSuffix(strings.Repeat("?, ", len(s.key)), ", ")
	for _, row := range rows {
		for _, n := range s.key {
			vars = append(vars, row.values[n])
		}
	}
	if len(s.key) == 1 {
		return names[0] + " IN (" + strings.TrimSuffix(strings.Repeat("?, ", len(rows)), ", ") + ")", vars
	}
	all := strings.TrimSuffix(strings.Repeat("("+one+"), ", len(rows)), ", ")
	if sqliteDialect(db) {
		all = "VALUES " + all // SQLite has no list of rows
	}
	return "(" + strings.Join(names, ", ") + ") IN (" + all + ")", vars
}

// insert inserts rows into the target.
func (t *copyTable) insert(tx *gorm.DB, rows []copyRow) error {
	if len(rows) == 0 {
		return nil
	}
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = quoted(tx, c.name)
	}
	one := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ") + ")"
	var vars []any
	for _, row := range rows {
		vars = append(vars, row.values...)
	}
	overriding := ""
	if tx.Name() == postgresDialect {
		overriding = " OVERRIDING SYSTEM VALUE" // for GENERATED ALWAYS AS IDENTITY
	}
	err := tx.Exec("INSERT INTO "+quoted(tx, t.name)+" ("+strings.Join(names, ", ")+")"+overriding+" VALUES "+
		strings.TrimSuffix(strings.Repeat(one+", ", len(rows)), ", "), vars...).Error
	if isDuplicate(tx, err) {
		return fmt.Errorf("target table %s: another program inserted a row, or the table does not compare keys by bytes: %w (%w)", t.name, ErrConflict, err)
	}
	if err != nil {
		return fmt.Errorf("target table %s: %w", t.name, err)
	}
	return nil
}

// replace updates the row of the target with the key of row.
func (t *copyTable) replace(tx *gorm.DB, row copyRow) error {
	var sets []string
	var vars []any
	for i, c := range t.columns {
		if !t.inKey(i) {
			sets, vars = append(sets, quoted(tx, c.name)+" = ?"), append(vars, row.values[i])
		}
	}
	condition, key := t.to().keys(tx, []copyRow{row})
	err := tx.Exec("UPDATE "+quoted(tx, t.name)+" SET "+strings.Join(sets, ", ")+" WHERE "+condition, append(vars, key...)...).Error
	if err != nil {
		return fmt.Errorf("target table %s, row %s: %w", t.name, brief(t.keyOf(row)), err)
	}
	return nil
}

func (t *copyTable) inKey(column int) bool {
	for _, n := range t.key {
		if n == column {
			return true
		}
	}
	return false
}

// counter returns the last key that SQLite's AUTOINCREMENT has given out in the source,
// or 0.
func (t *copyTable) counter(from *gorm.DB) (last int64, err error) {
	if !sqliteDialect(from) {
		return 0, nil
	}
	if found, err := hasTable(from, "sqlite_sequence"); !found || err != nil {
		return 0, err
	}
	err = from.Raw("SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = ? AND typeof(seq) = 'integer'", t.source).Row().Scan(&last)
	return last, err
}

// setSequences sets the target's counters behind last and the highest keys, and never
// back. SQLite and MySQL do so at each INSERT, for the keys that are there.
func (t *copyTable) setSequences(tx *gorm.DB, last int64) error {
	switch {
	case sqliteDialect(tx) && last > 0:
		return t.setCounter(tx, last)
	case tx.Name() != postgresDialect:
		return nil
	}
	for i, c := range t.columns {
		if c.kind != intKind {
			continue
		}
		var sequence sql.NullString
		if err := tx.Raw("SELECT pg_get_serial_sequence(?, ?)", quoted(tx, t.name), c.name).Row().Scan(&sequence); err != nil {
			return err
		}
		if !sequence.Valid {
			continue
		}
		var highest int64
		if err := tx.Raw("SELECT COALESCE(MAX(" + quoted(tx, c.name) + "), 0) FROM " + quoted(tx, t.name)).Row().Scan(&highest); err != nil {
			return err
		}
		if len(t.key) == 1 && t.inKey(i) {
			highest = max(highest, last)
		}
		if highest < 1 {
			continue
		}
		err := tx.Exec("SELECT setval(CAST(? AS regclass), GREATEST(?, COALESCE(pg_sequence_last_value(CAST(? AS regclass)), 0)))",
			sequence.String, highest, sequence.String).Error
		if err != nil {
			return fmt.Errorf("sequence %s: %w", sequence.String, err)
		}
	}
	return nil
}

// setCounter sets SQLite's counter of an AUTOINCREMENT table to last, unless it is ahead.
// SQLite has no row for a table that never had one. A row for a table that has the word
// elsewhere in its statement would mean nothing.
func (t *copyTable) setCounter(tx *gorm.DB, last int64) error {
	if found, err := hasTable(tx, "sqlite_sequence"); !found || err != nil {
		return err
	}
	if err := tx.Exec("UPDATE sqlite_sequence SET seq = ? WHERE name = ? AND seq < ?", last, t.name, last).Error; err != nil {
		return err
	}
	return tx.Exec(`INSERT INTO sqlite_sequence (name, seq) SELECT name, ? FROM sqlite_master
		WHERE type = 'table' AND name = ? AND sql LIKE '%autoincrement%' AND name NOT IN (SELECT name FROM sqlite_sequence)`, last, t.name).Error
}
