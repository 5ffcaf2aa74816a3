package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"
)

// A copySpec is what Copy knows of a table of this package.
type copySpec struct {
	name    string
	columns []specColumn // the key first
}

type specColumn struct {
	copyColumn
	optional bool // older tables do not have the column
}

// copySpecs returns the specs of the tables that Migrate creates.
func copySpecs() []copySpec {
	text := func(name string, most int) specColumn {
		return specColumn{copyColumn: copyColumn{name: name, kind: textKind, most: most, empty: ""}}
	}
	key := func(name string) specColumn { c := text(name, MaxKeyBytes); c.empty = nil; return c }
	number := func(name string) specColumn {
		return specColumn{copyColumn: copyColumn{name: name, kind: intKind, empty: int64(0)}}
	}
	stamp := func(name string) specColumn {
		return specColumn{copyColumn: copyColumn{name: name, kind: timeKind, digits: 3}}
	}
	optional := func(c specColumn) specColumn { c.optional = true; return c }
	return []copySpec{
		{Quota{}.TableName(), []specColumn{key("username"), number("max_storage"), number("created_at"),
			optional(number("first_login_at")), optional(number("last_login_at")), optional(text("used_token", MaxKeyBytes))}},
		{Contact{}.TableName(), []specColumn{key("slug"), text("url", MaxURLBytes), text("name", MaxContactNameBytes), stamp("created_at")}},
		{BlockedUser{}.TableName(), []specColumn{key("username"), text("reason", MaxValueBytes), stamp("blocked_at")}},
		{RegistrationToken{}.TableName(), []specColumn{key("token"), number("max_uses"), number("used_count"),
			text("comment", MaxValueBytes), stamp("created_at"), stamp("expires_at")}},
		entrySpec(TableSpec{TableEntry{}.TableName(), "key", "value"}),
	}
}

// entrySpec returns the spec of a key-value table.
func entrySpec(spec TableSpec) copySpec {
	return copySpec{spec.Name, []specColumn{
		{copyColumn: copyColumn{name: spec.KeyColumn, kind: textKind, most: MaxKeyBytes}},
		{copyColumn: copyColumn{name: spec.ValueColumn, kind: textKind, most: MaxValueBytes, empty: ""}},
	}}
}

// A planner matches the tables of the source with those of the target.
type planner struct {
	from, to       *gorm.DB
	source, target *catalog
	specs          []copySpec
	own            int             // the first specs are those of Migrate
	excluded       map[string]bool // CopyOptions.Exclude in lower case → found in the source
	problems       []error

	// The names of the tables of quotas. ignored is the other table in the source. It is
	// empty or equal, and is not copied.
	sourceQuotas, targetQuotas, ignored string
}

func (p *planner) problem(field, format string, args ...any) {
	p.problems = append(p.problems, &InvalidError{field, fmt.Sprintf(format, args...)})
}

// exclude reports whether a table or a column is excluded by its name.
func (p *planner) exclude(name string) bool {
	name = strings.ToLower(name)
	if _, ok := p.excluded[name]; !ok {
		return false
	}
	p.excluded[name] = true
	return true
}

// findQuotas finds the tables of quotas on both sides.
func (p *planner) findQuotas() (err error) {
	if p.sourceQuotas, err = quotaTable(p.from); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if p.targetQuotas, err = quotaTable(p.to); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	p.ignored = madmailQuotas
	if p.sourceQuotas == madmailQuotas {
		p.ignored = ownQuotas
	}
	return nil
}

// plan returns the tables in the order of the copy.
func (p *planner) plan() (tables []*copyTable, err error) {
	if err := p.findQuotas(); err != nil {
		return nil, err
	}
	planned := map[string]bool{}
	for i, spec := range p.specs {
		name := spec.name
		if i == 0 {
			name = p.sourceQuotas
		}
		found := p.source.find(name)
		switch {
		case len(found) > 1:
			p.ambiguous("source table "+name, found)
		case p.exclude(name):
			planned[strings.ToLower(name)] = true
		case len(found) == 1:
			planned[strings.ToLower(name)] = true
			if t := p.table(found[0], &spec); t != nil {
				tables = append(tables, t)
			}
		case i >= p.own:
			return nil, fmt.Errorf("source table %s: %w", name, ErrNotFound)
		default:
			tables = append(tables, &copyTable{source: name, name: spec.name, report: TableReport{Table: spec.name, Missing: true}})
		}
	}
	for _, st := range p.source.tables {
		if planned[strings.ToLower(st.name)] || strings.EqualFold(st.name, p.ignored) || p.exclude(st.name) {
			continue
		}
		if found := p.source.find(st.name); len(found) > 1 {
			p.ambiguous("source table "+st.name, found)
			continue
		}
		if t := p.table(st, nil); t != nil {
			tables = append(tables, t)
		}
	}
	for name, found := range p.excluded {
		if !found {
			p.problem("CopyOptions.Exclude", "has %s, which the source does not have", brief(name))
		}
	}
	tables = p.sort(tables)
	if len(p.problems) == 0 && !slices.ContainsFunc(tables, func(t *copyTable) bool { return !t.report.Missing }) {
		return nil, fmt.Errorf("the source has no table to copy: %w", ErrNotFound)
	}
	return tables, nil
}

