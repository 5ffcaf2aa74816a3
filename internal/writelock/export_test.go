package writelock

import "time"

// SetTurn changes the turn of all locks, none of which is in use. It returns the turn before.
func SetTurn(d time.Duration) time.Duration {
	old := turn
	turn = d
	return old
}
