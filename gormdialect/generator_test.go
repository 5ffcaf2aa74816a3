//go:build cgo

package gormdialect_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gorm.io/gorm"
)

// A generator generates a schema, its rows and its migrations from a seed.
type generator struct {
	*rand.Rand
	n int // number of names generated
}

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

// name returns a name that is hard to parse: it begins or ends like a keyword, or has
// spaces, quotes or another script.
func (g *generator) name() string {
	g.n++
	return fmt.Sprintf(pick(g, "c%d", "checksum%d", "primary_key%d", "constraints%d", "uniqueness %d", "foreign key (%d", "generated always as %d",
		"with space %d", "quo\"te%d", "back`tick%d", "brac[ket%d", "apo'strophe%d", "com,ma%d", "par)en%d", "--dash%d", "/*comment%d", "q?mark%d", "at@sign%d",
		"ñandú%d", "таблица%d", "表%d", "tab\tbed%d", "new\nline%d", "select%d", "UPPER%d", "order by %d", "semi:colon%d", "$dollar%d", "not null %d"), g.n)
}

var bare = regexp.MustCompile(`^[\pL_][\pL\pN_$]*$`)

// quoted returns a name as some tool would write it, in quotes or without.
func (g *generator) quoted(name string) string {
	for {
		switch g.IntN(4) {
		case 0:
			if bare.MatchString(name) {
				return name
			}
		case 1:
			return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		case 2:
			return "`" + strings.ReplaceAll(name, "`", "``") + "`"
		case 3:
			if !strings.Contains(name, "]") {
				return "[" + name + "]"
			}
		}
	}
}

// space returns white space, or a comment that looks like SQL.
func (g *generator) space() string {
	if g.chance(85) {
		return pick(g, " ", "\t", "\n", "  ", "\r\n ")
	}
	return pick(g, "/* it's a comment, (really */", " -- a line, CHECK ( 'x\n", "/**/", " /* CONSTRAINT x -- */ ")
}

// joins reports whether SQLite needs no space between two parts.
func (g *generator) joins(left, right string) bool {
	solid := regexp.MustCompile("^[\\pL\\pN_$'\"`]$")
	last, _ := utf8.DecodeLastRuneInString(left)
	first, _ := utf8.DecodeRuneInString(right)
	return !solid.MatchString(string(last)) || !solid.MatchString(string(first)) || strings.ContainsRune("'\"`", last) && !strings.ContainsRune("'\"`", first)
}

func (g *generator) join(parts ...string) string {
	var out strings.Builder
	for _, p := range parts {
		if p == "" {
			continue
		}
		if out.Len() > 0 && (!g.chance(30) || !g.joins(out.String(), p)) {
			out.WriteString(g.space())
		}
		out.WriteString(p)
	}
	return out.String()
}

// A randomTable is a table to migrate.
type randomTable struct {
	name    string
	columns []*randomColumn
	strict  bool
	without bool
	rowid   string // a name of the rowid, or ""

	// keeps are the parts of the CREATE TABLE that a migration of other columns keeps.
	keeps []keep
	// constraints names the constraints that can be dropped.
	constraints []string
}

type keep struct {
	text    string
	columns []string // the columns that text mentions
	name    string   // the name of the constraint
}

type randomColumn struct {
	name      string
	dataType  string
	generated bool
	key       bool
	notNull   bool
}

func (t *randomTable) column(name string) *randomColumn {
	for _, c := range t.columns {
		if c.name == name {
			return c
		}
	}
	return nil
}

