//go:build !cgo

package driver

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that a program built without cgo is told so, and what to do.
func TestNoCgo(t *testing.T) {
	_, err := sql.Open(Name, "app.db")
	require.ErrorContains(t, err, "CGO_ENABLED=1")
}
