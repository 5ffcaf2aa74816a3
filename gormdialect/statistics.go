package gormdialect

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A statistic is a row of sqlite_stat1 or sqlite_stat4, which ANALYZE writes.
type statistic struct {
	catalog string         // sqlite_stat1 or sqlite_stat4
	index   sql.NullString // NULL in a row about the table itself
	row     string         // the values after the table and the index, as SQL
}

// statisticsTables returns the tables of a schema that ANALYZE has written.
func (s *session) statisticsTables(schema string) (found []relation, err error) {
	for _, name := range []string{"sqlite_stat1", "sqlite_stat4"} {
		r, err := find(s.db, []tableName{{schema, name}})
		if err == nil {
			found = append(found, r)
		} else if !errors.Is(err, errNoTable) {
			return nil, err
		}
	}
	return found, nil
}

// statistics reads the statistics of a table. DROP TABLE deletes them, and DROP INDEX
// those of the index.
func (s *session) statistics(t relation) (found []statistic, err error) {
	tables, err := s.statisticsTables(t.schema)
	if err != nil {
		return nil, err
	}
	for _, r := range tables {
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
	var kept []statistic
	for _, one := range statistics {
		if one.index.Valid {
			// A table WITHOUT ROWID is an index by its own name.
			name, ok := names[one.index.String]
			if !ok && fold(one.index.String) != fold(t.name) {
				continue
			}
			if !ok {
				name = t.name
			}
			one.index.String = name
		}
		kept = append(kept, one)
	}
	return s.writeStatistics(t.relation, kept)
}

// writeStatistics writes statistics of a table, and lets SQLite use them.
func (s *session) writeStatistics(t relation, statistics []statistic) error {
	if len(statistics) == 0 {
		return nil
	}
	for _, one := range statistics {
		about := "NULL"
		if one.index.Valid {
			about = stringLiteral(one.index.String)
		}
		if err := s.exec("INSERT INTO " + one.catalog + " VALUES (" + stringLiteral(t.name) + ", " + about + ", " + one.row + ")"); err != nil {
			return err
		}
	}
	return s.exec("ANALYZE " + quote(t.schema) + ".sqlite_master") // loads the statistics
}

// renameStatistics gives the statistics of a renamed table the new name. The indexes of
// its constraints have its name, and so has a table WITHOUT ROWID as an index.
func (s *session) renameStatistics(t relation, to string) error {
	tables, err := s.statisticsTables(t.schema)
	if err != nil || len(tables) == 0 {
		return err
	}
	own := "sqlite_autoindex_" + t.name + "_"
	length := fmt.Sprint(utf8.RuneCountInString(own))
	for _, r := range tables {
		// SQLite leaves rows behind under a name that was in use before.
		err := s.exec("DELETE FROM "+r.sql()+" WHERE tbl = "+stringLiteral(to)+" COLLATE NOCASE",
			"UPDATE "+r.sql()+" SET tbl = "+stringLiteral(to)+", idx = CASE WHEN idx = "+stringLiteral(t.name)+" COLLATE NOCASE THEN "+stringLiteral(to)+
				" WHEN substr(idx, 1, "+length+") = "+stringLiteral(own)+" COLLATE NOCASE THEN "+stringLiteral("sqlite_autoindex_"+to+"_")+" || substr(idx, "+length+" + 1)"+
				" ELSE idx END WHERE tbl = "+stringLiteral(t.name)+" COLLATE NOCASE")
		if err != nil {
			return err
		}
	}
	return s.exec("ANALYZE " + quote(t.schema) + ".sqlite_master")
}
