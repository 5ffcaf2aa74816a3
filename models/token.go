package models

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// RegistrationToken is a row of table registration_tokens: a token with which accounts
// can be registered.
type RegistrationToken struct {
	// Token is the value that a user gives at the registration.
	Token Key `gorm:"primaryKey"`

	// MaxUses is the number of accounts that the token can register, over 0.
	MaxUses int64 `gorm:"default:1"`

	// UsedCount is the number of accounts that have used the token. A use counts from
	// the account's first login on.
	UsedCount int64 `gorm:"default:0"`

	// Comment is shown to administrators. It may be empty.
	Comment Text

	// CreatedAt is the time of creation, in UTC with milliseconds. The zero time means
	// unknown.
	CreatedAt time.Time

	// ExpiresAt is the time after which the token registers no account, in UTC with
	// milliseconds. nil means that it does not expire.
	ExpiresAt *time.Time
}

// TableName returns Madmail's name of the table.
func (RegistrationToken) TableName() string { return "registration_tokens" }

// RegistrationTokens is the store of registration tokens, on table
// registration_tokens.
//
// A token is used in two steps, as in Madmail. At the registration the server calls
// [RegistrationTokens.Check], and records the token in Quota.UsedToken with a
// Quota.FirstLoginAt of 1: the use is pending. At the first login it calls
// [RegistrationTokens.Use] and clears Quota.UsedToken.
type RegistrationTokens struct {
	db     *gorm.DB
	quotas *Quotas
}

// NewRegistrationTokens returns the store of db's registration tokens. It does not use
// the database. [Migrate] creates the table.
func NewRegistrationTokens(db *gorm.DB) *RegistrationTokens {
	return &RegistrationTokens{db, &Quotas{db: db}}
}

// Errors of [RegistrationTokens].
var (
	// ErrTokenTaken means that the token exists already.
	ErrTokenTaken = errors.New("token is taken")

	// ErrTokenExpired means that the token's ExpiresAt has passed.
	ErrTokenExpired = errors.New("token has expired")

	// ErrTokenUsedUp means that the token has no use left.
	ErrTokenUsedUp = errors.New("token is used up")
)

// tokenRows reads the rows of registration_tokens. NULL is 0.
var tokenRows = rowReader[RegistrationToken]{
	table:   RegistrationToken{}.TableName(),
	key:     "token",
	columns: []string{"token", "max_uses", "used_count", "comment", "created_at", "expires_at"},
	stamps:  []string{"created_at", "expires_at"},
	scan: func(rows *sql.Rows) (t RegistrationToken, err error) {
		var created, expires stamp
		var most, used sql.NullInt64
		err = rows.Scan(&t.Token, &most, &used, &t.Comment, &created, &expires)
		t.MaxUses, t.UsedCount, t.CreatedAt, t.ExpiresAt = most.Int64, used.Int64, created.Time, expires.pointer()
		return t, err
	},
}

// Create adds a token and returns it. It uses the fields Token, MaxUses, Comment and
// ExpiresAt. If Token is "", Create generates one of 130 random bits. A token that
// exists is [ErrTokenTaken]. An invalid field is an [InvalidError].
func (r *RegistrationTokens) Create(ctx context.Context, token RegistrationToken) (RegistrationToken, error) {
	if token.Token == "" {
		token.Token = Key(rand.Text())
	}
	if err := checkKey("token", string(token.Token)); err != nil {
		return RegistrationToken{}, err
	}
	if token.MaxUses <= 0 {
		return RegistrationToken{}, &InvalidError{"max_uses", fmt.Sprintf("is %d and must be over 0", token.MaxUses)}
	}
	if err := checkText("comment", string(token.Comment), MaxValueBytes); err != nil {
		return RegistrationToken{}, err
	}
	if token.ExpiresAt != nil {
		if err := checkYear("expires_at", *token.ExpiresAt); err != nil {
			return RegistrationToken{}, err
		}
		expires := storedTime(*token.ExpiresAt)
		token.ExpiresAt = &expires
	}
	token.UsedCount, token.CreatedAt = 0, storedTime(time.Now())
	inserted, err := ask(ctx, r.db, func(tx *gorm.DB) (bool, error) {
		row := token // Create may change it
		return insertNew(tx, &row)
	})
	if err == nil && !inserted {
		err = ErrTokenTaken
	}
	if err != nil {
		return RegistrationToken{}, fmt.Errorf("models: create registration token: %w", err)
	}
	return token, nil
}

