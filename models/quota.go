package models

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// GlobalDefault is the user name of the row with the default limit. It applies to all
// users without a limit of their own. No account may have that name.
const GlobalDefault = "__GLOBAL_DEFAULT__"

// Quota is a row of the table of quotas: one account, or [GlobalDefault].
type Quota struct {
	// Username identifies the account. The server normalises it: names that differ in
	// case are different accounts here.
	Username Key `gorm:"primaryKey"`

	// MaxStorage is the account's own limit in bytes. 0 means that it has none.
	MaxStorage int64

	// CreatedAt is the time of the account's creation, in Unix seconds. 0 means
	// unknown.
	CreatedAt int64 `gorm:"autoCreateTime:false"`

	// FirstLoginAt is the time of the account's first login, in Unix seconds. 0 means
	// unknown. Madmail writes 1 for an account that has not logged in yet, and deletes
	// such accounts after some time.
	FirstLoginAt int64

	// LastLoginAt is the time of the account's last login, in Unix seconds. 0 means
	// unknown.
	LastLoginAt int64

	// UsedToken is the token with which the account was registered, until its first
	// login. See [RegistrationTokens].
	UsedToken Key `gorm:"index:idx_quotas_used_token"`
}

// TableName returns the name of the table in a new database. [Quotas] also uses
// Madmail's table quota.
func (Quota) TableName() string { return ownQuotas }

// LimitSource is the source of a [Limit].
type LimitSource int

const (
	// FromConfig is a limit from QuotaConfig.Default: neither the user nor the database
	// has one.
	FromConfig LimitSource = iota

	// FromDefault is a limit from the row GlobalDefault: the user has none.
	FromDefault

	// FromUser is the user's own limit.
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

// Limit is a storage limit.
type Limit struct {
	Bytes  int64       // 0 means unlimited, which only FromConfig can be
	Source LimitSource // where the limit comes from
}

// Unlimited reports whether there is no limit.
func (l Limit) Unlimited() bool { return l.Bytes == 0 }

// QuotaConfig configures [NewQuotas].
type QuotaConfig struct {
	// Default is the limit in bytes of users without their own, if the database has no
	// default. 0 means unlimited.
	Default int64
}

// Quotas is the store of storage limits. Its table is quota, if that exists, or quotas.
// If both exist and only one has rows, it uses that one. If both have rows and they
// differ, every call returns [ErrTwoTables].
//
// The store looks for its table at the first call, and again after an error. An early
// version of Madmail has fewer columns. Call [Migrate] before the store writes.
type Quotas struct {
	db     *gorm.DB
	config QuotaConfig
	table  atomic.Pointer[string] // the table of the last call, or nil
}

// NewQuotas returns the store of db's quotas. It does not use the database. [Migrate]
// creates the table. A negative default is an [InvalidError].
func NewQuotas(db *gorm.DB, config QuotaConfig) (*Quotas, error) {
	if config.Default < 0 {
		return nil, &InvalidError{"default quota", "is negative"}
	}
	return &Quotas{db: db, config: config}, nil
}

// run is run for a statement on the table of quotas. fn gets a handle on the table, and
// its name.
func (q *Quotas) run(ctx context.Context, fn func(tx *gorm.DB, table string) error) error {
	err := run(ctx, q.db, func(tx *gorm.DB) error {
		table := q.table.Load()
		if table == nil {
			name, err := quotaTable(tx)
			if err != nil {
				return err
			}
			table = &name
			q.table.Store(table)
		}
		return fn(tx.Table(*table), *table)
	})
	if err != nil {
		q.table.Store(nil)
	}
	return err
}

// Limit returns the limit that applies to user: the user's own, or that of the row
// [GlobalDefault], or the configured one. A user without a row has a limit, too, so
// there is no [ErrNotFound].
func (q *Quotas) Limit(ctx context.Context, user string) (Limit, error) {
	if err := checkUser(user); err != nil {
		return Limit{}, err
	}
	var rows []Quota
	err := q.run(ctx, func(tx *gorm.DB, _ string) error {
		return tx.Where("username IN ?", []string{user, GlobalDefault}).Find(&rows).Error
	})
	if err != nil {
		return Limit{}, fmt.Errorf("models: limit of %s: %w", brief(user), err)
	}
	limit := Limit{q.config.Default, FromConfig}
	for _, row := range rows {
		switch {
		case row.MaxStorage <= 0: // not set; Madmail also writes NULL
		case row.Username != GlobalDefault:
			return Limit{row.MaxStorage, FromUser}, nil
		default:
			limit = Limit{row.MaxStorage, FromDefault}
		}
	}
	return limit, nil
}

// Default returns the limit of users without their own: that of the row
// [GlobalDefault], or the configured one.
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

// Allow returns nil if user may store more bytes in addition to used bytes: if
// used+more is at most the limit. Otherwise the error is a [QuotaError]. A negative
// size is an [InvalidError].
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

// Get returns the user's row, or [ErrNotFound]. [Quotas.Limit] also returns the limit
// of a user without a row.
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
	err = q.run(ctx, func(tx *gorm.DB, _ string) error {
		tx = tx.Where("username = ?", user).Limit(1).Find(&row)
		ok = tx.RowsAffected > 0
		return tx.Error
	})
	return row, ok, err
}

