//go:build cgo && !go1.27

package memconn

// current is empty: database/sql fetches rows by rows.Next.
type current struct{}
