//go:build cgo

package gormdialect_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sqlite-mem/sqlite-mem/gormdialect"
)

// Ensure that each method works with a model and with every way to write a table's
// name.
func TestMethods_names(t *testing.T) {
	for _, value := range []any{&note{}, "notes", "`notes`", `"notes"`, "[notes]", "'notes'", "NOTES", "main.notes", `"main"."notes"`, "`main`.`notes`", " notes "} {
		t.Run(fmt.Sprint(value), func(t *testing.T) {
			db := open(t, gormdialect.Open(file(t)), quiet())
			m := db.Migrator()
			require.False(t, m.HasTable(value))
			require.False(t, m.HasColumn(value, "name"))
			require.False(t, m.HasIndex(value, "i"))
			require.False(t, m.HasConstraint(value, "c"))
			require.NoError(t, m.DropTable(value), "IF EXISTS, as in every dialect of GORM's")
			require.NoError(t, db.Exec("CREATE TABLE notes (id INTEGER PRIMARY KEY,\nname TEXT UNIQUE, qty INT CONSTRAINT c CHECK (qty > 0), other, CONSTRAINT d CHECK (other IS NOT 1))").Error)
			require.NoError(t, db.Exec("CREATE INDEX i ON notes (qty)").Error)
			require.True(t, m.HasTable(value))
			require.True(t, m.HasColumn(value, "name"))
			require.True(t, m.HasColumn(value, "NAME"))
			require.False(t, m.HasColumn(value, "TEXT"))
			require.False(t, m.HasColumn(value, "nam_"))
			require.True(t, m.HasIndex(value, "i"))
			require.True(t, m.HasConstraint(value, "c"))
			require.True(t, m.HasConstraint(value, "D"))
			require.False(t, m.HasConstraint(value, "e"))
			types, err := m.ColumnTypes(value)
			require.NoError(t, err)
			require.Len(t, types, 4)
			indexes, err := m.GetIndexes(value)
			require.NoError(t, err)
			require.Len(t, indexes, 1)

			require.NoError(t, m.DropConstraint(value, "c"))
			require.NoError(t, m.DropConstraint(value, "d"))
			require.False(t, m.HasConstraint(value, "c"))
			require.NoError(t, db.Exec("INSERT INTO notes (qty, other) VALUES (-1, 1)").Error)
			require.NoError(t, m.RenameColumn(value, "other", "more"))
			require.True(t, m.HasColumn(value, "more"))
			require.NoError(t, m.DropColumn(value, "more"))
			require.NoError(t, m.DropColumn(value, "name"), "unique: by a new table")
			require.False(t, m.HasColumn(value, "name"))
			require.NoError(t, m.RenameIndex(value, "i", "j"))
			require.True(t, m.HasIndex(value, "j"))
			require.NoError(t, m.DropIndex(value, "j"))
			require.NoError(t, m.RenameTable(value, "`renamed`"))
			require.True(t, m.HasTable("renamed"))
			require.NoError(t, m.RenameTable("renamed", &note{}))
			require.NoError(t, m.DropTable(value))
			require.False(t, m.HasTable(value))
		})
	}
}

// Ensure that a method which cannot do its work returns an error that names the table
// and the cause.
func TestMethods_errors(t *testing.T) {
	db := open(t, gormdialect.Open(file(t)), quiet())
	setup(t, db,
		"CREATE TABLE notes (id INTEGER PRIMARY KEY, name TEXT, qty INT AS (id + 1), w INT, CHECK (name > w))", "CREATE TABLE one (a)",
		"CREATE VIEW v AS SELECT name FROM notes", "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1)", "CREATE UNIQUE INDEX i ON notes (name)", "CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT)",
	)
	before := take(t, db)
	m := db.Migrator()
	for want, err := range map[string]error{
		"no such table: absent":                        m.DropColumn("absent", "a"),
		"no such table: gone":                          m.RenameColumn("gone", "a", "b"),
		"no such table: x.y":                           m.DropConstraint("x.y", "a"),
		"has no column absent":                         m.DropColumn(&note{}, "absent"),
		"table notes has no column absent":             m.RenameColumn("notes", "absent", "b"),
		"duplicate column name: w":                     m.RenameColumn("notes", "name", "w"),
		"column qty of table notes: the model is need": m.AlterColumn("notes", "qty"),
		"column w of table notes: the model is needed": m.AddColumn("notes", "w"),
		"has no column for Absent":                     m.AlterColumn(&note{}, "Absent"),
		"has no column for absent":                     m.AddColumn(&note{}, "absent"),
		"the model of table notes has no constraint c": m.CreateConstraint(&note{}, "c"),
		"the model of table one has no constraint c":   m.CreateConstraint("one", "c"),
		"table notes has no constraint c":              m.DropConstraint(&note{}, "c"),
		"has no index absent":                          m.CreateIndex(&note{}, "absent"),
		"index absent of table notes: the model":       m.CreateIndex("notes", "absent"),
		"no such index: absent":                        m.DropIndex(&note{}, "absent"),
		"table notes: no such index: gone":             m.RenameIndex("notes", "gone", "b"),
		"r is a virtual table":                         m.DropColumn("r", "x0"),
		"r_node is a shadow table":                     m.DropColumn("r_node", "data"),
		"sqlite_sequence is a system table":            m.DropColumn("sqlite_sequence", "seq"),
		"v is a view: only a table":                    m.DropColumn("v", "name"),
		"v is a view: use DropView":                    m.DropTable("v"),
		"there are no other columns":                   m.DropColumn("one", "a"),
		"CHECK (name > w) names it and other columns":  m.DropColumn("notes", "w"),
		"AS (id + 1) names it and other columns":       m.DropColumn("notes", "id"),
		"no such table: nowhere":                       m.RenameTable("nowhere", "b"),
		"already another table":                        m.RenameTable("notes", "one"),
		"sqlite_sequence may not be dropped":           m.DropTable("notes", "sqlite_sequence"),
	} {
		require.ErrorContains(t, err, want)
	}
	_, err := m.ColumnTypes("absent")
	require.ErrorContains(t, err, "no such table: absent")
	_, err = m.GetIndexes("absent")
	require.ErrorContains(t, err, "no such table: absent")
	require.Equal(t, before, take(t, db))

	// A key of the table itself that refers to the column keeps it.
	require.NoError(t, db.Exec("CREATE TABLE self (a, b REFERENCES self (a), c REFERENCES self (c))").Error)
	require.ErrorContains(t, m.DropColumn("self", "a"), "REFERENCES self (a) names it and other columns")
	require.NoError(t, m.DropColumn("self", "c"))

	// So does one that refers to the primary key.
	require.NoError(t, db.Exec("CREATE TABLE keyed (a INTEGER PRIMARY KEY, b)").Error)
	require.NoError(t, db.Exec("CREATE TABLE refers (r REFERENCES keyed)").Error)
	require.ErrorContains(t, m.DropColumn("keyed", "a"), "a foreign key of table refers refers to the primary key")
	require.NoError(t, m.DropColumn("keyed", "b"))

	// A view that names the column keeps it.
	require.NoError(t, db.Exec("CREATE TABLE u (a UNIQUE, b)").Error)
	require.NoError(t, db.Exec(`CREATE VIEW uv AS SELECT "a" FROM u`).Error)
	before = take(t, db)
	require.ErrorContains(t, m.DropColumn("u", "a"), "column a of table u cannot be dropped: view uv names it", "a name in quotes does not become a string")
	require.Equal(t, before, take(t, db))
	require.NoError(t, db.Exec("DROP VIEW uv").Error)
	for _, statement := range []string{
		`CREATE VIEW x (one, two) AS SELECT * FROM u`, `CREATE TABLE x (r REFERENCES u (a))`,
		`CREATE TRIGGER x AFTER INSERT ON one BEGIN DELETE FROM u WHERE "a" = 1; END`, `CREATE TRIGGER x AFTER UPDATE OF a ON u BEGIN SELECT 1; END`,
	} {
		require.NoError(t, db.Exec(statement).Error)
		before = take(t, db)
		require.Error(t, m.DropColumn("u", "a"), statement)
		require.Equal(t, before, take(t, db))
		require.NoError(t, db.Exec("DROP "+strings.Fields(statement)[1]+" x").Error)
	}
	require.NoError(t, db.Exec(`CREATE VIEW uv AS SELECT "hello" AS a, 'a' FROM one`).Error)
	require.NoError(t, m.DropColumn("u", "a"))
}