func (p *planner) ambiguous(field string, found []*tableInfo) {
	var names []string
	for _, t := range found {
		names = append(names, t.name)
	}
	p.problem(field, "matches several tables without regard to case: %s; exclude or rename them", strings.Join(names, ", "))
}

// table plans the copy of a table. It returns nil after a problem.
func (p *planner) table(st *tableInfo, spec *copySpec) *copyTable {
	before := len(p.problems)
	field := "source table " + st.name
	name := st.name
	if strings.EqualFold(name, p.sourceQuotas) {
		name = p.targetQuotas
	}
	var tt *tableInfo
	switch found := p.target.find(name); {
	case len(found) > 1:
		p.ambiguous("target table "+name, found)
		return nil
	case len(found) == 1:
		tt = found[0]
	case spec == nil:
		p.problem(field, "is not in the target; create it there, or exclude it by name (CopyOptions.Exclude)")
		return nil
	}
	if st.virtual || tt != nil && tt.virtual {
		p.problem(field, "is a virtual table; exclude it by name (CopyOptions.Exclude)")
		return nil
	}
	t := &copyTable{source: st.name, name: name, create: tt == nil, rule: spec != nil || !sqliteDialect(p.to)}
	if tt != nil {
		t.name = tt.name
	}
	t.report.Table = t.name
	for _, err := range []error{checkIdentifier(field, st.name), checkIdentifier("target table "+t.name, t.name)} {
		if err != nil {
			p.problems = append(p.problems, err)
		}
	}
	p.columns(t, st, tt, spec)
	p.key(t, st, tt, spec)
	if len(p.problems) > before {
		return nil
	}
	return t
}

// columns plans the columns of a table.
func (p *planner) columns(t *copyTable, st, tt *tableInfo, spec *copySpec) {
	field := "source table " + st.name
	for _, sc := range st.columns {
		if p.exclude(st.name + "." + sc.name) {
			continue
		}
		if len(st.column(sc.name)) > 1 {
			p.problem(field, "has several columns %s without regard to case; exclude them by name (CopyOptions.Exclude)", sc.name)
			continue
		}
		c := copyColumn{source: sc.name, name: sc.name, from: sc.kind}
		known := false
		if spec != nil {
			n := slices.IndexFunc(spec.columns, func(s specColumn) bool { return strings.EqualFold(s.name, sc.name) })
			if known = n >= 0; known {
				c = spec.columns[n].copyColumn
				c.source, c.from, c.own = sc.name, sc.kind, true
			}
		}
		var found []columnInfo
		if tt != nil {
			found = tt.column(sc.name)
		}
		switch {
		case len(found) > 1:
			p.problem("target table "+t.name, "has several columns %s without regard to case; exclude the column by name (CopyOptions.Exclude)", sc.name)
			continue
		case len(found) == 1 && found[0].generated:
			if !sc.generated {
				p.problem(field, "has a column %s, which is generated in the target; exclude it by name (CopyOptions.Exclude)", sc.name)
			}
			continue
		case len(found) == 1:
			c.name, c.notNull = found[0].name, found[0].notNull
			if !known {
				c.kind, c.digits = found[0].kind, found[0].digits
				c.zero = p.to.Name() != mysqlDialect
				if sqliteDialect(p.from) && sqliteDialect(p.to) {
					c.blobs = !tt.strict && !found[0].rowid
					if tt.keeps(found[0], sc, st) {
						c.kind = anyKind
					}
				}
			}
		case !known: // Migrate adds the columns of a spec
			p.problem(field, "has a column %s, which is not in the target; exclude it by name (CopyOptions.Exclude)", sc.name)
			continue
		}
		if !known && (sc.kind == otherKind || c.kind == otherKind) {
			p.problem(field, "has a column %s of type %s (%s in the target), which is not converted; exclude it by name (CopyOptions.Exclude)",
				sc.name, sc.dataType, found[0].dataType)
			continue
		}
		for _, name := range []string{c.source, c.name} {
			if err := checkIdentifier(field+", column", name); err != nil {
				p.problems = append(p.problems, err)
			}
		}
		t.columns = append(t.columns, c)
	}
	copied := func(name string) bool {
		return slices.ContainsFunc(t.columns, func(c copyColumn) bool { return strings.EqualFold(c.name, name) })
	}
	if spec != nil {
		for _, c := range spec.columns {
			switch {
			case copied(c.name) || p.exclude(st.name+"."+c.name):
			case !c.optional:
				p.problem(field, "has no column %s", c.name)
			default:
				t.columns = append(t.columns, c.copyColumn)
			}
		}
	}
	if tt == nil {
		return
	}
	for _, tc := range tt.columns {
		if tc.notNull && !tc.hasDefault && !tc.generated && !copied(tc.name) {
			p.problem("target table "+t.name, "has a column %s, which needs a value and is not in the source", tc.name)
		}
	}
}

