//go:build cgo

package gormdialect_test

import (
	"database/sql"
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

// note is a table that something else than GORM made, before a program that uses
// GORM came to it.
type note struct {
	ID   int64
	Name string `gorm:"type:varchar(40)"`
	Qty  int
}

func (note) TableName() string { return "notes" }

// owner and thing are a table and one whose rows refer to it.
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

func alterName(db *gorm.DB) error { return db.Migrator().AlterColumn(&note{}, "Name") }

// programs are what the official dialect loses and this one keeps. The package
// documentation has a line for each.
var programs = []struct {
	name    string
	setup   []string
	run     func(db *gorm.DB) error
	query   string // one value
	want    any    // of query, when nothing is lost
	refused string // the error that is wanted, if the migration must be refused
}{
	{
		name:  "keyword",
		setup: []string{"CREATE TABLE notes (id INTEGER PRIMARY KEY, name VARCHAR(20), checksum TEXT, qty INT)", "INSERT INTO notes VALUES (1, 'n', 'kept', 5)"},
		run:   func(db *gorm.DB) error { return db.AutoMigrate(&note{}) },
		query: "SELECT checksum FROM notes", want: "kept",
	},
	{
		name:  "brackets",
		setup: []string{"CREATE TABLE notes (id INTEGER PRIMARY KEY, name VARCHAR(20), [more text] TEXT, qty INT)", "INSERT INTO notes VALUES (1, 'n', 'kept', 5)"},
		run:   alterName,
		query: "SELECT [more text] FROM notes", want: "kept",
	},
	{
		name:  "script",
		setup: []string{`CREATE TABLE notes (id INTEGER PRIMARY KEY, name VARCHAR(20), größe TEXT, qty INT)`, "INSERT INTO notes VALUES (1, 'n', 'kept', 5)"},
		run:   alterName,
		query: "SELECT größe FROM notes", want: "kept",
	},
	{
		name:  "comment",
		setup: []string{"CREATE TABLE notes (id INTEGER PRIMARY KEY, -- it's the key (of all)\n name VARCHAR(20), qty INT)", "INSERT INTO notes VALUES (1, 'n', 5)"},
		run:   alterName,
		query: "SELECT lower(i.type) FROM pragma_table_info('notes') AS i, sqlite_master AS m WHERE m.name = 'notes' AND i.name = 'name' AND sql LIKE '%-- it''s the key (of all)%'", want: "varchar(40)",
	},
	{
		name:  "options",
		setup: []string{"CREATE TABLE notes (id INTEGER PRIMARY KEY, name TEXT, qty INT) STRICT, WITHOUT ROWID"},
		run:   func(db *gorm.DB) error { return db.Migrator().DropColumn(&note{}, "qty") },
		query: "SELECT wr + strict FROM pragma_table_list('notes')", want: int64(2),
	},
	{
		name:  "sequence",
		setup: []string{"CREATE TABLE `notes` (`id` integer PRIMARY KEY AUTOINCREMENT, `name` text, `qty` int)", "INSERT INTO notes (name) VALUES ('a'), ('b'), ('c')", "DELETE FROM notes WHERE id > 1"},
		run: func(db *gorm.DB) error {
			if err := alterName(db); err != nil {
				return err
			}
			return db.Create(&note{Name: "new"}).Error
		},
		query: "SELECT max(id) FROM notes", want: int64(4),
	},
	{
		name:  "rowid",
		setup: []string{"CREATE TABLE `notes` (`id` bigint, `name` text, `qty` int)", "INSERT INTO notes (rowid, id) VALUES (7, 1), (70, 2)"},
		run:   alterName,
		query: "SELECT group_concat(rowid) FROM notes", want: "7,70",
	},
	{
		name:  "collation",
		setup: []string{"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text COLLATE NOCASE CHECK (name <> ''), `qty` int)", "INSERT INTO notes VALUES (1, 'A', 1)"},
		run:   alterName,
		query: "SELECT count(*) FROM notes WHERE name = 'a'", want: int64(1),
	},
	{
		name:  "generated",
		setup: []string{"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text, `qty` int, `twice` int AS (qty * 2) STORED)", "INSERT INTO notes VALUES (1, 'A', 4)"},
		run:   alterName,
		query: "SELECT twice FROM notes", want: int64(8),
	},
	{
		name:  "key",
		setup: []string{"CREATE TABLE `other` (x)"},
		run: func(db *gorm.DB) error {
			type Page struct {
				ID     uint `gorm:"primaryKey"`
				Locale uint `gorm:"primaryKey"`
			}
			return db.AutoMigrate(&Page{})
		},
		query: "SELECT count(*) FROM pragma_table_info('pages') WHERE pk", want: int64(2),
	},
	{
		name:  "index",
		setup: []string{"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text, `qty` int)", "CREATE UNIQUE INDEX by_hand ON notes (qty DESC) WHERE qty > 0"},
		run:   alterName,
		query: "SELECT count(*) FROM sqlite_master WHERE name = 'by_hand'", want: int64(1),
	},
	{
		name:  "trigger",
		setup: []string{"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text, `qty` int)", "CREATE TRIGGER tr AFTER INSERT ON notes BEGIN UPDATE notes SET qty = 1; END"},
		run:   alterName,
		query: "SELECT count(*) FROM sqlite_master WHERE name = 'tr'", want: int64(1),
	},
	{
		name:  "view",
		setup: []string{"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text, `qty` int)", "CREATE VIEW v AS SELECT name FROM notes"},
		run:   alterName,
		query: "SELECT type FROM pragma_table_info('notes') WHERE name = 'name'", want: "varchar(40)",
	},
	{
		name:  "statistics",
		setup: []string{"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text, `qty` int)", "INSERT INTO notes VALUES (1, 'a', 1)", "ANALYZE"},
		run:   alterName,
		query: "SELECT count(*) FROM sqlite_stat1", want: int64(1),
	},
	{
		name: "referred", setup: owners,
		run: func(db *gorm.DB) error {
			pool, err := db.DB()
			if err != nil {
				return err
			}
			pool.SetMaxIdleConns(-1) // each statement has a connection of its own
			return db.Migrator().AlterColumn(&owner{}, "Name")
		},
		query: "SELECT count(*) FROM things", want: int64(2),
	},
	{
		name: "transaction", setup: owners,
		run: func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error { return tx.Migrator().AlterColumn(&owner{}, "Name") })
		},
		query: "SELECT count(*) FROM things", want: int64(2), refused: "rows of things refer to it",
	},
	{
		name: "drop", setup: owners,
		run: func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error { return tx.Migrator().DropTable(&owner{}) })
		},
		query: "SELECT count(*) FROM things", want: int64(2), refused: "rows of things refer to it",
	},
	{
		name:  "unquoted",
		setup: []string{"CREATE TABLE notes (id INTEGER PRIMARY KEY,\nname TEXT,\nqty INT)"},
		run:   func(db *gorm.DB) error { return db.Migrator().DropColumn(&note{}, "qty") },
		query: "SELECT count(*) FROM pragma_table_info('notes')", want: int64(2),
	},
	{
		name:  "panic",
		setup: []string{"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text, `qty` int)"},
		run:   func(db *gorm.DB) error { return db.Migrator().DropColumn("notes", "qty") },
		query: "SELECT count(*) FROM pragma_table_info('notes')", want: int64(2),
	},
	{
		name:  "nothing",
		setup: []string{"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text, `qty` int)"},
		run:   func(db *gorm.DB) error { return db.Migrator().DropConstraint(&note{}, "absent") },
		query: "SELECT 1", want: int64(1), refused: "has no constraint absent",
	},
	{
		name:  "quoted",
		setup: []string{"CREATE TABLE `notes` (`id` integer PRIMARY KEY)"},
		run:   func(db *gorm.DB) error { return db.Migrator().DropTable(`"notes"`) },
		query: "SELECT count(*) FROM sqlite_master", want: int64(0),
	},
	{
		name:  "has",
		setup: []string{"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text DEFAULT 'no qty here', `qtyX` int)"},
		run: func(db *gorm.DB) error {
			if db.Migrator().HasColumn(&note{}, "qty") {
				return fmt.Errorf("it has a column that it has not")
			}
			return nil
		},
		query: "SELECT 1", want: int64(1),
	},
	{
		name:  "virtual",
		setup: []string{"CREATE VIRTUAL TABLE notes USING rtree(id, x0, x1)"},
		run: func(db *gorm.DB) error {
			types, err := db.Migrator().ColumnTypes("notes")
			if err == nil && len(types) != 3 {
				err = fmt.Errorf("%d columns", len(types))
			}
			return err
		},
		query: "SELECT 1", want: int64(1),
	},
	{
		name:  "computed",
		setup: []string{"CREATE TABLE `stamps` (`id` integer PRIMARY KEY)", "INSERT INTO stamps VALUES (1)"},
		run: func(db *gorm.DB) error {
			type Stamp struct {
				ID   uint
				Made time.Time `gorm:"default:CURRENT_TIMESTAMP"`
			}
			return db.AutoMigrate(&Stamp{})
		},
		query: "SELECT count(*) FROM stamps WHERE made IS NOT NULL", want: int64(1),
	},
	{
		name:  "unique",
		setup: []string{"CREATE TABLE `codes` (`id` integer PRIMARY KEY)"},
		run: func(db *gorm.DB) error {
			type Code struct {
				ID   uint
				Code string `gorm:"unique"`
			}
			return db.AutoMigrate(&Code{})
		},
		query: "SELECT count(*) FROM pragma_index_list('codes') WHERE \"unique\"", want: int64(1),
	},
	{
		name:  "reindex",
		setup: []string{"CREATE TABLE `notes` (`id` integer PRIMARY KEY, `name` text, `qty` int)", "CREATE INDEX [INDEX] ON notes (qty)"},
		run:   func(db *gorm.DB) error { return db.Migrator().RenameIndex(&note{}, "INDEX", "e") },
		query: "SELECT name FROM sqlite_master WHERE type = 'index'", want: "e",
	},
}

// Ensure that the official dialect still loses what the package documentation says
// it loses, and that this one does not.
func TestOfficial(t *testing.T) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			for name, dialector := range map[string]gorm.Dialector{
				"official": sqlite.Open(file(t) + "?_foreign_keys=1"),
				"here":     gormdialect.Open(file(t) + "?_foreign_keys=1"),
			} {
				db := open(t, dialector, quiet())
				for _, statement := range p.setup {
					require.NoError(t, db.Exec(statement).Error, statement)
				}
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