// table generates a table and its CREATE TABLE.
func (g *generator) table() (*randomTable, []string) {
	t := &randomTable{name: g.name(), strict: g.chance(15)}
	for strings.Contains(t.name, ".") {
		t.name = g.name()
	}
	var items []string
	keyKind := g.IntN(9)
	count := 3 + g.IntN(5)
	for i := range count {
		c := &randomColumn{name: g.name()}
		if i > 0 && g.chance(6) {
			taken := pick(g, "rowid", "oid", "_rowid_")
			if t.column(taken) == nil {
				c.name = taken
			}
		}
		parts := []string{g.quoted(c.name)}
		if t.strict {
			c.dataType = pick(g, "INTEGER", "INT", "TEXT", "BLOB", "REAL", "ANY")
		} else {
			c.dataType = pick(g, "", "INTEGER", "int", "text", "VARCHAR(20)", "varchar ( 30 )", "decimal(10, 2)", "double precision", "unsigned big int", "BLOB", "real", "datetime", "NUMERIC", `"my type"`, "bool")
		}
		if keyKind <= 4 && i == 0 {
			c.key = true
			c.dataType = "INTEGER"
			if keyKind == 4 {
				c.dataType = "TEXT"
			}
		}
		if c.dataType != "" {
			parts = append(parts, c.dataType)
		}
		var constraints []string
		add := func(text string) {
			name := ""
			if g.chance(20) {
				name = g.name()
				text = g.join("CONSTRAINT", g.quoted(name), text)
				if strings.Contains(text, "CHECK") {
					t.constraints = append(t.constraints, name)
				}
			}
			constraints = append(constraints, text)
			t.keeps = append(t.keeps, keep{text, []string{c.name}, name})
		}
		switch {
		case c.key && keyKind == 0:
			add("PRIMARY KEY AUTOINCREMENT")
		case c.key && keyKind == 1:
			add("primary key")
		case c.key && keyKind == 2:
			add("PRIMARY KEY DESC")
		case c.key && keyKind == 3:
			add("PRIMARY KEY ON CONFLICT REPLACE")
		case c.key:
			add("PRIMARY KEY NOT NULL")
		case i > 1 && !t.strict && g.chance(15):
			c.generated = true
			first := g.quoted(t.columns[0].name)
			if g.chance(50) {
				first = g.quoted(t.columns[1].name)
			}
			text := g.join(pick(g, "GENERATED ALWAYS AS", "AS"), "("+g.join("typeof", "("+first+")", "|| ')('")+")") + pick(g, "", " STORED", " VIRTUAL")
			constraints = append(constraints, text)
			t.keeps = append(t.keeps, keep{text, []string{c.name, t.columns[0].name, t.columns[1].name}, ""})
		}
		if !c.key && !c.generated {
			if g.chance(25) {
				c.notNull = true
				constraints = append(constraints, pick(g, "NOT NULL", "not  null", "NOT NULL ON CONFLICT IGNORE"))
			}
			if (c.notNull || g.chance(25)) && !t.strict {
				constraints = append(constraints, g.join("DEFAULT", pick(g, "'it''s, ('", "5", "-1.5e3", "(1 + (2))", "NULL", "x'00ff'", "true", "'CHECK'", "CURRENT_TIMESTAMP", `"dq"`)))
			}
		}
		if !c.generated && g.chance(25) {
			add(g.join("CHECK", "("+g.join(g.quoted(c.name), "IS NOT", fmt.Sprintf("'never, ) %d'", g.IntN(1e6)))+")"))
		}
		if g.chance(20) {
			add(g.join("COLLATE", pick(g, "NOCASE", "RTRIM", "binary", `"nocase"`)))
		}
		if !c.key && !c.generated && g.chance(8) {
			constraints = append(constraints, pick(g, "UNIQUE", "unique ON CONFLICT REPLACE"))
		}
		if !c.generated && g.chance(12) {
			add(g.join("REFERENCES", pick(g, "parents", `"parents"`, "[parents]"), pick(g, "", "(id)"), pick(g, "", "ON DELETE CASCADE", "ON UPDATE SET NULL ON DELETE SET DEFAULT"), pick(g, "", "DEFERRABLE INITIALLY DEFERRED", "NOT DEFERRABLE")))
		}
		g.Shuffle(len(constraints), func(i, j int) { constraints[i], constraints[j] = constraints[j], constraints[i] })
		items = append(items, g.join(append(parts, constraints...)...))
		t.columns = append(t.columns, c)
	}
	ordinary := func() *randomColumn {
		for {
			if c := pick(g, t.columns...); !c.generated {
				return c
			}
		}
	}
	two := func() (a, b *randomColumn) {
		for a, b = ordinary(), ordinary(); a == b; b = ordinary() {
		}
		return a, b
	}
	constraint := func(text string, names ...string) {
		name := ""
		if g.chance(50) {
			name = g.name()
			text = g.join("CONSTRAINT", g.quoted(name), text)
			t.constraints = append(t.constraints, name)
		}
		items = append(items, text)
		t.keeps = append(t.keeps, keep{text, names, name})
	}
	switch keyKind {
	case 5:
		a, b := two()
		a.key, b.key = true, true
		constraint(g.join("PRIMARY KEY", "("+g.quoted(a.name)+","+g.quoted(b.name)+" DESC)"), a.name, b.name)
	case 6:
		a := ordinary()
		a.key = true
		constraint(g.join("PRIMARY KEY", "("+g.quoted(a.name)+" COLLATE NOCASE)"), a.name)
	}
	if g.chance(25) {
		a, b := two()
		constraint(g.join("UNIQUE", "("+g.quoted(a.name)+" COLLATE BINARY,"+g.quoted(b.name)+")"), a.name, b.name)
	}
	if g.chance(30) {
		a, b := two()
		constraint(g.join("CHECK", "("+g.quoted(a.name)+" IS NOT 'no,(' OR ("+g.quoted(b.name)+" IS NULL))"), a.name, b.name)
	}
	if g.chance(20) {
		a := ordinary()
		constraint(g.join("FOREIGN KEY", "("+g.quoted(a.name)+")", "REFERENCES", "parents(id)", pick(g, "", "ON DELETE SET NULL")), a.name)
	}
	if g.chance(10) {
		a := t.columns[0]
		constraint(g.join("FOREIGN KEY", "("+g.quoted(ordinary().name)+")", "REFERENCES", g.quoted(t.name)+"("+g.quoted(a.name)+")", pick(g, "", "ON DELETE CASCADE")), a.name)
		t.keeps = t.keeps[:len(t.keeps)-1] // the other column may go
	}
	t.without = (keyKind >= 1 && keyKind <= 6) && g.chance(20)
	var options []string
	if t.without {
		options = append(options, "WITHOUT ROWID")
	}
	if t.strict {
		options = append(options, "STRICT")
	}
	g.Shuffle(len(options), func(i, j int) { options[i], options[j] = options[j], options[i] })
	body := items[0]
	for i, item := range items[1:] {
		comma := ","
		if i+1 > count && g.chance(10) {
			comma = " " // between constraints it is optional
		}
		body += comma + g.space() + item
	}
	create := g.join("CREATE TABLE", g.quoted(t.name), "("+g.space()+body+g.space()+")") + strings.Join(options, ",")
	if !t.without {
		for _, name := range []string{"rowid", "oid", "_rowid_"} {
			if t.column(name) == nil {
				t.rowid = name
			}
		}
	}
	return t, []string{create}
}