// Set sets the user's own limit in bytes, which is over 0. It creates the user's row if
// there is none. A recorded creation time is kept.
func (q *Quotas) Set(ctx context.Context, user string, bytes int64) error {
	if err := checkUser(user); err != nil {
		return err
	}
	return q.set(ctx, user, bytes)
}

// SetDefault sets the limit in bytes, over 0, of all users without their own. It
// overrides the configured default, also in other programs that use this database.
func (q *Quotas) SetDefault(ctx context.Context, bytes int64) error {
	return q.set(ctx, GlobalDefault, bytes)
}

func (q *Quotas) set(ctx context.Context, user string, bytes int64) error {
	if bytes <= 0 {
		return &InvalidError{"max_storage", fmt.Sprintf("is %d bytes and must be over 0; Reset removes a limit", bytes)}
	}
	return q.upsert(ctx, Quota{Username: Key(user), MaxStorage: bytes}, func(string) clause.Set {
		return clause.Assignments(map[string]any{"max_storage": bytes})
	})
}

// Reset removes the user's own limit, so that the default applies. The row and its
// creation time stay. A user without a limit is no error.
func (q *Quotas) Reset(ctx context.Context, user string) error {
	if err := checkUser(user); err != nil {
		return err
	}
	return q.reset(ctx, user)
}

// ResetDefault removes the default of the database, so that the configured one applies.
func (q *Quotas) ResetDefault(ctx context.Context) error {
	return q.reset(ctx, GlobalDefault)
}

func (q *Quotas) reset(ctx context.Context, user string) error {
	err := q.run(ctx, func(tx *gorm.DB, _ string) error {
		return tx.Model(&Quota{}).Where("username = ?", user).Update("max_storage", 0).Error
	})
	if err != nil {
		return fmt.Errorf("models: reset quota of %s: %w", brief(user), err)
	}
	return nil
}

// RecordAccount records the time at which user's account was created, in seconds. The
// zero time means now. A time that is already recorded stays, and so does a limit.
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
	return q.upsert(ctx, Quota{Username: Key(user), CreatedAt: seconds}, func(table string) clause.Set {
		recorded := clause.Column{Table: table, Name: "created_at"}
		return clause.Set{{Column: clause.Column{Name: "created_at"}, Value: gorm.Expr(
			"CASE WHEN COALESCE(?, 0) = 0 THEN ? ELSE ? END", recorded, seconds, recorded)}}
	})
}

// upsert inserts a row, or updates the row of its user.
func (q *Quotas) upsert(ctx context.Context, row Quota, update func(table string) clause.Set) error {
	err := q.run(ctx, func(tx *gorm.DB, table string) error {
		row := row // Create may change it
		return tx.Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: "username"}},
			DoUpdates: update(table),
		}).Create(&row).Error
	})
	if err != nil {
		return fmt.Errorf("models: set quota of %s: %w", brief(string(row.Username)), err)
	}
	return nil
}

// List returns up to limit rows whose user names come after the given one, sorted by
// the bytes of their names. "" starts at the first. A limit of 0 means [DefaultPage],
// and the most is [MaxPage]. For the next page, pass the last name. A page shorter than
// limit is the last one. The row [GlobalDefault] is not in the list.
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
	err = q.run(ctx, func(tx *gorm.DB, _ string) error {
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

// Delete deletes the user's row, with its limit and creation time. If there is none, it
// returns [ErrNotFound].
func (q *Quotas) Delete(ctx context.Context, user string) error {
	if err := checkUser(user); err != nil {
		return err
	}
	var gone bool
	err := q.run(ctx, func(tx *gorm.DB, _ string) error {
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
		return &InvalidError{"username", "is " + GlobalDefault + ", the name of the server's default"}
	}
	return checkKeyNotEmpty("username", user)
}
