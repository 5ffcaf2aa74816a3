package gormdialect

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/migrator"
	"gorm.io/gorm/schema"
)

// indexName returns the name of a model's index. name is the index or one of its
// fields.
func indexName(stmt *gorm.Statement, name string) string {
	if stmt.Schema != nil {
		if idx := stmt.Schema.LookIndex(name); idx != nil {
			return idx.Name
		}
	}
	return name
}

// BuildIndexOptions returns the columns and expressions of a model's index, as SQL.
func (m Migrator) BuildIndexOptions(opts []schema.IndexOption, stmt *gorm.Statement) (results []any) {
	for _, opt := range opts {
		str := stmt.Quote(opt.DBName)
		if opt.Expression != "" {
			str = opt.Expression
		}
		if opt.Collate != "" {
			str += " COLLATE " + opt.Collate
		}
		if opt.Sort != "" {
			str += " " + opt.Sort
		}
		results = append(results, clause.Expr{SQL: str})
	}
	return results
}

// CreateIndex creates an index of the model.
func (m Migrator) CreateIndex(value any, name string) error {
	return m.RunWithValue(value, func(stmt *gorm.Statement) error {
		if stmt.Schema == nil {
			return fmt.Errorf("gormdialect: index %s of table %s: the model is needed; a table's name does not define an index", name, stmt.Table)
		}
		idx := stmt.Schema.LookIndex(name)
		if idx == nil {
			return fmt.Errorf("gormdialect: the model of table %s has no index %s", stmt.Table, name)
		}
		var columns []string
		for _, option := range m.BuildIndexOptions(idx.Fields, stmt) {
			columns = append(columns, option.(clause.Expr).SQL)
		}
		create := "CREATE "
		if idx.Class != "" {
			create += idx.Class + " "
		}
		create += "INDEX "
		on := stmt.Table
		// In a dry run the table need not exist.
		if r, err := find(plain(m.DB), names(value, stmt)); err == nil {
			on = r.name
			if r.schema != "main" {
				create += quote(r.schema) + "."
			}
		} else if !errors.Is(err, errNoTable) {
			return err
		}
		create += backquote(idx.Name)
		if idx.Type != "" {
			create += " USING " + idx.Type
		}
		create += " ON " + backquote(on) + "(" + strings.Join(columns, ",") + ")"
		if idx.Where != "" {
			create += " WHERE " + idx.Where
		}
		return m.exec(create)
	})
}

// HasIndex reports whether a table has an index.
func (m Migrator) HasIndex(value any, name string) bool {
	_, _, err := m.index(value, name)
	if err != nil && !errors.Is(err, errNoTable) && !errors.Is(err, errNoIndex) {
		m.report(err)
	}
	return err == nil
}

// errNoIndex is wrapped by the error for an index that does not exist.
var errNoIndex = errors.New("no such index")

// index returns a table and its index of a name.
func (m Migrator) index(value any, name string) (r relation, found index, err error) {
	err = m.RunWithValue(value, func(stmt *gorm.Statement) error {
		name := indexName(stmt, name)
		if r, err = find(plain(m.DB), names(value, stmt)); err != nil {
			return err
		}
		indexes, err := indexesOf(plain(m.DB), r)
		if err != nil {
			return err
		}
		n := slices.IndexFunc(indexes, func(i index) bool { return fold(i.name) == fold(name) })
		if n < 0 {
			return fmt.Errorf("gormdialect: table %s: %w: %s", r, errNoIndex, name)
		}
		found = indexes[n]
		return nil
	})
	return r, found, err
}

// RenameIndex creates an index again under another name. It keeps the statistics of
// ANALYZE.
func (m Migrator) RenameIndex(value any, oldName, newName string) error {
	r, found, err := m.index(value, oldName)
	if err != nil {
		return err
	}
	if found.sql == "" {
		return fmt.Errorf("gormdialect: index %s of table %s belongs to a constraint and cannot be renamed", found.name, r)
	}
	tokens, err := tokenize(found.sql)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(tokens, func(t token) bool { return t.is("INDEX") }) + 1
	if at == 0 || at >= len(tokens) {
		return fmt.Errorf("gormdialect: cannot read the SQL of index %s: %s", found.name, found.sql)
	}
	create := found.sql[:tokens[at].start] + quote(r.schema) + "." + backquote(newName) + found.sql[tokens[at].end:]
	return m.atomically(func(s *session) error {
		statistics, err := s.statistics(r)
		if err != nil {
			return err
		}
		if err := s.exec("DROP INDEX "+relation{schema: r.schema, name: found.name}.sql(), create); err != nil {
			return err
		}
		statistics = slices.DeleteFunc(statistics, func(one statistic) bool { return fold(one.index.String) != fold(found.name) })
		for i := range statistics {
			statistics[i].index.String = newName
		}
		return s.writeStatistics(r, statistics)
	})
}

// DropIndex drops an index.
func (m Migrator) DropIndex(value any, name string) error {
	r, found, err := m.index(value, name)
	if err != nil {
		return err
	}
	return m.exec("DROP INDEX " + relation{schema: r.schema, name: found.name}.sql())
}

// GetIndexes returns the indexes of a table, without those of UNIQUE constraints. The
// columns of an index include its expressions, as SQL.
func (m Migrator) GetIndexes(value any) ([]gorm.Index, error) {
	r, err := m.tableOf(value)
	if err != nil {
		return nil, err
	}
	all, err := indexesOf(plain(m.DB), r)
	if err != nil {
		return nil, err
	}
	indexes := make([]gorm.Index, 0, len(all))
	for _, i := range all {
		if i.origin == "u" {
			continue
		}
		expressions := expressionsOf(i.sql)
		var columns []string
		for n, c := range i.columns {
			if c.name == "" && n < len(expressions) {
				c.name = expressions[n]
			}
			columns = append(columns, c.name)
		}
		indexes = append(indexes, &migrator.Index{
			TableName:       r.name,
			NameValue:       i.name,
			ColumnList:      columns,
			PrimaryKeyValue: sql.NullBool{Bool: i.origin == "pk", Valid: true}, // INTEGER PRIMARY KEY has no index
			UniqueValue:     sql.NullBool{Bool: i.unique, Valid: true},
		})
	}
	return indexes, nil
}

// expressionsOf returns each column and expression in the key of an index, as SQL.
func expressionsOf(sql string) (parts []string) {
	tokens, err := tokenize(sql)
	if err != nil {
		return nil
	}
	p := &parser{sql: sql, tokens: tokens}
	for p.err == nil && !p.peek().isMark("(") {
		p.next()
	}
	for _, item := range p.parentheses() {
		if len(item) > 0 {
			parts = append(parts, sql[item[0].start:item[len(item)-1].end])
		}
	}
	return parts
}
