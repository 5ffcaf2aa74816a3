package gormdialect

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
)

// A statistic is a row of sqlite_stat1 or sqlite_stat4, which ANALYZE writes.
type statistic struct {
	catalog string         // sqlite_stat1 or sqlite_stat4
	index   sql.NullString // NULL in a row about the table itself
	row     string         // the values after the table and the index, as SQL
}

// statistics reads the statistics of a table. DROP TABLE deletes them.
func (s *session) statistics(t *table) (found []statistic, err error) {
	for _, name := range []string{"sqlite_stat1", "sqlite_stat4"} {
		r, err := find(s.db, []tableName{{t.schema, name}})
		if errors.Is(err, errNoTable) {
			continue
		}
		if err != nil {
			return nil, err
		}
		columns, err := columnsOf(s.db, r)
		if err != nil {
			return nil, err
		}
		if len(columns) < 3 { // not tbl, idx and more
			continue
		}
		var values []string
		for _, c := range columns[2:] {
			values = append(values, "quote("+quote(c.name)+")")
		}
		err = query(s.db, "SELECT idx, "+strings.Join(values, " || ', ' || ")+" FROM "+r.sql()+" WHERE tbl = "+stringLiteral(t.name)+" COLLATE NOCASE ORDER BY rowid", func(rows *sql.Rows) error {
			one := statistic{catalog: r.sql()}
			if err := rows.Scan(&one.index, &one.row); err != nil {
				return err
			}
			found = append(found, one)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// restoreStatistics writes the statistics of a rebuilt table, except those of dropped
// indexes. The name of a constraint's index may have another number than before.
func (s *session) restoreStatistics(t *table, statistics []statistic) error {
	if len(statistics) == 0 {
		return nil
	}
	after, err := indexesOf(s.db, t.relation)
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, old := range t.indexes {
		n := slices.IndexFunc(after, func(i index) bool {
			return i.origin == old.origin && slices.Equal(i.columns, old.columns) && (i.origin != "c" || i.name == old.name)
		})
		if n >= 0 {
			names[old.name] = after[n].name
		}
	}
	for _, one := range statistics {
		about := "NULL"
		if one.index.Valid {
			// A table WITHOUT ROWID is an index by its own name.
			name, ok := names[one.index.String]
			if !ok && fold(one.index.String) != fold(t.name) {
				continue
			}
			if !ok {
				name = t.name
			}
			about = stringLiteral(name)
		}
		if err := s.exec("INSERT INTO " + one.catalog + " VALUES (" + stringLiteral(t.name) + ", " + about + ", " + one.row + ")"); err != nil {
			return err
		}
	}
	return s.exec("ANALYZE " + quote(t.schema) + ".sqlite_master") // loads the statistics
}
