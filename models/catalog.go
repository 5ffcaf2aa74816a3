package models

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"
)

// A catalog describes the tables of main on SQLite, of the current schema on
// PostgreSQL, and of the current database on MySQL. It reads SQLite's PRAGMAs,
// information_schema, and on PostgreSQL pg_constraint.
type catalog struct {
	tables  []*tableInfo
	parents [][2]string // foreign keys: the table that has one, and the table it refers to
}

// A tableInfo describes a table.
type tableInfo struct {
	name    string
	virtual bool // a virtual table of SQLite
	strict  bool // a STRICT table of SQLite
	columns []columnInfo
	key     []string // the primary key
}

// keeps reports whether the column to of SQLite, in t, stores each value of the column
// from of SQLite, in a table of, as it is.
func (t *tableInfo) keeps(to columnInfo, from columnInfo, of *tableInfo) bool {
	if to.rowid && !from.rowid {
		return false // a rowid is an integer, and other columns of its affinity have any value
	}
	a := affinityOf(to.dataType, t.strict)
	if a == anyKind && (!t.strict || to.kind == anyKind) {
		return true
	}
	return a == affinityOf(from.dataType, of.strict) && (!t.strict || of.strict && strings.EqualFold(to.dataType, from.dataType))
}

// A columnInfo describes a column.
type columnInfo struct {
	name       string
	kind       columnKind
	dataType   string // the declared type
	notNull    bool
	hasDefault bool // also a number that the database assigns
	generated  bool
	rowid      bool // an alias of SQLite's rowid
	digits     int  // of a time: digits of the fraction of a second
}

// find returns the tables whose names equal name without regard to case.
func (c *catalog) find(name string) (found []*tableInfo) {
	for _, t := range c.tables {
		if strings.EqualFold(t.name, name) {
			found = append(found, t)
		}
	}
	return found
}

// column returns the columns whose names equal name without regard to case.
func (t *tableInfo) column(name string) (found []columnInfo) {
	for _, c := range t.columns {
		if strings.EqualFold(c.name, name) {
			found = append(found, c)
		}
	}
	return found
}

// catalogQueries are the queries of a catalog. The columns of columns are table,
// column, type, NOT NULL, has a default, generated, alias of the rowid, digits. keys
// returns table and column, in the order of the key. On SQLite a key is an alias of the
// rowid if it has no index.
type catalogQueries struct{ tables, columns, keys, parents string }

var sqliteCatalog = catalogQueries{
	tables: `SELECT name, type = 'virtual', strict FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`,
	columns: `SELECT l.name, c.name, c.type, c."notnull", c.dflt_value IS NOT NULL OR c.pk AND lower(c.type) = 'integer', c.hidden > 0,
		c.pk AND l.type = 'table' AND NOT EXISTS (SELECT 1 FROM pragma_index_list(l.name, 'main') WHERE origin = 'pk'), 9
		FROM pragma_table_list AS l JOIN pragma_table_xinfo(l.name, 'main') AS c WHERE l.schema = 'main' AND l.type IN ('table', 'virtual') ORDER BY l.name, c.cid`,
	keys: `SELECT l.name, c.name FROM pragma_table_list AS l JOIN pragma_table_xinfo(l.name, 'main') AS c
		WHERE l.schema = 'main' AND l.type = 'table' AND c.pk > 0 ORDER BY l.name, c.pk`,
	parents: `SELECT l.name, f."table" FROM pragma_table_list AS l JOIN pragma_foreign_key_list(l.name, 'main') AS f
		WHERE l.schema = 'main' AND l.type = 'table' AND f.seq = 0 ORDER BY l.name, f.id`,
}