// Ensure that DropColumn also drops the indexes that use the column, and the
// constraints on it alone.
func TestMethods_dropColumn(t *testing.T) {
	db := open(t, gormdialect.Open(file(t)), quiet())
	setup(t, db,
		"CREATE TABLE p (id INTEGER PRIMARY KEY)",
		"CREATE TABLE t (a TEXT CONSTRAINT u UNIQUE CHECK (a <> ''), b INT, c INT REFERENCES p, d INTEGER PRIMARY KEY, e, `lower` TEXT, "+
			"CONSTRAINT u2 UNIQUE (b) CONSTRAINT ch CHECK (b > 0), FOREIGN KEY (b) REFERENCES p, CHECK (lower(e) IS NOT 'b'))",
		"CREATE INDEX i1 ON t (a, e)", "CREATE INDEX i2 ON t (lower(a))", "CREATE INDEX i3 ON t (e) WHERE b IS NOT NULL", "CREATE INDEX kept ON t (lower(e))",
		"INSERT INTO t (a, b, d, e) VALUES ('x', NULL, 7, 'e'), ('y', NULL, 70, 'f')",
	)
	m := db.Migrator()
	indexes := func() (names string) {
		require.NoError(t, db.Raw("SELECT coalesce(group_concat(name), '') FROM (SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name)").Row().Scan(&names))
		return names
	}
	require.NoError(t, m.DropColumn("t", "a"))
	require.Equal(t, "i3,kept", indexes())
	require.NoError(t, m.DropColumn("t", "b"))
	require.Equal(t, "kept", indexes())
	require.NoError(t, m.DropColumn("t", "lower"), "the function of that name is not the column")
	require.Equal(t, "kept", indexes())
	require.NoError(t, m.DropColumn("t", "c"))
	require.NoError(t, m.DropColumn("t", "d"), "the key")
	require.Equal(t, []string{"7 | text:65", "70 | text:66"}, take(t, db).rows["t"])
	var sql string
	require.NoError(t, db.Raw("SELECT sql FROM sqlite_master WHERE name = 't'").Row().Scan(&sql))
	require.Equal(t, []string{"CREATE", "TABLE", `"t"`, "(", "e,", "CHECK", "(lower(e)", "IS", "NOT", "'b'))"}, strings.Fields(strings.ReplaceAll(strings.ReplaceAll(sql, "(e ,", "( e,"), "(e,", "( e,")))
}

// Ensure that DropColumn drops no index and refuses no CHECK that has the column's name
// only as a keyword, a type or a collation.
func TestMethods_dropKeyword(t *testing.T) {
	for _, c := range []struct {
		columns, index string
		drop           string
		want           string // the indexes that are left, or part of the error
	}{
		{"a int, deleted int, `desc` text", "UNIQUE INDEX i ON t (a DESC) WHERE deleted IS NULL", "desc", "i"},
		{"a int, `desc` text", "INDEX i ON t (a DESC) WHERE `desc` <> ''", "desc", ""},
		{"a int, text text", "UNIQUE INDEX i ON t (CAST(a AS text))", "text", "i"},
		{"a int, text text", "UNIQUE INDEX i ON t (CAST(text AS int))", "text", ""},
		{"a int, `and` int", "UNIQUE INDEX i ON t (a) WHERE a > 1 AND a < 5", "and", "i"},
		{"a int, `and` int", "UNIQUE INDEX i ON t (a) WHERE a > 1 AND \"and\" < 5", "and", ""},
		{"a int, nocase text", "INDEX i ON t (lower(a) COLLATE nocase)", "nocase", "i"},
		{"a int, b text", "INDEX i ON t (a) WHERE b = 'b' OR a = \"b\"", "b", ""},
		{"a int, b text", "INDEX i ON t (a) WHERE a = 'b' OR a = \"c\"", "b", "i"},
		{"a int CHECK (a IS NOT NULL), `null` text", "INDEX i ON t (a)", "null", "i"},
		{"a int, `null` text, CHECK (a IS NOT NULL)", "INDEX i ON t (a)", "null", "i"},
		{"a int, `null` text, CHECK (`null` IS NULL)", "INDEX i ON t (a)", "null", "i"},
		{"a int, `is` int, `null` text, CHECK (`is` IS NULL)", "INDEX i ON t (a)", "is", "i"},
		{"a int, b int, `null` text, CHECK (a IS NOT NULL), CHECK (b IS NULL), CHECK (a IS NOT NULL)", "INDEX i ON t (b)", "a", "i"},
		{"a int, b int, `null` text, CHECK (a IS NOT b)", "INDEX i ON t (a)", "a", "error: names it and other columns"},
		{"a int, text text, g AS (CAST(a AS text))", "INDEX i ON t (g)", "text", "i"},
		{"a int, text text, g AS (CAST(text AS int))", "INDEX i ON t (g)", "text", "error: names it and other columns"},
	} {
		for _, also := range []string{"SELECT 1", "CREATE VIEW broken AS SELECT x FROM nowhere", "PRAGMA legacy_alter_table = ON"} {
			for _, run := range outsideAndInside {
				db := open(t, gormdialect.Open(file(t)), quiet())
				resize(t, db, 1)
				setup(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, "+c.columns+")", "CREATE "+c.index, "INSERT INTO t (id, a) VALUES (1, 2)",
					"CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END", also)
				before := take(t, db)
				err := run(db, func(db *gorm.DB) error { return db.Migrator().DropColumn("t", c.drop) })
				after := take(t, db)
				if want, refused := strings.CutPrefix(c.want, "error: "); refused {
					require.ErrorContains(t, err, want, "%+v", c)
					require.Equal(t, before, after)
					continue
				}
				require.NoError(t, err, "%+v, %s", c, also)
				var got string
				require.NoError(t, db.Raw("SELECT coalesce(group_concat(name), '') FROM sqlite_master WHERE type = 'index' AND tbl_name = 't'").Row().Scan(&got))
				require.Equal(t, c.want, got, "%+v, %s", c, also)
				require.NotContains(t, after.cols["t"], c.drop)
				for _, o := range before.schema {
					if !strings.HasPrefix(o, "index") || c.want != "" {
						require.Contains(t, after.schema, o, "%+v, %s", c, also)
					}
				}
			}
		}
	}
}

// Ensure that a dry run drops no column of which it cannot tell what uses it.
func TestMethods_dryRunExpression(t *testing.T) {
	db := open(t, gormdialect.Open(file(t)), quiet())
	setup(t, db, "CREATE TABLE t (a int, text text, b int)", "CREATE UNIQUE INDEX i ON t (CAST(a AS text))")
	dry := db.Session(&gorm.Session{DryRun: true}).Migrator()
	require.ErrorContains(t, dry.DropColumn("t", "text"), "a dry run cannot tell")
	require.NoError(t, dry.DropColumn("t", "b"))
}

