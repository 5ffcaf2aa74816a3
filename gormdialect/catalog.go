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

// errNotUnderstood is wrapped by the error for a table whose definition is not what
// SQLite knows of it.
var errNotUnderstood = errors.New("its CREATE TABLE was not understood")

// A relation is a table or a view, as SQLite finds it by a name.
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

// sql is the name in a statement.
func (r relation) sql() string { return quote(r.schema) + "." + quote(r.name) }

// args is the name as the arguments of a table-valued PRAGMA.
func (r relation) args() string { return stringLiteral(r.name) + ", " + stringLiteral(r.schema) }

// catalog is the table of schema in which SQLite keeps what it knows of a database.
func catalog(schema string) string { return quote(schema) + ".sqlite_master" }

// A tableName is one of the ways to read the name of a table.
type tableName struct{ schema, name string }

// tableNames are the ways to read the name of a table, most likely first: as it is,
// without its quotes, and as a schema and a name with a point between them.
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

// find returns the relation that the first of names means that means any. An
// unqualified name is looked for where SQLite does: in temp, in main, then in what
// is attached.
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

// A table is what SQLite knows of a table, and the text that made it.
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
	key      int            // place in the primary key, from 1
	hidden   int            // 0: an ordinary column; 1: of a virtual table; 2, 3: generated
}

// stored reports whether the column's values are written by INSERT.
func (c column) stored() bool { return c.hidden == 0 }

// column finds a column by its name, or returns nil.
func (t *table) column(name string) *column { return findColumn(t.columns, name) }

func findColumn(columns []column, name string) *column {
	for i := range columns {
		if fold(columns[i].name) == fold(name) {
			return &columns[i]
		}
	}
	return nil
}

// columnsOf reads the columns of a table or a view.
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

// definitionOf reads the CREATE TABLE of a table.
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

// readTable reads a table that can be changed. What the text of its CREATE TABLE
// says has to be what SQLite says of it.
func readTable(db *gorm.DB, r relation) (*table, error) {
	if r.kind == "view" {
		return nil, fmt.Errorf("gormdialect: %s is a view: only a table can be changed", r)
	}
	def, err := definitionOf(db, r)
	if err != nil {
		return nil, err
	}
	columns, err := columnsOf(db, r)
	if err != nil {
		return nil, err
	}
	indexes, err := indexesOf(db, r)
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

// verify compares the definition with what SQLite knows.
func (t *table) verify(foreignKeys int, options []string) error {
	if len(t.columns) != len(t.def.columns) {
		return fmt.Errorf("it seems to have %d columns and has %d", len(t.def.columns), len(t.columns))
	}
	key := t.def.primaryKey()
	for i, c := range t.columns {
		d := &t.def.columns[i]
		inKey := slices.ContainsFunc(key, func(name string) bool { return fold(name) == fold(c.name) })
		notNullKey := c.key > 0 && c.notNull && len(options) > 0 // also without saying so
		switch {
		case d.name.name() != c.name:
			return fmt.Errorf("column %d seems to be %s and is %s", i+1, d.name.name(), c.name)
		case !sameType(d.dataType, c.dataType):
			return fmt.Errorf("the type of column %s is %s", c.name, c.dataType)
		case inKey != (c.key > 0):
			return fmt.Errorf("column %s: part of the primary key: %t", c.name, c.key > 0)
		case (d.find(notNull) != nil) != c.notNull && !notNullKey:
			return fmt.Errorf("column %s: NOT NULL: %t", c.name, c.notNull)
		case (d.find(generated) != nil) != (c.hidden == 2 || c.hidden == 3):
			return fmt.Errorf("column %s: generated: %t", c.name, c.hidden > 1)
		case (d.find(defaultValue) != nil) != c.value.Valid && d.find(generated) == nil:
			return fmt.Errorf("column %s: has a default: %t", c.name, c.value.Valid)
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
		return fmt.Errorf("it seems to have %d foreign keys and has %d", found, foreignKeys)
	}
	for _, option := range []string{"WITHOUT", "STRICT"} {
		if t.def.hasOption(option) != slices.Contains(options, option) {
			return fmt.Errorf("%s: %t", option, slices.Contains(options, option))
		}
	}
	return nil
}

// sameType compares the type in a definition with that of PRAGMA table_xinfo, which
// has lost the quotes if it was one word in quotes.
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
	child   string // the table that has it
	parent  string
	columns []string // of the child
	toKey   bool     // it names no columns of the parent: it refers to the primary key
}

// foreignKeysOf reads the foreign keys of a table.
func foreignKeysOf(db *gorm.DB, r relation) ([]reference, error) {
	return references(db, `SELECT `+stringLiteral(r.name)+`, id, "table", "from", "to" IS NULL FROM pragma_foreign_key_list(`+r.args()+`) ORDER BY id, seq`)
}

// referencesTo reads the foreign keys that refer to a table, its own included. Both
// tables are always in one database.
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

// An index is a row of PRAGMA index_list, with its columns.
type index struct {
	name    string
	unique  bool
	origin  string // c: CREATE INDEX, u: UNIQUE, pk: PRIMARY KEY
	partial bool
	columns []indexColumn
	sql     string // of CREATE INDEX
}

// An indexColumn is a column or an expression of an index's key.
type indexColumn struct {
	name      string // "" for an expression
	collation string
}

// indexesOf reads the indexes of a table, in the order of PRAGMA index_list.
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

// An object is a row of a catalog: a table, an index, a trigger or a view.
type object struct {
	schema string
	kind   string
	name   string
	table  string
	sql    string // "" for the index of a constraint
}

func (o object) String() string { return o.kind + " " + o.name }

// objectsOf reads the catalog of a schema and that of temp, whose triggers can be
// on the tables of any. They are in the order in which they were made.
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

// create is the statement that makes an index or a trigger again in its schema:
// SQLite keeps it without.
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
