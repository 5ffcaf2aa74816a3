//go:build !cgo

package gormdialect

// Translate returns err. Without cgo there is no SQLite, and so none of its errors.
func (*Dialector) Translate(err error) error { return err }