// Ensure that a column keeps its other constraints where its definition has no spaces
// between them. SQLite needs none behind a parenthesis, a quote or a bracket.
func TestMethods_noSpaces(t *testing.T) {
	type yes struct {
		A bool `gorm:"type:numeric;default:true;not null"`
	}
	for _, c := range []struct {
		column string
		model  any
		want   string
	}{
		{"a VARCHAR(10)NOT NULL", model("column:a;type:text;not null"), "text | 1 | <NULL> | "},
		{"a VARCHAR(10)UNIQUE", model("column:a;type:text"), "text | 0 | <NULL> | u"},
		{"a VARCHAR(10)UNIQUE", model("column:a;type:varchar(10);not null"), "varchar(10) | 1 | <NULL> | u"},
		{"\"a\"NOT NULL", model("column:a;type:text;not null"), "text | 1 | <NULL> | "},
		{"[a][INT]NOT NULL", model("column:a;type:bigint;not null"), "bigint | 1 | <NULL> | "},
		{"a numeric DEFAULT(0)NOT NULL", &yes{}, "numeric | 1 | true | "},
		{"a numeric DEFAULT(0)NOT NULL UNIQUE", &yes{}, "numeric | 1 | true | u"},
		{"a INT DEFAULT(1)NOT NULL COLLATE\"NOCASE\"UNIQUE", model("column:a;type:int;default:-1"), "integer | 0 | \"-1\" | u"},
	} {
		for _, run := range outsideAndInside {
			db := open(t, gormdialect.Open(file(t)), quiet())
			setup(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY,"+c.column+")", "INSERT INTO t VALUES (1, '5')")
			require.NoError(t, run(db, func(db *gorm.DB) error {
				return db.Table("t").Migrator().AlterColumn(c.model, "a")
			}), "%s, %+v", c.column, c.model)
			var got string
			require.NoError(t, db.Raw(`SELECT lower(type) || ' | ' || "notnull" || ' | ' || coalesce(dflt_value, '<NULL>') || ' | ' ||
				coalesce((SELECT origin FROM pragma_index_list('t')), '') FROM pragma_table_info('t') WHERE name = 'a'`).Row().Scan(&got))
			require.Equal(t, c.want, got, "%s, %+v", c.column, c.model)
		}
	}
}

// Ensure that tables of temp and of attached databases are migrated in their schema,
// with the temporary triggers on them.
func TestMethods_schemas(t *testing.T) {
	db := open(t, gormdialect.Open(file(t)), quiet())
	resize(t, db, 1)
	attached := filepath.Join(t.TempDir(), "attached.db")
	setup(t, db,
		"ATTACH '"+attached+"' AS att",
		"CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, qty INT)",
		"CREATE TABLE att.notes (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, qty INT)",
		"CREATE TABLE att.children (r INT REFERENCES notes)",
		"CREATE TEMP TABLE only_temp (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, qty INT)",
		"INSERT INTO notes VALUES (1, 'main', 1)", "INSERT INTO att.notes VALUES (5, 'att', 1)", "INSERT INTO only_temp VALUES (9, 'temp', 1)",
		"CREATE INDEX i ON notes (qty)", "CREATE INDEX att.i ON notes (qty)", "CREATE INDEX temp.i ON only_temp (qty)",
		"CREATE TRIGGER tr AFTER INSERT ON notes BEGIN SELECT 1; END", "CREATE TRIGGER att.tr AFTER INSERT ON notes BEGIN SELECT 1; END",
		"CREATE TEMP TRIGGER tm AFTER INSERT ON main.notes BEGIN SELECT 1; END", "CREATE TEMP TRIGGER ta AFTER INSERT ON att.notes BEGIN SELECT 1; END",
		"CREATE TRIGGER temp.tt AFTER INSERT ON only_temp BEGIN SELECT 1; END",
	)
	schemas := func() (all []map[string]any) {
		require.NoError(t, db.Raw(`SELECT 'main' AS s, type, name, tbl_name FROM main.sqlite_master UNION ALL SELECT 'att', type, name, tbl_name FROM att.sqlite_master
			UNION ALL SELECT 'temp', type, name, tbl_name FROM temp.sqlite_master ORDER BY 1, 2, 3, 4`).Scan(&all).Error)
		return all
	}
	before := schemas()
	require.NotEmpty(t, before)
	type wide struct {
		Qty  int    `gorm:"type:bigint"`
		Name string `gorm:"type:varchar(99)"`
	}
	for table, value := range map[string]string{"notes": "main", "main.notes": "main", "att.notes": "att", "only_temp": "temp", "temp.only_temp": "temp"} {
		for _, run := range outsideAndInside {
			require.NoError(t, run(db, func(db *gorm.DB) error { return db.Table(table).Migrator().AlterColumn(&wide{}, "Qty") }), table)
			require.NoError(t, run(db, func(db *gorm.DB) error {
				return db.Table(table).Migrator().AlterColumn(model("column:qty;type:int"), "qty")
			}), table)
			require.Equal(t, before, schemas(), table)
			var name string
			require.NoError(t, db.Raw("SELECT name FROM "+table).Row().Scan(&name))
			require.Equal(t, value, name)
		}
		types, err := db.Migrator().ColumnTypes(table)
		require.NoError(t, err)
		require.Len(t, types, 3)
		var seq int
		schema := value
		require.NoError(t, db.Raw("SELECT seq FROM "+schema+".sqlite_sequence").Row().Scan(&seq))
		require.Equal(t, map[string]int{"main": 1, "att": 5, "temp": 9}[value], seq)
	}
	// A temporary table hides the one of main, as it does in every statement.
	require.NoError(t, db.Exec("CREATE TEMP TABLE notes (only_here)").Error)
	require.True(t, db.Migrator().HasColumn("notes", "only_here"))
	require.True(t, db.Migrator().HasColumn("main.notes", "qty"))
	require.NoError(t, db.Migrator().DropTable("notes"))
	require.False(t, db.Migrator().HasColumn("notes", "only_here"))
	require.True(t, db.Migrator().HasColumn("notes", "qty"))

	type Indexed struct {
		ID  uint
		Qty int `gorm:"index:by_qty"`
	}
	require.NoError(t, db.Table("att.notes").Migrator().CreateIndex(&Indexed{}, "by_qty"))
	require.True(t, db.Migrator().HasIndex("att.notes", "by_qty"))
	require.False(t, db.Migrator().HasIndex("main.notes", "by_qty"))
	require.NoError(t, db.Migrator().RenameIndex("att.notes", "by_qty", "again"))
	require.NoError(t, db.Migrator().DropIndex("att.notes", "again"))
	require.NoError(t, db.Exec("DETACH att").Error)
}

// Ensure that AutoMigrate creates a table in main if only an attached database has one
// of that name. The official dialect does the same.
func TestMethods_attachedNamesake(t *testing.T) {
	db := open(t, gormdialect.Open(file(t)), quiet())
	resize(t, db, 1)
	setup(t, db,
		"ATTACH '"+file(t)+"' AS archive",
		"CREATE TABLE archive.owners (id INTEGER PRIMARY KEY)", "INSERT INTO archive.owners VALUES (7)",
	)
	schema := func(name string) (all []string) {
		require.NoError(t, db.Raw("SELECT sql FROM "+name+".sqlite_master WHERE name <> 'sqlite_sequence'").Scan(&all).Error)
		return all
	}
	before := schema("archive")
	require.False(t, db.Migrator().HasTable("owners"))
	require.True(t, db.Migrator().HasTable("archive.owners"))
	for range 2 {
		require.NoError(t, db.AutoMigrate(&owner{}))
		require.Equal(t, before, schema("archive"))
		require.NotEmpty(t, schema("main"))
	}
	require.True(t, db.Migrator().HasTable("owners"))
	require.NoError(t, db.Exec("DETACH archive").Error)
}