// around generates indexes, triggers and views that name a table.
func (g *generator) around(t *randomTable) (statements []string) {
	table := g.quoted(t.name)
	for range g.IntN(4) {
		a, b := pick(g, t.columns...), pick(g, t.columns...)
		index := g.join("CREATE", pick(g, "INDEX", "INDEX", "UNIQUE INDEX"), g.quoted(g.name()), "ON", table) + "("
		switch g.IntN(4) {
		case 0:
			index += g.quoted(a.name) + " COLLATE NOCASE DESC)"
		case 1:
			index += "length(" + g.quoted(a.name) + "), " + g.quoted(b.name) + ")"
		case 2:
			index += g.quoted(a.name) + ") WHERE " + g.quoted(b.name) + " IS NOT NULL"
		default:
			index += g.quoted(a.name) + ")"
		}
		statements = append(statements, index)
	}
	c := pick(g, t.columns...)
	col := g.quoted(c.name)
	if g.chance(30) {
		statements = append(statements, g.join("CREATE TRIGGER", g.quoted(g.name()), pick(g, "AFTER INSERT", "BEFORE UPDATE OF "+col, "AFTER DELETE"), "ON", table, "BEGIN INSERT INTO log VALUES ('x; ON @y'); END"))
	}
	if g.chance(30) {
		statements = append(statements, g.join("CREATE TRIGGER", g.quoted(g.name()), "AFTER INSERT ON log BEGIN UPDATE", table, "SET", "rowid = rowid WHERE 0; END"))
		if t.rowid != "rowid" {
			statements = statements[:len(statements)-1]
		}
	}
	if g.chance(25) {
		statements = append(statements, g.join("CREATE TRIGGER", g.quoted(g.name()), "AFTER UPDATE ON log BEGIN DELETE FROM", table, "WHERE", col, "= 'gone'; END"))
	}
	if g.chance(35) {
		view := g.quoted(g.name())
		statements = append(statements, g.join("CREATE VIEW", view, "AS SELECT", pick(g, col, "*", "count(*) AS n"), "FROM", table))
		if g.chance(50) {
			statements = append(statements, g.join("CREATE TRIGGER", g.quoted(g.name()), "INSTEAD OF INSERT ON", view, "BEGIN INSERT INTO log SELECT count(*) FROM", table+"; END"))
		}
	}
	if g.chance(10) {
		statements = append(statements, "CREATE VIEW broken AS SELECT a FROM nowhere")
	}
	return statements
}

