//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that a connection tells a server of tools that it has the write lock for exactly as
// long as it has it: from the first write of a transaction to its end.
func TestHoldsLock(t *testing.T) {
	c := open(t, 128)
	for _, step := range []struct {
		text  string
		holds bool
	}{
		{"CREATE TABLE t(n)", false},
		{"BEGIN", false}, {"SELECT * FROM t", false}, {"INSERT INTO t VALUES(1)", true}, {"SELECT * FROM t", true}, {"COMMIT", false},
		{"BEGIN IMMEDIATE", true}, {"ROLLBACK", false},
		{"INSERT INTO t VALUES(1)", false},
	} {
		_, err := c.ExecContext(context.Background(), step.text, nil)
		require.NoError(t, err)
		require.Equal(t, step.holds, driver.Conn(c).(interface{ HoldsLock() bool }).HoldsLock(), step.text)
	}
}
