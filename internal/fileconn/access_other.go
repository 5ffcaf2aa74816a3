//go:build cgo && !unix

package fileconn

// mayNotWrite leaves it to SQLite to find out.
func mayNotWrite(string, bool) error { return nil }