// Ensure that a rebuild keeps a CHECK that names its own table, in any quotes and with
// a schema. Keys, rows and the sequence survive.
func TestMethods_checkNamesTable(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), quiet())
			checks := "CHECK (\"Notes\" . qty >= 0 AND main.notes.name <> 'notes.x'), CHECK ([notes].id > 0)"
			setup(t, db,
				"CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, qty INT CHECK (notes.qty < 100), boss INT REFERENCES notes, "+checks+")",
				"CREATE TRIGGER tr AFTER UPDATE ON notes BEGIN UPDATE notes SET name = 'by trigger' WHERE notes.id = 7; END",
				"INSERT INTO notes VALUES (3, 'a', 1, NULL), (7, 'b', 2, NULL), (9, 'c', 3, NULL)", "DELETE FROM notes WHERE id = 9",
			)
			before := take(t, db)
			require.NoError(t, way.run(t, db, func(db *gorm.DB) error {
				return db.Table("notes").Migrator().AlterColumn(model("column:qty;type:bigint"), "qty")
			}))
			after := take(t, db)
			require.Equal(t, before.rows, after.rows)
			require.Equal(t, before.other, after.other)
			var sql string
			require.NoError(t, db.Raw("SELECT sql FROM sqlite_master WHERE name = 'notes'").Scan(&sql).Error)
			require.Contains(t, sql, "qty bigint CHECK (notes.qty < 100)")
			require.Contains(t, sql, checks)
			require.ErrorContains(t, db.Exec("UPDATE notes SET qty = -1 WHERE id = 3").Error, "CHECK")
			require.NoError(t, db.Exec("UPDATE notes SET qty = 5 WHERE id = 3").Error)
		})
	}
}

// Ensure that rowids survive if a column has a name of the rowid. If columns have all
// its names, the rows keep their order.
func TestMethods_rowids(t *testing.T) {
	for columns, rowid := range map[string]string{
		"a, b":                      "rowid",
		"rowid TEXT, b":             "oid",
		"rowid TEXT, oid, b":        "_rowid_",
		"oid, _rowid_, b":           "rowid",
		"a INT PRIMARY KEY, b":      "rowid",
		"a INTEGER, b PRIMARY KEY":  "rowid",
		"rowid INTEGER PRIMARY KEY": "rowid",
		"rowid, oid, _rowid_":       "",
	} {
		db := open(t, gormdialect.Open(file(t)), quiet())
		require.NoError(t, db.Exec("CREATE TABLE t ("+columns+", v int)").Error)
		if rowid == "" {
			require.NoError(t, db.Exec("INSERT INTO t (rowid, v) VALUES ('x', 3), ('y', 1), ('z', 2)").Error)
		} else {
			require.NoError(t, db.Exec("INSERT INTO t ("+rowid+", v) VALUES (-5, 3), (70, 1), (6, 2)").Error)
		}
		before := take(t, db).rows["t"]
		for _, run := range outsideAndInside {
			require.NoError(t, run(db, func(db *gorm.DB) error {
				return db.Table("t").Migrator().AlterColumn(model("column:v;type:bigint"), "v")
			}))
			require.NoError(t, run(db, func(db *gorm.DB) error { return db.Table("t").Migrator().AlterColumn(model("column:v;type:int"), "v") }))
			require.Equal(t, before, take(t, db).rows["t"], columns)
		}
	}
}

// Ensure that a dry run prints the statements of a migration and executes only
// queries.
func TestMethods_dryRun(t *testing.T) {
	recorder := &statements{Interface: logger.Discard}
	db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), &gorm.Config{Logger: recorder})
	setup(t, db, append(owners, "CREATE INDEX i ON owners (name)", "CREATE TRIGGER tr AFTER INSERT ON owners BEGIN SELECT 1; END")...)
	before := take(t, db)
	recorder.all = nil
	dry := db.Session(&gorm.Session{DryRun: true})
	require.NoError(t, dry.Migrator().AlterColumn(&owner{}, "Name"))
	all := strings.Join(recorder.all, "\n")
	for _, want := range []string{"CREATE TABLE", "INSERT OR ABORT", "DROP TABLE", "RENAME TO", "CREATE INDEX", "CREATE TRIGGER"} {
		require.Contains(t, all, want)
	}
	require.NoError(t, dry.Migrator().DropColumn("owners", "name"))
	require.Contains(t, strings.Join(recorder.all, "\n"), "DROP COLUMN")
	require.NoError(t, dry.Migrator().DropTable("owners"))
	recorder.all = nil
	require.NoError(t, dry.Table("made").Migrator().CreateTable(model("column:a;index")))
	require.Regexp(t, "(?s)BEGIN IMMEDIATE\n.*CREATE TABLE.*\nCREATE INDEX.*\nCOMMIT", strings.Join(recorder.all, "\n"))
	_, err := dry.Migrator().ColumnTypes("owners")
	require.NoError(t, err)
	for _, statement := range recorder.all {
		require.NotRegexp(t, "(?i)^SELECT ", statement, "a dry run prints no query")
	}
	require.Equal(t, before, take(t, db))
}

// Ensure that the script of a dry run has the effect of the migration: the table and
// everything that refers to it are equal. The script has no queries.
func TestMethods_dryRunIsScript(t *testing.T) {
	for _, c := range []struct {
		name    string
		migrate func(m gorm.Migrator) error
	}{
		{"AlterColumn", func(m gorm.Migrator) error { return m.AlterColumn(model("column:name;type:varchar(50)"), "name") }},
		{"DropColumn", func(m gorm.Migrator) error { return m.DropColumn("notes", "extra") }},
		{"AddColumn", func(m gorm.Migrator) error { return m.AddColumn(model("column:only;unique"), "only") }},
		{"DropTable", func(m gorm.Migrator) error { return m.DropTable("notes") }},
	} {
		for _, check := range []string{"name <> ''", "notes.name <> ''"} {
			t.Run(c.name+" "+check, func(t *testing.T) {
				recorder := &statements{Interface: logger.Discard}
				var dumps []*dump
				for _, dry := range []bool{false, true} {
					db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), &gorm.Config{Logger: recorder})
					setup(t, db,
						"CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, size AS (length(name)), extra INT, boss INT REFERENCES notes, CHECK ("+check+"))",
						"CREATE TABLE children (note INT REFERENCES notes ON DELETE CASCADE)",
						"CREATE VIEW names AS SELECT name FROM notes",
						"CREATE INDEX by_name ON notes (name)", "CREATE TRIGGER tr AFTER INSERT ON notes BEGIN UPDATE notes SET name = name; END",
						"INSERT INTO notes (id, name, boss) VALUES (3, 'a', NULL), (7, 'b', 3), (9, 'c', NULL)", "DELETE FROM notes WHERE id = 9",
						"INSERT INTO children VALUES (3), (7)", "ANALYZE",
					)
					if !dry {
						require.NoError(t, c.migrate(db.Table("notes").Migrator()))
						dumps = append(dumps, take(t, db))
						continue
					}
					before := take(t, db)
					recorder.all = nil
					require.NoError(t, c.migrate(db.Session(&gorm.Session{DryRun: true}).Table("notes").Migrator()))
					script := recorder.all
					require.Equal(t, before, take(t, db))
					require.NoError(t, db.Connection(func(db *gorm.DB) error {
						for _, statement := range script {
							require.NotRegexp(t, "(?i)^SELECT ", statement)
							require.NoError(t, db.Exec(statement).Error, statement)
						}
						var on bool
						require.NoError(t, db.Raw("PRAGMA foreign_keys").Scan(&on).Error)
						require.True(t, on)
						require.NoError(t, db.Raw("PRAGMA legacy_alter_table").Scan(&on).Error)
						require.False(t, on)
						return nil
					}))
					dumps = append(dumps, take(t, db))
				}
				require.Equal(t, dumps[0], dumps[1])
			})
		}
	}
}

// Ensure that a dry run inside a transaction refuses the same migrations.
func TestMethods_dryRunInTransaction(t *testing.T) {
	db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), quiet())
	setup(t, db, owners...)
	err := db.Transaction(func(tx *gorm.DB) error {
		return tx.Session(&gorm.Session{DryRun: true}).Migrator().AlterColumn(&owner{}, "Name")
	})
	require.ErrorContains(t, err, "refer to it")
}

