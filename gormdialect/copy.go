package gormdialect

import (
	"fmt"
	"strings"
)

// A copyPlan lists the columns to copy from an old table to a new one.
type copyPlan struct {
	columns []string // in both tables, under the same names

	// from and to name the rowid in the old and the new table. They are empty if the
	// rowid is one of the columns.
	from, to string

	// byPosition is true if the rowid of one table has no name, because columns have
	// all three names. The rows then keep their order, but not their rowids.
	byPosition bool
}

// copyList plans the copy of t's rows. SQLite computes generated columns again, and
// columns that t does not have get their defaults.
func copyList(t *table, wanted *definition) (*copyPlan, error) {
	list := &copyPlan{}
	for i := range wanted.columns {
		d := &wanted.columns[i]
		old := t.column(d.name.name())
		computed := d.find(generated) != nil
		switch {
		case old == nil || !old.stored() && computed:
		case old.stored() && computed:
			return nil, fmt.Errorf("gormdialect: column %s of table %s cannot become a generated column: its values would be lost; drop it first", old.name, t)
		case !old.stored():
			return nil, fmt.Errorf("gormdialect: column %s of table %s is generated and cannot become an ordinary column; drop it first", old.name, t)
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

// rowidName returns a name of the rowid that no column has, or "".
func rowidName(d *definition) string {
	for _, name := range []string{"rowid", "_rowid_", "oid"} {
		if d.column(name) == nil {
			return name
		}
	}
	return ""
}

// insert returns the statement that copies the rows. OR ABORT makes a conflict an
// error, also where a constraint of the new table has another ON CONFLICT.
func (l *copyPlan) insert(to, from string) string {
	var into, values []string
	if !l.byPosition && l.from != "" {
		into, values = append(into, quote(l.to)), append(values, quote(l.from))
	}
	for _, c := range l.columns {
		into, values = append(into, quote(c)), append(values, quote(c))
	}
	// NOT INDEXED reads the rows in the order of their rowids.
	return "INSERT OR ABORT INTO " + to + " (" + strings.Join(into, ", ") + ") SELECT " + strings.Join(values, ", ") + " FROM " + from + " NOT INDEXED"
}
