package clients

import (
	"context"
	"database/sql"
	"time"

	_ "github.com/sqlite-mem/sqlite-mem/driver" // registers "sqlite-mem"
)

// tables is the schema of the libraries that have none of their own, as a migration.
const tables = `
CREATE TABLE mailboxes (
	id       INTEGER PRIMARY KEY,
	name     TEXT NOT NULL UNIQUE,
	uid_next INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE messages (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	mailbox_id INTEGER NOT NULL REFERENCES mailboxes(id) ON DELETE CASCADE,
	uid        INTEGER NOT NULL,
	subject    TEXT NOT NULL,
	body       BLOB NOT NULL,
	received   TIMESTAMP NOT NULL,
	UNIQUE (mailbox_id, uid)
);
CREATE INDEX messages_subject ON messages(subject);
INSERT INTO mailboxes(name) VALUES ('INBOX');
`

// sqlBox is a mailbox with the statements of database/sql alone. The wrappers of drivers
// and the tools for migrations have no statements of their own, and use it too.
type sqlBox struct {
	db  *sql.DB
	run func(*sql.DB) error // migrates
}

func openSQL(dsn string) (client, error) {
	db, err := sql.Open("sqlite-mem", dsn)
	return &sqlBox{db, createTables}, err
}

// createTables creates the tables unless they exist.
func createTables(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name = 'mailboxes'").Scan(&n); err != nil || n > 0 {
		return err
	}
	if _, err := tx.Exec(tables); err != nil {
		return err
	}
	return tx.Commit()
}

func (b *sqlBox) migrate() error { return b.run(b.db) }
func (b *sqlBox) pool() *sql.DB  { return b.db }
func (b *sqlBox) close() error   { return b.db.Close() }

func (b *sqlBox) deliver(subject string, body []byte) error {
	tx, err := b.db.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var id, uid int64
	if err := tx.QueryRow("SELECT id, uid_next FROM mailboxes WHERE name = ?", "INBOX").Scan(&id, &uid); err != nil {
		return err
	}
	_, err = tx.Exec("INSERT INTO messages(mailbox_id, uid, subject, body, received) VALUES (?, ?, ?, ?, ?)", id, uid, subject, body, time.Now())
	if err != nil {
		return err
	}
	if _, err := tx.Exec("UPDATE mailboxes SET uid_next = ? WHERE id = ?", uid+1, id); err != nil {
		return err
	}
	return tx.Commit()
}

func (b *sqlBox) newest(n int) (all []message, err error) {
	rows, err := b.db.Query("SELECT uid, subject, body, received FROM messages ORDER BY uid DESC LIMIT ?", n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m message
		if err := rows.Scan(&m.uid, &m.subject, &m.body, &m.received); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, rows.Err()
}
