package gormdialect

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A change is what a migration does to a table.
type change struct {
	// sql is the CREATE TABLE that the table is to have, under its present name.
	sql string

	// alter does the same without a new table, if there is such a way.
	alter []string

	// dropped is the column that goes, "" for none.
	dropped string

	// indexes are the indexes that go with it.
	indexes []string
}

// apply changes a table: by ALTER TABLE where SQLite can, else by a new table.
func (s *session) apply(t *table, c *change, guard bool) error {
	wanted, err := parseDefinition(c.sql)
	if err != nil {
		return fmt.Errorf("gormdialect: table %s would become %w", t, err)
	}
	var views []object
	if c.dropped != "" && !s.db.DryRun {
		objects, err := objectsOf(s.db, t.schema)
		if err != nil {
			return err
		}
		if err := s.notNamed(t, c.dropped, objects); err != nil {
			return err
		}
		if views, err = s.working(objects); err != nil {
			return err
		}
	}
	var altered error
	if len(c.alter) > 0 {
		altered = s.alter(t, c, wanted)
		if altered != nil && s.db.Statement.Context.Err() != nil {
			return altered
		}
	}
	if len(c.alter) == 0 || altered != nil {
		err := s.rebuild(t, c, wanted, guard)
		if err != nil && altered != nil {
			return fmt.Errorf("%w (and by ALTER TABLE: %w)", err, altered)
		}
		if err != nil {
			return err
		}
	}
	for _, view := range views {
		if err := s.works(view); err != nil {
			return fmt.Errorf("gormdialect: table %s is not changed: %s would not work any more: %w", t, view, err)
		}
	}
	return nil
}

// working is the views that can be read.
func (s *session) working(objects []object) (views []object, err error) {
	for _, o := range objects {
		if o.kind != "view" {
			continue
		}
		if s.works(o) == nil {
			views = append(views, o)
		} else if err := s.db.Statement.Context.Err(); err != nil {
			return nil, err
		}
	}
	return views, nil
}

// works compiles a query of a view.
func (s *session) works(view object) error {
	_, err := queryStrings(s.db, "SELECT 1 FROM "+relation{schema: view.schema, name: view.name}.sql()+" LIMIT 0")
	return err
}

// alter changes a table by ALTER TABLE. If that fails or does anything else than what is
// wanted, nothing is changed.
func (s *session) alter(t *table, c *change, wanted *definition) error {
	if s.db.DryRun {
		return s.exec(c.alter...)
	}
	before, err := objectsOf(s.db, t.schema)
	if err != nil {
		return err
	}
	return s.savepoint("sqlite_mem_alter", func() error {
		for _, index := range c.indexes {
			if err := s.exec("DROP INDEX " + relation{schema: t.schema, name: index}.sql()); err != nil {
				return err
			}
		}
		if err := s.exec(c.alter...); err != nil {
			return err
		}
		after, err := readTable(s.db, t.relation)
		if err != nil {
			return err
		}
		if !after.def.same(wanted) {
			return fmt.Errorf("gormdialect: SQLite made %s of table %s", after.def.sql, t)
		}
		return s.sameObjects(t, c, before)
	})
}

