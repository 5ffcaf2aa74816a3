package models

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"time"

	"gorm.io/gorm"
)

// Limits of the retries of one call.
const (
	// MaxAttempts is the most attempts of one transaction.
	MaxAttempts = 20

	// MaxRetryTime is the time after which no new attempt starts.
	MaxRetryTime = 30 * time.Second
)

// The pause before attempt n+1 is random, up to firstPause doubled n times, and at most
// maxPause. Transactions that collided once should not collide again.
const (
	firstPause = 2 * time.Millisecond
	maxPause   = 200 * time.Millisecond
)

// retry calls fn, a whole transaction or one statement on db. It calls fn again while
// the database asks for a retry. In a transaction of the caller it calls fn once,
// because only the caller can repeat the transaction.
func retry(ctx context.Context, db *gorm.DB, fn func() error) error {
	if inTransaction(db) {
		return fn()
	}
	start := time.Now()
	for n := 1; ; n++ {
		err := fn()
		if err == nil || n >= MaxAttempts || !wantsRetry(err) || time.Since(start) > MaxRetryTime {
			return err
		}
		timer := time.NewTimer(rand.N(min(firstPause<<n, maxPause)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), err)
		case <-timer.C:
		}
	}
}

// run is retry for a statement on db.
func run(ctx context.Context, db *gorm.DB, fn func(tx *gorm.DB) error) error {
	return retry(ctx, db, func() error { return fn(begin(ctx, db)) })
}

// ask is run for a query that returns a result.
func ask[T any](ctx context.Context, db *gorm.DB, query func(tx *gorm.DB) (T, error)) (result T, err error) {
	err = run(ctx, db, func(tx *gorm.DB) (err error) {
		result, err = query(tx)
		return err
	})
	return result, err
}

// wantsRetry reports whether err asks for a retry: the transaction was rolled back and
// may succeed the next time. It recognises the errors of each driver by their fields
// and methods, because this package imports no driver.
func wantsRetry(err error) bool {
	for err := range chain(err) {
		if e, ok := err.(interface{ SQLState() string }); ok { // PostgreSQL: pgx, pq
			switch e.SQLState() {
			case "40001", // serialization_failure
				"40P01": // deadlock_detected
				return true
			}
			return false
		}
		v := reflect.Indirect(reflect.ValueOf(err))
		if !v.IsValid() || v.Kind() != reflect.Struct {
			continue
		}
		if n := v.FieldByName("Number"); n.IsValid() && n.Kind() == reflect.Uint16 { // MySQL: go-sql-driver
			switch n.Uint() {
			case 1213, // ER_LOCK_DEADLOCK
				1205, // ER_LOCK_WAIT_TIMEOUT
				1020: // ER_CHECKREAD: MariaDB's serialization failure
				return true
			}
			return false
		}
		if n := v.FieldByName("Code"); n.IsValid() && n.CanInt() && v.FieldByName("ExtendedCode").IsValid() { // SQLite: go-sqlite3
			switch n.Int() {
			case 5, // SQLITE_BUSY
				6: // SQLITE_LOCKED
				return true
			}
			return false
		}
	}
	return false
}

// chain yields err and every error that it wraps, outermost first.
func chain(err error) func(yield func(error) bool) {
	var walk func(error, func(error) bool) bool
	walk = func(err error, yield func(error) bool) bool {
		for err != nil {
			if !yield(err) {
				return false
			}
			switch e := err.(type) {
			case interface{ Unwrap() error }:
				err = e.Unwrap()
			case interface{ Unwrap() []error }:
				for _, err := range e.Unwrap() {
					if !walk(err, yield) {
						return false
					}
				}
				return true
			default:
				return true
			}
		}
		return true
	}
	return func(yield func(error) bool) { walk(err, yield) }
}
