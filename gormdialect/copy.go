package gormdialect

import (
	"fmt"
	"strings"
)

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

// copyList plans the copy of t's rows. Generated columns are computed anew, and
// columns that t has not get their defaults.
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

// insert is the statement that copies the rows. What conflicts is an error,
// whatever the constraints of the new table say.
func (l *copyPlan) insert(to, from string) string {
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
