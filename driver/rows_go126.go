//go:build cgo && !go1.27

package driver

// current is empty: database/sql fetches rows by rows.Next.
type current struct{}
