//go:build cgo

package gormdialect_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/gormdialect"
)

// note is the model of a table that another program has created.
type note struct {
	ID   int64
	Name string `gorm:"type:varchar(40)"`
	Qty  int
}

func (note) TableName() string { return "notes" }

// notes creates the table of note as GORM would, except for the type of name.
const notes = "CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text, `qty` int)"

// owner is the model of a table that the rows of things refer to.
type owner struct {
	ID     uint
	Name   string  `gorm:"type:varchar(50)"`
	Things []thing `gorm:"constraint:OnDelete:CASCADE"`
}

func (owner) TableName() string { return "owners" }

type thing struct {
	Chip    string `gorm:"primaryKey"`
	OwnerID uint
}

func (thing) TableName() string { return "things" }

var owners = []string{
	"CREATE TABLE owners (id integer PRIMARY KEY AUTOINCREMENT, name text)",
	"CREATE TABLE things (chip text PRIMARY KEY, owner_id integer, CONSTRAINT fk_owners_things FOREIGN KEY (owner_id) REFERENCES owners(id) ON DELETE CASCADE)",
	"INSERT INTO owners VALUES (1, 'a')", "INSERT INTO things VALUES ('x', 1), ('y', 1)",
}

// A program is a migration that the official dialect gets wrong. The package
// documentation has a line for each.
type program struct {
	name    string
	setup   []string                // creates the database
	run     func(db *gorm.DB) error // the migration
	query   string                  // a query with one value
	want    any                     // the value after a correct migration
	refused string                  // part of the error, if a correct migration is refused
}

// altered is the program that changes the type of notes.name, which rebuilds the
// table. Afterwards query must return want.
func altered(name, query string, want any, setup ...string) program {
	return program{name: name, setup: setup, run: alterName, query: query, want: want}
}

func alterName(db *gorm.DB) error { return db.Migrator().AlterColumn(&note{}, "Name") }

// called is the program that calls a method of the migrator. Afterwards query must
// return want.
func called(name, query string, want any, run func(db *gorm.DB, m gorm.Migrator) error, setup ...string) program {
	return program{name: name, setup: setup, run: func(db *gorm.DB) error { return run(db, db.Migrator()) }, query: query, want: want}
}

// but returns the program with the error that a correct migration returns.
func (p program) but(refused string) program {
	p.refused = refused
	return p
}

const (
	columnsOfNotes = "SELECT count(*) FROM pragma_table_info('notes')"
	typeOfName     = "SELECT lower(type) FROM pragma_table_info('notes') WHERE name = 'name'"
	thingsLeft     = "SELECT count(*) FROM things"
)

