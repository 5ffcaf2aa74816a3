//go:build cgo

package models

import (
	"context"
	"errors"
	"fmt"
	"testing"

	sqlite3 "github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// Errors with the fields and methods of those of go-sql-driver/mysql and pgx. The tests
// of models/portability meet the drivers' own errors.
type (
	mysqlError struct {
		Number   uint16
		SQLState [5]byte
		Message  string
	}
	postgresError struct{ code string }
)

func (e *mysqlError) Error() string       { return e.Message }
func (e *postgresError) Error() string    { return e.code }
func (e *postgresError) SQLState() string { return e.code }

// Ensure that each database's request for a retry is recognised, also wrapped or
// joined, and that no other error is.
func TestWantsRetry(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("deadlock"), false},
		{context.DeadlineExceeded, false},
		{gorm.ErrDuplicatedKey, false},
		{&mysqlError{Number: 1213}, true},
		{&mysqlError{Number: 1205}, true},
		{&mysqlError{Number: 1020}, true},
		{&mysqlError{Number: 1062}, false},
		{(*mysqlError)(nil), false},
		{&postgresError{"40001"}, true},
		{&postgresError{"40P01"}, true},
		{&postgresError{"23505"}, false},
		{sqlite3.Error{Code: sqlite3.ErrBusy}, true},
		{sqlite3.Error{Code: sqlite3.ErrBusy, ExtendedCode: sqlite3.ErrBusySnapshot}, true},
		{&sqlite3.Error{Code: sqlite3.ErrLocked}, true},
		{sqlite3.Error{Code: sqlite3.ErrConstraint}, false},
		{sqlite3.Error{Code: sqlite3.ErrFull}, false},
		{fmt.Errorf("commit: %w", &mysqlError{Number: 1213}), true},
		{fmt.Errorf("a: %w, b: %w", errors.New("x"), sqlite3.Error{Code: sqlite3.ErrBusy}), true},
		{errors.Join(errors.New("x"), fmt.Errorf("y: %w", &postgresError{"40001"})), true},
	} {
		require.Equal(t, c.want, wantsRetry(c.err), "%#v", c.err)
	}
}

// Ensure that retry repeats a call while the database asks for it, up to the limit, and
// returns the last error. The end of the context ends it.
func TestRetry(t *testing.T) {
	db, err := gorm.Open(sqlite.Open(":memory:"), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	defer pool.Close()
	busy := sqlite3.Error{Code: sqlite3.ErrBusy}
	other := errors.New("other")

	for _, c := range []struct {
		answers []error // the last one repeats
		calls   int
		want    error
	}{
		{[]error{nil}, 1, nil},
		{[]error{busy, busy, nil}, 3, nil},
		{[]error{busy, other}, 2, other},
		{[]error{other}, 1, other},
		{[]error{busy}, MaxAttempts, busy},
	} {
		calls := 0
		err := retry(t.Context(), db, func() error {
			calls++
			return c.answers[min(calls, len(c.answers))-1]
		})
		require.Equal(t, c.calls, calls)
		require.Equal(t, c.want, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err = retry(ctx, db, func() error {
		calls++
		cancel()
		return busy
	})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, busy)
	require.Equal(t, 1, calls)

	calls = 0
	require.ErrorIs(t, db.Transaction(func(tx *gorm.DB) error {
		return retry(t.Context(), tx, func() error {
			calls++
			return busy
		})
	}), busy)
	require.Equal(t, 1, calls, "a caller's transaction is not repeated")
}
