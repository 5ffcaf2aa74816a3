package models

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"time"

	"gorm.io/gorm"
)

// How long a call tries again when the database asks for it.
const (
	// MaxAttempts is the most often one transaction is tried.
	MaxAttempts = 20

	// MaxRetryTime is the time after which no new attempt starts.
	MaxRetryTime = 30 * time.Second
)

// The wait before attempt n+1 is random, up to firstPause doubled n times and at
// most maxPause: transactions that met once should not meet again.
const (
	firstPause = 2 * time.Millisecond
	maxPause   = 200 * time.Millisecond
)

// retry runs fn, a whole transaction or a single statement on db, again for as
// long as the database answers that trying again is what it wants. A transaction
// of the caller's is not ours to repeat: fn then runs once.
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

// run is retry for a statement of our own on db.
func run(ctx context.Context, db *gorm.DB, fn func(tx *gorm.DB) error) error {
	return retry(ctx, db, func() error { return fn(begin(ctx, db)) })
}

// wantsRetry reports whether a database says by err that the transaction was
// undone and would pass if it ran again. The drivers are told apart by the shape
// of their errors, because this package imports none of them.
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
				1020: // ER_CHECKREAD: MariaDB's answer where PostgreSQL says 40001
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

// chain yields err and all it wraps, outermost first.
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