// Get returns a token, or [ErrNotFound].
func (r *RegistrationTokens) Get(ctx context.Context, token string) (RegistrationToken, error) {
	if err := checkKeyNotEmpty("token", token); err != nil {
		return RegistrationToken{}, err
	}
	row, ok, err := tokenRows.get(ctx, r.db, token)
	if err == nil && !ok {
		err = ErrNotFound
	}
	if err != nil {
		return RegistrationToken{}, fmt.Errorf("models: registration token: %w", err)
	}
	return row, nil
}

// Check returns nil if an account may be registered with a token. A token that does not
// exist is [ErrNotFound], one whose time has passed is [ErrTokenExpired], and one
// without a free use is [ErrTokenUsedUp]. Pending uses are not free.
func (r *RegistrationTokens) Check(ctx context.Context, token string) error {
	row, err := r.Get(ctx, token)
	if err != nil {
		return err
	}
	if row.ExpiresAt != nil && row.ExpiresAt.Before(time.Now()) {
		return fmt.Errorf("models: registration token: %w", ErrTokenExpired)
	}
	pending, err := r.Pending(ctx, token)
	if err != nil {
		return err
	}
	if row.UsedCount >= row.MaxUses || pending >= row.MaxUses-row.UsedCount {
		return fmt.Errorf("models: registration token: %w (%d of %d uses, %d pending)", ErrTokenUsedUp, row.UsedCount, row.MaxUses, pending)
	}
	return nil
}

// Pending returns the number of accounts that were registered with a token and have not
// logged in yet.
func (r *RegistrationTokens) Pending(ctx context.Context, token string) (n int64, err error) {
	if err := checkKeyNotEmpty("token", token); err != nil {
		return 0, err
	}
	err = r.quotas.run(ctx, func(tx *gorm.DB, _ string) error {
		return tx.Where("used_token = ? AND first_login_at = 1", token).Count(&n).Error
	})
	if err != nil {
		return 0, fmt.Errorf("models: pending uses of a registration token: %w", err)
	}
	return n, nil
}

// Use counts one use of a token. Of concurrent calls, only as many succeed as there are
// uses left. The others return [ErrTokenUsedUp]. A token that does not exist is
// [ErrNotFound]. The expiry does not matter: the account was registered before.
func (r *RegistrationTokens) Use(ctx context.Context, token string) error {
	if err := checkKeyNotEmpty("token", token); err != nil {
		return err
	}
	used, err := ask(ctx, r.db, func(tx *gorm.DB) (bool, error) {
		tx = tx.Exec("UPDATE registration_tokens SET used_count = COALESCE(used_count, 0) + 1 WHERE token = ? AND COALESCE(used_count, 0) < max_uses", token)
		return tx.RowsAffected > 0, tx.Error
	})
	if err == nil && !used {
		if _, err = r.Get(ctx, token); err != nil {
			return err
		}
		err = ErrTokenUsedUp
	}
	if err != nil {
		return fmt.Errorf("models: use registration token: %w", err)
	}
	return nil
}

// List returns up to limit tokens that come after the given one, sorted by their bytes.
// "" starts at the first. A limit of 0 means [DefaultPage], and the most is [MaxPage].
// For the next page, pass the last token. A page shorter than limit is the last one.
func (r *RegistrationTokens) List(ctx context.Context, after string, limit int) ([]RegistrationToken, error) {
	rows, err := tokenRows.list(ctx, r.db, after, limit)
	if err != nil {
		return nil, fmt.Errorf("models: list registration tokens: %w", err)
	}
	return rows, nil
}

// Delete deletes a token. If there is none, it returns [ErrNotFound].
func (r *RegistrationTokens) Delete(ctx context.Context, token string) error {
	if err := checkKeyNotEmpty("token", token); err != nil {
		return err
	}
	if err := tokenRows.remove(ctx, r.db, token); err != nil {
		return fmt.Errorf("models: delete registration token: %w", err)
	}
	return nil
}