var programs = []program{
	altered("brackets", "SELECT [more text] FROM notes", "kept",
		"CREATE TABLE notes (id INTEGER PRIMARY KEY, name VARCHAR(20), [more text] TEXT, qty INT)",
		"INSERT INTO notes VALUES (1, 'n', 'kept', 5)"),
	altered("script", "SELECT größe FROM notes", "kept",
		"CREATE TABLE notes (id INTEGER PRIMARY KEY, name VARCHAR(20), größe TEXT, qty INT)",
		"INSERT INTO notes VALUES (1, 'n', 'kept', 5)"),
	altered("comment",
		typeOfName+" AND (SELECT sql LIKE '%-- it''s the key (of all)%' FROM sqlite_master WHERE name = 'notes')", "varchar(40)",
		"CREATE TABLE notes (id INTEGER PRIMARY KEY, -- it's the key (of all)\n name VARCHAR(20), qty INT)",
		"INSERT INTO notes VALUES (1, 'n', 5)"),
	altered("rowid", "SELECT group_concat(rowid) FROM notes", "7,70",
		"CREATE TABLE `notes` (`id` bigint, `name` text, `qty` int)",
		"INSERT INTO notes (rowid, id) VALUES (7, 1), (70, 2)"),
	altered("collation", "SELECT count(*) FROM notes WHERE name = 'a'", int64(1),
		"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text COLLATE NOCASE CHECK (name <> ''), `qty` int)",
		"INSERT INTO notes VALUES (1, 'A', 1)"),
	altered("generated", "SELECT twice FROM notes", int64(8),
		"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text, `qty` int, `twice` int AS (qty * 2) STORED)",
		"INSERT INTO notes VALUES (1, 'A', 4)"),
	altered("index", "SELECT count(*) FROM sqlite_master WHERE name = 'by_hand'", int64(1),
		notes, "CREATE UNIQUE INDEX by_hand ON notes (qty DESC) WHERE qty > 0"),
	altered("trigger", "SELECT count(*) FROM sqlite_master WHERE name = 'tr'", int64(1),
		notes, "CREATE TRIGGER tr AFTER INSERT ON notes BEGIN UPDATE notes SET qty = 1; END"),
	altered("view", typeOfName, "varchar(40)",
		notes, "CREATE VIEW v AS SELECT name FROM notes"),
	altered("statistics", "SELECT count(*) FROM sqlite_stat1", int64(1),
		notes, "INSERT INTO notes VALUES (1, 'a', 1)", "ANALYZE"),
	called("keyword", "SELECT checksum FROM notes", "kept",
		func(db *gorm.DB, _ gorm.Migrator) error { return db.AutoMigrate(&note{}) },
		"CREATE TABLE notes (id INTEGER PRIMARY KEY, name VARCHAR(20), checksum TEXT, qty INT)",
		"INSERT INTO notes VALUES (1, 'n', 'kept', 5)"),
	called("options", "SELECT wr + strict FROM pragma_table_list('notes')", int64(2),
		func(_ *gorm.DB, m gorm.Migrator) error { return m.DropColumn(&note{}, "qty") },
		"CREATE TABLE notes (id INTEGER PRIMARY KEY, name TEXT, qty INT) STRICT, WITHOUT ROWID"),
	called("sequence", "SELECT max(id) FROM notes", int64(4),
		func(db *gorm.DB, _ gorm.Migrator) error {
			return errors.Join(alterName(db), db.Create(&note{Name: "new"}).Error)
		},
		"CREATE TABLE `notes` (`id` integer PRIMARY KEY AUTOINCREMENT, `name` text, `qty` int)",
		"INSERT INTO notes (name) VALUES ('a'), ('b'), ('c')",
		"DELETE FROM notes WHERE id > 1"),
	called("key", "SELECT count(*) FROM pragma_table_info('pages') WHERE pk", int64(2),
		func(db *gorm.DB, _ gorm.Migrator) error {
			type Page struct {
				ID     uint `gorm:"primaryKey"`
				Locale uint `gorm:"primaryKey"`
			}
			return db.AutoMigrate(&Page{})
		}),
	called("referred", thingsLeft, int64(2),
		func(db *gorm.DB, m gorm.Migrator) error {
			pool, err := db.DB()
			if err != nil {
				return err
			}
			pool.SetMaxIdleConns(-1) // each statement has a connection of its own
			return m.AlterColumn(&owner{}, "Name")
		},
		owners...),
	called("transaction", thingsLeft, int64(2),
		func(db *gorm.DB, _ gorm.Migrator) error {
			return db.Transaction(func(tx *gorm.DB) error { return tx.Migrator().AlterColumn(&owner{}, "Name") })
		},
		owners...).but("rows of things refer to it"),
	called("drop", thingsLeft, int64(2),
		func(db *gorm.DB, _ gorm.Migrator) error {
			return db.Transaction(func(tx *gorm.DB) error { return tx.Migrator().DropTable(&owner{}) })
		},
		owners...).but("rows of things refer to it"),
	called("unquoted", columnsOfNotes, int64(2),
		func(_ *gorm.DB, m gorm.Migrator) error { return m.DropColumn(&note{}, "qty") },
		"CREATE TABLE notes (id INTEGER PRIMARY KEY,\nname TEXT,\nqty INT)"),
	called("panic", columnsOfNotes, int64(2),
		func(_ *gorm.DB, m gorm.Migrator) error { return m.DropColumn("notes", "qty") },
		notes),
	called("nothing", columnsOfNotes, int64(3),
		func(_ *gorm.DB, m gorm.Migrator) error { return m.DropConstraint(&note{}, "absent") },
		notes).but("has no constraint absent"),
	called("quoted", "SELECT count(*) FROM sqlite_master", int64(0),
		func(_ *gorm.DB, m gorm.Migrator) error { return m.DropTable(`"notes"`) },
		notes),
	called("has", columnsOfNotes, int64(3),
		func(_ *gorm.DB, m gorm.Migrator) error {
			if m.HasColumn(&note{}, "qty") {
				return errors.New("HasColumn reports a column that does not exist")
			}
			return nil
		},
		"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text DEFAULT 'no qty here', `qtyX` int)"),
	called("virtual", columnsOfNotes, int64(3),
		func(_ *gorm.DB, m gorm.Migrator) error {
			types, err := m.ColumnTypes("notes")
			if err == nil && len(types) != 3 {
				err = fmt.Errorf("ColumnTypes returns %d columns", len(types))
			}
			return err
		},
		"CREATE VIRTUAL TABLE notes USING rtree(id, x0, x1)"),
	called("computed", "SELECT count(*) FROM stamps WHERE made IS NOT NULL", int64(1),
		func(db *gorm.DB, _ gorm.Migrator) error {
			type Stamp struct {
				ID   uint
				Made time.Time `gorm:"default:CURRENT_TIMESTAMP"`
			}
			return db.AutoMigrate(&Stamp{})
		},
		"CREATE TABLE `stamps` (`id` integer PRIMARY KEY)", "INSERT INTO stamps VALUES (1)"),
	called("unique", "SELECT count(*) FROM pragma_index_list('codes') WHERE \"unique\"", int64(1),
		func(db *gorm.DB, _ gorm.Migrator) error {
			type Code struct {
				ID   uint
				Code string `gorm:"unique"`
			}
			return db.AutoMigrate(&Code{})
		},
		"CREATE TABLE `codes` (`id` integer PRIMARY KEY)"),
	called("reindex", "SELECT name FROM sqlite_master WHERE type = 'index'", "e",
		func(_ *gorm.DB, m gorm.Migrator) error { return m.RenameIndex(&note{}, "INDEX", "e") },
		notes, "CREATE INDEX [INDEX] ON notes (qty)"),
}