// Ensure that constraints of a model are found, created, replaced and dropped, also if
// another tool has written them.
func TestMethods_constraints(t *testing.T) {
	type item struct {
		ID    uint
		Name  string `gorm:"unique"`
		Price int    `gorm:"check:price_check,price > 0"`
	}
	db := open(t, gormdialect.Open(file(t)), quiet())
	require.NoError(t, db.Exec("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT UNIQUE, price INT CONSTRAINT \"price_check\" CHECK (price > 5))").Error)
	m := db.Migrator()
	require.True(t, m.HasConstraint(&item{}, "Price"))
	require.NoError(t, m.CreateConstraint(&item{}, "Price"), "it takes the place of the other")
	require.NoError(t, db.Exec("INSERT INTO items (price) VALUES (1)").Error)
	require.NoError(t, m.CreateConstraint(&item{}, "price_check"), "it is there already")
	require.Error(t, db.Exec("INSERT INTO items (price) VALUES (0)").Error)
	require.NoError(t, m.DropConstraint(&item{}, "price_check"))
	require.NoError(t, db.Exec("INSERT INTO items (price) VALUES (0)").Error)
	before := take(t, db)
	require.ErrorContains(t, m.CreateConstraint(&item{}, "price_check"), "CHECK constraint failed")
	require.Equal(t, before, take(t, db))

	require.False(t, m.HasConstraint(&item{}, "uni_items_name"))
	require.NoError(t, m.DropConstraint(&item{}, "Name"), "it has no name in the table")
	require.NoError(t, db.Exec("INSERT INTO items (name) VALUES ('x'), ('x')").Error)
	require.ErrorContains(t, m.CreateConstraint(&item{}, "Name"), "UNIQUE constraint failed")
	require.NoError(t, db.Exec("DELETE FROM items").Error)
	require.NoError(t, m.CreateConstraint(&item{}, "Name"))
	require.Error(t, db.Exec("INSERT INTO items (name) VALUES ('x'), ('x')").Error)
	require.True(t, m.HasConstraint(&item{}, "uni_items_name"))
}

// Ensure that NOT NULL and CHECK are added and dropped by ALTER TABLE, without a
// rebuild.
func TestMethods_inPlace(t *testing.T) {
	recorder := &statements{Interface: logger.Discard}
	db := open(t, gormdialect.Open(file(t)), &gorm.Config{Logger: recorder})
	require.NoError(t, db.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT REFERENCES t NOT DEFERRABLE, b TEXT)").Error)
	place := func() (root int) {
		require.NoError(t, db.Raw("SELECT rootpage FROM sqlite_master WHERE name = 't'").Row().Scan(&root))
		return root
	}
	before := place()
	m := db.Table("t").Migrator()
	require.NoError(t, m.AlterColumn(model("column:b;type:text;not null"), "b"))
	require.Equal(t, before, place())
	require.Error(t, db.Exec("INSERT INTO t (id) VALUES (1)").Error)
	require.NoError(t, m.AlterColumn(model("column:b;type:text"), "b"))
	require.NoError(t, m.CreateConstraint(model("column:b;check:c,b <> ''"), "c"))
	require.NoError(t, m.DropConstraint(model("column:b"), "c"))
	require.NoError(t, m.DropColumn("t", "b"))
	require.Equal(t, before, place())
	require.NotContains(t, strings.Join(recorder.all, "\n"), "__new")

	// SQLite would take the NOT of NOT DEFERRABLE for that of NOT NULL.
	require.NoError(t, m.AlterColumn(model("column:a;type:text;not null"), "a"))
	require.NoError(t, m.AlterColumn(model("column:a;type:text"), "a"))
	require.Contains(t, take(t, db).facts["t"], "column | a | text | 0 | <NULL> | 0 | 0")
	require.Contains(t, take(t, db).sql(t, db, "t"), "NOT DEFERRABLE")
}

// Ensure that a column keeps the default of the database if the model's is (-), whatever
// else changes, and that nothing changes otherwise.
func TestMethods_databaseDefault(t *testing.T) {
	type Coin struct {
		ID   uint
		Code string `gorm:"not null;default:(-)"`
		N    int64  `gorm:"type:bigint;not null;default:(-)"`
		None *int   `gorm:"default:(-)"`
	}
	for _, n := range []string{"bigint", "integer"} {
		recorder := &statements{Interface: logger.Discard}
		db := open(t, gormdialect.Open(file(t)), &gorm.Config{Logger: recorder})
		setup(t, db, "CREATE TABLE coins (id integer PRIMARY KEY, code text NOT NULL DEFAULT (lower(hex(randomblob(4)))), n "+n+" NOT NULL DEFAULT 7, none integer)")
		require.NoError(t, db.AutoMigrate(&Coin{}))
		require.NoError(t, db.Create(&Coin{}).Error)
		var got []string
		require.NoError(t, db.Raw("SELECT name || ' ' || type || ' ' || coalesce(dflt_value, '') FROM pragma_table_info('coins')").Scan(&got).Error)
		require.Equal(t, []string{"id INTEGER ", "code TEXT lower(hex(randomblob(4)))", "n bigint 7", "none INTEGER "}, got)
		recorder.all = nil
		require.NoError(t, db.AutoMigrate(&Coin{}))
		recorder.requireQueries(t)
	}
}

// Ensure that no column is dropped, renamed or added by which a NATURAL JOIN of a view or
// a trigger is, or would be. It names no column, so it would be another join silently.
func TestMethods_naturalJoin(t *testing.T) {
	const (
		view    = "CREATE VIEW v AS SELECT t.b, u.c FROM t NATURAL JOIN u"
		through = "CREATE VIEW v AS SELECT w.b, u.c FROM main.[u] natural LEFT JOIN w"
		trigger = "CREATE TRIGGER v AFTER INSERT ON log BEGIN DELETE FROM u WHERE c IN (SELECT c FROM t NATURAL JOIN u WHERE b = new.x); END"
		query   = "CREATE VIEW v AS SELECT b FROM t NATURAL JOIN (SELECT x AS a, x AS fresh FROM log)"
		twice   = "CREATE VIEW v AS SELECT x.b FROM t AS x NATURAL JOIN t AS y"
		without = "CREATE VIEW v AS SELECT t.b, u.c FROM t JOIN u ON t.b = u.c"
		other   = "CREATE VIEW v AS SELECT log.x, u.c FROM log NATURAL JOIN u"
	)
	drop := func(name string) func(m gorm.Migrator) error {
		return func(m gorm.Migrator) error { return m.DropColumn("t", name) }
	}
	rename := func(from, to string) func(m gorm.Migrator) error {
		return func(m gorm.Migrator) error { return m.RenameColumn("t", from, to) }
	}
	add := func(m gorm.Migrator) error { return m.AddColumn(model("column:fresh;type:text"), "fresh") }
	unique := func(m gorm.Migrator) error { return m.AddColumn(model("column:fresh;type:text;unique"), "fresh") }
	for _, c := range []struct {
		join string
		run  func(m gorm.Migrator) error
		want string
	}{
		{view, drop("a"), "cannot be dropped: view v has a NATURAL JOIN"},
		{through, drop("a"), "cannot be dropped: view v has a NATURAL JOIN"},
		{trigger, drop("a"), "cannot be dropped: trigger v has a NATURAL JOIN"},
		{query, drop("a"), "cannot be dropped: view v has a NATURAL JOIN"},
		{twice, drop("a"), "cannot be dropped: view v has a NATURAL JOIN"},
		{view, drop("free"), ""},
		{trigger, drop("free"), ""},
		{query, drop("free"), ""},
		{without, drop("a"), ""},
		{other, drop("a"), ""},
		{view, rename("a", "z"), "cannot be renamed: view v"},
		{view, rename("free", "c"), "cannot be renamed: view v"},
		{view, rename("free", "z"), ""},
		{through, rename("free", "c"), "cannot be renamed: view v"},
		{without, rename("a", "z"), ""},
		{view, add, "cannot be added: view v"},
		{view, unique, "cannot be added: view v"},
		{query, add, "cannot be added: view v"},
		{trigger, add, "cannot be added: trigger v"},
		{without, add, ""},
		{other, add, ""},
	} {
		for _, dry := range []bool{false, true} {
			db := open(t, gormdialect.Open(file(t)), quiet())
			setup(t, db, "CREATE TABLE t (a, b, free)", "CREATE TABLE u (a, c, fresh)", "CREATE TABLE log (x)", "CREATE VIEW w AS SELECT * FROM t", c.join)
			before := take(t, db)
			err := c.run(db.Session(&gorm.Session{DryRun: dry}).Table("t").Migrator())
			if c.want != "" {
				require.ErrorContains(t, err, c.want, "%+v", c)
				require.Equal(t, before, take(t, db))
			} else {
				require.NoError(t, err, "%+v", c)
			}
		}
	}
}