// rebuild makes a table anew, as https://sqlite.org/lang_altertable.html#otheralter
// says: a new table, the rows, the old table dropped, the new one renamed, and all
// that went with the old one made again.
func (s *session) rebuild(t *table, c *change, wanted *definition, guard bool) error {
	if err := s.mayDrop(t.relation, "rebuilt", nil); err != nil {
		return err
	}
	before, err := objectsOf(s.db, t.schema)
	if err != nil {
		return err
	}
	scratch := relation{schema: t.schema, name: scratchName(t.name, before), kind: "table"}
	list, err := copyList(t, wanted)
	if err != nil {
		return err
	}
	create := wanted.withName(t.schema, scratch.name)
	fill := list.insert(scratch.sql(), t.sql(), t.def)
	if s.db.DryRun {
		statements := []string{create, fill, "DROP TABLE " + t.sql(), "ALTER TABLE " + scratch.sql() + " RENAME TO " + quote(t.name)}
		for _, o := range before {
			if o.sql != "" && o.kind != "table" && o.kind != "view" && fold(o.table) == fold(t.name) && !slices.Contains(c.indexes, o.name) {
				statement, err := o.create()
				if err != nil {
					return err
				}
				statements = append(statements, statement)
			}
		}
		return s.exec(statements...)
	}

	statistics, err := s.statistics(t)
	if err != nil {
		return err
	}
	var violations map[string]int
	if guard {
		if violations, err = s.violations(t.relation); err != nil {
			return err
		}
	}
	if err := s.exec(create, fill); err != nil {
		return fmt.Errorf("gormdialect: table %s cannot be rebuilt: %w", t, err)
	}
	made, err := readTable(s.db, scratch)
	if err != nil {
		return err
	}
	if !made.def.same(wanted) {
		return fmt.Errorf("gormdialect: table %s: SQLite made %s of %s", t, made.def.sql, wanted.sql)
	}
	if guard {
		if err := s.sameContent(t, made, list); err != nil {
			return err
		}
	}
	keepSequence := t.def.autoIncrement() && made.def.autoIncrement()
	if keepSequence {
		if err := s.copySequence(t.schema, t.name, scratch.name); err != nil {
			return err
		}
	}
	if err := s.exec("DROP TABLE " + t.sql()); err != nil {
		return fmt.Errorf("gormdialect: table %s cannot be rebuilt: %w", t, err)
	}
	if err := s.takeName(t, made, keepSequence, guard); err != nil {
		return err
	}
	if err := s.restore(t, c, before); err != nil {
		return err
	}
	if err := s.restoreStatistics(t, statistics); err != nil {
		return err
	}
	if c.dropped != "" {
		if err := s.stillResolves(t); err != nil {
			return err
		}
	}
	if !guard {
		return nil
	}
	if err := s.sameObjects(t, c, before); err != nil {
		return err
	}
	after, err := s.violations(t.relation)
	if err != nil {
		return err
	}
	for row, n := range after {
		if n > violations[row] {
			return fmt.Errorf("gormdialect: table %s is not rebuilt: a foreign key would be violated: %s", t, row)
		}
	}
	return nil
}

// scratchName is a name that nothing in the schema or in temp has.
func scratchName(name string, objects []object) string {
	for scratch := name + "__new"; ; scratch += "_" {
		if !slices.ContainsFunc(objects, func(o object) bool { return fold(o.name) == fold(scratch) }) {
			return scratch
		}
	}
}

// mayDrop is an error if a table cannot be dropped without an effect on the rows of others,
// but for those that are dropped with it. Only while foreign keys are enforced there is any.
func (s *session) mayDrop(r relation, what string, with []relation) error {
	if !s.enforced {
		return nil
	}
	list, err := referencesTo(s.db, r)
	if err != nil {
		return err
	}
	for _, ref := range list {
		child := relation{schema: r.schema, name: ref.child}
		if slices.ContainsFunc(with, func(o relation) bool { return o.schema == child.schema && o.name == child.name }) {
			continue
		}
		refers := make([]string, len(ref.columns))
		for i, column := range ref.columns {
			refers[i] = quote(column) + " IS NOT NULL"
		}
		found, err := queryStrings(s.db, "SELECT 1 FROM "+child.sql()+" WHERE "+strings.Join(refers, " AND ")+" LIMIT 1")
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return fmt.Errorf("gormdialect: table %s cannot be %s inside a transaction with foreign keys on: rows of %s refer to it, and dropping it would act on them; "+
				"migrate outside of the transaction, or with PRAGMA foreign_keys = OFF before it begins", r, what, child)
		}
	}
	return nil
}

// A copyPlan is the columns that are copied to a new table.
type copyPlan struct {
	columns []string // of the new table, and of the old one under the same names

	// from and to are the names of the rowid in the old and the new table, if it is
	// not one of the columns.
	from, to string

	// byPosition: the rowids of one of the tables have no name, because columns
	// have all three of them. Rows keep their order then.
	byPosition bool
}

