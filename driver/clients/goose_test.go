package clients

import (
	"context"
	"database/sql"
	"testing/fstest"

	"github.com/pressly/goose/v3"
)

// openGoose migrates with goose.
func openGoose(dsn string) (client, error) {
	db, err := sql.Open("sqlite-mem", dsn)
	return &sqlBox{db, gooseUp}, err
}

func gooseUp(db *sql.DB) error {
	migrations := fstest.MapFS{
		"00001_tables.sql": {Data: []byte("-- +goose Up\n" + tables + "\n-- +goose Down\nDROP TABLE messages;\nDROP TABLE mailboxes;\n")},
		"00002_seen.sql":   {Data: []byte("-- +goose Up\nALTER TABLE messages ADD COLUMN seen BOOL NOT NULL DEFAULT FALSE;\n")},
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, migrations)
	if err != nil {
		return err
	}
	_, err = provider.Up(context.Background())
	return err
}