// Ensure that each program of the package documentation still fails with the official
// dialect, and works with this one.
func TestOfficial(t *testing.T) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			for name, dialector := range map[string]gorm.Dialector{
				"official": sqlite.Open(file(t) + "?_foreign_keys=1"),
				"here":     gormdialect.Open(file(t) + "?_foreign_keys=1"),
			} {
				db := open(t, dialector, quiet())
				setup(t, db, p.setup...)
				err := func() (err error) {
					defer func() {
						if r := recover(); r != nil {
							err = fmt.Errorf("panic: %v", r)
						}
					}()
					return p.run(db)
				}()
				var got any
				pool, poolErr := db.DB()
				require.NoError(t, poolErr)
				if scanErr := pool.QueryRow(p.query).Scan(&got); scanErr != nil {
					got = scanErr.Error()
					require.NotErrorIs(t, scanErr, sql.ErrConnDone)
				}
				right := got == p.want
				if p.refused == "" {
					right = right && err == nil
				} else {
					right = right && err != nil && strings.Contains(err.Error(), p.refused)
				}
				if name == "here" {
					require.True(t, right, "error %v, %v", err, got)
				} else {
					require.False(t, right, "the official dialect has got better: error %v, %v", err, got)
					t.Logf("official: error %v, %v; wanted %v %s", err, got, p.want, p.refused)
				}
			}
		})
	}
}

// Ensure that the package documentation has a line for each program, and no other.
func TestOfficial_documented(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for _, p := range programs {
		require.True(t, strings.Contains(string(doc), " TestOfficial/"+p.name+"\n"), "TestOfficial/%s is not in the documentation", p.name)
	}
	require.Equal(t, len(programs), strings.Count(string(doc), " TestOfficial/"))
}
