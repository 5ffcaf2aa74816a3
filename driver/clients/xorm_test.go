package clients

import (
	"database/sql"
	"time"

	"xorm.io/xorm"
	"xorm.io/xorm/dialects"

	_ "github.com/sqlite-mem/sqlite-mem/driver" // registers "sqlite-mem"
)

// xorm chooses its dialect by the name of the driver.
func init() { dialects.RegisterDriver("sqlite-mem", dialects.QueryDriver("sqlite3")) }

type xormMailbox struct {
	ID      int64  `xorm:"'id' pk autoincr"`
	Name    string `xorm:"unique notnull"`
	UIDNext int64  `xorm:"'uid_next' notnull default 1"`
}

type xormMessage struct {
	ID        int64  `xorm:"'id' pk autoincr"`
	MailboxID int64  `xorm:"'mailbox_id' unique(mailbox_uid) notnull"`
	UID       int64  `xorm:"'uid' unique(mailbox_uid) notnull"`
	Subject   string `xorm:"index notnull"`
	Body      []byte
	Received  time.Time
}

func (xormMailbox) TableName() string { return "mailboxes" }
func (xormMessage) TableName() string { return "messages" }

type xormBox struct{ db *xorm.Engine }

func openXORM(dsn string) (client, error) {
	db, err := xorm.NewEngine("sqlite-mem", dsn)
	return &xormBox{db}, err
}

func (b *xormBox) migrate() error {
	if err := b.db.Sync(&xormMailbox{}, &xormMessage{}); err != nil {
		return err
	}
	found, err := b.db.Exist(&xormMailbox{Name: "INBOX"})
	if err == nil && !found {
		_, err = b.db.Insert(&xormMailbox{Name: "INBOX", UIDNext: 1})
	}
	return err
}

func (b *xormBox) pool() *sql.DB { return b.db.DB().DB }
func (b *xormBox) close() error  { return b.db.Close() }

func (b *xormBox) deliver(subject string, body []byte) error {
	_, err := b.db.Transaction(func(tx *xorm.Session) (any, error) {
		box := xormMailbox{Name: "INBOX"}
		if _, err := tx.Get(&box); err != nil {
			return nil, err
		}
		m := &xormMessage{MailboxID: box.ID, UID: box.UIDNext, Subject: subject, Body: body, Received: time.Now()}
		if _, err := tx.Insert(m); err != nil {
			return nil, err
		}
		return tx.ID(box.ID).Cols("uid_next").Update(&xormMailbox{UIDNext: box.UIDNext + 1})
	})
	return err
}

func (b *xormBox) newest(n int) (all []message, err error) {
	var found []xormMessage
	if err := b.db.Desc("uid").Limit(n).Find(&found); err != nil {
		return nil, err
	}
	for _, m := range found {
		all = append(all, message{m.UID, m.Subject, m.Body, m.Received})
	}
	return all, nil
}
