package clients

import (
	"database/sql"
	"time"

	"github.com/jmoiron/sqlx"
)

// sqlx knows the placeholders of a driver by its name.
func init() { sqlx.BindDriver("sqlite-mem", sqlx.QUESTION) }

type sqlxBox struct{ db *sqlx.DB }

type sqlxMessage struct {
	MailboxID int64 `db:"mailbox_id"`
	UID       int64 `db:"uid"`
	Subject   string
	Body      []byte
	Received  time.Time
}

func openSQLX(dsn string) (client, error) {
	db, err := sqlx.Connect("sqlite-mem", dsn)
	return &sqlxBox{db}, err
}

func (b *sqlxBox) migrate() error { return createTables(b.db.DB) }
func (b *sqlxBox) pool() *sql.DB  { return b.db.DB }
func (b *sqlxBox) close() error   { return b.db.Close() }

func (b *sqlxBox) deliver(subject string, body []byte) error {
	tx, err := b.db.Beginx()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var box struct {
		ID      int64
		UIDNext int64 `db:"uid_next"`
	}
	if err := tx.Get(&box, "SELECT id, uid_next FROM mailboxes WHERE name = ?", "INBOX"); err != nil {
		return err
	}
	m := sqlxMessage{MailboxID: box.ID, UID: box.UIDNext, Subject: subject, Body: body, Received: time.Now()}
	_, err = tx.NamedExec("INSERT INTO messages(mailbox_id, uid, subject, body, received) VALUES (:mailbox_id, :uid, :subject, :body, :received)", m)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(tx.Rebind("UPDATE mailboxes SET uid_next = uid_next + 1 WHERE id = ?"), box.ID); err != nil {
		return err
	}
	return tx.Commit()
}

func (b *sqlxBox) newest(n int) (all []message, err error) {
	var found []sqlxMessage
	query, args, err := sqlx.Named("SELECT mailbox_id, uid, subject, body, received FROM messages ORDER BY uid DESC LIMIT :n", map[string]any{"n": n})
	if err != nil {
		return nil, err
	}
	if err := b.db.Select(&found, b.db.Rebind(query), args...); err != nil {
		return nil, err
	}
	for _, m := range found {
		all = append(all, message{m.UID, m.Subject, m.Body, m.Received})
	}
	return all, nil
}