// Ensure that a NATURAL JOIN does not forbid a change of a column that it cannot be by:
// of a column that one side has, and that the view names for itself, or calls an output
// so. The view works the same after it.
func TestMethods_naturalJoinUses(t *testing.T) {
	const (
		alias = "CREATE VIEW v AS SELECT label, note, length(note) AS total FROM items NATURAL JOIN tags"
		list  = "CREATE VIEW v (label, note, total) AS SELECT label, note, length(note) FROM items NATURAL JOIN tags WHERE (note) IN ('n', 'm')"
	)
	rename := func(m gorm.Migrator) error { return m.RenameColumn("tags", "note", "remark") }
	add := func(m gorm.Migrator) error { return m.AddColumn(model("column:total;type:text"), "total") }
	key := func(m gorm.Migrator) error { return m.AddColumn(model("column:key;type:text"), "key") }
	for _, c := range []struct {
		view string
		on   string
		run  func(m gorm.Migrator) error
		want string
	}{
		{alias, "items", add, ""},
		{alias, "tags", rename, ""},
		{list, "items", add, ""},
		{list, "tags", rename, ""},
		{"CREATE VIEW v AS SELECT label, note, 1 AS total FROM items NATURAL JOIN (SELECT label, note FROM tags)", "items", add, ""},
		{"CREATE VIEW v AS SELECT label, note, total FROM items NATURAL JOIN (SELECT label, note, 1 AS total FROM tags)", "items", add, "cannot be added: view v"},
		{"CREATE VIEW v AS SELECT label, note, total FROM items NATURAL JOIN (SELECT label, note, (1) total FROM tags WHERE (label))", "items", add, "cannot be added: view v"},
		{"CREATE VIEW v AS WITH c AS (SELECT label, note, 1 AS total FROM tags) SELECT * FROM items NATURAL JOIN c", "items", add, "cannot be added: view v"},
		{"CREATE VIEW v AS WITH c(label, note, total) AS (SELECT label, note, 1 FROM tags) SELECT * FROM items NATURAL JOIN c", "items", add, "cannot be added: view v"},
		{"CREATE VIEW v AS SELECT label, total FROM items NATURAL JOIN (WITH c AS (SELECT 1) SELECT label, 1 AS total FROM tags)", "items", add, "cannot be added: view v"},
		{"CREATE VIEW v AS SELECT label, key FROM items NATURAL JOIN json_each('[1]')", "items", key, "cannot be added: view v"},
		{"CREATE VIEW v AS SELECT label FROM items NATURAL JOIN json_each", "items", key, "cannot be added: view v"},
		{"CREATE VIEW v AS SELECT label, value AS total FROM items NATURAL JOIN json_each('[1]')", "items", add, ""},
		{"CREATE VIEW v AS WITH c(label, total) AS NOT MATERIALIZED (VALUES ('a', 1)) SELECT * FROM items NATURAL JOIN c", "items", add, "cannot be added: view v"},
	} {
		db := open(t, gormdialect.Open(file(t)), quiet())
		setup(t, db, "CREATE TABLE items (label text)", "CREATE TABLE tags (label text, note text)", "INSERT INTO items VALUES ('a')", "INSERT INTO tags VALUES ('a', 'n')", c.view)
		err := c.run(db.Table(c.on).Migrator())
		if c.want != "" {
			require.ErrorContains(t, err, c.want, c.view)
			continue
		}
		require.NoError(t, err, c.view)
		var got int
		require.NoError(t, db.Raw("SELECT total FROM v").Row().Scan(&got))
		require.Equal(t, 1, got, c.view)
	}
}

// Ensure that no table or column is dropped or renamed that a full-text index reads, and
// that the index works after every other migration.
func TestMethods_virtualTable(t *testing.T) {
	const (
		external = `CREATE VIRTUAL TABLE f USING fts4(content="t", a, b)`
		bare     = "CREATE VIRTUAL TABLE f USING fts4(tokenize=porter,content=t,a,b)"
		all      = "CREATE VIRTUAL TABLE f USING fts4(content=[t])"
		through  = "CREATE VIRTUAL TABLE f USING fts4(content='v', a, b)"
		own      = "CREATE VIRTUAL TABLE f USING fts4(t, a, b)"
	)
	for _, c := range []struct {
		index string
		run   func(m gorm.Migrator) error
		want  string
	}{
		{external, func(m gorm.Migrator) error { return m.DropColumn("t", "a") }, "column a of table t cannot be dropped: table f"},
		{external, func(m gorm.Migrator) error { return m.DropColumn("t", "free") }, ""},
		{external, func(m gorm.Migrator) error { return m.DropColumn("t", "content") }, ""},
		{bare, func(m gorm.Migrator) error { return m.DropColumn("t", "A") }, "column a of table t cannot be dropped: table f"},
		{all, func(m gorm.Migrator) error { return m.DropColumn("t", "free") }, "column free of table t cannot be dropped: table f"},
		{through, func(m gorm.Migrator) error { return m.DropColumn("t", "a") }, "column a of table t cannot be dropped: table f"},
		{own, func(m gorm.Migrator) error { return m.DropColumn("t", "a") }, ""},
		{external, func(m gorm.Migrator) error { return m.RenameColumn("t", "a", "z") }, "column a of table t cannot be renamed: table f"},
		{external, func(m gorm.Migrator) error { return m.RenameColumn("t", "free", "z") }, ""},
		{own, func(m gorm.Migrator) error { return m.RenameColumn("t", "a", "z") }, ""},
		{external, func(m gorm.Migrator) error { return m.RenameTable("t", "z") }, "table t cannot be renamed: table f"},
		{through, func(m gorm.Migrator) error { return m.RenameTable("t", "z") }, ""},
		{own, func(m gorm.Migrator) error { return m.RenameTable("t", "z") }, ""},
		{external, func(m gorm.Migrator) error { return m.AddColumn(model("column:a2;type:text"), "a2") }, ""},
		{all, func(m gorm.Migrator) error { return m.AddColumn(model("column:a2;type:text"), "a2") }, "column a2 of table t cannot be added: table f"},
		{external, func(m gorm.Migrator) error { return m.AlterColumn(model("column:a;type:varchar(9)"), "a") }, ""},
		{all, func(m gorm.Migrator) error { return m.AlterColumn(model("column:a;type:varchar(9)"), "a") }, ""},
	} {
		for _, dry := range []bool{true, false} {
			db := open(t, gormdialect.Open(file(t)), quiet())
			setup(t, db, "CREATE TABLE t (a text, b text, free text, content text)", "CREATE VIEW v AS SELECT rowid, * FROM t",
				"INSERT INTO t (rowid, a, b) VALUES (5, 'hello', 'world')", c.index, "INSERT INTO f (docid, a, b) VALUES (5, 'hello', 'world')")
			var before, after string
			schema := "SELECT group_concat(sql) FROM sqlite_master"
			require.NoError(t, db.Raw(schema).Row().Scan(&before))
			err := c.run(db.Session(&gorm.Session{DryRun: dry}).Table("t").Migrator())
			require.NoError(t, db.Raw(schema).Row().Scan(&after))
			if c.want != "" {
				require.ErrorContains(t, err, c.want, "%+v", c)
			} else {
				require.NoError(t, err, "%+v", c)
			}
			require.Equal(t, c.want != "" || dry, before == after, "%+v", c)
			var found string
			require.NoError(t, db.Raw("SELECT a || ' ' || b FROM f WHERE f MATCH 'hello'").Row().Scan(&found), "%+v", c)
			require.Equal(t, "hello world", found)
			require.NoError(t, db.Exec("INSERT INTO f (f) VALUES ('integrity-check')").Error, "%+v", c)
		}
	}
}

