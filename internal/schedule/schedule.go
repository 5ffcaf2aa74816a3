// Package schedule decides when a database is saved and when its log is flushed. [Loop] saves
// every interval, on demand and on close. [Flusher] flushes for goroutines that commit. Both
// try again after a failure. Their configs have the functions that save and flush.
package schedule

import (
	"errors"
	"time"
)

// ErrClosed is returned by [Loop.Sync] and [Flusher.Wait] after Close has begun.
var ErrClosed = errors.New("sqlite-mem: the database is being closed")

// signal wakes a goroutine by its channel of capacity 1. A signal that still waits covers
// this one, because the goroutine takes it before it looks at the fields.
func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// newAlarm returns a timer that does not fire until it is reset.
func newAlarm() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// backoff returns the wait after the n-th failure in a row, n > 0. It is first after the
// first failure, then twice the wait before, at most limit.
func backoff(n int, first, limit time.Duration) time.Duration {
	d := first
	for i := 1; i < n && d < limit; i++ {
		d *= 2
	}
	return min(d, limit)
}
