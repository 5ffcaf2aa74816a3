package models

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// GlobalDefault is the user name under which the table quotas keeps the limit of
// all users that have none of their own. No account may have that name.
const GlobalDefault = "__GLOBAL_DEFAULT__"

// Quota is a row of table quotas: one account, or [GlobalDefault].
type Quota struct {
	// Username identifies the account, as the server writes it after its own
	// normalisation: names that differ in case are two accounts here.
	Username Key `gorm:"primaryKey"`

	// MaxStorage is the account's own limit in bytes. 0: it has none.
	MaxStorage int64

	// CreatedAt is when the account was created, in Unix seconds. 0: not recorded.
	CreatedAt int64 `gorm:"autoCreateTime:false"`
}

// TableName is Madmail's name for the table.
func (Quota) TableName() string { return "quotas" }

// LimitSource says where a [Limit] is from.
type LimitSource int

const (
	// FromConfig: neither the user nor the database has a limit, so
	// QuotaConfig.Default is in force.
	FromConfig LimitSource = iota

	// FromDefault: the user has no limit, the row GlobalDefault has.
	FromDefault

	// FromUser: the user has a limit of their own.
	FromUser
)

func (s LimitSource) String() string {
	switch s {
	case FromConfig:
		return "configured default"
	case FromDefault:
		return "server default"
	case FromUser:
		return "own limit"
	}
	return fmt.Sprintf("LimitSource(%d)", int(s))
}

// Limit is how much an account may store.
type Limit struct {
	Bytes  int64 // 0: no limit (only ever FromConfig)
	Source LimitSource
}

// Unlimited reports whether there is no limit.
func (l Limit) Unlimited() bool { return l.Bytes == 0 }

// QuotaConfig is what [NewQuotas] needs to know from the server's configuration.
type QuotaConfig struct {
	// Default is the limit in bytes of users without their own, when the database
	// has no default either. 0: they may store without limit.
	Default int64
}

// Quotas is the store of storage limits, on table quotas.
type Quotas struct {
	db     *gorm.DB
	config QuotaConfig
}

// NewQuotas returns the store of db's quotas. It does not touch the database; the
// table is made by [Migrate]. A negative default is an [InvalidError].
func NewQuotas(db *gorm.DB, config QuotaConfig) (*Quotas, error) {
	if config.Default < 0 {
		return nil, &InvalidError{"default quota", "is negative"}
	}
	return &Quotas{db, config}, nil
}

// Limit returns the limit in force for user: their own, else that of the row
// [GlobalDefault], else the configured one. A user nobody has heard of has a limit
// too, so there is no [ErrNotFound].
func (q *Quotas) Limit(ctx context.Context, user string) (Limit, error) {
	if err := checkUser(user); err != nil {
		return Limit{}, err
	}
	var rows []Quota
	err := run(ctx, q.db, func(tx *gorm.DB) error {
		return tx.Where("username IN ?", []string{user, GlobalDefault}).Find(&rows).Error
	})
	if err != nil {
		return Limit{}, fmt.Errorf("models: limit of %s: %w", brief(user), err)
	}
	limit := Limit{q.config.Default, FromConfig}
	for _, row := range rows {
		switch {
		case row.MaxStorage <= 0: // unset; Madmail also writes NULL
		case row.Username != GlobalDefault:
			return Limit{row.MaxStorage, FromUser}, nil
		default:
			limit = Limit{row.MaxStorage, FromDefault}
		}
	}
	return limit, nil
}

// Default returns the limit of users without their own: that of the row
// [GlobalDefault], else the configured one.
func (q *Quotas) Default(ctx context.Context) (Limit, error) {
	row, _, err := q.find(ctx, GlobalDefault)
	if err != nil {
		return Limit{}, fmt.Errorf("models: default quota: %w", err)
	}
	if row.MaxStorage > 0 {
		return Limit{row.MaxStorage, FromDefault}, nil
	}
	return Limit{q.config.Default, FromConfig}, nil
}

// Allow returns nil when user, who stores used bytes, may store more bytes on top:
// when used+more is at most the limit in force. If not, the error is a
// [QuotaError]. Negative sizes are an [InvalidError].
func (q *Quotas) Allow(ctx context.Context, user string, used, more int64) error {
	if used < 0 {
		return &InvalidError{"used", "is negative"}
	}
	if more < 0 {
		return &InvalidError{"more", "is negative"}
	}
	limit, err := q.Limit(ctx, user)
	if err != nil {
		return err
	}
	if limit.Unlimited() || used <= limit.Bytes && more <= limit.Bytes-used {
		return nil
	}
	return &QuotaError{Username: user, Limit: limit, Used: used, More: more}
}

// Get returns the user's row. It is [ErrNotFound] for users without one; they
// have a [Quotas.Limit] all the same.
func (q *Quotas) Get(ctx context.Context, user string) (Quota, error) {
	if err := checkUser(user); err != nil {
		return Quota{}, err
	}
	row, ok, err := q.find(ctx, user)
	if err == nil && !ok {
		err = ErrNotFound
	}
	if err != nil {
		return Quota{}, fmt.Errorf("models: quota of %s: %w", brief(user), err)
	}
	return row, nil
}