// value returns a value of any type, often one that equals another in some collation.
func (g *generator) value() any {
	switch g.IntN(10) {
	case 0:
		return nil
	case 1, 2:
		return int64(g.IntN(20) - 5)
	case 3:
		return pick[int64](g, math.MaxInt64, math.MinInt64, 1<<53+1, 0)
	case 4:
		return pick(g, 0.5, -1e300, 3.0, math.SmallestNonzeroFloat64, 0.1)
	case 5:
		return []byte(pick(g, "", "\x00\xff", "abc"))
	case 6:
		return pick(g, "abc", "ABC", "aBc ", "abc  ")
	case 7:
		return pick(g, "12", "012", "1e3", " 7", "3.0", "x\x00y", "")
	default:
		return fmt.Sprint("v", g.IntN(1000))
	}
}

func sqlOf(value any) string {
	switch v := value.(type) {
	case nil:
		return "NULL"
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'e', -1, 64)
	case []byte:
		return fmt.Sprintf("x'%x'", v)
	}
	// The text may have a NUL.
	return fmt.Sprintf("CAST(x'%x' AS TEXT)", value)
}

// fill inserts rows. The constraints may refuse some.
func (g *generator) fill(db *gorm.DB, t *randomTable) {
	for range g.IntN(25) {
		var into, values []string
		if t.rowid != "" && g.chance(30) {
			into, values = append(into, ident(t.rowid)), append(values, strconv.Itoa(g.IntN(1000)-100))
		}
		for _, c := range t.columns {
			if c.generated || g.chance(10) {
				continue
			}
			v := g.value()
			if t.strict {
				switch c.dataType {
				case "INTEGER", "INT":
					v = int64(g.IntN(1000))
				case "TEXT":
					v = pick(g, "abc", "ABC", fmt.Sprint(g.IntN(1e6)))
				case "REAL":
					v = g.Float64()
				case "BLOB":
					v = []byte{byte(g.IntN(256))}
				}
			}
			into, values = append(into, ident(c.name)), append(values, sqlOf(v))
		}
		if len(into) > 0 {
			db.Exec("INSERT INTO " + ident(t.name) + " (" + strings.Join(into, ",") + ") VALUES (" + strings.Join(values, ",") + ")")
		}
	}
	if g.chance(50) {
		db.Exec("DELETE FROM " + ident(t.name) + " WHERE " + ident(t.columns[0].name) + " >= 5 AND " + ident(t.columns[0].name) + " < 900")
	}
}

// An operation is a migration and the changes that it may make.
type operation struct {
	name    string
	run     func(db *gorm.DB) error
	altered string    // the column whose type changes
	to      string    // the new type of altered
	maybe   bool      // GORM may also keep the type of altered
	dropped string    // the column to drop
	added   string    // the column to add
	renamed [2]string // the old and the new name of a column
	without string    // the name of the constraint to drop
	with    string    // the text of the constraint to add
	done    func()    // records the change in the randomTable
}

// columnTag names a column in a tag. It escapes semicolons, which end a part of a tag.
func columnTag(name string) string { return "column:" + strings.ReplaceAll(name, ";", `\;`) }