// Ensure that a virtual table which reads no table does not forbid a change of the
// tables and columns that have the names of its own columns.
func TestMethods_virtualColumns(t *testing.T) {
	for _, index := range []string{"rtree(id, x0, x1)", "RTREE_I32(id, x0, x1)", "[rtree](id, x0, x1)"} {
		db := open(t, gormdialect.Open(file(t)), quiet())
		setup(t, db, "CREATE TABLE id (x0, x1, free)", "CREATE VIRTUAL TABLE r USING "+index, "INSERT INTO r VALUES (1, 2, 3)")
		m := db.Table("id").Migrator()
		require.NoError(t, m.DropColumn("id", "x1"), index)
		require.NoError(t, m.RenameColumn("id", "x0", "y0"), index)
		require.NoError(t, m.RenameTable("id", "other"), index)
		var got int
		require.NoError(t, db.Raw("SELECT x1 FROM r WHERE id = 1").Row().Scan(&got))
		require.Equal(t, 3, got)
	}
}

// Ensure that a renamed table or index has its statistics under the new name, those of
// its constraints' indexes included.
func TestMethods_renamedStatistics(t *testing.T) {
	for _, run := range outsideAndInside {
		db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), quiet())
		setup(t, db, "CREATE TABLE [t'ä] (a UNIQUE, b, c)", "CREATE INDEX i ON [t'ä] (b)", "CREATE INDEX k ON [t'ä] (c, b)", "INSERT INTO [t'ä] VALUES (1, 2, 3), (4, 2, 3)",
			"CREATE TABLE w (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID", "INSERT INTO w VALUES (1, 2)", "CREATE TABLE other (a)", "INSERT INTO other VALUES (1)",
			"CREATE TABLE child (a REFERENCES [t'ä] (a))", "INSERT INTO child VALUES (1)", "ANALYZE", "INSERT INTO sqlite_stat1 VALUES ('new', 'stale', '9')")
		statistics := func() (rows string) {
			require.NoError(t, db.Raw("SELECT group_concat(tbl || '.' || coalesce(idx, '') || ' ' || stat ORDER BY tbl, idx) FROM sqlite_stat1").Row().Scan(&rows))
			return rows
		}
		require.Equal(t, "child. 1,new.stale 9,other. 1,t'ä.i 2 2,t'ä.k 2 2 2,t'ä.sqlite_autoindex_t'ä_1 2 1,w.w 1 1 1", statistics())
		require.NoError(t, run(db, func(db *gorm.DB) error { return db.Migrator().RenameIndex("t'ä", "I", "j") }))
		require.NoError(t, run(db, func(db *gorm.DB) error { return db.Migrator().RenameTable("t'ä", "new") }))
		require.NoError(t, run(db, func(db *gorm.DB) error { return db.Migrator().RenameTable("W", "x") }))
		require.Equal(t, "child. 1,new.j 2 2,new.k 2 2 2,new.sqlite_autoindex_new_1 2 1,other. 1,x.x 1 1 1", statistics())
		var index, parent string
		require.NoError(t, db.Raw("SELECT name FROM pragma_index_list('new') WHERE origin = 'u'").Row().Scan(&index))
		require.Equal(t, "sqlite_autoindex_new_1", index)
		require.NoError(t, db.Raw(`SELECT "table" FROM pragma_foreign_key_list('child')`).Row().Scan(&parent))
		require.Equal(t, "new", parent)
		requireSettings(t, db, true)
	}
}

// Ensure that a column with two constraints of a kind keeps both in a migration of another
// column. If that constraint of it is changed, one or none is left. SQLite takes the last of
// two. GORM writes such columns: a field's type may have what its tags have.
func TestMethods_twice(t *testing.T) {
	for _, c := range []struct{ column, tag, want string }{ // want: the column when the model has the tag
		{"a text DEFAULT 'x' NOT NULL DEFAULT 'y'", "type:text;not null;default:z", `a text  NOT NULL DEFAULT "z"`},
		{"a text DEFAULT 'x' CONSTRAINT d DEFAULT 'y'", "type:text;default:z", `a text  CONSTRAINT d DEFAULT "z"`},
		{`a text DEFAULT "x" DEFAULT "y"`, "type:text;default:y", ""},
		{`a text DEFAULT "x" DEFAULT "y"`, "type:text;default:x", `a text  DEFAULT "x"`},
		{"a text DEFAULT 'x' DEFAULT 'y'", "type:text;default:(-)", ""},
		{"a text DEFAULT 'x' NOT NULL DEFAULT 'y'", "type:text;not null", "a text  NOT NULL "},
		{"a text NOT NULL ON CONFLICT IGNORE DEFAULT 'x' NOT NULL", "type:text", "a text   "},
		{"a text NULL NULL", "type:text;not null", "a text NOT NULL  "},
		{"a text COLLATE nocase COLLATE binary", "type:text collate rtrim", "a text  collate rtrim"},
		{"a text", `type:text default "x";default:x`, `a text DEFAULT "x"`},
		{"a text", "type:text not null;not null", "a text NOT NULL"},
		{"a text UNIQUE CHECK (a <> '') CHECK (a <> 'b') UNIQUE", "type:text", ""},
	} {
		db := open(t, gormdialect.Open(file(t)), quiet())
		setup(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, b int, "+c.column+")", "INSERT INTO t (id, b, a) VALUES (1, 2, 'c')")
		m := db.Table("t").Migrator()
		require.NoError(t, m.AlterColumn(model("column:b;type:varchar(9)"), "b"), c.column)
		require.Contains(t, createTable(t, db, "t"), c.column)
		require.NoError(t, m.AlterColumn(model("column:a;"+c.tag), "a"), c.column)
		if c.want == "" {
			c.want = c.column
		}
		require.Contains(t, createTable(t, db, "t"), ", "+c.want+")")
		require.NoError(t, m.DropColumn("t", "b"), c.column)
		var n int
		require.NoError(t, db.Raw("SELECT count(*) FROM t WHERE id = 1 AND a = 'c'").Row().Scan(&n))
		require.Equal(t, 1, n)
	}
	type Row struct {
		ID   uint
		Name string    `gorm:"type:varchar(10) not null;not null"`
		At   time.Time `gorm:"type:datetime default CURRENT_TIMESTAMP;default:CURRENT_TIMESTAMP"`
		Size string    `gorm:"type:varchar(10)"`
		Old  string
	}
	type next struct {
		ID   uint
		Name string    `gorm:"type:varchar(20) not null;not null"`
		At   time.Time `gorm:"type:datetime default CURRENT_TIMESTAMP;default:CURRENT_TIMESTAMP"`
		Size string    `gorm:"type:varchar(20)"`
		Code *string   `gorm:"unique"`
	}
	recorder := &statements{Interface: logger.Discard}
	db := open(t, gormdialect.Open(file(t)), &gorm.Config{Logger: recorder})
	require.NoError(t, db.AutoMigrate(&Row{}))
	require.Contains(t, createTable(t, db, "rows"), "not null NOT NULL")
	require.NoError(t, db.Create(&Row{Name: "n"}).Error)
	require.NoError(t, db.Table("rows").AutoMigrate(&next{}))
	require.NoError(t, db.Migrator().DropColumn("rows", "old"))
	require.ErrorContains(t, db.Exec("INSERT INTO rows (name) VALUES (NULL)").Error, "NOT NULL constraint failed")
	require.ErrorContains(t, db.Exec("INSERT INTO rows (name, code) VALUES ('a', 'x'), ('b', 'x')").Error, "UNIQUE constraint failed")
	recorder.all = nil
	require.NoError(t, db.Table("rows").AutoMigrate(&next{}))
	recorder.requireQueries(t)
}

