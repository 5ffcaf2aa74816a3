package models

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// BlockedUser is a row of table blocked_users: a user name that must not be registered
// again. Madmail adds one for each account that an administrator deletes.
type BlockedUser struct {
	// Username is the blocked user name.
	Username Key `gorm:"primaryKey"`

	// Reason is shown to administrators. It may be empty.
	Reason Text `gorm:"not null"`

	// BlockedAt is the time of the block, in UTC with milliseconds. The zero time means
	// unknown.
	BlockedAt time.Time `gorm:"autoCreateTime"`
}

// TableName returns Madmail's name of the table.
func (BlockedUser) TableName() string { return "blocked_users" }

// BlockedUsers is the store of blocked user names, on table blocked_users.
type BlockedUsers struct {
	db *gorm.DB
}

// NewBlockedUsers returns the store of db's blocked users. It does not use the
// database. [Migrate] creates the table.
func NewBlockedUsers(db *gorm.DB) *BlockedUsers { return &BlockedUsers{db} }

// blockedRows reads the rows of blocked_users.
var blockedRows = rowReader[BlockedUser]{
	table:   BlockedUser{}.TableName(),
	key:     "username",
	columns: []string{"username", "reason", "blocked_at"},
	stamps:  []string{"blocked_at"},
	scan: func(rows *sql.Rows) (b BlockedUser, err error) {
		var blocked stamp
		err = rows.Scan(&b.Username, &b.Reason, &blocked)
		b.BlockedAt = blocked.Time
		return b, err
	},
}

// Block blocks a user name. If it is blocked already, Block replaces the reason and the
// time. An invalid user name or reason is an [InvalidError].
func (b *BlockedUsers) Block(ctx context.Context, user, reason string) error {
	if err := checkUser(user); err != nil {
		return err
	}
	if err := checkText("reason", reason, MaxValueBytes); err != nil {
		return err
	}
	err := run(ctx, b.db, func(tx *gorm.DB) error {
		row := BlockedUser{Username: Key(user), Reason: Text(reason), BlockedAt: storedTime(time.Now())}
		return tx.Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: "username"}},
			DoUpdates: clause.AssignmentColumns([]string{"reason", "blocked_at"}),
		}).Create(&row).Error
	})
	if err != nil {
		return fmt.Errorf("models: block %s: %w", brief(user), err)
	}
	return nil
}

// Blocked reports whether a user name is blocked.
func (b *BlockedUsers) Blocked(ctx context.Context, user string) (bool, error) {
	if err := checkUser(user); err != nil {
		return false, err
	}
	_, ok, err := blockedRows.get(ctx, b.db, user)
	if err != nil {
		return false, fmt.Errorf("models: blocked user %s: %w", brief(user), err)
	}
	return ok, nil
}

// List returns up to limit blocked users whose names come after the given one, sorted
// by the bytes of their names. "" starts at the first. A limit of 0 means [DefaultPage],
// and the most is [MaxPage]. For the next page, pass the last name. A page shorter than
// limit is the last one.
func (b *BlockedUsers) List(ctx context.Context, after string, limit int) ([]BlockedUser, error) {
	rows, err := blockedRows.list(ctx, b.db, after, limit)
	if err != nil {
		return nil, fmt.Errorf("models: list blocked users: %w", err)
	}
	return rows, nil
}

// Unblock removes the block of a user name. If there is none, it returns [ErrNotFound].
func (b *BlockedUsers) Unblock(ctx context.Context, user string) error {
	if err := checkUser(user); err != nil {
		return err
	}
	if err := blockedRows.remove(ctx, b.db, user); err != nil {
		return fmt.Errorf("models: unblock %s: %w", brief(user), err)
	}
	return nil
}
