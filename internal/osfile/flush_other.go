//go:build !linux || arm

package osfile

// StartFlush does nothing. There is no portable call that starts writing without waiting, and
// that of arm has another form.
func (f osFile) StartFlush(off, n int64) error { return nil }
