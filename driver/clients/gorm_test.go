package clients

import (
	"database/sql"
	"errors"
	"time"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sqlite-mem/sqlite-mem/gormdialect"
)

type gormMailbox struct {
	ID       uint
	Name     string        `gorm:"unique;not null"`
	UIDNext  int64         `gorm:"not null;default:1"`
	Messages []gormMessage `gorm:"foreignKey:MailboxID;constraint:OnDelete:CASCADE"`
}

type gormMessage struct {
	ID        uint
	MailboxID uint   `gorm:"uniqueIndex:box_uid;not null"`
	UID       int64  `gorm:"uniqueIndex:box_uid;not null"`
	Subject   string `gorm:"index;not null"`
	Body      []byte
	Received  time.Time
}

type gormBox struct {
	db    *gorm.DB
	conns *sql.DB
}

func openGORM(dsn string) (client, error) {
	return newGORM(gorm.Open(gormdialect.Open(dsn), &gorm.Config{Logger: logger.Discard}))
}

func openOfficialGORM(dsn string) (client, error) {
	return newGORM(gorm.Open(&sqlite.Dialector{DriverName: "sqlite-mem", DSN: dsn}, &gorm.Config{Logger: logger.Discard}))
}

func newGORM(db *gorm.DB, err error) (client, error) {
	if err != nil {
		return nil, err
	}
	conns, err := db.DB()
	return &gormBox{db, conns}, err
}

func (b *gormBox) migrate() error {
	if err := b.db.AutoMigrate(&gormMailbox{}, &gormMessage{}); err != nil {
		return err
	}
	return b.db.Where(gormMailbox{Name: "INBOX"}).FirstOrCreate(&gormMailbox{}).Error
}

func (b *gormBox) pool() *sql.DB { return b.conns }
func (b *gormBox) close() error  { return b.conns.Close() }

func (b *gormBox) deliver(subject string, body []byte) error {
	return b.db.Transaction(func(tx *gorm.DB) error {
		var box gormMailbox
		if err := tx.Take(&box, "name = ?", "INBOX").Error; err != nil {
			return err
		}
		m := gormMessage{MailboxID: box.ID, UID: box.UIDNext, Subject: subject, Body: body, Received: time.Now()}
		return errors.Join(tx.Create(&m).Error, tx.Model(&box).Update("uid_next", box.UIDNext+1).Error)
	})
}

func (b *gormBox) newest(n int) (all []message, err error) {
	var found []gormMessage
	if err := b.db.Order("uid DESC").Limit(n).Find(&found).Error; err != nil {
		return nil, err
	}
	for _, m := range found {
		all = append(all, message{m.UID, m.Subject, m.Body, m.Received})
	}
	return all, nil
}
