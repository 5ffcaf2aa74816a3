//go:build !linux || arm

package osfile

// StartFlush does nothing: there is no portable call that starts writing
// without waiting, and arm's has another form.
func (f osFile) StartFlush(off, n int64) error { return nil }
