//go:build cgo && !unix

package fileconn

// mayNotWrite returns nil: SQLite finds out.
func mayNotWrite(string, bool) error { return nil }