var postgresCatalog = catalogQueries{
	tables: `SELECT table_name, FALSE, FALSE FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY table_name`,
	columns: `SELECT table_name, column_name, data_type, is_nullable = 'NO', column_default IS NOT NULL OR is_identity = 'YES', is_generated = 'ALWAYS', FALSE, COALESCE(datetime_precision, 6)
		FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position`,
	keys: `SELECT k.table_name, k.column_name FROM information_schema.table_constraints AS c
		JOIN information_schema.key_column_usage AS k ON k.constraint_schema = c.constraint_schema AND k.constraint_name = c.constraint_name AND k.table_name = c.table_name
		WHERE c.table_schema = current_schema() AND c.constraint_type = 'PRIMARY KEY' ORDER BY k.table_name, k.ordinal_position`,
	parents: `SELECT c.relname, p.relname FROM pg_constraint AS f JOIN pg_class AS c ON c.oid = f.conrelid JOIN pg_class AS p ON p.oid = f.confrelid
		JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE f.contype = 'f' AND n.nspname = current_schema() ORDER BY c.relname, f.conname`,
}

var mysqlCatalog = catalogQueries{
	tables: `SELECT table_name, 0, 0 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY table_name`,
	columns: `SELECT table_name, column_name, data_type, is_nullable = 'NO', column_default IS NOT NULL OR extra LIKE '%auto_increment%',
		COALESCE(generation_expression, '') <> '', 0, COALESCE(datetime_precision, 0)
		FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position`,
	keys: `SELECT table_name, column_name FROM information_schema.key_column_usage
		WHERE table_schema = DATABASE() AND constraint_name = 'PRIMARY' ORDER BY table_name, ordinal_position`,
	parents: `SELECT table_name, referenced_table_name FROM information_schema.key_column_usage
		WHERE table_schema = DATABASE() AND referenced_table_schema = DATABASE() AND position_in_unique_constraint = 1 ORDER BY table_name, constraint_name`,
}

// readCatalog reads the catalog of a database.
func readCatalog(db *gorm.DB) (*catalog, error) {
	queries := sqliteCatalog
	switch db.Name() {
	case postgresDialect:
		queries = postgresCatalog
	case mysqlDialect:
		queries = mysqlCatalog
	}
	c := &catalog{}
	byName := map[string]*tableInfo{}
	err := eachRow(db.Raw(queries.tables), func(rows *sql.Rows) error {
		t := &tableInfo{}
		if err := rows.Scan(&t.name, &t.virtual, &t.strict); err != nil {
			return err
		}
		c.tables = append(c.tables, t)
		byName[t.name] = t
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = eachRow(db.Raw(queries.columns), func(rows *sql.Rows) error {
		var table string
		var column columnInfo
		if err := rows.Scan(&table, &column.name, &column.dataType, &column.notNull, &column.hasDefault, &column.generated, &column.rowid, &column.digits); err != nil {
			return err
		}
		column.kind = kindOf(db.Name(), column.dataType)
		if t := byName[table]; t != nil {
			if t.strict && strings.EqualFold(column.dataType, "any") {
				column.kind = anyKind
			}
			t.columns = append(t.columns, column)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = eachRow(db.Raw(queries.keys), func(rows *sql.Rows) error {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return err
		}
		if t := byName[table]; t != nil {
			t.key = append(t.key, column)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = eachRow(db.Raw(queries.parents), func(rows *sql.Rows) error {
		var pair [2]string
		if err := rows.Scan(&pair[0], &pair[1]); err != nil {
			return err
		}
		c.parents = append(c.parents, pair)
		return nil
	})
	return c, err
}

// eachRow calls scan for each row of a query.
func eachRow(query *gorm.DB, scan func(rows *sql.Rows) error) error {
	rows, err := query.Rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// quoted returns a name as an identifier of the dialect. The name has passed
// checkIdentifier.
func quoted(db *gorm.DB, name string) string {
	q := `"`
	if db.Name() == mysqlDialect {
		q = "`"
	}
	return q + strings.ReplaceAll(name, q, q+q) + q
}

// checkIdentifier refuses the names in which GORM would see a parameter.
func checkIdentifier(field, name string) error {
	if strings.ContainsAny(name, "?@") {
		return &InvalidError{field, fmt.Sprintf("%s has a character ? or @; exclude it by name (CopyOptions.Exclude)", brief(name))}
	}
	return nil
}
