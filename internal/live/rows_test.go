package live

import (
	"database/sql/driver"
	"io"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// A batch that no server sends is an error of the protocol. It is neither an endless
// result nor an early end of one.
func TestRows_wrong(t *testing.T) {
	one := []column{{Name: "n"}}
	for name, c := range map[string]struct {
		ans    answer
		values []byte
		good   int // rows before the error
	}{
		"rows without columns":    {ans: answer{Rows: 1, Done: true}, values: []byte{1}},
		"countless rows":          {ans: answer{Rows: math.MaxInt, Done: true}},
		"more rows than a batch":  {ans: answer{Rows: batchRows + 1, Columns: one, Done: true}, values: make([]byte, batchRows+1)},
		"a negative number":       {ans: answer{Rows: -1, Columns: one, Done: true}},
		"no rows, and not done":   {ans: answer{Columns: one}},
		"fewer bytes than values": {ans: answer{Rows: 2, Columns: one, Done: true}, values: []byte{1}},
		"bytes behind no rows":    {ans: answer{Columns: one, Done: true}, values: []byte{1}},
		"bytes behind the last":   {ans: answer{Rows: 1, Columns: one, Done: true}, values: []byte{1, 2}},
		"half a value":            {ans: answer{Rows: 2, Columns: one, Done: true}, values: []byte{1, itemFloat64, 0}, good: 1},
	} {
		t.Run(name, func(t *testing.T) {
			c.ans.N = 1
			conn := hears(framed(kindAnswer, append(encode(&c.ans), c.values...)))
			rows, err := conn.QueryContext(t.Context(), "insert … returning", nil)
			require.NoError(t, err)
			row := make([]driver.Value, 1)
			for range c.good {
				require.NoError(t, rows.Next(row))
			}
			require.ErrorIs(t, rows.Next(row), ErrCommitUnknown)
			require.ErrorContains(t, rows.Next(row), "not the protocol")
			require.NoError(t, rows.Close())
			require.False(t, conn.IsValid())
			require.Zero(t, conn.open)
			require.NoError(t, conn.Close())
		})
	}

	conn := hears(framed(kindAnswer, append(encode(&answer{N: 1, Rows: 2, Columns: one, Done: true}), 1, 2)))
	rows, err := conn.QueryContext(t.Context(), "select", nil)
	require.NoError(t, err)
	row := make([]driver.Value, 1)
	require.NoError(t, rows.Next(row))
	require.NoError(t, rows.Next(row))
	require.Equal(t, int64(2), row[0])
	require.Equal(t, io.EOF, rows.Next(row))
	require.NoError(t, conn.Close())
}
