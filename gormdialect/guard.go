package gormdialect

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// sameContent returns an error unless both tables have the same rows, with the same
// value in each column by type and bytes. In a column that has another affinity, it
// expects the old value converted to that affinity.
func (s *session) sameContent(old, made *table, list *copyPlan) error {
	var counts [2]int64
	err := query(s.db, "SELECT (SELECT count(*) FROM "+old.sql()+"), (SELECT count(*) FROM "+made.sql()+")", func(rows *sql.Rows) error {
		return rows.Scan(&counts[0], &counts[1])
	})
	if err != nil {
		return err
	}
	if counts[0] != counts[1] {
		return fmt.Errorf("gormdialect: table %s is not rebuilt: it has %d rows and would have %d", old, counts[0], counts[1])
	}
	pairs, err := s.pairs(old, made, list)
	if err != nil {
		return err
	}
	strict := made.def.hasOption("STRICT")
	differs := []string{pairs.missing}
	names := []string{"a row"}
	var texts [][3]string // the columns that turn texts into numbers: name, was, is
	changed := func(o, c *column) bool {
		return o != nil && affinity(o.dataType, strict) != affinity(c.dataType, strict)
	}
	// A generated column may change with a column that it is computed from.
	computedChange := slices.ContainsFunc(made.columns, func(c column) bool { return changed(old.column(c.name), &c) })
	for i := range made.columns {
		c, o := &made.columns[i], old.column(made.columns[i].name)
		if o == nil || !c.stored() && computedChange {
			continue
		}
		was, is := "o."+quote(o.name), "n."+quote(c.name)
		if pairs.positions {
			was, is = fmt.Sprintf("o.v%d", i), fmt.Sprintf("n.v%d", i)
		}
		names = append(names, "column "+c.name)
		if !changed(o, c) {
			differs = append(differs, "(typeof("+was+") <> typeof("+is+") OR +"+was+" IS NOT +"+is+" COLLATE BINARY)")
			continue
		}
		// The unary + removes the affinity of the old column. The comparison then
		// applies the new column's affinity to the old value. SQLite 3.40, for one, writes
		// only 15 digits of a real as a text.
		differs = append(differs, "("+is+" IS NOT +"+was+" COLLATE BINARY OR typeof("+was+") <> typeof("+is+")"+
			" AND NOT (typeof("+was+") IN ('integer', 'real', 'text') AND typeof("+is+") IN ('integer', 'real')"+
			" OR typeof("+was+") IN ('integer', 'real') AND typeof("+is+") = 'text')"+
			" OR typeof("+was+") = 'real' AND typeof("+is+") = 'text' AND CAST("+is+" AS REAL) <> +"+was+")")
		if a := affinity(c.dataType, strict); a != "TEXT" && a != "BLOB" {
			texts = append(texts, [3]string{names[len(names)-1], was, is})
		}
	}
	var which strings.Builder
	for i, d := range differs {
		fmt.Fprintf(&which, " WHEN %s THEN %s", d, stringLiteral(names[i]))
	}
	// A chain of OR would exceed SQLite's limit of 1000 for the depth of an expression:
	// a table may have 2000 columns.
	found, err := queryStrings(s.db, "SELECT differs FROM (SELECT CASE"+which.String()+" END AS differs FROM "+pairs.from+") WHERE differs IS NOT NULL LIMIT 1")
	if err != nil {
		return err
	}
	for _, c := range texts {
		if len(found) > 0 {
			break
		}
		kept, err := s.digitsKept(pairs.from, c[1], c[2])
		if err != nil {
			return err
		}
		if !kept {
			found = []string{c[0]}
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("gormdialect: table %s is not rebuilt: %s would not be as before", old, found[0])
	}
	return nil
}

// significant returns the digits of a number as SQL, without the zeros at both ends.
func significant(number string) string {
	number = "trim(lower(" + number + "), '+-' || char(9, 10, 11, 12, 13, 32))"
	return "trim(replace(substr(" + number + ", 1, instr(" + number + " || 'e', 'e') - 1), '.', ''), '0')"
}

// digitsKept reports whether each text of the column was has its digits in is, where it
// became a number. A text may have more digits than the number, or another order of
// magnitude. SQLite's printf does not round every real correctly in the 16th digit and
// those behind it. So SQL only names the texts that may have lost digits. An integer
// without the digits of its text was a real in between, as 1.2345678901234567e+18 is.
func (s *session) digitsKept(from, was, is string) (kept bool, err error) {
	digits := significant(was)
	maybe := "CASE typeof(" + is + ") WHEN 'integer' THEN " + digits + " <> " + significant("CAST("+is+" AS TEXT)") +
		" WHEN 'real' THEN length(" + digits + ") > 15 OR " + digits + " <> " + significant("printf('%!.*e', max(length("+digits+"), 1) - 1, "+is+")") + " END"
	errLost := errors.New("lost")
	err = query(s.db, "SELECT "+digits+", CAST("+is+" AS REAL) FROM "+from+" WHERE typeof("+was+") = 'text' AND "+maybe, func(rows *sql.Rows) error {
		var text string
		var real float64
		if err := rows.Scan(&text, &real); err != nil {
			return err
		}
		if !hasDigits(real, text) {
			return errLost
		}
		return nil
	})
	if errors.Is(err, errLost) {
		return false, nil
	}
	return err == nil, err
}

// hasDigits reports whether digits are those of a real: the ones it has at that length,
// or the fewest that mean it. The fewest are not always the nearest of their length, as
// in 5.684341886080802e-14, a power of two.
func hasDigits(real float64, digits string) bool {
	for _, precision := range []int{len(digits) - 1, -1} {
		mantissa, _, _ := strings.Cut(strconv.FormatFloat(real, 'e', precision, 64), "e")
		if strings.Trim(strings.Replace(mantissa, ".", "", 1), "-0") == digits {
			return true
		}
	}
	return false
}

// A pairing joins each row of the old table, o, to its row of the new one, n.
type pairing struct {
	from      string // the FROM clause
	missing   string // the condition that o has no n
	positions bool   // columns are named v0, v1 and so on, by their number in the new table
}

func (s *session) pairs(old, made *table, list *copyPlan) (*pairing, error) {
	join := old.sql() + " AS o LEFT JOIN " + made.sql() + " AS n ON "
	alias := made.def.rowidAlias()
	switch {
	case made.def.hasOption("WITHOUT"):
		indexes, err := indexesOf(s.db, made.relation)
		if err != nil {
			return nil, err
		}
		n := slices.IndexFunc(indexes, func(i index) bool { return i.origin == "pk" })
		if n < 0 {
			return nil, fmt.Errorf("gormdialect: table %s has no index for its primary key", made)
		}
		var on []string
		for _, c := range indexes[n].columns {
			// The index finds a row by the key's collation. The bytes decide.
			is, was := "n."+quote(c.name), "+o."+quote(c.name)
			on = append(on, is+" = "+was+" COLLATE BINARY")
			if fold(c.collation) != "binary" {
				on = append(on, is+" = "+was+" COLLATE "+quote(c.collation))
			}
		}
		return &pairing{from: join + strings.Join(on, " AND "), missing: "n." + quote(indexes[n].columns[0].name) + " IS NULL"}, nil
	case list.byPosition:
		var from []string
		for _, t := range []*table{old, made} {
			values := []string{"row_number() OVER () AS position"}
			for i, c := range made.columns {
				if t.column(c.name) != nil {
					values = append(values, fmt.Sprintf("%s AS v%d", quote(c.name), i))
				}
			}
			from = append(from, "(SELECT "+strings.Join(values, ", ")+" FROM "+t.sql()+" NOT INDEXED)")
		}
		return &pairing{from: from[0] + " AS o LEFT JOIN " + from[1] + " AS n ON n.position = o.position", missing: "n.position IS NULL", positions: true}, nil
	case list.from != "":
		key := "n." + quote(list.to)
		return &pairing{from: join + key + " = o." + quote(list.from), missing: key + " IS NULL"}, nil
	default:
		key := "n." + quote(alias)
		return &pairing{from: join + key + " = +o." + quote(alias), missing: key + " IS NULL"}, nil
	}
}

// affinity returns the affinity of a declared type, by the rules of
// https://sqlite.org/datatype3.html#determination_of_column_affinity
func affinity(dataType string, strict bool) string {
	dataType = fold(dataType)
	has := func(part string) bool { return strings.Contains(dataType, part) }
	switch {
	case strict && dataType == "any":
		return "BLOB"
	case has("int"):
		return "INTEGER"
	case has("char"), has("clob"), has("text"):
		return "TEXT"
	case has("blob"), dataType == "":
		return "BLOB"
	case has("real"), has("floa"), has("doub"):
		return "REAL"
	}
	return "NUMERIC"
}

// violations counts the rows that PRAGMA foreign_key_check reports for a table and for
// the tables that refer to it.
func (s *session) violations(r relation) (map[string]int, error) {
	references, err := referencesTo(s.db, r)
	if err != nil {
		return nil, err
	}
	tables := []string{r.name}
	for _, ref := range references {
		if !slices.Contains(tables, ref.child) {
			tables = append(tables, ref.child)
		}
	}
	found := map[string]int{}
	for _, name := range tables {
		checked := relation{schema: r.schema, name: name}
		rows, err := queryStrings(s.db, `SELECT "table" || coalesce(' ' || rowid, '') || ' refers to ' || parent FROM pragma_foreign_key_check(`+checked.args()+`)`)
		if err != nil {
			// The parent has no matching unique key, which may be so before the rebuild, too.
			if !strings.Contains(err.Error(), "foreign key mismatch") {
				return nil, err
			}
			found[name+": "+err.Error()]++
		}
		for _, row := range rows {
			found[row]++
		}
	}
	return found, nil
}

// sameObjects returns an error if an index, a trigger, a view or another table has
// changed. It ignores the table itself and the indexes that go with a dropped column.
func (s *session) sameObjects(t *table, c *change, before []object) error {
	after, err := objectsOf(s.db, t.schema)
	if err != nil {
		return err
	}
	relevant := func(o object) bool {
		return o.sql != "" && o.name != "sqlite_sequence" && // SQLite creates it with the first AUTOINCREMENT
			!(o.schema == t.schema && o.kind == "table" && o.name == t.name) &&
			!(o.schema == t.schema && o.kind == "index" && slices.Contains(c.indexes, o.name))
	}
	for _, o := range before {
		if relevant(o) && !slices.Contains(after, o) {
			return fmt.Errorf("gormdialect: table %s is not changed: its %s would not be as before", t, o)
		}
	}
	for _, o := range after {
		if relevant(o) && !slices.Contains(before, o) {
			return fmt.Errorf("gormdialect: table %s is not changed: there would be a new %s", t, o)
		}
	}
	return nil
}
