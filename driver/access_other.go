//go:build cgo && !unix

package driver

// mayNotWrite leaves it to SQLite to find out.
func mayNotWrite(string, bool) error { return nil }
