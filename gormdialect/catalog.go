package gormdialect

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"
)

// errNoTable is wrapped by the error for a table that does not exist.
var errNoTable = errors.New("no such table")

// errNotUnderstood is wrapped by the error for a table whose parsed CREATE TABLE
// disagrees with SQLite's PRAGMAs.
var errNotUnderstood = errors.New("its CREATE TABLE was not understood")

// A relation is a table or a view.
type relation struct {
	schema string // main, temp, or the name of an attached database
	name   string
	kind   string // table, view, virtual or shadow
}

func (r relation) String() string {
	if r.schema == "main" {
		return r.name
	}
	return r.schema + "." + r.name
}

// sql returns the qualified name for a statement.
func (r relation) sql() string { return quote(r.schema) + "." + quote(r.name) }

// args returns the name as the arguments of a table-valued PRAGMA.
func (r relation) args() string { return stringLiteral(r.name) + ", " + stringLiteral(r.schema) }

// catalog returns the name of sqlite_master in a schema.
func catalog(schema string) string { return quote(schema) + ".sqlite_master" }

// A tableName is one reading of a table's name. An empty schema means any.
type tableName struct{ schema, name string }

// tableNames returns the readings of a table's name, most likely first: as it stands,
// without its quotes, and as schema.name.
func tableNames(ref string) []tableName {
	names := []tableName{{name: ref}}
	tokens, err := tokenize(ref)
	switch {
	case err != nil:
	case len(tokens) == 1 && tokens[0].isName():
		names = append(names, tableName{name: tokens[0].name()})
	case len(tokens) == 3 && tokens[0].isName() && tokens[1].isMark(".") && tokens[2].isName():
		names = append(names, tableName{tokens[0].name(), tokens[2].name()})
	}
	return names
}

// find returns the relation of the first reading in names that exists. It looks for an
// unqualified name in SQLite's order: temp, main, attached databases.
func find(db *gorm.DB, names []tableName) (relation, error) {
	for _, n := range names {
		statement := `SELECT l.schema, l.name, l.type FROM pragma_table_list(` + stringLiteral(n.name) + `) AS l
			LEFT JOIN pragma_database_list AS d ON d.name = l.schema`
		if n.schema != "" {
			statement += ` WHERE l.schema = ` + stringLiteral(n.schema) + ` COLLATE NOCASE`
		}
		statement += ` ORDER BY l.schema <> 'temp', d.seq LIMIT 1`
		var r relation
		err := query(db, statement, func(rows *sql.Rows) error { return rows.Scan(&r.schema, &r.name, &r.kind) })
		if err != nil {
			return relation{}, err
		}
		if r.name != "" {
			return r, nil
		}
	}
	return relation{}, fmt.Errorf("gormdialect: %w: %s", errNoTable, names[0].name)
}

// A table is an ordinary table, as SQLite describes it, with its parsed CREATE TABLE.
type table struct {
	relation
	columns []column
	indexes []index
	def     *definition
}

// A column is a row of PRAGMA table_xinfo.
type column struct {
	name     string
	dataType string
	notNull  bool
	value    sql.NullString // the default, as SQL
	key      int            // position in the primary key, from 1; 0 outside of it
	hidden   int            // 0: an ordinary column; 1: of a virtual table; 2, 3: generated
}

// stored reports whether the column's values are written by INSERT.
func (c column) stored() bool { return c.hidden == 0 }

// column returns the column of a name, or nil.
func (t *table) column(name string) *column { return findColumn(t.columns, name) }

func findColumn(columns []column, name string) *column {
	for i := range columns {
		if fold(columns[i].name) == fold(name) {
			return &columns[i]
		}
	}
	return nil
}

// columnsOf returns the columns of a table or a view.
func columnsOf(db *gorm.DB, r relation) (columns []column, err error) {
	err = query(db, `SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(`+r.args()+`) ORDER BY cid`, func(rows *sql.Rows) error {
		var c column
		if err := rows.Scan(&c.name, &c.dataType, &c.notNull, &c.value, &c.key, &c.hidden); err != nil {
			return err
		}
		columns = append(columns, c)
		return nil
	})
	return columns, err
}

// structureOf returns the columns and the indexes of a table or a view.
func structureOf(db *gorm.DB, r relation) (columns []column, indexes []index, err error) {
	if columns, err = columnsOf(db, r); err != nil {
		return nil, nil, err
	}
	indexes, err = indexesOf(db, r)
	return columns, indexes, err
}

