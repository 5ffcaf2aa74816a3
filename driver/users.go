//go:build cgo

package driver

import "sync"

// users counts the users of a target: its connector, its connections, and every
// call that uses it for a moment. A user is counted before it touches the target,
// by connector.use, which refuses once the connector is closed. The last one to
// leave lets go of the target.
type users struct {
	release func() error // lets go of the target: a store, or a file; flush may set it
	flush   func() error // what DB.Close does while the target is in use

	// single: the one connection is all there is, so its Close returns the
	// error of release. Set before the target is shared.
	single bool
	logger func(error) // where that error goes otherwise

	mu     sync.Mutex
	count  int  // guarded by mu; the connector does not count
	closed bool // guarded by mu; the connector is
}

// enter counts one more. The caller makes sure that close was not called.
func (u *users) enter() {
	u.mu.Lock()
	u.count++
	u.mu.Unlock()
}

// leave ends what enter began.
func (u *users) leave() error {
	err := u.drop()
	if err != nil && !u.single {
		// database/sql drops the error of a connection that is closed late.
		u.logger(err)
		return nil
	}
	return err
}

// drop counts one less, and lets go of the target behind the last one.
func (u *users) drop() error {
	u.mu.Lock()
	u.count--
	last := u.closed && u.count == 0
	u.mu.Unlock()
	if !last {
		return nil
	}
	return u.release()
}

// close is called once, by the connector.
func (u *users) close() error {
	u.mu.Lock()
	u.closed = true
	used := u.count > 0
	u.count++ // for flush, and so that drop sees the last
	u.mu.Unlock()
	var err error
	if used && !u.single {
		err = u.flush()
	}
	return also(err, u.drop())
}