// Ensure that a column gets NOT NULL and loses its DEFAULT. In the model's text the one has
// the same place as the other has in the table's.
func TestMethods_samePlace(t *testing.T) {
	db := open(t, gormdialect.Open(file(t)), quiet())
	setup(t, db, "CREATE TABLE t (a int DEFAULT 1, b)")
	require.NoError(t, db.Table("t").Migrator().AlterColumn(model("column:a;type:varchar(12345678) not  null"), "a"))
	require.Equal(t, `CREATE TABLE "t" (a varchar(12345678) not  null , b)`, createTable(t, db, "t"))
}

// Ensure that a second migration of a table that another tool created executes only
// queries.
func TestMethods_secondMigration(t *testing.T) {
	type Made struct {
		ID      uint
		Name    string  `gorm:"size:40;not null;default:it's;unique"`
		Price   float64 `gorm:"type:decimal(10,2);default:1.50;check:price > 0"`
		Flag    bool    `gorm:"default:true"`
		Stamp   string  `gorm:"default:(datetime('now'))"`
		Kind    string  `gorm:"index"`
		Number  int64
		Comment string `gorm:"comment:some comment"`
		OwnerID uint
		Owner   owner
	}
	for _, create := range []string{
		"CREATE TABLE unrelated (a)",
		"CREATE TABLE mades (id INTEGER PRIMARY KEY, name VARCHAR(20) UNIQUE DEFAULT 'x')",
		"CREATE TABLE mades ([id] INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, name, price NUMERIC, flag BOOLEAN DEFAULT 0, kind TEXT UNIQUE, number BIGINT NOT NULL DEFAULT 5)",
		"CREATE TABLE mades (id, name TEXT NOT NULL DEFAULT \"it's\", price decimal(10,2) DEFAULT 1.50, flag numeric DEFAULT true, PRIMARY KEY (id))",
	} {
		recorder := &statements{Interface: logger.Discard}
		db := open(t, gormdialect.Open(file(t)), &gorm.Config{Logger: recorder})
		require.NoError(t, db.Exec(create).Error)
		require.NoError(t, db.AutoMigrate(&Made{}), create)
		before := take(t, db)
		recorder.all = nil
		require.NoError(t, db.AutoMigrate(&Made{}), create)
		recorder.requireQueries(t, create)
		require.Equal(t, before, take(t, db))
	}
}

// Ensure that ColumnTypes describes columns that GORM created as the official dialect
// does.
func TestMethods_columnTypes(t *testing.T) {
	type Made struct {
		ID    uint
		Name  string `gorm:"size:40;not null;default:abc"`
		Short string `gorm:"type:varchar(12);unique"`
		Big   int64  `gorm:"type:BIGINT;default:5"`
		Flag  bool
		Time  *string `gorm:"type:datetime"`
		Bytes []byte
	}
	type facts struct {
		name, dataType, full, value        string
		key, unique, nullable, hasValue    bool
		length                             int64
		hasLength, okKey, okUnique, okNull bool
	}
	var got [2][]facts
	for i, dialector := range []gorm.Dialector{sqlite.Open(file(t)), gormdialect.Open(file(t))} {
		db := open(t, dialector, quiet())
		require.NoError(t, db.AutoMigrate(&Made{}))
		types, err := db.Migrator().ColumnTypes(&Made{})
		require.NoError(t, err)
		for _, c := range types {
			var f facts
			f.name, f.dataType = c.Name(), c.DatabaseTypeName()
			f.full, _ = c.ColumnType()
			f.value, f.hasValue = c.DefaultValue()
			f.key, f.okKey = c.PrimaryKey()
			f.unique, f.okUnique = c.Unique()
			f.nullable, f.okNull = c.Nullable()
			f.length, f.hasLength = c.Length()
			got[i] = append(got[i], f)
			require.NotNil(t, c.ScanType())
		}
	}
	require.Equal(t, got[0], got[1])

	db := open(t, gormdialect.Open(file(t)), quiet())
	require.NoError(t, db.Exec("CREATE TABLE t (p decimal(10, 2) DEFAULT (1 + 1), g AS (p), \"w x\" double /* c */ precision, n DEFAULT NULL)").Error)
	types, err := db.Migrator().ColumnTypes("t")
	require.NoError(t, err)
	precision, scale, ok := types[0].DecimalSize()
	require.Equal(t, []any{int64(10), int64(2), true}, []any{precision, scale, ok})
	value, ok := types[0].DefaultValue()
	require.Equal(t, []any{"1 + 1", true}, []any{value, ok})
	require.Equal(t, "decimal", types[0].DatabaseTypeName())
	require.Equal(t, []any{"g", "", "w x", "double precision"}, []any{types[1].Name(), types[1].DatabaseTypeName(), types[2].Name(), types[2].DatabaseTypeName()})
	_, ok = types[3].DefaultValue()
	require.False(t, ok)
}

// Ensure that DropTable accepts tables that refer to each other in any order, also
// inside a transaction.
func TestMethods_dropTables(t *testing.T) {
	for _, order := range [][]any{{&owner{}, &thing{}}, {&thing{}, &owner{}}, {"owners", "things"}, {"things", "owners"}} {
		for _, way := range ways {
			db := open(t, gormdialect.Open(file(t)+"?_foreign_keys=1"), quiet())
			for _, statement := range owners {
				require.NoError(t, db.Exec(strings.Replace(statement, "CASCADE", "RESTRICT", 1)).Error)
			}
			require.NoError(t, way.run(t, db, func(db *gorm.DB) error { return db.Migrator().DropTable(order...) }), "%s %v", way.name, order)
			tables, err := db.Migrator().GetTables()
			require.NoError(t, err)
			require.NotContains(t, tables, "owners")
			require.NotContains(t, tables, "things")
		}
	}
}

// Ensure that a composite key has all its columns and requires a number in each, and
// that GORM finds rows by it.
func TestMethods_compositeKey(t *testing.T) {
	type Page struct {
		ID     uint `gorm:"primaryKey"`
		Locale uint `gorm:"primaryKey"`
		Text   string
	}
	type Zero struct {
		ID   uint `gorm:"primaryKey;autoIncrement:false"`
		Kind uint `gorm:"primaryKey"`
	}
	recorder := &statements{Interface: logger.Discard}
	db := open(t, gormdialect.Open(file(t)), &gorm.Config{Logger: recorder, TranslateError: true})
	require.NoError(t, db.AutoMigrate(&Page{}, &Zero{}))
	require.NoError(t, db.Create(&Page{ID: 1, Locale: 1, Text: "a"}).Error)
	require.NoError(t, db.Create(&Page{ID: 1, Locale: 2, Text: "b"}).Error)
	require.ErrorIs(t, db.Create(&Page{ID: 1, Locale: 2}).Error, gorm.ErrDuplicatedKey)
	require.ErrorContains(t, db.Create(&Page{Locale: 2}).Error, "NOT NULL constraint failed: pages.id")
	require.NoError(t, db.Save(&Page{ID: 1, Locale: 2, Text: "c"}).Error)
	var pages []Page
	require.NoError(t, db.Order("locale").Find(&pages).Error)
	require.Equal(t, []Page{{1, 1, "a"}, {1, 2, "c"}}, pages)
	require.NoError(t, db.Create(&Zero{}).Error)
	recorder.all = nil
	require.NoError(t, db.AutoMigrate(&Page{}, &Zero{}))
	recorder.requireQueries(t)
}
