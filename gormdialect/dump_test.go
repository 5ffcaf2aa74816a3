//go:build cgo

package gormdialect_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
)

// A dump is everything that a program can see of a database. It is read without the
// code under test.
type dump struct {
	schema []string            // indexes, triggers and views
	rows   map[string][]string // table → rows: the rowid, and each column's type and bytes
	cols   map[string][]string // table → columns, in the order of rows
	facts  map[string][]string // table → the answers of the PRAGMAs
	other  []string            // sequences, statistics, statements that compile or not
}

func take(t *testing.T, db *gorm.DB) *dump {
	t.Helper()
	pool, err := db.DB()
	require.NoError(t, err)
	ctx := context.Background()
	conn, err := pool.Conn(ctx)
	require.NoError(t, err)
	defer conn.Close()
	strs := func(query string) (out []string) {
		rows, err := conn.QueryContext(ctx, query)
		require.NoError(t, err, query)
		defer rows.Close()
		columns, err := rows.Columns()
		require.NoError(t, err)
		values, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		for rows.Next() {
			require.NoError(t, rows.Scan(targets...))
			var row []string
			for _, v := range values {
				if v.Valid {
					row = append(row, v.String)
				} else {
					row = append(row, "<NULL>")
				}
			}
			out = append(out, strings.Join(row, " | "))
		}
		require.NoError(t, rows.Err(), query)
		return out
	}
	d := &dump{rows: map[string][]string{}, cols: map[string][]string{}, facts: map[string][]string{}}
	d.schema = strs("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type <> 'table' UNION ALL SELECT 'temp ' || type, name, tbl_name, sql FROM temp.sqlite_master ORDER BY 1, 2")
	for _, name := range strs("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'") {
		lit := "'" + strings.ReplaceAll(name, "'", "''") + "'"
		columns := strs("SELECT name FROM pragma_table_xinfo(" + lit + ") ORDER BY cid")
		d.cols[name] = append([]string{"<rowid>"}, columns...)
		rowid := "'-'"
		if len(strs("SELECT 1 FROM pragma_table_list("+lit+") WHERE schema = 'main' AND wr")) == 0 {
			for _, alias := range []string{"_rowid_", "oid", "rowid"} {
				if !slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, alias) }) {
					rowid = alias
				}
			}
		}
		selects := []string{rowid}
		for _, c := range columns {
			selects = append(selects, "typeof("+ident(c)+") || ':' || CASE typeof("+ident(c)+") WHEN 'real' THEN format('%!.20e', "+ident(c)+") ELSE hex("+ident(c)+") END")
		}
		d.rows[name] = strs("SELECT " + strings.Join(selects, ", ") + " FROM " + ident(name) + " NOT INDEXED")
		if rowid == "'-'" {
			slices.Sort(d.rows[name])
		}
		d.facts[name] = append(d.facts[name], strs("SELECT 'column', name, lower(type), \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo("+lit+") ORDER BY cid")...)
		d.facts[name] = append(d.facts[name], strs("SELECT 'key', \"table\", \"from\", \"to\", on_update, on_delete, match FROM pragma_foreign_key_list("+lit+") ORDER BY id, seq")...)
		d.facts[name] = append(d.facts[name], strs("SELECT 'options', wr, strict FROM pragma_table_list("+lit+") WHERE schema = 'main'")...)
		for _, index := range strs("SELECT name FROM pragma_index_list(" + lit + ") ORDER BY origin, seq DESC") {
			one := "'" + strings.ReplaceAll(index, "'", "''") + "'"
			d.facts[name] = append(d.facts[name], strs("SELECT 'index', l.\"unique\", l.origin, l.partial, group_concat(coalesce(x.name, '?') || ' ' || x.\"desc\" || ' ' || x.coll) FROM pragma_index_list("+lit+") AS l JOIN pragma_index_xinfo("+one+") AS x WHERE x.\"key\" AND l.name = "+one)...)
		}
	}
	// Views and triggers show in the statements that compile.
	var statements []string
	for _, view := range strs("SELECT name FROM sqlite_master WHERE type = 'view'") {
		statements = append(statements, "SELECT * FROM "+ident(view)+" LIMIT 0")
	}
	for name := range d.rows {
		statements = append(statements, "DELETE FROM "+ident(name), "INSERT INTO "+ident(name)+" DEFAULT VALUES")
	}
	for _, statement := range statements {
		stmt, err := conn.PrepareContext(ctx, statement)
		if err == nil {
			require.NoError(t, stmt.Close())
		}
		d.other = append(d.other, fmt.Sprintf("works %t: %s", err == nil, statement))
	}
	for other, query := range map[string]string{
		"sqlite_sequence": "SELECT 'sequence', name, seq FROM sqlite_sequence ORDER BY 2, 3",
		// The number in the name of a constraint's index may change.
		"sqlite_stat1": "SELECT 'stat', tbl, CASE WHEN idx LIKE 'sqlite_autoindex%' THEN rtrim(idx, '0123456789') ELSE idx END, stat FROM sqlite_stat1 ORDER BY 2, 3, 4",
	} {
		if len(strs("SELECT 1 FROM sqlite_master WHERE name = '"+other+"'")) > 0 {
			d.other = append(d.other, strs(query)...)
		}
	}
	slices.Sort(d.other)
	require.Equal(t, []string{"ok"}, strs("PRAGMA integrity_check"))
	return d
}

func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// column returns the values of one column, or of the rowid.
func (d *dump) column(table, name string) (values []string) {
	n := slices.Index(d.cols[table], name)
	for _, row := range d.rows[table] {
		values = append(values, strings.Split(row, " | ")[n])
	}
	return values
}

func (d *dump) sql(t *testing.T, db *gorm.DB, table string) (sql string) {
	require.NoError(t, db.Session(&gorm.Session{NewDB: true}).Raw("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", table).Row().Scan(&sql))
	return sql
}
