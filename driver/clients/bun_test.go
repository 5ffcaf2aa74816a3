package clients

import (
	"context"
	"database/sql"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
)

type bunMailbox struct {
	bun.BaseModel `bun:"table:mailboxes"`

	ID      int64  `bun:",pk,autoincrement"`
	Name    string `bun:",unique,notnull"`
	UIDNext int64  `bun:"uid_next,notnull,default:1"`
}

type bunMessage struct {
	bun.BaseModel `bun:"table:messages"`

	ID        int64  `bun:",pk,autoincrement"`
	MailboxID int64  `bun:",notnull,unique:mailbox_uid"`
	UID       int64  `bun:"uid,notnull,unique:mailbox_uid"`
	Subject   string `bun:",notnull"`
	Body      []byte
	Received  time.Time `bun:",notnull,default:current_timestamp"`
}

type bunBox struct{ db *bun.DB }

func openBun(dsn string) (client, error) {
	db, err := sql.Open("sqlite-mem", dsn)
	if err != nil {
		return nil, err
	}
	return &bunBox{bun.NewDB(db, sqlitedialect.New())}, nil
}

func (b *bunBox) migrate() error {
	ctx := context.Background()
	_, err := b.db.NewCreateTable().Model((*bunMailbox)(nil)).IfNotExists().Exec(ctx)
	if err == nil {
		_, err = b.db.NewCreateTable().Model((*bunMessage)(nil)).IfNotExists().
			ForeignKey("(mailbox_id) REFERENCES mailboxes(id) ON DELETE CASCADE").Exec(ctx)
	}
	if err == nil {
		_, err = b.db.NewCreateIndex().Model((*bunMessage)(nil)).Index("messages_subject").Column("subject").IfNotExists().Exec(ctx)
	}
	if err == nil {
		_, err = b.db.NewInsert().Model(&bunMailbox{Name: "INBOX"}).On("CONFLICT DO NOTHING").Exec(ctx)
	}
	return err
}

func (b *bunBox) pool() *sql.DB { return b.db.DB }
func (b *bunBox) close() error  { return b.db.Close() }

func (b *bunBox) deliver(subject string, body []byte) error {
	return b.db.RunInTx(context.Background(), nil, func(ctx context.Context, tx bun.Tx) error {
		var box bunMailbox
		if err := tx.NewSelect().Model(&box).Where("name = ?", "INBOX").Scan(ctx); err != nil {
			return err
		}
		m := &bunMessage{MailboxID: box.ID, UID: box.UIDNext, Subject: subject, Body: body, Received: time.Now()}
		if _, err := tx.NewInsert().Model(m).Exec(ctx); err != nil {
			return err
		}
		box.UIDNext++
		_, err := tx.NewUpdate().Model(&box).Column("uid_next").WherePK().Exec(ctx)
		return err
	})
}

func (b *bunBox) newest(n int) (all []message, err error) {
	var found []bunMessage
	if err := b.db.NewSelect().Model(&found).Order("uid DESC").Limit(int64(n)).Scan(context.Background()); err != nil {
		return nil, err
	}
	for _, m := range found {
		all = append(all, message{m.UID, m.Subject, m.Body, m.Received})
	}
	return all, nil
}
