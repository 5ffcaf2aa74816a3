package gormdialect

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/migrator"
	"gorm.io/gorm/schema"
)

// columnName returns the column of a model's field. name is the field or the column.
func columnName(stmt *gorm.Statement, name string) string {
	if stmt.Schema != nil {
		if field := stmt.Schema.LookUpField(name); field != nil {
			return field.DBName
		}
	}
	return name
}

// fieldOf returns the field of a model. name is the field or its column.
func fieldOf(stmt *gorm.Statement, name string) (*schema.Field, error) {
	if stmt.Schema == nil {
		return nil, fmt.Errorf("gormdialect: column %s of table %s: the model is needed; a table's name does not define a column", name, stmt.Table)
	}
	field := stmt.Schema.LookUpField(name)
	if field == nil || field.DBName == "" {
		return nil, fmt.Errorf("gormdialect: the model of table %s has no column for %s", stmt.Table, name)
	}
	return field, nil
}

// HasColumn reports whether a table or a view has a column. name is the column or the
// model's field.
func (m Migrator) HasColumn(value any, name string) bool {
	var columns []column
	err := m.RunWithValue(value, func(stmt *gorm.Statement) error {
		name = columnName(stmt, name)
		r, err := find(plain(m.DB), names(value, stmt))
		if err != nil {
			return err
		}
		columns, err = columnsOf(plain(m.DB), r)
		return err
	})
	if err != nil && !errors.Is(err, errNoTable) {
		m.report(err)
	}
	return findColumn(columns, name) != nil
}

// AddColumn adds the column of a field. It rebuilds the table where ALTER TABLE cannot
// add it: for a computed default or a unique column. It is an error if a NATURAL JOIN of
// a view or a trigger would then be by that column, too.
func (m Migrator) AddColumn(value any, name string) error {
	return m.RunWithValue(value, func(stmt *gorm.Statement) error {
		field, err := fieldOf(stmt, name)
		if err != nil || field.IgnoreMigration {
			return err
		}
		r, err := find(plain(m.DB), names(value, stmt))
		if err != nil {
			return err
		}
		if err := notByName(plain(m.DB), r, field.DBName, "added"); err != nil {
			return err
		}
		if err := notVirtual(plain(m.DB), r, field.DBName, "added"); err != nil {
			return err
		}
		definition := backquote(field.DBName) + " " + m.DB.Migrator().FullDataTypeOf(field).SQL
		var altered error
		if !field.Unique {
			altered = m.exec("ALTER TABLE " + r.sql() + " ADD " + definition)
			if altered == nil || m.DB.Statement.Context.Err() != nil {
				return altered
			}
		}
		err = m.change(names(value, stmt), func(_ *session, t *table) (*change, error) {
			if t.column(field.DBName) != nil {
				return nil, fmt.Errorf("gormdialect: table %s has a column %s already", t, field.DBName)
			}
			wanted := t.def.clone()
			added, err := parseColumn(definition)
			if err != nil {
				return nil, fmt.Errorf("gormdialect: column %s of table %s: %w", field.DBName, t, err)
			}
			wanted.columns = append(wanted.columns, added)
			edits := []edit{t.def.appendColumn(definition)}
			if field.Unique {
				sql := m.uniqueConstraint(stmt, field)
				constraint, err := parseConstraint(sql)
				if err != nil {
					return nil, fmt.Errorf("gormdialect: a constraint of table %s: %w", t, err)
				}
				wanted.constraints = append(wanted.constraints, constraint)
				edits = append(edits, t.def.appendConstraint(sql)) // behind the new column
			}
			return &change{sql: apply(t.def.sql, edits), wanted: wanted}, nil
		})
		if err != nil && altered != nil {
			return fmt.Errorf("%w (ALTER TABLE was tried first: %w)", err, altered)
		}
		return err
	})
}

// uniqueConstraint returns the constraint that GORM makes for a unique field, as SQL.
func (m Migrator) uniqueConstraint(stmt *gorm.Statement, field *schema.Field) string {
	for _, c := range stmt.Schema.ParseUniqueConstraints() {
		if c.Field == field {
			return m.build(&c)
		}
	}
	return "UNIQUE (" + backquote(field.DBName) + ")"
}

// DropColumn drops a column, and with it the indexes that use it and the constraints
// on it alone. It is an error if a trigger, a view or a virtual table uses the column,
// or if a CHECK or a generated column uses it and others. Drop those first.
func (m Migrator) DropColumn(value any, name string) error {
	return m.RunWithValue(value, func(stmt *gorm.Statement) error {
		name := columnName(stmt, name)
		return m.change(names(value, stmt), func(s *session, t *table) (*change, error) { return dropColumn(s, t, name) })
	})
}