// key plans the key of a table: the target's primary key.
func (p *planner) key(t *copyTable, st, tt *tableInfo, spec *copySpec) {
	var names []string
	switch {
	case tt != nil:
		names = tt.key
	default:
		names = []string{spec.columns[0].name}
	}
	for _, name := range names {
		n := slices.IndexFunc(t.columns, func(c copyColumn) bool { return strings.EqualFold(c.name, name) })
		switch {
		case n < 0:
			p.problem("target table "+t.name, "has a key column %s, which is not copied", name)
			return
		case t.columns[n].kind == timeKind || t.columns[n].kind == floatKind:
			p.problem("target table "+t.name, "has a key column %s, and its values are no exact key", name)
			return
		}
		t.key = append(t.key, n)
	}
	// Without the same key in the source, a key may be there twice. In a table of this
	// package a blob and a text become one key.
	t.distinct = len(st.key) > 0 && len(st.key) == len(names) && (spec == nil || !sqliteDialect(p.from))
	for _, name := range st.key {
		t.distinct = t.distinct && slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
	}
}

// sort sorts tables so that a table comes after the tables that its foreign keys refer
// to. Tables that refer to each other are a problem, if the target checks foreign keys.
func (p *planner) sort(tables []*copyTable) (sorted []*copyTable) {
	enforced := true
	if sqliteDialect(p.to) {
		if err := p.to.Raw("PRAGMA foreign_keys").Row().Scan(&enforced); err != nil {
			p.problems = append(p.problems, err)
		}
	}
	state := map[*copyTable]int{} // 1: on the path, 2: sorted
	var visit func(t *copyTable)
	visit = func(t *copyTable) {
		state[t] = 1
		for _, pair := range p.target.parents {
			if !strings.EqualFold(pair[0], t.name) {
				continue
			}
			n := slices.IndexFunc(tables, func(o *copyTable) bool { return strings.EqualFold(o.name, pair[1]) })
			switch {
			case n < 0 || tables[n].report.Missing:
			case state[tables[n]] == 0:
				visit(tables[n])
			case state[tables[n]] == 1 && enforced:
				p.problem("target table "+t.name, "refers to table %s, which refers back; drop one of the foreign keys for the copy, or exclude a table (CopyOptions.Exclude)", pair[1])
			}
		}
		state[t] = 2
		sorted = append(sorted, t)
	}
	for _, t := range tables {
		if state[t] == 0 {
			visit(t)
		}
	}
	return sorted
}

// prepare checks the options, plans the copy, and creates the missing tables of the
// target.
func (c *copier) prepare(ctx context.Context) error {
	p := &planner{from: c.from, to: begin(ctx, c.to), specs: copySpecs(), excluded: map[string]bool{}}
	p.own = len(p.specs)
	var stores []*Table
	for _, spec := range c.options.Tables {
		store, err := NewTable(c.to, spec)
		if err != nil {
			return err
		}
		spec = store.Spec()
		if n := slices.IndexFunc(p.specs, func(s copySpec) bool { return s.name == spec.Name }); n >= 0 {
			if n >= p.own || spec.KeyColumn != "key" || spec.ValueColumn != "value" {
				return &InvalidError{"table", spec.Name + " is named twice"}
			}
			continue // table_entries is copied anyway
		}
		p.specs, stores = append(p.specs, entrySpec(spec)), append(stores, store)
	}
	for _, name := range c.options.Exclude {
		p.excluded[strings.ToLower(name)] = false
	}
	plan := func() (err error) {
		p.problems = nil
		if p.source, err = readCatalog(c.from); err != nil {
			return fmt.Errorf("source: %w", err)
		}
		if p.target, err = readCatalog(begin(ctx, c.to)); err != nil {
			return fmt.Errorf("target: %w", err)
		}
		c.tables, err = p.plan()
		return err
	}
	if err := plan(); err != nil {
		return err
	}
	c.problems = p.problems
	if c.options.DryRun {
		return nil
	}
	if len(p.problems) > 0 {
		return errors.Join(p.problems...)
	}
	if err := migrate(ctx, c.to); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	for _, store := range stores {
		if err := store.Migrate(ctx); err != nil {
			return err
		}
	}
	// The tables that were created are planned as the target has them.
	if err := plan(); err != nil {
		return err
	}
	return errors.Join(p.problems...)
}
