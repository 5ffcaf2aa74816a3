//go:build !cgo

package gormdialect

// Translate returns err: without cgo there is no SQLite whose errors it could be.
func (*Dialector) Translate(err error) error { return err }