func (g *generator) operation(table *randomTable) operation {
	c := pick(g, table.columns...)
	on := func(db *gorm.DB) gorm.Migrator { return db.Table(table.name).Migrator() }
	byName := any(pick(g, table.name, ident(table.name), "main."+ident(table.name)))
	switch g.IntN(12) {
	case 0, 1, 2, 3:
		to := pick(g, "text", "integer", "varchar(77)", "blob", "real", "numeric")
		if g.chance(40) && c.dataType != "" {
			to = strings.ToLower(c.dataType)
		}
		tag := columnTag(c.name) + ";type:" + to + pick(g, "", "", ";not null", ";default:5")
		if c.key {
			tag += ";primaryKey"
		}
		return operation{name: "AlterColumn " + tag, altered: c.name, to: to,
			run:  func(db *gorm.DB) error { return on(db).AlterColumn(model(tag), c.name) },
			done: func() { c.dataType = to }}
	case 4, 5:
		return operation{name: "DropColumn " + c.name, dropped: c.name,
			run: func(db *gorm.DB) error { return db.Migrator().DropColumn(byName, c.name) },
			done: func() {
				table.columns = slices.DeleteFunc(table.columns, func(o *randomColumn) bool { return o == c })
				table.keeps = slices.DeleteFunc(table.keeps, func(k keep) bool { return slices.Contains(k.columns, c.name) })
			}}
	case 6:
		name := g.name()
		to := pick(g, "text", "integer", "blob")
		tag := columnTag(name) + ";type:" + to + pick(g, "", ";default:7", ";default:CURRENT_TIMESTAMP", ";unique", ";not null;default:1")
		return operation{name: "AddColumn " + tag, added: name,
			run:  func(db *gorm.DB) error { return on(db).AddColumn(model(tag), name) },
			done: func() { table.columns = append(table.columns, &randomColumn{name: name, dataType: to}) }}
	case 7:
		name := g.name()
		return operation{name: "RenameColumn " + c.name + " to " + name, renamed: [2]string{c.name, name},
			run: func(db *gorm.DB) error { return db.Migrator().RenameColumn(byName, c.name, name) },
			done: func() {
				table.keeps = slices.DeleteFunc(table.keeps, func(k keep) bool { return slices.Contains(k.columns, c.name) })
				c.name = name
			}}
	case 8:
		if len(table.constraints) > 0 {
			name := pick(g, table.constraints...)
			return operation{name: "DropConstraint " + name, without: name,
				run: func(db *gorm.DB) error { return db.Migrator().DropConstraint(byName, name) },
				done: func() {
					table.constraints = slices.DeleteFunc(table.constraints, func(o string) bool { return o == name })
					table.keeps = slices.DeleteFunc(table.keeps, func(k keep) bool { return k.name == name })
				}}
		}
		fallthrough
	case 9:
		tag := columnTag(c.name) + ";check:made_check,1 = 1 OR 'a,b' <> ')'"
		return operation{name: "CreateConstraint " + tag, with: "CHECK (1 = 1 OR 'a,b' <> ')')",
			run:  func(db *gorm.DB) error { return on(db).CreateConstraint(model(tag), "made_check") },
			done: func() {}}
	case 10:
		tag := columnTag(c.name) + ";unique"
		return operation{name: "CreateConstraint " + tag, with: "UNIQUE (",
			run:  func(db *gorm.DB) error { return on(db).CreateConstraint(model(tag), c.name) },
			done: func() {}}
	default:
		name := g.name()
		tags := []string{columnTag(c.name) + ";type:text", columnTag(name) + ";type:text;index:made_index_" + strconv.Itoa(g.n)}
		if c.key {
			tags[0] += ";primaryKey"
		}
		return operation{name: "AutoMigrate " + tags[0], altered: c.name, to: "text", maybe: true, added: name,
			run: func(db *gorm.DB) error {
				return db.Transaction(func(tx *gorm.DB) error { return tx.Table(table.name).AutoMigrate(model(tags...)) })
			},
			done: func() {
				table.columns = append(table.columns, &randomColumn{name: name, dataType: "text"})
			}}
	}
}
