//go:build cgo && go1.27

package memconn

import (
	"context"
	"database/sql/driver"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that a row whose connection has been closed cannot be scanned any more: its memory is
// free.
func TestScanColumn_closed(t *testing.T) {
	c := open(t, 3)
	rows, err := c.QueryContext(context.Background(), "SELECT 1000, 'a text' UNION ALL SELECT 2, 'b'", nil)
	require.NoError(t, err)
	scanner := rows.(driver.RowsColumnScanner)
	require.NoError(t, scanner.NextRow())
	require.NoError(t, c.Close())
	for i := range 2 {
		var v any
		require.ErrorIs(t, scanner.ScanColumn(driver.ScanContext{}, i, &v), io.EOF)
	}
	require.NoError(t, rows.Close())
}