// copyList plans the copy of t's rows. Generated columns are computed anew, and columns that t has
// not get their defaults.
func copyList(t *table, wanted *definition) (*copyPlan, error) {
	list := &copyPlan{}
	for i := range wanted.columns {
		d := &wanted.columns[i]
		old := t.column(d.name.name())
		computed := d.find(generated) != nil
		switch {
		case old == nil || !old.stored() && computed:
		case old.stored() && computed:
			return nil, fmt.Errorf("gormdialect: column %s of table %s cannot become a generated one: its values would be lost", old.name, t)
		case !old.stored():
			return nil, fmt.Errorf("gormdialect: column %s of table %s is generated and cannot become an ordinary one", old.name, t)
		default:
			list.columns = append(list.columns, old.name)
		}
	}
	if wanted.hasOption("WITHOUT") {
		return list, nil
	}
	oldAlias, newAlias := t.def.rowidAlias(), wanted.rowidAlias()
	if newAlias != "" && t.column(newAlias) != nil {
		return list, nil // copied with the column
	}
	if list.from = oldAlias; oldAlias == "" {
		list.from = rowidName(t.def)
	}
	if list.to = newAlias; newAlias == "" {
		list.to = rowidName(wanted)
	}
	list.byPosition = list.from == "" || list.to == ""
	return list, nil
}

// rowidName is a name for the rowid that no column has, or "".
func rowidName(d *definition) string {
	for _, name := range []string{"rowid", "_rowid_", "oid"} {
		if d.column(name) == nil {
			return name
		}
	}
	return ""
}

// insert is the statement that copies the rows. What conflicts is an error, whatever the
// constraints of the new table say.
func (l *copyPlan) insert(to, from string, old *definition) string {
	var into, values []string
	if !l.byPosition && l.from != "" {
		into, values = append(into, quote(l.to)), append(values, quote(l.from))
	}
	for _, c := range l.columns {
		into, values = append(into, quote(c)), append(values, quote(c))
	}
	// Without an index the rows come in the order of their rowids.
	return "INSERT OR ABORT INTO " + to + " (" + strings.Join(into, ", ") + ") SELECT " + strings.Join(values, ", ") + " FROM " + from + " NOT INDEXED"
}

// copySequence gives one AUTOINCREMENT table the last key of another.
func (s *session) copySequence(schema, from, to string) error {
	sequence := quote(schema) + ".sqlite_sequence"
	return s.exec("DELETE FROM "+sequence+" WHERE name = "+stringLiteral(to),
		"INSERT INTO "+sequence+" (name, seq) SELECT "+stringLiteral(to)+", seq FROM "+sequence+" WHERE name = "+stringLiteral(from))
}

// takeName gives the new table the name of the old one, which is gone.
func (s *session) takeName(t, made *table, keepSequence, guard bool) error {
	if s.joined {
		return s.copyAgain(t, made, keepSequence, guard)
	}
	// While this is on, SQLite renames the table and does not look at the triggers and views that
	// name it: they mean the new table as they meant the old one.
	legacy, err := setting(s.db, "legacy_alter_table")
	if err != nil {
		return err
	}
	if !legacy {
		s.legacyAlter = true
		if err := s.exec("PRAGMA legacy_alter_table = ON"); err != nil {
			return err
		}
	}
	if err := s.exec("ALTER TABLE " + made.sql() + " RENAME TO " + quote(t.name)); err != nil {
		return fmt.Errorf("gormdialect: table %s cannot be rebuilt: %w", t, err)
	}
	if !legacy {
		if err := s.exec("PRAGMA legacy_alter_table = OFF"); err != nil {
			return err
		}
		s.legacyAlter = false
	}
	return nil
}

// copyAgain does without the setting that a rename needs: the caller's transaction may be
// over at any time, and a setting that cannot be undone then would stay with the connection.
func (s *session) copyAgain(t, made *table, keepSequence, guard bool) error {
	list, err := copyList(made, made.def)
	if err != nil {
		return err
	}
	if err := s.exec(made.def.withName(t.schema, t.name), list.insert(t.sql(), made.sql(), made.def)); err != nil {
		return fmt.Errorf("gormdialect: table %s cannot be rebuilt: %w", t, err)
	}
	again, err := readTable(s.db, t.relation)
	if err != nil {
		return err
	}
	if guard {
		if err := s.sameContent(made, again, list); err != nil {
			return err
		}
	}
	if keepSequence {
		if err := s.copySequence(t.schema, made.name, t.name); err != nil {
			return err
		}
	}
	return s.exec("DROP TABLE " + made.sql())
}