// definitionOf parses the CREATE TABLE of a table.
func definitionOf(db *gorm.DB, r relation) (*definition, error) {
	texts, err := queryStrings(db, `SELECT sql FROM `+catalog(r.schema)+` WHERE type = 'table' AND name = `+stringLiteral(r.name)+` COLLATE NOCASE AND sql IS NOT NULL`)
	if err != nil {
		return nil, err
	}
	if r.kind != "table" || len(texts) != 1 || strings.HasPrefix(fold(r.name), "sqlite_") {
		kind := r.kind
		if kind == "table" {
			kind = "system"
		}
		return nil, fmt.Errorf("gormdialect: %s is a %s table: only an ordinary table can be changed", r, kind)
	}
	def, err := parseDefinition(texts[0])
	if err != nil {
		return nil, fmt.Errorf("gormdialect: table %s: %w", r, err)
	}
	return def, nil
}

// readTable reads a table that is to be changed. It is an error if the parsed CREATE
// TABLE disagrees with SQLite's PRAGMAs.
func readTable(db *gorm.DB, r relation) (*table, error) {
	if r.kind == "view" {
		return nil, fmt.Errorf("gormdialect: %s is a view: only a table can be changed", r)
	}
	def, err := definitionOf(db, r)
	if err != nil {
		return nil, err
	}
	columns, indexes, err := structureOf(db, r)
	if err != nil {
		return nil, err
	}
	t := &table{relation: r, columns: columns, indexes: indexes, def: def}
	keys, err := foreignKeysOf(db, r)
	if err != nil {
		return nil, err
	}
	options, err := queryStrings(db, `SELECT CASE WHEN wr THEN 'WITHOUT' END FROM pragma_table_list(`+stringLiteral(r.name)+`) WHERE schema = `+stringLiteral(r.schema)+` AND wr
		UNION ALL SELECT 'STRICT' FROM pragma_table_list(`+stringLiteral(r.name)+`) WHERE schema = `+stringLiteral(r.schema)+` AND strict`)
	if err != nil {
		return nil, err
	}
	if err := t.verify(len(keys), options); err != nil {
		return nil, fmt.Errorf("gormdialect: table %s cannot be changed: %w: %w", r, errNotUnderstood, err)
	}
	return t, nil
}

// verify compares the parsed definition with the PRAGMAs.
func (t *table) verify(foreignKeys int, options []string) error {
	if len(t.columns) != len(t.def.columns) {
		return fmt.Errorf("its text has %d columns, and SQLite reports %d", len(t.def.columns), len(t.columns))
	}
	key := t.def.primaryKey()
	for i, c := range t.columns {
		d := &t.def.columns[i]
		inKey := slices.ContainsFunc(key, func(name string) bool { return fold(name) == fold(c.name) })
		notNullKey := c.key > 0 && c.notNull && len(options) > 0 // NOT NULL is implied
		switch {
		case d.name.name() != c.name:
			return fmt.Errorf("column %d is %s in its text, and SQLite reports %s", i+1, d.name.name(), c.name)
		case !sameType(d.dataType, c.dataType):
			return fmt.Errorf("column %s has another type in its text than SQLite reports: %s", c.name, c.dataType)
		case inKey != (c.key > 0):
			return fmt.Errorf("column %s is in the primary key in its text: %t, SQLite reports %t", c.name, inKey, c.key > 0)
		case (d.find(notNull) != nil) != c.notNull && !notNullKey:
			return fmt.Errorf("column %s is NOT NULL in its text: %t, SQLite reports %t", c.name, !c.notNull, c.notNull)
		case (d.find(generated) != nil) != (c.hidden == 2 || c.hidden == 3):
			return fmt.Errorf("column %s is generated in its text: %t, SQLite reports %t", c.name, c.hidden <= 1, c.hidden > 1)
		case (d.find(defaultValue) != nil) != c.value.Valid && d.find(generated) == nil:
			return fmt.Errorf("column %s has a default in its text: %t, SQLite reports %t", c.name, !c.value.Valid, c.value.Valid)
		}
	}
	found := 0
	t.def.all(func(_ *columnDef, c *constraint) bool {
		if c.kind == foreignKey {
			found++
		}
		return true
	})
	if found != foreignKeys {
		return fmt.Errorf("its text has %d foreign keys, and SQLite reports %d", found, foreignKeys)
	}
	for _, option := range []string{"WITHOUT", "STRICT"} {
		if has := t.def.hasOption(option); has != slices.Contains(options, option) {
			return fmt.Errorf("option %s is in its text: %t, SQLite reports %t", option, has, !has)
		}
	}
	return nil
}

// sameType compares the type in a definition with that of PRAGMA table_xinfo. The
// PRAGMA removes the quotes from a type that is one word in quotes.
func sameType(tokens []token, dataType string) bool {
	if len(tokens) == 1 && fold(tokens[0].name()) == fold(dataType) {
		return true
	}
	others, err := tokenize(dataType)
	if err != nil || len(others) != len(tokens) {
		return false
	}
	for i := range tokens {
		if fold(tokens[i].name()) != fold(others[i].name()) {
			return false
		}
	}
	return true
}