// dropColumn drops a column. Without a session it looks for what forbids that, except
// in expressions.
func dropColumn(s *session, t *table, name string) (*change, error) {
	col := t.column(name)
	if col == nil {
		return nil, fmt.Errorf("gormdialect: table %s has no column %s", t, name)
	}
	if len(t.columns) == 1 {
		return nil, fmt.Errorf("gormdialect: column %s of table %s cannot be dropped: there are no other columns; drop the table", col.name, t)
	}
	c := &change{dropped: col.name, wanted: t.def.clone()}
	c.wanted.columns = slices.DeleteFunc(c.wanted.columns, func(d columnDef) bool { return fold(d.name.name()) == fold(name) })
	in := &expressions{}
	var err error
	if s != nil {
		if in, err = s.expressionsWith(t, col.name); err != nil {
			return nil, err
		}
	}
	var gone []constraint
	t.def.all(func(other *columnDef, with *constraint) bool {
		if other != nil && fold(other.name.name()) == fold(name) {
			return true
		}
		var alone, involved bool
		if alone, involved, err = involves(s, t, with, col.name, in); err == nil && involved {
			if !alone || other != nil {
				err = fmt.Errorf("gormdialect: column %s of table %s cannot be dropped: %s names it and other columns; drop that first", col.name, t, t.def.sql[with.start:with.end])
			}
			gone = append(gone, *with)
		}
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	def := t.def
	// The places of the constraints before the removed one do not change.
	for _, with := range slices.Backward(gone) {
		n := slices.IndexFunc(def.constraints, func(c constraint) bool { return c.span == with.span })
		sql := apply(def.sql, def.remove(&def.constraints[n]))
		if def, err = parseDefinition(sql); err != nil {
			return nil, fmt.Errorf("gormdialect: table %s: %w", t, err)
		}
		c.wanted.drop(&with)
	}
	c.sql = apply(def.sql, def.removeColumn(def.column(name)))
	for _, i := range t.indexes {
		with := slices.ContainsFunc(i.columns, func(c indexColumn) bool { return fold(c.name) == fold(name) })
		if i.origin == "c" && (with || in.indexes[i.name]) {
			c.indexes = append(c.indexes, i.name)
		}
	}
	if len(gone) == 0 {
		for _, name := range c.indexes {
			c.alter = append(c.alter, "DROP INDEX "+relation{schema: t.schema, name: name}.sql())
		}
		c.alter = append(c.alter, "ALTER TABLE "+t.sql()+" DROP COLUMN "+quote(col.name))
	}
	return c, nil
}

// involves reports whether a constraint uses a column, and whether it uses no other. in
// has the expressions with the column.
func involves(s *session, t *table, c *constraint, column string, in *expressions) (alone, involved bool, err error) {
	if c.kind == check || c.kind == generated {
		if !in.constraints[c.span] {
			return false, false, nil
		}
		for name := range t.def.mentions(c.tokens) {
			if name == fold(column) {
				continue
			}
			if in, err = s.expressionsWith(t, name); err != nil || in.constraints[c.span] {
				return false, true, err
			}
		}
		return true, true, nil
	}
	about := map[string]bool{}
	for _, name := range c.columns {
		about[fold(name)] = true
	}
	if fold(c.parent) == fold(t.def.name.name()) {
		for _, name := range c.refers {
			about[fold(name)] = true
		}
	}
	return len(about) == 1, about[fold(column)], nil
}

// AlterColumn gives a column the type, NOT NULL, DEFAULT and further constraints of
// the model's field. The column keeps its other constraints, and with default:(-) its
// DEFAULT. A primary key whose type becomes INTEGER is an alias of the rowid from then
// on.
func (m Migrator) AlterColumn(value any, name string) error {
	return m.RunWithValue(value, func(stmt *gorm.Statement) error {
		field, err := fieldOf(stmt, name)
		if err != nil {
			return err
		}
		full := m.DB.Migrator().FullDataTypeOf(field).SQL
		return m.change(names(value, stmt), func(_ *session, t *table) (*change, error) { return alterColumn(t, field, full) })
	})
}

func alterColumn(t *table, field *schema.Field, full string) (*change, error) {
	name := field.DBName
	wantedSQL := quote(name) + " " + full
	wanted, err := parseColumn(wantedSQL)
	if err != nil {
		return nil, fmt.Errorf("gormdialect: column %s of table %s: %w", name, t, err)
	}
	col, info := t.def.column(name), t.column(name)
	if col == nil {
		return nil, fmt.Errorf("gormdialect: table %s has no column %s", t, name)
	}
	cut := func(c *constraint) string { return wantedSQL[c.start:c.end] }
	def := t.def.clone()
	become := def.column(name)
	become.dataType = wanted.dataType
	var edits []edit
	add := func(c constraint) {
		c.span = span{} // it is one of wantedSQL
		become.constraints = append(become.constraints, c)
	}
	// remove removes the constraints of a kind. The text of keep stays, for an edit.
	remove := func(kind constraintKind, keep *constraint) {
		for i := range col.constraints {
			if c := &col.constraints[i]; c.kind == kind {
				def.drop(c)
				if c != keep {
					edits = append(edits, edit{span: c.span})
				}
			}
		}
	}
	behindType := col.name.end
	if n := len(col.dataType); n > 0 {
		behindType = col.dataType[n-1].end
	}
	if !sameTokens(col.dataType, wanted.dataType) {
		e := insert(behindType, "")
		if len(col.dataType) > 0 {
			e.start = col.dataType[0].start
		} else {
			e.text = " "
		}
		if n := len(wanted.dataType); n > 0 {
			e.text += wantedSQL[wanted.dataType[0].start:wanted.dataType[n-1].end]
		}
		edits = append(edits, e)
	}
	typeEdits := len(edits)

	alter := ""
	isNotNull, wantNotNull := col.find(notNull), wanted.find(notNull)
	switch {
	case isNotNull == nil && wantNotNull != nil:
		edits = append(edits, insert(behindType, " "+cut(wantNotNull)))
		add(*wantNotNull)
		alter = "SET NOT NULL"
		if col.find(null) != nil {
			remove(null, nil)
			alter = ""
		}
	case isNotNull != nil && wantNotNull == nil && info.key == 0:
		remove(notNull, nil)
		alter = "DROP NOT NULL"
	}
	nullEdits := len(edits)

	for i, c := range wanted.constraints {
		text, is := cut(&c), col.find(c.kind)
		if c.kind != check && c.kind != foreignKey && &wanted.constraints[i] != wanted.find(c.kind) {
			continue // a later one counts
		}
		switch c.kind {
		case notNull, null, nothing:
			continue
		case primaryKey:
			if is == nil && info.key > 0 {
				continue // the key is a table constraint
			}
			autoIncrement := func(c *constraint) bool {
				return slices.ContainsFunc(c.tokens, func(t token) bool { return t.is("AUTOINCREMENT") })
			}
			if is != nil && autoIncrement(is) == autoIncrement(&c) {
				continue
			}
		case unique:
			if is != nil {
				continue
			}
		case check, foreignKey:
			if slices.ContainsFunc(col.constraints, func(o constraint) bool { return sameTokens(o.tokens, c.tokens) }) {
				continue
			}
			is = nil
		case defaultValue:
			if col.find(generated) != nil {
				return nil, fmt.Errorf("gormdialect: column %s of table %s is generated and cannot have a default", name, t)
			}
		}
		switch {
		case is == nil:
			edits = append(edits, insert(col.end, " "+text))
			add(c)
		case !sameTokens(is.tokens, c.tokens):
			remove(c.kind, is)
			edits = append(edits, edit{span{is.tokens[0].start, is.end}, wantedSQL[c.tokens[0].start:c.end]})
			c.name = is.name
			add(c)
		}
	}
	// The tag default:(-) leaves the default to the database.
	if wanted.find(defaultValue) == nil && field.DefaultValue != "(-)" {
		remove(defaultValue, nil)
	}

	if len(edits) == 0 {
		return nil, nil
	}
	c := &change{sql: apply(t.def.sql, edits), wanted: def}
	if typeEdits == 0 && len(edits) == nullEdits && alter != "" {
		c.alter = []string{"ALTER TABLE " + t.sql() + " ALTER COLUMN " + quote(name) + " " + alter}
	}
	return c, nil
}

// RenameColumn renames a column, also in indexes, triggers and views. It is an error if
// a view or a trigger has a NATURAL JOIN that may be by one of the names. It is one too if
// a virtual table reads the column.
func (m Migrator) RenameColumn(value any, oldName, newName string) error {
	return m.RunWithValue(value, func(stmt *gorm.Statement) error {
		r, err := find(plain(m.DB), names(value, stmt))
		if err != nil {
			return err
		}
		columns, err := columnsOf(plain(m.DB), r)
		if err != nil {
			return err
		}
		from, to := columnName(stmt, oldName), columnName(stmt, newName)
		if findColumn(columns, from) == nil {
			return fmt.Errorf("gormdialect: table %s has no column %s", r, from)
		}
		for _, name := range []string{from, to} {
			if err := notByName(plain(m.DB), r, name, "renamed"); err != nil {
				return err
			}
		}
		if err := notVirtual(plain(m.DB), r, from, "renamed"); err != nil {
			return err
		}
		return m.exec("ALTER TABLE " + r.sql() + " RENAME COLUMN " + quote(from) + " TO " + quote(to))
	})
}

// MigrateColumnUnique creates or drops the UNIQUE constraint of a column, as the field
// says. It drops only a constraint with the name that GORM gives one.
func (m Migrator) MigrateColumnUnique(value any, field *schema.Field, columnType gorm.ColumnType) error {
	unique, ok := columnType.Unique()
	if !ok || field.PrimaryKey || unique == field.Unique {
		return nil
	}
	return m.RunWithValue(value, func(stmt *gorm.Statement) error {
		name := m.DB.NamingStrategy.UniqueName(stmt.Table, field.DBName)
		if field.Unique {
			return m.DB.Migrator().CreateConstraint(value, name)
		}
		if !m.DB.Migrator().HasConstraint(value, name) {
			return nil
		}
		return m.DB.Migrator().DropConstraint(value, name)
	})
}

// ColumnTypes returns the columns of a table or a view.
func (m Migrator) ColumnTypes(value any) ([]gorm.ColumnType, error) {
	db := plain(m.DB)
	r, err := m.tableOf(value)
	if err != nil {
		return nil, err
	}
	columns, indexes, err := structureOf(db, r)
	if err != nil {
		return nil, err
	}
	// PRAGMA table_xinfo writes some types in upper case. The text has them as written.
	var def *definition
	if r.kind == "table" {
		if def, err = definitionOf(db, r); err != nil || len(def.columns) != len(columns) {
			def = nil
		}
	}
	scanTypes := map[string]*sql.ColumnType{}
	rows, err := reader(db).Raw("SELECT * FROM " + r.sql() + " LIMIT 1").Rows()
	if err != nil {
		return nil, err
	}
	types, err := rows.ColumnTypes()
	if err := errors.Join(err, rows.Close()); err != nil {
		return nil, err
	}
	for _, t := range types {
		scanTypes[t.Name()] = t
	}

	columnTypes := make([]gorm.ColumnType, 0, len(columns))
	for i, c := range columns {
		if c.hidden == 1 {
			continue
		}
		if def != nil {
			c.dataType = def.text(def.columns[i].dataType)
		}
		t := migrator.ColumnType{
			SQLColumnType:      scanTypes[c.name],
			NameValue:          sql.NullString{String: c.name, Valid: true},
			ColumnTypeValue:    sql.NullString{String: c.dataType, Valid: true},
			PrimaryKeyValue:    sql.NullBool{Bool: c.key > 0, Valid: true},
			AutoIncrementValue: sql.NullBool{Bool: c.key > 0 && def != nil && def.autoIncrement(), Valid: true},
			NullableValue:      sql.NullBool{Bool: !c.notNull, Valid: true},
			UniqueValue: sql.NullBool{Valid: true, Bool: slices.ContainsFunc(indexes, func(i index) bool {
				return i.origin == "u" && len(i.columns) == 1 && i.columns[0].name == c.name
			})},
		}
		var numbers []int64
		t.DataTypeValue.Valid = true
		t.DataTypeValue.String, numbers = splitType(c.dataType)
		switch len(numbers) {
		case 1:
			t.LengthValue = sql.NullInt64{Int64: numbers[0], Valid: true}
		case 2:
			t.DecimalSizeValue = sql.NullInt64{Int64: numbers[0], Valid: true}
			t.ScaleValue = sql.NullInt64{Int64: numbers[1], Valid: true}
		}
		if c.value.Valid && fold(c.value.String) != "null" {
			t.DefaultValueValue = sql.NullString{String: defaultOf(c.value.String), Valid: true}
		}
		columnTypes = append(columnTypes, t)
	}
	return columnTypes, nil
}

// splitType splits a declared type into its name and the numbers in parentheses.
func splitType(dataType string) (name string, numbers []int64) {
	tokens, err := tokenize(dataType)
	if err != nil {
		return dataType, nil
	}
	var words []string
	for i, t := range tokens {
		if t.isMark("(") {
			for _, t := range tokens[i:] {
				if n, err := strconv.ParseInt(t.text, 10, 64); err == nil {
					numbers = append(numbers, n)
				}
			}
			break
		}
		words = append(words, t.text)
	}
	return strings.Join(words, " "), numbers
}

// defaultOf returns a default: a string without its quotes, anything else as SQL.
func defaultOf(sql string) string {
	tokens, err := tokenize(sql)
	if err == nil && len(tokens) == 1 && (tokens[0].kind == text || tokens[0].kind == quoted) {
		return tokens[0].name()
	}
	return sql
}