// restore makes the indexes and triggers again that went with the old table.
func (s *session) restore(t *table, c *change, before []object) error {
	after, err := objectsOf(s.db, t.schema)
	if err != nil {
		return err
	}
	for _, o := range before {
		went := o.sql != "" && (o.kind == "index" || o.kind == "trigger") && !slices.Contains(after, o)
		if !went || o.kind == "index" && slices.Contains(c.indexes, o.name) {
			continue
		}
		statement, err := o.create()
		if err == nil {
			err = s.exec(statement)
		}
		if err != nil {
			return fmt.Errorf("gormdialect: table %s is not rebuilt: its %s cannot be made again: %w", t, o, err)
		}
	}
	return nil
}

// A statistic is a row of what ANALYZE has found out.
type statistic struct {
	catalog string         // sqlite_stat1 or sqlite_stat4
	index   sql.NullString // NULL in what is about the table alone
	row     string         // the values that follow the table's name and the index
}

// statistics reads what ANALYZE has found out about a table. It goes with the table.
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
		if len(columns) < 3 { // tbl, idx and others
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

// restoreStatistics writes back what statistics has read, but for indexes that are gone. The
// index of a constraint may have another number in its name than before.
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
	return s.exec("ANALYZE " + quote(t.schema) + ".sqlite_master") // reads them
}

// notNamed is an error if a trigger, a view or another table names a column. SQLite is asked by a rename, which is
// undone: it writes the new name wherever the column is meant. The name alone would not do: "x" may be
// a string, or turn into one when the column is gone.
func (s *session) notNamed(t *table, name string, objects []object) error {
	if t.column(name).key > 0 {
		list, err := referencesTo(s.db, t.relation)
		if err != nil {
			return err
		}
		for _, ref := range list {
			if ref.toKey {
				return fmt.Errorf("gormdialect: column %s of table %s cannot be dropped: a foreign key of table %s refers to the primary key; drop that first", name, t, ref.child)
			}
		}
	}
	gone := name + "__gone"
	for t.column(gone) != nil {
		gone += "_"
	}
	legacy, err := setting(s.db, "legacy_alter_table")
	if err != nil {
		return err
	}
	renamed := objects
	errAsked := errors.New("undo")
	asked := s.savepoint("sqlite_mem_ask", func() error {
		if err := s.exec("ALTER TABLE " + t.sql() + " RENAME COLUMN " + quote(name) + " TO " + quote(gone)); err != nil {
			return err
		}
		if renamed, err = objectsOf(s.db, t.schema); err != nil {
			return err
		}
		return errAsked
	})
	if asked != errAsked || legacy {
		// SQLite does not rename, or not everywhere. What has the name is taken to mean the column.
		if err := s.db.Statement.Context.Err(); err != nil {
			return err
		}
		gone = name
	}
	for _, o := range renamed {
		own := o.schema == t.schema && fold(o.table) == fold(t.name) && (o.kind == "table" || o.kind == "index")
		if own || asked != errAsked && o.kind != "view" && o.kind != "trigger" {
			continue
		}
		tokens, err := tokenize(o.sql)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(tokens, func(t token) bool { return t.kind != text && fold(t.name()) == fold(gone) }) {
			return fmt.Errorf("gormdialect: column %s of table %s cannot be dropped: %s names it; drop that first", name, t, o)
		}
	}
	return nil
}

// stillResolves is an error if a trigger or a view names a column that is gone. SQLite looks at
// all of them when any column is dropped, here one of a table that is only made for that.
func (s *session) stillResolves(t *table) error {
	objects, err := objectsOf(s.db, t.schema)
	if err != nil {
		return err
	}
	probe := relation{schema: t.schema, name: scratchName("probe", objects)}
	errProbed := errors.New("undo")
	err = s.savepoint("sqlite_mem_probe", func() error {
		if err := s.exec("CREATE TABLE "+probe.sql()+" (a, b)", "ALTER TABLE "+probe.sql()+" DROP COLUMN b"); err != nil {
			return fmt.Errorf("gormdialect: table %s is not rebuilt: %w", t, err)
		}
		return errProbed
	})
	if err == errProbed {
		return nil
	}
	return err
}