// A reference is a foreign key.
type reference struct {
	id      int
	child   string   // the table that has the foreign key
	parent  string   // the table that it refers to
	columns []string // of the child
	toKey   bool     // it names no columns of the parent, so it refers to the primary key
}

// foreignKeysOf returns the foreign keys of a table.
func foreignKeysOf(db *gorm.DB, r relation) ([]reference, error) {
	return references(db, `SELECT `+stringLiteral(r.name)+`, id, "table", "from", "to" IS NULL FROM pragma_foreign_key_list(`+r.args()+`) ORDER BY id, seq`)
}

// referencesTo returns the foreign keys that refer to a table, its own included. A
// foreign key never refers to another schema.
func referencesTo(db *gorm.DB, r relation) ([]reference, error) {
	return references(db, `SELECT m.name, f.id, f."table", f."from", f."to" IS NULL FROM `+catalog(r.schema)+` AS m
		JOIN pragma_foreign_key_list(m.name, `+stringLiteral(r.schema)+`) AS f
		WHERE m.type = 'table' AND f."table" = `+stringLiteral(r.name)+` COLLATE NOCASE ORDER BY m.rowid, f.id, f.seq`)
}

func references(db *gorm.DB, statement string) (list []reference, err error) {
	err = query(db, statement, func(rows *sql.Rows) error {
		var next reference
		var from string
		if err := rows.Scan(&next.child, &next.id, &next.parent, &from, &next.toKey); err != nil {
			return err
		}
		if n := len(list); n == 0 || list[n-1].child != next.child || list[n-1].id != next.id {
			list = append(list, next)
		}
		last := &list[len(list)-1]
		last.columns = append(last.columns, from)
		return nil
	})
	return list, err
}

// An index is a row of PRAGMA index_list and the columns of its key.
type index struct {
	name    string
	unique  bool
	origin  string // c: CREATE INDEX, u: UNIQUE, pk: PRIMARY KEY
	partial bool
	columns []indexColumn
	sql     string // its CREATE INDEX; "" for the index of a constraint
}

// An indexColumn is a column or an expression in the key of an index.
type indexColumn struct {
	name      string // "" for an expression
	collation string
}

// indexesOf returns the indexes of a table, in the order of PRAGMA index_list.
func indexesOf(db *gorm.DB, r relation) (indexes []index, err error) {
	err = query(db, `SELECT l.name, l."unique", l.origin, l.partial, coalesce(m.sql, '') FROM pragma_index_list(`+r.args()+`) AS l
		LEFT JOIN `+catalog(r.schema)+` AS m ON m.type = 'index' AND m.name = l.name ORDER BY l.seq`, func(rows *sql.Rows) error {
		var i index
		if err := rows.Scan(&i.name, &i.unique, &i.origin, &i.partial, &i.sql); err != nil {
			return err
		}
		indexes = append(indexes, i)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range indexes {
		r := relation{schema: r.schema, name: indexes[i].name}
		err := query(db, `SELECT coalesce(name, ''), coalesce(coll, '') FROM pragma_index_xinfo(`+r.args()+`) WHERE "key" ORDER BY seqno`, func(rows *sql.Rows) error {
			var c indexColumn
			if err := rows.Scan(&c.name, &c.collation); err != nil {
				return err
			}
			indexes[i].columns = append(indexes[i].columns, c)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return indexes, nil
}

// An object is a row of sqlite_master: a table, an index, a trigger or a view.
type object struct {
	schema string
	kind   string
	name   string
	table  string
	sql    string // "" for the index of a constraint
}

func (o object) String() string { return o.kind + " " + o.name }

// objectsOf returns the objects of a schema and of temp, in the order of their
// creation. A trigger in temp can be on a table of any schema.
func objectsOf(db *gorm.DB, schema string) (objects []object, err error) {
	for _, schema := range []string{schema, "temp"} {
		err = query(db, `SELECT type, name, tbl_name, coalesce(sql, '') FROM `+catalog(schema)+` ORDER BY rowid`, func(rows *sql.Rows) error {
			o := object{schema: schema}
			if err := rows.Scan(&o.kind, &o.name, &o.table, &o.sql); err != nil {
				return err
			}
			objects = append(objects, o)
			return nil
		})
		if err != nil || schema == "temp" {
			return objects, err
		}
	}
	return objects, nil
}

// create returns the statement that creates an index or a trigger again in its schema.
// sqlite_master has the statement without the schema.
func (o object) create() (string, error) {
	tokens, err := tokenize(o.sql)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(tokens, func(t token) bool { return t.is("INDEX") || t.is("TRIGGER") }) + 1
	if at == 0 || at >= len(tokens) || !tokens[at].isName() {
		return "", fmt.Errorf("gormdialect: cannot read the SQL of %s: %s", o, o.sql)
	}
	return o.sql[:tokens[at].start] + quote(o.schema) + "." + o.sql[tokens[at].start:], nil
}