func (q *Quotas) find(ctx context.Context, user string) (row Quota, ok bool, err error) {
	err = run(ctx, q.db, func(tx *gorm.DB) error {
		tx = tx.Where("username = ?", user).Limit(1).Find(&row)
		ok = tx.RowsAffected > 0
		return tx.Error
	})
	return row, ok, err
}

// Set gives user a limit of their own in bytes, over 0. The account need not have
// been recorded; a recorded creation date is kept.
func (q *Quotas) Set(ctx context.Context, user string, bytes int64) error {
	if err := checkUser(user); err != nil {
		return err
	}
	return q.set(ctx, user, bytes)
}

// SetDefault sets the limit in bytes, over 0, of all users without their own. It
// wins over the configured default, here and in every program on this database.
func (q *Quotas) SetDefault(ctx context.Context, bytes int64) error {
	return q.set(ctx, GlobalDefault, bytes)
}

func (q *Quotas) set(ctx context.Context, user string, bytes int64) error {
	if bytes <= 0 {
		return &InvalidError{"max_storage", fmt.Sprintf("is %d bytes, which is not over 0; Reset removes a limit", bytes)}
	}
	return q.upsert(ctx, Quota{Username: Key(user), MaxStorage: bytes},
		clause.Assignments(map[string]any{"max_storage": bytes}))
}

// Reset removes the user's own limit, so that the default applies. The row and
// its creation date stay. It does nothing for a user without a limit.
func (q *Quotas) Reset(ctx context.Context, user string) error {
	if err := checkUser(user); err != nil {
		return err
	}
	return q.reset(ctx, user)
}

// ResetDefault removes the default of the database, so that the configured one
// applies.
func (q *Quotas) ResetDefault(ctx context.Context) error {
	return q.reset(ctx, GlobalDefault)
}

func (q *Quotas) reset(ctx context.Context, user string) error {
	err := run(ctx, q.db, func(tx *gorm.DB) error {
		return tx.Model(&Quota{}).Where("username = ?", user).Update("max_storage", 0).Error
	})
	if err != nil {
		return fmt.Errorf("models: reset quota of %s: %w", brief(user), err)
	}
	return nil
}

// RecordAccount records that user's account was created at the given time, with a
// precision of seconds; the zero time means now. A date that is already recorded
// stays, and so does a limit.
func (q *Quotas) RecordAccount(ctx context.Context, user string, at time.Time) error {
	if err := checkUser(user); err != nil {
		return err
	}
	if at.IsZero() {
		at = time.Now()
	}
	seconds := at.Unix()
	if seconds <= 0 {
		return &InvalidError{"created_at", "is before 1970"}
	}
	return q.upsert(ctx, Quota{Username: Key(user), CreatedAt: seconds},
		clause.Set{{Column: clause.Column{Name: "created_at"}, Value: gorm.Expr(
			"CASE WHEN COALESCE(quotas.created_at, 0) = 0 THEN ? ELSE quotas.created_at END", seconds)}})
}

func (q *Quotas) upsert(ctx context.Context, row Quota, update clause.Set) error {
	err := run(ctx, q.db, func(tx *gorm.DB) error {
		row := row // Create may write to it
		return tx.Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: "username"}},
			DoUpdates: update,
		}).Create(&row).Error
	})
	if err != nil {
		return fmt.Errorf("models: set quota of %s: %w", brief(string(row.Username)), err)
	}
	return nil
}

// List returns up to limit rows of users, ordered by the bytes of their names,
// beginning after the name given; "" begins at the first. limit 0 means
// [DefaultPage], and no more than [MaxPage] are returned. To go on, pass the last
// name returned; fewer rows than asked for are the last ones. The row
// [GlobalDefault] is not a user and not in the list.
func (q *Quotas) List(ctx context.Context, after string, limit int) ([]Quota, error) {
	if err := checkKey("after", after); err != nil {
		return nil, err
	}
	limit, err := pageSize(limit)
	if err != nil {
		return nil, err
	}
	order := keyOrder(q.db, "username")
	var rows []Quota
	err = run(ctx, q.db, func(tx *gorm.DB) error {
		tx = tx.Where("username <> ?", GlobalDefault)
		if after != "" {
			tx = tx.Where("? > ?", order, after)
		}
		return tx.Clauses(clause.OrderBy{Expression: order}).Limit(limit).Find(&rows).Error
	})
	if err != nil {
		return nil, fmt.Errorf("models: list quotas: %w", err)
	}
	return rows, nil
}

// Delete removes the user's row: limit and creation date. It is [ErrNotFound] when
// there is none.
func (q *Quotas) Delete(ctx context.Context, user string) error {
	if err := checkUser(user); err != nil {
		return err
	}
	var gone bool
	err := run(ctx, q.db, func(tx *gorm.DB) error {
		tx = tx.Where("username = ?", user).Delete(&Quota{})
		gone = tx.RowsAffected > 0
		return tx.Error
	})
	if err == nil && !gone {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("models: delete quota of %s: %w", brief(user), err)
	}
	return nil
}

func checkUser(user string) error {
	if user == GlobalDefault {
		return &InvalidError{"username", "is " + GlobalDefault + ", which stands for the server's default"}
	}
	return checkKeyNotEmpty("username", user)
}
