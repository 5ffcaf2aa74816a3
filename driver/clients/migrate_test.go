package clients

import (
	"database/sql"
	"errors"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database/sqlite3"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

// openMigrate migrates with golang-migrate.
func openMigrate(dsn string) (client, error) {
	db, err := sql.Open("sqlite-mem", dsn)
	return &sqlBox{db, migrateUp}, err
}

func migrateUp(db *sql.DB) error {
	source, err := iofs.New(fstest.MapFS{
		"1_tables.up.sql":   {Data: []byte(tables)},
		"1_tables.down.sql": {Data: []byte("DROP TABLE messages; DROP TABLE mailboxes;")},
		"2_seen.up.sql":     {Data: []byte("ALTER TABLE messages ADD COLUMN seen BOOL NOT NULL DEFAULT FALSE;")},
	}, ".")
	if err != nil {
		return err
	}
	target, err := sqlite3.WithInstance(db, &sqlite3.Config{})
	if err != nil {
		return err
	}
	m, err := migrate.NewWithInstance("iofs", source, "sqlite3", target) // m.Close would close db
	if err != nil {
		return err
	}
	if err := m.Up(); !errors.Is(err, migrate.ErrNoChange) {
		return err
	}
	return nil
}
