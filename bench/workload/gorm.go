package workload

import (
	"context"
	"fmt"
	"math/rand/v2"

	"gorm.io/gorm"
)

// Account, Mailbox and Message are the tables for GORM.
type Account struct {
	ID      int64
	Address string
	Used    int64
	Quota   int64
}

// Mailbox is the row of an account that numbers its messages.
type Mailbox struct {
	Account int64 `gorm:"primaryKey;autoIncrement:false"`
	UIDNext int64 `gorm:"column:uid_next"`
	Unseen  int64
}

// Message is a message without its body.
type Message struct {
	ID      int64
	Account int64
	UID     int64 `gorm:"column:uid"`
	Size    int64
	Head    string
}

// Gorm returns the workloads through GORM, with its defaults: it wraps each write in a
// transaction.
func Gorm(g *gorm.DB) []Workload {
	return []Workload{
		{Name: "GormRead", What: "GORM: First by number", Op: func(accounts int) Op {
			return func(ctx context.Context, db DB, rnd *rand.Rand) error {
				id := rnd.IntN(accounts) + 1
				return db.Read(ctx, func(ctx context.Context, _ Conn) error {
					var a Account
					return g.WithContext(ctx).Select("id", "address", "used").First(&a, id).Error
				})
			}
		}},
		{Name: "GormWrite", What: "GORM: Update of one column", Op: func(accounts int) Op {
			return func(ctx context.Context, db DB, rnd *rand.Rand) error {
				id := rnd.IntN(accounts) + 1
				return db.Write(ctx, func(ctx context.Context, _ Conn) error {
					return g.WithContext(ctx).Model(&Account{ID: int64(id)}).Update("used", gorm.Expr("used+1")).Error
				})
			}
		}},
		{Name: "GormDeliver", What: "GORM: the delivery of a mail in Transaction", Op: func(accounts int) Op {
			return func(ctx context.Context, db DB, rnd *rand.Rand) error {
				address, size := fmt.Sprintf("account%d@example.org", rnd.IntN(accounts)+1), int64(1000+rnd.IntN(9000))
				return db.Write(ctx, func(ctx context.Context, _ Conn) error {
					return g.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return gormDeliver(tx, address, size) })
				})
			}
		}},
	}
}

func gormDeliver(tx *gorm.DB, address string, size int64) error {
	var found, a Account
	if err := tx.Select("id").Where("address = ?", address).First(&found).Error; err != nil {
		return err
	}
	if err := tx.Select("used", "quota").First(&a, found.ID).Error; err != nil {
		return err
	}
	var m Mailbox
	if err := tx.First(&m, found.ID).Error; err != nil {
		return err
	}
	if err := tx.Create(&Message{Account: found.ID, UID: m.UIDNext, Size: size, Head: Head}).Error; err != nil {
		return err
	}
	return tx.Model(&m).Updates(map[string]any{"uid_next": gorm.Expr("uid_next+1"), "unseen": gorm.Expr("unseen+1")}).Error
}
